"""Runs, one at a time: started by hand or by the schedule, watched, cancelled, and never left unfinished."""

import logging
import math
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from coterie.domain import (
    AccountId,
    CancelledRunError,
    ConflictError,
    CoterieError,
    FamilyRecord,
    Finding,
    InvalidError,
    ParameterSet,
    Run,
    RunId,
    RunState,
    Slice,
    Standing,
    UnavailableError,
    Watch,
    format_time,
    parse_time,
)
from coterie.server.checks import check_period
from coterie.server.errors import unexpected
from coterie.server.logs import emit, origin
from coterie.server.observer import Observer
from coterie.server.schedule import Schedule
from coterie.server.signals import Signal
from coterie.server.stages import Stages
from coterie.server.tracing import span
from coterie.store import Store

_LOGGER = logging.getLogger(__name__)
_STOPPED = "the service stopped while this run was unfinished: start another"
_REPORT_INTERVAL_S = 0.1
_SAVE_INTERVAL_S = 1.0
_SCHEDULE_LOOK_S_MAX = 30.0
_SCHEDULE_RETRY_S = 30.0
_PAGE = 100

WHOLE = Slice()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to.

    Attributes:
        run: with window, parameters and measures filled in.
        standings: one for each account of the window.
        families: None where there is nothing to record of them.
        watch: what of a whole run is followed until the next; None for nothing.
    """

    run: Run
    findings: Sequence[Finding]
    standings: Sequence[Standing]
    families: FamilyRecord | None = None
    watch: Watch | None = None


Recluster = Callable[[Run, Stages], Outcome]
"""What a run does; `pipeline.Pipeline.recluster` in the service."""


class Runs:
    """Starts runs on a thread of their own and keeps their state."""

    def __init__(self, store: Store, recluster: Recluster, changed: Signal, observer: Observer | None = None) -> None:
        """Take the store's runs over; `changed` is told when a run moves or ends."""
        self._observer = observer or Observer()
        self._store = store
        self._recluster = recluster
        self._changed = changed
        self._lock = threading.Lock()
        self._current: Run | None = None
        self._thread: threading.Thread | None = None
        self._cancel = threading.Event()
        self._finishing = threading.Lock()
        self._void = ""
        self._erased: list[AccountId] = []
        self._closing = False
        self._created_at: float | None = None
        self.cut_off = 0
        """Runs that the process before this one left unfinished."""
        self._reported_at = 0.0
        self._saved_at = 0.0
        self._fail_unfinished()

    def start(
        self,
        since_us: int | None,
        until_us: int | None,
        trigger: str,
        part: Slice = WHOLE,
        sets: Sequence[ParameterSet] = (),
    ) -> Run:
        """Accept a run of [since, until) and begin it; None is the default of `Pipeline`.

        Args:
            part, sets: as `checks` let them pass.

        Raises:
            InvalidError: since is not before until.
            ConflictError: another run is unfinished, or there are no exchanges.
            UnavailableError: the service is stopping.
        """
        check_period(since_us, until_us)
        # A run that starts while an account is erased would read it still: it waits for the end of the erasure.
        with self._finishing, self._lock:
            if self._closing:
                raise UnavailableError("the service is stopping: start the run when it is back")
            if self._current is not None:
                raise ConflictError(f"run {self._current.run_id} is at work: wait for it, or cancel it")
            times = self._store.time_range()
            if times is None:
                raise ConflictError("there are no exchanges yet: ingest some, then start the run")
            check_period(since_us, until_us if until_us is not None else times[1] + 1)
            run = Run(
                run_id=_new_run_id(),
                state=RunState.PENDING,
                created_us=self._next_created_us(),
                trigger=trigger,
                # 0 means open, and no exchange is as old as 1970.
                since_us=0 if since_us is None else max(1, since_us),
                until_us=0 if until_us is None else max(1, until_us),
                slice=part,
                sets=tuple(sets),
            )
            self._store.create_run(run)
            self._created_at = time.monotonic()
            self._current = run
            self._void = ""
            self._erased = []
            self._cancel = threading.Event()
            self._thread = threading.Thread(target=self._work, args=(run,), name="coterie-run", daemon=True)
            self._thread.start()
        emit(_LOGGER, logging.INFO, "run_started", run=run.run_id, trigger=trigger)
        return run

    def get(self, run_id: str) -> Run:
        """A run as it is now; "" is the newest.

        Raises:
            NotFoundError: no such run.
        """
        with self._lock:
            current = self._current
        if current is not None and run_id in ("", current.run_id):
            return current
        return self._store.run(run_id)

    def page(self, limit: int, before: tuple[int, str] | None) -> list[Run]:
        """Runs as they are now, newest first, after the one that `before` names by creation time and id."""
        with self._lock:
            current = self._current
        runs = self._store.runs(limit=limit, before=before)
        return [current if current is not None and run.run_id == current.run_id else run for run in runs]

    def cancel(self, run_id: str) -> Run:
        """Ask a run to stop; one that is finished stays as it is.

        Raises:
            NotFoundError: no such run.
        """
        with self._lock:
            if self._current is not None and self._current.run_id == run_id:
                self._cancel.set()
                return self._current
        return self._store.run(run_id)

    @contextmanager
    def erasing(self, account_id: AccountId) -> Iterator[threading.Thread | None]:
        """While the context is open no run starts or finishes; one at work has seen what is erased, so it fails.

        Gives the thread of that run: what it holds of the account is gone when the thread has ended.
        """
        with self._finishing:
            with self._lock:
                at_work = self._thread if self._current is not None else None
                if self._current is not None:
                    self._void = "an account was erased while this run was at work: start another"
                    self._erased.append(account_id)
                    self._cancel.set()
            yield at_work

    @property
    def busy(self) -> bool:
        """Whether a run is at work."""
        with self._lock:
            return self._current is not None

    def close(self, timeout_s: float | None = None) -> None:
        """Refuse new runs, stop the one at work and wait until it is recorded as failed, or so many seconds."""
        with self._lock:
            self._closing = True
            self._cancel.set()
            thread = self._thread
        if thread is not None:
            thread.join(timeout_s)
            if thread.is_alive():
                emit(_LOGGER, logging.WARNING, "run_left_over", timeout_s=timeout_s)

    def since_last_s(self) -> float:
        """Seconds since a run was last created, infinite before the first; in this process by a clock that nobody sets.

        A stamp of an earlier process that lies in the future says nothing: the clock was set back since.
        """
        if self._created_at is not None:
            return time.monotonic() - self._created_at
        newest = next((run.created_us for run in self._recorded()), None)
        if newest is None or newest > _now_us():
            return math.inf
        return (_now_us() - newest) / 1e6

    def last_scheduled_us(self) -> int | None:
        """When the schedule last started a run, microseconds since the epoch; None if it never did."""
        return next((run.created_us for run in self._recorded() if run.trigger == "schedule"), None)

    def _next_created_us(self) -> int:
        """Now, or just after the newest run: by this the newest is told, and the clock may have been set back."""
        newest = next((run.created_us for run in self._recorded()), 0)
        return max(_now_us(), newest + 1)

    def _recorded(self) -> Iterator[Run]:
        """Every run as the store has it, newest first."""
        before = None
        while runs := self._store.runs(limit=_PAGE, before=before):
            yield from runs
            before = (runs[-1].created_us, runs[-1].run_id)

    def _fail_unfinished(self) -> None:
        for run in self._recorded():
            if not run.state.finished:
                failed = replace(run, state=RunState.FAILED, error=_STOPPED, finished_us=_now_us())
                self._store.update_run(failed)
                self.cut_off += 1
                emit(_LOGGER, logging.WARNING, "run_cut_off", run=run.run_id)

    def _work(self, run: Run) -> None:
        with span("run", **{"coterie.run_id": run.run_id, "coterie.trigger": run.trigger}) as trace:
            run = self._run_to_its_end(run)
            trace.set(**{"coterie.state": run.state.value})
        self._observer.run_ended(run)
        emit(_LOGGER, logging.INFO, "run_ended", run=run.run_id, state=run.state.value, error=run.error)

    def _run_to_its_end(self, run: Run) -> Run:
        stages = Stages(self._report, self._cancel.is_set, self._observer.stage_ended)
        try:
            run = replace(run, state=RunState.RUNNING, started_us=_now_us())
            self._set(run, save=True)
            run = self._finish(self._recluster(run, stages))
        except CancelledRunError:
            reason = self._void or (_STOPPED if self._closing else "")
            run = self._ended(RunState.FAILED if reason else RunState.CANCELLED, reason)
        except CoterieError as error:
            run = self._ended(RunState.FAILED, str(error))
        except Exception as error:  # noqa: BLE001 - a run must end in a state, whatever happened in it
            run = self._ended(RunState.FAILED, str(unexpected(error, "run")))
        finally:
            stages.leave()
            with self._lock:
                self._current = None
            self._changed.notify()
        return run

    def _finish(self, outcome: Outcome) -> Run:
        done = replace(outcome.run, state=RunState.DONE, finished_us=_now_us(), stage="", progress=1.0)
        with self._finishing:
            if self._void:
                raise CancelledRunError(self._void)
            self._store.finish_run(done, outcome.findings, outcome.standings, outcome.families, outcome.watch)
        return done

    def _ended(self, state: RunState, error: str) -> Run:
        with self._lock:
            assert self._current is not None
            part = self._current.slice
            for account_id in self._erased:  # or its name would come back with this last record
                part = part.without(account_id)
            run = replace(self._current, state=state, error=error, finished_us=_now_us(), slice=part)
        try:
            self._store.update_run(run)
        except CoterieError as failure:  # the next start of the service records that it was cut off
            emit(_LOGGER, logging.ERROR, "run_not_recorded", run=run.run_id, reason=failure)
        return run

    def _report(self, stage: str, share: float) -> None:
        with self._lock:
            assert self._current is not None
            run = replace(self._current, stage=stage, progress=share)
            moved = stage != self._current.stage
        self._set(run, save=moved)

    def _set(self, run: Run, *, save: bool) -> None:
        now = time.monotonic()
        with self._lock:
            self._current = run
        if save or now - self._saved_at >= _SAVE_INTERVAL_S:
            self._saved_at = now
            self._store.update_run(run)
        if save or now - self._reported_at >= _REPORT_INTERVAL_S:
            self._reported_at = now
            self._changed.notify()


class Scheduler:
    """Starts a run whenever one is due. What is due follows from the last scheduled run, so a restart forgets none."""

    def __init__(self, schedule: Schedule, runs: Runs, anchor: Path) -> None:
        """`anchor`: a file that keeps since when there is a schedule; the first run is counted from then."""
        self._schedule = schedule
        self._anchor = anchor
        self._runs = runs
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="coterie-schedule", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """Stop; a run that it started goes on."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                self._follow()
            except Exception as error:  # noqa: BLE001 - a schedule must outlive a bad moment
                reason = str(error) if isinstance(error, CoterieError) else origin(error)
                emit(_LOGGER, logging.ERROR, "schedule_failed", reason=reason, retry_s=_SCHEDULE_RETRY_S)
                self._stopping.wait(_SCHEDULE_RETRY_S)

    def _follow(self) -> None:
        last_us = self._runs.last_scheduled_us() or self._since_us()
        while True:
            due_us = self._schedule.next_after(last_us)
            # Short looks, because the clock may be set meanwhile.
            while (wait_s := (due_us - (now_us := _now_us())) / 1e6) > 0:
                if now_us < last_us:
                    emit(_LOGGER, logging.WARNING, "clock_went_back", s=round((last_us - now_us) / 1e6))
                    last_us = now_us
                    due_us = self._schedule.next_after(last_us)
                    continue
                if self._stopping.wait(min(wait_s, _SCHEDULE_LOOK_S_MAX)):
                    return
            if self._stopping.is_set():
                return
            last_us = _now_us()
            self._start()

    def _since_us(self) -> int:
        """When a schedule was first followed on this folder, so that restarts do not put the first run off."""
        try:
            return parse_time(self._anchor.read_text(encoding="utf-8").strip())
        except (FileNotFoundError, ValueError, InvalidError):
            now_us = _now_us()
            self._anchor.write_text(format_time(now_us) + "\n", encoding="utf-8")
            return now_us

    def _start(self) -> None:
        try:
            self._runs.start(None, None, "schedule")
        except CoterieError as error:
            emit(_LOGGER, logging.WARNING, "scheduled_run_skipped", reason=error)


def _new_run_id() -> RunId:
    return RunId(time.strftime("%Y%m%dT%H%M%S-", time.gmtime()) + secrets.token_hex(3))


def _now_us() -> int:
    return time.time_ns() // 1_000
