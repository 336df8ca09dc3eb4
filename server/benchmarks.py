"""Registered benchmarks as something to search: which items lie near a text."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coterie.detection import match_items
from coterie.domain import BenchmarkMatch, normalise
from coterie.index import VectorIndex
from coterie.server.embedding import Embedding
from coterie.store import Store

_NEAREST = 3
_REFERENCES_MAX = 64


@dataclass(frozen=True, slots=True)
class Reference:
    """A benchmark's items in its own order, and an index of their numbers."""

    item_ids: tuple[str, ...]
    texts: tuple[str, ...]
    index: VectorIndex

    def nearest(self, queries: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The items nearest to each query: int32[q, 3] item numbers and float32[q, 3] cosines; -1 pads."""
        numbers, similarities = self.index.search(queries, _NEAREST)
        return numbers.astype(np.int32), similarities


class Benchmarks:
    """The registered benchmarks; the indexes of those last used are kept, as benchmarks never change."""

    def __init__(self, store: Store, embedding: Embedding) -> None:
        self._store = store
        self._embedding = embedding
        self._lock = threading.Lock()
        self._references: OrderedDict[str, Reference] = OrderedDict()

    def names(self) -> list[str]:
        """Every registered benchmark, by name."""
        return sorted(benchmark.name for benchmark in self._store.benchmarks())

    def reference(self, name: str, cancelled: Callable[[], bool]) -> Reference:
        """The items of a benchmark and their vectors; items that still wait for one are embedded now.

        Raises:
            NotFoundError: no such benchmark.
            CancelledRunError: `cancelled` said so.
        """
        with self._lock:
            if name in self._references:
                self._references.move_to_end(name)
                return self._references[name]
        items, text_ids = self._store.benchmark_items(name)
        vectors = self._embedding.vectors_ahead(text_ids, cancelled)
        index = VectorIndex(vectors.shape[1])
        index.add(np.arange(len(vectors), dtype=np.int64), vectors)
        reference = Reference(tuple(item.item_id for item in items), tuple(item.text for item in items), index)
        with self._lock:
            self._references[name] = reference
            while len(self._references) > _REFERENCES_MAX:
                self._references.popitem(last=False)
        return reference

    def match(self, texts: Sequence[str], cancelled: Callable[[], bool]) -> list[list[BenchmarkMatch]]:
        """For each text the items that it is, over all benchmarks, best first; empty where it is none.

        Raises:
            CancelledRunError: `cancelled` said so.
        """
        names = self.names()
        matches: list[list[BenchmarkMatch]] = [[] for _ in texts]
        if not names:
            return matches
        vectors = self._embedding.encode_now([normalise(text) for text in texts])
        for name in names:
            reference = self.reference(name, cancelled)
            found = match_items(texts, reference.texts, *reference.nearest(vectors))
            for row, items in enumerate(found):
                matches[row] += [
                    BenchmarkMatch(name, reference.item_ids[number], method, similarity)
                    for number, method, similarity in items
                ]
        for items_of_text in matches:
            items_of_text.sort(key=lambda match: (match.method != "verbatim", -match.similarity, match.benchmark))
        return matches
