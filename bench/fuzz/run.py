"""Fuzz every target for a bounded time, and write how much was tried: `python -m bench.fuzz.run --seconds 60`.

The report keeps the last figures of each target.

What a target lets out is written to `bench/fuzz/found/TARGET-HASH`, and becomes a test by being moved to
`tests/fuzz/reproducers`.
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.report import machine, versions

_ROOT = Path(__file__).parents[2]
_RESULTS = _ROOT / "bench" / "results" / "fuzz.json"
_FOUND = _ROOT / "bench" / "fuzz" / "found"
_TARGETS = ("jsonl", "files", "proto", "filters", "snapshots", "manifests", "configuration")
_INPUT_BYTES_MAX = 4_096
_ONE_INPUT_S_MAX = 20
_MEMORY_MB_MAX = 3_000
_STAT = re.compile(r"stat::(\w+):\s+(\d+)")
_COVERAGE = re.compile(r"cov: (\d+) ft: (\d+)")


def main() -> int:
    """Fuzz; 1 when anything was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--inputs", type=int, default=0, help="for each target, at most; 0 is without end")
    parser.add_argument("--targets", default=",".join(_TARGETS), help="with commas between")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--corpus", type=Path, help="keep what was found interesting in this folder, and begin with it")
    parser.add_argument("--out", type=Path, default=_RESULTS)
    options = parser.parse_args()
    report: dict[str, Any] = {
        "machine": machine(),
        "versions": versions("coterie", "atheris", "protobuf", "zstandard", "numpy"),
        "targets": json.loads(options.out.read_text())["targets"] if options.out.exists() else {},
    }
    found = 0
    with tempfile.TemporaryDirectory(prefix="coterie-fuzz-") as scratch:
        for name in options.targets.split(","):
            result = _fuzz(name, (options.corpus or Path(scratch)) / name, options)
            found += len(result["found"])
            print(f"{name}: {json.dumps(result)}", file=sys.stderr, flush=True)
            _write(report, name, result, options.out)
    print(f"{report['inputs']:,} inputs tried, {found} finds; wrote {options.out}")
    return 1 if found else 0


def _write(report: dict[str, Any], name: str, result: dict[str, Any], path: Path) -> None:
    """Put a target's result in the place of its last one; those of others stay, also when a run is broken off."""
    command = shlex.join(["python", "-m", "bench.fuzz.run", *sys.argv[1:]])
    report["targets"][name] = {"command": command, **result}
    report["inputs"] = sum(target["inputs"] for target in report["targets"].values())
    report["found"] = sum(len(target["found"]) for target in report["targets"].values())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n")


def _fuzz(name: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    _FOUND.mkdir(exist_ok=True)
    before = set(_FOUND.iterdir())
    command = [sys.executable, "-m", "bench.fuzz.worker", name, str(folder)]
    command += [f"-max_total_time={options.seconds}", f"-seed={options.seed}", f"-max_len={_INPUT_BYTES_MAX}"]
    command += [f"-timeout={_ONE_INPUT_S_MAX}", f"-rss_limit_mb={_MEMORY_MB_MAX}", "-print_final_stats=1"]
    command += [f"-artifact_prefix={_FOUND}/{name}-"] + ([f"-runs={options.inputs}"] if options.inputs else [])
    started = time.perf_counter()
    # The fuzzer's own process: bounded by its options, and by this if they fail.
    done = subprocess.run(
        command,
        cwd=_ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(_ROOT)]))},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=options.seconds * 3 + 300,
        check=False,
    )
    said = done.stderr + done.stdout
    stats = {key: int(value) for key, value in _STAT.findall(said)}
    found = sorted(path.name for path in set(_FOUND.iterdir()) - before)
    if done.returncode and not found:
        raise SystemExit(f"the fuzzer itself failed on {name} ({done.returncode}):\n{said[-3_000:]}")
    if found:
        print(said[-6_000:], file=sys.stderr)
    coverage = _COVERAGE.findall(said)
    return {
        "inputs": stats.get("number_of_executed_units", 0),
        "inputs_per_s": stats.get("average_exec_per_sec", 0),
        "edges_covered": int(coverage[-1][0]) if coverage else 0,
        "peak_rss_mb": stats.get("peak_rss_mb", 0),
        "wall_s": round(time.perf_counter() - started, 1),
        "found": found,
    }


if __name__ == "__main__":
    sys.exit(main())
