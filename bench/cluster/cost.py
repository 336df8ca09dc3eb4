"""What a call costs: wall seconds, CPU seconds, and the most memory its process ever held."""

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Cost:
    """What one call took.

    Attributes:
        wall_s: seconds on the clock.
        cpu_s: seconds of processor time, user and system, of all threads and of the child processes it waited for.
    """

    wall_s: float
    cpu_s: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s)

    def to_json(self) -> dict[str, float]:
        """Both, to the millisecond."""
        return {name: round(seconds, 3) for name, seconds in asdict(self).items()}


def timed(call: Callable[[], Result]) -> tuple[Result, Cost]:
    """Call it, and say what it cost."""
    wall, cpu = time.perf_counter(), _cpu_s()
    result = call()
    return result, Cost(time.perf_counter() - wall, _cpu_s() - cpu)


def peak_gb(process: int | str = "self") -> float:
    """The most memory a process has held so far, in 10^9 bytes: interpreter, libraries, compiled code, input and all.

    `ru_maxrss` is only the fallback: on Linux a new process inherits it from the one that started it.
    """
    try:
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1_024 / 1e9
    except (FileNotFoundError, ProcessLookupError):
        pass
    if process != "self":
        return 0.0
    unit = 1 if sys.platform == "darwin" else 1_024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)
