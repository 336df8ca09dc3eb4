"""Around every call: our errors become statuses, and one log line tells method, status, time and sizes."""

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import Message

from coterie.domain import CoterieError
from coterie.server.access import METHODS, Door, current_caller
from coterie.server.errors import failure, unexpected
from coterie.server.interception import wrapped
from coterie.server.logs import emit
from coterie.server.requests import note_error

_LOGGER = logging.getLogger("coterie.server.rpc")


class CallInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    """Maps errors and logs calls; those that are open to all, such as health, pass untouched."""

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any]":
        """The handler with its behaviour wrapped."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or METHODS.get(method) is Door.OPEN:
            return handler
        return wrapped(handler, lambda behaviour, streaming: (_streaming if streaming else _single)(method, behaviour))


class _Call:
    """What one call did, for its log line."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.status = grpc.StatusCode.CANCELLED.name
        self.started = time.perf_counter()
        self.sizes = {"requests": 0, "request_bytes": 0, "responses": 0, "response_bytes": 0}

    def took(self, request: Any) -> Any:
        """The request, or request stream, counted."""
        if isinstance(request, Message):
            self._count("request", request)
            return request
        return self._counted(request)

    def gave(self, response: Message) -> Message:
        """The response, counted."""
        self._count("response", response)
        return response

    async def fail(self, error: Exception, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Abort the call with the error's status."""
        known = error if isinstance(error, CoterieError) else unexpected(error, self.method)
        note_error(known)
        code, message, metadata = failure(known)
        self.status = code.name
        # What is given here replaces what was set before, such as the request's id.
        await context.abort(code, message, (*(context.trailing_metadata() or ()), *metadata))

    def log(self) -> None:
        duration_ms = round((time.perf_counter() - self.started) * 1e3, 2)
        emit(
            _LOGGER,
            logging.INFO,
            "rpc",
            method=self.method,
            caller=current_caller().name,
            status=self.status,
            duration_ms=duration_ms,
            **self.sizes,
        )

    def _count(self, kind: str, message: Message) -> None:
        self.sizes[f"{kind}s"] += 1
        self.sizes[f"{kind}_bytes"] += message.ByteSize()

    async def _counted(self, requests: AsyncIterator[Message]) -> AsyncIterator[Message]:
        async for request in requests:
            self._count("request", request)
            yield request


def _single(method: str, behaviour: Any) -> Any:
    async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Any:
        call = _Call(method)
        try:
            response = call.gave(await behaviour(call.took(request), context))
            call.status = grpc.StatusCode.OK.name
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001 - the last line of defence: it becomes a status and a log line
            await call.fail(error, context)
        else:
            return response
        finally:
            call.log()

    return handle


def _streaming(method: str, behaviour: Any) -> Any:
    async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> AsyncIterator[Any]:
        call = _Call(method)
        try:
            async for response in behaviour(call.took(request), context):
                yield call.gave(response)
            call.status = grpc.StatusCode.OK.name
        except grpc.aio.AbortError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            await call.fail(error, context)
        finally:
            call.log()

    return handle
