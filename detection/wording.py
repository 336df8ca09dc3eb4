"""Step 4, by the letter: do the accounts of a pool have words of their own?

An encoder sees what it was trained on. A script, a notation or a language that it hardly knows gives it nearly one
vector for all prompts, and then everybody seems interchangeable. Letters can always be compared: people with subjects
of their own repeat words within an account more than across, in whatever script, and dealt slices do not.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from coterie.detection.exchangeability import exchangeability, permutation_z

DIMENSIONS = 256
GRAM_LETTERS = 4
"""Letters in a row that are compared: most of a word, of whichever script. Ideographs are also compared one by one."""

LETTERS_MAX = 1_000
"""Letters of a text that are looked at."""

_MULTIPLIERS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5], np.uint64)
_IDEOGRAPHS = (
    (np.uint64(0x3400), np.uint64(0x9FFF)),
    (np.uint64(0xF900), np.uint64(0xFAFF)),
    (np.uint64(0x20000), np.uint64(0x323AF)),
)
"""Unified and compatibility ideographs of Unicode, first and last of each range: letters that are words."""

_TABLE_BITS = 20
_TABLE_SHIFT, _SIGN_SHIFT, _PLACE_SHIFT = np.uint64(64 - _TABLE_BITS), np.uint64(43), np.uint64(35)
_CHUNK_LETTERS = 1_000_000


def wording_vectors(contents: Sequence[str]) -> NDArray[np.float32]:
    """What each text is written with: float32[m, `DIMENSIONS`], unit rows; 0 for an empty text.

    Signed feature hashing (Weinberger et al. 2009) of runs of `GRAM_LETTERS` letters and of single ideographs, each
    once a text, weighted by the logarithm of how few texts hold it (Sparck Jones 1972). Cost: linear in letters.

    Args:
        contents: m texts without boilerplate, so that a template or a persona is not taken for a subject.
    """
    held = np.zeros(1 << _TABLE_BITS)
    for _, _, gram in _grams(contents):
        held += np.bincount((gram >> _TABLE_SHIFT).astype(np.int64), minlength=len(held))
    weight = np.log((1 + len(contents)) / (1 + held))
    vectors = np.zeros((len(contents), DIMENSIONS), np.float32)
    for start, text, gram in _grams(contents):
        place = (gram >> _PLACE_SHIFT).astype(np.int64) % DIMENSIONS
        sign = np.where((gram >> _SIGN_SHIFT).astype(np.int64) & 1, 1.0, -1.0)
        value = sign * weight[(gram >> _TABLE_SHIFT).astype(np.int64)]
        texts = int(text[-1]) + 1
        sums = np.bincount(text * DIMENSIONS + place, weights=value, minlength=texts * DIMENSIONS)
        vectors[start : start + texts] = sums.reshape(texts, DIMENSIONS)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(np.where(length > 1e-6, vectors / np.maximum(length, 1e-6), 0.0), np.float32)


@dataclass(frozen=True, slots=True)
class OwnWords:
    """What the accounts of a pool have to do with its words.

    Attributes:
        excess: W - C of the wording: how much more alike two queries are within an account than across; cosine.
        p_value: of "who asked has nothing to do with the words", upper tail over all shufflings of the labels (normal).
    """

    excess: float
    p_value: float


def own_words(vectors: NDArray[np.float32], account: NDArray[np.integer]) -> OwnWords:
    """Measure a pool; no excess where there are too few texts with letters, which alone have a part in it.

    Cost: linear in queries.

    Args:
        vectors: float32[n, `DIMENSIONS`], the wording of a pool's queries.
        account: int[n], the account of each.
    """
    worded = vectors.any(axis=1)
    number = np.unique(account[worded], return_inverse=True)[1]
    result = exchangeability(vectors[worded], number)
    if result is None:
        return OwnWords(0.0, 1.0)
    p_value = float(stats.norm.sf(permutation_z(vectors[worded], number)))
    return OwnWords(result.within - result.across, p_value)


def _grams(contents: Sequence[str]) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.uint64]]]:
    """For each chunk of texts its first, and its distinct (text, hash of a run of letters) pairs, by text."""
    start = size = 0
    for number, content in enumerate(contents):
        size += min(len(content), LETTERS_MAX)
        if size >= _CHUNK_LETTERS or number == len(contents) - 1:
            chunk = [text[:LETTERS_MAX].casefold() for text in contents[start : number + 1]]
            text, gram = _chunk_grams(chunk)
            if len(text):
                yield start, text, gram
            start, size = number + 1, 0


def _chunk_grams(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    # Bounded by spaces, and long enough to hold a run.
    padded = [f" {text} ".ljust(GRAM_LETTERS) if text else "" for text in texts]
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    owner = np.repeat(np.arange(len(texts)), [len(text) for text in padded])
    if len(codes) < GRAM_LETTERS:
        return np.zeros(0, np.int64), np.zeros(0, np.uint64)
    runs = np.lib.stride_tricks.sliding_window_view(codes, GRAM_LETTERS)
    inside = owner[: len(runs)] == owner[GRAM_LETTERS - 1 :]
    word = np.any([(codes >= first) & (codes <= last) for first, last in _IDEOGRAPHS], axis=0)
    text = np.concatenate([owner[: len(runs)][inside], owner[word]])
    hashed = np.concatenate([(runs @ _MULTIPLIERS)[inside], codes[word] * _MULTIPLIERS[0]])
    gram = (hashed ^ (hashed >> np.uint64(31))) * _MULTIPLIERS[0]
    order = np.lexsort((gram, text))
    text, gram = text[order], gram[order]
    first = np.concatenate(([True], (text[1:] != text[:-1]) | (gram[1:] != gram[:-1])))[: len(text)]
    return text[first], gram[first]
