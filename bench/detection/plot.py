"""The results as pictures: curves, classes and evasions, calibration, growth.

python -m bench.detection.plot bench/results
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Json = dict[str, Any]

GREY = "#808080"
"""Reads on white and on black alike; the pictures have no ground of their own."""

ACCENT = "#e4572e"
STYLE = {
    "coterie": (ACCENT, "-", 2.4, "coterie"),
    "plain_hdbscan": ("#8f6bc9", "--", 1.4, "HDBSCAN, five accounts"),
    "account_twins": ("#3a86c8", "--", 1.4, "account twins"),
    "communities": ("#2a9d74", "--", 1.4, "link communities"),
    "coaction": ("#c08a2e", "--", 1.4, "co-action network"),
}
"""Methods: colour, line, width in points, name."""

CURVES = {
    "accounts": "accounts in a campaign",
    "cover": "share of ordinary traffic in an account",
    "rate": "requests an account and day",
}
CLASS_BAR = 0.01


def draw_all(folder: Path) -> list[Path]:
    """Draw a picture for each results file there is that has one; the pictures lie beside the files."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "coterie",
        "font.family": "sans-serif",
        "font.size": 9,
        **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), GREY),
    }
    drawn = []
    for group, draw in _PICTURES.items():
        source = folder / f"detection_{group}.json"
        if not source.exists():
            continue
        with mpl.rc_context(settings):
            figure = Figure(layout="constrained")
            if draw(figure, json.loads(source.read_text())):
                drawn.append(source.with_suffix(".svg"))
                figure.savefig(drawn[-1], format="svg", transparent=True, metadata={"Date": None})
    return drawn


def _curves(figure: "Figure", report: Json) -> bool:
    figure.set_size_inches(10, 5.6)
    panels = figure.subplots(2, len(CURVES), sharey=True)
    shown: dict[str, Any] = {}
    for column, (name, title) in enumerate(CURVES.items()):
        points = [
            scenario
            for key, scenario in report["scenarios"].items()
            if key.startswith(f"{name}_") and "methods" in scenario
        ]
        points.sort(key=lambda scenario: scenario["at"])
        for row, measure in enumerate(("recall", "precision")):
            axes = panels[row, column]
            for method in STYLE:
                shown |= _line(axes, points, method, measure)
            _dress(axes, title, f"account {measure}")
            if name != "cover" and points:
                axes.set_xscale("log")
                axes.set_xticks([point["at"] for point in points], [f"{point['at']:,}" for point in points])
                axes.minorticks_off()
            axes.set_ylim(-0.02, 1.02)
    figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=len(STYLE), frameon=False)
    return bool(shown)


def _line(axes: "Axes", points: list[Json], method: str, measure: str) -> Json:
    colour, line, width, name = STYLE[method]
    rows = [(point["at"], point["methods"][method][measure]) for point in points]
    rows = [(at, estimate) for at, estimate in rows if estimate]
    if not rows:
        return {}
    at = [place for place, _ in rows]
    (drawn,) = axes.plot(at, [e["value"] for _, e in rows], line, color=colour, linewidth=width, label=name)
    drawn.set(marker="o", markersize=3.5, zorder=3 if method == "coterie" else 2)
    if method == "coterie":
        low, high = [e["low"] for _, e in rows], [e["high"] for _, e in rows]
        axes.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
    return {name: drawn}


def _evasions(figure: "Figure", report: Json) -> bool:
    rows = {
        name.removeprefix("evasion_"): scenario["methods"]["coterie"]["recall"]
        for name, scenario in report["scenarios"].items()
        if "methods" in scenario
    }
    return _dots(figure, rows, "account recall, 95 % interval over seeds", "how campaigns hide")


def _classes(figure: "Figure", report: Json) -> bool:
    rows = {}
    for name, scenario in report["scenarios"].items():
        kind = name.removeprefix("class_")
        if "methods" in scenario:
            rows[kind] = scenario["false_positives"]["coterie"].get(kind)
    drawn = _dots(figure, rows, "share of accounts accused, 95 % interval by crowd", "innocent class")
    if drawn:
        figure.axes[0].axvline(CLASS_BAR, color=GREY, linewidth=1, linestyle=":")
    return drawn


def _dots(figure: "Figure", rows: dict[str, Any], x_label: str, y_label: str) -> bool:
    kept = sorted((row for row in rows.items() if row[1]), key=lambda row: row[1]["value"])
    if not kept:
        return False
    figure.set_size_inches(6.4, 1.2 + 0.24 * len(kept))
    axes = figure.subplots()
    values = [estimate["value"] for _, estimate in kept]
    # A bootstrap interval may lie beside the estimate by rounding alone.
    low = [max(0.0, estimate["value"] - estimate["low"]) for _, estimate in kept]
    high = [max(0.0, estimate["high"] - estimate["value"]) for _, estimate in kept]
    axes.errorbar(values, range(len(kept)), xerr=[low, high], fmt="o", color=ACCENT, markersize=4, linewidth=1.2)
    axes.set_yticks(range(len(kept)), [name.replace("_", " ") for name, _ in kept])
    _dress(axes, x_label, y_label)
    right = 1.0 if max(values) > 0.5 else max(0.1, *(estimate["high"] for _, estimate in kept))
    axes.set_xlim(-0.02 * right, 1.02 * right)
    return True


def _calibration(figure: "Figure", report: Json) -> bool:
    figure.set_size_inches(8, 3.8)
    left, right = figure.subplots(1, 2)
    p_values = report["p_values"]
    for axes in (left, right):
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
    if p_values["tested"]:
        left.plot(p_values["curve"]["p"], p_values["curve"]["share"], color=ACCENT, linewidth=2)
    _dress(left, "significance level a", "P(p ≤ a), hypotheses in innocent traffic")
    left.set_title(f"{p_values['tested']:,} hypotheses", loc="left", fontsize=9)
    bins = [row for row in report["confidence"]["bins"] if row["findings"]]
    if bins:
        share = [row["right"]["value"] for row in bins]
        low = [max(0.0, row["right"]["value"] - row["right"]["low"]) for row in bins]
        high = [max(0.0, row["right"]["high"] - row["right"]["value"]) for row in bins]
        right.errorbar(
            [row["confidence"] for row in bins], share, yerr=[low, high], fmt="o-", color=ACCENT, linewidth=1.4
        )
    _dress(right, "confidence of a finding", "share of findings that are right")
    right.set_title(f"{report['confidence']['findings']:,} findings", loc="left", fontsize=9)
    return bool(p_values["tested"] or bins)


def _scale(figure: "Figure", report: Json) -> bool:
    runs = sorted(
        (run for scenario in report["scenarios"].values() for run in scenario.get("runs", [])),
        key=lambda run: run["exchanges"],
    )
    if not runs:
        return False
    figure.set_size_inches(8, 3.4)
    panels: list[tuple[str, Callable[[Json], float]]] = [
        ("CPU seconds of detection", lambda run: run["cpu_s"]),
        ("most memory held, 10^9 bytes", lambda run: run["peak_gb"]),
    ]
    at = [run["exchanges"] for run in runs]
    for axes, (label, value) in zip(figure.subplots(1, 2), panels, strict=True):
        axes.plot(at, [value(run) for run in runs], "o-", color=ACCENT, linewidth=2, markersize=4)
        _dress(axes, "exchanges, ten an account", label)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(at, [f"{n / 1_000:g}k" for n in at])
        taken = [value(run) for run in runs]
        axes.set_yticks(taken, [f"{v:.3g}" for v in taken])
        axes.minorticks_off()
    return True


def _dress(axes: "Axes", x_label: str, y_label: str) -> None:
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.grid(color=GREY, alpha=0.25, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)


_PICTURES: dict[str, Callable[["Figure", Json], bool]] = {
    "curves": _curves,
    "evasions": _evasions,
    "classes": _classes,
    "calibration": _calibration,
    "scale": _scale,
}

if __name__ == "__main__":
    for written in draw_all(Path(sys.argv[1])):
        print(written)
