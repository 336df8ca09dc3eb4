"""Whether a pool is one list: interchangeable accounts, excess links, no repeats, benchmark items in order, harvest."""

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from coterie.detection.decision import Verdict, label_z
from coterie.detection.evidence_content import Contents
from coterie.detection.evidence_pool import SHOWN_AT, WORDS, Comparison, PoolView, bounded, sent
from coterie.detection.nulls import Measured, excess_test, set_test
from coterie.detection.parameters import Parameters
from coterie.detection.pools import BenchmarkHits
from coterie.detection.shares import share_spread
from coterie.detection.view_data import ViewData
from coterie.domain import Evidence, TextField

NO_PEERS = "none: too few other customers to compare with"


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
        p_value=bounded(verdict.content_p_value),
        summary=(
            f"Knowing which of the {len(verdict.principals)} customers asked says nothing about the "
            f"{'question' if field is TextField.PROMPT else 'response'}: "
            f"C/W is {result.ratio:.2f} (95 % lower limit {result.ratio_low:.2f})."
        ),
    )


def mixing_evidence(verdict: Verdict, parameters: Parameters, field: TextField) -> Evidence | None:
    """The claim close up: the nearest text is no more often the account's own than chance gives."""
    if verdict.mixing is None:
        return None
    return Evidence(
        name="neighbour_mixing",
        statistic="nearest neighbours in the pool that are the account's own, over those shuffled labels give",
        value=round(verdict.mixing.ratio, 3),
        null=f"innocent accounts follow trains of thought of their own: {parameters.mixing_ceiling:.1f} and more",
        summary=(
            f"The {field.value} nearest to one of theirs is their own {verdict.mixing.ratio:.2f} times as often as "
            f"chance gives (standard error {verdict.mixing.error:.2f}, {verdict.mixing.pairs:,} pairs)."
        ),
    )


def spread_evidence(verdict: Verdict, parameters: Parameters, field: TextField) -> Evidence | None:
    """How equal the shares of the work are, as the decision saw them; None where they are not."""
    if verdict.shares_p_value > SHOWN_AT:
        return None
    spread = share_spread(verdict.counts)
    return Evidence(
        name="share_spread",
        statistic="spread of the logarithm of how much of the pool each account has (standard deviation)",
        value=round(spread, 3),
        null=f"shares of innocent pools spread by {parameters.share_spread_min:.2f} and more",
        p_value=bounded(verdict.shares_p_value),
        summary=(
            f"Each has {verdict.counts.min()} to {verdict.counts.max()} of the {WORDS[field]}, "
            f"a spread of {spread:.2f}: the work was shared out evenly."
        ),
    )


def permutation_evidence(verdict: Verdict, view: ViewData) -> Evidence:
    """The same without a floor: shuffling the account labels changes nothing."""
    z = label_z(verdict, view)
    return Evidence(
        name="label_permutation",
        statistic="z of the similarity within accounts among all shufflings of the account labels",
        value=round(z, 2),
        null="interchangeable accounts lie near 0; the further above, the more it matters who asked",
        summary=f"Shuffling who asked what moves the similarity within accounts by {abs(z):.1f} standard deviations.",
    )


def links_evidence(verdict: Verdict, view: ViewData, field: TextField) -> Evidence | None:
    """Neighbours of the pool's texts belong to its accounts more often than their volume gives."""
    items = view.items
    around = view.around
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
        p_value=bounded(p_value),
        summary=(
            f"Their {WORDS[field]} lie next to each other's {observed / expected:.1f} times as often as chance gives."
        ),
    )


def partition_evidence(verdict: Verdict, contents: Contents | None, field: TextField, *, seed: int) -> Evidence | None:
    """Slices of one list do not repeat each other.

    A test where other customers repeat each other in the same subject areas. Where they do not, an effect: people who
    ask in their own words repeat nobody either, so that draws from the very texts of the pool are no null of innocence.
    """
    shared = verdict.overlap
    if shared is None or shared.expected < 3:
        return None
    tested = None
    if contents is not None:
        tested = partition(contents.raw, contents.area, contents.comparison, seed=seed)
    pairs, expected = (tested.value, tested.expected) if tested else (float(shared.pairs), shared.expected)
    if tested.p_value > SHOWN_AT if tested else pairs > expected / 2:
        return None
    return Evidence(
        name="partition",
        statistic=f"pairs of accounts that {sent(field, 'sent')} the same text",
        value=pairs,
        null=(
            f"as other customers repeat each other in the same subject areas: {expected:.0f} pairs expected"
            if tested
            else f"none: an effect size. Draws from just these texts would give {expected:.0f} pairs; people with "
            "words of their own give none"
        ),
        p_value=bounded(tested.p_value) if tested else None,
        summary=(
            f"{verdict.texts} {WORDS[field]} were shared out with {pairs:.0f} repeats; "
            + (
                f"other customers with these subjects would have met {expected:.0f} times."
                if tested
                else f"accounts that drew them on their own would have met {expected:.0f} times."
            )
        ),
    )


def partition(
    text: NDArray[np.int64], area: NDArray[np.int64], comparison: Comparison, *, seed: int
) -> Measured | None:
    """Do the members share texts less often than as many units at random would with the same subject areas?

    Expected is, area by area, the share of pairs of other customers' texts that are one text, so how uneven popularity
    is shows in it; the statistic is the pairs that share a text less those expected, and its null is who is a member.
    Where nobody repeats anybody, as with questions in people's own words, nothing is expected and nothing is said:
    fewer than 3 give None. To hold the pool against draws from the very texts it sent would accuse everybody who never
    repeats.

    Args:
        text, area: int64[n], a row for each distinct (unit, text), as in the comparison.
    """
    inside = comparison.member[comparison.unit]
    areas, units = int(area.max(initial=0)) + 1, comparison.units
    _, first, holders = np.unique(text[~inside], return_index=True, return_counts=True)
    met = np.bincount(area[~inside][first], weights=holders * (holders - 1) / 2, minlength=areas)
    rate = met / np.maximum(_across(area[~inside], comparison.unit[~inside], areas), 1.0)
    expected = float((rate * _across(area[inside], comparison.unit[inside], areas)).sum())
    if expected < 3 or not comparison.is_enough:
        return None
    _, number, holders = np.unique(text, return_inverse=True, return_counts=True)
    shared = holders >= 2
    place = np.cumsum(shared) - 1
    held = np.zeros((units, int(shared.sum())))
    held[comparison.unit[shared[number]], place[number[shared[number]]]] = 1.0
    counts = np.zeros((units, areas))
    np.add.at(counts, (comparison.unit, area), 1.0)
    texts = held.shape[1]

    def excess(sums: NDArray[np.float64], _: int) -> NDArray[np.float64]:
        repeats, asked, squares = sums[:, :texts], sums[:, texts : texts + areas], sums[:, texts + areas :]
        pairs = (repeats * (repeats - 1)).sum(axis=1) / 2
        return np.asarray(pairs - (asked**2 - squares) @ rate / 2)

    tested = set_test(np.concatenate((held, counts, counts**2), axis=1), comparison.member, excess, seed=seed)
    return Measured(tested.value + expected, expected, tested.p_value, tested.n)


def _across(area: NDArray[np.int64], unit: NDArray[np.int64], areas: int) -> NDArray[np.float64]:
    """Pairs of rows of one area and different units, by area."""
    total = np.bincount(area, minlength=areas).astype(float)
    cell, count = np.unique(area * (unit.max(initial=0) + 1) + unit, return_counts=True)
    own = np.bincount(cell // (unit.max(initial=0) + 1), weights=count.astype(float) ** 2, minlength=areas)
    return np.asarray((total**2 - own) / 2)


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


def benchmark_evidence(pool: PoolView, hits: BenchmarkHits, *, seed: int) -> list[Evidence]:
    """How much of a registered benchmark the pool asked, whether it was dealt out, whether each went down the list."""
    matched = hits.item[pool.texts]
    items = len(np.unique(matched[matched >= 0]))
    if items < 3:
        return []
    tested = coverage_test(pool, hits, seed=seed)
    if tested is not None and tested.p_value > SHOWN_AT:
        return []
    coverage = Evidence(
        name="benchmark_coverage",
        statistic=f"distinct items of {hits.name} asked",
        value=float(items),
        null=f"as many other customers at random: {tested.expected:.2%} of texts match" if tested else NO_PEERS,
        p_value=bounded(tested.p_value) if tested else None,
        summary=f"{items} of {hits.items} items of {hits.name} ({items / hits.items:.0%}) were asked.",
    )
    found = [coverage, _dealt_evidence(pool, hits), _order_evidence(pool, hits)]
    return [item for item in found if item]


def coverage_test(pool: PoolView, hits: BenchmarkHits, *, seed: int) -> Measured | None:
    """Do the pool's customers match items more often, in its exchanges, than others do in all of theirs?"""
    of_row, text = pool.principals.of_row, pool.window.raw.text
    keep = ~np.isin(of_row, pool.units)
    keep[pool.rows] = True
    width = len(pool.window.texts)
    key = np.unique(of_row[keep].astype(np.int64) * width + text[keep])
    asked = np.bincount(key // width, minlength=pool.principals.count)
    hit = np.bincount(key[hits.item[key % width] >= 0] // width, minlength=pool.principals.count)
    member = np.isin(np.arange(pool.principals.count), pool.units)
    return excess_test(hit[asked > 0], asked[asked > 0], member[asked > 0], seed=seed)


def _dealt_evidence(pool: PoolView, hits: BenchmarkHits) -> Evidence | None:
    item = hits.item[pool.window.raw.text[pool.rows]]
    tested = dealt(item[item >= 0], pool.principals.of_row[pool.rows][item >= 0], hits.items)
    if tested is None or tested.p_value > SHOWN_AT:
        return None
    return Evidence(
        name="benchmark_dealt",
        statistic=f"pairs of accounts that asked the same item of {hits.name}",
        value=tested.value,
        null=f"each picks its items from the {hits.items} on its own: {tested.expected:.0f} pairs expected",
        p_value=bounded(tested.p_value),
        summary=(
            f"{tested.n} accounts asked the same item of {hits.name} {tested.value:.0f} times; picking on their own "
            f"they would have {tested.expected:.0f} times."
        ),
    )


def dealt(item: NDArray[np.int32], unit: NDArray[np.int32], items: int) -> Measured | None:
    """Do units share items of a known list less often than independent picks would?

    Poisson with mean the sum over pairs of n_a n_b / items. Items that are picked more often than others, and picking
    without repeats, both only make few shared items rarer than that says (Cauchy-Schwarz), so the p-value is an upper
    bound. None where fewer than 3 are expected.
    """
    key = np.unique(unit.astype(np.int64) * items + item)
    sizes = np.unique(key // items, return_counts=True)[1].astype(float)
    expected = float((sizes.sum() ** 2 - (sizes**2).sum()) / 2 / items)
    if expected < 3:
        return None
    holders = np.unique(key % items, return_counts=True)[1]
    pairs = float((holders * (holders - 1) // 2).sum())
    return Measured(pairs, expected, float(stats.poisson.cdf(pairs, expected)), len(sizes))


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
        p_value=bounded(p_value),
        summary=f"Each account goes through {hits.name} in its own order (tau {concordant / pairs:.2f}).",
    )
