"""Who is accused, rightly and wrongly: coterie beside plain HDBSCAN on the same traffic, vectors and graph.

The baseline is what topic clustering gives: HDBSCAN families of the prompts, and every account in a family that at
least five accounts share is accused.

    python bench/bench_detection.py --corpus ../shared/data --mix easy --seeds 1 2 3 > bench/results/detection.json
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from coterie.detection.families import find_families
from coterie.domain import FindingKind, Lineage
from coterie.index import neighbour_graph
from coterie.server import Config, Engine
from coterie.simulation import Config as Scenario
from coterie.simulation import Traffic, simulate

BASELINE_ACCOUNTS_MIN = 5
BATCH = 500


def main() -> None:
    """Run every seed and write one JSON object to stdout."""
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=None, help="corpus folder; built-in text without it")
    parser.add_argument("--accounts", type=int, default=400)
    parser.add_argument("--mix", choices=("easy", "hard", "null"), default="easy")
    parser.add_argument("--cover", type=float, default=0.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    options = parser.parse_args()
    runs = []
    for seed in options.seeds:
        traffic = simulate(
            Scenario(corpus=options.corpus, accounts=options.accounts, mix=options.mix, cover=options.cover, seed=seed)
        )
        runs.append({"seed": seed, **measure(traffic, options.model)})
        print(json.dumps(runs[-1]), file=sys.stderr)
    machine = {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    versions = {name: version(name) for name in ("torch", "faiss-cpu", "fast_hdbscan", "hdbscan")}
    arguments = {name: str(value) for name, value in vars(options).items()}
    json.dump({"arguments": arguments, "machine": machine, "versions": versions, "runs": runs}, sys.stdout, indent=1)


def measure(traffic: Traffic, model: str) -> dict[str, Any]:
    """Both methods on one window."""
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine.open(Config(data_dir=Path(folder), model=model, lazy_model=True, log_level="error"))
        try:
            for start in range(0, len(traffic.events), BATCH):
                engine.ingest(traffic.events[start : start + BATCH]).result()
            run = engine.start_run(None, None)
            while not run.state.finished:
                time.sleep(0.2)
                run = engine.run(run.run_id)
            _, findings = engine.findings()
            accused = {
                account.account_id
                for finding in findings
                if finding.kind is FindingKind.CAMPAIGN and finding.lineage is not Lineage.GONE
                for account in finding.accounts
            }
            baseline = plain_hdbscan(engine)
        finally:
            engine.close()
    return {
        "exchanges": len(traffic.events),
        "accounts": len(traffic.truth),
        "coterie": score(accused, traffic),
        "plain_hdbscan": score(baseline, traffic),
        "seconds": {name: round(value, 2) for name, value in sorted(run.measures.items()) if name.endswith("_s")},
    }


def plain_hdbscan(engine: Engine) -> set[str]:
    """The accounts in a family of prompts that five or more accounts share."""
    store = engine.store
    rows = store.window()
    texts, text = np.unique(rows.prompt, return_inverse=True)
    graph = neighbour_graph(store.vectors(texts), 30)
    families = find_families(graph, np.bincount(text), min_samples=5, min_cluster_size=10)
    label = families.label[text]
    pairs = np.unique(np.column_stack((label[label >= 0], rows.account[label >= 0])), axis=0)
    shared = np.bincount(pairs[:, 0], minlength=families.count) >= BASELINE_ACCOUNTS_MIN
    return {rows.account_ids[account] for account in np.unique(pairs[shared[pairs[:, 0]], 1])}


def score(accused: set[str], traffic: Traffic) -> dict[str, Any]:
    """Account precision and recall, and who was wrongly accused by class; precision is 1 where nobody is accused."""
    guilty = {account for account, truth in traffic.truth.items() if truth["label"] != "benign"}
    right = len(accused & guilty)
    wrong = Counter(traffic.truth[account]["kind"] for account in accused - guilty)
    return {
        "accused": len(accused),
        "precision": round(right / len(accused), 4) if accused else 1.0,
        "recall": round(right / len(guilty), 4) if guilty else 1.0,
        "wrongly_accused": dict(wrong.most_common()),
    }


if __name__ == "__main__":
    main()
