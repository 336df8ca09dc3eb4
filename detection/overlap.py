"""Do the accounts of a pool repeat each other? Dealt slices of one list do not; a crowd with a common source does."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats

from coterie.domain import NeighbourGraph

RARE_WORDS_MIN = 2
RARE_SHARE = 0.002
RARE_TEXTS_MIN = 20
"""Share of a window's texts, or if that is more, texts, that may hold a word for it to tell questions apart."""

SAME_CONTAINMENT_MIN = 0.9
"""Share of the rare words of the text with fewer of them that the other holds when both wrap one question."""

NEAREST_COMPARED = 8

_WORD = re.compile(r"[぀-ヿ㐀-鿿가-힯]|[^\W_]+")


@dataclass(frozen=True, slots=True)
class Overlap:
    """How far the principals of a pool repeat each other.

    Attributes:
        repeated: share of the pool's items whose exact text another of its principals also sent.
        pairs: pairs of principals that share an exact text, summed over texts.
        expected: what `pairs` would be had every principal drawn its number of texts at random from those seen.
        p_value: probability of so few under that null (Poisson); 1 where nothing was to be expected.
        rewrapped: share of items that hold the same question, in another wrapping, as an item of another principal.
        rewrapped_p_value: probability of so few such pairs within one principal, had the pool been dealt at random.
            A list that resembles itself does so within a slice too; labs that all run it only across.
    """

    repeated: float
    pairs: int
    expected: float
    p_value: float
    rewrapped: float
    rewrapped_p_value: float


def same_questions(graph: NeighbourGraph, contents: Sequence[str]) -> sparse.csr_matrix:
    """Which texts are one question in different wrappings: float64 sparse [m, m], symmetric, 1 for each such pair.

    Of its `NEAREST_COMPARED` nearest neighbours, those that hold the same rare words. Cost: linear in texts and words.

    Args:
        graph: the neighbours of m texts.
        contents: the texts with what many of them share removed, so that one template does not make them all equal.
    """
    words = _rare_words(contents)
    near = graph.neighbours[:, :NEAREST_COMPARED]
    pairs = [
        (row, other)
        for row, others in enumerate(near.tolist())
        for other in others
        if other >= 0 and _same_question(words[row], words[other])
    ]
    rows, columns = np.array(pairs, np.int64).reshape(-1, 2).T
    m = len(contents)
    one_way = sparse.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(m, m))
    return one_way.maximum(one_way.T).tocsr()


def overlap(principal: NDArray[np.int32], text: NDArray[np.int32], same: sparse.csr_matrix) -> Overlap:
    """Measure a pool of distinct (principal, text) items, numbered as in `same`. Cost: linear in its items."""
    principals, number = np.unique(principal, return_inverse=True)
    sizes = np.bincount(number).astype(np.float64)
    distinct, inverse, holders = np.unique(text, return_inverse=True, return_counts=True)
    pairs = int((holders * (holders - 1) // 2).sum())
    across = (sizes.sum() ** 2 - (sizes**2).sum()) / 2
    within = float((sizes * (sizes - 1)).sum() / 2)
    expected = float(across / max(1, len(holders)))
    # For each item how many of the others ask the same, by itself and by anybody.
    holds = sparse.csr_matrix((np.ones(len(text)), (inverse, number)), shape=(len(distinct), len(principals)))
    asked = (same[distinct][:, distinct] @ holds).tocsr()
    by_itself = np.asarray(asked[inverse, number]).ravel()
    by_others = np.asarray(asked.sum(axis=1)).ravel()[inverse] - by_itself
    # Each pair is seen from both of its ends.
    same_within, same_across = int(by_itself.sum()) // 2, int(by_others.sum()) // 2
    return Overlap(
        repeated=float((holders[inverse] > 1).mean()) if len(text) else 0.0,
        pairs=pairs,
        expected=expected,
        p_value=float(stats.poisson.cdf(pairs, expected)) if expected > 0 else 1.0,
        rewrapped=float((by_others > 0).mean()) if len(text) else 0.0,
        rewrapped_p_value=float(
            stats.binom.cdf(same_within, same_across + same_within, within / max(within + across, 1.0))
        ),
    )


def _rare_words(contents: Sequence[str]) -> list[frozenset[str]]:
    """The words of each text that few others hold: those of a question, not of its wrapping."""
    words = [frozenset(_WORD.findall(text.casefold())) for text in contents]
    uses = Counter(word for held in words for word in held)
    most = max(RARE_TEXTS_MIN, int(RARE_SHARE * len(words)))
    return [frozenset(word for word in held if uses[word] <= most) for held in words]


def _same_question(first: frozenset[str], second: frozenset[str]) -> bool:
    shorter = min(len(first), len(second))
    return shorter >= RARE_WORDS_MIN and len(first & second) >= SAME_CONTAINMENT_MIN * shorter
