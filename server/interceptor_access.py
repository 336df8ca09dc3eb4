"""Lets calls through or refuses them, by the table of methods and roles, and has them on record before the answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import grpc
import grpc.aio

from coterie.domain import Caller, CoterieError, UnauthenticatedError
from coterie.server.access import METHODS, NOBODY, Door, Guard, authorise, enter_call
from coterie.server.allowances import Allowances
from coterie.server.auditing import CallAudit, enter_audit
from coterie.server.interception import Context, wrapped
from coterie.server.refusals import Refusals
from coterie.store import Store

_REQUEST_WAIT_S = 10.0
"""How long a call that is open to all may keep its place before it has sent its request."""


class AccessInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    """Refuses a call before its request is read, and looks again at each message of a stream.

    Its errors become statuses in the interceptor around it. What is open to all passes, so many calls of each method at
    a time: whoever needs no token must not take the places of those who have one.
    """

    def __init__(
        self, guard: Guard, store: Store, allowances: Allowances, refusals: Refusals, open_calls_max: int
    ) -> None:
        """`open_calls_max`: calls of one method that is open to all, at a time."""
        self._guard = guard
        self._store = store
        self._refusals = refusals
        self._allowances = allowances
        self._open_calls_max = open_calls_max
        self._open_calls: dict[str, int] = {}

    async def intercept_service(
        self,
        continuation: "Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]]",
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "grpc.RpcMethodHandler[Any, Any]":
        """The handler with its behaviour wrapped, or one that refuses."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or METHODS.get(method) is Door.OPEN:
            bounded: grpc.RpcMethodHandler[Any, Any] = self._bounded(method, handler)
            return bounded
        metadata = handler_call_details.invocation_metadata or ()
        if self._guard.reads_certificates and not any(key == "authorization" for key, _ in metadata):
            # The certificate is known to the handler only.
            return wrapped(handler, lambda behaviour, streaming: self._certified(method, behaviour, handler, streaming))
        caller = NOBODY
        try:
            caller = self._guard.identify(metadata)
            self._allowances.take(caller)
            authorise(caller, method)
        except CoterieError as error:
            return self._refusing(method, caller, error)
        return wrapped(
            handler,
            lambda behaviour, streaming: self._admitted(
                method, caller, behaviour, handler.request_streaming, streaming
            ),
        )

    def _bounded(self, method: str, handler: Any) -> Any:
        """A handler of one request, bounded; as a stream of requests, so that the wait for the one is bounded too.

        None, for a method that is not there, stays None.
        """
        if handler is None:
            return None
        behaviour = handler.unary_stream if handler.response_streaming else handler.unary_unary

        async def handle(requests: Any, context: Context) -> Any:
            if self._open_calls.get(method, 0) >= self._open_calls_max:
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "too many such calls are open: try again later")
            self._open_calls[method] = self._open_calls.get(method, 0) + 1
            try:
                try:
                    request = await asyncio.wait_for(anext(aiter(requests)), _REQUEST_WAIT_S)
                except (TimeoutError, StopAsyncIteration):
                    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the call sent no request")
                return await behaviour(request, context)
            finally:
                self._open_calls[method] -= 1

        kind = "stream_stream" if handler.response_streaming else "stream_unary"
        return getattr(grpc, f"{kind}_rpc_method_handler")(
            handle,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _certified(self, method: str, behaviour: Any, handler: Any, response_streaming: bool) -> Any:
        async def admitted(context: Context) -> Any:
            caller = NOBODY
            try:
                caller = self._guard.identify((), context.auth_context().get("x509_common_name", ()))
                self._allowances.take(caller)
                authorise(caller, method)
            except CoterieError as error:
                await self._refuse(method, caller, error, context)
            return self._admitted(method, caller, behaviour, handler.request_streaming, response_streaming)

        async def handle_one(request: Any, context: Context) -> Any:
            return await (await admitted(context))(request, context)

        async def handle_stream(request: Any, context: Context) -> AsyncIterator[Any]:
            async for response in (await admitted(context))(request, context):
                yield response

        return handle_stream if response_streaming else handle_one

    def _admitted(
        self, method: str, caller: Caller, behaviour: Any, request_streaming: bool, response_streaming: bool
    ) -> Any:
        def held() -> AbstractContextManager[None]:
            streaming = request_streaming or response_streaming
            return self._allowances.stream(caller) if streaming else nullcontext()

        async def handle_one(request: Any, context: Context) -> Any:
            audit = self._enter(method, caller)
            try:
                with held():
                    requests = self._checked(caller, request) if request_streaming else request
                    response = await behaviour(requests, context)
                audit.complete()
            except Exception as error:
                audit.failed(error)
                await audit.settled()
                raise
            await audit.settled()
            return response

        async def handle_stream(request: Any, context: Context) -> AsyncIterator[Any]:
            audit = self._enter(method, caller)
            try:
                with held():
                    requests = self._checked(caller, request) if request_streaming else request
                    async for response in behaviour(requests, context):
                        self._guard.check(caller)
                        audit.complete()
                        await audit.settled()
                        yield response
                audit.complete()
            except Exception as error:
                audit.failed(error)
                await audit.settled()
                raise
            await audit.settled()

        return handle_stream if response_streaming else handle_one

    def _enter(self, method: str, caller: Caller) -> CallAudit:
        enter_call(caller)
        audit = CallAudit(self._store, method, caller)
        enter_audit(audit)
        return audit

    async def _checked(self, caller: Caller, requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for request in requests:
            self._guard.check(caller)
            yield request

    def _refusing(self, method: str, caller: Caller, error: CoterieError) -> "grpc.RpcMethodHandler[Any, Any]":
        # As a stream, whatever the method is: a stream's handler does not wait for the request.
        async def refuse(requests: Any, context: Context) -> AsyncIterator[Any]:
            for _ in ():  # makes it the stream that it must be
                yield
            await self._refuse(method, caller, error, context)

        return grpc.stream_stream_rpc_method_handler(refuse)

    async def _refuse(self, method: str, caller: Caller, error: CoterieError, context: Context) -> None:
        if isinstance(error, UnauthenticatedError):
            self._refusals.take(context.peer(), method)
        audit = self._enter(method, caller)
        audit.failed(error)
        await audit.settled()
        raise error
