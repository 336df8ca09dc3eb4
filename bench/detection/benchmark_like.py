"""Whose queries are reported as a benchmark-like run or family: by class of the innocent, and by campaign.

Only this step of detection is run, with nobody accused before it, so that it sees everything. A run is right where the
customer is a researcher or a lab, who evaluate openly, or a member of a campaign; a family where nine in ten of its
exchanges are theirs.

    python -m bench.detection.benchmark_like --corpus ../shared/data --cache build/bench-vectors --seeds 1 2 3 4
"""

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.detection.trial import Trial
from bench.detection.vectors import VectorCache
from coterie.detection import Parameters, stripped_texts
from coterie.detection.benchmark_like import find_benchmark_like
from coterie.detection.families import find_families
from coterie.detection.pools import find_principals
from coterie.detection.text_facts import TextFacts
from coterie.domain import Window
from coterie.simulation import Config

OPEN = ("researcher", "lab")
"""Classes that evaluate openly."""

RIGHT_SHARE = 0.9


def measure(window: Window, truth: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Counts of one window: customers by class, those with a run, and each family's texts and classes."""
    principals = find_principals(window)
    cores = stripped_texts(window.texts, window.raw.text, window.rows.account)
    started_s = time.process_time()
    nobody = np.zeros(principals.count, bool)
    family = families_of(window)
    found = find_benchmark_like(window, principals, TextFacts(window, cores, seed=0), family, (), nobody, Parameters())
    kinds = [truth[account] for account in window.rows.account_ids]
    name = [entry["kind"] if entry["label"] == "benign" else f"! {entry['kind']}" for entry in kinds]
    of_principal = dict(zip(principals.of_account.tolist(), name, strict=True))
    return {
        "customers": Counter(of_principal.values()),
        "runs": Counter(of_principal[run.principal] for run in found.runs),
        "families": [
            {
                "texts": len(np.unique(window.raw.text[one.rows])),
                "exchanges": Counter(name[row] for row in window.rows.account[one.rows].tolist()),
            }
            for one in found.scattered
        ],
        "cpu_s": time.process_time() - started_s,
        "texts": len(window.texts),
    }


def families_of(window: Window) -> NDArray[np.int32]:
    """int32[m]: the stripped view's family of each raw text, as a run finds them."""
    view = window.views["stripped"]
    held = view.text >= 0
    sizes = np.bincount(view.text[held], minlength=len(view.vectors)).astype(np.int64)
    parameters = Parameters()
    families = find_families(
        view.graph,
        np.maximum(sizes, 1),
        min_samples=parameters.min_samples,
        min_cluster_size=parameters.min_cluster_size,
    )
    found = np.full(len(window.texts), -1, np.int32)
    found[window.raw.text[held]] = families.label[view.text[held]]
    return found


def summary(windows: list[dict[str, Any]]) -> dict[str, Any]:
    """Runs and families over all windows, and how many of them are right."""
    customers: Counter[str] = sum((one["customers"] for one in windows), Counter())
    runs: Counter[str] = sum((one["runs"] for one in windows), Counter())
    families = [family for one in windows for family in one["families"]]
    right = [
        sum(n for name, n in family["exchanges"].items() if _is_right(name))
        >= RIGHT_SHARE * family["exchanges"].total()
        for family in families
    ]
    return {
        "windows": len(windows),
        "runs": {name: [runs[name], customers[name]] for name in sorted(customers) if runs[name]},
        "runs_right": [sum(n for name, n in runs.items() if _is_right(name)), runs.total()],
        "innocent_customers": sum(n for name, n in customers.items() if not _is_right(name)),
        "families": [[family["texts"], dict(family["exchanges"].most_common(3))] for family in families],
        "families_right": [sum(right), len(families)],
        "cpu_ms_a_thousand_texts": round(1e6 * sum(o["cpu_s"] for o in windows) / sum(o["texts"] for o in windows), 1),
    }


def _is_right(name: str) -> bool:
    return name in OPEN or name.startswith("!")


def main() -> None:
    """Measure every mix; JSON on stdout."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, default=None)
    parser.add_argument("--cache", type=Path, default=Path("build/bench-vectors"))
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--split", default="tune")
    parser.add_argument("--mixes", nargs="+", default=["null", "easy", "hard"])
    parser.add_argument("--accounts", type=int, default=400)
    parser.add_argument("--crowds", nargs="+", default=None, help="innocent classes instead of the mix's")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options = parser.parse_args()
    cache = VectorCache(options.cache, options.model)
    report: dict[str, Any] = {"arguments": {name: str(value) for name, value in vars(options).items()}}
    for mix in options.mixes:
        windows = []
        for seed in options.seeds:
            config = Config(
                options.corpus,
                options.accounts,
                mix,
                seed=seed,
                split=options.split,
                responses=0.0,
                crowds=options.crowds and tuple(options.crowds),
            )
            trial = Trial(config, cache)
            windows.append(measure(trial.window, trial.traffic.truth))
            print(f"{mix} {seed}: {windows[-1]['runs']} {len(windows[-1]['families'])} families", file=sys.stderr)
        report[mix] = summary(windows)
    json.dump(report, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
