"""The report as a picture: what it costs, what is found, what is wrongly clustered.

python -m bench.cluster.plot bench/results/cluster.json
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes


GREY = "#808080"
"""Reads on white and on black alike; the picture has no ground of its own."""

_STYLE = {
    "coterie": ("#e4572e", "-", 2.4, "coterie, 30 neighbours"),
    "coterie_k15": ("#f2a65a", "-", 2.4, "coterie, 15 neighbours"),
    "exact": (GREY, "--", 1.4, "exact graph, same tree"),
    "hdbscan": ("#8f6bc9", "-", 1.4, "hdbscan"),
    "scikit_learn": ("#c0869c", "-", 1.4, "scikit-learn"),
    "fast_hdbscan": ("#3a86c8", "-", 1.4, "fast_hdbscan"),
    "evoc": ("#2a9d74", "-", 1.4, "EVoC"),
    "evoc_finest": ("#2a9d74", ":", 1.4, "EVoC, finest layer"),
}
"""Engines shown: colour, line, width in points, name."""


def draw(report: dict[str, Any], path: Path) -> None:
    """Three panels over the number of rows, a line an engine; the mean where there are several seeds."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "coterie",
        "font.family": "sans-serif",
        "font.size": 9,
        **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), GREY),
    }
    with mpl.rc_context(settings):
        figure = Figure(figsize=(10, 3.6), layout="constrained")
        cost, found, wrong = figure.subplots(1, 3)
        _panel(cost, report, "CPU seconds, from vectors to labels", lambda run: run["cpu_s"])
        cost.set_yscale("log")
        _panel(found, report, "planted families found", lambda run: run["quality"]["family_recall"]["all"])
        _panel(wrong, report, "background put into clusters", lambda run: run["quality"]["background_clustered"])
        for panel in (found, wrong):
            panel.set_ylim(-0.02, 1.02)
            panel.yaxis.set_major_formatter("{x:.0%}")
        figure.legend(*cost.get_legend_handles_labels(), loc="outside lower center", ncols=len(_STYLE), frameon=False)
        figure.savefig(path, format="svg", transparent=True, metadata={"Date": None})


def _panel(axes: "Axes", report: dict[str, Any], title: str, value: Callable[[dict[str, Any]], float]) -> None:
    rows = sorted({run["n"] for run in report["runs"]})
    for name, (colour, line, width, shown) in _STYLE.items():
        points: dict[int, list[float]] = {}
        for run in report["runs"]:
            if run["engine"] == name and run["status"] == "ok":
                points.setdefault(run["n"], []).append(value(run))
        if points:
            means = [sum(points[n]) / len(points[n]) for n in sorted(points)]
            (drawn,) = axes.plot(sorted(points), means, line, color=colour, linewidth=width, label=shown)
            drawn.set(marker="o", markersize=4, zorder=3 if name == "coterie" else 2)
    axes.set_xscale("log")
    axes.set_xticks(rows, [f"{n // 1_000}k" if n < 1_000_000 else f"{n / 1_000_000:g}M" for n in rows])
    axes.minorticks_off()
    axes.set_title(title, loc="left", fontsize=9)
    axes.set_xlabel("rows of 384 dimensions")
    axes.grid(color=GREY, alpha=0.25, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    source = Path(sys.argv[1])
    draw(json.loads(source.read_text()), source.with_suffix(".svg"))
