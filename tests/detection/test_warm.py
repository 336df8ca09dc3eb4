"""A server that has warmed up compiles nothing in its first run."""

import subprocess
import sys
from pathlib import Path

_CODE = """
import gc, sys
from numba.core.registry import CPUDispatcher
sys.path.insert(0, {folder!r})
from worlds import World
from coterie.detection import detect, warm_up
warm_up()
compiled = lambda: {{
    (kernel.__module__, kernel.__name__): len(kernel.signatures)
    for kernel in gc.get_objects()
    if isinstance(kernel, CPUDispatcher) and kernel.__module__.startswith("coterie.")
}}
warm = compiled()
assert len(warm) > 8, warm
world = World(1)
world.people(20)
world.campaign("team", 10)
found = detect(world.window())
assert found.findings and found.watched is not None
assert compiled() == warm, (warm, compiled())
"""


def test_a_run_compiles_nothing_after_warming_up() -> None:
    code = _CODE.format(folder=str(Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=300, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
