"""The one thread that writes: requests of many callers share a transaction and one wait for the disk."""

import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from coterie.domain import CoterieError, OverloadedError
from coterie.domain.telemetry import Commit, OnCommit
from coterie.store.changes import Transaction
from coterie.store.database import closed_error, translated, truncate_log
from coterie.store.vault import Vault

QUEUE_REQUESTS_MAX = 1_024
QUEUE_SMALL_MAX = 1_024
"""Requests without text that may wait on top of those."""
QUEUE_CHARS_MAX = 64 * 1024 * 1024
"""Text waiting to be written, in characters; a single request may be larger when nothing else waits."""

GROUP_REQUESTS_MAX = 64
GROUP_CHARS_MAX = 16 * 1024 * 1024
"""What one transaction takes; it bounds the wait of the first caller in it."""

_TRUNCATE_RETRY_S = 1.0

T = TypeVar("T")
Job = Callable[[Transaction], T]

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Request:
    job: Job[Any]
    chars: int
    alone: Callable[[sqlite3.Connection], Any] | None = None
    future: Future[Any] = field(default_factory=Future)


@dataclass(slots=True, frozen=True)
class _Outcome:
    value: Any = None
    error: Exception | None = None


class Writer:
    """Runs jobs on the writing connection in the order they came and commits them in groups.

    A job that raises is undone alone; when the commit fails, every caller of the group gets the error and the
    next group is tried. A future is resolved only after the commit that makes it true.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, vault: Vault) -> None:
        self._connection = connection
        self._vault = vault
        self._path = path
        self._queue: deque[_Request] = deque()
        self._queued_chars = 0
        self._closed = False
        self._truncate_at = float("inf")
        self.on_commit: OnCommit | None = None
        """Told of every transaction, on the writing thread; it must be quick and must not raise."""
        lock = threading.Lock()
        self._work = threading.Condition(lock)
        self._room = threading.Condition(lock)
        self._thread = threading.Thread(target=self._loop, name="coterie-store-writer", daemon=True)
        self._thread.start()

    def run(self, job: Job[T]) -> T:
        """Run a job and wait until it is durable."""
        return self.submit(job, wait=True).result()

    def submit(self, job: Job[T], *, chars: int = 0, wait: bool) -> Future[T]:
        """Queue a job; with `wait`, wait for room in the queue.

        Raises:
            OverloadedError: the queue is full and `wait` is off.
            UnavailableError: the store is closed.
        """
        assert threading.current_thread() is not self._thread, "a job or callback must not write through the store"
        request = _Request(job, chars)
        self._enqueue(request, wait=wait)
        return request.future

    def settle(self) -> bool:
        """Empty the write-ahead log; False while a reader needs it, in which case it is tried again later."""
        return self._run_alone(lambda _: self._truncate())

    def compact(self) -> None:
        """Write the database anew, without its unused parts; everything else that writes waits for that.

        Raises:
            UnavailableError: there is no room on the disk for a second copy.
        """

        def vacuum(connection: sqlite3.Connection) -> None:
            connection.execute("VACUUM")
            self._truncate()

        self._run_alone(vacuum)

    def _run_alone(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run what cannot share a transaction, on the writing connection, and wait for it."""
        request = _Request(_nothing, 0, alone=job)
        self._enqueue(request, wait=True)
        value: T = request.future.result()
        return value

    def _enqueue(self, request: _Request, *, wait: bool) -> None:
        with self._room:
            if wait:
                self._room.wait_for(lambda: self._closed or self._fits(request.chars))
            if self._closed:
                raise closed_error()
            if not self._fits(request.chars):
                raise OverloadedError(
                    f"{len(self._queue)} requests with {self._queued_chars} characters wait to be written: "
                    "send again later",
                    retry_after_s=1.0,
                    reason="write_queue",
                )
            self._queue.append(request)
            self._queued_chars += request.chars
            self._work.notify()

    def waiting(self) -> tuple[int, int]:
        """Requests that wait to be written, and the characters of their texts."""
        with self._work:
            return len(self._queue), self._queued_chars

    def close(self) -> None:
        """Write what is queued, then close the connection; a second call does nothing."""
        with self._work:
            if self._closed:
                return
            self._closed = True
            self._work.notify_all()
            self._room.notify_all()
        self._thread.join()
        self._connection.close()

    def _fits(self, chars: int) -> bool:
        if not self._queue:
            return True
        if not chars:  # small, such as an audit row: a reader must not be refused because much is being ingested
            return len(self._queue) < QUEUE_REQUESTS_MAX + QUEUE_SMALL_MAX
        return len(self._queue) < QUEUE_REQUESTS_MAX and self._queued_chars + chars <= QUEUE_CHARS_MAX

    def _loop(self) -> None:
        while True:
            group = self._next_group()
            if group is None:
                return
            if group and group[0].alone is not None:
                self._do_alone(group[0])
            elif group:
                self._commit(group)
            if time.monotonic() >= self._truncate_at:
                self._truncate()

    def _next_group(self) -> list[_Request] | None:
        """The next requests; none of them where the log is due for truncation; None at the end."""
        with self._work:
            while not self._queue:
                if self._closed:
                    return None
                due_s = self._truncate_at - time.monotonic()
                if due_s <= 0:
                    return []
                self._work.wait(min(due_s, threading.TIMEOUT_MAX))
            group = [self._pop()]
            chars = group[0].chars
            while self._queue and len(group) < GROUP_REQUESTS_MAX:
                chars += self._queue[0].chars
                if chars > GROUP_CHARS_MAX or group[0].alone is not None or self._queue[0].alone is not None:
                    break
                group.append(self._pop())
            self._room.notify_all()
        return [request for request in group if request.future.set_running_or_notify_cancel()]

    def _pop(self) -> _Request:
        request = self._queue.popleft()
        self._queued_chars -= request.chars
        return request

    def _do_alone(self, request: _Request) -> None:
        assert request.alone is not None
        try:
            request.future.set_result(request.alone(self._connection))
        except Exception as error:  # noqa: BLE001 - whoever waits must learn of it
            _log.error("work on the whole database failed: %s", translated(error, self._path))
            request.future.set_exception(translated(error, self._path))

    def _commit(self, group: list[_Request]) -> None:
        started = time.perf_counter()
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            transaction = Transaction(self._connection, self._vault)
            outcomes = [self._attempt(transaction, request) for request in group]
            transaction.save_counters()
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must learn of it
            self._roll_back()
            _log.error("commit of %d requests failed: %s", len(group), translated(error, self._path))
            self._tell(group, started, failed=True)
            for request in group:
                request.future.set_exception(translated(error, self._path))
            return
        self._tell(group, started, failed=False)
        if transaction.erased:
            self._truncate()
        for request, outcome in zip(group, outcomes, strict=True):
            if outcome.error is None:
                request.future.set_result(outcome.value)
            else:
                request.future.set_exception(outcome.error)

    def _tell(self, group: list[_Request], started: float, *, failed: bool) -> None:
        if self.on_commit is not None:
            chars = sum(request.chars for request in group)
            self.on_commit(Commit(len(group), chars, time.perf_counter() - started, failed))

    def _attempt(self, transaction: Transaction, request: _Request) -> _Outcome:
        self._connection.execute("SAVEPOINT request")
        try:
            outcome = _Outcome(value=request.job(transaction))
        except sqlite3.OperationalError:
            # The disk, not the request: SQLite may already have rolled the whole transaction back.
            raise
        except CoterieError as error:
            outcome = _Outcome(error=error)
        except Exception as error:  # noqa: BLE001 - a defect in one request must not fail its neighbours
            _log.error("a write failed: %s", type(error).__name__)
            outcome = _Outcome(error=translated(error, self._path))
        if outcome.error is not None:
            self._connection.execute("ROLLBACK TO request")
        self._connection.execute("RELEASE request")
        return outcome

    def _roll_back(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            _log.error("rollback failed: %s", translated(error, self._path))

    def _truncate(self) -> bool:
        """Empty the write-ahead log, which still holds what was erased; try again later while it is read."""
        try:
            done = truncate_log(self._connection)
        except sqlite3.Error as error:
            _log.error("emptying the write-ahead log failed: %s", translated(error, self._path))
            done = False
        self._truncate_at = float("inf") if done else time.monotonic() + _TRUNCATE_RETRY_S
        return done


def _nothing(_: Transaction) -> None:
    """What a request does that is run alone."""
