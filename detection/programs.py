"""Which known programming tasks a program is of: by the words that survive a change of language."""

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from coterie.detection.traits import find_traits, is_program

_FEATURES = 2**18
_NEAREST = 5
_COMMON_SHARE = 0.05
"""A word that more of the items hold says little, and costs the most to look up."""

_COMMON_MIN = 20


class ProgramIndex:
    """Finds items by what a program keeps when it is ported: parts of identifiers, words of comments, numbers.

    Only texts that look like programs are held and looked up. Words are weighted by inverse document frequency, and a
    text is scored by the weight it holds of an item's words: what else is in a long text counts nothing.
    Thread-safe.
    """

    def __init__(self) -> None:
        self._words: list[NDArray[np.int64]] = []
        self._numbers: list[int] = []
        self._weighted: sparse.csr_matrix | None = None
        self._turn = threading.Lock()

    def add(self, items: Sequence[str], first: int) -> None:
        """Add those of some items that are programs; the first is called `first`, the others follow."""
        found = [(number, features) for number, item in enumerate(items, first) if len(features := _features(item))]
        with self._turn:
            self._numbers += [number for number, _ in found]
            self._words += [features for _, features in found]
            self._weighted = None

    def search(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Up to 5 items for each program among the texts: (text int64[p], item int64[p])."""
        asked = [(row, features) for row, text in enumerate(texts) if len(features := _features(text))]
        if not asked or not self._numbers:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        with self._turn:
            if self._weighted is None:
                self._weighted = self._weigh()
            weighted = self._weighted
        scores = (_held([features for _, features in asked]) @ weighted).tocsr()
        rows, items = [], []
        for place, (row, _) in enumerate(asked):
            within = slice(scores.indptr[place], scores.indptr[place + 1])
            of, score = scores.indices[within], scores.data[within]
            best = np.lexsort((of, -score))[:_NEAREST]
            rows += [row] * len(best)
            items += [self._numbers[number] for number in of[best].tolist()]
        return np.array(rows, np.int64), np.array(items, np.int64)

    def _weigh(self) -> sparse.csr_matrix:
        held = _held(self._words)
        count = np.asarray(held.sum(axis=0)).ravel()
        weight = np.log(len(self._words) / np.maximum(count, 1)) + 0.1
        weight[count > max(_COMMON_MIN, _COMMON_SHARE * len(self._words))] = 0.0
        weighted = (held @ sparse.diags(weight)).tocsr()
        total = np.asarray(weighted.sum(axis=1)).ravel()
        # The square root leaves an item of few words behind one of many that is held as well.
        scaled = (sparse.diags(1.0 / np.sqrt(np.maximum(total, 1e-9))) @ weighted).tocsr()
        scaled.eliminate_zeros()
        return scaled.T.tocsr()  # a row for each word, so that a search reads those of its words alone


def _features(text: str) -> NDArray[np.int64]:
    if not is_program(text):
        return np.zeros(0, np.int64)
    traits = find_traits(text)
    words = sorted({*traits.words, *(f"#{number}" for number in traits.numbers)})
    return np.unique(np.array([_bucket(word) for word in words], np.int64))


def _bucket(word: str) -> int:
    """The same in every process, as `hash` is not."""
    value = 0
    for character in word:
        value = (value * 1_000_003 + ord(character)) & 0xFFFFFFFF
    return (value * 0x9E3779B1 & 0xFFFFFFFF) % _FEATURES


def _held(features: Sequence[NDArray[np.int64]]) -> sparse.csr_matrix:
    indptr = np.concatenate(([0], np.cumsum([len(row) for row in features])))
    indices = np.concatenate(features)
    return sparse.csr_matrix((np.ones(len(indices)), indices, indptr), shape=(len(features), _FEATURES))
