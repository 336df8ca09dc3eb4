"""Step 3: candidate pools, at several resolutions. The tests decide, not the resolution.

Pools come from families, from communities of linked principals in the whole window, and from such communities inside
a region: a family, a topic, or what a wider community has in common. Inside a region the ordinary traffic that a
campaign hides behind is left out, and links show that drown in the whole.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coterie.detection.companies import find_companies
from coterie.detection.families import Families
from coterie.detection.items import Items, Neighbourhood, neighbourhood, runs, shared_part
from coterie.detection.links import Graph, find_links, link_graph
from coterie.detection.threads import side_by_side
from coterie.detection.trimming import ITEMS_MIN

RESOLUTIONS = (0.5, 1.0, 2.0, 4.0, 8.0)
REGION_RESOLUTIONS = (1.0, 3.0)
TOPIC_RESOLUTIONS = (1.0, 8.0)
TOPIC_TEXTS = (400, 100)
"""Texts of a view to one of resolution in the finest topics: about fifty and about a dozen in each."""

TESTABLE_MIN = 3
"""Principals with enough items that a topic or a company needs to be a pool; most of them are too small."""

REGION_PRINCIPALS_MIN = 6
"""Principals with enough items that a region needs for a look inside to show more than the region as a whole."""


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


@dataclass(frozen=True, slots=True)
class Topics:
    """Communities of the texts of a view, dense or not: every text is in one, at each resolution.

    Attributes:
        coarse, fine, finest: the items of each topic; see `TOPIC_RESOLUTIONS` and `TOPIC_TEXTS`.
    """

    coarse: list[NDArray[np.int64]]
    fine: list[NDArray[np.int64]]
    finest: list[NDArray[np.int64]]


def find_topics(items: Items, seed: int) -> Topics:
    """The topics of a view. Cost: linear in the neighbours of its texts, for each resolution."""
    graph = _text_graph(items)
    resolutions = (*TOPIC_RESOLUTIONS, *(len(items.vectors) / texts for texts in TOPIC_TEXTS))
    *coarse, fine, finest = (_topics(items, graph, seed, resolution) for resolution in resolutions)
    return Topics([topic for topics in coarse for topic in topics], fine, finest)


def find_candidates(
    items: Items,
    around: Neighbourhood,
    families: Families,
    topics: Topics,
    view: str,
    *,
    link_rate: float,
    seed: int,
    step: Callable[[float], None],
) -> list[Candidate]:
    """Every pool worth a test, each once. Cost: linear in items and their neighbours, for each resolution.

    `step` is told how far it is, 0 to 1, and may raise to stop.
    """
    whole = _community_pools(items, around, RESOLUTIONS, link_rate, seed)
    dense = _groups(families.label[items.text].astype(np.int64), families.count)
    regions = dense + topics.coarse + topics.fine + whole
    found = [Candidate("family", view, pool) for pool in dense]
    found += [Candidate("link community", view, pool) for pool in whole]
    wide = [region for region in regions if _testable_principals(items, region) >= REGION_PRINCIPALS_MIN]
    with side_by_side(lambda region: _inside(items, region, link_rate, seed), wide) as pools_inside:
        for number, inner in enumerate(pools_inside):
            step(number / len(wide))
            found += [Candidate("link community inside a region", view, pool) for pool in inner]
    company = find_companies(items, dense + topics.finest, rate=link_rate)
    for origin, pools in (("topic", topics.fine + topics.finest), ("company", company)):
        found += [Candidate(origin, view, pool) for pool in pools if _testable_principals(items, pool) >= TESTABLE_MIN]
    unique = {candidate.items.tobytes(): candidate for candidate in reversed(found)}
    return list(reversed(unique.values()))


def _community_pools(
    items: Items, around: Neighbourhood, resolutions: Sequence[float], link_rate: float, seed: int
) -> list[NDArray[np.int64]]:
    """For each community, its items whose neighbours are mostly inside it."""
    graph = link_graph(find_links(items, around, rate=link_rate))
    communities = {
        members.tobytes(): members
        for resolution in resolutions
        for members in graph.communities(resolution=resolution, seed=seed)
    }
    return [shared_part(items, around, members) for members in communities.values()]


def _text_graph(items: Items) -> Graph:
    edges = items.adjacency.maximum(items.adjacency.T).tocoo()
    upper = edges.row < edges.col
    first, second = edges.row[upper].astype(np.int32), edges.col[upper].astype(np.int32)
    return Graph(first, second, np.ones(len(first)))


def _inside(items: Items, region: NDArray[np.int64], link_rate: float, seed: int) -> list[NDArray[np.int64]]:
    """The pools of the communities inside a region."""
    return _community_pools(items, neighbourhood(items, region), REGION_RESOLUTIONS, link_rate, seed)


def _topics(items: Items, graph: Graph, seed: int, resolution: float) -> list[NDArray[np.int64]]:
    topics = graph.communities(resolution=resolution, seed=seed)
    label = np.full(len(items.vectors), -1, np.int64)
    for number, texts in enumerate(topics):
        label[texts] = number
    return _groups(label[items.text], len(topics))


def _groups(label: NDArray[np.int64], count: int) -> list[NDArray[np.int64]]:
    """The items of each label from 0 to `count`, sorted."""
    order = np.argsort(label, kind="stable")
    bounds = np.searchsorted(label[order], np.arange(count + 1))
    return [order[bounds[number] : bounds[number + 1]] for number in range(count)]


def _testable_principals(items: Items, chosen: NDArray[np.int64]) -> int:
    return int((runs(items.principal[chosen])[2] >= ITEMS_MIN).sum())
