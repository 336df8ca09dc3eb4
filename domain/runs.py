"""A run: one re-clustering of a window, immutable when finished."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from coterie.domain.ids import RunId


class RunState(StrEnum):
    """`pending` and `running` runs of a stopped service are taken up again as `failed` with the reason."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        """Whether the run can no longer change."""
        return self in (RunState.DONE, RunState.FAILED, RunState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Run:
    """One re-clustering.

    Attributes:
        since_us, until_us: the window, microseconds since the epoch, [since, until); 0, 0 until it is known.
        trigger: `manual` or `schedule`.
        stage, progress: what it is doing, and how far that stage is, 0 to 1.
        error: why it failed, and what to do; empty otherwise.
        measures: counts and seconds per stage, once done.
        parameters: the detection parameters it ran with, by name.
    """

    run_id: RunId
    state: RunState
    created_us: int
    trigger: str = "manual"
    since_us: int = 0
    until_us: int = 0
    started_us: int = 0
    finished_us: int = 0
    stage: str = ""
    progress: float = 0.0
    error: str = ""
    measures: Mapping[str, float] = field(default_factory=dict)
    parameters: Mapping[str, float] = field(default_factory=dict)
