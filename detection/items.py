"""The table detection works on: who asked what, each distinct pair once, in one view."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from coterie.detection.kernels import count_neighbours, runs_of, sums_inside
from coterie.domain import View

HOLDERS_MAX = 3
"""A text that more principals sent is popular, and popular texts do not link."""

LINK_NEIGHBOURS = 15

ODDS_MIN = 4.0
"""How much likelier than by chance an item's neighbours belong to some principals for it to be of their pool."""

NEIGHBOURS_IN_MIN = 2


@dataclass(frozen=True)
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

    @cached_property
    def reverse(self) -> sparse.csr_matrix:
        """float64 sparse [m, m], 1 where the row is among the nearest neighbours of the column."""
        return self.adjacency.T.tocsr()

    @cached_property
    def by_text(self) -> NDArray[np.int64]:
        """int64[n], the items in the order of their texts."""
        return np.argsort(self.text, kind="stable")

    @cached_property
    def sorted_text(self) -> NDArray[np.int32]:
        """int32[n], their texts in that order."""
        return self.text[self.by_text]

    @cached_property
    def volume(self) -> NDArray[np.float64]:
        """float64[principals], items of each."""
        return np.bincount(self.principal, minlength=self.principals).astype(np.float64)


@dataclass(frozen=True)
class Neighbourhood:
    """How the neighbours of some items are spread over principals, neighbours outside those items left out.

    Attributes:
        items: int64[s], the items looked at.
        near: float64 sparse [s, principals], for each of them; popular texts count for nobody.
        own: float64[s], the part of it that is the item's own principal.
        total: float64[s], all of it.
        principal: int32[s], whose each item is; sorted.
    """

    items: NDArray[np.int64]
    near: sparse.csr_matrix
    own: NDArray[np.float64]
    total: NDArray[np.float64]
    principal: NDArray[np.int32]

    @cached_property
    def mass(self) -> NDArray[np.float64]:
        """float64[principals]: how often each is a neighbour."""
        return np.asarray(self.near.sum(axis=0)).ravel()


def runs(values: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    """The distinct ones of sorted values, which of them each is, and how often each comes, without sorting again."""
    return runs_of(values)


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
    return count_neighbours(adjacency.indptr, adjacency.indices, text, owner)


def neighbours_of(adjacency: sparse.csr_matrix, texts: NDArray[np.int32]) -> NDArray[np.int32]:
    """The neighbours of the first text, those of the second, and so on."""
    first, sizes = adjacency.indptr[texts].astype(np.int64), np.diff(adjacency.indptr)[texts]
    at = np.repeat(first - np.cumsum(sizes) + sizes, sizes) + np.arange(int(sizes.sum()))
    return np.asarray(adjacency.indices[at], np.int32)


def items_of(items: Items, principals: NDArray[np.int32]) -> NDArray[np.int64]:
    """The items of some principals, given sorted. Cost: linear in what is found."""
    return _places(items.principal, principals)


def items_with(items: Items, texts: NDArray[np.int32]) -> NDArray[np.int64]:
    """The items of some texts, sorted. Cost: linear in what is found, times its logarithm."""
    return np.sort(items.by_text[_places(items.sorted_text, texts)])


def _places(values: NDArray[np.int32], wanted: NDArray[np.int32]) -> NDArray[np.int64]:
    """Where any of some values stands among sorted ones: those of the first, those of the second, and so on."""
    first, last = (np.searchsorted(values, wanted, side) for side in ("left", "right"))
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
    return Neighbourhood(chosen, near, own, np.asarray(near.sum(axis=1)).ravel(), principal)


def shared_part(items: Items, around: Neighbourhood, members: NDArray[np.int32]) -> NDArray[np.int64]:
    """What principals ask near each other: their items whose neighbours are mostly those of the others.

    Cost: linear in the neighbours of what these sent.

    Args:
        members: int32[...], the principals, sorted.
    """
    inside = np.zeros(items.principals, np.bool_)
    inside[members] = True
    mine = _places(around.principal, members)
    near = sums_inside(around.near.indptr, around.near.indices, around.near.data, mine, inside) - around.own[mine]
    mass = around.mass
    share = float(mass[members].sum() / max(mass.sum(), 1.0))
    outside = np.maximum(around.total[mine] - around.own[mine] - near, 0.5)
    chosen = (near >= NEIGHBOURS_IN_MIN) & (near / outside >= ODDS_MIN * share / max(1 - share, 1e-9))
    return around.items[mine[chosen]]
