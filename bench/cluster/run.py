"""Clustering at scale: coterie beside hdbscan, scikit-learn, fast_hdbscan and EVoC, on the same vectors.

    python -m bench.cluster.run --sizes 10000,50000 --engines coterie,fast_hdbscan,evoc --seeds 0,1

Every engine and size runs in a process of its own, one after another. Writes bench/results/cluster.json after each of
them, then cluster.svg beside it, and prints a table. An engine that fails, takes too long or too much memory is
recorded as such. Real vectors are embedded once (a few minutes) and kept in build/bench.
"""

import argparse
import json
import os
import platform
import shlex
import shutil
import sys
import tempfile
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.cluster.data import World, grow, real_vectors
from bench.cluster.engines import ENGINES
from bench.cluster.judge import Judge
from bench.cluster.plot import draw
from bench.cluster.processes import ROOT, Limits, run_job
from bench.cluster.quality import DEFINITIONS, growth_exponent, sample_of
from bench.cluster.tables import print_tables
from bench.cluster.worker import Job

LIVING = "living"
REAL_ROWS = 60_000
PACKAGES = (
    *("coterie", "evoc", "faiss-cpu", "faiss-gpu-cuvs", "fast_hdbscan", "hdbscan", "llvmlite", "numba", "numpy"),
    *("pynndescent", "scikit-learn", "scipy", "torch"),
)


def main() -> None:
    """Run what the command line asks for."""
    options = _options()
    report: dict[str, Any] = {
        "commands": [shlex.join(["python", "-m", "bench.cluster.run", *sys.argv[1:]])],
        "machine": machine(),
        "versions": versions(),
        "parameters": {name: dict(engine.parameters) for name, engine in ENGINES.items()},
        "definitions": DEFINITIONS,
        "cold": {},
        "runs": [],
        "living": [],
        "exponents": {},
    }
    if options.add and options.out.exists():
        earlier = json.loads(options.out.read_text())
        earlier["commands"] += report["commands"]
        report = earlier
    cache = ROOT / "build" / "bench"
    cache.mkdir(parents=True, exist_ok=True)
    try:
        real = real_vectors(options.corpus, REAL_ROWS, cache)
    except FileNotFoundError as error:
        sys.exit(str(error))
    with tempfile.TemporaryDirectory(dir=cache, prefix="run-") as folder:
        bench = Bench(Path(folder), options, report)
        for seed in options.seeds:
            for n in options.sizes:
                bench.run_world(grow(real, n, seed), n, seed)
    print_tables(report)
    draw(report, options.out.with_suffix(".svg"))
    print(f"\nwrote {options.out} and {options.out.with_suffix('.svg')}")


class Bench:
    """Runs engines on worlds and fills the report."""

    def __init__(self, folder: Path, options: argparse.Namespace, report: dict[str, Any]) -> None:
        self._folder = folder
        self._options = options
        self._report = report

    def run_world(self, world: World, n: int, seed: int) -> None:
        """Every engine on one world; what each found is judged as soon as it is there."""
        folder = self._folder / f"world-{n}-{seed}"
        folder.mkdir()
        sample = sample_of(n, seed)
        arrays: dict[str, NDArray[Any]] = {
            "vectors": world.vectors,
            "planted": world.label,
            "band": world.band,
            "sample": sample,
        }
        for name, array in arrays.items():
            np.save(folder / f"{name}.npy", array)
        judge = Judge(world, sample)
        for name in self._options.engines:
            for kept in ("runs", "living"):
                self._report[kept] = [run for run in self._report[kept] if not _is_of(run, name, n, seed)]
            result, out = self._run(Job(name, str(folder), seed), n)
            if name == LIVING:
                self._report["living"].append(result)
            elif result["status"] == "ok":
                self._report["runs"] += judge.results(result, out)
            else:
                self._report["runs"].append(result)
            self._report["exponents"] = exponents(self._report["runs"])
            self._save()
        (folder / "vectors.npy").unlink()

    def _run(self, job: Job, n: int) -> tuple[dict[str, Any], Path]:
        """What an engine's process measured or why it did not, and its folder."""
        result: dict[str, Any] = {"engine": job.engine, "n": n, "seed": job.seed}
        out = self._folder / f"{job.engine}-{n}-{job.seed}"
        library = "coterie"
        if job.engine != LIVING:
            engine, library = ENGINES[job.engine], ENGINES[job.engine].library
            if engine.rows_max is not None and n > engine.rows_max and not self._options.uncapped:
                reason = f"above {engine.rows_max:,} rows (--uncapped runs it)"
                return {**result, "status": "not run", "reason": reason}, out
            self._measure_cold(job, library)
        print(f"{job.engine}, {n:,} rows, seed {job.seed} ...", end=" ", file=sys.stderr, flush=True)
        memory_gb = self._options.memory_limit_gb if job.engine.startswith("coterie") else None
        measured = run_job(job, out, self._compiled(library), Limits(self._options.time_limit, memory_gb))
        told = f"{measured['cpu_s']} CPU s" if "cpu_s" in measured else measured.get("reason", "")
        print(measured["status"], told, file=sys.stderr, flush=True)
        return {**result, **measured}, out

    def _measure_cold(self, job: Job, library: str) -> None:
        """The first call with nothing compiled, once a library; what it compiles is kept for the runs after it."""
        if library not in self._report["cold"]:
            out, compiled = self._folder / f"cold-{library}", self._compiled(library)
            shutil.rmtree(compiled, ignore_errors=True)
            measured = run_job(replace(job, cold=True), out, compiled, Limits(self._options.time_limit))
            self._report["cold"][library] = {"engine": job.engine, **measured}

    def _compiled(self, library: str) -> Path:
        return ROOT / "build" / "bench" / f"compiled-{library}"

    def _save(self) -> None:
        self._options.out.parent.mkdir(parents=True, exist_ok=True)
        self._options.out.write_text(json.dumps(self._report, indent=1) + "\n")


def _is_of(run: dict[str, Any], engine: str, n: int, seed: int) -> bool:
    """Whether this is a result of an engine's run, or of a further labelling of it (`evoc_finest`)."""
    return (run["n"], run["seed"]) == (n, seed) and engine in (run["engine"], run.get("same_call_as"))


def exponents(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """How CPU seconds grow with rows, for each engine that ran at two sizes or more."""
    fitted = {}
    for name in dict.fromkeys(run["engine"] for run in runs):
        done = [run for run in runs if run["engine"] == name and run["status"] == "ok"]
        exponent = growth_exponent([run["n"] for run in done], [run["cpu_s"] for run in done])
        if exponent is not None:
            fitted[name] = {"exponent": exponent, "rows": sorted({run["n"] for run in done})}
    return fitted


def machine() -> dict[str, Any]:
    """What it ran on."""
    cpuinfo = Path("/proc/cpuinfo")
    models = (
        [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")] if cpuinfo.exists() else []
    )
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": models[0].split(":", 1)[1].strip() if models else platform.processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "load_average_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Of every package that has a part in it, as far as it is installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    corpus = Path(os.environ.get("COTERIE_CORPUS") or ROOT.parent / "shared" / "data")
    names = [*ENGINES, LIVING]
    parser.add_argument("--sizes", type=_numbers, default=[10_000, 50_000], help="rows, as in 10000,50000")
    parser.add_argument("--engines", type=lambda text: text.split(","), default=names, help=f"of {','.join(names)}")
    parser.add_argument("--seeds", type=_numbers, default=[0], help="of the world and of the engines that take one")
    parser.add_argument("--corpus", type=Path, default=corpus, help="folder of *.jsonl.gz (COTERIE_CORPUS)")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "cluster.json")
    parser.add_argument("--time-limit", type=float, default=1_200.0, help="seconds for each process")
    parser.add_argument(
        "--memory-limit-gb",
        type=float,
        default=None,
        help="coterie's processes are killed once they ever held more (resident, 10^9 bytes)",
    )
    parser.add_argument("--add", action="store_true", help="to the results there are, in place of the same runs' only")
    parser.add_argument("--uncapped", action="store_true", help="also where an engine is known to take too long")
    options = parser.parse_args()
    unknown = sorted(set(options.engines) - set(names))
    if unknown:
        parser.error(f"no engine {', '.join(unknown)}: use {', '.join(names)}")
    # The references first: the others are held against what they find.
    options.engines = [name for name in names if name in options.engines]
    options.sizes = sorted(options.sizes)
    return options


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    main()
