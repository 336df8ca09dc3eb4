"""The id of a request: taken over from the caller or made here, on every log line and error, and told to the caller."""

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from coterie.client.wire import REQUEST_ID_KEY
from coterie.domain import CoterieError
from coterie.server.interception import AroundCalls

_SANE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+=-]{0,63}")


@dataclass(slots=True)
class Request:
    """One call as its log lines, metrics and spans know it.

    Attributes:
        request_id: at most 64 characters of letters, digits and `._:/+=-`.
        error: why it failed; None while it has not.
    """

    request_id: str
    error: CoterieError | None = None


_CURRENT: ContextVar[Request | None] = ContextVar("coterie_request", default=None)


def current_request() -> Request | None:
    """The request that this task or worker thread is at work for; None outside of any."""
    return _CURRENT.get()


def request_id() -> str:
    """The id of the request at work; empty outside of any."""
    request = _CURRENT.get()
    return "" if request is None else request.request_id


def note_error(error: CoterieError) -> None:
    """Keep why the request at work fails, for what is counted and traced when it has ended."""
    request = _CURRENT.get()
    if request is not None:
        request.error = error


def sane_request_id(value: str | bytes | None) -> str:
    """The caller's id where it can stand in a log line, else a new one of 16 hexadecimal digits."""
    if isinstance(value, str) and _SANE.fullmatch(value):
        return value
    return secrets.token_hex(8)


class RequestIds(AroundCalls):
    """Gives every call its id, before anything else is done with it."""

    @contextmanager
    def around(
        self, details: grpc.HandlerCallDetails, context: "grpc.aio.ServicerContext[Any, Any]", *, streaming: bool
    ) -> Iterator[None]:
        """Make the request the current one of this task, which ends with the call."""
        given = next((value for key, value in details.invocation_metadata or () if key == REQUEST_ID_KEY), None)
        request = Request(sane_request_id(given))
        _CURRENT.set(request)
        context.set_trailing_metadata(((REQUEST_ID_KEY, request.request_id),))
        yield
