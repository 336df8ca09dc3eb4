"""Whether the service can do its work: looked at every few seconds, told as reasons, never by asking for work."""

import logging
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from coterie.domain import CoterieError, OverloadedError
from coterie.domain.telemetry import Commit
from coterie.server.engine import Engine
from coterie.server.logs import emit, origin

_LOGGER = logging.getLogger(__name__)

LOOK_INTERVAL_S = 2.0
_QUIET_S = 10.0
"""A commit as young as this says that the store takes writes; otherwise a small one is tried."""
_WRITE_S_MAX = 20.0
"""How long a write may take, and a full queue may stand still, before the store counts as not writable."""
_CLOSE_S_MAX = 2.0
_MARKS_MAX = 2_048
_MIB = 1 << 20


class State(StrEnum):
    """What one look at one thing came to; a service with something degraded goes on serving."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `reason` is empty when it is ok; otherwise it says what is wrong and what to do."""

    name: str
    state: State = State.OK
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a look came to."""

    checks: tuple[Check, ...]

    @property
    def ready(self) -> bool:
        """Whether calls should be sent here."""
        return all(check.state is not State.FAILED for check in self.checks)

    @property
    def status(self) -> str:
        """`ready`, `degraded` or `not_ready`."""
        if not self.ready:
            return "not_ready"
        return "ready" if all(check.state is State.OK for check in self.checks) else "degraded"

    def to_json(self) -> dict[str, Any]:
        """The answer of `/readyz`."""
        return {
            "status": self.status,
            "reasons": [check.reason for check in self.checks if check.reason],
            "checks": {check.name: check.state.value for check in self.checks},
        }


class Lag:
    """How long the oldest text has waited to be embedded.

    Texts carry no time of arrival, but their ids rise: each look marks the last id given so far. What an earlier
    process left counts from the start of this one, so a lag is never told too long, and too short by one look at most.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._marks: deque[tuple[float, int]] = deque()

    def look(self, oldest_pending: int, last_text: int) -> float:
        """Seconds; 0 where nothing waits.

        Args:
            oldest_pending: text id, 0 for none. last_text: the last id given. Read in this order.
        """
        now_s = self._clock()
        if not self._marks or last_text > self._marks[-1][1]:
            self._marks.append((now_s, last_text))
        if len(self._marks) > _MARKS_MAX:
            # Every other goes: what waited long is known a little less exactly.
            self._marks = deque(mark for place, mark in enumerate(self._marks) if place % 2 or not place)
        if not oldest_pending:
            while len(self._marks) > 1:
                self._marks.popleft()
            return 0.0
        while len(self._marks) > 1 and self._marks[0][1] < oldest_pending:
            self._marks.popleft()
        return now_s - self._marks[0][0]


class Readiness:
    """Looks at the engine on a thread of its own and keeps the last verdict."""

    def __init__(self, engine: Engine, changed: Callable[[bool], None], clock: Callable[[], float] = time.monotonic):
        """`changed` is told, on the looking thread, whenever the service becomes ready or stops being it."""
        self._engine = engine
        self._changed = changed
        self._clock = clock
        self._lag = Lag(clock)
        self._looking = threading.Lock()
        self._stopping = threading.Event()
        self._draining = False
        self._committed_at = clock()
        self._commit_failed = False
        self.lag_s = 0.0
        """How long the oldest text waited for its vector at the last look, seconds."""
        self.verdict = Verdict((Check("start", State.FAILED, "the service is starting: the model is being loaded"),))
        self._thread = threading.Thread(target=self._work, name="coterie-readiness", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Stop looking; the last verdict stays. A look that a slow disk holds up is not waited for."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(_CLOSE_S_MAX)

    def committed(self, commit: Commit) -> None:
        """Told of every transaction of the store."""
        self._commit_failed = commit.failed
        if not commit.failed:
            self._committed_at = self._clock()

    def drain(self) -> None:
        """From now on not ready, at once and whatever the checks say."""
        self._draining = True
        self.verdict = Verdict((_DRAINING,))

    def look(self) -> Verdict:
        """Look now; the verdict."""
        with self._looking:
            checks = (self._model(), self._store(), self._disk(), self._embedding())
            verdict = Verdict((_DRAINING,) if self._draining else checks)
            before, self.verdict = self.verdict, verdict
        if verdict.status != before.status:
            level = logging.INFO if verdict.status == "ready" else logging.WARNING
            emit(_LOGGER, level, verdict.status, reasons="; ".join(verdict.to_json()["reasons"]))
        if verdict.ready != before.ready:
            self._changed(verdict.ready)
        return verdict

    def _work(self) -> None:
        while not self._stopping.wait(LOOK_INTERVAL_S):
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 - whoever looks after the service must outlive what he sees
                reason = str(error) if isinstance(error, CoterieError) else origin(error)
                failed = Verdict((Check("store", State.FAILED, f"the service cannot be looked at: {reason}"),))
                before, self.verdict = self.verdict, failed
                emit(_LOGGER, logging.ERROR, "not_ready", reasons=reason)
                if before.ready:
                    self._changed(False)

    def _model(self) -> Check:
        engine = self._engine
        if engine.serving or engine.config.lazy_model:
            return Check("model")
        if engine.drifted:
            return Check("model", State.FAILED, "the model failed its self-test: see the log, then `coterie doctor`")
        return Check("model", State.FAILED, "the model is being loaded, and the indexes catch up: wait")

    def _store(self) -> Check:
        if not self._commit_failed and self._clock() - self._committed_at < _QUIET_S:
            return Check("store")
        try:
            self._engine.store.check_writable(_WRITE_S_MAX)
        except OverloadedError as error:
            if self._clock() - self._committed_at < _WRITE_S_MAX:
                return Check("store", State.DEGRADED, f"the store is busy: {error}")
            return Check("store", State.FAILED, "the store has stopped writing: check its disk")
        except CoterieError as error:
            return Check("store", State.FAILED, str(error))
        return Check("store")

    def _disk(self) -> Check:
        least_mib = self._engine.config.disk_free_mib_min
        free_mib = shutil.disk_usage(self._engine.store.data_dir).free / _MIB
        if free_mib >= 2 * least_mib:
            return Check("disk")
        reason = f"{free_mib:,.0f} MiB are free where the data folder is, the least is {least_mib:,.0f}: make room"
        return Check("disk", State.FAILED if free_mib < least_mib else State.DEGRADED, reason)

    def _embedding(self) -> Check:
        store = self._engine.store
        oldest = store.oldest_pending()
        self.lag_s = self._lag.look(oldest, store.log_position()[1])
        most_s = self._engine.config.embedding_lag_s_max
        if self.lag_s <= most_s or self._engine.config.lazy_model:
            return Check("embedding")
        reason = f"texts wait {self.lag_s:,.0f} s to be embedded, the most is {most_s:,.0f}: send less, or embed faster"
        return Check("embedding", State.DEGRADED, reason)


_DRAINING = Check("drain", State.FAILED, "the service is stopping: go to another, or come back")
