"""The table detection works on: who asked what, each distinct pair once, in one view."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from coterie.detection.kernels import count_neighbours
from coterie.domain import View

HOLDERS_MAX = 3
"""A text that more principals sent is popular, and popular texts do not link."""

LINK_NEIGHBOURS = 15

ODDS_MIN = 4.0
"""How much likelier than by chance an item's neighbours belong to some principals for it to be of their pool."""

NEIGHBOURS_IN_MIN = 2


@dataclass(frozen=True, slots=True)
class Items:
    """Distinct (principal, text) pairs of a view, n of them, ordered by principal.

    A principal is an organisation with all its accounts, or an account that belongs to none: one customer's seats are
    one hand, and no coordination.

    Attributes:
        principal: int32[n].
        text: int32[n], row of the view.
        vectors: float32[m, dim], the view's texts, centred on the mean of its items.
        adjacency: float64 sparse [m, m], 1 where the column is among the nearest neighbours of the row.
        principals: how many there are.
    """

    principal: NDArray[np.int32]
    text: NDArray[np.int32]
    vectors: NDArray[np.float32]
    adjacency: sparse.csr_matrix
    principals: int

    @property
    def size(self) -> int:
        """Number of items, n."""
        return len(self.principal)


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """How the neighbours of some items are spread over principals, neighbours outside those items left out.

    Attributes:
        items: int64[s], the items looked at.
        near: float64 sparse [s, principals], for each of them; popular texts count for nobody.
        own: float64[s], the part of it that is the item's own principal.
        total: float64[s], all of it.
    """

    items: NDArray[np.int64]
    near: sparse.csr_matrix
    own: NDArray[np.float64]
    total: NDArray[np.float64]

    @property
    def mass(self) -> NDArray[np.float64]:
        """float64[principals]: how often each is a neighbour."""
        return np.asarray(self.near.sum(axis=0)).ravel()


def neighbours_inside(
    adjacency: sparse.csr_matrix, text: NDArray[np.int32], owner: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each item of a pool, how often a neighbour of its text is its owner's, and how often anybody's.

    A neighbour counts once for each owner that has it, the text itself never. Cost: linear in the pool's neighbours,
    whatever lies outside of it.

    Args:
        adjacency: sparse [m, m], an entry for each neighbour.
        text, owner: int[n], of distinct items; owners numbered from 0.
    """
    distinct, place = np.unique(text, return_inverse=True)
    order = np.argsort(owner, kind="stable")
    return count_neighbours(adjacency.indptr, adjacency.indices, distinct, place, owner, order)


def items_of(items: Items, principals: NDArray[np.int32]) -> NDArray[np.int64]:
    """The items of some principals, given sorted. Cost: linear in what is found."""
    first, last = (np.searchsorted(items.principal, principals, side) for side in ("left", "right"))
    sizes = last - first
    return np.repeat(first - np.cumsum(sizes) + sizes, sizes) + np.arange(int(sizes.sum()))


def make_items(view: View, principal_of_row: NDArray[np.int32], principals: int) -> Items:
    """The item table of a view.

    Args:
        principal_of_row: int32, the principal of each exchange of the window.
    """
    texts = len(view.vectors)
    held = view.text >= 0
    key = np.unique(principal_of_row[held].astype(np.int64) * max(texts, 1) + view.text[held])
    principal, text = (key // max(texts, 1)).astype(np.int32), (key % max(texts, 1)).astype(np.int32)
    centre = view.vectors[text].mean(axis=0) if len(text) else np.zeros(view.vectors.shape[1], np.float32)
    near = view.graph.neighbours[:, : min(view.graph.k, LINK_NEIGHBOURS)]
    source, slot = np.nonzero(near >= 0)
    adjacency = sparse.csr_matrix((np.ones(len(source)), (source, near[source, slot])), shape=(texts, texts))
    return Items(principal, text, view.vectors - centre, adjacency, principals)


def neighbourhood(items: Items, chosen: NDArray[np.int64] | None = None) -> Neighbourhood:
    """The spread of neighbours among the items chosen, or among all. Cost: linear in their neighbours."""
    chosen = np.arange(items.size) if chosen is None else chosen
    principal, text = items.principal[chosen], items.text[chosen]
    texts = len(items.vectors)
    holders = np.bincount(text, minlength=texts)
    keep = holders[text] <= HOLDERS_MAX
    held = sparse.csr_matrix(
        (1.0 / holders[text[keep]], (text[keep], principal[keep])), shape=(texts, items.principals)
    )
    near = (items.adjacency[text] @ held).tocsr()
    own = np.asarray(near[np.arange(len(chosen)), principal]).ravel()
    return Neighbourhood(chosen, near, own, np.asarray(near.sum(axis=1)).ravel())


def shared_part(
    items: Items, around: Neighbourhood, members: NDArray[np.int32], mass: NDArray[np.float64]
) -> NDArray[np.int64]:
    """What principals ask near each other: their items whose neighbours are mostly those of the others.

    Args:
        members: int32[...], the principals.
        mass: `around.mass`, which takes a while.
    """
    inside = np.zeros(items.principals)
    inside[members] = 1.0
    mine = np.flatnonzero(inside[items.principal[around.items]] > 0)
    near = np.asarray(around.near[mine] @ inside).ravel() - around.own[mine]
    share = float(mass[members].sum() / max(mass.sum(), 1.0))
    outside = np.maximum(around.total[mine] - around.own[mine] - near, 0.5)
    chosen = (near >= NEIGHBOURS_IN_MIN) & (near / outside >= ODDS_MIN * share / max(1 - share, 1e-9))
    return around.items[mine[chosen]]
