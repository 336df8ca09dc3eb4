"""Measure what privacy costs: ingest, embedding and reading of a window in each mode of texts, erasure with its proof.

python bench/bench_privacy.py --rows 50000 --dir /some/disk

Every mode does the same work in turns, each in a folder of its own; `keep` is the baseline. CPU seconds are of this
process, both threads of the store counted. JSON on stdout.
"""

import argparse
import json
import platform
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bench_store import DIM, make_batches

from coterie.domain import Exchange, TextMode, TextPolicy
from coterie.server.pseudonyms import Pseudonyms
from coterie.server.retention import SLICE_EXCHANGES
from coterie.store import Belongings, SqliteStore, open_store

KEY = bytes(range(32))
POLICIES = {
    "keep": TextPolicy(),
    "encrypt": TextPolicy(TextMode.ENCRYPT, KEY),
    "drop": TextPolicy(TextMode.DROP),
}


def main() -> None:
    """Run every measurement and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dir", type=Path, default=None, help="a folder on the disk to measure")
    options = parser.parse_args()
    batches = make_batches(options.rows, options.seed)
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        rounds = [
            {mode: measure(Path(folder) / f"{mode}-{number}", policy, batches) for mode, policy in POLICIES.items()}
            for number in range(options.rounds)
        ]
    report = {
        "benchmark": "privacy",
        "machine": {"platform": platform.platform(), "python": platform.python_version()},
        "versions": {"sqlite": sqlite3.sqlite_version, "numpy": np.__version__},
        "seed": options.seed,
        "rows": options.rows,
        "rounds": options.rounds,
        "bytes_per_exchange": round(statistics.mean(len(e.prompt) + len(e.response) for e in batches[0])),
        "median": median(rounds),
        "pseudonyms_us_per_exchange": round(1e6 * pseudonyms(batches) / options.rows, 2),
    }
    json.dump(report, sys.stdout, indent=2)
    print()


def median(rounds: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """The median of each measure by mode, and beside each CPU time its ratio to `keep` within a round."""
    found: dict[str, dict[str, float]] = {}
    for mode in POLICIES:
        found[mode] = {}
        for name in rounds[0][mode]:
            found[mode][name] = round(statistics.median(one[mode][name] for one in rounds), 4)
            if name.endswith("cpu_s"):
                ratios = [one[mode][name] / one["keep"][name] for one in rounds]
                found[mode][name.replace("cpu_s", "ratio")] = round(statistics.median(ratios), 3)
    return found


def measure(folder: Path, policy: TextPolicy, batches: list[list[Exchange]]) -> dict[str, float]:
    """One mode: durable ingest, vectors for every text, the texts of the whole window, one erasure."""
    found: dict[str, float] = {}
    with open_store(folder, texts=policy) as store:
        store.bind_model("bench", DIM)
        timed(found, "ingest", lambda: [store.append(batch) for batch in batches])
        timed(found, "window_texts", lambda: store.texts(np.unique(store.window().prompt)))
        timed(found, "exchanges", lambda: [store.exchanges([e.exchange_id for e in batch]) for batch in batches[::10]])
        timed(found, "embed", lambda: embed(store))
        account = batches[0][0].account_id
        timed(found, "erasure", lambda: erase(store, account, found))
        timed(found, "retention", lambda: retain(store, batches, found))
        found["database_mb"] = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    return found


def embed(store: SqliteStore) -> None:
    """Give every text a random vector, as an encoder without any cost would."""
    rng = np.random.default_rng(0)
    while pending := store.pending_texts(2_048):
        vectors = rng.standard_normal((len(pending), DIM)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        store.put_vectors([text_id for text_id, _ in pending], vectors)


def erase(store: SqliteStore, account: Any, found: dict[str, float]) -> None:
    """Erase an account and prove it."""
    belongings = Belongings()
    pending = store.begin_erasure(account, 1)
    erased = store.erase_account(account, 1, belongings)
    store.finish_erasure(pending, 2)
    started = time.perf_counter()
    proof = store.prove_erasure(account, belongings)
    assert proof.complete, proof.residues
    found["proof_s"] = time.perf_counter() - started
    found["proof_mb"] = proof.bytes_read / 1e6
    found["erased_exchanges"] = erased.exchanges
    found["compacted"] = proof.compacted


def retain(store: SqliteStore, batches: list[list[Exchange]], found: dict[str, float]) -> None:
    """Let go of the older half, a slice at a time; how long the longest slice kept the writer."""
    before_us = batches[len(batches) // 2][0].time_us
    longest = count = 0.0
    while True:
        started = time.perf_counter()
        gone, _ = store.drop_exchanges(before_us, SLICE_EXCHANGES, 1)
        longest = max(longest, time.perf_counter() - started)
        if not gone:
            break
        count += gone
    found["retained_exchanges"] = count
    found["retention_slice_s_max"] = longest


def timed(found: dict[str, float], name: str, work: Callable[[], object]) -> None:
    """Record how long it took by the clock, and by the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    found[f"{name}_s"] = time.perf_counter() - wall
    found[f"{name}_cpu_s"] = time.process_time() - cpu


def pseudonyms(batches: list[list[Exchange]]) -> float:
    """CPU seconds to hash the names of every exchange."""
    names = Pseudonyms(KEY)
    started = time.process_time()
    for batch in batches:
        for exchange in batch:
            names.exchange(exchange)
    return time.process_time() - started


if __name__ == "__main__":
    main()
