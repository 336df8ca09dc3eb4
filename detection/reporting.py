"""From a passed pool to a finding; from a verdict to where an account stands."""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from coterie.detection.decision import Verdict
from coterie.detection.evidence import (
    PoolView,
    benchmark_evidence,
    campaign_evidence,
    counter_evidence,
    harvest_evidence,
)
from coterie.detection.family_record import NamedFamilies
from coterie.detection.parameters import Parameters
from coterie.detection.pools import BenchmarkHits, Principals, pool_rows
from coterie.detection.text_facts import TextFacts
from coterie.detection.view_data import ViewData
from coterie.domain import (
    Evidence,
    ExchangeId,
    Finding,
    FindingAccount,
    FindingBenchmark,
    FindingFamily,
    FindingId,
    FindingKind,
    Severity,
    Standing,
    TextField,
    TextId,
    Window,
)

EXEMPLARS_MAX = 12
FAMILIES_MAX = 50
SEVERITY_TEXTS = ((2_000, Severity.CRITICAL), (500, Severity.HIGH), (150, Severity.MEDIUM))
"""Distinct prompts harvested from which a finding is that severe."""


def campaign_finding(
    window: Window,
    principals: Principals,
    verdict: Verdict,
    view: ViewData,
    families: NamedFamilies,
    hits: Sequence[BenchmarkHits],
    facts: TextFacts,
    parameters: Parameters,
) -> Finding:
    """The finding for a pool that passed, with its evidence and what speaks against it.

    Args:
        facts: of the window's texts.
    """
    items = view.items
    rows = pool_rows(
        window.views[verdict.view].text,
        principals.of_row,
        items.principal[verdict.items],
        items.text[verdict.items],
    )
    pool = make_pool(window, principals, rows)
    benchmarks = _benchmarks(pool, hits)
    named = {benchmark.name for benchmark in benchmarks}
    evidence = campaign_evidence(pool, verdict, view, [hit for hit in hits if hit.name in named], facts, parameters)
    work = f"the items of {benchmarks[0].name}" if benchmarks else f"{len(pool.texts):,} prompts"
    title = f"{len(pool.accounts)} accounts share out {work}"
    if window.slice.field is TextField.RESPONSE:
        title = (
            f"{len(pool.accounts)} accounts get {len(pool.texts):,} responses as if from one list; prompts not compared"
        )
    return make_finding(
        pool,
        FindingKind.CAMPAIGN,
        title,
        _confidence(verdict),
        families,
        benchmarks,
        evidence,
        counter_evidence(pool, verdict, facts.cores),
    )


def benchmark_run_findings(
    window: Window,
    principals: Principals,
    hits: Sequence[BenchmarkHits],
    accused: NDArray[np.bool_],
    families: NamedFamilies,
    parameters: Parameters,
) -> list[Finding]:
    """One finding for each customer that, alone, asks enough items of a registered benchmark.

    Args:
        accused: bool[principals], those already in a campaign.
    """
    findings = []
    for hit in hits:
        item = hit.item[window.raw.text]
        matched = np.flatnonzero(item >= 0)
        pairs = np.unique(np.column_stack((principals.of_row[matched], item[matched])), axis=0)
        asked = np.bincount(pairs[:, 0], minlength=principals.count) if len(pairs) else np.zeros(0)
        enough = min(parameters.run_items_min, max(10, int(parameters.run_coverage_min * hit.items)))
        for principal in np.flatnonzero(asked >= enough):
            if accused[principal]:
                continue
            pool = make_pool(window, principals, matched[principals.of_row[matched] == principal])
            evidence = [harvest_evidence(pool), *benchmark_evidence(pool, hit, seed=parameters.seed)]
            coverage = asked[principal] / hit.items
            findings.append(
                make_finding(
                    pool,
                    FindingKind.BENCHMARK_RUN,
                    f"One customer asks {int(asked[principal]):,} of {hit.items:,} items of {hit.name}",
                    float(min(0.99, 0.5 + 0.5 * coverage)),
                    families,
                    _benchmarks(pool, [hit]),
                    evidence,
                    counter_evidence(pool, None),
                )
            )
    return findings


def make_pool(window: Window, principals: Principals, rows: NDArray[np.int64]) -> PoolView:
    """A pool from its exchanges."""
    accounts = np.unique(window.rows.account[rows]).astype(np.int64)
    texts = np.unique(window.raw.text[rows]).astype(np.int64)
    return PoolView(window, principals, rows, accounts, texts)


def standings(
    window: Window, principals: Principals, verdicts: Sequence[Verdict], findings: Sequence[Finding]
) -> tuple[Standing, ...]:
    """Where every account of the window stands: its findings, or the pool that came nearest to accusing it."""
    rows = window.rows
    held: dict[str, list[FindingId]] = {}
    for finding in findings:
        for account in finding.accounts:
            held.setdefault(account.account_id, []).append(finding.finding_id)
    nearest: list[Verdict | None] = [None] * principals.count
    share: list[int] = [0] * principals.count
    left = np.ones(principals.count, bool)
    for verdict in sorted((one for one in verdicts if one.result is not None), key=_nearness):
        for number in np.flatnonzero(left[verdict.principals]).tolist():
            principal = int(verdict.principals[number])
            nearest[principal] = verdict
            share[principal] = int(verdict.counts[number])
        left[verdict.principals] = False
    exchanges = np.bincount(rows.account, minlength=len(rows.account_ids)).tolist()
    result = []
    for number, account_id in enumerate(rows.account_ids):
        principal = int(principals.of_account[number])
        best = nearest[principal]
        mine = tuple(held.get(account_id, ()))
        result.append(
            Standing(
                account_id=account_id,
                exchanges=exchanges[number],
                findings=mine,
                nearest_candidate=_described(best) if best and not mine else "",
                nearest_p_value=best.p_value if best and not mine else None,
                reason=""
                if mine
                else (best.reason or "its pool is part of a clearer one, which holds without it")
                if best
                else "none of its queries lie in a pool that could be tested",
                pool_exchanges=share[principal] if best and not mine else 0,
            )
        )
    return tuple(result)


def _nearness(verdict: Verdict) -> tuple[float, float]:
    """Smaller is nearer to an accusation."""
    return verdict.p_value, verdict.content_p_value


def _described(verdict: Verdict) -> str:
    ratio = f", C/W {verdict.result.ratio:.2f}" if verdict.result else ""
    return f"{verdict.origin} ({verdict.view} view): {len(verdict.principals)} customers, {verdict.texts} texts{ratio}"


def make_finding(
    pool: PoolView,
    kind: FindingKind,
    title: str,
    confidence: float,
    families: NamedFamilies,
    benchmarks: list[FindingBenchmark],
    evidence: list[Evidence],
    counter: list[Evidence],
    *,
    severity: Severity | None = None,
) -> Finding:
    """The finding for a pool.

    Args:
        severity: None for that of the harvest.
    """
    harvested = next((level for least, level in SEVERITY_TEXTS if len(pool.texts) >= least), Severity.LOW)
    times = pool.window.rows.time_us[pool.rows]
    text_ids = tuple(TextId(int(number)) for number in np.sort(pool.window.text_ids[pool.texts]))
    return Finding(
        finding_id=_new_id(pool, kind),
        kind=kind,
        severity=severity or harvested,
        confidence=round(confidence, 3),
        title=title,
        accounts=_accounts(pool),
        families=_families(pool, families),
        benchmarks=tuple(benchmarks),
        first_seen_us=int(times.min()),
        last_seen_us=int(times.max()),
        evidence=tuple(evidence),
        counter_evidence=tuple(counter),
        exemplars=_exemplars(pool),
        text_ids=text_ids,
    )


def _new_id(pool: PoolView, kind: FindingKind) -> FindingId:
    """An id made of what was found, so that the same data gives the same id on every machine.

    And of the slice: the same pool found on a slice is another finding, which the standing one is not mixed up with.
    """
    rows = pool.window.rows
    digest = blake2b((kind.value + pool.window.slice.key).encode(), digest_size=5)
    for row in pool.rows.tolist():
        digest.update(rows.exchange_ids[row].encode("utf-8", "surrogatepass"))
    return FindingId(f"f-{digest.hexdigest()}")


def _accounts(pool: PoolView) -> tuple[FindingAccount, ...]:
    rows = pool.window.rows
    total = np.bincount(rows.account, minlength=len(rows.account_ids))
    ordered = pool.rows[np.argsort(rows.account[pool.rows], kind="stable")]
    result = []
    for mine in np.split(ordered, np.flatnonzero(np.diff(rows.account[ordered])) + 1):
        number = int(rows.account[mine[0]])
        result.append(
            FindingAccount(
                account_id=rows.account_ids[number],
                exchanges=len(mine),
                distinct_texts=len(np.unique(pool.window.raw.text[mine])),
                share_of_traffic=round(len(mine) / int(total[number]), 4),
                first_seen_us=int(rows.time_us[mine].min()),
                last_seen_us=int(rows.time_us[mine].max()),
            )
        )
    return tuple(sorted(result, key=lambda item: (-item.exchanges, item.account_id)))


def _families(pool: PoolView, families: NamedFamilies) -> tuple[FindingFamily, ...]:
    """Families at least two of the pool's texts fall into, most first."""
    label, inside = np.unique(families.label[pool.texts], return_counts=True)
    order = np.lexsort((label, -inside))
    order = order[(label[order] >= 0) & (inside[order] >= 2)]
    chosen = [families.of[number] for number in label[order[:FAMILIES_MAX]].tolist()]
    return tuple(FindingFamily(family.family_id, family.texts, family.accounts) for family in chosen)


def _benchmarks(pool: PoolView, hits: Sequence[BenchmarkHits]) -> list[FindingBenchmark]:
    """Benchmarks a good part of the pool matches, by items matched."""
    result = []
    for hit in hits:
        matched = hit.item[pool.texts]
        items = len(np.unique(matched[matched >= 0]))
        if items >= max(3, 0.1 * len(pool.texts)):
            result.append(FindingBenchmark(hit.name, items, round(items / hit.items, 4)))
    return sorted(result, key=lambda item: (-item.items_matched, item.name))


def _exemplars(pool: PoolView) -> tuple[ExchangeId, ...]:
    """The exchanges nearest to the middle of the pool, of as many accounts as there is room for."""
    window = pool.window
    vectors = window.raw.vectors
    centre = vectors[pool.texts].mean(axis=0)
    near = vectors[window.raw.text[pool.rows]] @ centre
    order = pool.rows[np.argsort(-near, kind="stable")]
    chosen: list[int] = []
    for limit in range(1, EXEMPLARS_MAX + 1):
        uses: dict[int, int] = {}
        chosen = []
        for row in order.tolist():
            account = int(window.rows.account[row])
            if uses.get(account, 0) < limit and len(chosen) < EXEMPLARS_MAX:
                uses[account] = uses.get(account, 0) + 1
                chosen.append(row)
        if len(chosen) == min(EXEMPLARS_MAX, len(order)):
            break
    return tuple(window.rows.exchange_ids[row] for row in chosen)


def _confidence(verdict: Verdict) -> float:
    """Up to .99: how far the p-value of the pool lies below what any window of innocents gives by chance.

    A logistic curve of its logarithm, one half at 1 in 50: near the share of pools of that p-value that were campaigns
    in composed traffic with eight of them (bench/detection/NOTES.md). Where campaigns are rarer it is lower; reviews
    tell how often it was right.
    """
    return float(min(0.99, 1 / (1 + (verdict.p_value / 0.02) ** 1.5)))
