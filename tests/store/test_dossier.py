"""What a dossier asks of the past, against plain Python on the same exchanges."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from coterie.domain import (
    DAY_US,
    Exchange,
    FamilyLabels,
    FamilyRecord,
    Finding,
    FindingAccount,
    Lineage,
    NotFoundError,
    Run,
    RunState,
    SearchFilter,
    Severity,
)
from coterie.store import SqliteStore

START_US = 1_767_225_600_000_000  # midnight


@pytest.fixture
def done(store: SqliteStore, run: Callable[..., Run]) -> Callable[..., Run]:
    def finish(run_id: str, created_us: int, findings: list[Finding], record: FamilyRecord | None = None) -> Run:
        made = run(run_id, created_us, trigger="schedule")
        store.create_run(made)
        store.finish_run(
            replace(made, state=RunState.DONE), [replace(item, run_id=made.run_id) for item in findings], [], record
        )
        return made

    return finish


def test_lineage_follows_a_finding_and_what_it_came_from(store: SqliteStore, finding: Any, done: Any) -> None:
    done("r1", 10, [finding("f1", ("a",)), finding("f2", severity=Severity.LOW), finding("other")])
    done("r2", 20, [finding("f1", ("a", "b", "c"), lineage=Lineage.MERGED, lineage_of=("f2",), text_ids=(1, 2, 3))])
    done("r3", 30, [finding("f1", lineage=Lineage.STEADY)])
    steps = store.finding_lineage("f1", "r2", limit=10)
    assert [(step.finding_id, step.run_id, step.created_us, step.lineage) for step in steps] == [
        ("f1", "r1", 10, Lineage.NEW),
        ("f2", "r1", 10, Lineage.NEW),
        ("f1", "r2", 20, Lineage.MERGED),
    ]
    assert [(step.accounts, step.texts, step.exchanges) for step in steps] == [(1, 2, 3), (2, 2, 6), (3, 3, 9)]
    assert {step.trigger for step in steps} == {"schedule"}
    assert [step.severity for step in steps] == [Severity.MEDIUM, Severity.LOW, Severity.MEDIUM]
    assert [step.run_id for step in store.finding_lineage("f1", "r3", limit=2)] == ["r2", "r3"]


def test_a_finding_is_read_as_an_earlier_run_reports_it(store: SqliteStore, finding: Any, done: Any) -> None:
    done("r1", 10, [finding("f1", ("a",))])
    done("r2", 20, [finding("f1", ("a", "b")), finding("f9")])
    assert len(store.finding("f1", "r1").accounts) == 1
    assert store.finding("f1", "r2") == store.finding("f1")
    with pytest.raises(NotFoundError, match="run r1 reports no finding f9"):
        store.finding("f9", "r1")


def test_daily_exchanges_and_counted_accounts(store: SqliteStore, exchange: Callable[..., Exchange]) -> None:
    rng = np.random.default_rng(3)
    made = [
        exchange(
            number,
            account_id=f"a{rng.integers(4)}",
            time_us=START_US + int(rng.integers(0, 5 * DAY_US)),
            attributes={"asn": f"AS{rng.integers(2)}"},
        )
        for number in range(200)
    ]
    store.submit(made).result()
    since_us, until_us = START_US + DAY_US // 2, START_US + 4 * DAY_US
    within = [item for item in made if since_us <= item.time_us < until_us]
    expected = Counter((item.account_id, item.time_us // DAY_US * DAY_US) for item in within)
    found = store.daily_exchanges(("a0", "a1", "a2", "nobody"), since_us, until_us)
    assert {(name, day): n for name, days in found.items() for day, n in days.items()} == {
        key: n for key, n in expected.items() if key[0] != "a3"
    }
    assert [store.count_accounts(limit=most) for most in (9, 4, 2)] == [4, 4, 2]
    labelled = SearchFilter(since_us=since_us, until_us=since_us + 3_600_000_000, attributes={"asn": "AS1"})
    assert store.count_accounts(labelled, limit=9) == len(
        {
            item.account_id
            for item in within
            if item.time_us < since_us + 3_600_000_000 and item.attributes["asn"] == "AS1"
        }
    )


def test_labels_of_a_run_are_read_while_they_are_kept(store: SqliteStore, finding: Any, done: Any) -> None:
    def record(text_id: int) -> FamilyRecord:
        labels = FamilyLabels(
            np.array([text_id]), np.zeros(1, np.int32), np.ones(1, np.float32), np.ones(1, np.int32), ("family-1",),
            np.ones(1, np.float32),
        )  # fmt: skip
        return FamilyRecord(families=(), labels=labels, number_before=0, number_after=0)

    done("r1", 10, [finding("f1")], record(5))
    first = store.run_family_labels("r1")
    assert first is not None
    assert (first.run_id, first.text_ids.tolist()) == ("r1", [5])
    done("r2", 20, [finding("f1")], record(6))
    assert store.run_family_labels("r1") is None
    assert store.run_family_labels("never") is None


def test_exchanges_are_summed_over_all_accounts(store: SqliteStore, finding: Any, done: Any) -> None:
    accounts = tuple(FindingAccount(f"a{n}", n, 1, 0.5, 1, 2) for n in range(1, 5))
    done("r1", 10, [replace(finding("f1"), accounts=accounts)])
    assert store.finding_lineage("f1", "r1", limit=5)[0].exchanges == 10
