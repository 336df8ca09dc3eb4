"""Do the accounts of a pool repeat each other? Dealt slices of one list do not; a crowd with a common source does."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, count

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, special

from coterie.detection.items import neighbours_inside
from coterie.detection.kernels import have_in_common, numbered
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


class Words:
    """The distinct words of m texts, case folded and numbered: read once for all views.

    Attributes:
        starts: int64[m + 1].
        numbers: int64[...], numbers[starts[t] : starts[t + 1]] are the words of text t, sorted.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        vocabulary: dict[str, int] = defaultdict(count().__next__)
        held = [{vocabulary[word] for word in _WORD.findall(text.casefold())} for text in texts]
        sizes = np.fromiter(map(len, held), np.int64, len(held))
        self.starts = np.concatenate(([0], np.cumsum(sizes)))
        numbers = np.fromiter(chain.from_iterable(held), np.int64, int(sizes.sum()))
        width = max(1, len(vocabulary))
        self.numbers = np.sort(np.repeat(np.arange(len(held)), sizes) * width + numbers) % width

    def rare(self, chosen: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Likewise the words of the chosen texts that few of these hold: those of a question, not of its wrapping."""
        sizes = np.diff(self.starts)[chosen]
        first = np.repeat(self.starts[chosen] - np.cumsum(sizes) + sizes, sizes)
        numbers = self.numbers[first + np.arange(len(first))]
        most = max(RARE_TEXTS_MIN, int(RARE_SHARE * len(chosen)))
        rare = np.bincount(numbers)[numbers] <= most if len(numbers) else np.zeros(0, bool)
        row = np.repeat(np.arange(len(chosen)), sizes)[rare]
        return np.concatenate(([0], np.cumsum(np.bincount(row, minlength=len(chosen))))), numbers[rare]


def same_questions(graph: NeighbourGraph, words: Words, text: NDArray[np.int64]) -> sparse.csr_matrix:
    """Which texts are one question in different wrappings: float64 sparse [m, m], symmetric, 1 for each such pair.

    Of its `NEAREST_COMPARED` nearest neighbours, those that hold the same rare words. Cost: linear in texts and words.

    Args:
        graph: the neighbours of m texts.
        words: of the window's texts with what many of them share removed, so that one template does not make them all
            equal.
        text: int64[m], which of these each text of the graph stands for.
    """
    starts, rare = words.rare(text)
    near = graph.neighbours[:, :NEAREST_COMPARED]
    rows, slot = np.nonzero(near >= 0)
    columns = near[rows, slot].astype(np.int64)
    same = have_in_common(starts, rare, rows, columns, RARE_WORDS_MIN, SAME_CONTAINMENT_MIN)
    m = len(text)
    one_way = sparse.csr_matrix((np.ones(int(same.sum())), (rows[same], columns[same])), shape=(m, m))
    return one_way.maximum(one_way.T).tocsr()


def overlap(principal: NDArray[np.int32], text: NDArray[np.int32], same: sparse.csr_matrix) -> Overlap:
    """Measure a pool of distinct (principal, text) items, numbered as in `same`. Cost: linear in its items."""
    _, number, counts = numbered(principal)
    sizes = counts.astype(np.float64)
    _, inverse, holders = numbered(text)
    pairs = int((holders * (holders - 1) // 2).sum())
    across = (sizes.sum() ** 2 - (sizes**2).sum()) / 2
    within = float((sizes * (sizes - 1)).sum() / 2)
    expected = float(across / max(1, len(holders)))
    # For each item how many of the others ask the same, by itself and by others.
    by_itself, by_anybody = neighbours_inside(same, text, number)
    by_others = by_anybody - by_itself
    # Each pair is seen from both of its ends.
    same_within, same_across = int(by_itself.sum()) // 2, int(by_others.sum()) // 2
    return Overlap(
        repeated=float((holders[inverse] > 1).mean()) if len(text) else 0.0,
        pairs=pairs,
        expected=expected,
        p_value=float(special.pdtr(pairs, expected)) if expected > 0 else 1.0,
        rewrapped=float((by_others > 0).mean()) if len(text) else 0.0,
        rewrapped_p_value=float(
            special.bdtr(same_within, same_across + same_within, within / max(within + across, 1.0))
        ),
    )
