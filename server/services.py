"""What the gRPC services share, and the small ones: search, benchmarks, administration.

A service converts, calls the engine on a worker thread and converts back. Errors are mapped around it, by
`interceptor`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Executor
from contextvars import copy_context
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar

import grpc.aio
import numpy as np

from coterie.client import wire
from coterie.domain import LIMITS, AccountId, BenchmarkItem, ExchangeId, InvalidError, SearchFilter
from coterie.server import auditing
from coterie.server.access import current_caller
from coterie.server.admission import Room
from coterie.server.checks import check_name
from coterie.server.engine import Engine
from coterie.server.paging import page_key, page_size, page_token
from coterie.server.search import Query
from coterie.v1 import (
    admin_service_pb2,
    admin_service_pb2_grpc,
    benchmark_service_pb2,
    benchmark_service_pb2_grpc,
    search_service_pb2,
    search_service_pb2_grpc,
    types_pb2,
)

P = ParamSpec("P")
T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]

_BENCHMARK_BYTES_MAX = 256 * 1024 * 1024


class Desk:
    """The engine as the services reach it: through a bounded number of worker threads."""

    def __init__(
        self, engine: Engine, workers: Executor, quick_workers: Executor, ingest_workers: Executor | None = None
    ) -> None:
        self.engine = engine
        self.room = Room(engine.config.ingest_bytes_in_flight_max)
        """Of batches on their way to the disk."""
        self.stopping = asyncio.Event()
        """Set when the server begins to stop; streams end then."""
        self._workers = workers
        self._quick_workers = quick_workers
        self._ingest_workers = ingest_workers or quick_workers

    async def call_ingest(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of a function that makes a batch ready: nobody else waits behind batches."""
        return await self._on(self._ingest_workers, lambda: function(*args, **kwargs))

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of a blocking function."""
        return await self._on(self._workers, lambda: function(*args, **kwargs))

    async def call_quick(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of a function that only reaches the store: it does not wait behind those that take long."""
        return await self._on(self._quick_workers, lambda: function(*args, **kwargs))

    async def _on(self, workers: Executor, function: Callable[[], T]) -> T:
        # The thread logs and traces as part of the request.
        context = copy_context()
        return await asyncio.get_running_loop().run_in_executor(workers, lambda: context.run(function))

    async def audit(self, context: Context, action: str, subject: str = "") -> None:
        """Record who does what to which id, before it is done; the answer waits until that is durable."""
        auditing.record(action, subject)


class SearchService(search_service_pb2_grpc.SearchServiceServicer):
    """Answers "who else asks like this?"."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def Search(
        self, request: search_service_pb2.SearchRequest, context: Context
    ) -> search_service_pb2.SearchResponse:
        """The nearest exchanges to a text, an exchange or a vector."""
        query = _query(request)
        await self._desk.audit(context, "search", query.exchange_id)
        result = await self._desk.call(self._desk.engine.search, query)
        masking = self._desk.engine.masking
        if masking.applies(current_caller()):
            result = replace(result, hits=await self._desk.call(masking.hits, result.hits))
        return await self._desk.call(wire.search_result_to_wire, result)


class BenchmarkService(benchmark_service_pb2_grpc.BenchmarkServiceServicer):
    """Keeps reference corpora, and recognises their items."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def RegisterBenchmark(
        self, request_iterator: AsyncIterator[benchmark_service_pb2.RegisterBenchmarkRequest], context: Context
    ) -> benchmark_service_pb2.RegisterBenchmarkResponse:
        """Registers a benchmark, all or nothing."""
        name = ""
        received_bytes = 0
        items: list[BenchmarkItem] = []
        async for request in request_iterator:
            if name and request.name not in ("", name):
                raise InvalidError("name changed within one registration: send one benchmark a call", field="name")
            name = name or request.name
            items += [wire.benchmark_item_from_wire(item) for item in request.items]
            received_bytes += request.ByteSize()
            if len(items) > LIMITS.benchmark_items_max or received_bytes > _BENCHMARK_BYTES_MAX:
                raise InvalidError(
                    f"a benchmark has at most {LIMITS.benchmark_items_max} items and {_BENCHMARK_BYTES_MAX} bytes: "
                    "register it in parts",
                    field="items",
                    reason="bad_count",
                )
        await self._desk.audit(context, "register_benchmark", name)
        benchmark = await self._desk.call(self._desk.engine.register_benchmark, name, items)
        return benchmark_service_pb2.RegisterBenchmarkResponse(benchmark=wire.benchmark_to_wire(benchmark))

    async def ListBenchmarks(
        self, request: benchmark_service_pb2.ListBenchmarksRequest, context: Context
    ) -> benchmark_service_pb2.ListBenchmarksResponse:
        """Registered benchmarks, by name."""
        size = page_size(request.page)
        key = page_key(request.page, "benchmarks", [str])
        after = "" if key is None else str(key[0])
        benchmarks = [item for item in await self._desk.call(self._desk.engine.benchmarks) if item.name > after]
        page = benchmarks[:size]
        token = page_token("benchmarks", [page[-1].name]) if len(benchmarks) > size else ""
        return benchmark_service_pb2.ListBenchmarksResponse(
            benchmarks=[wire.benchmark_to_wire(item) for item in page],
            page=types_pb2.PageResponse(next_page_token=token),
        )

    async def MatchBenchmarks(
        self, request: benchmark_service_pb2.MatchBenchmarksRequest, context: Context
    ) -> benchmark_service_pb2.MatchBenchmarksResponse:
        """Which items texts are, if any."""
        matches = await self._desk.call(self._desk.engine.match_benchmarks, list(request.texts))
        return benchmark_service_pb2.MatchBenchmarksResponse(texts=[wire.text_matches_to_wire(row) for row in matches])


class AdminService(admin_service_pb2_grpc.AdminServiceServicer):
    """Looks after the service."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def GetStats(
        self, request: admin_service_pb2.GetStatsRequest, context: Context
    ) -> admin_service_pb2.GetStatsResponse:
        """What the service holds."""
        return wire.stats_to_wire(await self._desk.call_quick(self._desk.engine.stats))

    async def EraseAccount(
        self, request: admin_service_pb2.EraseAccountRequest, context: Context
    ) -> admin_service_pb2.EraseAccountResponse:
        """Removes an account and all that only it sent."""
        await self._desk.audit(context, "erase_account", self._desk.engine.known_as(request.account_id))
        erasure = await self._desk.call(self._desk.engine.erase_account, AccountId(request.account_id))
        return wire.erasure_to_wire(erasure)

    async def ListWebhooks(
        self, request: admin_service_pb2.ListWebhooksRequest, context: Context
    ) -> admin_service_pb2.ListWebhooksResponse:
        """How far webhook endpoints have been told."""
        states = await self._desk.call_quick(self._desk.engine.webhooks.states)
        return admin_service_pb2.ListWebhooksResponse(webhooks=[wire.webhook_to_wire(state) for state in states])

    async def TestWebhook(
        self, request: admin_service_pb2.TestWebhookRequest, context: Context
    ) -> admin_service_pb2.TestWebhookResponse:
        """Sends an endpoint a message, once."""
        check_name(request.name, "name")
        await self._desk.audit(context, "test_webhook", request.name)
        await self._desk.call(self._desk.engine.webhooks.test, request.name)
        return admin_service_pb2.TestWebhookResponse()

    async def ReplayWebhook(
        self, request: admin_service_pb2.ReplayWebhookRequest, context: Context
    ) -> admin_service_pb2.ReplayWebhookResponse:
        """Tells an endpoint again."""
        check_name(request.name, "name")
        after = request.after_event if request.HasField("after_event") else None
        if after is not None and after < 0:
            raise InvalidError("after_event is negative: 0 is the beginning", field="after_event")
        await self._desk.audit(context, "replay_webhook", request.name)
        went_back_to = await self._desk.call(self._desk.engine.webhooks.replay, request.name, after)
        return admin_service_pb2.ReplayWebhookResponse(after_event=went_back_to)

    async def CreateBackup(
        self, request: admin_service_pb2.CreateBackupRequest, context: Context
    ) -> admin_service_pb2.CreateBackupResponse:
        """Writes a backup on the server's disk."""
        name = self._desk.engine.backup_name(request.name)
        await self._desk.audit(context, "create_backup", name)
        return wire.backup_to_wire(await self._desk.call(self._desk.engine.create_backup, name))

    async def Retain(
        self, request: admin_service_pb2.RetainRequest, context: Context
    ) -> admin_service_pb2.RetainResponse:
        """Deletes what is too old, or tells what that would be."""
        await self._desk.audit(context, "retention_outlook" if request.outlook else "retain")
        return wire.retained_to_wire(await self._desk.call(self._desk.engine.retain, outlook=request.outlook))


def _query(request: search_service_pb2.SearchRequest) -> Query:
    vector = None
    if request.WhichOneof("query") == "vector":
        if len(request.vector) % 4 or len(request.vector) > 4 * LIMITS.vector_dim_max:
            raise InvalidError(
                f"vector has {len(request.vector)} bytes: send little-endian float32, at most {LIMITS.vector_dim_max}",
                field="vector",
            )
        vector = np.frombuffer(request.vector, dtype="<f4").astype(np.float32)
    if request.WhichOneof("query") == "exchange_id":
        check_name(request.exchange_id, "exchange_id")
    return Query(
        text=request.text,
        exchange_id=ExchangeId(request.exchange_id),
        vector=vector,
        field=wire.text_field_from_wire(request.field),
        k=request.k,
        filter=wire.filter_from_wire(request.filter) if request.HasField("filter") else SearchFilter(),
        one_per_account=request.one_per_account,
    )
