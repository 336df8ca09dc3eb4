"""How a finding grew from run to run."""

from collections.abc import Callable, Sequence

from coterie.domain import Dossier, LineageStep
from coterie.figures.axes import day_axis, several
from coterie.figures.figure import Figure
from coterie.figures.svg import BLUE, ORANGE, WIDTH, Svg

_LEFT, _RIGHT, _TOP, _PANEL, _GAP = 80.0, 40.0, 26.0, 76.0, 34.0


def lineage_figure(dossier: Dossier) -> Figure | None:
    """Accounts and distinct prompts in each run that reported it; None where no run is known."""
    steps = dossier.lineage
    if not steps:
        return None
    first, last = steps[0].created_us, steps[-1].created_us
    room = max((last - first) // 20, 1_800_000_000)
    svg = Svg()

    def place(time_us: float) -> float:
        return _LEFT + (time_us - first + room) / (last - first + 2 * room) * (WIDTH - _LEFT - _RIGHT)

    bottom = _TOP + 2 * _PANEL + _GAP
    for number, (name, values) in enumerate(
        (("accounts", [step.accounts for step in steps]), ("distinct prompts", [step.texts for step in steps]))
    ):
        _panel(svg, dossier, name, values, place, _TOP + number * (_PANEL + _GAP))
    day_axis(svg, place, first - room, last + room, _TOP, bottom)
    title = "How the finding grew from run to run"
    own = [step for step in steps if step.finding_id == dossier.finding.finding_id] or list(steps)
    now = f"{several(own[-1].accounts, 'account')} and {several(own[-1].texts, 'distinct prompt')}"
    summary = f"Reported by {several(len(own), 'run')}, now with {now}."
    if len(own) > 1:
        summary = f"{summary[:-1]}, at first with {own[0].accounts:,} and {own[0].texts:,}."
    earlier = {step.finding_id for step in steps} - {dossier.finding.finding_id}
    if earlier:
        summary += f" It came from {several(len(earlier), 'earlier finding')}: {', '.join(sorted(earlier))}."
    return Figure(
        name="lineage",
        title=title,
        reading=(
            "One point a run; hollow points are earlier findings that this one came from. A campaign that goes on "
            "grows in prompts while its accounts stay or are replaced; what was there in one run only may be chance."
        ),
        summary=summary,
        svg=svg.render(f"{dossier.finding.finding_id}-lineage", title, summary, bottom + 24),
    )


def _panel(
    svg: Svg, dossier: Dossier, name: str, values: Sequence[int], place: Callable[[float], float], top: float
) -> None:
    most = max(*values, 1)

    def y_of(value: float) -> float:
        return top + _PANEL - value / most * (_PANEL - 14)

    svg.line(_LEFT, top + _PANEL, WIDTH - _RIGHT, top + _PANEL)
    svg.text(_LEFT - 8, y_of(most) + 4, f"{most:,}", anchor="end")
    svg.text(_LEFT - 8, top + _PANEL, "0", anchor="end")
    svg.text(_LEFT, top - 8, name, bold=True)
    own = [
        (step, value)
        for step, value in zip(dossier.lineage, values, strict=True)
        if step.finding_id == dossier.finding.finding_id
    ]
    if len(own) > 1:
        svg.path(((place(step.created_us), y_of(value)) for step, value in own), stroke=BLUE)
    labelled = len(own) <= 8
    for step, value in zip(dossier.lineage, values, strict=True):
        mine = step.finding_id == dossier.finding.finding_id
        x, y = place(step.created_us), y_of(value)
        svg.dot(x, y, 4, fill=BLUE if mine else ORANGE, hollow=not mine, hint=_hint(step, value, name))
        if labelled and mine:
            svg.text(x, y - 9, f"{step.lineage.value}: {value:,}", anchor="middle", size=10)


def _hint(step: LineageStep, value: int, name: str) -> str:
    return f"{step.finding_id} in run {step.run_id} ({step.lineage.value}, {step.trigger}): {value:,} {name}"
