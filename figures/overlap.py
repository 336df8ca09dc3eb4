"""How far accounts repeat each other, beside chance."""

import numpy as np

from coterie.domain import Dossier
from coterie.figures.axes import LEFT, row_names
from coterie.figures.figure import Figure
from coterie.figures.svg import INK, ORANGE, Svg

_TOP = 34.0
_SIDE = 420.0
_LEVELS = 6


def overlap_figure(dossier: Dossier) -> Figure | None:
    """Account by account: below the diagonal what both sent, above it what chance gives; None for one account."""
    shared = dossier.shared
    accounts = len(shared.observed)
    if accounts < 2:
        return None
    cell = min(26.0, max(6.0, _SIDE / accounts))
    svg = Svg()
    row_names(svg, dossier.account_ids, _TOP, cell)
    below, above = np.tril_indices(accounts, -1), np.triu_indices(accounts, 1)
    most = max(float(shared.observed[below].max(initial=0)), float(shared.expected.max(initial=0)), 1.0)
    svg.rect(LEFT, _TOP, accounts * cell, accounts * cell, opacity=0.04)
    for values, fill, strength, (rows, columns) in (
        (shared.observed[below].astype(float), ORANGE, 1.0, below),
        (shared.expected[above], INK, 0.6, above),
    ):
        levels = np.where(values > 0, np.clip(np.ceil(values / most * _LEVELS), 1, _LEVELS), 0)
        for number in range(1, _LEVELS + 1):
            svg.rects(
                (
                    (LEFT + columns[place] * cell + 0.5, _TOP + rows[place] * cell + 0.5, cell - 1, cell - 1)
                    for place in np.flatnonzero(levels == number).tolist()
                ),
                fill=fill,
                opacity=strength * (number + 1) / (_LEVELS + 1),
            )
    bottom = _TOP + accounts * cell
    svg.line(LEFT, _TOP, LEFT + accounts * cell, bottom, opacity=0.5)
    observed, expected = int(shared.observed[below].sum()), float(shared.expected[below].sum())
    x = LEFT + accounts * cell + 14
    for place, (value, words, fill) in enumerate(
        ((expected, "by chance (upper half)", INK), (observed, "in truth (lower half)", ORANGE))
    ):
        y = _TOP + 50 * place
        svg.rect(x, y + 2, 4, 32, fill=fill, opacity=0.6 if fill == INK else 1.0)
        svg.text(x + 10, y + 18, f"{value:,.0f}", size=20, bold=True)
        svg.text(x + 10, y + 34, words, faint=True)
    svg.text(LEFT, 18, "the same question asked by two accounts", faint=True)
    title = "Do the accounts repeat each other?"
    summary = (
        f"Two accounts asked the same question {observed:,} times, summed over all pairs; had each drawn its questions "
        f"at random from the finding's {shared.texts:,}, it would have been {expected:,.0f} times."
    )
    return Figure(
        name="overlap",
        title=title,
        reading=(
            "Every pair of accounts twice: below the diagonal how many questions both asked, above it how many they "
            "would both have asked had each drawn its questions at random from all of them. Dealt slices leave the "
            "lower half empty under a full upper one. A crowd with a common source, such as a course or a bank of "
            "questions, fills both. People who write in words of their own repeat nobody either, so an empty lower "
            "half alone is no reason; nearly the same question in other words is not counted."
        ),
        summary=summary,
        svg=svg.render(f"{dossier.finding.finding_id}-overlap", title, summary, max(bottom, _TOP + 95) + 12),
    )
