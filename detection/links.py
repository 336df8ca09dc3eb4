"""Step 2: which principals ask nearer to each other than chance gives, and the communities they form.

A link counts how often the neighbours of one principal's prompts belong to another. Under the degree-preserving null
(configuration model) the count of a pair is Poisson with mean out_a * in_b / total.
"""

from dataclasses import dataclass

import graspologic_native
import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats

HOLDERS_MAX = 3
"""A text that more principals sent is popular, and popular texts do not link."""

LINK_NEIGHBOURS = 15


@dataclass(frozen=True, slots=True)
class Links:
    """Significant excess links: pairs first < second with their observed and expected counts."""

    first: NDArray[np.int32]
    second: NDArray[np.int32]
    observed: NDArray[np.float64]
    expected: NDArray[np.float64]


def find_links(near: sparse.csr_matrix, text: NDArray[np.int32], principal: NDArray[np.int32], *, rate: float) -> Links:
    """Links at a false discovery rate (Benjamini-Hochberg over all pairs).

    Cost: linear in items times k, and in the pairs that have a count at all.

    Args:
        near: [texts, principals], how each text's neighbours are spread over principals.
        text, principal: the items.
        rate: false discovery rate, 0 to 1.
    """
    principals = near.shape[1]
    sent = sparse.csr_matrix((np.ones(len(text)), (principal, text)), shape=(principals, near.shape[0]))
    count = (sent @ near).tocsr()
    count.setdiag(0)
    count.eliminate_zeros()
    out_degree = np.asarray(count.sum(axis=1)).ravel()
    in_degree = np.asarray(count.sum(axis=0)).ravel()
    total = max(float(out_degree.sum()), 1.0)
    pair = sparse.triu(count + count.T, k=1).tocoo()
    expected = (out_degree[pair.row] * in_degree[pair.col] + out_degree[pair.col] * in_degree[pair.row]) / total
    p_value = stats.poisson.sf(np.ceil(pair.data) - 1, np.maximum(expected, 1e-9))
    tests = max(1, principals * (principals - 1) // 2)
    order = np.argsort(p_value, kind="stable")
    passed = p_value[order] <= rate * np.arange(1, len(order) + 1) / tests
    keep = order[: int(np.flatnonzero(passed)[-1]) + 1] if passed.any() else order[:0]
    return Links(pair.row[keep].astype(np.int32), pair.col[keep].astype(np.int32), pair.data[keep], expected[keep])


def link_communities(links: Links, *, resolution: float, seed: int) -> list[NDArray[np.int32]]:
    """Communities of three principals or more in the link graph, each sorted, largest first.

    Leiden with modularity (Traag, Waltman, van Eck 2019).
    """
    if not len(links.first):
        return []
    weight = links.observed - links.expected
    edges = [
        (str(a), str(b), float(w))
        for a, b, w in zip(links.first.tolist(), links.second.tolist(), weight.tolist(), strict=True)
    ]
    _, member_of = graspologic_native.leiden(edges, resolution=resolution, seed=seed, randomness=0.001, trials=1)
    node = np.fromiter((int(name) for name in member_of), np.int32, len(member_of))
    community = np.fromiter(member_of.values(), np.int64, len(member_of))
    groups = [np.sort(node[community == number]) for number in np.unique(community)]
    return sorted((group for group in groups if len(group) >= 3), key=lambda group: (-len(group), int(group[0])))
