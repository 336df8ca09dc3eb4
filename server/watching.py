"""Between runs: accounts that join a finding's pool, and pools that grow until they are worth an early run."""

import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from coterie.domain import (
    WATCHED_TEXTS_MAX,
    AccountId,
    Arrival,
    CoterieError,
    Evidence,
    Finding,
    FindingKind,
    JoinedAccount,
    Lineage,
    RunId,
    TextId,
    WatchedPool,
)
from coterie.server.logs import emit, origin
from coterie.store import Store

if TYPE_CHECKING:
    from coterie.server.indexes import FieldIndex

EARLY = "early"
"""Trigger of a run that was started because a pool was growing."""

FINDINGS_MAX = 100
"""Findings whose pools are followed, most severe first."""

NEIGHBOURS = 60
"""Nearest texts that a new prompt is held against; those that came after the run are then left out."""

_LOGGER = logging.getLogger(__name__)
_ARRIVALS_AT_ONCE = 512  # one search of the index, which writers of the index wait for
_CENTRE_TEXTS = 2_000
"""Texts of the run whose mean vector prompts are centred on to compare them, evenly spread."""

_FIT_TEXTS = 2_000
"""Texts of a pool that an account's prompts are compared with, evenly spread."""

_Near = Mapping[AccountId, Mapping[TextId, int]]


@dataclass(frozen=True, slots=True)
class _Followed:
    """What is followed of one run.

    Attributes:
        last_sequence, last_text: see `Watch`.
        findings: its campaigns, by id.
        watched: the other pools, by id.
        texts: int64[...], the text ids of each pool, findings and others, in the order of `pool_ids`.
        homes: the organisation of each account of a finding or a pool, where it has one.
    """

    run_id: RunId
    last_sequence: int
    last_text: int
    findings: Mapping[str, Finding]
    watched: Mapping[str, WatchedPool]
    pool_ids: tuple[str, ...]
    texts: tuple[NDArray[np.int64], ...]
    homes: Mapping[AccountId, str]

    def members(self, pool_id: str) -> frozenset[AccountId]:
        """The accounts that a pool had in the run."""
        if pool_id in self.findings:
            return frozenset(account.account_id for account in self.findings[pool_id].accounts)
        return frozenset(self.watched[pool_id].account_ids)


class Watching:
    """Holds what comes against the pools of the newest whole run. Thread-safe; all that it learns is in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._followed: _Followed | None = None
        self._to_test = True
        self._grown = False

    def forget(self) -> None:
        """Read everything again at the next use: some was erased."""
        with self._lock:
            self._followed = None

    def grown(self) -> bool:
        """Whether a pool that the newest whole run left has grown enough for another run."""
        with self._lock:
            return self._grown and self._followed is not None and self._store.watching()[0] == self._followed.run_id

    def follow(self, index: "FieldIndex", stopping: Callable[[], bool]) -> int:
        """Hold the exchanges since the run against its pools, and say how many accounts joined findings.

        A failure is logged and leaves the rest for the next call: what waits for it must not suffer from it.

        Args:
            index: of prompts, caught up with the store.
            stopping: asked between batches.
        """
        with self._lock:
            try:
                followed = self._read()
                if followed is None:
                    return 0
                while not stopping() and self._follow_batch(followed, index):
                    pass
                if stopping() or not self._to_test:
                    return 0
                joined = self._test(followed, index)
                self._to_test = False
                return joined
            except Exception as error:  # noqa: BLE001 - embedding and its thread go on
                run_id = self._followed.run_id if self._followed is not None else ""
                reason = str(error) if isinstance(error, CoterieError) else origin(error)
                self._followed = None  # something may have been erased meanwhile
                emit(_LOGGER, logging.ERROR, "watching_failed", run=run_id, reason=reason)
        return 0

    def _read(self) -> _Followed | None:
        """What is to be followed now; None for nothing."""
        run_id, last_sequence, last_text, _ = self._store.watching()
        if self._followed is not None and self._followed.run_id == run_id:
            return self._followed
        self._followed, self._to_test, self._grown = None, True, False
        if not run_id:
            return None
        standing, findings = self._store.reported()
        watched = self._store.watched_pools()
        if standing != run_id:
            return None  # a run has finished at this moment: the next call reads its pools
        campaigns = {
            str(finding.finding_id): finding
            for finding in [
                item for item in findings if item.kind is FindingKind.CAMPAIGN and item.lineage is not Lineage.GONE
            ][:FINDINGS_MAX]
        }
        self._followed = self._made(run_id, last_sequence, last_text, campaigns, watched)
        return self._followed

    def _made(
        self,
        run_id: RunId,
        last_sequence: int,
        last_text: int,
        campaigns: Mapping[str, Finding],
        watched: Mapping[str, WatchedPool],
    ) -> _Followed:
        from coterie.detection import sample

        pools = {**{name: item.text_ids for name, item in campaigns.items()}}
        pools |= {name: item.text_ids for name, item in watched.items()}
        accounts = {account.account_id for finding in campaigns.values() for account in finding.accounts}
        accounts |= {account_id for pool in watched.values() for account_id in pool.account_ids}
        return _Followed(
            run_id,
            last_sequence,
            last_text,
            campaigns,
            watched,
            tuple(pools),
            tuple(sample(np.unique(np.array(texts, np.int64)), WATCHED_TEXTS_MAX) for texts in pools.values()),
            self._store.organisations(accounts),
        )

    def _follow_batch(self, followed: _Followed, index: "FieldIndex") -> bool:
        """Hold the next exchanges against the pools; False when there are no more."""
        run_id, _, _, looked = self._store.watching()
        arrivals = self._store.arrivals(looked, _ARRIVALS_AT_ONCE) if run_id == followed.run_id else []
        if not arrivals:
            return False
        near = self._near(followed, index, arrivals)
        self._to_test |= bool(near)
        return self._store.put_near(run_id, near, int(arrivals[-1].sequence))

    def _near(
        self, followed: _Followed, index: "FieldIndex", arrivals: Sequence[Arrival]
    ) -> list[tuple[str, AccountId, TextId, int]]:
        """Which of the arrivals lie near which pool they are not in, members of findings left out."""
        from coterie.detection import near_pools

        if not followed.pool_ids:
            return []
        text_ids = np.unique([arrival.text_id for arrival in arrivals])
        found, _ = index.search_batch(self._store.vectors(text_ids), NEIGHBOURS)
        reference = int(np.searchsorted(index.ids(), followed.last_text, side="right"))
        known = (found >= 0) & (found <= followed.last_text) & (found != text_ids[:, None])
        # What the run knew, moved to the front in its order: who came since must not change what is near.
        order = np.argsort(~known, axis=1, kind="stable")
        neighbours = np.where(np.take_along_axis(known, order, 1), np.take_along_axis(found, order, 1), -1)
        near = near_pools(neighbours, followed.texts, reference)
        for number, texts in enumerate(followed.texts):
            near[:, number] &= ~np.isin(text_ids, texts)
        row_of = {text_id: row for row, text_id in enumerate(text_ids.tolist())}
        members = {pool_id: followed.members(pool_id) for pool_id in followed.findings}
        return [
            (followed.pool_ids[number], arrival.account_id, arrival.text_id, arrival.time_us)
            for arrival in arrivals
            for number in np.flatnonzero(near[row_of[arrival.text_id]]).tolist()
            if arrival.account_id not in members.get(followed.pool_ids[number], ())
        ]

    def _test(self, followed: _Followed, index: "FieldIndex") -> int:
        """Who joined which finding, and whether a watched pool has grown, by everything since the run."""
        looked = self._store.watching()[3]
        near = self._store.near()
        if not near:
            return 0
        prompts = self._store.prompts_since(followed.last_sequence, looked)
        homes = {**self._store.organisations(prompts), **followed.homes}
        self._grown = any(
            self._has_grown(followed, pool_id, near.get(pool_id, {}), homes) for pool_id in followed.watched
        )
        joined = {}
        for pool_id, finding in followed.findings.items():
            found = self._joined(followed, pool_id, near.get(pool_id, {}), prompts, homes, index)
            if found:
                joined[finding.finding_id] = found
        added = self._store.put_joined(followed.run_id, joined) if joined else []
        for finding_id, account_id in added:
            emit(_LOGGER, logging.INFO, "account_joined", finding=finding_id, account=account_id)
        return len(added)

    def _has_grown(self, followed: _Followed, pool_id: str, near: _Near, homes: Mapping[AccountId, str]) -> bool:
        from coterie.detection import has_grown

        inside = {_customer(account_id, homes) for account_id in followed.members(pool_id)}
        texts: dict[str, set[TextId]] = defaultdict(set)
        for account_id, its in near.items():
            texts[_customer(account_id, homes)] |= its.keys()
        everything = set().union(*texts.values()) if texts else set()
        most = max((len(its) for customer, its in texts.items() if customer not in inside), default=0)
        return has_grown(len(followed.watched[pool_id].text_ids), len(everything), most)

    def _joined(
        self,
        followed: _Followed,
        pool_id: str,
        near: _Near,
        prompts: Mapping[AccountId, int],
        homes: Mapping[AccountId, str],
        index: "FieldIndex",
    ) -> list[JoinedAccount]:
        """The accounts of the customers that joined a finding."""
        from coterie.detection import newcomers

        inside = {_customer(account_id, homes) for account_id in followed.members(pool_id)}
        total: Counter[str] = Counter()
        texts: dict[str, set[TextId]] = {}
        for account_id, count in prompts.items():
            customer = _customer(account_id, homes)
            if customer not in inside:
                total[customer] += count
                texts.setdefault(customer, set()).update(near.get(account_id, ()))
        customers = sorted(total)
        if not customers:
            return []
        joined, p_value = newcomers(
            np.array([len(texts[customer]) for customer in customers], np.int64),
            np.array([total[customer] for customer in customers], np.int64),
            lambda number: self._fits(followed, pool_id, texts[customers[number]], index),
        )
        of = {customers[number]: float(p_value[number]) for number in np.flatnonzero(joined).tolist()}
        return [
            JoinedAccount(account_id, min(its.values()), len(its), of[customer])
            for account_id, its in sorted(near.items())
            if its and (customer := _customer(account_id, homes)) in of
        ]

    def _fits(self, followed: _Followed, pool_id: str, texts: Iterable[TextId], index: "FieldIndex") -> bool:
        from coterie.detection import fits_pool, sample

        known = index.ids()
        known = known[known <= followed.last_text]
        centre = self._store.vectors(sample(known, _CENTRE_TEXTS)).mean(axis=0)
        # What has left by its age is no company any more.
        pool = sample(np.intersect1d(followed.texts[followed.pool_ids.index(pool_id)], known), _FIT_TEXTS)
        if not len(pool):
            return False
        mine = sample(np.array(sorted(texts), np.int64), _FIT_TEXTS)
        return fits_pool(self._store.vectors(mine) - centre, self._store.vectors(pool) - centre)


def _customer(account_id: AccountId, homes: Mapping[AccountId, str]) -> str:
    """An organisation with all its accounts, or an account that belongs to none; the two never have one name."""
    return f"organisation {homes[account_id]}" if account_id in homes else f"account {account_id}"


def provisional(
    findings: Sequence[Finding], earlier: Iterable[Finding], watched: Iterable[WatchedPool]
) -> list[Finding]:
    """An early run's findings, those marked that no run before has found unless it was early, too.

    The conditions are those of every run. But when it looked was chosen by what there was to see, so that over many
    such looks more false findings come up than its rate of false discoveries promises.

    Args:
        watched: the pools that the run before left, one of which was growing.
    """
    pools = list(watched)
    confirmed = {finding.finding_id for finding in earlier if not finding.provisional}
    return [
        replace(
            finding,
            provisional=True,
            counter_evidence=(_provisional_evidence(finding, pools), *finding.counter_evidence),
        )
        if finding.kind is FindingKind.CAMPAIGN
        and finding.lineage is not Lineage.GONE
        and finding.finding_id not in confirmed
        else finding
        for finding in findings
    ]


def _provisional_evidence(finding: Finding, pools: Sequence[WatchedPool]) -> Evidence:
    texts = set(finding.text_ids)
    shared = [len(texts.intersection(pool.text_ids)) for pool in pools]
    best = max(range(len(pools)), key=lambda number: shared[number], default=None)
    grown = "it shares no prompt with a pool that was followed"
    if best is not None and shared[best]:
        before = pools[best]
        grown = (
            f"the run before had a pool of {len(before.text_ids):,} prompts of {len(before.account_ids):,} accounts, "
            f"{shared[best]:,} of its {len(texts):,}, and did not report it: {before.reason}"
        )
    return Evidence(
        name="provisional",
        statistic="prompts shared with a pool that the run before left to be followed",
        value=float(max(shared, default=0)),
        null="none: a run that starts when a pool has grown looks at a moment chosen by what there was to see",
        summary=f"Provisional until a run that was not started early finds it again: {grown}.",
    )
