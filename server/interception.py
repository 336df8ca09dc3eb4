"""One way to wrap calls, for interceptors that each look after one concern."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any

import grpc
import grpc.aio

from coterie.client.wire import status_of
from coterie.domain import CoterieError

_PREFIX = "/coterie."
_CODES = {code.value[0]: code for code in grpc.StatusCode}

Context = grpc.aio.ServicerContext[Any, Any]


class AroundCalls(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    """Holds a context open around each call of coterie's own services; health and reflection pass untouched."""

    def around(
        self, details: grpc.HandlerCallDetails, context: Context, *, streaming: bool
    ) -> AbstractContextManager[None]:
        """What to hold open around one call; it meets the call's exception, and must let it pass."""
        raise NotImplementedError

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any]":
        """The handler with its behaviour wrapped."""
        handler = await continuation(handler_call_details)
        if handler is None or not handler_call_details.method.startswith(_PREFIX):
            return handler
        return wrapped(handler, lambda behaviour, streaming: self._wrap(handler_call_details, behaviour, streaming))

    def _wrap(self, details: grpc.HandlerCallDetails, behaviour: Any, streaming: bool) -> Any:
        async def handle_one(request: Any, context: Context) -> Any:
            with self.around(details, context, streaming=streaming):
                return await behaviour(request, context)

        async def handle_stream(request: Any, context: Context) -> AsyncIterator[Any]:
            with self.around(details, context, streaming=streaming):
                async for response in behaviour(request, context):
                    yield response

        return handle_stream if streaming else handle_one


def wrapped(
    handler: "grpc.RpcMethodHandler[Any, Any]", wrap: Callable[[Any, bool], Any]
) -> "grpc.RpcMethodHandler[Any, Any]":
    """A handler like this one whose behaviour is `wrap(behaviour, response_streaming)`."""
    kind = ("stream" if handler.request_streaming else "unary", "stream" if handler.response_streaming else "unary")
    name = "_".join(kind)
    make = getattr(grpc, f"{name}_rpc_method_handler")
    made: grpc.RpcMethodHandler[Any, Any] = make(
        wrap(getattr(handler, name), handler.response_streaming),
        request_deserializer=handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )
    return made


def status_name(error: BaseException | None, context: Context) -> str:
    """The name of the status that a call ends with, from the exception that leaves it; `OK` for none."""
    if error is None:
        return grpc.StatusCode.OK.name
    if isinstance(error, grpc.aio.AbortError):
        code: Any = context.code()
        return _CODES.get(code, code if isinstance(code, grpc.StatusCode) else grpc.StatusCode.UNKNOWN).name
    if isinstance(error, CoterieError):
        return status_of(error).name
    if isinstance(error, (asyncio.CancelledError, GeneratorExit)):
        return grpc.StatusCode.CANCELLED.name
    return grpc.StatusCode.INTERNAL.name
