"""Where a run is: its stages, how far each is, how long each took, and whether it was asked to stop."""

import time
from collections.abc import Callable

from coterie.domain import CancelledRunError
from coterie.server.tracing import span, span_off


class Stages:
    """Handed down through a run; one thread uses it."""

    def __init__(
        self,
        report: Callable[[str, float], None],
        cancelled: Callable[[], bool],
        ended: Callable[[str, float], None] = lambda stage, duration_s: None,
    ) -> None:
        """`report` is told stage and share, `ended` stage and seconds; `cancelled` is asked again and again."""
        self.measures: dict[str, float] = {}
        """Counts, and seconds by stage under `<stage>_s`."""
        self.cancelled = cancelled
        self._report = report
        self._ended = ended
        self._span = span_off()
        self._stage = ""
        self._entered = time.perf_counter()

    def enter(self, stage: str) -> None:
        """Begin a stage, which ends the one before; entering the same again changes nothing.

        Raises:
            CancelledRunError: the run was asked to stop.
        """
        if stage == self._stage:
            return
        self.leave()
        if self.cancelled():
            raise CancelledRunError(f"cancelled before {stage}")
        self._stage = stage
        self._span = span(f"run.{stage}")
        self._span.__enter__()
        self._entered = time.perf_counter()
        self._report(stage, 0.0)

    def progress(self, share: float) -> None:
        """How far the stage is, 0 to 1."""
        self._report(self._stage, min(1.0, max(0.0, share)))

    def part(self, low: float, high: float) -> Callable[[float], None]:
        """A progress function for the part of the stage between two shares."""
        return lambda share: self.progress(low + (high - low) * share)

    def follow(self, stage: str, share: float) -> None:
        """Enter `stage` if it is new, and say how far it is."""
        self.enter(stage)
        self.progress(share)

    def leave(self) -> None:
        """End the stage."""
        if self._stage:
            name, duration_s = f"{self._stage}_s", time.perf_counter() - self._entered
            self.measures[name] = self.measures.get(name, 0.0) + duration_s
            self._span.__exit__(None, None, None)
            self._ended(self._stage, duration_s)
        self._stage = ""
