"""What all tests share."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# As the command line does: idle OpenMP threads that spin slow down whoever shares the cores.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# On a fresh checkout the first draw builds tables for a second and more: no fault of a test's.
settings.register_profile("coterie", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("coterie")

# Makes `dossiers` importable in every folder of tests (importlib mode adds none to the path).
sys.path.insert(0, str(Path(__file__).parent))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--screenshots", action="store_true", help="write the pictures of the console into docs/images anew"
    )
