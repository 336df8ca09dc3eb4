"""Makes `bench.faults` importable (it is not shipped), and services that are killed and started again."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from bench.faults.service import Service


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """`start(**settings)`: a service on `tmp_path / "data"`; whatever runs at the end is killed."""
    started: list[Service] = []

    def made(**settings: Any) -> Service:
        service = Service(tmp_path, len(started), **settings)
        started.append(service)
        return service

    yield made
    for service in started:
        service.kill()
