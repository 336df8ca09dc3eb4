"""Detection must leave the OpenMP settings of its thread alone: torch shares them."""

import subprocess
import sys

_CODE = """
import ctypes, sys
sys.path.insert(0, {folder!r})
from worlds import World
from coterie.detection import detect
world = World(1)
world.people(20)
detect(world.window())
omp = ctypes.CDLL("libgomp.so.1")
raise SystemExit(int(omp.omp_get_nested()))
"""


def test_no_nested_parallelism_is_left_behind() -> None:
    from pathlib import Path

    code = _CODE.format(folder=str(Path(__file__).parent))
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=300).returncode == 0
