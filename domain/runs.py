"""A run: one re-clustering of a window, immutable when finished."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from hashlib import blake2b

from coterie.domain.ids import AccountId, RunId
from coterie.domain.queries import SearchFilter, TextField

ERASED = "(erased)"
"""What stands for an erased account's name, in a slice and in the sentences of findings, standings and reviews."""


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
class Slice:
    """Which exchanges of its window a run looks at, and which side of them; as made, all of them by their prompts.

    The window itself is no part of it: every run has one, and it moves from run to run. So two runs of equal slices
    looked at the same kind of traffic, and only they are compared: a finding keeps its identity, grows or goes among
    runs of one slice. Runs that are whole make the standing picture; a run on a slice never touches it.

    Attributes:
        models, accounts: any of these, each once, in order; empty means all.
        attributes: every one of these labels with its value.
        accounts_unlisted: how many accounts a listing left out of `accounts`; 0 in the store.
        field: the side whose texts are clustered; exchanges without it drop out.
    """

    models: tuple[str, ...] = ()
    accounts: tuple[AccountId, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    accounts_unlisted: int = 0
    # Last, because from here on `field` is the attribute.
    field: TextField = TextField.PROMPT

    def __post_init__(self) -> None:
        object.__setattr__(self, "models", tuple(sorted(set(self.models))))
        object.__setattr__(self, "accounts", tuple(sorted(set(self.accounts))))

    @property
    def is_whole(self) -> bool:
        """Whether it leaves nothing of its window out, and looks at prompts."""
        return self == Slice()

    @property
    def key(self) -> str:
        """The same for equal slices, and different for others; empty for the whole."""
        if self.is_whole:
            return ""
        content = json.dumps([self.field, self.models, self.accounts, sorted(self.attributes.items())])
        return blake2b(content.encode(), digest_size=8).hexdigest()

    @property
    def accounts_total(self) -> int:
        """How many accounts were named."""
        return len(self.accounts) + self.accounts_unlisted

    def within(self, since_us: int, until_us: int) -> SearchFilter:
        """Its exchanges in [since, until), microseconds since the epoch."""
        return SearchFilter(self.accounts, self.models, since_us, until_us, self.attributes)

    def listed(self, accounts_max: int) -> "Slice":
        """The same with at most so many accounts listed, for where many runs are shown."""
        kept = self.accounts[:accounts_max]
        return replace(self, accounts=kept, accounts_unlisted=self.accounts_total - len(kept))

    def without(self, account_id: AccountId) -> "Slice":
        """The same without an erased account's name; never without a filter that it had."""
        if account_id not in self.accounts:
            return self
        return replace(self, accounts=(AccountId(ERASED), *(name for name in self.accounts if name != account_id)))


@dataclass(frozen=True, slots=True)
class ParameterSet:
    """What a run lets its caller turn; 0 means detection's default.

    Attributes:
        min_samples: exchanges that make a place dense, 2 to `LIMITS.min_samples_max`.
        min_cluster_size: exchanges that make a family, 2 to `LIMITS.min_cluster_size_max`.
    """

    min_samples: int = 0
    min_cluster_size: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """One re-clustering.

    Attributes:
        slice: what of the window it looks at.
        sets: the parameter sets it tries on the same graphs, up to `LIMITS.parameter_sets_max`; findings come from the
            first, of the others it measures how far they agree. Empty means the defaults alone.
        since_us, until_us: the window, microseconds since the epoch, [since, until); 0, 0 until it is known.
        trigger: `manual`, `schedule`, or `early`: a pool that the run before watched was growing.
        stage, progress: what it is doing, and how far that stage is, 0 to 1.
        error: why it failed, and what to do; empty otherwise.
        measures: counts and seconds per stage, once done; with several sets also, for the set numbered n from 1,
            `sets.<n>.families`, `sets.<n>.clustered` (share of distinct texts in a family) and `sets.<n>.agreement`
            (adjusted Rand index with the first).
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
    slice: Slice = Slice()
    sets: tuple[ParameterSet, ...] = ()
