"""Who asked when."""

import numpy as np

from coterie.domain import Dossier
from coterie.figures.axes import LEFT, RIGHT, day_axis, row_height, row_names, several
from coterie.figures.figure import Figure
from coterie.figures.svg import BLUE, INK, WIDTH, Svg

_TOP = 30.0


def raster_figure(dossier: Dossier) -> Figure:
    """One row an account, one tick an exchange, those that began first on top."""
    asked, accounts = dossier.asked, len(dossier.account_ids)
    since_us, until_us = _window(dossier)
    begun = np.full(accounts, np.iinfo(np.int64).max)
    np.minimum.at(begun, asked.account[asked.in_pool], asked.time_us[asked.in_pool])
    order = np.argsort(begun, kind="stable")
    row_of = np.argsort(order)
    height = row_height(accounts)
    bottom = _TOP + accounts * height
    svg = Svg()

    def place(time_us: float) -> float:
        return LEFT + (time_us - since_us) / max(until_us - since_us, 1) * (WIDTH - LEFT - RIGHT)

    svg.rects(((LEFT, 8, 3, 10),), fill=BLUE)
    svg.text(LEFT + 8, 17, "what the finding claims")
    svg.rects(((LEFT + 150, 10, 2, 6),), opacity=0.45)
    svg.text(LEFT + 157, 17, "the account's other traffic")
    day_axis(svg, place, since_us, until_us, _TOP, bottom)
    row_names(svg, [dossier.account_ids[number] for number in order.tolist()], _TOP, height)
    for claimed, fill, opacity, width, high in ((False, INK, 0.45, 1.0, 0.45), (True, BLUE, 0.9, 1.4, 0.8)):
        shown = np.flatnonzero(asked.in_pool == claimed)
        svg.rects(
            (
                (place(time_us) - width / 2, _TOP + (row_of[account] + 0.5 - high / 2) * height, width, high * height)
                for account, time_us in zip(asked.account[shown].tolist(), asked.time_us[shown].tolist(), strict=True)
            ),
            fill=fill,
            opacity=opacity,
        )
    svg.line(LEFT, bottom, WIDTH - RIGHT, bottom)
    svg.text(WIDTH - RIGHT, bottom + 28, "UTC", anchor="end", faint=True)
    title = "Who asked when"
    summary = _summary(dossier)
    return Figure(
        name="raster",
        title=title,
        reading=(
            "One row an account, one tick an exchange; accounts that began first stand on top. A campaign's rows look "
            "alike: equal density, the same hours, one begins where another ends, or all stop together. People have "
            "hours, days off and bursts of their own, and most of what they ask is grey."
        ),
        summary=summary,
        svg=svg.render(f"{dossier.finding.finding_id}-raster", title, summary, bottom + 36),
    )


def _window(dossier: Dossier) -> tuple[int, int]:
    """The run's window, or where that is not known or much wider, the time in which something was asked."""
    times = dossier.asked.time_us
    since_us, until_us = dossier.run.since_us, dossier.run.until_us
    if len(times) and (until_us <= since_us or times[0] < since_us or times[-1] >= until_us):
        return int(times[0]), int(times[-1]) + 1
    return since_us, max(until_us, since_us + 1)


def _summary(dossier: Dossier) -> str:
    asked = dossier.asked
    claimed = int(dossier.pool_exchanges.sum())
    counts = dossier.pool_exchanges
    text = (
        f"{several(len(dossier.account_ids), 'account')} with {claimed:,} exchanges that the finding claims, "
        f"{counts.min()} to {counts.max()} each, and {asked.total - claimed:,} others in the window."
    )
    if len(asked.exchange_ids) < asked.total:
        text += f" Drawn are {len(asked.exchange_ids):,} of all {asked.total:,}, at random (seed {dossier.seed})."
    if len(dossier.account_ids) < len(dossier.finding.accounts):
        text += f" The accounts are drawn at random from the finding's {len(dossier.finding.accounts):,}."
    return text
