"""What speaks for innocence, said even where it did not decide."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from coterie.detection.decision import Verdict
from coterie.detection.evidence_pool import SHOWN_AT, WORDS, PoolView, sent
from coterie.detection.exchangeability import permutation_z
from coterie.detection.formats import format_features
from coterie.domain import Evidence, TextField

DAY_US = 86_400_000_000
MANNER_Z_MIN = 4.0
MANNER_SHARE_MIN = 0.1
"""Least share of the variance of format that lies between accounts for them to have manners of their own."""

HOURS_CONCENTRATION_MIN = 0.3
"""Least mean resultant length of hours of the day, over pairs of days, for accounts to keep hours."""

HISTORY_EXCHANGES = 10
HISTORY_DAYS = 3.0
TEMPLATE_SHARE_MIN = 0.2


def counter_evidence(pool: PoolView, verdict: Verdict | None, cores: Sequence[str] | None = None) -> list[Evidence]:
    """What speaks for innocence, said even where it did not decide.

    Args:
        cores: the window's texts without boilerplate; without them nothing is said of manner and template.
    """
    return [
        item
        for item in (
            _organisation(pool),
            _payer(pool),
            _repeats(verdict, pool.window.slice.field),
            _popular(pool),
            _follow_ups(pool),
            _own_manner(pool, cores) if cores is not None else None,
            _template(pool, cores) if cores is not None else None,
            _keeps_hours(pool),
            _history(pool),
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
            f"{len(named)} of {len(pool.accounts)} accounts belong to {organisations} "
            f"organisation{'' if organisations == 1 else 's'}, each counted as one customer."
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
        statistic=f"share of the pool's {WORDS[field]} that several of its accounts {sent(field, 'asked')}",
        value=round(max(shared.repeated, rewrapped), 4),
        null="slices of one list do not repeat each other: 0",
        summary=(
            f"{shared.repeated:.1%} of the {WORDS[field]} were {sent(field, 'asked')} word for word by several of "
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
        statistic=f"share of the pool's texts that accounts outside it {sent(field, 'sent')} too",
        value=round(share, 4),
        null="none: an effect size",
        summary=f"{share:.0%} of the {field.value}s were also {sent(field, 'sent')} by accounts outside the pool.",
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


def _payer(pool: PoolView) -> Evidence | None:
    codes = pool.window.rows.attributes.get("payment")
    if codes is None:
        return None
    rows = pool.rows[codes[pool.rows] >= 0]
    pairs = np.unique(np.column_stack((codes[rows], pool.principals.of_row[rows])), axis=0)
    most = int(np.bincount(pairs[:, 0]).max()) if len(pairs) else 0
    if most < 3 or 2 * most < len(pool.units):
        return None
    return Evidence(
        name="one_payer",
        statistic="share of the pool's customers that pay by one card or invoice",
        value=round(most / len(pool.units), 4),
        null="none: an effect size",
        summary=(
            f"{most} of {len(pool.units)} customers pay by one card or invoice, as a reseller's keys do, and a "
            "company's seats where no organisation is named."
        ),
    )


def _own_manner(pool: PoolView, cores: Sequence[str]) -> Evidence | None:
    """Whether who asks shows in how prompts are built: it does with people."""
    text = pool.window.raw.text[pool.rows]
    key = np.unique(pool.principals.of_row[pool.rows].astype(np.int64) * len(cores) + text)
    texts = [cores[number] for number in (key % len(cores)).tolist()]
    held = np.fromiter(map(bool, texts), bool, len(texts))
    _, unit = np.unique(key[held] // len(cores), return_inverse=True)
    if len(np.unique(unit)) < 2 or len(unit) < 20:
        return None
    features = format_features([text for text in texts if text])
    share = between_share(features, unit)
    if share < MANNER_SHARE_MIN or permutation_z(features, unit) < MANNER_Z_MIN:
        return None
    return Evidence(
        name="own_manner",
        statistic="share of the variance of format (length, signs, lines, casing) that lies between accounts",
        value=round(share, 3),
        null="one list has one manner: near 0",
        summary=f"Accounts write in manners of their own: {share:.0%} of the variance of format lies between them.",
    )


def between_share(features: NDArray[np.float32], unit: NDArray[np.int64]) -> float:
    """Share of variance between units, free of the noise of their means (one-way random effects, ANOVA estimator)."""
    count = np.bincount(unit).astype(float)
    sums = np.zeros((len(count), features.shape[1]))
    np.add.at(sums, unit, features)
    n, units = count.sum(), len(count)
    total = float(((features - features.mean(axis=0)) ** 2).sum())
    means = sums / count[:, None]
    between = float((count * ((means - features.mean(axis=0)) ** 2).sum(axis=1)).sum())
    within = (total - between) / max(1.0, n - units)
    size = (n - (count**2).sum() / n) / max(1, units - 1)
    component = (between / max(1, units - 1) - within) / size
    return float(component / (component + within)) if component > 0 else 0.0


def _template(pool: PoolView, cores: Sequence[str]) -> Evidence | None:
    whole = sum(len(pool.window.texts[text]) for text in pool.texts.tolist())
    left = sum(len(cores[text]) for text in pool.texts.tolist())
    share = 1 - left / max(1, whole)
    if not whole or share < TEMPLATE_SHARE_MIN:  # no text: they are not kept
        return None
    return Evidence(
        name="template",
        statistic=f"share of the characters of the pool's {WORDS[pool.window.slice.field]} that is boilerplate",
        value=round(share, 3),
        null="none: an effect size",
        summary=f"{share:.0%} of what they send is wording that recurs, as an app's template does.",
    )


def _keeps_hours(pool: PoolView) -> Evidence | None:
    unit = np.unique(pool.principals.of_row[pool.rows], return_inverse=True)[1]
    concentration = hours_concentration(pool.window.rows.time_us[pool.rows], unit)
    if concentration is None or concentration < HOURS_CONCENTRATION_MIN:
        return None
    return Evidence(
        name="keeps_hours",
        statistic="concentration of each account's hours of the day from one day to another (mean resultant length)",
        value=round(concentration, 3),
        null="work that never sleeps: near 0",
        summary=f"They keep hours as people do: the same from day to day with a concentration of {concentration:.2f}.",
    )


def hours_concentration(time_us: NDArray[np.int64], unit: NDArray[np.int64]) -> float | None:
    """Mean resultant length of the hour of the day over pairs of exchanges of one unit on different days.

    Pairs of one day are left out, so that a single burst is no habit. None for fewer than 20 such pairs.
    """
    angle = np.exp(2j * np.pi * (time_us % DAY_US) / DAY_US)
    day = time_us // DAY_US
    key = unit * (day.max() - day.min() + 1) + day - day.min()
    _, cell = np.unique(key, return_inverse=True)
    whole, single = np.bincount(unit).astype(float), np.bincount(cell).astype(float)
    pairs = float((whole**2).sum() - (single**2).sum())
    if pairs < 40:
        return None
    together = [
        np.bincount(labels, weights=angle.real) ** 2 + np.bincount(labels, weights=angle.imag) ** 2
        for labels in (unit, cell)
    ]
    return float(np.sqrt(max(0.0, float(together[0].sum() - together[1].sum()) / pairs)))


def _history(pool: PoolView) -> Evidence | None:
    rows = pool.window.rows
    begun = rows.time_us[pool.rows].min()
    before = np.bincount(pool.principals.of_row[rows.time_us < begun], minlength=pool.principals.count)[pool.units]
    if (begun - rows.time_us.min()) / DAY_US < HISTORY_DAYS:
        return None
    share = float((before >= HISTORY_EXCHANGES).mean())
    if share < 0.5:
        return None
    return Evidence(
        name="history",
        statistic=f"share of customers with {HISTORY_EXCHANGES} exchanges in the window before the pool's first",
        value=round(share, 3),
        null="none: an effect size",
        summary=f"{share:.0%} of these customers were there before the work began, with other requests.",
    )
