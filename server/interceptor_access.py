"""Lets calls through or refuses them, by the table of methods and roles."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from coterie.domain import Caller, CoterieError
from coterie.server.access import METHODS, NOBODY, Door, Guard, authorise, enter_call
from coterie.server.interception import Context, wrapped


class AccessInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    """Refuses a call before its request is read, and looks again at each message of a stream.

    Its errors become statuses in the interceptor around it. What is open to all passes untouched.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any]":
        """The handler with its behaviour wrapped, or one that refuses."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or METHODS.get(method) is Door.OPEN:
            return handler
        metadata = handler_call_details.invocation_metadata or ()
        if self._guard.reads_certificates and not any(key == "authorization" for key, _ in metadata):
            # The certificate is known to the handler only.
            return wrapped(handler, lambda behaviour, streaming: self._certified(method, behaviour, handler, streaming))
        caller = NOBODY
        try:
            caller = self._guard.identify(metadata)
            authorise(caller, method)
        except CoterieError as error:
            return _refusing(caller, error)
        return wrapped(
            handler,
            lambda behaviour, streaming: self._admitted(caller, behaviour, handler.request_streaming, streaming),
        )

    def _certified(self, method: str, behaviour: Any, handler: Any, response_streaming: bool) -> Any:
        def admitted(context: Context) -> Any:
            caller = self._guard.identify((), context.auth_context().get("x509_common_name", ()))
            enter_call(caller)
            authorise(caller, method)
            return self._admitted(caller, behaviour, handler.request_streaming, response_streaming)

        async def handle_one(request: Any, context: Context) -> Any:
            return await admitted(context)(request, context)

        async def handle_stream(request: Any, context: Context) -> AsyncIterator[Any]:
            async for response in admitted(context)(request, context):
                yield response

        return handle_stream if response_streaming else handle_one

    def _admitted(self, caller: Caller, behaviour: Any, request_streaming: bool, response_streaming: bool) -> Any:
        async def handle_one(request: Any, context: Context) -> Any:
            enter_call(caller)
            return await behaviour(self._checked(caller, request) if request_streaming else request, context)

        async def handle_stream(request: Any, context: Context) -> AsyncIterator[Any]:
            enter_call(caller)
            async for response in behaviour(self._checked(caller, request) if request_streaming else request, context):
                self._guard.check(caller)
                yield response

        return handle_stream if response_streaming else handle_one

    async def _checked(self, caller: Caller, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for request in requests:
            self._guard.check(caller)
            yield request


def _refusing(caller: Caller, error: CoterieError) -> "grpc.RpcMethodHandler[Any, Any]":
    # As a stream, whatever the method is: a stream's handler does not wait for the request.
    async def refuse(requests: Any, context: Context) -> AsyncIterator[Any]:
        enter_call(caller)
        for _ in ():  # makes it the stream that it must be
            yield
        raise error

    return grpc.stream_stream_rpc_method_handler(refuse)
