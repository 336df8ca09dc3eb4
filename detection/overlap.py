"""Do the accounts of a pool repeat each other? Dealt slices of one list do not; a crowd with a common source does."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from coterie.domain import NeighbourGraph

RARE_WORDS_MIN = 2
RARE_SHARE = 0.05
"""Share of a pool's texts that may hold a word for the word to tell one question from another."""

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


def overlap(
    principal: NDArray[np.int32], text: NDArray[np.int32], graph: NeighbourGraph, contents: Sequence[str]
) -> Overlap:
    """Measure a pool of distinct (principal, text) items. Cost: linear in its items and their words.

    Args:
        principal, text: the pool's items; `text` numbers rows of `graph` and entries of `contents`.
        contents: the texts with what many of them share removed, so that one template does not make them all equal.
    """
    sizes = np.unique(principal, return_counts=True)[1].astype(np.float64)
    _, inverse, holders = np.unique(text, return_inverse=True, return_counts=True)
    pairs = int((holders * (holders - 1) // 2).sum())
    across = (sizes.sum() ** 2 - (sizes**2).sum()) / 2
    within = float((sizes * (sizes - 1)).sum() / 2)
    expected = float(across / len(holders))
    same_across, same_within, items = _rewrapped_pairs(principal, text, graph, contents)
    return Overlap(
        repeated=float((holders[inverse] > 1).mean()),
        pairs=pairs,
        expected=expected,
        p_value=float(stats.poisson.cdf(pairs, expected)) if expected > 0 else 1.0,
        rewrapped=items / len(text),
        rewrapped_p_value=float(stats.binom.cdf(same_within, same_across + same_within, within / (within + across))),
    )


def _rewrapped_pairs(
    principal: NDArray[np.int32], text: NDArray[np.int32], graph: NeighbourGraph, contents: Sequence[str]
) -> tuple[int, int, int]:
    """Pairs of different texts with the same question, across and within principals, and items in a pair across."""
    senders: dict[int, set[int]] = defaultdict(set)
    for who, what in zip(principal.tolist(), text.tolist(), strict=True):
        senders[what].add(who)
    words = _rare_words({row: contents[row] for row in senders}, len(np.unique(principal)))
    same_across = same_within = items = 0
    for who, row in zip(principal.tolist(), text.tolist(), strict=True):
        found = False
        for other in graph.neighbours[row, :NEAREST_COMPARED].tolist():
            if other not in senders or not _same_question(words[row], words[other]):
                continue
            apart = senders[other] - {who}
            same_within += who in senders[other]
            same_across += len(apart)
            found = found or bool(apart)
        items += found
    return same_across, same_within, items


def _rare_words(contents: dict[int, str], principals: int) -> dict[int, frozenset[str]]:
    """The words of each text that few others hold: those of a question, not of its wrapping."""
    words = {row: frozenset(_WORD.findall(text.casefold())) for row, text in contents.items()}
    uses = Counter(word for held in words.values() for word in held)
    most = max(principals + 1, int(RARE_SHARE * len(words)))
    return {row: frozenset(word for word in held if uses[word] <= most) for row, held in words.items()}


def _same_question(first: frozenset[str], second: frozenset[str]) -> bool:
    shorter = min(len(first), len(second))
    return shorter >= RARE_WORDS_MIN and len(first & second) >= SAME_CONTAINMENT_MIN * shorter
