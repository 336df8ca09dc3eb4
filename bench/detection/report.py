"""The results as tables for people, from the JSON files in a folder."""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.detection.bars import bars

Json = dict[str, Any]

METHODS = {
    "coterie": "coterie",
    "plain_hdbscan": "HDBSCAN, five accounts",
    "account_twins": "account twins",
    "communities": "link communities",
    "coaction": "co-action network",
}


def write_report(folder: Path, path: Path) -> None:
    """Write a markdown file of everything that the results files of `folder` hold."""
    lines = [
        "# Detection, measured",
        "Written by `make bench-detection` from `bench/results/detection_*.json`, which hold settings, every seed,",
        "versions and definitions. Intervals are 95 %: bootstrap over seeds, campaigns or crowds.",
    ]
    sources = {group: folder / f"detection_{group}.json" for group in _SECTIONS}
    reports = {group: json.loads(source.read_text()) for group, source in sources.items() if source.exists()}
    lines += ["", *_against_bars(reports)]
    for group, report in reports.items():
        body = [*_SECTIONS[group](report), *_pictures(sources[group], path), *_not_run(report)]
        lines += ["", *_heading(group, report), "", *body]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _against_bars(reports: dict[str, Json]) -> list[str]:
    rows = [
        (bar.name, f"{bar.value:.3f}", f"{'at most' if bar.at_most else 'at least'} {bar.limit:g}", _yes(bar.met))
        for bar in bars(reports)
    ]
    return ["## Against what is meant to be reached", "", *_table(("bar", "measured", "wanted", "met"), rows)]


def _yes(holds: bool) -> str:
    return "yes" if holds else "**no**"


def _heading(group: str, report: Json) -> list[str]:
    machine = report["machine"]
    return [
        f"## {_TITLES[group]}",
        f"`{report['command']}`, split `{report['split']}`, {report['model']}, "
        f"commit {report['git_commit'] or 'unknown'}, {machine['cores']} cores of {machine['cpu']}"
        + (f"; at most {report['accounts_max']} accounts" if report["accounts_max"] else "")
        + ".",
    ]


def _accusations(report: Json) -> list[str]:
    """Every method on every scenario."""
    rows = []
    for name, scenario in _measured(report, "methods"):
        for method, title in METHODS.items():
            scores = scenario["methods"][method]
            rows.append(
                (
                    name if method == "coterie" else "",
                    f"**{title}**" if method == "coterie" else title,
                    _estimate(scores["precision"]),
                    _estimate(scores["recall"]),
                    _estimate(scores["pairwise_f1"]),
                    f"{scores['innocent_accused']:,} of {scores['innocent']:,}",
                )
            )
    head = ("traffic", "method", "account precision", "account recall", "pairwise F1", "innocent accused")
    return [*_table(head, rows), "", *_mmd(report)]


def _mmd(report: Json) -> list[str]:
    rows = []
    for name, scenario in _measured(report, "mmd"):
        for size, test in scenario["mmd"].items():
            mixes = [
                f"{_mix(row)}: {_share(row['flagged'])} of {row['windows']}" for row in test["by_mix"] if row["windows"]
            ]
            rows.append((name, size, "; ".join(mixes), _estimate(test["recall_upper_bound"])))
    title = (
        "The MMD window test (it names no accounts: its recall is an oracle's who knows the guilty of flagged windows):"
    )
    head = ("traffic", "queries of a window", "windows flagged, by share of campaign queries", "recall, upper bound")
    return [title, "", *_table(head, rows)] if rows else []


def _mix(row: Json) -> str:
    return "none" if row["up_to"] == 0 else f"up to {row['up_to']:.1%}"


def _mixes(report: Json) -> list[str]:
    lines = _accusations(report)
    for measure, title in (("recall_by_kind", "kind of list"), ("recall_by_evasion", "way of hiding")):
        rows = [
            (name, part, _estimate(estimate), str(estimate["n"]))
            for name, scenario in _measured(report, measure)
            for part, estimate in scenario[measure].items()
            if name == "hard"
        ]
        if rows:
            lines += ["", *_table(("traffic", title, "mean recall of campaigns", "campaigns"), rows)]
    return [*lines, "", *_false_positives(report, "hard")]


def _null(report: Json) -> list[str]:
    lines = []
    for name, scenario in _measured(report, "methods"):
        findings = scenario["methods"]["coterie"]["findings"]
        lines += [f"{name}: {sum(findings)} campaign findings in {len(findings)} draws.", ""]
    return [*lines, *_accusations(report), "", *_false_positives(report, "null")]


def _false_positives(report: Json, of: str) -> list[str]:
    rows = []
    for name, scenario in _measured(report, "false_positives"):
        if name == of:
            for kind, rate in scenario["false_positives"]["coterie"].items():
                beside = scenario["false_positives"]["plain_hdbscan"][kind]
                rows.append((kind, f"{rate['accounts']:,}", str(rate["n"]), _estimate(rate), _share(beside)))
    head = (f"innocent class ({of})", "accounts", "crowds", "false positives", "HDBSCAN, five accounts")
    return _table(head, rows) if rows else []


def _classes(report: Json) -> list[str]:
    rows = []
    for name, scenario in _measured(report, "false_positives"):
        kind = name.removeprefix("class_")
        rate = scenario["false_positives"]["coterie"].get(kind)
        if rate:
            beside = scenario["false_positives"]["plain_hdbscan"][kind]
            findings = sum(scenario["methods"]["coterie"]["findings"])
            row = (kind, f"{rate['accounts']:,}", str(rate["n"]), _estimate(rate), str(findings), _share(beside))
            rows.append(row)
    head = ("innocent class", "accounts", "crowds", "false positives", "findings", "HDBSCAN, five accounts")
    return _table(head, rows)


def _brief(report: Json) -> list[str]:
    """Coterie with the recall of the baselines beside it, a line a scenario."""
    rows = []
    for name, scenario in _measured(report, "methods"):
        scores = scenario["methods"]
        beside = [
            f"{_share(scores[method]['precision'])} / {_share(scores[method]['recall'])}"
            for method in METHODS
            if method != "coterie"
        ]
        own = [_estimate(scores["coterie"][measure]) for measure in ("precision", "recall", "pairwise_f1")]
        rows.append((name, *own, *beside))
    head = ("traffic", "account precision", "account recall", "pairwise F1")
    return _table((*head, *(f"{title}: P / R" for method, title in METHODS.items() if method != "coterie")), rows)


def _leak(report: Json) -> list[str]:
    rows = [
        (
            name,
            str(len(scenario["campaigns"])),
            _estimate(scenario["found"]),
            _estimate(scenario["share_of_list"]),
            _estimate(scenario["requests_per_account"], 1),
            _estimate(scenario["within_bar"]),
        )
        for name, scenario in _measured(report, "campaigns")
    ]
    head = (
        "traffic",
        "campaigns",
        "found",
        "share of the list leaked",
        "requests an account leaked",
        "by 5 % or 15 requests",
    )
    return _table(head, rows)


def _ablation(report: Json) -> list[str]:
    rows = []
    for name, scenario in _measured(report, "without"):
        for condition, scores in scenario["without"].items():
            wrong = f"{scores['innocent_accused']:,} of {scores['innocent']:,}"
            own = [_estimate(scores[measure]) for measure in ("precision", "recall", "pairwise_f1")]
            rows.append((name, condition, *own, str(sum(scores["findings"])), wrong))
    head = ("traffic", "without", "account precision", "account recall", "pairwise F1", "findings", "innocent accused")
    left = report["parameters_without_ablation"]
    return [*_table(head, rows), *([f"\nParameters that no line turns: {', '.join(left)}."] if left else [])]


def _calibration(report: Json) -> list[str]:
    p_values, nearest, confidence = report["p_values"], report["nearest_p_values"], report["confidence"]
    levels = [
        (f"{row['at']:g}", _estimate(row["share"]), _yes(row["holds"]), _estimate(near["share"]))
        for row, near in zip(p_values["levels"], nearest["levels"], strict=True)
    ]
    bins = [
        (
            f"{row['from']:g} to {row['to']:g}",
            str(row["findings"]),
            f"{row['confidence']:.3f}",
            _estimate(row["right"]),
            _estimate(row["accounts_right"]),
        )
        for row in confidence["bins"]
        if row["findings"]
    ]
    return [
        f"P-values of {p_values['tested']:,} hypotheses (groups of pools about the same customers) in "
        f"{p_values['windows']} windows without campaigns. Beside them {nearest['tested']:,} pools that came nearest "
        "to accusing somebody, each the least of many, and crowds among them that were refused for what they repeat.",
        "",
        *_table(("a", "P(p <= a)", "at most a, within the interval", "of the nearest pools"), levels),
        "",
        *_table(("confidence", "findings", "mean", "share right", "share of accounts right"), bins),
    ]


def _scale(report: Json) -> list[str]:
    rows = [
        (
            f"{run['exchanges']:,}",
            f"{run['accounts']:,}",
            f"{run['texts']:,}",
            f"{run['wall_s']:.1f}",
            f"{run['cpu_s']:.1f}",
            f"{run['peak_gb']:.2f}",
            f"{run['held_before_gb']:.2f}",
        )
        for _, scenario in _measured(report, "runs")
        for run in scenario["runs"]
    ]
    head = ("exchanges", "accounts", "texts", "wall s", "CPU s", "peak GB", "GB held before")
    shown = {name: "unknown" if value is None else f"{value:.2f}" for name, value in report["exponents"].items()}
    return [
        *_table(head, rows),
        "",
        f"Growth exponent over exchanges: CPU {shown['cpu_s']}, memory above what was held {shown['memory_gb']}.",
    ]


def _measured(report: Json, key: str) -> Iterable[tuple[str, Json]]:
    return [(name, scenario) for name, scenario in report["scenarios"].items() if key in scenario]


def _not_run(report: Json) -> list[str]:
    scenarios: Json = report.get("scenarios", {})
    rows = [f"- {name}: not run, {reason}" for name, one in scenarios.items() for reason in one["not_run"]]
    return ["", *rows] if rows else []


def _pictures(source: Path, report: Path) -> list[str]:
    picture = source.with_suffix(".svg")
    if not picture.exists():
        return []
    return ["", f"![{source.stem.replace('_', ' ')}]({os.path.relpath(picture, report.parent)})"]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [_row(head), _row(["---"] * len(head)), *map(_row, rows)]


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _estimate(estimate: Json | None, places: int = 3) -> str:
    if not estimate:
        return ""
    if estimate["n"] == 1:
        return f"{estimate['value']:.{places}f}"
    low, high = f"{estimate['low']:.{places}f}", f"{estimate['high']:.{places}f}"
    return f"{estimate['value']:.{places}f} ({low} to {high})"


def _share(estimate: Json | None) -> str:
    return f"{estimate['value']:.3f}" if estimate else "–"


_SECTIONS: dict[str, Callable[[Json], list[str]]] = {
    "mixes": _mixes,
    "null": _null,
    "classes": _classes,
    "evasions": _brief,
    "curves": _brief,
    "leak": _leak,
    "calibration": _calibration,
    "ablation": _ablation,
    "scale": _scale,
}
_TITLES = {
    "mixes": "Mixes",
    "null": "Traffic without a campaign",
    "classes": "Innocent classes",
    "evasions": "Ways of hiding",
    "curves": "Curves",
    "leak": "First finding, re-clustered hourly",
    "calibration": "Calibration",
    "ablation": "Ablation",
    "scale": "Scale",
}
