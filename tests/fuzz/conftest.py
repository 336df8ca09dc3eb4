"""Makes `bench.fuzz` importable; it is not shipped."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
