"""From the outcomes of many draws to figures with intervals."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

from bench.cluster.quality import growth_exponent
from bench.detection.intervals import Interval, mean_interval, ratio_interval, share_interval
from bench.detection.jobs import Outcome
from bench.detection.scenarios import Scenario
from coterie.simulation import ClassScore

Json = dict[str, Any]

LEVELS = (0.01, 0.05, 0.1)
CONFIDENCE_EDGES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
LEAK_SHARE_MAX = 0.05
LEAK_REQUESTS_MAX = 15.0
SEEN_IN_SEED = ("account_precision", "account_recall", "pairwise_f1", "findings", "accused", "accused_guilty", "guilty")

DEFINITIONS = {
    "precision": "share of the accused accounts that belong to a campaign; 1 where nobody is accused; mean over seeds",
    "recall": "share of the accounts of campaigns that are accused; mean over seeds",
    "pairwise_f1": "F1 over pairs of accounts in one finding and pairs of one campaign; mean over seeds",
    "recall_by_kind, recall_by_evasion": "mean over campaigns of the share of their accounts that are accused",
    "false_positives": "share of a class's accounts that are accused; interval by crowd as `coterie evaluate` has it",
    "interval": "95 %, percentile bootstrap over n seeds, windows or campaigns; where n is 1 there is none",
    "mmd": "windows flagged, by their share of campaign queries; recall_upper_bound is that of an oracle which knows "
    "the guilty of every flagged window, for the test names no accounts",
    "share_of_list": "of all requests of a campaign, those sent before the first hourly run that shows it",
    "within_bar": "first shown by the later of 5 % of the list and 15 requests an account",
    "p_values": "of the hypotheses whose false discoveries are controlled, in traffic without campaigns: a group of "
    "pools about the same customers by its clearest pool, 1 where all are refused for other reasons",
    "nearest_p_values": "of the pools nearest to accusing anybody, likewise, refused or not: each the least of many",
    "confidence": "a finding is right when at least half of its accounts are of one campaign",
    "job_cpu_s": "CPU seconds of a draw: composing, embedding what was not in the cache, graph, all methods",
    "peak_gb": "most memory held while detection ran, in 10^9 bytes, libraries and window included",
    "exponent": "slope of log CPU seconds over log exchanges, accounts growing alike, by least squares",
}


def summarise(scenario: Scenario, outcomes: Sequence[Outcome]) -> Json:
    """One scenario: its settings, what each seed gave, and figures over all of them."""
    done = sorted((one for one in outcomes if one.result is not None), key=lambda one: one.job.seed)
    results = [one.result for one in done if one.result is not None]
    summary: Json = {
        "settings": dict(scenario.settings),
        "at": scenario.at,
        "seeds": [one.job.seed for one in done],
        "n": {"exchanges": [r["exchanges"] for r in results], "accounts": [r["accounts"] for r in results]},
        "job_cpu_s": [r["job_cpu_s"] for r in results],
        "not_run": sorted({one.reason for one in outcomes if one.result is None}),
    }
    makers = {"score": _scored, "ablation": _ablated, "leak": _leaked, "scale": _scaled}
    return {**summary, **makers[scenario.measure](results)} if results else summary


def _scored(results: list[Json]) -> Json:
    methods = {name: _method([r["methods"][name] for r in results]) for name in results[0]["methods"]}
    coterie = [r["methods"]["coterie"] for r in results]
    campaigns = [campaign for scores in coterie for campaign in scores["campaigns"]]
    return {
        "methods": methods,
        "recall_by_kind": _by(campaigns, lambda kind: [kind.partition("/")[0]]),
        "recall_by_evasion": _by(campaigns, lambda kind: (kind.partition("/")[2] or "none").split("+")),
        "false_positives": {
            name: _false_positives([r["methods"][name] for r in results]) for name in ("coterie", "plain_hdbscan")
        },
        "mmd": {size: _mmd([r["mmd"][size] for r in results]) for size in results[0]["mmd"]},
        "detect_cpu_s": [r["detect_cpu_s"] for r in results],
        "by_seed": [
            {name: {key: scores[key] for key in SEEN_IN_SEED} for name, scores in r["methods"].items()} for r in results
        ],
        "campaigns": campaigns,
    }


def _method(scores: list[Json]) -> Json:
    return {
        "precision": _json(mean_interval([s["account_precision"] for s in scores])),
        "recall": _json(mean_interval([s["account_recall"] for s in scores if s["guilty"]])),
        "pairwise_f1": _json(mean_interval([s["pairwise_f1"] for s in scores if s["guilty"]])),
        "findings": [s["findings"] for s in scores],
        "accused": sum(s["accused"] for s in scores),
        "innocent_accused": sum(s["accused"] - s["accused_guilty"] for s in scores),
        "innocent": sum(s["accounts"] - s["guilty"] for s in scores),
    }


def _by(campaigns: list[Json], parts: Callable[[str], list[str]]) -> Json:
    recalls: dict[str, list[float]] = defaultdict(list)
    for campaign in campaigns:
        for part in parts(campaign["kind"]):
            recalls[part].append(campaign["recall"])
    return {name: _json(mean_interval(values)) for name, values in sorted(recalls.items())}


def _false_positives(scores: list[Json]) -> Json:
    crowds: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for one in scores:
        for kind, found in one["crowds"].items():
            crowds[kind] += [(size, accused) for size, accused in found]
    return {kind: _crowd_rate(ClassScore(kind, tuple(found))) for kind, found in sorted(crowds.items())}


def _crowd_rate(found: ClassScore) -> Json:
    rate = Interval(found.false_positive_rate, *found.interval, len(found.crowds))
    return {**rate.to_json(), "accounts": found.accounts, "crowds_accused": found.crowds_accused}


def _mmd(tests: list[Json]) -> Json:
    mixes = []
    for number, row in enumerate(tests[0]["by_mix"]):
        windows = [test["by_mix"][number]["windows"] for test in tests]
        flagged = [test["by_mix"][number]["flagged"] for test in tests]
        mixes.append(
            {
                "above": row["above"],
                "up_to": row["up_to"],
                "windows": sum(windows),
                "flagged": _json(ratio_interval(flagged, windows)),
            }
        )
    bounds = [test["recall_upper_bound"] for test in tests if test["recall_upper_bound"] is not None]
    return {"by_mix": mixes, "recall_upper_bound": _json(mean_interval(bounds))}


def _ablated(results: list[Json]) -> Json:
    names = [name for name in results[0]["without"] if all(name in r["without"] for r in results)]
    return {"without": {name: _without([r["without"][name] for r in results]) for name in names}}


def _without(runs: list[Json]) -> Json:
    return {
        "precision": _json(mean_interval([run["account_precision"] for run in runs])),
        "recall": _json(mean_interval([run["account_recall"] for run in runs if run["guilty"]])),
        "pairwise_f1": _json(mean_interval([run["pairwise_f1"] for run in runs if run["guilty"]])),
        "findings": [run["findings"] for run in runs],
        "innocent_accused": sum(run["accused"] - run["accused_guilty"] for run in runs),
        "innocent": sum(run["innocent"] for run in runs),
    }


def _leaked(results: list[Json]) -> Json:
    campaigns = [campaign for r in results for campaign in r["campaigns"]]
    seeds = [r["campaigns"] for r in results]
    return {
        "found": _share_over_seeds(seeds, lambda c: c["found_at_hour"] is not None),
        "within_bar": _share_over_seeds(seeds, _within_bar),
        "share_of_list": _mean_over_seeds(seeds, "share_of_list"),
        "requests_per_account": _mean_over_seeds(seeds, "requests_leaked_per_account"),
        "campaigns": campaigns,
        "hours_tried": [r["hours_tried"] for r in results],
    }


def _within_bar(campaign: Json) -> bool:
    small = campaign["share_of_list"] <= LEAK_SHARE_MAX or campaign["requests_leaked_per_account"] <= LEAK_REQUESTS_MAX
    return campaign["found_at_hour"] is not None and small


def _share_over_seeds(seeds: list[list[Json]], holds: Callable[[Json], bool]) -> Json | None:
    return _json(ratio_interval([sum(map(holds, found)) for found in seeds], [len(found) for found in seeds]))


def _mean_over_seeds(seeds: list[list[Json]], name: str) -> Json | None:
    return _json(ratio_interval([sum(c[name] for c in found) for found in seeds], [len(found) for found in seeds]))


def _scaled(results: list[Json]) -> Json:
    return {"runs": results}


def scale_exponents(scenarios: Json) -> Json:
    """Growth over the sizes that were run, of CPU seconds and of memory above what was held before."""
    runs = [run for scenario in scenarios.values() for run in scenario.get("runs", [])]
    rows = [run["exchanges"] for run in runs]
    return {
        "cpu_s": growth_exponent(rows, [max(run["cpu_s"], 1e-3) for run in runs]),
        "memory_gb": growth_exponent(rows, [max(run["peak_gb"] - run["held_before_gb"], 1e-3) for run in runs]),
    }


def calibrate(outcomes: Iterable[Outcome]) -> Json:
    """Calibration of p-values (on traffic without campaigns) and of confidence (on all), each draw once."""
    distinct = {
        (json.dumps(dict(one.job.scenario.settings), sort_keys=True), one.job.seed): one.result
        for one in outcomes
        if one.result is not None and one.job.scenario.measure == "score"
    }
    results = list(distinct.values())
    innocent = [r for r in results if r["p_values"] and not r["methods"]["coterie"]["guilty"]]
    return {
        "p_values": _p_calibration([r["p_values"] for r in innocent]),
        "nearest_p_values": _p_calibration([r["nearest_p_values"] for r in innocent]),
        "confidence": _confidence([f for r in results for f in r["findings"]]),
    }


def _p_calibration(windows: list[list[float]]) -> Json:
    """P(p <= a), intervals over windows: the hypotheses and pools of one window hang together."""
    sizes = [len(values) for values in windows]
    levels = []
    for level in LEVELS:
        below = ratio_interval([sum(value <= level for value in values) for values in windows], sizes)
        levels.append({"at": level, "share": _json(below), "holds": below is None or below.low <= level})
    values = sorted(value for window in windows for value in window)
    steps = [(number + 1) / 100 for number in range(100)]
    return {
        "tested": len(values),
        "windows": len(windows),
        "levels": levels,
        "curve": {"p": steps, "share": [sum(v <= step for v in values) / max(1, len(values)) for step in steps]},
    }


def _confidence(findings: list[Json]) -> Json:
    """Bins of confidence against the share of findings that are right, and the Brier score of it all."""
    bins = []
    for low, high in pairwise(CONFIDENCE_EDGES):
        inside = [f for f in findings if low <= f["confidence"] < high or (high == 1.0 and f["confidence"] == 1.0)]
        right = [_is_right(f) for f in inside]
        bins.append(
            {
                "from": low,
                "to": high,
                "findings": len(inside),
                "confidence": round(sum(f["confidence"] for f in inside) / len(inside), 4) if inside else None,
                "right": _json(share_interval(sum(right), len(right))),
                "accounts_right": _json(
                    ratio_interval([f["of_one_campaign"] for f in inside], [f["accounts"] for f in inside])
                ),
            }
        )
    brier = [(f["confidence"] - _is_right(f)) ** 2 for f in findings]
    return {"findings": len(findings), "bins": bins, "brier": round(sum(brier) / len(brier), 4) if brier else None}


def _is_right(finding: Json) -> bool:
    return 2 * int(finding["of_one_campaign"]) >= int(finding["accounts"])


def _json(interval: Interval | None) -> Json | None:
    return interval.to_json() if interval else None
