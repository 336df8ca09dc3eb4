"""Which known items a text contains, whatever stands around them: sketches of hashed shingles, looked up together.

A bottom-k sketch (Broder 1997) of an item is found in a longer text by the share of its hashes that the text has, an
unbiased estimate of containment. MinHash with locality-sensitive hashing, as datasketch and rensa do it, finds texts
of high Jaccard similarity instead, which an item wrapped in a long prompt does not have.
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SHINGLE_CHARACTERS = 8
SKETCH_HASHES = 16
"""Hashes kept of an item: a containment of .8 is estimated with a standard error of .1."""

HITS_SHARE_MIN = 0.5
"""Share of its sketch that a text must have for the item to be compared in full: three standard errors below .8."""

POSTINGS_MAX = 64
"""Items that a shingle may be of before it counts as boilerplate and is left out of the lookup."""

_BITS = 27
_BASE = np.uint64(0x9E3779B97F4A7C15)
_NOT_LETTERS = re.compile(r"[\W\d_]+")
_CHARACTERS_MAX = 40_000
"""Letters of a text that are looked up; an item that begins after them is missed."""

_BLOCK_CHARACTERS = 1_000_000

_Segment = tuple[NDArray[np.uint64], NDArray[np.int32]]
"""Hashes, sorted, and the item each is of."""


def letters_of(text: str) -> str:
    """The letters of a text, case folded: what is left when numbers, spaces and marks are changed."""
    return _NOT_LETTERS.sub("", text.casefold())


class FingerprintIndex:
    """Finds the items that texts contain. Grows by addition; a search looks at all items at once.

    Memory: 12 bytes a hash, 192 bytes an item, and 16 MiB; a search costs the length of the texts.
    """

    def __init__(self) -> None:
        # Replaced as one, so that a search beside an addition sees all of it or nothing.
        self._held: tuple[list[_Segment], NDArray[np.int32]] = [], np.zeros(0, np.int32)
        # Most shingles of a text are of no item: one bit each tells so without a binary search.
        self._seen = np.zeros(2**_BITS // 8, np.uint8)

    def __len__(self) -> int:
        return len(self._held[1])

    def add(self, items: Sequence[str]) -> None:
        """Add items, numbered on from those that are there. Cost: their length, and a merge now and then."""
        first = len(self)
        hashes, owners = [], []
        for start, block in _blocks(items):
            found, owner = shingle_hashes([letters_of(item) for item in block])
            keep = _smallest(found, owner, len(block))
            hashes.append(found[keep])
            owners.append((owner[keep] + first + start).astype(np.int32))
        if not hashes:
            return
        added, of = np.concatenate(hashes), np.concatenate(owners)
        segments, sizes = self._held
        sizes = np.append(sizes, np.bincount(of - first, minlength=len(items)).astype(np.int32))
        bit = added >> np.uint64(64 - _BITS)
        np.bitwise_or.at(self._seen, (bit >> np.uint64(3)).astype(np.int64), _mask(bit))
        segments = [*segments, _sorted(added, of)]
        # Segments at least double from the last to the first, so that there are few and each hash is rarely moved.
        while len(segments) > 1 and 2 * len(segments[-1][0]) > len(segments[-2][0]):
            last, before = segments.pop(), segments.pop()
            segments.append(_sorted(np.concatenate((before[0], last[0])), np.concatenate((before[1], last[1]))))
        self._held = segments, sizes

    def search(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
        """Items that texts may contain: text int64[p], item int32[p] and estimated containment float32[p]."""
        parts = [self._search_block(start, block) for start, block in _blocks(texts)]
        if not parts:
            return np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32)
        text, item, share = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return text, item, share

    def _search_block(
        self, start: int, texts: Sequence[str]
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
        hashes, owners = shingle_hashes([letters_of(text)[:_CHARACTERS_MAX] for text in texts])
        bit = hashes >> np.uint64(64 - _BITS)
        known = (self._seen[(bit >> np.uint64(3)).astype(np.int64)] & _mask(bit)) != 0
        hashes, owners = hashes[known], owners[known]
        segments, sizes = self._held
        pairs = [np.zeros(0, np.int64)]
        for held, of in segments:
            begin, end = np.searchsorted(held, hashes, "left"), np.searchsorted(held, hashes, "right")
            count = end - begin
            count[count > POSTINGS_MAX] = 0
            reach = np.repeat(begin - np.cumsum(count) + count, count) + np.arange(count.sum())
            pairs.append(np.repeat(owners, count) * len(sizes) + of[reach])
        pair, hits = np.unique(np.concatenate(pairs), return_counts=True)
        item = (pair % max(1, len(sizes))).astype(np.int32)
        share = (hits / np.maximum(1, sizes[item])).astype(np.float32)
        kept = share >= HITS_SHARE_MIN
        return start + pair[kept] // max(1, len(sizes)), item[kept], share[kept]


def shingle_hashes(texts: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Distinct hashes of every run of 8 characters, and the text each is of; a shorter text is one shingle."""
    padded = [text.ljust(SHINGLE_CHARACTERS, "\0") for text in texts]
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    owners = np.repeat(np.arange(len(texts)), [len(text) for text in padded])
    starts = np.flatnonzero(owners[: max(0, len(owners) - SHINGLE_CHARACTERS + 1)] == owners[SHINGLE_CHARACTERS - 1 :])
    hashes = np.zeros(len(starts), np.uint64)
    for place in range(SHINGLE_CHARACTERS):
        hashes = (hashes ^ codes[starts + place]) * _BASE
        hashes ^= hashes >> np.uint64(29)
    order = np.lexsort((hashes, owners[starts]))
    hashes, owners = hashes[order], owners[starts][order]
    distinct = np.ones(len(hashes), bool)
    distinct[1:] = (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1])
    return hashes[distinct], owners[distinct]


def _smallest(hashes: NDArray[np.uint64], owners: NDArray[np.int64], texts: int) -> NDArray[np.int64]:
    """Places of the `SKETCH_HASHES` smallest hashes of each text; hashes come sorted within their text."""
    first = np.searchsorted(owners, np.arange(texts))
    return np.flatnonzero(np.arange(len(owners)) - first[owners] < SKETCH_HASHES)


def _mask(bit: NDArray[np.uint64]) -> NDArray[np.uint8]:
    return (np.uint8(1) << (bit & np.uint64(7)).astype(np.uint8)).astype(np.uint8)


def _sorted(hashes: NDArray[np.uint64], owners: NDArray[np.int32]) -> _Segment:
    order = np.argsort(hashes, kind="stable")
    return hashes[order], owners[order]


def _blocks(texts: Sequence[str]) -> list[tuple[int, Sequence[str]]]:
    """Consecutive texts that bound the memory of one pass, each with the number of its first."""
    blocks, start, characters = [], 0, 0
    for number, text in enumerate(texts):
        if number > start and characters + len(text) > _BLOCK_CHARACTERS:
            blocks.append((start, texts[start:number]))
            start, characters = number, 0
        characters += len(text)
    if start < len(texts):
        blocks.append((start, texts[start:]))
    return blocks
