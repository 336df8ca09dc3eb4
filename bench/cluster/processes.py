"""A job in a process of its own, under limits."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.cluster.cost import peak_gb
from bench.cluster.worker import Job

ROOT = Path(__file__).parents[2]
_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class Limits:
    """What a process may use before it is killed.

    Attributes:
        time_s: seconds on the clock.
        memory_gb: the most memory it may ever have held, resident, in 10^9 bytes; none for no limit.
    """

    time_s: float
    memory_gb: float | None = None


def run_job(job: Job, out: Path, compiled: Path, limits: Limits) -> dict[str, Any]:
    """Run a job to its end or its limit.

    Args:
        job: what to do.
        out: a new folder for what it leaves behind.
        compiled: where numba keeps what it compiles.
        limits: past which it is killed.

    Returns:
        What it measured, with the status `ok`; or the status `failed` or `over limit`, and the reason.
    """
    out.mkdir()
    (out / "job.json").write_text(json.dumps(asdict(job)))
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(compiled)}
    # Idle OpenMP threads that spin would be counted as work.
    environment.setdefault("GOMP_SPINCOUNT", "1000")
    command = [sys.executable, "-m", "bench.cluster.worker", str(out)]
    with (out / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)
        reason = _wait(process, limits)
    stated = {} if limits.memory_gb is None else {"memory_limit_gb": limits.memory_gb}
    if reason is not None:
        return {"status": "over limit", "reason": reason, **stated}
    if process.returncode != 0:
        lines = (out / "log").read_text().strip().splitlines()
        return {"status": "failed", "reason": lines[-1][:200] if lines else f"exit status {process.returncode}"}
    measured = json.loads((out / "measured.json").read_text())
    if limits.memory_gb is not None and measured["peak_gb"] > limits.memory_gb:
        return {"status": "over limit", "reason": _too_much(limits.memory_gb), **stated}
    return {"status": "ok", **measured, **stated}


def _wait(process: subprocess.Popen[bytes], limits: Limits) -> str | None:
    """Wait for the end; past a limit kill it and all it started, and say which."""
    end = time.monotonic() + limits.time_s
    while process.poll() is None:
        reason = None
        if time.monotonic() > end:
            reason = f"took more than {limits.time_s:g} s"
        elif limits.memory_gb is not None and peak_gb(process.pid) > limits.memory_gb:
            reason = _too_much(limits.memory_gb)
        if reason is not None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return reason
        time.sleep(_POLL_S)
    return None


def _too_much(memory_gb: float) -> str:
    return f"held more than {memory_gb:g} GB"
