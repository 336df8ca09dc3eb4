"""The report as tables on the terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table

from bench.cluster.data import BANDS

_COLUMNS = (
    *("engine", "CPU s", "wall s", "first\ncall s", "peak\nGB", "clusters", "ARI", "graph recall\nall / members"),
    *("families found\nall: loose medium tight", "purity", "background\nclustered"),
)


def print_tables(report: dict[str, Any], console: Console | None = None) -> None:
    """A table for each number of rows and seed, then growth and the living graph."""
    console = console or Console(width=None if Console().is_terminal else 150)
    runs = report["runs"]
    for n, seed in dict.fromkeys((run["n"], run["seed"]) for run in runs):
        table = Table(title=f"{n:,} rows, seed {seed}", title_justify="left")
        for column in _COLUMNS:
            table.add_column(column, justify="left" if column == "engine" else "right", no_wrap=True)
        here = [run for run in runs if (run["n"], run["seed"]) == (n, seed)]
        for run in here:
            if run["status"] == "ok":
                table.add_row(*_cells(run))
        console.print(table)
        for run in here:
            if run["status"] != "ok":
                console.print(f"{run['engine']}: {run['status']}: {run['reason']}", highlight=False, markup=False)
    for name, fit in report["exponents"].items():
        console.print(f"{name}: CPU seconds grow with rows^{fit['exponent']:.2f}", highlight=False)
    for library, cold in report["cold"].items():
        console.print(
            f"{library}: first call with nothing compiled {_number(cold.get('wall_s'), 1)} s", highlight=False
        )
    for run in report["living"]:
        console.print(_living(run), highlight=False, markup=False)


def _cells(run: dict[str, Any]) -> list[str]:
    quality = run["quality"]
    recall = quality.get("family_recall", {})
    graph = quality.get("graph_recall", {})
    return [
        run["engine"],
        _number(run["cpu_s"], 2),
        _number(run["wall_s"], 2),
        _number(run["first_call_s"], 1),
        _number(run["peak_gb"], 2),
        "" if run["clusters"] is None else f"{run['clusters']:,}",
        _number(quality.get("ari"), 3),
        f"{_number(graph.get('all'), 3)} / {_number(graph.get('family'), 3)}" if graph else "",
        f"{_number(recall['all'], 3)}: {' '.join(_number(recall[band], 2) for band in BANDS)}" if recall else "",
        _number(quality.get("purity"), 3),
        _number(quality.get("background_clustered"), 3),
    ]


def _living(run: dict[str, Any]) -> str:
    title = f"living graph, {run['n']:,} rows, seed {run['seed']}: "
    if run["status"] != "ok":
        return f"{title}{run['status']}: {run['reason']}"
    growth = run["growth"]
    told = (
        f"{title}run with {growth['new']:,} new rows {_both(growth['run'])}, from scratch {_both(growth['scratch'])}, "
        f"ARI between them {growth['ari_to_scratch']:.3f}"
    )
    if run["churn"] is None:
        return told
    last = run["churn"]["rounds"][-1]
    return (
        f"{told}; after {last['round']} rounds of removing and adding "
        f"recall {last['graph_recall']['all']:.3f}, built anew {last['fresh_graph_recall']['all']:.3f}"
    )


def _both(cost: dict[str, float]) -> str:
    return f"{cost['wall_s']:.2f} s ({cost['cpu_s']:.2f} CPU s)"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"
