"""Traffic that several tests look at, composed once."""

import os
from pathlib import Path

import pytest

from coterie.simulation import Config, Traffic, simulate


@pytest.fixture(scope="session")
def easy() -> Traffic:
    return simulate(Config(seed=1))


@pytest.fixture(scope="session")
def hard() -> Traffic:
    return simulate(Config(seed=1, mix="hard", accounts=600))


@pytest.fixture(scope="session")
def corpus() -> Path:
    root = Path(__file__).resolve().parents[2]
    folder = Path(os.environ.get("COTERIE_CORPUS") or root.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no corpus at {folder}: set COTERIE_CORPUS")
    return folder
