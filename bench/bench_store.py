"""Measure the store beside raw SQLite: durable append, window, filters, vectors. JSON on stdout.

python bench/bench_store.py --rows 200000 --dir /some/disk
"""

import argparse
import json
import platform
import random
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from coterie.domain import AccountId, Exchange, ExchangeId, SearchFilter, TextField
from coterie.store import SqliteStore, open_store

BATCH = 500
DIM = 384
ACCOUNTS = 2_000
START_US = 1_767_225_600_000_000


def main() -> None:
    """Run every measurement and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--baseline-rows", type=int, default=50_000)
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dir", type=Path, default=None, help="a folder on the disk to measure")
    options = parser.parse_args()
    batches = make_batches(options.rows, options.seed)
    with tempfile.TemporaryDirectory(dir=options.dir) as folder:
        root = Path(folder)
        raw = raw_sqlite(root / "raw.db", batches[: options.baseline_rows // BATCH])
        with open_store(root / "store") as store:
            measured = measure(store, batches, options.callers)
    report = {
        "benchmark": "store",
        "machine": {"platform": platform.platform(), "python": platform.python_version()},
        "versions": {"sqlite": sqlite3.sqlite_version, "numpy": np.__version__},
        "seed": options.seed,
        "rows": options.rows,
        "batch": BATCH,
        "callers": options.callers,
        "bytes_per_exchange": round(statistics.mean(len(e.prompt) + len(e.response) for e in batches[0])),
        "baseline_raw_sqlite": raw,
        "store": measured,
    }
    json.dump(report, sys.stdout, indent=2)
    print()


def make_batches(rows: int, seed: int) -> list[list[Exchange]]:
    """Exchanges of about 1.2 KB, every text its own, one system prompt per account."""
    rng = random.Random(seed)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(5_000)]
    return [
        [make_exchange(rng, words, number) for number in range(first, min(first + BATCH, rows))]
        for first in range(0, rows, BATCH)
    ]


def make_exchange(rng: random.Random, words: Sequence[str], number: int) -> Exchange:
    """One exchange; ids are random, as platforms send them."""
    account = rng.randrange(ACCOUNTS)
    return Exchange(
        exchange_id=ExchangeId(f"{rng.getrandbits(96):024x}"),
        account_id=AccountId(f"acct-{account:06d}"),
        time_us=START_US + number * 100_000 + rng.randrange(50_000),
        prompt=f"{number} " + " ".join(rng.choices(words, k=60)),
        response=f"{number} " + " ".join(rng.choices(words, k=120)),
        system=f"You are assistant {account % 50}.",
        conversation_id=f"c{rng.randrange(rows_per_conversation(number))}",
        turn=number % 7,
        model=f"model-{account % 3}",
        input_tokens=rng.randrange(500),
        output_tokens=rng.randrange(1_000),
        cost_usd=rng.random(),
        attributes={"organisation": f"org-{account % 300}", "asn": str(account % 40), "client": "sdk"},
    )


def rows_per_conversation(number: int) -> int:
    """So that conversations repeat, but not without end."""
    return number // 5 + 1


def raw_sqlite(path: Path, batches: Sequence[Sequence[Exchange]]) -> dict[str, float]:
    """Speed of one table with one index, a commit for every batch, one thread, WAL and FULL."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE e (id TEXT UNIQUE, account TEXT, time INTEGER, prompt TEXT, response TEXT)")
    cpu_s, started = time.process_time(), time.perf_counter()
    for batch in batches:
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO e VALUES (?, ?, ?, ?, ?)",
            ((e.exchange_id, e.account_id, e.time_us, e.prompt, e.response) for e in batch),
        )
        connection.execute("COMMIT")
    elapsed_s, cpu_s = time.perf_counter() - started, time.process_time() - cpu_s
    connection.close()
    rows = sum(map(len, batches))
    return {"rows_per_s": round(rows / elapsed_s), "cpu_us_per_row": round(1e6 * cpu_s / rows, 1)}


def measure(store: SqliteStore, batches: list[list[Exchange]], callers: int) -> dict[str, Any]:
    """Append everything from several callers, then read it back in each way."""
    rows = sum(map(len, batches))
    one_caller = max(1, len(batches) // 8)
    single_s = timed(lambda: append_all(store, batches[:one_caller], 1))
    cpu_s = time.process_time()
    several_s = timed(lambda: append_all(store, batches[one_caller:], callers))
    cpu_s = time.process_time() - cpu_s
    again_s = timed(lambda: append_all(store, batches[:one_caller], 1))
    assert store.stats().exchanges == rows
    report: dict[str, Any] = {
        "append_rows_per_s_one_caller": round(sum(map(len, batches[:one_caller])) / single_s),
        "append_rows_per_s": round(sum(map(len, batches[one_caller:])) / several_s),
        # On a machine that others use, too, this says more than the wall clock.
        "append_cpu_us_per_row": round(1e6 * cpu_s / sum(map(len, batches[one_caller:])), 1),
        "append_duplicates_rows_per_s": round(sum(map(len, batches[:one_caller])) / again_s),
        "window_s": round(timed(store.window), 3),
        "window_rows": rows,
        "stats_ms": round(1e3 * timed(store.stats), 2),
    }
    report.update(measure_filters(store))
    report.update(measure_vectors(store, min(rows, 20_000)))
    report["database_bytes_per_row"] = round(store.stats().database_bytes / rows)
    return report


def measure_filters(store: SqliteStore) -> dict[str, float]:
    """Median time of filtered candidates, and of the exchanges of 100 texts."""
    by_attribute = SearchFilter(attributes={"organisation": "org-7"})
    by_account = SearchFilter(accounts=(AccountId("acct-000007"),))
    text_ids = store.window().prompt[:100]
    return {
        "candidates_by_attribute_ms": median_ms(
            lambda: store.candidate_texts(TextField.PROMPT, by_attribute, limit=100_000)
        ),
        "candidates_by_account_ms": median_ms(
            lambda: store.candidate_texts(TextField.PROMPT, by_account, limit=100_000)
        ),
        "exchanges_of_100_texts_ms": median_ms(
            lambda: store.exchanges_of_texts(TextField.PROMPT, text_ids, SearchFilter(), limit_per_text=5)
        ),
    }


def measure_vectors(store: SqliteStore, count: int) -> dict[str, float]:
    """Vectors a second in and out."""
    store.bind_model("bench", DIM)
    rng = np.random.default_rng(0)
    block = rng.standard_normal((2_000, DIM)).astype(np.float32)
    block /= np.linalg.norm(block, axis=1, keepdims=True)

    def embed() -> None:
        for _ in range(count // len(block)):
            store.put_vectors([text_id for text_id, _ in store.pending_texts(len(block))], block)

    put_s = timed(embed)
    read_s = timed(lambda: store.vectors_since(TextField.PROMPT, 0, count))
    return {"put_vectors_per_s": round(count / put_s), "read_vectors_per_s": round(count / read_s)}


def append_all(store: SqliteStore, batches: Sequence[Sequence[Exchange]], callers: int) -> None:
    """Each caller waits for one batch to be durable before it sends its next."""
    failures: list[BaseException] = []

    def call(first: int) -> None:
        try:
            for batch in batches[first::callers]:
                store.append(batch)
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=call, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def timed(action: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def median_ms(action: Callable[[], object], repeats: int = 15) -> float:
    """Median milliseconds of a call."""
    return round(1e3 * statistics.median(timed(action) for _ in range(repeats)), 3)


if __name__ == "__main__":
    main()
