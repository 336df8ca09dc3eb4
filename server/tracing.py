"""Spans around what takes time, for OpenTelemetry; off, each costs a function call and one look at a name.

Spans carry run and request ids, counts and names of ours: no text, no account, no message of an error.
"""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from types import TracebackType
from typing import TYPE_CHECKING, Any

import grpc

from coterie.domain import UnavailableError
from coterie.server.interception import AroundCalls, Context, status_name
from coterie.server.requests import current_request

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Tracer

_EXPORT_TIMEOUT_S = 5
_TRACEPARENT_KEYS = ("traceparent", "tracestate")

_tracer: "Tracer | None" = None


class Span(AbstractContextManager["Span"]):
    """One span; as it is, one that is not recorded."""

    __slots__ = ()

    def __enter__(self) -> "Span":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def set(self, **attributes: Any) -> None:
        """Add attributes: ids of runs and requests, numbers, and words of ours."""

    def end(self, error: BaseException | None = None) -> None:
        """End one that was not entered."""


_OFF = Span()


class _Recorded(Span):
    """A span of OpenTelemetry; while entered it is the parent of what is begun on its thread or task."""

    __slots__ = ("_span", "_token")

    def __init__(self, tracer: "Tracer", name: str, attributes: dict[str, Any]) -> None:
        self._span = tracer.start_span(name, attributes=attributes)
        self._token: Any = None

    def __enter__(self) -> "Span":
        from opentelemetry import context, trace

        self._token = context.attach(trace.set_span_in_context(self._span))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from opentelemetry import context

        context.detach(self._token)
        self.end(error)

    def set(self, **attributes: Any) -> None:
        self._span.set_attributes(attributes)

    def end(self, error: BaseException | None = None) -> None:
        from opentelemetry.trace import StatusCode

        if error is not None:
            # Not the exception itself: its message may quote what a caller sent.
            self._span.set_attribute("error.type", type(error).__name__)
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


def tracing() -> bool:
    """Whether spans are recorded."""
    return _tracer is not None


def span(name: str, **attributes: Any) -> Span:
    """A span to enter."""
    tracer = _tracer
    return _OFF if tracer is None else _Recorded(tracer, name, attributes)


def begun(name: str, **attributes: Any) -> Span:
    """A span that has begun and that somebody else ends, on whatever thread."""
    return span(name, **attributes)


def span_off() -> Span:
    """A span that is never recorded."""
    return _OFF


def record(name: str, duration_s: float, **attributes: Any) -> None:
    """A span of what has just ended."""
    tracer = _tracer
    if tracer is not None:
        end_ns = time.time_ns()
        made = tracer.start_span(name, attributes=attributes, start_time=end_ns - round(duration_s * 1e9))
        made.end(end_ns)


@contextmanager
def tracing_to(endpoint: str, sample: float) -> Iterator[None]:
    """While the context is open, record spans and send them to a collector; with an empty endpoint do nothing.

    Args:
        endpoint: of OTLP over gRPC, `http://HOST:PORT` in the clear or `https://HOST:PORT`.
        sample: share of the traces that begin here, 0 to 1; one that a caller began is as the caller said.

    Raises:
        UnavailableError: the extra `traces` is not installed.
    """
    if not endpoint:
        yield
        return
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise UnavailableError("trace_endpoint needs OpenTelemetry: pip install 'coterie[traces]'") from error
    exporter = OTLPSpanExporter(endpoint, insecure=endpoint.startswith("http://"), timeout=_EXPORT_TIMEOUT_S)
    with exporting(exporter, sample):
        yield


@contextmanager
def exporting(exporter: "SpanExporter", sample: float, *, at_once: bool = False) -> Iterator[None]:
    """While the context is open, record spans and hand them to an exporter.

    Args:
        at_once: hand over each span as it ends, on its thread, instead of in batches; for tests.
    """
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
    from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

    global _tracer  # noqa: PLW0603 - one for the process, as OpenTelemetry's own; handing it down costs where it is off
    provider = TracerProvider(
        sampler=ParentBased(TraceIdRatioBased(sample)),
        resource=Resource({"service.name": "coterie", "service.version": version("coterie")}),
        shutdown_on_exit=False,
    )
    provider.add_span_processor(SimpleSpanProcessor(exporter) if at_once else BatchSpanProcessor(exporter))
    before = _tracer
    _tracer = provider.get_tracer("coterie", version("coterie"))
    try:
        yield
    finally:
        _tracer = before
        provider.shutdown()


class Traces(AroundCalls):
    """A span around every call, below the caller's where its metadata has a `traceparent` (W3C Trace Context)."""

    @contextmanager
    def around(self, details: grpc.HandlerCallDetails, context: Context, *, streaming: bool) -> Iterator[None]:
        """Begin, and end with the call's status."""
        from opentelemetry import context as contexts
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        tracer = _tracer
        if tracer is None:
            yield
            return
        given = {key: value for key, value in details.invocation_metadata or () if key in _TRACEPARENT_KEYS}
        parent = TraceContextTextMapPropagator().extract(given)
        method = details.method.lstrip("/")
        service, _, name = method.rpartition("/")
        request = current_request()
        attributes = {
            "rpc.system": "grpc",
            "rpc.service": service,
            "rpc.method": name,
            "coterie.request_id": "" if request is None else request.request_id,
        }
        made = tracer.start_span(method, parent, kind=trace.SpanKind.SERVER, attributes=attributes)
        # Never detached: the task ends with the call, and the end of a stream may come from another context.
        contexts.attach(trace.set_span_in_context(made, parent))
        failure: BaseException | None = None
        try:
            yield
        except BaseException as error:
            failure = error
            raise
        finally:
            status = status_name(failure, context)
            made.set_attribute("rpc.grpc.status_code", grpc.StatusCode[status].value[0])
            if status in _SERVER_ERRORS:
                made.set_status(trace.StatusCode.ERROR)
            made.end()


# OpenTelemetry's conventions: what the caller did wrong is no error of the server's span.
_SERVER_ERRORS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
