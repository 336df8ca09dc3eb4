"""What metrics and traces cost the hot path: CPU seconds of a server and its client for the same calls.

The call is the cheapest there is (`list_benchmarks` of none), so that what is added to it shows. Four servers on the
same data: neither, metrics, traces of which one in a hundred is kept, traces that are all kept. They take turns, and
each figure is the least of the rounds, since what else the machine does only ever adds; the spread of the server with
neither says what ratio can be told from 1. And the cost of a span where tracing is off, beside an empty function call.

    python bench/bench_tracing.py [--rounds 7] [--calls 300] [--out bench/results/tracing.json]
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import threading
import time
import timeit
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from coterie.client import Client
from coterie.domain import AccountId, Exchange, ExchangeId
from coterie.server import Config
from coterie.server.app import Server, _LoopThread
from coterie.server.engine import Engine
from coterie.server.operations import Operations
from coterie.server.tracing import exporting, span

BATCH = 100


class Nowhere(SpanExporter):
    """Takes spans and drops them: what is measured is making them."""

    def export(self, spans: Any) -> SpanExportResult:
        """Drop them."""
        return SpanExportResult.SUCCESS


@contextmanager
def served(config: Config) -> Iterator[Client]:
    """A client of a server in this process that is watched as the configuration says."""
    operations = Operations(config)
    engine = Engine.open(config, observer=operations.observer)
    folder = tempfile.TemporaryDirectory(prefix="ct-")
    before = Server.__init__

    def init(self: Server, engine: Engine, _: Any = None, **more: Any) -> None:
        before(self, engine, operations, **more)

    Server.__init__ = init  # type: ignore[method-assign]  # the loop's thread makes its own
    thread = _LoopThread(engine, f"unix:{folder.name}/s", None)
    try:
        operations.start(engine, lambda ready: None)
        with Client.connect(thread.start()) as client:
            client.search("warm")
            yield client
    finally:
        Server.__init__ = before  # type: ignore[method-assign]
        thread.stop()
        operations.close()
        engine.close()
        operations.close_http()
        folder.cleanup()


def exchanges(first: int) -> list[Exchange]:
    """A batch that nobody has sent."""
    return [
        Exchange(
            ExchangeId(f"e{first + row}"), AccountId(f"a{row % 9}"), 1_767_225_600_000_000, f"question {first + row}"
        )
        for row in range(BATCH)
    ]


def cpu_s(work: Any) -> float:
    """CPU seconds of the whole process for one piece of work."""
    started = time.process_time()
    work()
    return time.process_time() - started


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--out", type=Path, default=Path("bench/results/tracing.json"))
    options = parser.parse_args()
    ways = {
        "neither": {},
        "metrics": {"metrics_listen": "127.0.0.1:0"},
        "traces, 1 in 100": {"trace_endpoint": "http://unused:1", "trace_sample": 0.01},
        "traces, all": {"trace_endpoint": "http://unused:1", "trace_sample": 1.0},
    }
    took: dict[str, dict[str, list[float]]] = {name: {"call": [], "ingest": []} for name in ways}
    with tempfile.TemporaryDirectory() as home, ExitStack() as stack:
        clients = {}
        for name, settings in ways.items():
            config = Config(
                data_dir=Path(home) / name.replace(" ", "-"),
                model="hash",
                monolingual=True,
                lazy_model=True,
                **settings,
            )
            clients[name] = stack.enter_context(served(replace(config, console_listen="")))
            clients[name].ingest(exchanges(0))
            clients[name].search("question 5")
        for number in range(options.rounds + 1):
            order = list(clients.items())
            for name, client in order[number % 4 :] + order[: number % 4]:
                settings = ways[name]
                with ExitStack() as traced:
                    if "trace_endpoint" in settings:
                        traced.enter_context(exporting(Nowhere(), settings["trace_sample"]))  # type: ignore[arg-type]
                    call = cpu_s(lambda c=client: [c.list_benchmarks() for _ in range(options.calls)])
                    first = (number + 1) * 1_000_000
                    ingest = cpu_s(lambda c=client, f=first: [c.ingest(exchanges(f + n * BATCH)) for n in range(20)])
                if number:  # the first round warms
                    took[name]["call"].append(call / options.calls)
                    took[name]["ingest"].append(ingest / (20 * BATCH))
    base = {kind: min(took["neither"][kind]) for kind in ("call", "ingest")}
    spread = {kind: round(statistics.median(took["neither"][kind]) / base[kind], 3) for kind in base}
    rows = [
        {
            "way": name,
            "call_cpu_us": round(min(kinds["call"]) * 1e6, 1),
            "call_ratio": round(min(kinds["call"]) / base["call"], 3),
            "exchange_cpu_us": round(min(kinds["ingest"]) * 1e6, 2),
            "exchange_ratio": round(min(kinds["ingest"]) / base["ingest"], 3),
        }
        for name, kinds in took.items()
    ]

    def nothing(name: str) -> None:
        return None

    def traced() -> None:
        with span("x"):
            pass

    number = 200_000
    off_ns = min(timeit.repeat(traced, number=number, repeat=5)) / number * 1e9
    call_ns = min(timeit.repeat(lambda: nothing("x"), number=number, repeat=5)) / number * 1e9
    result = {
        "command": "python bench/bench_tracing.py",
        "machine": {"cores": os.cpu_count(), "python": platform.python_version(), "threads": threading.active_count()},
        "versions": {name: version(name) for name in ("grpcio", "opentelemetry-sdk", "prometheus-client")},
        "rounds": options.rounds,
        "calls": options.calls,
        "median_over_least_of_neither": spread,
        "rows": rows,
        "span_off_ns": round(off_ns, 1),
        "empty_call_ns": round(call_ns, 1),
    }
    for row in rows:
        print(row)
    print("median over least, with neither:", spread)
    print(f"a span that is off: {off_ns:.0f} ns; an empty call: {call_ns:.0f} ns")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
