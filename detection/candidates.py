"""Step 3: candidate pools, at several resolutions. The tests decide, not the resolution."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coterie.detection.families import Families
from coterie.detection.items import Items
from coterie.detection.links import Links, link_communities

ODDS_MIN = 4.0
"""How much likelier than by chance an item's neighbours belong to the community for the item to be in its pool."""

NEIGHBOURS_IN_MIN = 2


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pool of items to be tested.

    Attributes:
        origin: where it comes from, for people.
        view: name of the view its items are of.
        items: int64[...], sorted item numbers.
    """

    origin: str
    view: str
    items: NDArray[np.int64]


def family_candidates(items: Items, families: Families, view: str, origin: str) -> list[Candidate]:
    """One candidate a family."""
    label = families.label[items.text]
    order = np.argsort(label, kind="stable")
    bounds = np.searchsorted(label[order], np.arange(families.count + 1))
    return [
        Candidate(origin, view, np.sort(order[bounds[number] : bounds[number + 1]])) for number in range(families.count)
    ]


def community_candidates(
    items: Items, links: Links, view: str, *, resolutions: tuple[float, ...], seed: int
) -> list[Candidate]:
    """One candidate a community of the link graph: its items whose neighbours are mostly inside it."""
    own = np.asarray(items.near[items.text, items.principal]).ravel()
    others = np.asarray(items.near.sum(axis=1)).ravel()[items.text] - own
    mass = np.asarray(items.near.sum(axis=0)).ravel()
    seen: set[bytes] = set()
    candidates: list[Candidate] = []
    for resolution in resolutions:
        for members in link_communities(links, resolution=resolution, seed=seed):
            if members.tobytes() in seen:
                continue
            seen.add(members.tobytes())
            pool = _pool(items, members, own, others, mass)
            candidates.append(Candidate(f"link community at resolution {resolution:g}", view, pool))
    return candidates


def _pool(
    items: Items,
    members: NDArray[np.int32],
    own: NDArray[np.float64],
    others: NDArray[np.float64],
    mass: NDArray[np.float64],
) -> NDArray[np.int64]:
    inside = np.zeros(items.principals)
    inside[members] = 1.0
    mine = np.flatnonzero(inside[items.principal] > 0)
    near = np.asarray(items.near[items.text[mine]] @ inside).ravel() - own[mine]
    share = float(mass[members].sum() / max(mass.sum(), 1.0))
    outside = np.maximum(others[mine] - near, 0.5)
    chosen = (near >= NEIGHBOURS_IN_MIN) & (near / outside >= ODDS_MIN * share / max(1 - share, 1e-9))
    return mine[chosen]
