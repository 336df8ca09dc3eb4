"""A small server whose faults are scripted: the real one cannot be made to fail at a given batch."""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import pytest

from coterie.client import AsyncClient, Client, RetryPolicy, wire
from coterie.domain import (
    CoterieError,
    Exchange,
    Finding,
    FindingKind,
    IngestResult,
    InvalidError,
    Rejection,
    Run,
    RunState,
    Severity,
    check_exchange,
)
from coterie.v1 import (
    finding_service_pb2,
    finding_service_pb2_grpc,
    ingest_service_pb2,
    ingest_service_pb2_grpc,
    run_service_pb2,
    run_service_pb2_grpc,
    types_pb2,
)

QUICK = RetryPolicy(attempts=4, initial_s=0.01, max_s=0.02)


@dataclass
class Fault:
    """Break a stream: after this many answers, before or after storing the next batch."""

    answers: int
    error: CoterieError | None
    store_next: bool = False


@dataclass
class Script:
    """What the server does, and what it saw."""

    faults: list[Fault] = field(default_factory=list)
    call_errors: list[CoterieError] = field(default_factory=list)
    stored: dict[str, Exchange] = field(default_factory=dict)
    batch_sizes: list[int] = field(default_factory=list)
    streams: int = 0
    calls: int = 0
    runs: list[list[Run]] = field(default_factory=list)
    events: list[list[tuple[int, Finding]]] = field(default_factory=list)
    watched: list[str] = field(default_factory=list)
    after_events: list[int] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    pages: list[tuple[str, int, str]] = field(default_factory=list)


def abort(context: Any, error: CoterieError) -> None:
    context.set_trailing_metadata(tuple(wire.error_metadata(error)))
    context.abort(wire.status_of(error), str(error))


class Ingest(ingest_service_pb2_grpc.IngestServiceServicer):
    def __init__(self, script: Script) -> None:
        self.script = script

    def _store(self, request: ingest_service_pb2.IngestRequest) -> IngestResult:
        stored = duplicates = 0
        rejections = []
        self.script.batch_sizes.append(len(request.exchanges))
        for index, message in enumerate(request.exchanges):
            exchange = wire.exchange_from_wire(message)
            try:
                check_exchange(exchange)
            except InvalidError as error:
                rejections.append(Rejection(index, exchange.exchange_id, error.reason, str(error)))
                continue
            known = self.script.stored.setdefault(exchange.exchange_id, exchange)
            stored += known is exchange
            duplicates += known is not exchange
        return IngestResult(stored, duplicates, tuple(rejections), len(self.script.stored))  # type: ignore[arg-type]

    def Ingest(self, request_iterator: Any, context: Any) -> Iterator[ingest_service_pb2.IngestResponse]:
        self.script.streams += 1
        fault = self.script.faults.pop(0) if self.script.faults else None
        for answers, request in enumerate(request_iterator):
            if fault is not None and answers == fault.answers:
                if fault.store_next:
                    self._store(request)
                if fault.error is None:
                    return
                abort(context, fault.error)
            report = wire.ingest_result_to_wire(self._store(request))
            yield ingest_service_pb2.IngestResponse(batch_number=request.batch_number, report=report)


class Runs(run_service_pb2_grpc.RunServiceServicer):
    def __init__(self, script: Script) -> None:
        self.script = script

    def GetRun(self, request: Any, context: Any) -> run_service_pb2.GetRunResponse:
        self.script.calls += 1
        if self.script.call_errors:
            abort(context, self.script.call_errors.pop(0))
        return run_service_pb2.GetRunResponse(run=wire.run_to_wire(Run(request.run_id, RunState.DONE, 5)))

    def StartRun(self, request: Any, context: Any) -> run_service_pb2.StartRunResponse:
        self.script.calls += 1
        if self.script.call_errors:
            abort(context, self.script.call_errors.pop(0))
        run = Run(
            "run-1",  # type: ignore[arg-type]
            RunState.PENDING,
            5,
            since_us=request.since_us,
            until_us=request.until_us,
            slice=wire.slice_from_wire(request.slice),
            sets=wire.sets_from_wire(request.sets),
        )
        return run_service_pb2.StartRunResponse(run=wire.run_to_wire(run))

    def WatchRun(self, request: Any, context: Any) -> Iterator[run_service_pb2.WatchRunResponse]:
        self.script.watched.append(request.run_id)
        for run in self.script.runs.pop(0):
            yield run_service_pb2.WatchRunResponse(run=wire.run_to_wire(run))


class Findings(finding_service_pb2_grpc.FindingServiceServicer):
    def __init__(self, script: Script) -> None:
        self.script = script

    def ListFindings(self, request: Any, context: Any) -> finding_service_pb2.ListFindingsResponse:
        token, size = request.page.page_token, request.page.page_size
        self.script.pages.append((request.run_id, size, token))
        start = int(token or "0")
        end = start + size
        return finding_service_pb2.ListFindingsResponse(
            run_id="run-9",
            findings=[wire.finding_to_wire(finding) for finding in self.script.findings[start:end]],
            page=types_pb2.PageResponse(next_page_token=str(end) if end < len(self.script.findings) else ""),
        )

    def WatchFindings(self, request: Any, context: Any) -> Iterator[finding_service_pb2.WatchFindingsResponse]:
        self.script.after_events.append(request.after_event)
        for number, finding in self.script.events.pop(0):
            yield finding_service_pb2.WatchFindingsResponse(event=number, finding=wire.finding_to_wire(finding))


def make_finding(number: int) -> Finding:
    return Finding(
        finding_id=f"finding-{number}",  # type: ignore[arg-type]
        kind=FindingKind.CAMPAIGN,
        severity=Severity.HIGH,
        confidence=0.9,
        title="three accounts share a work list",
        accounts=(),
        families=(),
        benchmarks=(),
        first_seen_us=1,
        last_seen_us=2,
        evidence=(),
        counter_evidence=(),
        exemplars=(),
    )


def make_exchanges(count: int, *, prompt: str = "what is the tide at noon") -> list[Exchange]:
    return [
        Exchange(f"x{number}", f"a{number % 7}", 1_700_000_000_000_000 + number, f"{prompt} {number}")  # type: ignore[arg-type]
        for number in range(count)
    ]


@pytest.fixture(params=["sync", "async"])
def use(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Do something with a sync or an async client: results awaited, iterators as lists."""

    def use_sync(where: str, action: Callable[[Any], Any], retry: RetryPolicy = QUICK) -> Any:
        with Client.connect(where, retry=retry) as client:
            result = action(client)
            return list(result) if inspect.isgenerator(result) else result

    async def in_loop(where: str, action: Callable[[Any], Any], retry: RetryPolicy) -> Any:
        async with AsyncClient.connect(where, retry=retry) as client:
            result = action(client)
            return [value async for value in result] if inspect.isasyncgen(result) else await result

    def use_async(where: str, action: Callable[[Any], Any], retry: RetryPolicy = QUICK) -> Any:
        return asyncio.run(in_loop(where, action, retry))

    return use_sync if request.param == "sync" else use_async


@pytest.fixture
def exchanges() -> Callable[..., list[Exchange]]:
    return make_exchanges


@pytest.fixture
def finding() -> Callable[[int], Finding]:
    return make_finding


@pytest.fixture
def fault() -> type[Fault]:
    return Fault


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def address(script: Script, tmp_path: Path) -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", 16 * 1024 * 1024)])
    ingest_service_pb2_grpc.add_IngestServiceServicer_to_server(Ingest(script), server)
    run_service_pb2_grpc.add_RunServiceServicer_to_server(Runs(script), server)
    finding_service_pb2_grpc.add_FindingServiceServicer_to_server(Findings(script), server)
    where = f"unix:{tmp_path}/s"
    server.add_insecure_port(where)
    server.start()
    yield where
    server.stop(None).wait()
