"""Tells webhook endpoints of findings, from the store's outbox: at least once, in order, whatever breaks."""

import json
import logging
import random
import threading
import time
from collections.abc import Callable, Sequence

from coterie.domain import (
    CoterieError,
    NotFoundError,
    OutboxEvent,
    UnavailableError,
    WebhookState,
    format_time,
    webhook_body,
    webhook_type,
)
from coterie.server.logs import emit, origin
from coterie.server.signals import Signal
from coterie.server.webhook_delivery import DeliveryError, Endpoint, deliver
from coterie.store import Store

_LOGGER = logging.getLogger(__name__)
_EVENTS_AT_ONCE = 50
_BACKOFF_FIRST_S = 1.0
_BACKOFF_MAX_S = 300.0
_TROUBLE_WAIT_S = 30.0
_LOOK_S = 60.0

Deliver = Callable[[Endpoint, str, bytes, float], None]


class Webhooks:
    """A thread for each endpoint that reads the outbox behind its cursor; the cursor moves only after a 2xx.

    What waits is in the store, not in memory: a thread holds at most `_EVENTS_AT_ONCE` events. Each endpoint gets the
    events one by one, so those of one finding come in their order. One that fails longer than `give_up_s` loses the
    event at hand to the dead letters, and each further one after a single try, until one is taken.
    """

    def __init__(
        self,
        store: Store,
        endpoints: Sequence[Endpoint],
        changed: Signal,
        *,
        timeout_s: float,
        give_up_s: float,
        send: Deliver = deliver,
        backoff_first_s: float = _BACKOFF_FIRST_S,
    ) -> None:
        self._store = store
        self._endpoints = {endpoint.name: endpoint for endpoint in endpoints}
        self._changed = changed
        self._timeout_s = timeout_s
        self._give_up_s = give_up_s
        self._send = send
        self._backoff_first_s = backoff_first_s
        self._stopping = threading.Event()
        self._wake = {name: threading.Event() for name in self._endpoints}
        self._threads = [
            threading.Thread(target=self._work, args=(endpoint,), name=f"coterie-webhook-{endpoint.name}", daemon=True)
            for endpoint in endpoints
        ]

    def start(self) -> None:
        """Begin to tell; an endpoint that is new is told from now on."""
        for name in self._endpoints:
            self._store.begin_webhook(name)
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Look into the outbox: something changed."""
        for event in self._wake.values():
            event.set()

    def close(self) -> None:
        """Stop; a message under way is waited for, at most its timeout."""
        self._stopping.set()
        self.wake()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def states(self) -> list[WebhookState]:
        """How far each endpoint has been told."""
        return self._store.webhooks({name: endpoint.shown_url for name, endpoint in self._endpoints.items()})

    def test(self, name: str) -> None:
        """Send a message of type `ping` once.

        Raises:
            NotFoundError: no such endpoint is configured.
            UnavailableError: it did not take it; the message says why.
        """
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            raise NotFoundError(f"no webhook endpoint {name} is configured: list them to see their names")
        now_us = _now_us()
        body = json.dumps({"type": "ping", "timestamp": format_time(now_us), "data": {}}).encode()
        try:
            self._send(endpoint, f"ping_{now_us}", body, self._timeout_s)
        except DeliveryError as error:
            raise UnavailableError(f"{name} did not take it: {error}") from error

    def replay(self, name: str, after_event: int | None) -> int:
        """Tell an endpoint again; see `Store.replay_webhook`."""
        went_back_to = self._store.replay_webhook(name, after_event)
        self.wake()
        return went_back_to

    def _work(self, endpoint: Endpoint) -> None:
        with self._changed.listen(self._wake[endpoint.name].set):
            while not self._stopping.is_set():
                try:
                    self._wake[endpoint.name].clear()
                    wait_s = self._tell(endpoint)
                except Exception as error:  # noqa: BLE001 - an endpoint must outlive a bad moment
                    reason = str(error) if isinstance(error, CoterieError) else origin(error)
                    emit(_LOGGER, logging.ERROR, "webhook_trouble", endpoint=endpoint.name, reason=reason)
                    wait_s = _TROUBLE_WAIT_S
                    self._stopping.wait(wait_s)
                    continue
                if wait_s:
                    self._stopping.wait(wait_s)
                else:
                    self._wake[endpoint.name].wait(_LOOK_S)

    def _tell(self, endpoint: Endpoint) -> float:
        """Tell an endpoint what waits; returns the seconds until the next try, 0 where everything was told."""
        while not self._stopping.is_set():
            cursor = self._store.begin_webhook(endpoint.name)
            events = self._store.outbox(cursor, _EVENTS_AT_ONCE)
            if not events:
                return 0.0
            for event in events:
                wait_s = self._tell_one(endpoint, cursor, event)
                if wait_s is None or self._stopping.is_set():
                    break  # a replay has moved the cursor
                if wait_s:
                    return wait_s
                cursor = event.event
        return 0.0

    def _tell_one(self, endpoint: Endpoint, cursor: int, event: OutboxEvent) -> float | None:
        kind = webhook_type(event)
        if not kind:
            moved = self._store.advance_webhook(endpoint.name, cursor, event.event, delivered=False)
            return 0.0 if moved else None
        body = json.dumps(webhook_body(event, kind, _now_us()), ensure_ascii=False).encode()
        try:
            self._send(endpoint, f"evt_{event.event}", body, self._timeout_s)
        except DeliveryError as error:
            return self._failed(endpoint, cursor, event, error)
        moved = self._store.advance_webhook(endpoint.name, cursor, event.event, delivered=True)
        return 0.0 if moved else None

    def _failed(self, endpoint: Endpoint, cursor: int, event: OutboxEvent, error: DeliveryError) -> float | None:
        now_us = _now_us()
        since_us, failures = self._store.fail_webhook(endpoint.name, str(error), now_us)
        told = {"endpoint": endpoint.name, "webhook_event": event.event, "reason": str(error)}
        if now_us - since_us >= self._give_up_s * 1e6:
            emit(_LOGGER, logging.ERROR, "webhook_given_up", **told)
            moved = self._store.give_up_webhook(endpoint.name, cursor, event.event, str(error), now_us)
            return 0.0 if moved else None
        backoff_s = min(_BACKOFF_MAX_S, self._backoff_first_s * 2 ** min(failures - 1, 20))
        wait_s: float = max(error.retry_after_s, backoff_s * random.uniform(0.5, 1.0))
        emit(_LOGGER, logging.WARNING, "webhook_failed", **told, failures=failures, retry_s=round(wait_s, 1))
        return wait_s


def _now_us() -> int:
    return time.time_ns() // 1_000
