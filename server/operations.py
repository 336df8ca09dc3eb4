"""What runs beside a server for whoever operates it: metrics, readiness, liveness, and the port they are asked on."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING

from coterie.domain.telemetry import Commit
from coterie.server.config import Config
from coterie.server.engine import Engine
from coterie.server.interception import AroundCalls
from coterie.server.logs import emit
from coterie.server.observer import Observer
from coterie.server.operations_http import OperationsHttp, Page
from coterie.server.readiness import Readiness, Verdict
from coterie.server.tracing import Traces

if TYPE_CHECKING:  # not imported where nothing is measured
    from coterie.server.metrics import Metrics

_LOGGER = logging.getLogger(__name__)

BEAT_INTERVAL_S = 1.0
BEAT_AGE_S_MAX = 30.0
"""Silence of the event loop after which the process counts as stuck, and is better started anew."""


class Operations:
    """Made before the engine, which it observes; started with it, and the last to be closed."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._metrics = _metrics() if config.metrics_listen else None
        self._readiness: Readiness | None = None
        self._http: OperationsHttp | None = None
        self._beat_at = time.monotonic()

    @property
    def observer(self) -> Observer:
        """What the engine is to tell."""
        return self._metrics or Observer()

    def interceptors(self) -> Sequence[AroundCalls]:
        """What to hold around every call, right inside of its request id."""
        found: list[AroundCalls] = []
        if self._metrics is not None:
            from coterie.server.metrics import RpcMetrics

            found.append(RpcMetrics(self._metrics, time.perf_counter))
        if self._config.trace_endpoint:
            found.append(Traces())
        return found

    @property
    def address(self) -> str:
        """Where metrics and probes are asked for; empty for nowhere."""
        return "" if self._http is None else self._http.address

    def start(self, engine: Engine, changed: Callable[[bool], None]) -> None:
        """Look after an engine, and answer; `changed` is told when it becomes ready or stops being it.

        Raises:
            UnavailableError: the address cannot be bound.
        """
        self._readiness = readiness = Readiness(engine, changed)
        engine.store.on_commit(self._committed)
        if self._metrics is not None:
            from coterie.server.metrics_state import StateMetrics

            metrics = self._metrics
            metrics.add(StateMetrics(engine, readiness, lambda: metrics.tokens_per_text))
            pages = {"/metrics": self._scrape, "/livez": self._livez, "/readyz": self._readyz}
            self._http = OperationsHttp(self._config.metrics_listen, pages)
            self._http.start()
            emit(_LOGGER, logging.INFO, "metrics", address=self._http.address)
        readiness.start()

    def look(self) -> Verdict:
        """Look at the engine now."""
        assert self._readiness is not None
        return self._readiness.look()

    def drain(self) -> None:
        """Not ready from now on."""
        if self._readiness is not None:
            self._readiness.drain()

    def close(self) -> None:
        """Stop looking; probes go on being answered, so that nobody takes the end for a crash, until `close_http`."""
        if self._readiness is not None:
            self._readiness.close()

    def close_http(self) -> None:
        """Let the address go."""
        if self._http is not None:
            self._http.close()

    async def beat(self) -> None:
        """Show that the event loop is alive, until cancelled."""
        while True:
            self._beat_at = time.monotonic()
            await asyncio.sleep(BEAT_INTERVAL_S)

    def _committed(self, commit: Commit) -> None:
        assert self._readiness is not None
        self._readiness.committed(commit)
        if self._metrics is not None:
            self._metrics.committed(commit)

    def _scrape(self, accept: str) -> Page:
        assert self._metrics is not None
        content_type, body = self._metrics.exposition(accept)
        return Page(HTTPStatus.OK, content_type, body)

    def _livez(self, _: str) -> Page:
        silent_s = time.monotonic() - self._beat_at
        if silent_s <= BEAT_AGE_S_MAX:
            return Page.of_json(HTTPStatus.OK, {"status": "alive"})
        reason = f"the event loop has been silent for {silent_s:.0f} s"
        return Page.of_json(HTTPStatus.SERVICE_UNAVAILABLE, {"status": "stuck", "reasons": [reason]})

    def _readyz(self, _: str) -> Page:
        assert self._readiness is not None
        verdict = self._readiness.verdict
        return Page.of_json(HTTPStatus.OK if verdict.ready else HTTPStatus.SERVICE_UNAVAILABLE, verdict.to_json())


def _metrics() -> "Metrics":
    from coterie.server.metrics import Metrics

    return Metrics()
