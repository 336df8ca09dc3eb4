"""Which items of a registered benchmark were asked, by whom."""

import numpy as np

from coterie.domain import BenchmarkStrip, Dossier
from coterie.figures.axes import LEFT, RIGHT, round_ticks, row_height, row_names, several
from coterie.figures.figure import Figure
from coterie.figures.svg import BLUE, ORANGE, WIDTH, Svg, shortened

_TOP = 52.0


def benchmark_figures(dossier: Dossier) -> tuple[Figure, ...]:
    """One strip for each benchmark that the finding names."""
    return tuple(_strip_figure(dossier, strip, number) for number, strip in enumerate(dossier.benchmarks, start=1))


def _strip_figure(dossier: Dossier, strip: BenchmarkStrip, number: int) -> Figure:
    accounts = len(dossier.account_ids)
    height = row_height(accounts)
    bottom = _TOP + accounts * height
    span = WIDTH - LEFT - RIGHT
    width = max(span / max(strip.items, 1), 0.6)
    svg = Svg()

    def place(item: float) -> float:
        return LEFT + item / max(strip.items, 1) * span

    asked, times = np.unique(strip.item, return_counts=True)
    svg.text(LEFT - 8, _TOP - 14, "by any of them", anchor="end", bold=True)
    svg.rect(LEFT, _TOP - 26, span, 18, opacity=0.07)
    for several_asked, fill in ((False, BLUE), (True, ORANGE)):
        held = asked[(times > 1) == several_asked]
        svg.rects(((place(item), _TOP - 26, width, 18) for item in held.tolist()), fill=fill)
    row_names(svg, dossier.account_ids, _TOP, height)
    svg.rects(
        (
            (place(item), _TOP + account * height + 1, width, height - 2)
            for account, item in zip(strip.account.tolist(), strip.item.tolist(), strict=True)
        ),
        fill=BLUE,
    )
    svg.line(LEFT, bottom, WIDTH - RIGHT, bottom)
    for tick in round_ticks(0, strip.items, 8):
        svg.line(place(tick), bottom, place(tick), bottom + 4)
        svg.text(place(tick), bottom + 16, f"{tick:,.0f}", anchor="middle")
    svg.text(LEFT, 16, f"items of {shortened(strip.name, 40)} by number", faint=True)
    svg.rect(WIDTH - RIGHT - 232, 8, 10, 10, fill=ORANGE)
    svg.text(WIDTH - RIGHT - 218, 17, "asked by more than one of the accounts")
    title = f"Items of {shortened(strip.name, 60)} that were asked"
    summary = _summary(dossier, strip, len(asked), int((times > 1).sum()))
    return Figure(
        name=f"benchmark-{number}",
        title=title,
        reading=(
            "One row an account, one column an item of the benchmark, in its order. A benchmark that was dealt out "
            "is covered once: the strip on top fills while each row holds a part of its own, in blocks where it was "
            "cut by order, scattered where it was shuffled. Labs that each run the benchmark, and students of one "
            "course, ask the same items: the strip is orange."
        ),
        summary=summary,
        svg=svg.render(f"{dossier.finding.finding_id}-benchmark-{number}", title, summary, bottom + 28),
    )


def _summary(dossier: Dossier, strip: BenchmarkStrip, asked: int, repeated: int) -> str:
    text = (
        f"{several(asked, 'item')} of {strip.items:,} ({asked / max(strip.items, 1):.0%}) were asked by these "
        f"{several(len(dossier.account_ids), 'account')}, {repeated:,} of them by more than one."
    )
    if strip.texts < strip.texts_total:
        text += f" {strip.texts:,} of {strip.texts_total:,} distinct prompts, drawn at random, were held against it."
    return text
