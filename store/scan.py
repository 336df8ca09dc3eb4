"""Looking for many byte strings in many gigabytes at once, and telling what a find is part of."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coterie.store.raw import reading

PROBE_BYTES = 16
"""Length of the pieces by which texts and vectors are looked for."""

CONTEXT_BYTES = 16
"""Bytes on each side of a find by which it is recognised as part of something else."""

_KEY_BYTES = 8
_DISTINCT_BYTES_MIN = 6
_HASH = np.uint64(0x9E3779B97F4A7C15)
_BLOCK_BYTES = 1 << 20
_WAL_HEADER_BYTES, _FRAME_HEADER_BYTES = 32, 24

Context = tuple[bytes, bytes]
"""What stands before and after a find, up to `CONTEXT_BYTES` each."""


def probes(raw: bytes) -> list[bytes]:
    """Up to three pieces by which these bytes are recognised; none where they are too short or too uniform.

    Of a long value the database keeps stretches on different pages, hence pieces from its beginning, middle and end.
    """
    last = len(raw) - PROBE_BYTES
    places = sorted({0, last // 2, last}) if last >= 0 else []
    pieces = (raw[place : place + PROBE_BYTES] for place in places)
    return [piece for piece in pieces if len(set(piece)) >= _DISTINCT_BYTES_MIN]


class Finder:
    """Byte strings of `_KEY_BYTES` and more, found in one pass, and shorter ones, found one by one."""

    def __init__(self, needles: Collection[bytes]) -> None:
        self._short = [needle for needle in set(needles) if len(needle) < _KEY_BYTES]
        self._by_key: dict[int, list[bytes]] = defaultdict(list)
        for needle in set(needles):
            if len(needle) >= _KEY_BYTES:
                self._by_key[int.from_bytes(needle[:_KEY_BYTES], "little")].append(needle)
        # Sparse enough that nearly every offset is dismissed by one look at a table that stays in the cache.
        bits = min(24, max(16, (64 * len(self._by_key)).bit_length()))
        self._shift = np.uint64(64 - bits)
        self._table = np.zeros(1 << bits, np.bool_)
        self._table[self._places(np.fromiter(self._by_key, np.uint64, len(self._by_key)))] = True

    def __bool__(self) -> bool:
        return bool(self._by_key or self._short)

    def find(self, block: bytes) -> Iterator[tuple[int, bytes]]:
        """Every place of every needle: (offset, needle)."""
        for needle in self._short:
            at = block.find(needle)
            while at >= 0:
                yield at, needle
                at = block.find(needle, at + 1)
        if not self._by_key:
            return
        for first in range(min(_KEY_BYTES, len(block))):
            keys = np.frombuffer(block, "<u8", (len(block) - first) // _KEY_BYTES, first)
            for row in np.flatnonzero(self._table[self._places(keys)]).tolist():
                at = first + row * _KEY_BYTES
                for needle in self._by_key.get(int(keys[row]), ()):
                    if block.startswith(needle, at):
                        yield at, needle

    def _places(self, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
        return (keys * _HASH) >> self._shift


@dataclass(slots=True)
class Finds:
    """What was found, by needle and context, and how many bytes were read."""

    counts: Counter[tuple[bytes, Context]]
    bytes_read: int = 0


def find_in_database(path: Path, finder: Finder, page_bytes: int) -> Finds:
    """Look through a database file, or its log, page by page: what stands on two pages is not one thing."""
    finds = Finds(Counter())
    log = path.name.endswith("-wal")
    with reading(path) as file:
        header = file.read(_WAL_HEADER_BYTES) if log else b""
        finds.bytes_read += len(header)
        frame = page_bytes + (_FRAME_HEADER_BYTES if log else 0)
        while block := file.read(frame * max(1, _BLOCK_BYTES // frame)):
            finds.bytes_read += len(block)
            for at, needle in finder.find(block):
                begin = at - at % frame
                _count(finds, block, at, needle, begin, begin + frame)
    return finds


def find_in_file(path: Path, finder: Finder) -> Finds:
    """Look through any other file."""
    finds = Finds(Counter())
    margin = 2 * CONTEXT_BYTES + 1_024  # more than any needle
    before = b""
    shared = path.name.endswith("-shm")
    with reading(path) if shared else path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            finds.bytes_read += len(block)
            joined = before + block
            for at, needle in finder.find(joined):
                if at + len(needle) > len(before):  # what ends in the part read before was counted then
                    _count(finds, joined, at, needle, 0, len(joined))
            before = joined[-margin:]
    return finds


def _count(finds: Finds, block: bytes, at: int, needle: bytes, begin: int, end: int) -> None:
    after = at + len(needle)
    if after > end:
        return
    context = (block[max(begin, at - CONTEXT_BYTES) : at], block[after : min(end, after + CONTEXT_BYTES)])
    finds.counts[needle, context] += 1


class Explained:
    """Where needles stand in what is rightly there: a find with the same bytes around it is part of that."""

    def __init__(self) -> None:
        self._contexts: dict[bytes, dict[tuple[int, int], set[Context]]] = defaultdict(lambda: defaultdict(set))

    def add(self, values: Iterable[bytes], finder: Finder) -> None:
        """Take note of every needle in these values."""
        gap = bytes(PROBE_BYTES)
        ordered = list(values)
        joined = gap.join(ordered)
        ends = np.cumsum([len(value) + len(gap) for value in ordered])
        for at, needle in finder.find(joined):
            number = int(np.searchsorted(ends, at, side="right"))
            end = int(ends[number]) - len(gap)
            begin = end - len(ordered[number])
            after = at + len(needle)
            if after <= end:
                before = joined[max(begin, at - CONTEXT_BYTES) : at]
                self.note(needle, before, joined[after : min(end, after + CONTEXT_BYTES)])

    def note(self, needle: bytes, before: bytes, after: bytes) -> None:
        """Take note of one."""
        self._contexts[needle][len(before), len(after)].add((before, after))

    def __contains__(self, needle: bytes) -> bool:
        return needle in self._contexts

    def explains(self, needle: bytes, context: Context) -> bool:
        """Whether a find of a needle is part of a value, or of what the end of a page left of one."""
        before, after = context
        for (left, right), known in self._contexts.get(needle, {}).items():
            if left <= len(before) and right <= len(after):
                if (before[len(before) - left :], after[:right]) in known:
                    return True
            elif any(_agree(context, one) for one in known):
                return True
        return False


def _agree(one: Context, other: Context) -> bool:
    left = min(len(one[0]), len(other[0]))
    right = min(len(one[1]), len(other[1]))
    if left + right == 0:
        return False  # the end of a page left nothing to go by
    same = one[0][len(one[0]) - left :] == other[0][len(other[0]) - left :]
    return same and one[1][:right] == other[1][:right]
