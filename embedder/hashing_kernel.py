"""The inner loop of the model-free encoder, compiled: it holds no lock of the interpreter."""

import numba
import numpy as np
from numpy.typing import NDArray

_BASE = np.uint64(0x9E3779B97F4A7C15)
_HASH_MASK = np.uint64(2**48 - 1)
_TAKEN = np.uint64(2**63)
_ONE = np.uint64(1)


@numba.njit(nogil=True, cache=True)
def add_features(
    codes: NDArray[np.uint32],
    starts: NDArray[np.int64],
    in_word: NDArray[np.bool_],
    word_weight: float,
    sums: NDArray[np.float64],
) -> None:
    """Add the signed weights of every text's 3-, 4- and 5-grams and words to its row.

    Args:
        codes: the code points of all texts, one text after the other.
        starts: int64[n + 1], where each text begins, and the end.
        in_word: by code point, whether it belongs to a word.
        word_weight: of a word; an n-gram has 1.
        sums: float64[n, dim].
    """
    longest = np.max(np.diff(starts))
    keys, counts = np.zeros(_table_size(longest), np.uint64), np.zeros(_table_size(longest), np.int64)
    used = np.empty(longest, np.int64)
    for text in range(len(starts) - 1):
        first, last = starts[text], starts[text + 1]
        mask = np.uint64(_table_size(last - first) - 1)  # a short text stays in the processor's cache
        for length in range(3, 6):
            distinct = 0
            for start in range(first, last - length + 1):
                value = _span_hash(codes, start, start + length, np.uint64(length))
                distinct = _count(value, mask, keys, counts, used, distinct)
            _add(keys, counts, used, distinct, 1.0, sums[text])
        distinct = 0
        start = first
        while start < last:
            if not in_word[codes[start]]:
                start += 1
                continue
            stop = start + 1
            while stop < last and in_word[codes[stop]]:
                stop += 1
            value = _span_hash(codes, start, stop, np.uint64(0))
            distinct = _count(value, mask, keys, counts, used, distinct)
            start = stop
        _add(keys, counts, used, distinct, word_weight, sums[text])


@numba.njit(nogil=True, cache=True)
def _table_size(features: int) -> int:
    size = 2
    while size < 2 * features:
        size *= 2
    return size


@numba.njit(nogil=True, cache=True)
def _span_hash(codes: NDArray[np.uint32], start: int, stop: int, salt: np.uint64) -> np.uint64:
    """48 bits of a polynomial in the base over the code points, finished as in SplitMix64: every bit reaches every."""
    value, power = np.uint64(0), _ONE
    for place in range(start, stop):
        value += (np.uint64(codes[place]) + _ONE) * power
        power *= _BASE
    value += salt
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (value ^ (value >> np.uint64(31))) & _HASH_MASK


@numba.njit(nogil=True, cache=True)
def _count(
    value: np.uint64,
    mask: np.uint64,
    keys: NDArray[np.uint64],
    counts: NDArray[np.int64],
    used: NDArray[np.int64],
    distinct: int,
) -> int:
    """Count a hash in the table (open addressing, less than half full); returns how many there are now."""
    key, place = value | _TAKEN, value & mask
    while keys[place] != 0 and keys[place] != key:
        place = (place + _ONE) & mask
    if keys[place] == 0:
        keys[place] = key
        used[distinct] = np.int64(place)
        distinct += 1
    counts[place] += 1
    return distinct


@numba.njit(nogil=True, cache=True)
def _add(
    keys: NDArray[np.uint64],
    counts: NDArray[np.int64],
    used: NDArray[np.int64],
    distinct: int,
    weight: float,
    row: NDArray[np.float64],
) -> None:
    """Add what was counted to a row, and empty the table."""
    for number in range(distinct):
        place = used[number]
        value = keys[place] ^ _TAKEN
        signed = -weight if value & _ONE else weight
        count = counts[place]
        row[(value >> _ONE) % np.uint64(len(row))] += signed if count == 1 else signed * (1.0 + np.log(count))
        keys[place], counts[place] = np.uint64(0), 0
