"""The table detection works on: who asked what, each distinct pair once, in one view."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from coterie.detection.links import HOLDERS_MAX, LINK_NEIGHBOURS
from coterie.domain import View


@dataclass(frozen=True, slots=True)
class Items:
    """Distinct (principal, text) pairs of a view, n of them, ordered by principal.

    A principal is an organisation with all its accounts, or an account that belongs to none: one customer's seats are
    one hand, and no coordination.

    Attributes:
        principal: int32[n].
        text: int32[n], row of the view.
        vectors: float32[m, dim], the view's texts, centred on the mean of its items.
        near: float64 sparse [m, principals], how the neighbours of each text are spread over principals; popular
            texts count for nobody.
        principals: how many there are.
    """

    principal: NDArray[np.int32]
    text: NDArray[np.int32]
    vectors: NDArray[np.float32]
    near: sparse.csr_matrix
    principals: int

    @property
    def size(self) -> int:
        """Number of items, n."""
        return len(self.principal)


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
    return Items(
        principal=principal,
        text=text,
        vectors=view.vectors - centre,
        near=_neighbour_spread(view, principal, text, principals),
        principals=principals,
    )


def _neighbour_spread(
    view: View, principal: NDArray[np.int32], text: NDArray[np.int32], principals: int
) -> sparse.csr_matrix:
    texts = len(view.vectors)
    holders = np.bincount(text, minlength=texts)
    keep = holders[text] <= HOLDERS_MAX
    held = sparse.csr_matrix((1.0 / holders[text[keep]], (text[keep], principal[keep])), shape=(texts, principals))
    near = view.graph.neighbours[:, : min(view.graph.k, LINK_NEIGHBOURS)]
    source, slot = np.nonzero(near >= 0)
    adjacency = sparse.csr_matrix((np.ones(len(source)), (source, near[source, slot])), shape=(texts, texts))
    return (adjacency @ held).tocsr()
