"""What tokens, roles and the audit record cost: CPU seconds and exchanges a second of the same ingest.

Three servers, each in this process with its client, on empty folders of their own, in turns: `none` without the access
interceptor and without audit rows, `open` with both and no token, `token` with one. Each takes the same exchanges as a
stream, and as single batches, which have an audit row each. Figures are the least CPU seconds of the rounds, since what
else the machine does only ever adds, and the median wall clock. The last figure is audited calls a second of several
threads at once, beside commits a second: rows share them.

    python bench/bench_access.py [--rounds 5] [--exchanges 20000] [--out bench/results/access.json]
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import grpc.aio

from coterie.client import Client, wire
from coterie.domain import AccountId, Exchange, ExchangeId, Role
from coterie.server import Config, local_server
from coterie.v1 import ingest_service_pb2

BATCH = 500
THREADS = 16
CALLS = 2_000


class _Nothing(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    def __init__(self, *_: Any) -> None: ...

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        return await continuation(handler_call_details)


@contextmanager
def served(kind: str) -> Iterator[Client]:
    """A client of a server of this kind, on an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        config = Config(data_dir=Path(folder) / "data", model="hash", monolingual=True, lazy_model=True)
        patches = (
            patch("coterie.server.app.AccessInterceptor", _Nothing),
            patch("coterie.server.auditing.record", lambda *_: None),
        )
        for item in patches if kind == "none" else ():
            item.start()
        try:
            with local_server(config, as_owner=False) as address:
                token = None
                if kind == "token":
                    with Client.connect(address) as client:
                        token, _ = client.mint_token("bench", [Role.ADMIN])
                with Client.connect(address, token=token) as client:
                    yield client
        finally:
            for item in patches if kind == "none" else ():
                item.stop()


def exchanges(count: int) -> list[Exchange]:
    """Distinct exchanges of some hundred characters."""
    return [
        Exchange(ExchangeId(f"e{n}"), AccountId(f"a{n % 97}"), 1_767_225_600_000_000 + n, f"prompt {n} " + "word " * 20)
        for n in range(count)
    ]


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """CPU and wall-clock seconds of this process."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def as_batches(client: Client, batches: list[list[Exchange]]) -> None:
    """Every batch as a call of its own."""
    for batch in batches:
        request = ingest_service_pb2.IngestBatchRequest(exchanges=[wire.exchange_to_wire(item) for item in batch])
        client._stubs.ingest.IngestBatch(request)


def measure(kind: str, data: list[Exchange]) -> dict[str, tuple[float, float]]:
    """CPU and wall-clock seconds of a stream and of single batches."""
    batches = [data[n : n + BATCH] for n in range(0, len(data), BATCH)]
    with served(kind) as client:
        stream = timed(lambda: (client.ingest(data, batch=BATCH), None)[1])
    with served(kind) as client:
        return {"stream": stream, "batches": timed(lambda: as_batches(client, batches))}


def audited_calls() -> dict[str, float]:
    """Audited calls a second of several threads, and how many rows shared a commit."""
    from coterie.store.writer import Writer

    commits = []
    real = Writer._commit

    def counted(self: Writer, group: Any) -> None:
        commits.append(len(group))
        real(self, group)

    with patch.object(Writer, "_commit", counted), served("token") as client, ThreadPoolExecutor(THREADS) as pool:
        commits.clear()
        _, wall = timed(lambda: (list(pool.map(lambda _: client.list_tokens(), range(CALLS))), None)[1])
    return {
        "threads": THREADS,
        "calls": CALLS,
        "calls_per_s": round(CALLS / wall, 1),
        "rows_per_commit": round(sum(commits) / len(commits), 2),
    }


def main() -> None:
    """Measure, print, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--exchanges", type=int, default=20_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    data = exchanges(options.exchanges)
    measure("token", data[:BATCH])  # imports and first compilations
    kinds = ("none", "open", "token")
    found: dict[str, list[dict[str, tuple[float, float]]]] = {kind: [] for kind in kinds}
    for number in range(options.rounds):
        for kind in kinds[number % 3 :] + kinds[: number % 3]:
            found[kind].append(measure(kind, data))
    figures: dict[str, Any] = {}
    for way in ("stream", "batches"):
        least = {kind: min(item[way][0] for item in found[kind]) for kind in kinds}
        for kind in kinds:
            figures[f"{way}, {kind}"] = {
                "cpu_s": round(least[kind], 3),
                "cpu_ratio_to_none": round(least[kind] / least["none"], 3),
                "exchanges_per_s": round(len(data) / statistics.median(item[way][1] for item in found[kind])),
            }
    result = {
        "bench": "access",
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version(), "grpcio": version("grpcio")},
        "rounds": options.rounds,
        "exchanges": len(data),
        "batch": BATCH,
        "figures": figures,
        "audited_calls": audited_calls(),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
