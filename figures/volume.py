"""How much each account asks, beside its own past."""

import numpy as np

from coterie.domain import DAY_US, Dossier
from coterie.figures.axes import LEFT, RIGHT, day_axis, row_height, row_names, several
from coterie.figures.figure import Figure
from coterie.figures.svg import BLUE, ORANGE, WIDTH, Svg

_TOP = 40.0


def volume_figure(dossier: Dossier) -> Figure:
    """One row an account, one bar a day; each row to its own scale."""
    volume, accounts = dossier.volume, len(dossier.account_ids)
    height = row_height(accounts, most=26.0, least=11.0, whole=520.0)
    bottom = _TOP + accounts * height
    first, last = int(volume.day_us[0]), int(volume.day_us[-1]) + DAY_US
    svg = Svg()

    def place(time_us: float) -> float:
        return LEFT + (time_us - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    width = place(first + DAY_US) - LEFT
    svg.rect(LEFT, 9, 10, 10, fill=BLUE)
    svg.text(LEFT + 14, 18, "what the finding claims")
    svg.rect(LEFT + 150, 9, 10, 10, opacity=0.35)
    svg.text(LEFT + 164, 18, "the rest of the account's traffic")
    day_axis(svg, place, first, last, _TOP, bottom)
    row_names(svg, dossier.account_ids, _TOP, height)
    most = np.maximum(volume.asked.max(axis=1), 1)
    unit = (height - 2) / most
    x = [place(day) for day in volume.day_us.tolist()]
    gap = min(1.0, width * 0.15)
    for values, base, fill, opacity in (
        (volume.in_pool, np.zeros_like(volume.in_pool), BLUE, 1.0),
        (volume.asked - volume.in_pool, volume.in_pool, "currentColor", 0.35),
    ):
        rows, days = np.nonzero(values > 0)
        svg.rects(
            (
                (x[day] + gap / 2, _TOP + (row + 1) * height - (values[row, day] + base[row, day]) * unit[row],
                 width - gap, values[row, day] * unit[row])
                for row, day in zip(rows.tolist(), days.tolist(), strict=True)
            ),
            fill=fill,
            opacity=opacity,
        )  # fmt: skip
    for row in range(accounts):
        svg.line(LEFT, _TOP + (row + 1) * height, WIDTH - RIGHT, _TOP + (row + 1) * height, opacity=0.15)
    begin = place(max(dossier.run.since_us, first))
    svg.line(begin, _TOP - 8, begin, bottom, stroke=ORANGE, width=1.5, dashed=True)
    svg.text(min(begin + 4, WIDTH - 130), _TOP - 4, "the run's window begins", size=10)
    title = "Volume against the own past"
    summary = _summary(dossier)
    return Figure(
        name="volume",
        title=title,
        reading=(
            "One row an account, one bar a day, each row to its own scale. Right of the dashed line is what the run "
            "looked at; before it nothing was tested, so all is grey. An account that was there before, with the "
            "same volume and little blue, is a customer whose traffic was touched by the finding; accounts that are "
            "new, or rise together and are blue throughout, were made or hired for it. Where nothing is stored "
            "before the window, there is no past to compare with."
        ),
        summary=summary,
        svg=svg.render(f"{dossier.finding.finding_id}-volume", title, summary, bottom + 24),
    )


def _summary(dossier: Dossier) -> str:
    volume = dossier.volume
    past = volume.day_us < dossier.run.since_us // DAY_US * DAY_US
    before, inside = volume.asked[:, past], volume.asked[:, ~past]
    share = dossier.pool_exchanges.sum() / max(int(dossier.window_exchanges.sum()), 1)
    if not past.any():
        text = "No traffic of these accounts is stored from before the window."
    else:
        known = int((before.sum(axis=1) > 0).sum())
        text = (
            f"{known} of {several(len(before), 'account')} asked before the window, {before.mean():.1f} exchanges a "
            f"day and account over {several(int(past.sum()), 'day')}; in it, {inside.mean():.1f}."
        )
    return f"{text} The finding claims {share:.0%} of their traffic in the window."
