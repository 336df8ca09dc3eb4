"""Retention: whole days go when they are old enough, a slice at a time, and never on the word of a clock alone."""

import logging
import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from coterie.domain import CoterieError, Retained
from coterie.server.config import Config
from coterie.server.jobs import Runs
from coterie.server.logs import emit, origin
from coterie.store import Store

SLICE_EXCHANGES = 250
"""Exchanges that one transaction deletes: it bounds how long ingest waits."""
SLICE_TEXTS = 2_000
"""Texts that one transaction looks at."""
JUMP_DAYS_MAX = 2
"""Days that a clock may have moved on since the last sweep without anybody wondering."""

_LOGGER = logging.getLogger(__name__)
_DAY_S = 86_400
_DAY_US = _DAY_S * 1_000_000
_LOOK_S = 3_600.0
_BUSY_LOOK_S = 1.0
_SETTING = "retention_day"


class Retention:
    """Drops what is older than the configuration allows. One sweep at a time."""

    def __init__(
        self,
        store: Store,
        runs: Runs,
        purge: Callable[[NDArray[np.int64]], object],
        config: Config,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`purge` takes texts that are gone out of what is kept beside the store.

        Args:
            clock: seconds since the epoch; it may jump.
            monotonic: seconds that pass.
        """
        self._store = store
        self._runs = runs
        self._purge = purge
        self._days, self._text_days = config.retention_days, config.text_retention_days
        self._clock, self._monotonic = clock, monotonic
        self._one = threading.Lock()
        self._doubted: tuple[int, float] | None = None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._work, name="coterie-retention", daemon=True)

    def start(self) -> None:
        """Sweep now and every hour, where anything is to be let go of at all."""
        if self._days or self._text_days:
            self._thread.start()

    def close(self) -> None:
        """Stop after the slice at work; the next sweep goes on."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def outlook(self) -> Retained:
        """What a sweep would let go of, without doing it; contents of texts are not counted."""
        before_us, texts_before_us = self._bounds(int(self._clock() // _DAY_S))
        return Retained(before_us, texts_before_us, self._store.count_before(before_us) if before_us else 0)

    def sweep(self, *, asked: bool = False) -> Retained:
        """Let go of what is too old.

        A clock that has moved by more than `JUMP_DAYS_MAX` days since the last sweep is not believed until an exchange
        of these days came in, or it has stood for a day, or a person has asked: a deletion cannot be taken back.

        Args:
            asked: a person did.
        """
        with self._one:
            today = int(self._clock() // _DAY_S)
            before_us, texts_before_us = self._bounds(today)
            if not asked and not self._believed(today):
                emit(_LOGGER, logging.WARNING, "retention_waits", day=today, reason="the clock may have jumped")
                return Retained(before_us, texts_before_us, waiting=True)
            self._store.put_setting(_SETTING, str(today))
            exchanges, text_ids = self._drop_exchanges(before_us)
            contents = self._drop_contents(texts_before_us)
            if text_ids or contents:
                self._store.forget_dropped()
                self._purge(np.array(text_ids, np.int64))
            done = Retained(before_us, texts_before_us, exchanges, len(text_ids), contents)
            if exchanges or contents:
                emit(
                    _LOGGER,
                    logging.INFO,
                    "retention_swept",
                    exchanges=exchanges,
                    texts=len(text_ids),
                    contents=contents,
                )
            return done

    def _bounds(self, today: int) -> tuple[int, int]:
        """Exchanges, and contents of texts, before these times go, microseconds since the epoch; 0 for none."""
        return tuple(max(0, today - days) * _DAY_US if days else 0 for days in (self._days, self._text_days))  # type: ignore[return-value]

    def _believed(self, today: int) -> bool:
        last = self._store.setting(_SETTING)
        if last is not None and today <= int(last) + JUMP_DAYS_MAX:
            self._doubted = None
            return True
        times = self._store.time_range()
        if times is None or times[1] // _DAY_US >= today - JUMP_DAYS_MAX:
            return True
        if self._doubted is None or abs(today - self._doubted[0]) > JUMP_DAYS_MAX:
            self._doubted = (today, self._monotonic())
        return self._monotonic() - self._doubted[1] >= _DAY_S

    def _drop_exchanges(self, before_us: int) -> tuple[int, list[int]]:
        count = 0
        text_ids: list[int] = []
        while before_us and not self._stopping.is_set():
            started = self._monotonic()
            self._wait_for_run()
            gone, removed = self._store.drop_exchanges(before_us, SLICE_EXCHANGES, int(self._clock() * 1e6))
            if not gone:
                break
            count += gone
            text_ids += removed
            self._make_room(started)
        return count, text_ids

    def _drop_contents(self, before_us: int) -> int:
        count, after = 0, 0
        while before_us and not self._stopping.is_set():
            started = self._monotonic()
            self._wait_for_run()
            after, dropped = self._store.drop_contents(before_us, after, SLICE_TEXTS)
            count += dropped
            if not after:
                break
            self._make_room(started)
        return count

    def _wait_for_run(self) -> None:
        """A run reads its window's texts over minutes: nothing of it goes meanwhile."""
        while self._runs.busy and not self._stopping.wait(_BUSY_LOOK_S):
            pass

    def _make_room(self, started: float) -> None:
        """As long as a slice took, the writer is left to others."""
        self._stopping.wait(max(0.0, self._monotonic() - started))

    def _work(self) -> None:
        while not self._stopping.is_set():
            try:
                self.sweep()
            except Exception as error:  # noqa: BLE001 - the job must outlive a bad moment
                reason = str(error) if isinstance(error, CoterieError) else origin(error)
                emit(_LOGGER, logging.ERROR, "retention_failed", reason=reason)
            self._stopping.wait(_LOOK_S)
