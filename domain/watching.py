"""What is followed between runs: pools that new prompts are held against, and accounts that joined one."""

from dataclasses import dataclass

from coterie.domain.ids import AccountId, Sequence, TextId

WATCHED_POOLS_MAX = 50
"""Pools without enough evidence that a run leaves to be followed; the clearest are kept."""

WATCHED_TEXTS_MAX = 20_000
"""Distinct prompts of one pool that new prompts are held against; of more, an even sample."""


@dataclass(frozen=True, slots=True)
class JoinedAccount:
    """An account that came to a finding's pool after the run that reports the finding.

    Attributes:
        time_us: its first exchange there since the run, microseconds since the epoch.
        prompts: its distinct new prompts near the pool when it was added.
        p_value: of as many among its customer's prompts, were it like the customers outside of the pool; corrected for
            how many customers there were.
    """

    account_id: AccountId
    time_us: int
    prompts: int
    p_value: float


@dataclass(frozen=True, slots=True)
class WatchedPool:
    """A pool that looked guilty in a run and was not reported, for want of evidence.

    Attributes:
        text_ids: its distinct prompts, up to `WATCHED_TEXTS_MAX`.
        account_ids: its accounts, sorted.
        p_value: the evidence against it.
        reason: why it was not reported.
    """

    text_ids: tuple[TextId, ...]
    account_ids: tuple[AccountId, ...]
    p_value: float
    reason: str


@dataclass(frozen=True, slots=True)
class Watch:
    """What a whole run leaves to be followed until the next.

    Attributes:
        last_sequence, last_text: the store's log and its texts before the run read its window: what came later is new.
        pools: up to `WATCHED_POOLS_MAX`; their growth starts an early run.
    """

    last_sequence: Sequence
    last_text: TextId
    pools: tuple[WatchedPool, ...] = ()


@dataclass(frozen=True, slots=True)
class Arrival:
    """One exchange that came after a run: who sent which prompt when."""

    sequence: Sequence
    account_id: AccountId
    text_id: TextId
    time_us: int
