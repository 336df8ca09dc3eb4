"""C/W beside what shuffling who asked gives."""

import numpy as np

from coterie.domain import Dossier, ShuffledLabels
from coterie.figures.axes import round_ticks, several
from coterie.figures.figure import Figure
from coterie.figures.svg import BLUE, ORANGE, WIDTH, Svg

_TOP, _BOTTOM, _LEFT, _RIGHT = 40.0, 190.0, 30.0, 30.0
_BARS = 60


def null_figure(dossier: Dossier) -> Figure | None:
    """The permutation null with the observed value; None where too little is stored to shuffle."""
    found = dossier.shuffled
    if found is None or not len(found.shuffled):
        return None
    title = "Does knowing who asked tell about the question?"
    summary = _summary(found)
    svg = Svg()
    low, high = _span(found)

    def place(value: float) -> float:
        return _LEFT + (value - low) / (high - low) * (WIDTH - _LEFT - _RIGHT)

    innocent = place(found.innocent_max)
    svg.rect(_LEFT, _TOP, innocent - _LEFT, _BOTTOM - _TOP, fill=ORANGE, opacity=0.13)
    svg.line(innocent, _TOP, innocent, _BOTTOM, stroke=ORANGE, dashed=True)
    svg.text(innocent - 6, _TOP + 14, f"as innocents are: at most {found.innocent_max:g}", anchor="end")
    counts, edges = np.histogram(found.shuffled, bins=_BARS, range=(low, high))
    unit = (_BOTTOM - _TOP - 34) / counts.max()
    wide = place(edges[1]) - place(edges[0])
    svg.rects(
        (
            (place(edges[bar]) + 0.5, _BOTTOM - counts[bar] * unit, max(wide - 1, 1), counts[bar] * unit)
            for bar in np.flatnonzero(counts).tolist()
        ),
        opacity=0.35,
    )
    x = place(found.observed)
    svg.line(x, _TOP - 8, x, _BOTTOM, stroke=BLUE, width=2.5)
    svg.text(x, _TOP - 14, f"this finding: {found.observed:.3f}", anchor=_anchor(x), bold=True, size=12)
    svg.line(_LEFT, _BOTTOM, WIDTH - _RIGHT, _BOTTOM)
    for tick in round_ticks(low, high, 8):
        svg.line(place(tick), _BOTTOM, place(tick), _BOTTOM + 4)
        svg.text(place(tick), _BOTTOM + 17, f"{tick:g}", anchor="middle")
    svg.text(
        (_LEFT + WIDTH - _RIGHT) / 2,
        _BOTTOM + 35,
        f"C/W: similarity across customers over that within one (grey: {len(found.shuffled)} shufflings of who asked)",
        anchor="middle",
        faint=True,
    )
    return Figure(
        name="null",
        title=title,
        reading=(
            "Grey is what C/W would be if it did not matter who asked: the labels shuffled at random. The line is "
            "what was measured. A line inside the grey hill means that accounts are as interchangeable as dealt "
            "slices of one list; a line in the shaded part, left of the dashed one, means that each has subjects of "
            "its own, as people and apps do. Being interchangeable is the suspicion: the run asks whether C/W is "
            f"shown to lie above {found.innocent_max:g}, and this picture alone accuses nobody."
        ),
        summary=summary,
        svg=svg.render(f"{dossier.finding.finding_id}-null", title, summary, _BOTTOM + 46),
    )


def _span(found: ShuffledLabels) -> tuple[float, float]:
    values = [found.observed, found.innocent_max - 0.12, float(found.shuffled.min()), float(found.shuffled.max())]
    low, high = min(values), max(values)
    room = 0.04 * (high - low)
    return max(low - room, -0.5), high + room


def _anchor(x: float) -> str:
    return "end" if x > WIDTH - 130 else "start" if x < 130 else "middle"


def _summary(found: ShuffledLabels) -> str:
    mean, spread = float(found.shuffled.mean()), float(found.shuffled.std())
    parts = [
        f"C/W is {found.observed:.3f}; shuffling who asked gives {mean:.3f} with a standard deviation of {spread:.3f}, "
        f"and innocent pools reach at most {found.innocent_max:g}.",
        f"Measured when this was drawn, on {several(found.items, 'question')}"
        + (f" drawn at random from {found.items_total:,}" if found.items < found.items_total else "")
        + f" of {several(found.customers, 'customer')}, as sent, by {len(found.shuffled)} random shufflings.",
    ]
    recorded = [
        text
        for text in (
            None if found.recorded is None else f"C/W {found.recorded:.3f}",
            None if found.recorded_z is None else f"z {found.recorded_z:.2f} over all shufflings, in closed form",
        )
        if text
    ]
    if recorded:
        parts.append(f"The run itself recorded {' and '.join(recorded)}, in the view where it found the pool.")
    return " ".join(parts)
