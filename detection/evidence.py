"""Step 5 and 7: named, tested reasons for a finding, and reasons against it.

Every function answers None where there is too little to say: missing data is no evidence.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from coterie.detection.decision import Verdict, ViewData, label_z
from coterie.detection.items import neighbourhood
from coterie.detection.parameters import Parameters
from coterie.detection.pools import BenchmarkHits, Principals
from coterie.domain import Evidence, TextField, Window

P_VALUE_MIN = 1e-300
SHOWN_AT = 0.01
"""Significance below which evidence that not every campaign leaves is worth a line."""

_WORDS = {TextField.PROMPT: "questions", TextField.RESPONSE: "responses"}


@dataclass(frozen=True, slots=True)
class PoolView:
    """A pool as evidence sees it.

    Attributes:
        rows: int64[r], its exchanges in the window.
        accounts: int64[...], the accounts that sent them.
        texts: int64[...], the distinct raw texts among them.
    """

    window: Window
    principals: Principals
    rows: NDArray[np.int64]
    accounts: NDArray[np.int64]
    texts: NDArray[np.int64]


def exchangeability_evidence(verdict: Verdict, parameters: Parameters, field: TextField) -> Evidence | None:
    """The claim itself: accounts of the pool are interchangeable."""
    result = verdict.result
    if result is None:
        return None
    return Evidence(
        name="exchangeability",
        statistic=(
            f"similarity of {'queries' if field is TextField.PROMPT else 'responses'} across accounts over similarity "
            "within an account (C/W)"
        ),
        value=round(result.ratio, 4),
        null=f"innocent pools keep subjects of their own: C/W at most {parameters.ratio_floor:.2f}",
        p_value=_p(verdict.p_value),
        summary=(
            f"Knowing which of the {len(verdict.principals)} customers asked says nothing about the "
            f"{'question' if field is TextField.PROMPT else 'response'}: "
            f"C/W is {result.ratio:.2f} (95 % lower limit {result.ratio_low:.2f})."
        ),
    )


def permutation_evidence(verdict: Verdict, view: ViewData, parameters: Parameters) -> Evidence:
    """The same without a floor: shuffling the account labels changes nothing."""
    z = label_z(verdict, view)
    return Evidence(
        name="label_permutation",
        statistic="z of the similarity within accounts among all shufflings of the account labels",
        value=round(z, 2),
        null=f"interchangeable accounts lie near 0; from {parameters.label_z_max:g} on, who asked matters",
        summary=f"Shuffling who asked what moves the similarity within accounts by {abs(z):.1f} standard deviations.",
    )


def links_evidence(verdict: Verdict, view: ViewData, field: TextField) -> Evidence | None:
    """Neighbours of the pool's texts belong to its accounts more often than their volume gives."""
    items = view.items
    around = neighbourhood(items)
    inside = np.zeros(items.principals)
    inside[verdict.principals] = 1.0
    mass, principal = around.mass, items.principal[verdict.items]
    own, total = around.own[verdict.items], around.total[verdict.items]
    observed = float((np.asarray(around.near[verdict.items] @ inside).ravel() - own).sum())
    share = (mass[verdict.principals].sum() - mass[principal]) / np.maximum(mass.sum() - mass[principal], 1.0)
    expected = float(((total - own) * share).sum())
    if expected <= 0:
        return None
    # Neighbourhood is largely mutual, so every pair is seen from both ends: half of them are independent.
    p_value = float(stats.poisson.sf(np.ceil(observed / 2) - 1, expected / 2))
    return Evidence(
        name="excess_links",
        statistic="nearest neighbours that belong to another account of the pool, over those expected",
        value=round(observed / expected, 2),
        null=f"neighbours spread over accounts by volume: {expected:.0f} expected, {observed:.0f} observed",
        p_value=_p(p_value),
        summary=(
            f"Their {_WORDS[field]} lie next to each other's {observed / expected:.1f} times as often as chance gives."
        ),
    )


def partition_evidence(verdict: Verdict, field: TextField) -> Evidence | None:
    """Slices of one list do not repeat each other."""
    shared = verdict.overlap
    if shared is None or shared.expected < 3 or shared.p_value > SHOWN_AT:
        return None
    return Evidence(
        name="partition",
        statistic=f"pairs of accounts that {_sent(field, 'sent')} the same text",
        value=float(shared.pairs),
        null=f"every account draws from the {verdict.texts} texts seen: {shared.expected:.0f} pairs expected",
        p_value=_p(shared.p_value),
        summary=(
            f"{verdict.texts} {_WORDS[field]} were shared out with {shared.pairs} repeats; "
            f"accounts that drew them on their own would have met {shared.expected:.0f} times."
        ),
    )


def harvest_evidence(pool: PoolView) -> Evidence:
    """How much was taken: an effect, not a test."""
    rows = pool.window.rows
    field = pool.window.slice.field
    tokens = rows.output_tokens[pool.rows]
    known = tokens[~np.isnan(tokens)]
    days = max((rows.time_us[pool.rows].max() - rows.time_us[pool.rows].min()) / 86_400e6, 1 / 24)
    rate = len(pool.rows) / len(pool.accounts) / max(days, 1.0)
    taken = f", {known.sum():,.0f} output tokens" if len(known) else ""
    return Evidence(
        name="harvest",
        statistic="distinct prompts asked" if field is TextField.PROMPT else "distinct responses got",
        value=float(len(pool.texts)),
        null="none: an effect size",
        summary=(
            f"{len(pool.texts):,} distinct {field.value}s in {len(pool.rows):,} exchanges over {days:.1f} days, "
            f"{rate:.1f} a day and account{taken}."
        ),
    )


def attributes_evidence(pool: PoolView) -> Evidence | None:
    """One payment, network or client shared by more of the pool's accounts than chance gives (hypergeometric)."""
    rows = pool.window.rows
    total = len(rows.account_ids)
    inside = np.zeros(total, bool)
    inside[pool.accounts] = True
    best: tuple[float, str, int, int] | None = None
    tests = 0
    for key, codes in rows.attributes.items():
        held = codes >= 0
        if key == "organisation" or not held.any():
            continue
        pairs = np.unique(np.column_stack((rows.account[held], codes[held])), axis=0)
        values = int(codes.max()) + 1
        everywhere = np.bincount(pairs[:, 1], minlength=values)
        here = np.bincount(pairs[inside[pairs[:, 0]], 1], minlength=values)
        tests += int((here > 0).sum())
        p_values = stats.hypergeom.sf(here - 1, total, everywhere, len(pool.accounts))
        value = int(np.argmin(p_values))
        if here[value] >= 2 and (best is None or p_values[value] < best[0]):
            best = (float(p_values[value]), key, int(here[value]), int(everywhere[value]))
    if best is None or (p_value := min(1.0, best[0] * tests)) > SHOWN_AT:
        return None
    _, key, here_count, everywhere_count = best
    return Evidence(
        name="shared_attributes",
        statistic=f"accounts of the pool with one value of {key}",
        value=float(here_count),
        null=f"accounts drawn at random from the {total} of the window, {everywhere_count} of which have it",
        p_value=_p(p_value),
        summary=f"{here_count} of {len(pool.accounts)} accounts share one {key}; {everywhere_count} of all {total} do.",
    )


def equal_shares_evidence(pool: PoolView, *, seed: int) -> Evidence | None:
    """Accounts that are dealt slices send alike numbers; people do not (permutation of who is in the pool)."""
    rows = pool.window.rows
    if len(pool.accounts) < 4:
        return None
    inside = np.bincount(rows.account[pool.rows], minlength=len(rows.account_ids))[pool.accounts]
    every = np.bincount(rows.account, minlength=len(rows.account_ids))
    others = np.setdiff1d(np.flatnonzero(every >= max(5, inside.min())), pool.accounts)
    if len(others) < 3 * len(pool.accounts):
        return None
    rng = np.random.default_rng(seed)
    draws = np.array([_spread(every[rng.choice(others, len(pool.accounts), replace=False)]) for _ in range(999)])
    observed = _spread(inside)
    p_value = float((1 + (draws <= observed).sum()) / (1 + len(draws)))
    if p_value > SHOWN_AT:
        return None
    return Evidence(
        name="equal_shares",
        statistic="spread of log exchanges an account (standard deviation)",
        value=round(observed, 3),
        null=f"as many other accounts of the window at random, 999 times: {np.median(draws):.2f} in the middle",
        p_value=p_value,
        summary="Their shares of the work are more equal than the volumes of other accounts are.",
    )


def _spread(counts: NDArray[np.int64]) -> float:
    return float(np.log(counts).std(ddof=1))


def benchmark_evidence(pool: PoolView, hits: BenchmarkHits) -> list[Evidence]:
    """How much of a registered benchmark the pool asked, and whether it went down the list."""
    mask = np.zeros(len(pool.window.texts), bool)
    mask[pool.texts] = True
    matched = hits.item[pool.texts]
    items = len(np.unique(matched[matched >= 0]))
    if items < 3:
        return []
    outside = hits.item[~mask]
    rate = (1 + int((outside >= 0).sum())) / (2 + len(outside))
    p_value = float(stats.binom.sf(int((matched >= 0).sum()) - 1, len(matched), min(rate, 1.0)))
    if p_value > SHOWN_AT:
        return []
    evidence = [
        Evidence(
            name="benchmark_coverage",
            statistic=f"distinct items of {hits.name} asked",
            value=float(items),
            null=f"prompts match it as often as those of everybody else do ({rate:.2%})",
            p_value=_p(p_value),
            summary=f"{items} of {hits.items} items of {hits.name} ({items / hits.items:.0%}) were asked.",
        )
    ]
    order = _order_evidence(pool, hits)
    return evidence + ([order] if order else [])


def _order_evidence(pool: PoolView, hits: BenchmarkHits) -> Evidence | None:
    """Kendall's tau of time against item number, each account on its own, pooled as a stratified test (normal)."""
    rows = pool.window.rows
    item = hits.item[pool.window.raw.text[pool.rows]]
    matched = pool.rows[item >= 0]
    order = np.lexsort((rows.time_us[matched], rows.account[matched]))
    by_account, asked = rows.account[matched][order], item[item >= 0][order]
    bounds = np.flatnonzero(np.diff(by_account)) + 1
    concordant = variance = pairs = 0.0
    for mine in np.split(asked, bounds):
        n = len(mine)
        if n < 4:
            continue
        # Sorted by time, so that the rank in time is the place in the array.
        tau = stats.kendalltau(np.arange(n), mine, method="asymptotic").statistic
        if np.isnan(tau):
            continue
        weight = n * (n - 1) / 2
        concordant += tau * weight
        variance += n * (n - 1) * (2 * n + 5) / 18
        pairs += weight
    if not pairs:
        return None
    p_value = float(2 * stats.norm.sf(abs(concordant) / np.sqrt(variance)))
    if p_value > SHOWN_AT:
        return None
    return Evidence(
        name="benchmark_order",
        statistic=f"Kendall's tau of time against item number of {hits.name}, within accounts",
        value=round(concordant / pairs, 3),
        null="items asked in no particular order: tau 0",
        p_value=_p(p_value),
        summary=f"Each account goes through {hits.name} in its own order (tau {concordant / pairs:.2f}).",
    )


def counter_evidence(pool: PoolView, verdict: Verdict | None) -> list[Evidence]:
    """What speaks for innocence, said even where it did not decide."""
    return [
        item
        for item in (
            _organisation(pool),
            _repeats(verdict, pool.window.slice.field),
            _popular(pool),
            _follow_ups(pool),
            _other_traffic(pool),
            _few(pool),
            _looked_at(pool),
        )
        if item
    ]


def _organisation(pool: PoolView) -> Evidence | None:
    codes = pool.window.rows.attributes.get("organisation")
    if codes is None:
        return None
    named = np.unique(pool.window.rows.account[pool.rows][codes[pool.rows] >= 0])
    organisations = len(np.unique(codes[pool.rows][codes[pool.rows] >= 0]))
    if not len(named):
        return None
    return Evidence(
        name="organisation",
        statistic="accounts of the pool that belong to an organisation",
        value=float(len(named)),
        null="none: an effect size",
        summary=(
            f"{len(named)} of {len(pool.accounts)} accounts belong to {organisations} organisation(s), "
            "each counted as one customer."
        ),
    )


def _repeats(verdict: Verdict | None, field: TextField) -> Evidence | None:
    shared = verdict.overlap if verdict else None
    if shared is None:
        return None
    # A list that resembles itself does so within a slice as well; only the rest speaks for a crowd.
    rewrapped = shared.rewrapped if shared.rewrapped_p_value < SHOWN_AT else 0.0
    if max(shared.repeated, rewrapped) == 0:
        return None
    return Evidence(
        name="repeats",
        statistic=f"share of the pool's {_WORDS[field]} that several of its accounts {_sent(field, 'asked')}",
        value=round(max(shared.repeated, rewrapped), 4),
        null="slices of one list do not repeat each other: 0",
        summary=(
            f"{shared.repeated:.1%} of the {_WORDS[field]} were {_sent(field, 'asked')} word for word by several of "
            f"the accounts, {rewrapped:.1%} in another wrapping."
        ),
    )


def _popular(pool: PoolView) -> Evidence | None:
    rows = pool.window.rows
    text = pool.window.raw.text
    inside = np.zeros(len(rows.account_ids), bool)
    inside[pool.accounts] = True
    elsewhere = np.unique(text[~inside[rows.account]])
    share = float(np.isin(pool.texts, elsewhere).mean())
    if share < 0.01:
        return None
    field = pool.window.slice.field
    return Evidence(
        name="known_elsewhere",
        statistic=f"share of the pool's texts that accounts outside it {_sent(field, 'sent')} too",
        value=round(share, 4),
        null="none: an effect size",
        summary=f"{share:.0%} of the {field.value}s were also {_sent(field, 'sent')} by accounts outside the pool.",
    )


def _follow_ups(pool: PoolView) -> Evidence | None:
    turn = pool.window.rows.turn[pool.rows]
    known = turn[turn >= 0]
    if len(known) < 10 or (known > 0).mean() < 0.1:
        return None
    share = float((known > 0).mean())
    return Evidence(
        name="follow_ups",
        statistic="share of the pool's exchanges that follow up on an answer",
        value=round(share, 4),
        null="work lists are asked one by one: near 0",
        summary=f"{share:.0%} of the exchanges go on with a conversation, as people do.",
    )


def _other_traffic(pool: PoolView) -> Evidence | None:
    rows = pool.window.rows
    mine = np.isin(rows.account, pool.accounts)
    share = 1 - len(pool.rows) / max(1, int(mine.sum()))
    if share < 0.25:
        return None
    return Evidence(
        name="other_traffic",
        statistic="share of these accounts' traffic outside the pool",
        value=round(share, 4),
        null="none: an effect size",
        summary=f"{share:.0%} of what these accounts send is something else: ordinary use, or cover.",
    )


def _few(pool: PoolView) -> Evidence | None:
    count = len(np.unique(pool.principals.of_account[pool.accounts]))
    if not 1 < count < 5:
        return None
    return Evidence(
        name="few_accounts",
        statistic="customers in the pool",
        value=float(count),
        null="none: an effect size",
        summary=f"Only {count} customers: a small team that shares work by hand looks the same.",
    )


def _looked_at(pool: PoolView) -> Evidence | None:
    """What of the window was looked at, where that was not all: the tests hold a pool against the rest of it."""
    part = pool.window.slice
    if part.is_whole:
        return None
    filters = {
        f"{part.accounts_total} named accounts": part.accounts,
        f"{len(part.models)} models": part.models,
        f"{len(part.attributes)} labels": part.attributes,
    }
    named = [name for name, given in filters.items() if given]
    summary = f"Only exchanges of {' and '.join(named)} were looked at, and held against each other. " if named else ""
    if part.field is TextField.RESPONSE:
        summary += "Responses were compared, not prompts: refusals and short answers are alike whoever asks. "
    return Evidence(
        name="slice",
        statistic="exchanges looked at",
        value=float(pool.window.rows.size),
        null="none: the tests were set on the prompts of whole traffic",
        summary=f"{summary}See what the newest whole run says of these accounts.",
    )


def _sent(field: TextField, verb: str) -> str:
    """What accounts do with the texts compared: the verb for prompts; responses they only receive."""
    return verb if field is TextField.PROMPT else "received"


def _p(value: float) -> float:
    return min(1.0, max(float(value), P_VALUE_MIN))
