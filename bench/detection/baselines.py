"""What others would do with the same window, vectors and graph. Their limits are fixed on null traffic (`limits.py`).

Each method but HDBSCAN gives scored groups; an account is accused when the score of a group it is in is above the
method's limit. They count customers as coterie does: an organisation with its accounts is one.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import graspologic_native
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components

from bench.detection.trial import Groups
from coterie.detection.families import find_families
from coterie.domain import Window

FAMILY_ACCOUNTS_MIN = 5
TWIN_TEXTS_MIN = 10
TWIN_WITHIN_MIN = 0.03
"""Least similarity within an account for its unbiased cosine to be defined: below, it is a quotient of noise."""

COMMUNITY_PRINCIPALS_MIN = 3
COMMUNITY_NEIGHBOURS = 15
COACTION_WINDOW_US = 3_600_000_000
"""An hour; coordination-network-toolkit's examples take a minute or a few, in which campaign accounts rarely meet."""

COACTION_COSINE_MIN = 0.8
COACTION_JACCARD_MIN = 0.7

_WORD = re.compile(r"\w+")

Pairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
"""Two principals and the weight of what joins them."""


def plain_hdbscan(window: Window) -> Groups:
    """HDBSCAN families of the prompts that at least five accounts share."""
    rows = window.rows
    families = find_families(
        window.raw.graph, np.bincount(window.raw.text, minlength=len(window.texts)), min_samples=5, min_cluster_size=10
    )
    label = families.label[window.raw.text]
    pairs = np.unique(np.column_stack((label[label >= 0], rows.account[label >= 0])), axis=0)
    groups: dict[int, set[str]] = defaultdict(set)
    for family, account in pairs.tolist():
        groups[family].add(rows.account_ids[account])
    return [members for members in groups.values() if len(members) >= FAMILY_ACCOUNTS_MIN]


def account_twins(window: Window) -> Pairs:
    """Pairs of principals by the unbiased cosine of their mean embeddings, self-pairs left out of the norms."""
    principal, text = _asked(window)
    vectors = window.raw.vectors - window.raw.vectors[text].mean(axis=0)
    count = int(principal.max(initial=-1)) + 1
    held = sparse.csr_matrix((np.ones(len(text)), (principal, text)), shape=(count, len(vectors)))
    sums = np.asarray(held @ vectors, np.float64)
    sizes = np.asarray(held.sum(axis=1)).ravel()
    squares = np.asarray(held @ np.einsum("ij,ij->i", vectors, vectors)).ravel()
    own = np.einsum("ij,ij->i", sums, sums) - squares
    within = own / np.maximum(sizes * (sizes - 1), 1)
    able = np.flatnonzero((sizes >= TWIN_TEXTS_MIN) & (within >= TWIN_WITHIN_MIN))
    means = sums[able] / (sizes[able] * np.sqrt(within[able]))[:, None]
    first, second = np.triu_indices(len(able), 1)
    # A block at a time would be needed beyond some ten thousand accounts; the scenarios that score stay below.
    cosine = (means @ means.T)[first, second]
    return able[first], able[second], cosine


def link_communities(window: Window) -> list[tuple[set[int], float]]:
    """Leiden communities of principals by excess neighbours, each with the share of its members' links it keeps.

    The excess is over the configuration model, as modularity has it.
    """
    principal, text = _asked(window)
    count = int(principal.max(initial=-1)) + 1
    near = window.raw.graph.neighbours[:, :COMMUNITY_NEIGHBOURS]
    source, slot = np.nonzero(near >= 0)
    texts = len(window.texts)
    adjacency = sparse.csr_matrix((np.ones(len(source)), (source, near[source, slot])), shape=(texts, texts))
    holders = np.bincount(text, minlength=texts)
    held = sparse.csr_matrix((1.0 / holders[text], (principal, text)), shape=(count, texts))
    links = held @ adjacency @ held.T
    links = (links + links.T).tocoo()
    degree = np.asarray(links.sum(axis=1)).ravel()
    excess = links.data - degree[links.row] * degree[links.col] / max(degree.sum(), 1.0)
    keep = (links.row < links.col) & (excess > 0)
    edges = [
        (str(a), str(b), float(w))
        for a, b, w in zip(links.row[keep].tolist(), links.col[keep].tolist(), excess[keep].tolist(), strict=True)
    ]
    if not edges:
        return []
    _, member_of = graspologic_native.leiden(edges, seed=0, randomness=0.001, trials=1)
    groups: dict[int, set[int]] = defaultdict(set)
    for name, community in member_of.items():
        groups[community].add(int(name))
    label = np.full(count, -1, np.int64)
    for number, members in enumerate(groups.values()):
        label[sorted(members)] = number
    across = (links.row != links.col) & (label[links.row] == label[links.col]) & (label[links.row] >= 0)
    inside = np.bincount(label[links.row[across]], weights=links.data[across], minlength=len(groups))
    return [
        (members, float(inside[number] / max(degree[sorted(members)].sum(), 1e-9)))
        for number, members in enumerate(groups.values())
        if len(members) >= COMMUNITY_PRINCIPALS_MIN
    ]


def coactions(window: Window) -> Pairs:
    """Pairs of principals by how many texts both sent within an hour of each other, near-duplicates being one text.

    The co-action network of coordination-network-toolkit (its co-tweet and co-similarity, by Jaccard of words).
    """
    owner = principals(window)[1][window.rows.account]
    action = _near_duplicates(window)[window.raw.text]
    order = np.lexsort((window.rows.time_us, action))
    action, owner, time_us = action[order], owner[order], window.rows.time_us[order]
    met: list[NDArray[np.int64]] = []
    step = 1
    while step < len(action):
        same = (action[:-step] == action[step:]) & (time_us[step:] - time_us[:-step] <= COACTION_WINDOW_US)
        if not same.any():
            break
        pair = np.sort(np.column_stack((owner[:-step][same], owner[step:][same])), axis=1)
        met.append(np.column_stack((pair, action[:-step][same]))[pair[:, 0] != pair[:, 1]])
        step += 1
    if not met:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    distinct = np.unique(np.concatenate(met), axis=0)
    pairs, weight = np.unique(distinct[:, :2], axis=0, return_counts=True)
    return pairs[:, 0], pairs[:, 1], weight.astype(np.float64)


def _near_duplicates(window: Window) -> NDArray[np.int64]:
    """int64[texts]: the same number for texts joined by a chain of near-duplicates."""
    graph = window.raw.graph
    first, slot = np.nonzero((graph.neighbours >= 0) & (graph.similarities >= COACTION_COSINE_MIN))
    second = graph.neighbours[first, slot]
    words = {row: frozenset(_WORD.findall(window.texts[row].casefold())) for row in {*first.tolist(), *second.tolist()}}
    alike = np.array([_jaccard(words[a], words[b]) >= COACTION_JACCARD_MIN for a, b in zip(first, second, strict=True)])
    alike = alike.astype(bool)
    joined = sparse.csr_matrix(
        (np.ones(int(alike.sum())), (first[alike], second[alike])), shape=(len(window.texts), len(window.texts))
    )
    return connected_components(joined, directed=False)[1].astype(np.int64)


def _jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    return len(left & right) / max(1, len(left | right))


def principals(window: Window) -> tuple[list[set[str]], NDArray[np.int64]]:
    """The accounts of every principal, and int64[accounts], the principal of each account."""
    rows = window.rows
    owner: dict[int, str] = {}
    organisation = rows.attributes.get("organisation")
    if organisation is not None:
        names = rows.attribute_values["organisation"]
        owner = {
            int(account): f"organisation {names[value]}"
            for account, value in np.unique(np.column_stack((rows.account, organisation)), axis=0)
            if value >= 0
        }
    numbers: dict[str, int] = {}
    of_account = np.array(
        [numbers.setdefault(owner.get(row, f"account {row}"), len(numbers)) for row in range(len(rows.account_ids))],
        np.int64,
    )
    members: list[set[str]] = [set() for _ in numbers]
    for row, number in enumerate(of_account.tolist()):
        members[number].add(rows.account_ids[row])
    return members, of_account


def _asked(window: Window) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Distinct pairs of principal and text."""
    of_row = principals(window)[1][window.rows.account]
    pairs = np.unique(np.column_stack((of_row, window.raw.text.astype(np.int64))), axis=0)
    return pairs[:, 0], pairs[:, 1]


def joined_above(window: Window, pairs: Pairs, limit: float) -> Groups:
    """The accounts joined by pairs whose weight is above the limit, a group for each connected part."""
    members = principals(window)[0]
    first, second, weight = pairs
    keep = weight > limit
    graph = sparse.csr_matrix((np.ones(int(keep.sum())), (first[keep], second[keep])), shape=(len(members),) * 2)
    parts: dict[int, set[str]] = defaultdict(set)
    label = connected_components(graph, directed=False)[1]
    for number in np.unique(np.concatenate((first[keep], second[keep]))).tolist():
        parts[int(label[number])] |= members[number]
    return list(parts.values())


def communities_above(window: Window, scored: Sequence[tuple[set[int], float]], limit: float) -> Groups:
    """The accounts of communities whose score is above the limit."""
    members = principals(window)[0]
    return [set().union(*(members[number] for number in group)) for group, value in scored if value > limit]


def best_of_principals(pairs: Pairs, count: int) -> NDArray[np.float64]:
    """float64[principals]: the largest weight each has with anybody; -inf where none."""
    best = np.full(count, -np.inf)
    np.maximum.at(best, pairs[0], pairs[2])
    np.maximum.at(best, pairs[1], pairs[2])
    return best


def best_of_members(scored: Iterable[tuple[set[int], float]], count: int) -> NDArray[np.float64]:
    """float64[principals]: the score of the community each is in; -inf where none."""
    best = np.full(count, -np.inf)
    for group, value in scored:
        best[sorted(group)] = value
    return best


PAIR_METHODS: dict[str, Callable[[Window], Pairs]] = {"account_twins": account_twins, "coaction": coactions}
