"""Dossiers to draw and to report: a campaign, a crowd of innocents, one customer with a benchmark, a large one."""

from dataclasses import replace

import numpy as np

from coterie.domain import (
    DAY_US,
    AccountId,
    AskedExchanges,
    BenchmarkStrip,
    DailyVolume,
    Dossier,
    Evidence,
    Exchange,
    ExchangeId,
    FamilyCounts,
    FamilyId,
    Finding,
    FindingAccount,
    FindingBenchmark,
    FindingFamily,
    FindingId,
    FindingKind,
    Lineage,
    LineageStep,
    Review,
    ReviewAction,
    ReviewState,
    Run,
    RunId,
    RunState,
    Severity,
    SharedAttribute,
    SharedQuestions,
    ShuffledLabels,
    Slice,
)

START_US = 1_772_409_600_000_000  # 2026-03-02
CANARY = "canary-4f1c"
"""Stands in every text; whoever shows none of it shows no text."""

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>&amp;{{7*7}}"


def made_dossier(
    *,
    accounts: int = 8,
    texts: int = 25,
    innocent: bool = False,
    with_text: bool = True,
    mark: str = "",
    benchmark: bool = True,
    seed: int = 1,
) -> Dossier:
    """A dossier of accounts that each asked `texts` of one list; innocents repeat each other and have their subjects.

    Args:
        mark: put into every name that comes from outside: accounts, labels, benchmark, reviewer, reason, texts.
    """
    rng = np.random.default_rng(seed)
    names = tuple(AccountId(f"account-{number:02}{mark}") for number in range(accounts))
    finding = _finding(names, texts, benchmark, mark)
    asked = _asked(rng, accounts, texts, innocent)
    counts = np.bincount(asked.account[asked.in_pool], minlength=accounts)
    in_pool = np.zeros((accounts, 5), np.int64)
    family = np.where(asked.family >= 0, asked.family, 4)
    np.add.at(in_pool, (asked.account[asked.in_pool], family[asked.in_pool]), 1)
    of_all = np.zeros_like(in_pool)
    np.add.at(of_all, (asked.account, family), 1)
    return Dossier(
        finding=finding,
        run=_run(mark),
        reviews=(
            Review(finding.finding_id, ReviewState.ESCALATED, f"looks dealt{mark}", f"kim{mark}", START_US),
            Review(
                finding.finding_id,
                ReviewState.ESCALATED,
                f"yours{mark}",
                "",
                START_US,
                ReviewAction.ASSIGN,
                f"lee{mark}",
            ),
        ),
        exemplars=tuple(_exemplar(number, names, mark, with_text) for number in range(3)),
        with_text=with_text,
        account_ids=names,
        seed=0,
        window_exchanges=np.bincount(asked.account, minlength=accounts).astype(np.int64),
        asked=asked,
        volume=_volume(rng, asked, accounts),
        families=FamilyCounts(tuple(FamilyId(f"family-{n}") for n in (14, 3, 9)), of_all, in_pool, RunId("r-2")),
        shared=_shared(rng, counts, innocent),
        shuffled=_shuffled(rng, accounts, texts, innocent),
        benchmarks=(_strip(asked, mark),) if benchmark else (),
        lineage=_lineage(accounts, texts),
        attributes=(SharedAttribute("client", f"node-sdk{mark}", 3, 17), SharedAttribute("asn", "AS64500", 2, 0)),
        accounts_in_window=200,
    )


def _finding(names: tuple[AccountId, ...], texts: int, benchmark: bool, mark: str) -> Finding:
    return Finding(
        finding_id=FindingId("f-0d50b42634"),
        kind=FindingKind.CAMPAIGN if len(names) > 1 else FindingKind.BENCHMARK_RUN,
        severity=Severity.HIGH,
        confidence=0.97,
        title=f"{len(names)} accounts share out {len(names) * texts:,} prompts",
        accounts=tuple(FindingAccount(name, texts, texts, 0.7, START_US, START_US + 6 * DAY_US) for name in names),
        families=(FindingFamily(FamilyId("family-14"), 120, len(names)),),
        benchmarks=(FindingBenchmark(f"arith{mark}", 90, 0.45),) if benchmark else (),
        first_seen_us=START_US,
        last_seen_us=START_US + 6 * DAY_US,
        evidence=(
            Evidence("exchangeability", "C/W", 0.99, "innocent pools: at most 0.85", "Who asked says nothing.", 2e-9),
            Evidence("label_permutation", "z", -0.4, "near 0", "Shuffling changes nothing."),
            Evidence("harvest", "distinct prompts asked", 200.0, "none: an effect size", "200 prompts in 7 days."),
        ),
        counter_evidence=(
            Evidence("other_traffic", "share of other traffic", 0.3, "none", f"They ask other things too{mark}."),
        ),
        exemplars=tuple(ExchangeId(f"e{number}{mark}") for number in range(3)),
        lineage=Lineage.GROWING,
        review=ReviewState.ESCALATED,
        run_id=RunId("r-2"),
    )


def _run(mark: str) -> Run:
    return Run(
        RunId("r-2"),
        RunState.DONE,
        START_US + 7 * DAY_US,
        since_us=START_US,
        until_us=START_US + 7 * DAY_US,
        measures={"accounts": 200.0, "exchanges": 7_000.0},
        parameters={"ratio_floor": 0.85, "seed": 0.0},
        slice=Slice(models=(f"nimbus{mark}",)),
    )


def _exemplar(number: int, names: tuple[AccountId, ...], mark: str, with_text: bool) -> Exchange:
    return Exchange(
        ExchangeId(f"e{number}{mark}"),
        names[number % len(names)],
        START_US + number * 3_600_000_000,
        prompt=f"A shop marks a scarf down by {number + 31}% and then by $5, {CANARY}{mark}" if with_text else "",
        response=f"It costs ${number + 70}. {CANARY}{mark}" if with_text else "",
        system=f"Be brief. {CANARY}{mark}" if with_text else "",
        model=f"nimbus{mark}",
        attributes={"client": f"node-sdk{mark}"},
    )


def _asked(rng: np.random.Generator, accounts: int, texts: int, innocent: bool) -> AskedExchanges:
    account = np.repeat(np.arange(accounts, dtype=np.int32), texts + texts // 3)
    in_pool = np.tile(np.arange(texts + texts // 3) < texts, accounts)
    hour = rng.normal(9 + 3 * (account % 4) * innocent, 3 if innocent else 7, len(account)) % 24
    time_us = START_US + rng.integers(0, 7, len(account)) * DAY_US + (hour * 3_600e6).astype(np.int64)
    family = np.where(in_pool, account % 3 if innocent else rng.integers(0, 2, len(account)), -1).astype(np.int32)
    order = np.argsort(time_us, kind="stable")
    return AskedExchanges(
        exchange_ids=tuple(ExchangeId(f"e{number}") for number in range(len(account))),
        account=account[order],
        time_us=time_us[order],
        text=np.arange(len(account), dtype=np.int32),
        family=family[order],
        in_pool=in_pool[order],
        total=len(account),
    )


def _volume(rng: np.random.Generator, asked: AskedExchanges, accounts: int) -> DailyVolume:
    days = START_US + np.arange(-14, 7) * DAY_US
    volume = np.zeros((accounts, 21), np.int64)
    volume[:, :14] = rng.poisson(1.5, (accounts, 14))
    in_pool = np.zeros_like(volume)
    day = (asked.time_us - days[0]) // DAY_US
    np.add.at(volume, (asked.account, day), 1)
    np.add.at(in_pool, (asked.account[asked.in_pool], day[asked.in_pool]), 1)
    return DailyVolume(days, volume, in_pool)


def _shared(rng: np.random.Generator, counts: np.ndarray, innocent: bool) -> SharedQuestions:
    sizes = counts.astype(float)
    whole = int(sizes.sum())
    expected = np.outer(sizes, sizes) / whole
    np.fill_diagonal(expected, 0.0)
    above = np.triu(rng.poisson(3 * expected) if innocent else np.zeros((len(counts), len(counts)), np.int64), 1)
    return SharedQuestions((above + above.T + np.diag(counts)).astype(np.int64), expected, whole)


def _shuffled(rng: np.random.Generator, accounts: int, texts: int, innocent: bool) -> ShuffledLabels | None:
    if accounts < 3:
        return None
    return ShuffledLabels(
        observed=0.62 if innocent else 0.99,
        shuffled=rng.normal(1.0, 0.008, 400),
        recorded=0.61 if innocent else 0.992,
        recorded_z=21.4 if innocent else -0.42,
        innocent_max=0.85,
        items=accounts * texts,
        items_total=accounts * texts,
        customers=accounts,
        alike_own=np.full(accounts, 0.31),
        alike_others=np.full(accounts, 0.19 if innocent else 0.30),
    )


def _strip(asked: AskedExchanges, mark: str) -> BenchmarkStrip:
    item = (np.arange(len(asked.account)) * 7 % 200).astype(np.int32)
    held = asked.in_pool & (np.arange(len(item)) % 2 == 0)
    pairs = np.unique(np.column_stack((asked.account[held], item[held])), axis=0).astype(np.int32)
    return BenchmarkStrip(
        f"arith{mark}", 200, pairs[:, 0], pairs[:, 1], int(asked.in_pool.sum()), int(asked.in_pool.sum())
    )


def _lineage(accounts: int, texts: int) -> tuple[LineageStep, ...]:
    step = LineageStep(
        finding_id=FindingId("f-0d50b42634"),
        run_id=RunId("r-2"),
        created_us=START_US + 7 * DAY_US,
        trigger="schedule",
        lineage=Lineage.GROWING,
        severity=Severity.HIGH,
        confidence=0.97,
        accounts=accounts,
        texts=accounts * texts,
        exchanges=accounts * texts,
    )
    earlier = replace(
        step,
        finding_id=FindingId("f-00aa00aa00"),
        run_id=RunId("r-1"),
        created_us=START_US + 4 * DAY_US,
        lineage=Lineage.NEW,
        accounts=max(1, accounts - 2),
        texts=accounts * texts // 2,
        exchanges=accounts * texts // 2,
    )
    return earlier, step
