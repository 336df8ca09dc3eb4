"""Time and memory of detection alone: a process of its own takes a window and runs it.

python -m bench.detection.scale WINDOW.pickle
"""

import json
import pickle
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.detection.limits import Limits
from bench.detection.trial import Trial

ROOT = Path(__file__).parents[2]


def measure_scale(trial: Trial, limits: Limits) -> dict[str, Any]:
    """CPU and wall seconds and most memory of `detect` on one window, compiled code warm.

    Raises:
        RuntimeError: the process failed; what it wrote to stderr is in the message.
    """
    window = trial.window
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "window.pickle")
        with path.open("wb") as file:
            pickle.dump(window, file, protocol=pickle.HIGHEST_PROTOCOL)
        done = subprocess.run(
            [sys.executable, "-m", "bench.detection.scale", str(path)],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"measuring the scale failed: {done.stderr[-2_000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {
        "exchanges": window.rows.size,
        "accounts": len(window.rows.account_ids),
        "texts": len(window.texts),
        **found,
    }


def main() -> None:
    """Run detection on the window named on the command line and print what it took."""
    from coterie.detection import detect, warm_up

    with Path(sys.argv[1]).open("rb") as file:
        window = pickle.load(file)
    warm_up()
    held_gb = _reset_peak()
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    detection = detect(window)
    taken = {
        "wall_s": round(time.perf_counter() - wall_s, 2),
        "cpu_s": round(time.process_time() - cpu_s, 2),
        "peak_gb": _peak_gb(),
        "held_before_gb": held_gb,
        "findings": len(detection.findings),
    }
    print(json.dumps(taken))


def _reset_peak() -> float:
    """Forget the most memory held so far, where the system can (Linux); returns what is held, in 10^9 bytes."""
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")
    return _peak_gb()


def _peak_gb() -> float:
    status = Path("/proc/self/status")
    if status.exists():
        line = next(row for row in status.read_text().splitlines() if row.startswith("VmHWM"))
        return round(int(line.split()[1]) * 1_024 / 1e9, 3)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1_024 / 1e9, 3)


if __name__ == "__main__":
    main()
