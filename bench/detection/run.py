"""Detection judged: coterie beside five baselines on composed traffic that no choice was made on.

    python -m bench.detection.run --scenarios mixes null --seeds 1 2

Everything is kept in the cache folder as it is done, so an interrupted run goes on where it was. Writes
bench/results/detection_GROUP.json, pictures beside them, and bench/detection/RESULTS.md from all there is.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, get_args

from bench.cluster.run import machine
from bench.detection.ablations import ablations, uncovered
from bench.detection.jobs import (
    ROOT,
    Job,
    Outcome,
    Setting,
    code_version,
    known,
    limits_for,
    run_jobs,
    text_version,
    versions,
)
from bench.detection.plot import draw_all
from bench.detection.report import write_report
from bench.detection.scenarios import Scenario, chosen
from bench.detection.summaries import DEFINITIONS, calibrate, scale_exponents, summarise
from coterie.embedder import DEFAULT_MODEL
from coterie.simulation import Split

RESULTS = ROOT / "bench" / "results"


def main() -> None:
    """Run what the command line asks for."""
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    options = _options()
    try:
        scenarios = chosen(options.scenarios)
    except ValueError as error:
        sys.exit(str(error))
    setting = Setting(options.corpus, options.split, options.model, options.cache, options.accounts_max)
    jobs = [Job(scenario, seed) for scenario in scenarios for seed in _seeds(scenario, options.seeds)]
    outcomes = _run(jobs, setting, options.workers)
    write_results(scenarios, outcomes, setting, options.out)
    draw_all(options.out)
    report = ROOT / "bench" / "detection" / "RESULTS.md" if options.out == RESULTS else options.out / "RESULTS.md"
    write_report(options.out, report)
    print(f"wrote {options.out}/detection_*.json and {report}")


def _run(jobs: list[Job], setting: Setting, workers: int) -> list[Outcome]:
    """All jobs, with a line of progress for each that took time."""
    outcomes: list[Outcome] = []
    begun_s = time.monotonic()
    left, done = sum(map(_weight, jobs)), 0.0
    for outcome in run_jobs(jobs, setting, workers):
        outcomes.append(outcome)
        left -= _weight(outcome.job)
        if not outcome.cached and outcome.result is not None:
            done += _weight(outcome.job)
        _tell(outcome, len(outcomes), len(jobs), (time.monotonic() - begun_s) * left / max(done, 1e-9))
    return outcomes


def _weight(job: Job) -> float:
    """About how long a job takes, in accounts of an ordinary one: what the time left is reckoned by."""
    settings = job.scenario.settings
    accounts = settings.get("accounts", 400) * settings.get("background", 1.0)
    return float(accounts * {"score": 1, "ablation": 4, "leak": 10, "scale": 1}[job.scenario.measure])


def _tell(outcome: Outcome, number: int, total: int, left_s: float) -> None:
    name = f"[{number}/{total}] {outcome.job.scenario.name} seed {outcome.job.seed}:"
    if outcome.result is None:
        print(f"{name} not run: {outcome.reason}", file=sys.stderr, flush=True)
        return
    told = "known" if outcome.cached else f"{outcome.result['exchanges']:,} exchanges"
    if "methods" in outcome.result:
        scores = outcome.result["methods"]["coterie"]
        told += f", precision {scores['account_precision']:.3f}, recall {scores['account_recall']:.3f}"
    if not outcome.cached:
        told += f"; about {left_s / 60:,.0f} min left"
    print(f"{name} {told}", file=sys.stderr, flush=True)


def write_results(scenarios: list[Scenario], outcomes: list[Outcome], setting: Setting, out: Path) -> None:
    """A file for each group that was asked for, and one for calibration over all of them."""
    out.mkdir(parents=True, exist_ok=True)
    by_name: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_name[outcome.job.scenario.name].append(outcome)
    groups: dict[str, dict[str, Any]] = defaultdict(dict)
    for scenario in scenarios:
        groups[scenario.group][scenario.name] = summarise(scenario, by_name[scenario.name])
    head = _head(setting)
    for group, found in groups.items():
        path = out / f"detection_{group}.json"
        scenarios_held = {**_earlier(path, head), **found}
        content: dict[str, Any] = {**head, "group": group, "scenarios": scenarios_held}
        if group == "scale":
            content["exponents"] = scale_exponents(scenarios_held)
        if group == "ablation":
            content["ablations"] = {name: _changed(name) for name in ablations()}
            content["parameters_without_ablation"] = uncovered()
        _write(path, content)
    # Over all that is kept, for groups may have been run one by one.
    kept = [known(Job(scenario, seed), setting) for scenario in chosen(None) for seed in _seeds(scenario, None)]
    calibration = calibrate([*outcomes, *(outcome for outcome in kept if outcome is not None)])
    if calibration["p_values"]["tested"] or calibration["confidence"]["findings"]:
        _write(out / "detection_calibration.json", {**head, "group": "calibration", **calibration})


def _head(setting: Setting) -> dict[str, Any]:
    return {
        "command": shlex.join(["python", "-m", "bench.detection.run", *sys.argv[1:]]),
        "git_commit": _git_commit(),
        "code": code_version(),
        "text": text_version(setting.corpus),
        "split": setting.split,
        "model": setting.model,
        "accounts_max": setting.accounts_max,
        "machine": machine(),
        "versions": versions(),
        "limits": limits_for(setting).to_json(),
        "definitions": DEFINITIONS,
    }


def _earlier(path: Path, head: dict[str, Any]) -> dict[str, Any]:
    """The scenarios of an earlier run of the same code on the same text; none where anything differs."""
    if not path.exists():
        return {}
    held = json.loads(path.read_text())
    same = all(held.get(key) == head[key] for key in ("code", "text", "split", "model", "accounts_max", "versions"))
    scenarios: dict[str, Any] = held["scenarios"] if same else {}
    return scenarios


def _git_commit() -> str:
    """The commit, and `-dirty` where the tree differs from it; empty outside of a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _changed(name: str) -> dict[str, float]:
    from coterie.detection import Parameters

    usual, changed = Parameters().as_dict(), ablations()[name].as_dict()
    return {key: value for key, value in changed.items() if value != usual[key]}


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")


def _seeds(scenario: Scenario, asked: list[int] | None) -> list[int]:
    return asked or list(range(1, scenario.seeds + 1))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found = Path(os.environ.get("COTERIE_CORPUS") or ROOT.parent / "shared" / "data")
    corpus = found if found.is_dir() else None
    parser.add_argument("--corpus", type=_corpus, default=corpus, help="folder; `builtin` for built-in text")
    parser.add_argument("--scenarios", nargs="+", help="names or groups, * matches anything; all without it")
    parser.add_argument("--seeds", type=int, nargs="+", help="those of every scenario; 1 to 5 (null: 20) without it")
    parser.add_argument(
        "--split", default="test", choices=get_args(Split), help="half of the text; tuning was on `tune`"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "bench-cache", help="vectors and results")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of results and pictures")
    parser.add_argument("--accounts-max", type=int, default=None, help="smaller traffic, to try things out")
    options = parser.parse_args()
    if options.workers < 1:
        parser.error("--workers must be at least 1")
    return options


def _corpus(text: str) -> Path | None:
    return None if text == "builtin" else Path(text)


if __name__ == "__main__":
    main()
