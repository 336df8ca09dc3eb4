"""Is an account more like itself than like the others?"""

import numpy as np

from coterie.domain import Dossier
from coterie.figures.axes import round_ticks, several
from coterie.figures.figure import Figure
from coterie.figures.svg import BLUE, ORANGE, Svg

_SIDE, _LEFT, _TOP = 300.0, 56.0, 20.0


def alikeness_figure(dossier: Dossier) -> Figure | None:
    """Each account by how alike its questions are to each other and to the others'; None where that is not known."""
    shuffled = dossier.shuffled
    if shuffled is None:
        return None
    known = np.isfinite(shuffled.alike_own) & np.isfinite(shuffled.alike_others)
    if not known.any():
        return None
    own, others = shuffled.alike_own[known], shuffled.alike_others[known]
    names = [name for name, held in zip(dossier.account_ids, known.tolist(), strict=True) if held]
    low, high = min(0.0, float(own.min()), float(others.min())), 1.08 * max(float(own.max()), float(others.max()), 0.05)
    svg = Svg()

    def x_of(value: float) -> float:
        return _LEFT + (value - low) / (high - low) * _SIDE

    def y_of(value: float) -> float:
        return _TOP + _SIDE - (value - low) / (high - low) * _SIDE

    for tick in round_ticks(low, high, 5):
        svg.line(x_of(tick), _TOP, x_of(tick), _TOP + _SIDE, opacity=0.12)
        svg.line(_LEFT, y_of(tick), _LEFT + _SIDE, y_of(tick), opacity=0.12)
        svg.text(x_of(tick), _TOP + _SIDE + 15, f"{tick:g}", anchor="middle")
        svg.text(_LEFT - 6, y_of(tick) + 4, f"{tick:g}", anchor="end")
    svg.line(x_of(low), y_of(low), x_of(high), y_of(high), opacity=0.6)
    floor = shuffled.innocent_max
    svg.line(x_of(0), y_of(0), x_of(high), y_of(high * floor), stroke=ORANGE, dashed=True)
    apart = 0
    for name, mine, theirs in zip(names, own.tolist(), others.tolist(), strict=True):
        outside = theirs < floor * mine
        apart += outside
        hint = f"{name}: {mine:.3f} with itself, {theirs:.3f} with the others"
        svg.dot(x_of(mine), y_of(theirs), 4.5, fill=ORANGE if outside else BLUE, hollow=outside, hint=hint)
    _words(svg, floor)
    title = "Is an account more like itself than like the others?"
    summary = (
        f"{apart} of {several(len(names), 'account')} below the dashed line, where innocents lie: less than "
        f"{floor:g} times as like the others as like itself. Questions of one account are {own.mean():.3f} alike on "
        f"average, those of two accounts {others.mean():.3f}."
    )
    return Figure(
        name="alikeness",
        title=title,
        reading=(
            "One point an account. To the right: how alike its questions are to each other; upwards: to those of "
            "the others. Dealt slices lie on the diagonal. A hollow point below the dashed line is an account with "
            "a subject of its own: look at it first, it may be an innocent customer who was swept up. Single "
            "accounts with few questions scatter."
        ),
        summary=summary,
        svg=svg.render(f"{dossier.finding.finding_id}-alikeness", title, summary, _TOP + _SIDE + 40),
    )


def _words(svg: Svg, floor: float) -> None:
    x = _LEFT + _SIDE + 24
    svg.text(_LEFT + _SIDE / 2, _TOP + _SIDE + 33, "alike to its own questions", anchor="middle", faint=True)
    svg.text(14, _TOP + _SIDE / 2, "alike to the others' questions", anchor="middle", faint=True, turn=-90)
    svg.line(x, _TOP + 12, x + 24, _TOP + 12, opacity=0.6)
    svg.text(x + 30, _TOP + 16, "as like the others as itself: interchangeable")
    svg.line(x, _TOP + 34, x + 24, _TOP + 34, stroke=ORANGE, dashed=True)
    svg.text(x + 30, _TOP + 38, f"{floor:g} of that: what innocents reach at most")
    svg.dot(x + 12, _TOP + 56, 4.5, fill=BLUE)
    svg.text(x + 30, _TOP + 60, "an account")
    svg.dot(x + 12, _TOP + 78, 4.5, fill=ORANGE, hollow=True)
    svg.text(x + 30, _TOP + 82, "an account with a subject of its own")
