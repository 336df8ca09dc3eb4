"""Who may use the model next: those that somebody waits for go first."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """A lock whose urgent waiters go before all others. Held for one batch at a time, it bounds their wait to that."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._taken = False
        self._urgent = 0

    @contextmanager
    def turn(self, *, urgent: bool) -> Iterator[int]:
        """Hold the lock; gives the time that it was waited for, nanoseconds."""
        started = time.perf_counter_ns()
        with self._condition:
            self._urgent += urgent
            try:
                self._condition.wait_for(lambda: not self._taken and (urgent or not self._urgent))
                self._taken = True
            finally:
                self._urgent -= urgent
        try:
            yield time.perf_counter_ns() - started
        finally:
            with self._condition:
                self._taken = False
                self._condition.notify_all()
