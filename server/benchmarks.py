"""Registered benchmarks as something to search: one index over the items of all of them."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from coterie.detection import METHODS, FingerprintIndex, ProgramIndex, match_items
from coterie.domain import BenchmarkMatch, BenchmarkView, normalise, text_digest
from coterie.index import VectorIndex
from coterie.server.multilingual import Multilingual
from coterie.store import Store

NEAREST = 5
"""Distinct item texts looked at by meaning, over all benchmarks; the item of a hidden text is among them."""

PROBES = 24
"""Lists of the index a search looks at once there are over 100,000 items."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A benchmark's items in its own order, and the number of each one's text in the common index."""

    name: str
    item_ids: tuple[str, ...]
    texts: tuple[str, ...]
    numbers: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Candidates:
    """Pairs worth comparing: row of the text, ascending, distinct item text, and cosine in the multilingual space."""

    text: NDArray[np.int32]
    item: NDArray[np.int32]
    similarity: NDArray[np.float32]


class Benchmarks:
    """The registered benchmarks. They never change, so that the index only grows: by what was registered since.

    An item text that several benchmarks share is indexed once. Memory: 2.3 KiB and the text for each distinct item.
    """

    def __init__(self, store: Store, multilingual: Multilingual) -> None:
        self._store = store
        self._multilingual = multilingual
        self._growing = threading.Lock()
        self._registered: dict[str, Registered] = {}
        self._number: dict[bytes, int] = {}
        self._texts: list[str] = []
        self._wordings = FingerprintIndex()
        self._programs = ProgramIndex()
        self._meanings: VectorIndex | None = None

    def names(self) -> list[str]:
        """Every registered benchmark, by name."""
        return sorted(benchmark.name for benchmark in self._store.benchmarks())

    def match(self, texts: Sequence[str], cancelled: Callable[[], bool]) -> list[list[BenchmarkMatch]]:
        """For each text the items that it is, over all benchmarks, best first; empty where it is none.

        Raises:
            CancelledRunError: `cancelled` said so.
        """
        matches: list[list[BenchmarkMatch]] = [[] for _ in texts]
        registered = self._grown(cancelled)
        if not registered:
            return matches
        held = np.flatnonzero([bool(text) for text in texts])
        if not len(held):
            return matches
        candidates = self._known_candidates(texts, held, cancelled)
        pairs = match_items(texts, self._texts, candidates.text, candidates.item, candidates.similarity)
        numbers = np.array([pair.item for pair in pairs], np.int64)
        for benchmark in registered:
            of, places = _places(benchmark, numbers)
            for pair, place in zip((pairs[row] for row in of.tolist()), places.tolist(), strict=True):
                found = BenchmarkMatch(benchmark.name, benchmark.item_ids[place], pair.method, pair.similarity)
                matches[pair.text].append(found)
        for items_of_text in matches:
            items_of_text.sort(key=lambda match: (METHODS.index(match.method), -match.similarity, match.benchmark))
        return matches

    def views(
        self, texts: Sequence[str], cancelled: Callable[[], bool], progress: Callable[[float], None]
    ) -> tuple[BenchmarkView, ...]:
        """Every benchmark, with the pairs of its items and these texts that are worth comparing.

        Raises:
            CancelledRunError: `cancelled` said so.
        """
        registered = self._grown(cancelled)
        held = np.flatnonzero([bool(text) for text in texts])  # of texts that are not kept nothing is known
        if not registered or not len(held):
            return tuple(_view(benchmark, _NO_CANDIDATES) for benchmark in registered)
        candidates = self._known_candidates(texts, held, cancelled, lambda share: progress(0.7 * share))
        progress(0.9)
        return tuple(_view(benchmark, candidates) for benchmark in registered)

    def _grown(self, cancelled: Callable[[], bool]) -> list[Registered]:
        """The registered benchmarks by name, those that are new put into the index first."""
        names = self.names()
        with self._growing:
            for name in names:
                if name not in self._registered:
                    self._registered[name] = self._add(name, cancelled)
        return [self._registered[name] for name in names]

    def _add(self, name: str, cancelled: Callable[[], bool]) -> Registered:
        items, _ = self._store.benchmark_items(name)
        texts = [item.text for item in items]
        digests = [text_digest(normalise(text)) for text in texts]
        new = {digest: text for digest, text in zip(digests, texts, strict=True) if digest not in self._number}
        vectors = self._multilingual.vectors(list(new.values()), cancelled)
        first = len(self._texts)
        if self._meanings is None:
            self._meanings = VectorIndex(vectors.shape[1], probes=PROBES)
        # In this order a search beside it meets only numbers whose text is there.
        self._texts.extend(new.values())
        self._number.update({digest: first + place for place, digest in enumerate(new)})
        self._meanings.add(np.arange(first, len(self._texts)), vectors)
        self._wordings.add(list(new.values()))
        self._programs.add(list(new.values()), first)
        numbers = np.array([self._number[digest] for digest in digests], np.int64)
        return Registered(name, tuple(item.item_id for item in items), tuple(texts), numbers)

    def _known_candidates(
        self,
        texts: Sequence[str],
        held: NDArray[np.int64],
        cancelled: Callable[[], bool],
        progress: Callable[[float], None] = lambda _: None,
    ) -> Candidates:
        """The candidates of the texts that are kept, by their rows among all."""
        kept = [texts[row] for row in held.tolist()]
        found = self._candidates(kept, self._multilingual.vectors(kept, cancelled, progress))
        return replace(found, text=held[found.text].astype(np.int32))

    def _candidates(self, texts: Sequence[str], vectors: NDArray[np.float32]) -> Candidates:
        assert self._meanings is not None
        return find_candidates(self._meanings, self._wordings, self._programs, texts, vectors)


def find_candidates(
    meanings: VectorIndex,
    wordings: FingerprintIndex,
    programs: ProgramIndex,
    texts: Sequence[str],
    vectors: NDArray[np.float32],
) -> Candidates:
    """What lies near by meaning, what is held by wording, and for programs what they keep when they are ported.

    Cost: linear in the texts and their length.
    """
    near, cosines = meanings.search(vectors, NEAREST)
    row, slot = np.nonzero(near >= 0)
    held_by, held, _ = wordings.search(texts)
    program, task = programs.search(texts)
    width = max(len(meanings), len(wordings))
    by_meaning = row * width + near[row, slot]
    key = np.unique(np.concatenate((by_meaning, held_by * width + held, program * width + task)))
    text, item = key // width, key % width
    similarity = np.empty(len(key), np.float32)
    similarity[np.searchsorted(key, by_meaning)] = cosines[row, slot]
    rest = np.flatnonzero(~np.isin(key, by_meaning))
    similarity[rest] = np.einsum("ij,ij->i", vectors[text[rest]], meanings.vectors(item[rest]))
    return Candidates(text.astype(np.int32), item.astype(np.int32), similarity)


_NO_CANDIDATES = Candidates(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))


def _view(benchmark: Registered, candidates: Candidates) -> BenchmarkView:
    of, places = _places(benchmark, candidates.item)
    order = np.argsort(of, kind="stable")
    of, places = of[order], places[order]
    return BenchmarkView(
        benchmark.name,
        benchmark.texts,
        candidates.text[of],
        places.astype(np.int32),
        candidates.similarity[of],
    )


def _places(benchmark: Registered, numbers: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the common index's numbers stand in a benchmark: (row of `numbers`, place), one for each time."""
    order = np.argsort(benchmark.numbers, kind="stable")
    held = benchmark.numbers[order]
    begin, end = np.searchsorted(held, numbers, "left"), np.searchsorted(held, numbers, "right")
    count = end - begin
    reach = np.repeat(begin - np.cumsum(count) + count, count) + np.arange(count.sum())
    return np.repeat(np.arange(len(numbers)), count), order[reach]
