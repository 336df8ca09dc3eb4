"""Stopping under load: what was answered is kept, what was not is told so, and it takes the grace at most."""

import queue
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from coterie.client import wire
from coterie.client.channel import Stubs
from coterie.domain import Exchange
from coterie.store import open_store
from coterie.v1 import admin_service_pb2, finding_service_pb2, ingest_service_pb2

GRACE_S = 25.0
STREAMS = 4
BATCH = 20


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    return {
        "data_dir": tmp_path / "data",
        "model": "hash",
        "listen": "127.0.0.1:0",
        "shutdown_grace_s": GRACE_S,
        "log_level": "info",
    }


class Load:
    """Streams that send as fast as they are answered, from a thread each, until the server ends them."""

    def __init__(self, address: str, exchange: Callable[..., Exchange]) -> None:
        self.channel = grpc.insecure_channel(address)
        self.acked: queue.Queue[str] = queue.Queue()
        self.ends: queue.Queue[grpc.StatusCode] = queue.Queue()
        self._exchange = exchange
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._stream, args=(number,)) for number in range(STREAMS)]
        for thread in self._threads:
            thread.start()

    def _batches(self, number: int) -> Iterator[ingest_service_pb2.IngestRequest]:
        for batch in range(100_000):
            if self._ended.is_set():
                return
            first = (number * 100_000 + batch) * BATCH
            messages = [wire.exchange_to_wire(self._exchange(first + row)) for row in range(BATCH)]
            yield ingest_service_pb2.IngestRequest(batch_number=batch + 1, exchanges=messages)

    def _stream(self, number: int) -> None:
        try:
            for answer in Stubs.on(self.channel).ingest.Ingest(self._batches(number)):
                first = (number * 100_000 + answer.batch_number - 1) * BATCH
                for row in range(BATCH):
                    self.acked.put(self._exchange(first + row).exchange_id)
            self.ends.put(grpc.StatusCode.OK)
        except grpc.RpcError as error:
            self.ends.put(error.code())

    def end(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(30)
        self.channel.close()


def test_a_stop_under_load_loses_nothing_answered_and_keeps_its_time(
    start_server: Callable[..., Any],
    settings: dict[str, Any],
    exchange: Callable[..., Exchange],
    until: Callable[..., None],
) -> None:
    server = start_server(**settings)
    load = Load(server.address, exchange)
    watch = Stubs.on(load.channel).finding.WatchFindings(finding_service_pb2.WatchFindingsRequest())
    until(lambda: load.acked.qsize() > 2_000)

    def some_embedded() -> bool:
        stats = Stubs.on(load.channel).admin.GetStats(admin_service_pb2.GetStatsRequest())
        return bool(stats.texts > stats.pending_texts)

    until(some_embedded)
    started = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=30) == 0
    took_s = time.monotonic() - started
    load.end()
    assert list(watch) == []  # ended by the server, and not in error
    # The grace is for calls that hang; these end when they are told to, and the snapshot takes the rest.
    assert took_s < GRACE_S
    assert [load.ends.get() for _ in range(STREAMS)] == [grpc.StatusCode.UNAVAILABLE] * STREAMS
    assert "Traceback" not in server.log.read_text()
    acked = [load.acked.get() for _ in range(load.acked.qsize())]
    assert len(acked) == len(set(acked)) > 2_000
    store = open_store(settings["data_dir"])
    try:
        kept = Counter(store.window().exchange_ids)
    finally:
        store.close()
    assert set(acked) <= set(kept)
    assert set(kept.values()) == {1}
    assert list((settings["data_dir"] / "index").rglob("manifest")), "no snapshot was written"


def test_no_call_begins_on_a_server_that_stops(
    start_server: Callable[..., Any], settings: dict[str, Any], exchange: Callable[..., Exchange]
) -> None:
    server = start_server(**settings | {"shutdown_grace_s": 3.0})
    with grpc.insecure_channel(server.address) as channel:
        stubs = Stubs.on(channel)
        held = threading.Event()

        def slow() -> Iterator[Any]:
            held.wait(20)
            return
            yield

        # A registration whose client never ends it: what hangs is cut off when the grace is over.
        hanging = stubs.benchmark.RegisterBenchmark.future(slow())
        stubs.admin.GetStats(admin_service_pb2.GetStatsRequest())
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 10
        refused = None
        while refused is None and time.monotonic() < deadline:
            try:
                stubs.admin.GetStats(admin_service_pb2.GetStatsRequest(), timeout=1)
            except grpc.RpcError as error:
                refused = error.code()
        assert refused is grpc.StatusCode.UNAVAILABLE
        assert server.process.wait(timeout=30) == 0
        assert time.monotonic() - started < 3.0 + 20.0
        with pytest.raises(grpc.RpcError):
            hanging.result(timeout=10)
        held.set()


def test_a_second_signal_ends_at_once(start_server: Callable[..., Any], settings: dict[str, Any]) -> None:
    server = start_server(**settings | {"drain_delay_s": 60.0})
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert server.process.poll() is None
    started = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=10) == 128 + signal.SIGTERM
    assert time.monotonic() - started < 10
    assert "second signal" in server.log.read_text()


def test_a_signal_during_the_start_is_not_made_to_wait(
    start_server: Callable[..., Any], settings: dict[str, Any]
) -> None:
    server = start_server(**settings | {"model": "all-MiniLM-L6-v2"})
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < 20
    assert "Traceback" not in server.log.read_text()
