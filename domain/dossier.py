"""Everything of one finding that is drawn or reported: who asked what when, against which chance, and how it grew.

It is bounded: of a large finding some accounts and some exchanges are drawn, with a seed that is told.
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coterie.domain.exchange import Exchange
from coterie.domain.findings import Finding, Lineage, Severity
from coterie.domain.ids import AccountId, ExchangeId, FamilyId, FindingId, RunId
from coterie.domain.reviews import Review
from coterie.domain.runs import Run

DAY_US = 86_400_000_000

DOSSIER_ACCOUNTS_MAX = 60
"""Accounts that are drawn of a finding: more rows than that no eye follows, and a sample shows the same."""

DOSSIER_EXCHANGES_MAX = 6_000
DOSSIER_FAMILIES_MAX = 24
DOSSIER_DAYS_MAX = 120
DOSSIER_LINEAGE_MAX = 100

ELSEWHERE_MAX = 1_000
"""Other accounts up to which it is counted how many name a label: beyond, everybody does."""

SHUFFLED_ITEMS_MAX = 1_000
SHUFFLES = 400


class _Compared:
    """Equality over fields that may hold arrays; a dataclass's own would ask an array for its truth."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        names = [item.name for item in fields(self)]  # type: ignore[arg-type]  # every heir is a dataclass
        return all(_same(getattr(self, name), getattr(other, name)) for name in names)

    __hash__ = None  # type: ignore[assignment]  # of arrays there is none


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, np.ndarray):
        return isinstance(second, np.ndarray) and np.array_equal(first, second, equal_nan=first.dtype.kind == "f")
    return bool(first == second)


@dataclass(frozen=True, slots=True, eq=False)
class AskedExchanges(_Compared):
    """Who asked when: e exchanges of the accounts drawn, in the run's window, by time.

    Attributes:
        exchange_ids: e ids.
        account: int32[e], number of the account drawn.
        time_us: int64[e], microseconds since the epoch.
        text: int32[e], number of the distinct text, from 0 by first appearance; equal numbers are equal texts.
        family: int32[e], number of its family in `Dossier.families`, -1 where it is in none of them.
        in_pool: bool[e], whether it is part of what the finding claims; the rest is the account's other traffic.
        total: how many there are; more than e where they were sampled, evenly over all of them.
    """

    exchange_ids: tuple[ExchangeId, ...]
    account: NDArray[np.int32]
    time_us: NDArray[np.int64]
    text: NDArray[np.int32]
    family: NDArray[np.int32]
    in_pool: NDArray[np.bool_]
    total: int


@dataclass(frozen=True, slots=True, eq=False)
class DailyVolume(_Compared):
    """How much each of a drawn accounts asked on each of d days, before the run's window and in it.

    Attributes:
        day_us: int64[d], where each day (UTC) begins, rising, without gaps.
        asked: int64[a, d], all exchanges of the account.
        in_pool: int64[a, d], those that the finding claims; 0 before the window, where nothing was tested.
    """

    day_us: NDArray[np.int64]
    asked: NDArray[np.int64]
    in_pool: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class FamilyCounts(_Compared):
    """Exchanges of a drawn accounts by family, in the run's window.

    Attributes:
        family_ids: f families: the finding's first, then those where its accounts ask most.
        asked: int64[a, f + 2], all exchanges; the last two columns are those in other families, and in none.
        in_pool: int64[a, f + 2], those that the finding claims, likewise.
        run_id: whose families they are: the finding's run, or the standing one where those of the finding's are no
            longer kept; empty where there are none.
    """

    family_ids: tuple[FamilyId, ...]
    asked: NDArray[np.int64]
    in_pool: NDArray[np.int64]
    run_id: RunId = RunId("")


@dataclass(frozen=True, slots=True, eq=False)
class SharedQuestions(_Compared):
    """How many of the finding's distinct texts each two of a drawn accounts both sent, beside chance.

    Attributes:
        observed: int64[a, a], texts that both sent; on the diagonal, the account's own distinct texts.
        expected: float64[a, a], what that would be had each drawn its number of texts at random from all of the
            finding's: n_a n_b / texts. On the diagonal 0. Slices of one list that was dealt out lie far below it, a
            crowd with a common source near it or above.
        texts: distinct texts of the finding.
    """

    observed: NDArray[np.int64]
    expected: NDArray[np.float64]
    texts: int


@dataclass(frozen=True, slots=True, eq=False)
class ShuffledLabels(_Compared):
    """C/W of the finding, and what it is when the labels of who asked are shuffled.

    Measured anew from the stored vectors of the texts as sent, when the dossier was made. The run tested the view in
    which the pool was found, on all of it, with the closed form over all shufflings; where that was another view or
    the pool was sampled, the two differ.

    Attributes:
        observed: C/W, as measured here.
        shuffled: float64[s], C/W under s random shufflings.
        recorded: C/W as the run recorded it; None where the finding has none.
        recorded_z: z of the run's own permutation test, likewise.
        innocent_max: the highest C/W that an innocent pool is taken to reach.
        items: distinct pairs of customer and text that went in; `items_total` there were.
        customers: with an organisation's accounts as one.
        alike_own: float64[a], mean similarity of each drawn account's texts among themselves; NaN below two.
        alike_others: float64[a], with those of the others.
    """

    observed: float
    shuffled: NDArray[np.float64]
    recorded: float | None
    recorded_z: float | None
    innocent_max: float
    items: int
    items_total: int
    customers: int
    alike_own: NDArray[np.float64]
    alike_others: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class BenchmarkStrip(_Compared):
    """Which items of a registered benchmark the accounts drawn asked: m distinct pairs.

    Attributes:
        items: how many the benchmark has.
        account: int32[m], number of the account drawn.
        item: int32[m], number of the item, from 0 in the benchmark's order.
        texts: distinct texts that were held against it; `texts_total` the accounts drawn sent.
    """

    name: str
    items: int
    account: NDArray[np.int32]
    item: NDArray[np.int32]
    texts: int
    texts_total: int


@dataclass(frozen=True, slots=True)
class LineageStep:
    """A finding as one run reported it: itself, or one that it came from."""

    finding_id: FindingId
    run_id: RunId
    created_us: int
    trigger: str
    lineage: Lineage
    severity: Severity
    confidence: float
    accounts: int
    texts: int
    exchanges: int


@dataclass(frozen=True, slots=True)
class SharedAttribute:
    """A label that accounts drawn have in common.

    Attributes:
        accounts: how many of the accounts drawn name it.
        elsewhere: how many other accounts name it in the run's window; `ELSEWHERE_MAX` where it is as many or more.
    """

    name: str
    value: str
    accounts: int
    elsewhere: int


@dataclass(frozen=True, slots=True, eq=False)
class Dossier(_Compared):
    """One finding with all that is drawn or reported of it.

    Attributes:
        run: the run that reports it.
        reviews: decisions on it, oldest first.
        exemplars: exchanges that show it best; without texts (prompt, response, system prompt) unless `with_text`.
        account_ids: a accounts drawn, in the finding's order; all of them up to `DOSSIER_ACCOUNTS_MAX`.
        seed: of what was drawn.
        window_exchanges: int64[a], all exchanges of each in the run's window.
        shuffled: None where too little is stored to shuffle.
        lineage: oldest first.
        attributes: those most shared first; only labels that two accounts drawn share.
        accounts_in_window: accounts that the run looked at; 0 where unknown.
    """

    finding: Finding
    run: Run
    reviews: tuple[Review, ...]
    exemplars: tuple[Exchange, ...]
    with_text: bool
    account_ids: tuple[AccountId, ...]
    seed: int
    window_exchanges: NDArray[np.int64]
    asked: AskedExchanges
    volume: DailyVolume
    families: FamilyCounts
    shared: SharedQuestions
    shuffled: ShuffledLabels | None
    benchmarks: tuple[BenchmarkStrip, ...]
    lineage: tuple[LineageStep, ...]
    attributes: tuple[SharedAttribute, ...]
    accounts_in_window: int

    @property
    def is_sampled(self) -> bool:
        """Whether some of the finding's accounts or exchanges were left out."""
        return len(self.account_ids) < len(self.finding.accounts) or self.asked.total > len(self.asked.exchange_ids)

    @property
    def pool_exchanges(self) -> NDArray[np.int64]:
        """int64[a], exchanges of each account drawn that the finding claims."""
        return np.asarray(self.families.in_pool.sum(axis=1))

    @property
    def outside_share(self) -> NDArray[np.float64]:
        """float64[a], share of each account's traffic in the window that the finding does not claim."""
        return 1.0 - self.pool_exchanges / np.maximum(self.window_exchanges, 1)
