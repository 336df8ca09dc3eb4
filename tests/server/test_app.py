"""`serve` as a process: it starts clean, says what is wrong, stops clean, and loses nothing when killed."""

import asyncio
import json
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from coterie.client import Client, RetryPolicy, wire
from coterie.client.channel import Stubs
from coterie.domain import BenchmarkItem, ConflictError, CoterieError, Exchange, InvalidError, UnavailableError
from coterie.embedder import load_encoder
from coterie.embedder.encoder import check_cancelled
from coterie.server import Config, Engine, local_server, serve
from coterie.server.app import Server, _warm_up
from coterie.store import open_store
from coterie.v1 import ingest_service_pb2


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    return {"data_dir": tmp_path / "data", "model": "hash", "listen": "127.0.0.1:0"}


def log_lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


def wait_for_serving(address: str, until: Callable[..., None], service: str = "") -> None:
    with grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)

        def serving() -> bool:
            answer = health.Check(health_pb2.HealthCheckRequest(service=service))
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

        until(serving)


def test_a_server_killed_in_mid_ingest_has_every_acked_exchange_once(
    start_server: Callable[..., Any], settings: dict[str, Any], exchange: Callable[..., Exchange]
) -> None:
    server = start_server(**settings)
    acked: list[Exchange] = []
    sent: list[list[Exchange]] = []

    def batches() -> Iterator[ingest_service_pb2.IngestRequest]:
        for number in range(100_000):
            sent.append([exchange(50 * number + row, response=f"answer {row}") for row in range(50)])
            messages = [wire.exchange_to_wire(item) for item in sent[-1]]
            yield ingest_service_pb2.IngestRequest(batch_number=number, exchanges=messages)

    with grpc.insecure_channel(server.address) as channel:
        stream = Stubs.on(channel).ingest.Ingest(batches())
        killer = threading.Timer(1.0, lambda: server.process.send_signal(signal.SIGKILL))
        with pytest.raises(grpc.RpcError):  # noqa: PT012 - every answer before the break counts
            for answer in stream:
                assert answer.report.stored == 50
                acked += sent[answer.batch_number]
                if len(acked) == 1_000:
                    killer.start()
        killer.join()
        stream.cancel()
    assert server.process.wait(timeout=10) == -signal.SIGKILL
    assert len(acked) >= 1_000

    again = start_server(**settings)
    with Client.connect(again.address) as client:
        kept = client.stats().exchanges
        assert kept >= len(acked)
        summary = client.ingest(acked)
        assert (summary.duplicates, summary.stored, summary.rejected) == (len(acked), 0, 0)
        assert client.stats().exchanges == kept
    assert again.stop() == 0
    store = open_store(settings["data_dir"])
    try:
        counts = Counter(store.window().exchange_ids)
    finally:
        store.close()
    assert {counts[item.exchange_id] for item in acked} == {1}
    assert set(counts.values()) == {1}


def test_a_client_goes_on_where_a_killed_server_left_off(
    start_server: Callable[..., Any], settings: dict[str, Any], exchange: Callable[..., Exchange]
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        settings["listen"] = f"127.0.0.1:{probe.getsockname()[1]}"
    server = start_server(**settings)
    restarted: list[Any] = []

    def restart_once(summary: Any) -> None:
        if not restarted and summary.stored >= 2_000:
            server.stop(signal.SIGKILL)
            restarted.append(start_server(**settings))

    with Client.connect(server.address, retry=RetryPolicy(attempts=20, initial_s=0.05, max_s=0.5)) as client:
        exchanges = (exchange(number) for number in range(10_000))
        summary = client.ingest(exchanges, batch=200, on_progress=restart_once)
        assert restarted
        assert summary.stored + summary.duplicates == 10_000
        assert summary.rejected == 0
        assert client.stats().exchanges == 10_000


def test_a_stop_is_clean_and_quick(
    start_server: Callable[..., Any],
    settings: dict[str, Any],
    exchange: Callable[..., Exchange],
    until: Callable[..., None],
) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        server = start_server(**settings)
        wait_for_serving(server.address, until)
        with Client.connect(server.address) as client:
            client.ingest([exchange(row) for row in range(20)])
        started = time.monotonic()
        assert server.stop(number) == 0
        assert time.monotonic() - started < 5
        assert "Traceback" not in server.log.read_text()
    # Everything was let go of: the folder opens here, and the model is the one that was bound.
    store = open_store(settings["data_dir"])
    assert store.model() == ("hash-256", 256)
    store.close()


def test_health_says_when_clustering_is_compiled(
    start_server: Callable[..., Any], settings: dict[str, Any], until: Callable[..., None]
) -> None:
    server = start_server(**settings)
    wait_for_serving(server.address, until)
    wait_for_serving(server.address, partial(until, timeout_s=240), "coterie.clustering")
    assert any(line["event"] == "clustering_ready" for line in log_lines(server.log))


def test_a_port_in_use_is_said_to_be(
    start_server: Callable[..., Any], settings: dict[str, Any], tmp_path: Path
) -> None:
    first = start_server(**settings)
    second = start_server(**{**settings, "data_dir": tmp_path / "other", "listen": first.address})
    assert second.process.wait(timeout=10) == 1
    assert f"cannot listen on {first.address}" in second.log.read_text()
    assert "--listen" in second.log.read_text()
    assert "Traceback" not in second.log.read_text()
    assert [line for line in second.log.read_text().splitlines() if not line.startswith("{")] == [
        f"coterie: cannot listen on {first.address}: another program has that port, perhaps a coterie that runs "
        "already; choose another with --listen HOST:PORT"
    ]


def test_a_second_server_on_the_folder_is_told_the_address_of_the_first(
    start_server: Callable[..., Any], settings: dict[str, Any]
) -> None:
    first = start_server(**settings)
    second = start_server(**settings)
    assert second.process.wait(timeout=10) == 1
    log = second.log.read_text()
    assert first.address in log
    assert str(first.process.pid) in log
    assert "Traceback" not in log
    with pytest.raises(ConflictError, match=first.address), local_server(Config(data_dir=settings["data_dir"])):
        pass


def test_another_model_is_refused(
    start_server: Callable[..., Any], settings: dict[str, Any], until: Callable[..., None]
) -> None:
    first = start_server(**settings)
    wait_for_serving(first.address, until)
    assert first.stop() == 0
    second = start_server(**{**settings, "model": "hash-64"})
    assert second.process.wait(timeout=20) == 1
    assert "hash-256" in second.log.read_text()
    assert "Traceback" not in second.log.read_text()


def test_a_model_that_is_not_there_is_said_to_be(start_server: Callable[..., Any], settings: dict[str, Any]) -> None:
    server = start_server(**{**settings, "model": "/no/such/model"})
    assert server.process.wait(timeout=20) == 1
    assert "/no/such/model" in server.log.read_text()
    assert "Traceback" not in server.log.read_text()


def test_a_model_that_drifts_leaves_the_server_up_to_take_exchanges_in(
    config: Config, exchange: Callable[..., Exchange], monkeypatch: pytest.MonkeyPatch
) -> None:
    def drift(_: object) -> None:
        raise UnavailableError("the model drifted")

    monkeypatch.setattr("coterie.embedder.self_test", drift)
    engine = Engine.open(config)

    async def scenario() -> None:
        server = Server(engine)
        try:
            address = await server.start(config.listen)
            await _warm_up(server, engine)
            loop = asyncio.get_running_loop()
            with Client.connect(address) as client:
                assert (await loop.run_in_executor(None, client.ingest, [exchange(1)])).stored == 1
        finally:
            await server.stop(1.0)

    asyncio.run(scenario())
    assert engine.drifted
    engine.close()


def test_serve_returns_what_went_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert serve(Config(data_dir=tmp_path / "file", model="hash")) == 1
    assert capsys.readouterr().err.startswith("coterie: ")


def test_logs_tell_calls_and_never_texts(
    start_server: Callable[..., Any],
    settings: dict[str, Any],
    exchange: Callable[..., Exchange],
    until: Callable[..., None],
) -> None:
    canary = "xylophone-canary"
    server = start_server(**settings, log_level="debug")
    wait_for_serving(server.address, until)
    with Client.connect(server.address, retry=RetryPolicy(attempts=1)) as client:
        texts = [
            exchange(row, prompt=f"{canary} asks {row}", response=f"{canary} answers", system=f"{canary} rules")
            for row in range(30)
        ]
        client.ingest([*texts, exchange(99, prompt=f"{canary}\x00"), exchange(98, prompt=canary * 40_000)])
        client.search(f"{canary} asks", k=5)
        with pytest.raises(InvalidError, match="text holds NUL"):
            client.search(f"{canary}\x00")
        until(lambda: client.stats().pending_texts == 0)
        client.match_benchmarks([f"{canary} asks 3"])
    with grpc.insecure_channel(server.address) as channel:
        call = channel.unary_unary("/coterie.v1.SearchService/Search")
        with pytest.raises(grpc.RpcError):
            call(canary.encode())  # not even a message
    assert server.stop() == 0
    log = server.log.read_text()
    assert "xylophone" not in log
    calls = [line for line in log_lines(server.log) if line["event"] == "rpc"]
    ingest = next(line for line in calls if line["method"] == "/coterie.v1.IngestService/Ingest")
    assert (ingest["status"], ingest["requests"], ingest["responses"]) == ("OK", 1, 1)
    assert ingest["request_bytes"] > 1_000
    statuses = [line["status"] for line in calls if line["method"] == "/coterie.v1.SearchService/Search"]
    assert statuses[:2] == ["OK", "INVALID_ARGUMENT"]
    assert all(line["duration_ms"] > 0 for line in calls)


def test_the_server_in_this_process_is_private_and_leaves_nothing(config: Config, exchange: Any) -> None:
    with local_server(config) as address:
        path = Path(address.removeprefix("unix:"))
        assert path.is_socket()
        assert path.parent.stat().st_mode & 0o777 == 0o700
        with Client.connect(address) as client:
            client.ingest([exchange(1)])
    assert not path.parent.exists()
    engine = Engine.open(config)
    assert engine.stats().exchanges == 1
    engine.close()


def test_a_long_temporary_path_is_no_hindrance(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    with local_server(config) as address, Client.connect(address) as client:
        folder = Path(address.removeprefix("unix:")).parent
        assert folder.parent == Path("/tmp")
        assert folder.stat().st_mode & 0o777 == 0o700
        assert client.stats().exchanges == 0
    assert not folder.exists()
    assert list(deep.iterdir()) == []


def test_a_temporary_folder_that_cannot_be_made_is_said_so(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/no/such/folder")
    with pytest.raises(UnavailableError, match="TMPDIR"), local_server(config):
        pass
    Engine.open(config).close()  # the data folder was let go of


def test_a_socket_path_that_is_too_long_is_said_so(config: Config, tmp_path: Path, capsys: Any) -> None:
    assert serve(replace(config, listen=f"unix:{tmp_path / ('d' * 100)}")) == 1
    assert "at most 103 bytes" in capsys.readouterr().err


def test_listing_findings_loads_no_model_and_no_faiss(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from coterie.client import Client\n"
        "from coterie.server import Config, local_server\n"
        f"with local_server(Config(data_dir=Path({str(tmp_path / 'data')!r}), lazy_model=True)) as address:\n"
        "    with Client.connect(address) as client:\n"
        "        client.list_findings(); client.stats()\n"
        "print(sorted({'torch', 'faiss', 'sklearn', 'numba', 'sentence_transformers'} & set(sys.modules)))"
    )
    import sys

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""


class SlowEncoder:
    """The model-free encoder, slowed to what a real model takes."""

    def __init__(self, s_per_text: float) -> None:
        self._encoder = load_encoder("hash")
        self._s_per_text = s_per_text
        self.model_id, self.dim, self.device = self._encoder.model_id, self._encoder.dim, self._encoder.device
        self.started = threading.Event()

    def encode(self, texts: Sequence[str], **options: Any) -> Any:
        self.started.set()
        for _ in texts:
            time.sleep(self._s_per_text)
            check_cancelled(options.get("cancelled"))
        return self._encoder.encode(texts, **options)


def test_a_stop_during_a_match_over_a_backlog_ends_within_the_grace(
    config: Config, exchange: Callable[..., Exchange], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SlowEncoder(0.01)
    monkeypatch.setattr("coterie.embedder.load_encoder", lambda *_, **__: slow)
    monkeypatch.setattr("coterie.embedder.self_test", lambda _: None)
    stopping = replace(config, lazy_model=True, shutdown_grace_s=2.0, worker_threads=2)
    ended: list[Exception] = []

    def match(client: Client) -> None:
        with pytest.raises(CoterieError) as caught:
            client.match_benchmarks(["question number 3"])
        ended.append(caught.value)

    with ExitStack() as stack:
        address = stack.enter_context(local_server(stopping))
        client = Client.connect(address, retry=RetryPolicy(attempts=1))
        client.ingest([exchange(row, prompt=f"prompt {row}") for row in range(3_000)])
        client.register_benchmark("quiz", [BenchmarkItem(f"i{row}", f"question number {row}") for row in range(2_000)])
        threads = [threading.Thread(target=match, args=(client,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        assert slow.started.wait(10)  # 20 s of embedding the items
        assert client.stats().pending_texts == 3_000  # answered while both workers are taken
        started = time.monotonic()
    assert time.monotonic() - started < 4
    for thread in threads:
        thread.join(10)
    assert len(ended) == 3
    client.close()


def test_a_match_does_not_wait_for_the_backlog(config: Config, exchange: Callable[..., Exchange]) -> None:
    engine = Engine.open(replace(config, lazy_model=True))
    try:
        engine.ingest([exchange(row) for row in range(100)]).result(10)
        engine.register_benchmark("quiz", [BenchmarkItem(f"i{row}", f"question number {row}") for row in range(150)])
        assert engine.match_benchmarks(["Question number 3"])[0][0].item_id == "i3"
        assert engine.stats().pending_texts == 100  # matching has a model of its own
    finally:
        engine.close()
