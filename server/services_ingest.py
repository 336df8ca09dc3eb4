"""Takes exchanges in: batches are checked and queued as they come, and answered in order when they are durable."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress

from coterie.client import wire
from coterie.domain import IngestResult, Role, StreamPart, UnavailableError
from coterie.server.access import current_caller
from coterie.server.services import Context, Desk
from coterie.v1 import ingest_service_pb2, ingest_service_pb2_grpc, types_pb2

_Answers = asyncio.Queue["tuple[int, Future[IngestResult]] | None"]


class IngestService(ingest_service_pb2_grpc.IngestServiceServicer):
    """An answered batch is on disk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def Ingest(
        self, request_iterator: AsyncIterator[ingest_service_pb2.IngestRequest], context: Context
    ) -> AsyncIterator[ingest_service_pb2.IngestResponse]:
        """Batches in, one answer each, in order; an error ends the stream after the answers to what was queued."""
        self._desk.engine.check_room(0)
        await self._desk.audit(context, "ingest")
        answers: _Answers = asyncio.Queue(self._desk.engine.config.ingest_batches_in_flight_max)
        reader = asyncio.create_task(self._read(request_iterator, answers))
        try:
            while (waiting := await answers.get()) is not None:
                number, stored = waiting
                result = await asyncio.wrap_future(stored)
                yield ingest_service_pb2.IngestResponse(
                    batch_number=number, report=wire.ingest_result_to_wire(result), position=result.position
                )
            await reader
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def IngestBatch(
        self, request: ingest_service_pb2.IngestBatchRequest, context: Context
    ) -> ingest_service_pb2.IngestBatchResponse:
        """One batch; refused at once when it would have to wait."""
        size_bytes = request.ByteSize()
        self._desk.engine.check_room(size_bytes)
        self._desk.room.take(size_bytes)
        with self._held(size_bytes) as durable:
            await self._desk.audit(context, "ingest")
            stored = await self._desk.call_ingest(self._submit, request.exchanges, None)
            durable(stored)
        result = await asyncio.wrap_future(stored)
        return ingest_service_pb2.IngestBatchResponse(report=wire.ingest_result_to_wire(result))

    async def GetIngestPosition(
        self, request: ingest_service_pb2.GetIngestPositionRequest, context: Context
    ) -> ingest_service_pb2.GetIngestPositionResponse:
        """How far a named stream is durable."""
        caller = current_caller()
        asking = "" if caller.may(Role.ADMIN) else caller.principal
        position = await self._desk.call_quick(self._desk.engine.ingest_position, request.stream_id, asking)
        return ingest_service_pb2.GetIngestPositionResponse(position=position)

    async def _read(self, requests: AsyncIterator[ingest_service_pb2.IngestRequest], answers: _Answers) -> None:
        # One at a time: of an id that comes twice in a stream, the first must be the one that is stored.
        principal, stream_id = current_caller().principal, ""
        try:
            async for request in self._until_stopping(requests):
                if request.stream_id and request.stream_id != stream_id:
                    stream_id = request.stream_id
                    await self._desk.call_quick(self._desk.engine.ingest_position, stream_id, principal)
                size_bytes = request.ByteSize()
                self._desk.engine.check_room(size_bytes)
                await self._desk.room.wait(size_bytes)
                with self._held(size_bytes) as durable:
                    stored = await self._desk.call_ingest(self._submit, request.exchanges, _part(request, principal))
                    durable(stored)
                await answers.put((request.batch_number, stored))
        finally:
            await answers.put(None)

    @contextmanager
    def _held(self, size_bytes: int) -> "Iterator[Callable[[Future[IngestResult]], None]]":
        """Keeps the room of a batch until it is durable: until the future that is handed in is done, or at an error."""
        loop, handed = asyncio.get_running_loop(), False

        def give(stored: "Future[IngestResult]") -> None:
            durable = stored.exception() is None
            with suppress(RuntimeError):  # the loop is gone, and with it whoever waits for room
                loop.call_soon_threadsafe(lambda: self._desk.room.give(size_bytes, durable=durable))

        def until_done(stored: "Future[IngestResult]") -> None:
            nonlocal handed
            handed = True
            stored.add_done_callback(give)

        try:
            yield until_done
        finally:
            if not handed:
                self._desk.room.give(size_bytes, durable=False)

    async def _until_stopping(
        self, requests: AsyncIterator[ingest_service_pb2.IngestRequest]
    ) -> AsyncIterator[ingest_service_pb2.IngestRequest]:
        stopping = asyncio.ensure_future(self._desk.stopping.wait())
        try:
            while True:
                following = asyncio.ensure_future(anext(requests, None))
                await asyncio.wait({following, stopping}, return_when=asyncio.FIRST_COMPLETED)
                if not following.done():
                    following.cancel()
                    raise UnavailableError("the server is stopping: send what it did not answer when it is back")
                request = following.result()
                if request is None:
                    return
                yield request
        finally:
            stopping.cancel()

    def _submit(self, exchanges: Iterable[types_pb2.Exchange], part: StreamPart | None) -> "Future[IngestResult]":
        return self._desk.engine.ingest([wire.exchange_from_wire(exchange) for exchange in exchanges], part)


def _part(request: ingest_service_pb2.IngestRequest, principal: str) -> StreamPart | None:
    return StreamPart(request.stream_id, request.start, request.stop, principal) if request.stream_id else None
