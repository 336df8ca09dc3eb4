"""Puts together what is drawn and reported of one finding, from the store and what a run left there."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from coterie.domain import (
    DAY_US,
    DOSSIER_ACCOUNTS_MAX,
    DOSSIER_DAYS_MAX,
    DOSSIER_EXCHANGES_MAX,
    DOSSIER_FAMILIES_MAX,
    DOSSIER_LINEAGE_MAX,
    ELSEWHERE_MAX,
    SHUFFLED_ITEMS_MAX,
    SHUFFLES,
    AccountId,
    AskedExchanges,
    BenchmarkMatch,
    BenchmarkStrip,
    DailyVolume,
    Dossier,
    FamilyCounts,
    FamilyId,
    FamilyLabels,
    Finding,
    FindingId,
    Run,
    RunId,
    SearchFilter,
    SharedAttribute,
    SharedQuestions,
    ShuffledLabels,
    WindowRows,
)
from coterie.store import Store

PAST_DAYS = 60
"""Days before a run's window that its accounts' volume is shown of."""

MATCHED_TEXTS_MAX = 1_000
"""Texts of a finding that are held against benchmarks for the strip: a second of work, kept for the next look."""

ATTRIBUTES_MAX = 8
CENTRE_TEXTS_MAX = 2_000
INNOCENT_RATIO_MAX = 0.85
"""What C/W of innocent pools is taken to reach, where a run's parameters do not say; that of `Parameters`."""

_MATCHES_KEPT = 64

Match = Callable[[Sequence[str]], list[list[BenchmarkMatch]]]


@dataclass(frozen=True, slots=True)
class _Drawn:
    """The accounts drawn of a finding and their exchanges in the window.

    Attributes:
        number: int32[n], number of the account drawn, of each row.
        in_pool: bool[n].
    """

    finding: Finding
    run: Run
    seed: int
    account_ids: tuple[AccountId, ...]
    rows: WindowRows
    number: NDArray[np.int32]
    in_pool: NDArray[np.bool_]

    @property
    def accounts(self) -> int:
        """How many accounts were drawn."""
        return len(self.account_ids)


class Dossiers:
    """Makes dossiers. Thread-safe."""

    def __init__(self, store: Store, match: Match) -> None:
        """`match`: which benchmark items texts are."""
        self._store = store
        self._match = match
        self._lock = Lock()
        self._matches: OrderedDict[tuple[RunId, FindingId, tuple[str, ...]], list[list[BenchmarkMatch]]] = OrderedDict()

    def get(self, finding_id: FindingId, run_id: str = "", *, with_text: bool) -> Dossier:
        """The dossier of a finding as one run reports it, without an id the newest that has it.

        Cost: linear in the exchanges of at most `DOSSIER_ACCOUNTS_MAX` accounts. Where an account is erased
        meanwhile, it is as if some of the texts were never asked.

        Raises:
            NotFoundError: there is no such finding, or that run does not report it; or a text was erased meanwhile.
        """
        finding = self._store.finding(finding_id, run_id)
        drawn = self._draw(finding)
        labels = self._store.run_family_labels(finding.run_id) or self._store.family_labels()
        exemplars = self._store.exchanges(finding.exemplars)
        if not with_text:
            exemplars = [replace(exchange, prompt="", response="", system="") for exchange in exemplars]
        family, families = _families(drawn, labels)
        return Dossier(
            finding=replace(finding, text_ids=()),
            run=drawn.run,
            reviews=tuple(self._store.reviews(finding.finding_id)),
            exemplars=tuple(exemplars),
            with_text=with_text,
            account_ids=drawn.account_ids,
            seed=drawn.seed,
            window_exchanges=np.bincount(drawn.number, minlength=drawn.accounts).astype(np.int64),
            asked=_asked(drawn, family),
            volume=self._volume(drawn),
            families=families,
            shared=_shared(drawn),
            shuffled=self._shuffled(drawn, labels),
            benchmarks=self._benchmarks(drawn),
            lineage=tuple(self._store.finding_lineage(finding.finding_id, finding.run_id, limit=DOSSIER_LINEAGE_MAX)),
            attributes=self._attributes(drawn),
            accounts_in_window=int(drawn.run.measures.get("accounts", 0)),
        )

    def forget(self) -> None:
        """Let go of what was kept for the next look; an account was erased."""
        with self._lock:
            self._matches.clear()

    def _draw(self, finding: Finding) -> _Drawn:
        run = self._store.run(finding.run_id)
        seed = int(run.parameters.get("seed", 0))
        chosen = _sample(len(finding.accounts), DOSSIER_ACCOUNTS_MAX, seed)
        names = tuple(finding.accounts[place].account_id for place in chosen.tolist())
        part = replace(run.slice.within(run.since_us, run.until_us), accounts=names)
        rows = self._store.window(part, run.slice.field)
        place = {name: number for number, name in enumerate(names)}
        of_account = np.array([place[name] for name in rows.account_ids], np.int32)
        number = of_account[rows.account] if rows.size else np.empty(0, np.int32)
        in_pool = np.isin(rows.prompt, np.array(finding.text_ids, np.int64))
        return _Drawn(finding, run, seed, names, rows, number, in_pool)

    def _volume(self, drawn: _Drawn) -> DailyVolume:
        run = drawn.run
        last = (max(run.until_us, run.since_us + 1) - 1) // DAY_US
        first = max(run.since_us // DAY_US - PAST_DAYS, last + 1 - DOSSIER_DAYS_MAX, 0)
        daily = self._store.daily_exchanges(drawn.account_ids, first * DAY_US, run.until_us)
        seen = [day for days in daily.values() for day in days]
        # Days before anybody asked anything would only be an empty half of a picture.
        first = max(first, min(run.since_us, *seen) // DAY_US) if seen else max(first, run.since_us // DAY_US)
        days = np.arange(first, last + 1) * DAY_US
        asked = np.array([[daily.get(name, {}).get(day, 0) for day in days.tolist()] for name in drawn.account_ids])
        in_pool = np.zeros((drawn.accounts, len(days)), np.int64)
        day = drawn.rows.time_us // DAY_US - first
        shown = drawn.in_pool & (day >= 0)
        np.add.at(in_pool, (drawn.number[shown], day[shown]), 1)
        return DailyVolume(days, asked.reshape(drawn.accounts, len(days)).astype(np.int64), in_pool)

    def _shuffled(self, drawn: _Drawn, labels: FamilyLabels | None) -> ShuffledLabels | None:
        from coterie.detection.exchangeability import exchangeability
        from coterie.detection.shuffling import alikeness, shuffled_ratios

        key = np.unique(np.column_stack((drawn.number[drawn.in_pool], drawn.rows.prompt[drawn.in_pool])), axis=0)
        total = len(key)
        key = key[_sample(total, SHUFFLED_ITEMS_MAX, drawn.seed)]
        customer = self._customers(drawn)[key[:, 0]]
        customers, numbered = np.unique(customer, return_inverse=True)
        if len(customers) < 3 or not len(key):
            return None
        vectors = self._store.vectors(key[:, 1]) - self._centre(drawn, labels)
        measured = exchangeability(vectors, numbered)
        if measured is None:
            return None
        own, others = alikeness(vectors, key[:, 0], drawn.accounts)
        return ShuffledLabels(
            observed=measured.ratio,
            shuffled=shuffled_ratios(vectors, numbered, SHUFFLES, drawn.seed),
            recorded=_recorded(drawn.finding, "exchangeability"),
            recorded_z=_recorded(drawn.finding, "label_permutation"),
            innocent_max=float(drawn.run.parameters.get("ratio_floor", INNOCENT_RATIO_MAX)),
            items=len(key),
            items_total=total,
            customers=len(customers),
            alike_own=own,
            alike_others=others,
        )

    def _customers(self, drawn: _Drawn) -> NDArray[np.int64]:
        """Number of the customer of each account drawn: an organisation's accounts are one."""
        organisations = self._store.organisations(drawn.account_ids)
        names = [
            ("organisation", organisations[name]) if name in organisations else ("", name) for name in drawn.account_ids
        ]
        place = {name: number for number, name in enumerate(dict.fromkeys(names))}
        return np.array([place[name] for name in names], np.int64)

    def _centre(self, drawn: _Drawn, labels: FamilyLabels | None) -> NDArray[np.float32]:
        """The mean of a sample of what was asked in the run's window, which similarity is measured from."""
        known = labels.text_ids if labels is not None and len(labels.text_ids) else None
        if known is None:
            known = self._store.text_ids(drawn.run.slice.field, limit=CENTRE_TEXTS_MAX)
        chosen = known[_sample(len(known), CENTRE_TEXTS_MAX, drawn.seed)]
        return np.asarray(self._store.vectors(chosen).mean(axis=0))

    def _benchmarks(self, drawn: _Drawn) -> tuple[BenchmarkStrip, ...]:
        named = [hit.name for hit in drawn.finding.benchmarks]
        sent = np.unique(drawn.rows.prompt[drawn.in_pool])
        if not named or not len(sent):
            return ()
        chosen = sent[_sample(len(sent), MATCHED_TEXTS_MAX, drawn.seed)]
        matches = self._matched(drawn.finding, tuple(named), chosen)
        return tuple(self._strip(drawn, name, chosen, matches, len(sent)) for name in named)

    def _matched(
        self, finding: Finding, named: tuple[str, ...], chosen: NDArray[np.int64]
    ) -> list[list[BenchmarkMatch]]:
        key = (finding.run_id, finding.finding_id, named)
        with self._lock:
            found = self._matches.get(key)
        if found is None or len(found) != len(chosen):
            found = self._match(self._store.texts(chosen))
            with self._lock:
                self._matches[key] = found
                while len(self._matches) > _MATCHES_KEPT:
                    self._matches.popitem(last=False)
        return found

    def _strip(
        self, drawn: _Drawn, name: str, chosen: NDArray[np.int64], matches: list[list[BenchmarkMatch]], texts_total: int
    ) -> BenchmarkStrip:
        place = {item.item_id: number for number, item in enumerate(self._store.benchmark_items(name)[0])}
        item_of = np.array(
            [next((place[match.item_id] for match in found if match.benchmark == name), -1) for found in matches],
            np.int64,
        )
        at = np.minimum(np.searchsorted(chosen, drawn.rows.prompt), len(chosen) - 1)
        item = np.where(drawn.in_pool & (chosen[at] == drawn.rows.prompt), item_of[at], -1)
        pairs = np.unique(np.column_stack((drawn.number[item >= 0], item[item >= 0])), axis=0).astype(np.int32)
        return BenchmarkStrip(name, len(place), pairs[:, 0], pairs[:, 1], len(chosen), texts_total)

    def _attributes(self, drawn: _Drawn) -> tuple[SharedAttribute, ...]:
        held: list[tuple[int, str, str]] = []
        for name, codes in drawn.rows.attributes.items():
            pairs = np.unique(np.column_stack((codes[codes >= 0], drawn.number[codes >= 0])), axis=0)
            values, accounts = np.unique(pairs[:, 0], return_counts=True)
            for value, count in zip(values.tolist(), accounts.tolist(), strict=True):
                if count >= 2:
                    held.append((count, name, drawn.rows.attribute_values[name][value]))
        held.sort(key=lambda item: (-item[0], item[1], item[2]))
        return tuple(
            SharedAttribute(name, value, count, self._elsewhere(drawn.run, name, value, count))
            for count, name, value in held[:ATTRIBUTES_MAX]
        )

    def _elsewhere(self, run: Run, name: str, value: str, own: int) -> int:
        labelled = SearchFilter(since_us=run.since_us, until_us=run.until_us, attributes={name: value})
        return self._store.count_accounts(labelled, limit=own + ELSEWHERE_MAX) - own


def _sample(n: int, most: int, seed: int) -> NDArray[np.int64]:
    """All of n places, or `most` of them drawn at random, rising."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False))


def _recorded(finding: Finding, name: str) -> float | None:
    return next((item.value for item in finding.evidence if item.name == name), None)


def _families(drawn: _Drawn, labels: FamilyLabels | None) -> tuple[NDArray[np.int32], FamilyCounts]:
    """The number of each row's family among those counted (-1: another or none), and the counts."""
    rows, accounts = drawn.rows, drawn.accounts
    family_ids: tuple[FamilyId, ...] = () if labels is None else labels.family_ids
    label = np.full(rows.size, -1, np.int64)
    if labels is not None and len(labels.family):
        at = labels.place(rows.prompt)
        label = np.where(at >= 0, labels.family[np.maximum(at, 0)], -1).astype(np.int64)
    order = _family_order(drawn.finding, label, family_ids)
    column = np.full(len(family_ids) + 1, len(order), np.int64)  # other families
    column[-1] = len(order) + 1  # none
    column[order] = np.arange(len(order))
    asked = np.zeros((accounts, len(order) + 2), np.int64)
    in_pool = asked.copy()
    np.add.at(asked, (drawn.number, column[label]), 1)
    np.add.at(in_pool, (drawn.number[drawn.in_pool], column[label][drawn.in_pool]), 1)
    family = np.where(column[label] < len(order), column[label], -1).astype(np.int32)
    names = tuple(family_ids[number] for number in order.tolist())
    return family, FamilyCounts(names, asked, in_pool, RunId("") if labels is None else labels.run_id)


def _family_order(finding: Finding, label: NDArray[np.integer], family_ids: tuple[FamilyId, ...]) -> NDArray[np.int64]:
    """The families to count: the finding's own first, then by how much is in them."""
    uses = np.bincount(label[label >= 0], minlength=len(family_ids))
    own = {family.family_id for family in finding.families}
    is_own = np.array([name in own for name in family_ids], bool)
    order = np.lexsort((-uses, ~is_own))
    return order[uses[order] > 0][:DOSSIER_FAMILIES_MAX]


def _asked(drawn: _Drawn, family: NDArray[np.int32]) -> AskedExchanges:
    rows = drawn.rows
    chosen = _sample(rows.size, DOSSIER_EXCHANGES_MAX, drawn.seed)
    _, first, text = np.unique(rows.prompt[chosen], return_index=True, return_inverse=True)
    by_appearance = np.empty(len(first), np.int32)
    by_appearance[np.argsort(first, kind="stable")] = np.arange(len(first), dtype=np.int32)
    return AskedExchanges(
        exchange_ids=tuple(rows.exchange_ids[row] for row in chosen.tolist()),
        account=drawn.number[chosen],
        time_us=rows.time_us[chosen],
        text=by_appearance[text],
        family=family[chosen],
        in_pool=drawn.in_pool[chosen],
        total=rows.size,
    )


def _shared(drawn: _Drawn) -> SharedQuestions:
    pairs = np.unique(np.column_stack((drawn.number[drawn.in_pool], drawn.rows.prompt[drawn.in_pool])), axis=0)
    texts, place = np.unique(pairs[:, 1], return_inverse=True)
    holds = np.zeros((drawn.accounts, len(texts)), np.float32)
    holds[pairs[:, 0], place] = 1.0
    observed = np.rint(holds @ holds.T).astype(np.int64)
    sizes = np.diag(observed).astype(np.float64)
    whole = max(len(drawn.finding.text_ids), len(texts))
    expected = np.outer(sizes, sizes) / max(whole, 1)
    np.fill_diagonal(expected, 0.0)
    return SharedQuestions(observed, expected, whole)
