"""Traces: spans nest as the work does, a caller's trace is taken over, and what people write is in none of them."""

from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import replace
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from coterie.client import Client
from coterie.client.channel import Stubs
from coterie.domain import Exchange, NotFoundError
from coterie.domain.telemetry import EmbeddedBatch
from coterie.server import Config, Engine, local_server
from coterie.server.app import Server
from coterie.server.interceptor import CallInterceptor
from coterie.server.requests import RequestIds
from coterie.server.tracing import Traces, exporting, record, span, span_off, tracing, tracing_to
from coterie.v1 import admin_service_pb2, finding_service_pb2

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
CANARY = "canary-4471"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    with exporting(exporter, 1.0, at_once=True):
        yield exporter


@pytest.fixture
def traced(config: Config, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    before = Server.__init__

    class Operations:
        def interceptors(self) -> list[Any]:
            return [Traces()]

        def look(self) -> Any:
            return type("Ready", (), {"ready": True})()

    monkeypatch.setattr(Server, "__init__", lambda self, engine, **more: before(self, engine, Operations(), **more))  # type: ignore[arg-type]
    with local_server(config) as address:
        yield address


def by_name(exporter: InMemorySpanExporter) -> dict[str, list[ReadableSpan]]:
    found: dict[str, list[ReadableSpan]] = {}
    for item in exporter.get_finished_spans():
        found.setdefault(item.name, []).append(item)
    return found


def test_work_is_nested_under_its_call(
    spans: InMemorySpanExporter,
    script: Any,
    traced: str,
    exchange: Callable[..., Exchange],
    until: Callable[..., None],
) -> None:
    with Client.connect(traced) as client:
        client.ingest([exchange(number) for number in range(5)])
        until(lambda: client.stats().pending_texts == 0)
        client.search("rye")
        run = list(client.watch_run(client.start_run().run_id))[-1]
        until(lambda: "run" in by_name(spans))
    found = by_name(spans)
    (ingest,) = found["coterie.v1.IngestService/Ingest"]
    (commit,) = found["commit"]
    assert commit.parent is not None
    assert ingest.context is not None
    assert commit.parent.span_id == ingest.context.span_id
    assert dict(commit.attributes or {}) == {"coterie.exchanges": 5}
    (search,) = found["search"]
    (call,) = found["coterie.v1.SearchService/Search"]
    assert search.parent is not None
    assert call.context is not None
    assert search.parent.span_id == call.context.span_id
    (whole,) = found["run"]
    assert (whole.attributes or {})["coterie.run_id"] == run.run_id
    assert (whole.attributes or {})["coterie.state"] == "done"
    assert whole.context is not None
    for stage in ("run.embed", "run.graph", "run.test"):
        (part,) = found[stage]
        assert part.parent is not None
        assert part.parent.span_id == whole.context.span_id


def test_a_callers_trace_and_request_are_taken_over(spans: InMemorySpanExporter, traced: str) -> None:
    metadata = [("traceparent", f"00-{TRACE}-{PARENT}-01"), ("x-request-id", "r-8")]
    with grpc.insecure_channel(traced) as channel:
        Stubs.on(channel).admin.GetStats(admin_service_pb2.GetStatsRequest(), metadata=metadata)
    (call,) = by_name(spans)["coterie.v1.AdminService/GetStats"]
    assert call.context is not None
    assert f"{call.context.trace_id:032x}" == TRACE
    assert call.parent is not None
    assert f"{call.parent.span_id:016x}" == PARENT
    attributes = dict(call.attributes or {})
    assert attributes["coterie.request_id"] == "r-8"
    assert attributes["rpc.grpc.status_code"] == 0


def test_a_trace_that_its_caller_does_not_keep_is_not_kept(spans: InMemorySpanExporter, traced: str) -> None:
    with grpc.insecure_channel(traced) as channel:
        stub = Stubs.on(channel).admin
        stub.GetStats(admin_service_pb2.GetStatsRequest(), metadata=[("traceparent", f"00-{TRACE}-{PARENT}-00")])
        stub.GetStats(admin_service_pb2.GetStatsRequest(), metadata=[("traceparent", "nonsense")])
    calls = by_name(spans)["coterie.v1.AdminService/GetStats"]
    assert [call.parent for call in calls] == [None]


def test_sampling_keeps_a_share(config: Config) -> None:
    exporter = InMemorySpanExporter()
    with exporting(exporter, 0.1, at_once=True):
        for _ in range(2_000):
            with span("work"):
                pass
    assert 120 < len(exporter.get_finished_spans()) < 290  # 200 expected; six standard deviations


def test_no_text_and_no_account_in_a_span(
    spans: InMemorySpanExporter,
    traced: str,
    exchange: Callable[..., Exchange],
    until: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> Any:
        raise RuntimeError(CANARY)

    with Client.connect(traced) as client:
        client.ingest([exchange(1, account=CANARY, prompt=f"{CANARY} asks", response=f"{CANARY} says")])
        until(lambda: client.stats().pending_texts == 0)
        client.search(f"{CANARY} asks")
        client.get_account(CANARY)
        with pytest.raises(NotFoundError):
            client.get_finding(f"{CANARY}-finding")
        monkeypatch.setattr(Engine, "finding", broken)
        with grpc.insecure_channel(traced) as channel, pytest.raises(grpc.RpcError):
            Stubs.on(channel).finding.GetFinding(finding_service_pb2.GetFindingRequest(finding_id="f"))
        client.erase_account(CANARY)
    until(lambda: "coterie.v1.AdminService/EraseAccount" in by_name(spans))
    told = [item.to_json() for item in spans.get_finished_spans()]
    assert len(told) > 6
    assert not [line for line in told if CANARY in line]
    failed = by_name(spans)["coterie.v1.FindingService/GetFinding"][-1]
    assert failed.status.status_code.name == "ERROR"
    assert not failed.events


def test_batches_are_told_after_the_fact(spans: InMemorySpanExporter) -> None:
    batch = EmbeddedBatch(2, 30, 40, 0.5)
    record("embedding.batch", batch.duration_s, **{"coterie.windows": batch.windows})
    (made,) = spans.get_finished_spans()
    assert made.start_time is not None
    assert made.end_time is not None
    assert made.end_time - made.start_time == 500_000_000


def test_off_is_one_object_and_no_interceptor(config: Config) -> None:
    from coterie.server.operations import Operations

    assert not tracing()
    assert span("search", k=1) is span_off()
    with span("x") as nothing:
        nothing.set(a=1)
    record("x", 1.0)
    with tracing_to("", 1.0):
        assert not tracing()
    assert Operations(config).interceptors() == []
    on = Operations(replace(config, trace_endpoint="http://127.0.0.1:1"))
    assert [type(item) for item in on.interceptors()] == [Traces]
    assert RequestIds in {type(item) for item in (RequestIds(), CallInterceptor())}


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self) -> None:
        self.names: list[str] = []
        self.service = ""

    def Export(self, request: Any, context: Any) -> Any:
        for resource in request.resource_spans:
            self.service = {item.key: item.value.string_value for item in resource.resource.attributes}["service.name"]
            for scope in resource.scope_spans:
                self.names += [item.name for item in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()


def test_a_collector_gets_the_spans() -> None:
    collector = Collector()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with tracing_to(f"http://127.0.0.1:{port}", 1.0):
            assert tracing()
            with span("one"), span("two"):
                pass
        assert collector.names == ["two", "one"]
        assert collector.service == "coterie"
    finally:
        server.stop(None).wait()
    assert not tracing()
