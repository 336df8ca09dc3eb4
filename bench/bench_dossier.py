"""Measure what a finding's page and report cost: the dossier from the store, its pictures, the report. JSON on stdout.

python bench/bench_dossier.py --rows 200000 --findings 200

The baseline in the same run is what such a page cannot do without: the finding with its reviews and exemplars.
"""

import argparse
import json
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from coterie.domain import (
    Evidence,
    Exchange,
    FamilyId,
    FamilyLabels,
    FamilyRecord,
    Finding,
    FindingAccount,
    FindingFamily,
    FindingId,
    FindingKind,
    Run,
    RunId,
    RunState,
    SearchFilter,
    Severity,
    TextField,
    TextId,
)
from coterie.exports import Format, Redaction, write_export, write_report
from coterie.figures import draw
from coterie.server.dossier import Dossiers
from coterie.store import SqliteStore, open_store

DIM = 384
DAYS = 14
DAY_US = 86_400_000_000
START_US = 1_767_225_600_000_000
BATCH = 1_000


def main() -> None:
    """Fill a store, measure, and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=200_000, help="exchanges, 25 an account")
    parser.add_argument("--findings", type=int, default=200)
    parser.add_argument("--looked-at", type=int, default=20, help="findings that are measured")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, open_store(Path(folder) / "store") as store:
        findings = fill(store, options.rows, options.findings, options.seed)
        measured = measure(store, findings[: options.looked_at])
    report = {
        "benchmark": "dossier",
        "machine": {"platform": platform.platform(), "python": platform.python_version()},
        "versions": {"numpy": np.__version__},
        "seed": options.seed,
        "exchanges": options.rows,
        "findings": options.findings,
        "measured": measured,
        "memory_peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    json.dump(report, sys.stdout, indent=2)
    print()


def fill(store: SqliteStore, rows: int, findings: int, seed: int) -> list[Finding]:
    """Exchanges with vectors and families, and a run whose findings hold from 5 to 200 of the accounts each."""
    rng = np.random.default_rng(seed)
    accounts = max(rows // 25, 300)
    store.bind_model("bench", DIM)
    for first in range(0, rows, BATCH):
        store.submit([_exchange(rng, number, accounts) for number in range(first, min(first + BATCH, rows))]).result()
        pending = [text_id for text_id, _ in store.pending_texts(2 * BATCH)]
        vectors = rng.standard_normal((len(pending), DIM)).astype(np.float32)
        store.put_vectors(pending, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    run = Run(RunId("bench"), RunState.RUNNING, 1, since_us=START_US, until_us=START_US + DAYS * DAY_US)
    store.create_run(run)
    found = [_finding(rng, store, number, accounts) for number in range(findings)]
    ids = store.candidate_texts(TextField.PROMPT, SearchFilter(), limit=10 * rows)
    assert ids is not None
    families = tuple(FamilyId(f"family-{number}") for number in range(1_000))
    labels = FamilyLabels(
        ids,
        rng.integers(-1, len(families), len(ids)).astype(np.int32),
        np.ones(len(ids), np.float32),
        np.ones(len(ids), np.int32),
        families,
        np.ones(len(families), np.float32),
    )
    store.finish_run(replace(run, state=RunState.DONE), found, [], FamilyRecord((), labels))
    return found


def _exchange(rng: np.random.Generator, number: int, accounts: int) -> Exchange:
    return Exchange(
        f"e{number}",  # type: ignore[arg-type]
        f"account-{rng.integers(accounts)}",  # type: ignore[arg-type]
        START_US + int(rng.integers(DAYS * DAY_US)),
        f"prompt number {number}",
        attributes={"client": f"sdk-{rng.integers(5)}", "asn": f"AS{rng.integers(200)}"},
    )


def _finding(rng: np.random.Generator, store: SqliteStore, number: int, accounts: int) -> Finding:
    size = int(np.exp(rng.uniform(np.log(5), np.log(200))))
    names = [f"account-{account}" for account in rng.choice(accounts, size, replace=False)]
    texts = store.candidate_texts(TextField.PROMPT, SearchFilter(accounts=tuple(names)), limit=1_000_000)  # type: ignore[arg-type]
    assert texts is not None
    return Finding(
        finding_id=FindingId(f"f{number}"),
        kind=FindingKind.CAMPAIGN,
        severity=Severity.HIGH,
        confidence=0.9,
        title=f"{size} accounts",
        accounts=tuple(FindingAccount(name, 10, 10, 0.5, START_US, START_US + 1) for name in names),  # type: ignore[arg-type]
        families=(FindingFamily(FamilyId("family-1"), 10, 3),),
        benchmarks=(),
        first_seen_us=START_US,
        last_seen_us=START_US + 1,
        evidence=(Evidence("exchangeability", "C/W", 0.99, "innocent", "Nobody can tell.", 1e-6),),
        counter_evidence=(),
        exemplars=("e0", "e1"),  # type: ignore[arg-type]
        text_ids=tuple(TextId(int(text_id)) for text_id in texts[::2]),
        run_id=RunId("bench"),
    )


def measure(store: SqliteStore, findings: list[Finding]) -> dict[str, Any]:
    """CPU and wall seconds of each step, over the findings."""
    dossiers = Dossiers(store, lambda texts: [[] for _ in texts])
    steps: dict[str, list[tuple[float, float]]] = {}

    def timed(name: str, function: Callable[[], Any]) -> Any:
        cpu_s, wall_s = time.process_time(), time.perf_counter()
        result = function()
        steps.setdefault(name, []).append((time.process_time() - cpu_s, time.perf_counter() - wall_s))
        return result

    dossiers.get(findings[0].finding_id, with_text=False)  # detection is imported once in a process
    bytes_of: dict[str, list[int]] = {"pictures": [], "report": []}
    for finding in findings:
        timed("baseline_finding", lambda name=finding.finding_id: _bare(store, name))
        dossier = timed("dossier", lambda name=finding.finding_id: dossiers.get(name, with_text=False))
        figures = timed("pictures", lambda made=dossier: draw(made))
        bytes_of["pictures"].append(sum(len(figure.svg) for figure in figures))
        report = timed(
            "report", lambda made=dossier: write_report([made], redaction=Redaction.STATISTICS, made_us=START_US)
        )
        bytes_of["report"].append(len(report.html))
        for kind in Format:
            timed(f"export_{kind.value}", lambda made=dossier, kind=kind: write_export([made], kind))
    return {
        "accounts": [len(finding.accounts) for finding in findings],
        "seconds": {
            name: {
                "cpu_median": round(statistics.median(cpu for cpu, _ in values), 4),
                "cpu_max": round(max(cpu for cpu, _ in values), 4),
                "wall_median": round(statistics.median(wall for _, wall in values), 4),
            }
            for name, values in steps.items()
        },
        "bytes_max": {name: max(values) for name, values in bytes_of.items()},
    }


def _bare(store: SqliteStore, finding_id: FindingId) -> None:
    finding = store.finding(finding_id)
    store.reviews(finding_id)
    store.exchanges(finding.exemplars)


if __name__ == "__main__":
    main()
