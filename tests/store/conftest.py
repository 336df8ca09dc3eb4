"""Stores and values for the tests of coterie.store."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from coterie.domain import (
    Evidence,
    Exchange,
    Finding,
    FindingAccount,
    FindingBenchmark,
    FindingFamily,
    FindingKind,
    Run,
    RunState,
    Severity,
)
from coterie.store import SqliteStore, open_store

START_US = 1_767_225_600_000_000


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def store(data_dir: Path) -> Iterator[SqliteStore]:
    with open_store(data_dir) as opened:
        yield opened


@pytest.fixture
def exchange() -> Callable[..., Exchange]:
    """`exchange(number, **fields)`: a valid exchange, its own in every field that names none."""

    def make(number: int, **fields: Any) -> Exchange:
        values: dict[str, Any] = {
            "exchange_id": f"e{number}",
            "account_id": "a",
            "time_us": START_US + number,
            "prompt": f"prompt {number}",
        }
        return Exchange(**{**values, **fields})

    return make


@pytest.fixture
def unit() -> Callable[..., NDArray[np.float32]]:
    """`unit(n, dim, seed)`: random unit rows."""

    def make(rows: int, dim: int = 16, seed: int = 0) -> NDArray[np.float32]:
        values = np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)
        return values / np.linalg.norm(values, axis=1, keepdims=True)

    return make


@pytest.fixture
def embed(unit: Callable[..., NDArray[np.float32]]) -> Callable[[SqliteStore], list[int]]:
    """`embed(store)`: give every pending text a vector; returns the text ids in queue order."""

    def make(opened: SqliteStore) -> list[int]:
        opened.bind_model("test", 16)
        pending = [text_id for text_id, _ in opened.pending_texts(10_000)]
        opened.put_vectors(pending, unit(len(pending), seed=len(pending)))
        return [int(text_id) for text_id in pending]

    return make


@pytest.fixture
def run() -> Callable[..., Run]:
    """`run(run_id, created_us, **fields)`."""

    def make(run_id: str, created_us: int = START_US, **fields: Any) -> Run:
        return Run(**{"run_id": run_id, "state": RunState.PENDING, "created_us": created_us, **fields})

    return make


@pytest.fixture
def finding() -> Callable[..., Finding]:
    """`finding(finding_id, accounts, **fields)`: with something in every field."""

    def make(finding_id: str, accounts: tuple[str, ...] = ("a", "b"), **fields: Any) -> Finding:
        values: dict[str, Any] = {
            "finding_id": finding_id,
            "kind": FindingKind.CAMPAIGN,
            "severity": Severity.MEDIUM,
            "confidence": 0.5,
            "title": "accounts ask one list",
            "accounts": tuple(FindingAccount(name, 3, 2, 0.5, 1, 2) for name in accounts),
            "families": (FindingFamily("f1", 4, 2),),
            "benchmarks": (FindingBenchmark("bench", 3, 0.25),),
            "first_seen_us": 1,
            "last_seen_us": 2,
            "evidence": (Evidence("overlap", "shared texts", 7.0, "permuted", "they share 7 texts", 0.01),),
            "counter_evidence": (Evidence("size", "accounts", 2.0, "none", "only two accounts"),),
            "exemplars": ("e1",),
            "text_ids": (1, 2),
        }
        return Finding(**{**values, **fields})

    return make
