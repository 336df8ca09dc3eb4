"""Takes exchanges in: batches are checked and queued as they come, and answered in order when they are durable."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from concurrent.futures import Future

from coterie.client import wire
from coterie.domain import IngestResult, UnavailableError
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
        await self._desk.audit(context, "ingest")
        answers: _Answers = asyncio.Queue(self._desk.engine.config.ingest_batches_in_flight_max)
        reader = asyncio.create_task(self._read(request_iterator, answers))
        try:
            while (waiting := await answers.get()) is not None:
                number, stored = waiting
                result = await asyncio.wrap_future(stored)
                yield ingest_service_pb2.IngestResponse(batch_number=number, report=wire.ingest_result_to_wire(result))
            await reader
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)

    async def IngestBatch(
        self, request: ingest_service_pb2.IngestBatchRequest, context: Context
    ) -> ingest_service_pb2.IngestBatchResponse:
        """One batch."""
        await self._desk.audit(context, "ingest")
        stored = await self._desk.call_quick(self._submit, request.exchanges)
        result = await asyncio.wrap_future(stored)
        return ingest_service_pb2.IngestBatchResponse(report=wire.ingest_result_to_wire(result))

    async def _read(self, requests: AsyncIterator[ingest_service_pb2.IngestRequest], answers: _Answers) -> None:
        # One at a time: of an id that comes twice in a stream, the first must be the one that is stored.
        try:
            async for request in self._until_stopping(requests):
                stored = await self._desk.call_quick(self._submit, request.exchanges)
                await answers.put((request.batch_number, stored))
        finally:
            await answers.put(None)

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

    def _submit(self, exchanges: Iterable[types_pb2.Exchange]) -> "Future[IngestResult]":
        return self._desk.engine.ingest([wire.exchange_from_wire(exchange) for exchange in exchanges])
