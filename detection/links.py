"""Step 2: which principals ask nearer to each other than chance gives, and the communities they form.

A link counts how often the neighbours of one principal's prompts belong to another. Under the degree-preserving null
(configuration model) the count of a pair is Poisson with mean out_a * in_b / total.
"""

from dataclasses import dataclass

import graspologic_native
import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special

from coterie.detection.items import Items, Neighbourhood


@dataclass(frozen=True, slots=True)
class Links:
    """Significant excess links: pairs first < second with their observed and expected counts."""

    first: NDArray[np.int32]
    second: NDArray[np.int32]
    observed: NDArray[np.float64]
    expected: NDArray[np.float64]


def find_links(items: Items, around: Neighbourhood, *, rate: float) -> Links:
    """Links at a false discovery rate (Benjamini-Hochberg over all pairs of principals that sent anything here).

    Cost: linear in neighbours, and in the pairs that have a count at all.

    Args:
        around: the neighbourhood of the items to be looked at.
        rate: false discovery rate, 0 to 1.
    """
    principal = items.principal[around.items]
    sent = sparse.csr_matrix(
        (np.ones(len(principal)), (principal, np.arange(len(principal)))), shape=(items.principals, len(principal))
    )
    count = (sent @ around.near).tocsr()
    # Degrees count a principal's own neighbours too: without them a campaign that makes most of the links there are
    # would be all that its own null expects.
    out_degree = np.asarray(count.sum(axis=1)).ravel()
    in_degree = np.asarray(count.sum(axis=0)).ravel()
    total = max(float(out_degree.sum()), 1.0)
    pair = sparse.triu(count + count.T, k=1).tocoo()
    expected = (out_degree[pair.row] * in_degree[pair.col] + out_degree[pair.col] * in_degree[pair.row]) / total
    p_value = special.pdtrc(np.ceil(pair.data) - 1, np.maximum(expected, 1e-9))
    present = len(np.unique(principal))
    tests = max(1, present * (present - 1) // 2)
    order = np.argsort(p_value, kind="stable")
    passed = p_value[order] <= rate * np.arange(1, len(order) + 1) / tests
    keep = order[: int(np.flatnonzero(passed)[-1]) + 1] if passed.any() else order[:0]
    return Links(pair.row[keep].astype(np.int32), pair.col[keep].astype(np.int32), pair.data[keep], expected[keep])


class Graph:
    """An undirected graph, to be looked at in several resolutions.

    Args:
        first, second: int32[e], the ends of each edge.
        weight: float64[e].
    """

    def __init__(self, first: NDArray[np.int32], second: NDArray[np.int32], weight: NDArray[np.float64]) -> None:
        nodes, place = np.unique(np.concatenate((first, second)), return_inverse=True)
        names = [str(node) for node in nodes.tolist()]
        ends = [names[at] for at in place.tolist()]
        self._edges = list(zip(ends[: len(first)], ends[len(first) :], weight.tolist(), strict=True))

    def communities(self, *, resolution: float, seed: int) -> list[NDArray[np.int32]]:
        """Those of three nodes or more by modularity (Traag, Waltman, van Eck 2019), each sorted, largest first."""
        if not self._edges:
            return []
        _, member_of = graspologic_native.leiden(
            self._edges, resolution=resolution, seed=seed, randomness=0.001, trials=1
        )
        node = np.fromiter(map(int, member_of), np.int32, len(member_of))
        community = np.fromiter(member_of.values(), np.int64, len(member_of))
        order = np.lexsort((node, community))
        bounds = np.flatnonzero(np.diff(community[order])) + 1
        groups = [group for group in np.split(node[order], bounds) if len(group) >= 3]
        return sorted(groups, key=lambda group: (-len(group), int(group[0])))


def link_graph(links: Links) -> Graph:
    """Principals, joined where they are linked."""
    return Graph(links.first, links.second, links.observed - links.expected)
