"""Metrics: scraped over HTTP, read by Prometheus's own parser, named by its conventions, and never about anybody."""

import asyncio
import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from http import HTTPStatus
from typing import Any
from urllib.error import HTTPError

import grpc
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse
from prometheus_client.samples import Sample

from coterie.client import Client
from coterie.client.channel import Stubs
from coterie.domain import AccountId, Exchange, NotFoundError, OverloadedError, Rejection, Sequence
from coterie.domain.queries import IngestResult
from coterie.domain.telemetry import Commit, EmbeddedBatch
from coterie.server import Config, Engine
from coterie.server.app import Server
from coterie.server.metrics import LABEL_VALUES_MAX, Metrics, Words
from coterie.server.operations import Operations
from coterie.v1 import admin_service_pb2, finding_service_pb2

PROMPT_CANARY = "canary-prompt-7f3a"
ACCOUNT_CANARY = "canary-account-9c1d"


class Running:
    """A server with operations on a loop of its own, as `serve` puts them together."""

    def __init__(self, config: Config) -> None:
        self.operations = Operations(config)
        self.engine = Engine.open(config, observer=self.operations.observer)
        self.address = ""
        self._started = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._main(),))
        self._thread.start()
        assert self._started.wait(60)

    async def _main(self) -> None:
        server = Server(self.engine, self.operations)
        self.address = await server.start("127.0.0.1:0")
        self.operations.start(self.engine, lambda ready: None)
        await server.warm_up()
        self._started.set()
        await self._stopping.wait()
        self.operations.close()
        await server.stop(2.0)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._loop.close()
        self.engine.close()
        self.operations.close_http()

    def get(self, path: str, accept: str = "") -> tuple[int, str, str]:
        request = urllib.request.Request(f"http://{self.operations.address}{path}", headers={"Accept": accept})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.headers["Content-Type"], answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.headers["Content-Type"], error.read().decode()

    def samples(self) -> list[Sample]:
        status, _, text = self.get("/metrics")
        assert status == HTTPStatus.OK
        return [sample for family in parse(text) for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        found = [sample.value for sample in self.samples() if sample.name == name and sample.labels == labels]
        assert len(found) == 1, (name, labels, found)
        return found[0]


@pytest.fixture
def running(config: Config) -> Iterator[Running]:
    running = Running(replace(config, metrics_listen="127.0.0.1:0"))
    yield running
    running.close()


def test_what_happens_is_counted(
    script: Any, running: Running, exchange: Callable[..., Exchange], until: Callable[..., None]
) -> None:
    with Client.connect(running.address) as client:
        client.ingest([exchange(number) for number in range(40)])
        client.ingest([exchange(number) for number in range(10)])
        client.ingest([exchange(3, prompt="other content")])
        until(lambda: client.stats().pending_texts == 0)
        client.search("rye bread", k=3)
        with pytest.raises(NotFoundError):
            client.get_finding("f-none")
        run = list(client.watch_run(client.start_run().run_id))[-1]
        client.erase_account("account-1")
    assert run.state.value == "done"
    value = running.value
    assert value("coterie_ingest_exchanges_total", outcome="stored") == 40
    assert value("coterie_ingest_exchanges_total", outcome="duplicate") == 10
    assert value("coterie_ingest_exchanges_total", outcome="rejected") == 1
    assert value("coterie_ingest_rejections_total", reason="conflict") == 1
    assert value("coterie_embedding_texts_total") == 40
    assert value("coterie_embedding_queue_texts") == 0
    assert value("coterie_embedding_lag_seconds") == 0
    assert value("coterie_index_texts", field="prompt") == 34  # of the 40, six were the erased account's
    assert value("coterie_search_duration_seconds_count", part="search") == 1
    assert value("coterie_rpc_duration_seconds_count", method="FindingService/GetFinding", status="NOT_FOUND") == 1
    assert value("coterie_rpc_duration_seconds_count", method="IngestService/Ingest", status="OK") == 3
    assert value("coterie_streams_open", method="IngestService/Ingest") == 0
    assert value("coterie_run_duration_seconds_count", state="done") == 1
    assert value("coterie_run_stage_duration_seconds_count", stage="graph") == 1
    assert value("coterie_run_last_success_timestamp_seconds") == pytest.approx(run.finished_us / 1e6)
    assert value("coterie_findings", kind="campaign", severity="low") == 1
    assert value("coterie_findings", kind="campaign", severity="critical") == 0
    assert value("coterie_erasures_total") == 1
    assert value("coterie_commit_failures_total") == 0
    assert value("coterie_commit_requests_sum") >= value("coterie_commit_requests_count") > 3
    assert value("coterie_store_last_sequence") == 40
    assert value("coterie_store_database_bytes") > 10_000
    assert value("coterie_disk_size_bytes") >= value("coterie_disk_free_bytes") > 0
    assert value("coterie_ready") == 1


def test_an_open_stream_is_seen_while_it_is_open(running: Running, until: Callable[..., None]) -> None:
    with grpc.insecure_channel(running.address) as channel:
        watch = Stubs.on(channel).finding.WatchFindings(finding_service_pb2.WatchFindingsRequest())
        until(lambda: _streams(running) == 1)
        watch.cancel()
    until(lambda: _streams(running) == 0)


def _streams(running: Running) -> float:
    samples = running.samples()
    return sum(sample.value for sample in samples if sample.name == "coterie_streams_open")


def test_refusals_are_counted_by_reason(
    running: Running, exchange: Callable[..., Exchange], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OverloadedError("full", reason="write_queue")

    monkeypatch.setattr(Engine, "stats", full)
    with grpc.insecure_channel(running.address) as channel, pytest.raises(grpc.RpcError):
        Stubs.on(channel).admin.GetStats(admin_service_pb2.GetStatsRequest())
    status = {"method": "AdminService/GetStats", "status": "RESOURCE_EXHAUSTED"}
    deadline = time.monotonic() + 10
    # A call is counted once it is over, which its caller may know a moment before.
    while not any(sample.labels == status for sample in running.samples()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert running.value("coterie_rpc_duration_seconds_count", **status) == 1
    assert running.value("coterie_refusals_total", reason="write_queue") == 1


def test_names_follow_the_conventions_in_both_formats(running: Running) -> None:
    """Counters end in _total, times in _seconds, sizes in _bytes, and nothing else pretends to (prometheus.io)."""
    _, content_type, text = running.get("/metrics")
    assert content_type.startswith("text/plain; version=")
    families = {family.name: family for family in parse(text)}
    _, content_type, text = running.get("/metrics", "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert {family.name for family in parse_openmetrics(text)} >= {
        name for name in families if name.startswith("coterie_") and not name.endswith("_info")
    }
    ours = {name: family for name, family in families.items() if name.startswith("coterie_")}
    assert len(ours) > 25
    for name, family in ours.items():
        assert re.fullmatch(r"coterie(_[a-z0-9]+)+", name), name
        assert family.documentation.endswith("."), name
        assert not re.search(r"_(ms|us|ns|milliseconds|kb|kib|mb|mib|minutes|hours|count|sum|bucket|total)$", name), (
            name
        )
        names = {sample.name.removeprefix(name) for sample in family.samples}
        if family.type == "counter":
            assert names == {"_total"} or not names, name
        else:
            assert "_total" not in names, name
        if family.type == "histogram":
            assert names <= {"_bucket", "_sum", "_count"}, name
            assert name.endswith(("_seconds", "_requests", "_tokens")), name
        for sample in family.samples:
            assert set(sample.labels) <= {
                *("method", "status", "reason", "outcome", "part", "stage", "state", "field", "kind", "severity"),
                *("check", "le", "version"),
            }, name


def test_nobody_is_in_what_is_scraped(
    script: Any, running: Running, exchange: Callable[..., Exchange], until: Callable[..., None]
) -> None:
    with Client.connect(running.address) as client:
        client.ingest([exchange(1, account=ACCOUNT_CANARY, prompt=PROMPT_CANARY)])
        until(lambda: client.stats().pending_texts == 0)
        client.search(PROMPT_CANARY)
        client.get_account(AccountId(ACCOUNT_CANARY))
        list(client.watch_run(client.start_run().run_id))
        client.erase_account(ACCOUNT_CANARY)
    _, _, text = running.get("/metrics")
    assert "coterie_erasures_total 1.0" in text
    for canary in (PROMPT_CANARY, ACCOUNT_CANARY, "account-", "f-big", "e00001"):
        assert canary not in text


def test_words_from_elsewhere_are_bounded() -> None:
    words = Words(3)
    assert [words.of(word) for word in ("a", "b", "a", "c", "d", "e", "a")] == [
        "a",
        "b",
        "a",
        "c",
        "other",
        "other",
        "a",
    ]
    metrics = Metrics()
    rejections = tuple(Rejection(row, "e", f"reason-{row}", "no") for row in range(500))
    metrics.ingested(IngestResult(0, 0, rejections, Sequence(0)))
    _, text = metrics.exposition("")
    reasons = [
        sample
        for family in parse(text.decode())
        for sample in family.samples
        if sample.name == "coterie_ingest_rejections_total"
    ]
    assert len(reasons) == LABEL_VALUES_MAX + 1
    assert sum(sample.value for sample in reasons) == 500


def test_batches_and_commits_are_added_up() -> None:
    metrics = Metrics()
    metrics.embedded(EmbeddedBatch(windows=4, tokens=300, padded_tokens=400, duration_s=0.2))
    metrics.texts_embedded(3)
    metrics.committed(Commit(requests=5, chars=9, duration_s=0.01, failed=True))
    assert metrics.tokens_per_text == 100
    _, text = metrics.exposition("")
    values = {sample.name: sample.value for family in parse(text.decode()) for sample in family.samples}
    assert values["coterie_embedding_tokens_total"] == 300
    assert values["coterie_embedding_padding_tokens_total"] == 100
    assert values["coterie_embedding_batch_duration_seconds_sum"] == pytest.approx(0.2)
    assert values["coterie_commit_requests_sum"] == 5
    assert values["coterie_commit_failures_total"] == 1


def test_pages_that_are_none_are_told(running: Running) -> None:
    status, content_type, text = running.get("/nothing")
    assert status == HTTPStatus.NOT_FOUND
    assert content_type.startswith("application/json")
    assert "/readyz" in text
