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
from pathlib import Path

from bench.faults.rounds import Rounds
from bench.report import machine, versions

_RESULTS = Path(__file__).parents[1] / "results" / "faults.json"


def main() -> int:
    """Run the rounds; 1 when anything was lost, doubled, torn or not told."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dir", type=Path, help="a folder on the disk to work on (default: a temporary one)")
    parser.add_argument("--out", type=Path, default=_RESULTS)
    options = parser.parse_args()
    report = {
        "command": shlex.join(["python", "-m", "bench.faults.run", *sys.argv[1:]]),
        "machine": machine(),
        "versions": {"sqlite": sqlite3.sqlite_version, **versions("coterie", "grpcio", "faiss-cpu", "numpy")},
        "seed": options.seed,
    }
    # A service is killed on the way out, whatever ends this process.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="coterie-faults-", dir=options.dir) as folder:
        rounds = Rounds(Path(folder), options.seed)
        rounds.run(options.rounds, lambda line: print(line, file=sys.stderr, flush=True))
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    report |= {
        "wall_s": round(time.perf_counter() - started, 1),
        "service_cpu_s": round(children.ru_utime + children.ru_stime, 1),
        "faults": rounds.tally.faults(),
        "outcome": {name: value for name, value in rounds.tally.to_json().items() if name not in rounds.tally.faults()},
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))
    return 1 if any(rounds.tally.faults().values()) else 0


if __name__ == "__main__":
    sys.exit(main())
