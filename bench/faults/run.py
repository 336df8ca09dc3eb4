"""Kill the service again and again, and write what became of it: `python -m bench.faults.run --rounds 200`."""

import argparse
import json
import resource
import shlex
import signal
import sqlite3
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.faults.rounds import Rounds
from bench.report import machine, versions

_RESULTS = Path(__file__).parents[1] / "results" / "faults.json"


def main() -> int:
    """Run the rounds; 1 when anything was lost, doubled, torn or not told."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--folders", type=int, default=1, help="data folders that are worked on beside each other")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dir", type=Path, help="a folder on the disk to work on (default: a temporary one)")
    parser.add_argument("--out", type=Path, default=_RESULTS)
    options = parser.parse_args()
    report: dict[str, Any] = {
        "command": shlex.join(["python", "-m", "bench.faults.run", *sys.argv[1:]]),
        "machine": machine(),
        "versions": {"sqlite": sqlite3.sqlite_version, **versions("coterie", "grpcio", "faiss-cpu", "numpy")},
        "seed": options.seed,
    }
    # A service is killed on the way out, whatever ends this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="coterie-faults-", dir=options.dir) as folder:
        made = [Rounds(_made(Path(folder) / str(part)), options.seed + part) for part in range(options.folders)]
        with ThreadPoolExecutor(options.folders) as pool:
            share, more = divmod(options.rounds, options.folders)
            work = [pool.submit(each.run, share + (part < more), _tell) for part, each in enumerate(made)]
            try:
                for each in work:
                    each.result()
            except SystemExit:
                report["ended_early"] = True  # what was done until then still tells something
                for rounds in made:
                    rounds.stopping.set()
    tally = made[0].tally
    for rounds in made[1:]:
        tally.add(rounds.tally)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    report |= {
        "wall_s": round(time.perf_counter() - started, 1),
        "service_cpu_s": round(children.ru_utime + children.ru_stime, 1),
        "faults": tally.faults(),
        "outcome": {name: value for name, value in tally.to_json().items() if name not in tally.faults()},
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))
    return 1 if any(tally.faults().values()) else 0


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
