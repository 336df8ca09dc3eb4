"""What matching costs with 100 benchmarks of 5,000 items registered: time a query after embedding, and memory.

The corpus has fewer items, so the rest are grown: a real item with a third of its words taken from others, its vector
moved as far as a question of the same subject lies.

    python -m bench.detection.benchmark_scale --corpus ../shared/data --out bench/results/benchmark_match.json
"""

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.detection.benchmarks import load_items, load_ordinary
from bench.detection.vectors import VectorCache
from coterie.detection import FingerprintIndex, ProgramIndex, match_items
from coterie.domain import normalise
from coterie.embedder import MULTILINGUAL_MODEL
from coterie.index import VectorIndex
from coterie.server.benchmarks import NEAREST, PROBES, find_candidates

_COSINE = 0.75
"""Of a grown item and the real one."""

_WORDS_CHANGED = 1 / 3
_ADDED_AT_ONCE = 5_000


def grow(
    texts: list[str], vectors: NDArray[np.float32], count: int, seed: int
) -> tuple[list[str], NDArray[np.float32]]:
    """`count` items and their vectors, the first of them real."""
    random = np.random.default_rng(seed)
    vocabulary = np.array([word for text in texts[::50] for word in text.split(" ")], dtype=object)
    grown, rows = list(texts[:count]), [vectors[:count]]
    while len(grown) < count:
        some = random.integers(len(texts), size=min(_ADDED_AT_ONCE, count - len(grown)))
        for number in some.tolist():
            words = np.array(texts[number].split(" "), dtype=object)
            changed = random.random(len(words)) < _WORDS_CHANGED
            words[changed] = random.choice(vocabulary, int(changed.sum()))
            grown.append(" ".join(words))
        noise = random.normal(size=(len(some), vectors.shape[1])).astype(np.float32)
        noise /= np.linalg.norm(noise, axis=1, keepdims=True)
        moved = _COSINE * vectors[some] + np.sqrt(1 - _COSINE**2) * noise
        rows.append(moved / np.linalg.norm(moved, axis=1, keepdims=True))
    return grown, np.concatenate(rows).astype(np.float32)


class Matcher:
    """The indexes of the service over these items, without its store."""

    def __init__(self, items: list[str], vectors: NDArray[np.float32]) -> None:
        self._items = items
        self._meanings = VectorIndex(vectors.shape[1], probes=PROBES)
        self._wordings, self._programs = FingerprintIndex(), ProgramIndex()
        for first in range(0, len(items), _ADDED_AT_ONCE):
            some = slice(first, first + _ADDED_AT_ONCE)
            self._meanings.add(np.arange(first, min(first + _ADDED_AT_ONCE, len(items))), vectors[some])
            self._wordings.add(items[some])
            self._programs.add(items[some], first)

    def search(self, vectors: NDArray[np.float32]) -> None:
        """The search by meaning alone."""
        self._meanings.search(vectors, NEAREST)

    def match(self, texts: list[str], vectors: NDArray[np.float32]) -> int:
        """How many pairs are recognised."""
        found = find_candidates(self._meanings, self._wordings, self._programs, texts, vectors)
        return len(match_items(texts, self._items, found.text, found.item, found.similarity))


def measure(corpus: Path, cache: VectorCache, benchmarks: int, items_each: int, seed: int) -> dict[str, object]:
    """CPU milliseconds a query after embedding, one by one and 500 at a time, and megabytes for the items.

    Beside them the search of the vector index alone, which is a part of it that the code of matching does not change.
    """
    real = load_items(corpus)
    queries = [one.text for one in load_ordinary(corpus, real, 40, seed)[0]][:500]
    asked = cache.vectors([normalise(text) for text in queries])
    texts, vectors = grow(
        list(real.values()), cache.vectors([normalise(t) for t in real.values()]), benchmarks * items_each, seed
    )
    before_mb, started = resident_mb(), time.process_time()
    matcher = Matcher(texts, vectors)
    matcher.match(queries[:1], asked[:1])  # weighs the words of programs
    built_s, indexes_mb = time.process_time() - started, resident_mb() - before_mb
    alone, searched = [], []
    for row in range(len(queries)):
        started = time.process_time()
        matcher.search(asked[row : row + 1])
        searched.append(1_000 * (time.process_time() - started))
        started = time.process_time()
        matcher.match(queries[row : row + 1], asked[row : row + 1])
        alone.append(1_000 * (time.process_time() - started))
    started = time.process_time()
    matcher.match(queries, asked)
    together = 1_000 * (time.process_time() - started) / len(queries)
    return {
        "benchmarks": benchmarks,
        "items": len(texts),
        "items_real": min(len(real), len(texts)),
        "build_cpu_s": round(built_s, 1),
        "indexes_mb": round(indexes_mb),
        "texts_mb": round(sum(map(len, texts)) / 2**20),
        "queries": len(queries),
        "cpu_ms_a_query_alone": {f"p{q}": round(float(np.percentile(alone, q)), 2) for q in (50, 95, 99)},
        "of_these_index_search": {f"p{q}": round(float(np.percentile(searched, q)), 2) for q in (50, 95, 99)},
        "cpu_ms_a_query_of_500": round(together, 2),
    }


def resident_mb() -> float:
    """Memory that the process holds now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def main() -> None:
    """Measure, and add it to the record under `cost`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, default=Path("build/bench-vectors"))
    parser.add_argument("--out", type=Path, default=Path("bench/results/benchmark_match.json"))
    parser.add_argument("--benchmarks", type=int, default=100)
    parser.add_argument("--items-each", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    cache = VectorCache(options.cache, MULTILINGUAL_MODEL)
    cost = measure(options.corpus, cache, options.benchmarks, options.items_each, options.seed)
    record = json.loads(options.out.read_text(encoding="utf-8")) if options.out.exists() else {}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({**record, "cost": cost}, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(cost, indent=1))


if __name__ == "__main__":
    main()
