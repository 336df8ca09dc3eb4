"""Families of runs: listing, what the next run is compared with, joining, and erasure."""

import dataclasses
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from coterie.domain import (
    ConflictError,
    Exchange,
    Family,
    FamilyId,
    FamilyLabels,
    FamilyLineage,
    FamilyRecord,
    NotFoundError,
    Run,
    RunId,
    RunState,
    Slice,
    TextField,
)
from coterie.store import SqliteStore, families

MakeRun = Callable[..., Run]
Make = Callable[..., Exchange]


def family(name: str, **fields: object) -> Family:
    values: dict[str, object] = {
        "family_id": FamilyId(name),
        "texts": 2,
        "exchanges": 5,
        "accounts": 2,
        "lineage": FamilyLineage.BORN,
        "gate_distance": 0.5,
        "exemplar": "e1",
        "first_seen_us": 1,
        "last_seen_us": 9,
    }
    return Family(**{**values, **fields})  # type: ignore[arg-type]


def record(
    store: SqliteStore, names: list[str], text_ids: list[int], number: list[int], **fields: object
) -> FamilyRecord:
    """Families of these names; the last of the text ids are noise where `number` says -1."""
    before = store.family_history("", None).last_number
    values: dict[str, object] = {
        "families": tuple(family(name) for name in names),
        "labels": FamilyLabels(
            np.array(text_ids, np.int64),
            np.array(number, np.int32),
            np.linspace(0.2, 1, len(text_ids), dtype=np.float32),
            np.arange(1, len(text_ids) + 1, dtype=np.int32),
            tuple(FamilyId(name) for name in names),
            np.linspace(0.5, 0.9, len(names), dtype=np.float32),
        ),
        "number_before": before,
        "number_after": before + len(names),
    }
    return FamilyRecord(**{**values, **fields})  # type: ignore[arg-type]


def finish(store: SqliteStore, run: Run, made: FamilyRecord | None) -> None:
    store.create_run(run)
    store.finish_run(dataclasses.replace(run, state=RunState.DONE), [], [], made)


def names(store: SqliteStore, run_id: str = "", **options: object) -> list[str]:
    return [item.family_id for _, item in store.families(run_id, **{"limit": 99, **options})[1]]  # type: ignore[arg-type]


def test_families_are_listed_in_order_page_by_page(store: SqliteStore, run: MakeRun) -> None:
    made = record(store, ["family-2", "family-1", "family-3"], [1, 2, 3, 4], [0, 1, 2, -1])
    changed = (
        family("family-2", lineage=FamilyLineage.MERGED, lineage_of=("family-7", "family-9")),
        *made.families[1:],
    )
    finish(store, run("r1"), dataclasses.replace(made, families=changed))
    run_id, found = store.families(limit=2)
    assert run_id == "r1"
    assert [item for _, item in found] == [dataclasses.replace(item, run_id="r1") for item in changed[:2]]
    assert [item.family_id for _, item in store.families("r1", limit=2, after=found[-1][0])[1]] == ["family-3"]
    assert names(store, lineage=FamilyLineage.MERGED) == ["family-2"]
    with pytest.raises(NotFoundError):
        store.families("r9", limit=1)


def test_before_the_first_run_there_is_nothing(store: SqliteStore, run: MakeRun) -> None:
    assert store.families(limit=9) == ("", [])
    assert store.family_labels() is None
    assert store.joining() == ("", 0)
    history = store.family_history("", None)
    assert (history.labels, history.families, history.last_number) == (None, (), 0)
    finish(store, run("r1"), None)
    assert store.families(limit=9) == ("r1", [])


def test_history_is_the_newest_run_of_the_slice_else_of_the_other(store: SqliteStore, run: MakeRun) -> None:
    gone = family("family-0", lineage=FamilyLineage.GONE)
    first = record(store, ["family-1"], [3, 5], [0, -1])
    finish(store, run("r1", 1), dataclasses.replace(first, families=(*first.families, gone)))
    finish(store, run("r2", 2), record(store, ["family-2"], [8], [0], slice="week"))
    history = store.family_history("", None)
    assert history.same_slice
    assert history.labels == dataclasses.replace(first.labels, run_id=RunId("r1"))
    assert [item.family_id for item in history.families] == ["family-1"]
    assert history.last_number == 2
    other = store.family_history("month", "")
    assert (other.same_slice, other.labels) == (False, history.labels)
    assert store.family_history("month", None).labels is None
    week = store.family_history("week", "")
    assert week.same_slice
    assert week.labels is not None
    assert week.labels.run_id == "r2"
    assert store.family_labels() == history.labels


def test_numbers_are_given_once_even_when_the_run_that_took_them_is_forgotten(store: SqliteStore, run: MakeRun) -> None:
    stale = record(store, ["family-1"], [1], [0])
    finish(store, run("r1", 1), stale)
    store.create_run(run("r2", 2))
    with pytest.raises(ConflictError, match="numbered families"):
        store.finish_run(run("r2", 2, state=RunState.DONE), [], [], stale)
    assert store.run("r2").state is RunState.PENDING
    assert names(store, "r1") == ["family-1"]
    assert store.family_history("", None).last_number == 1


def test_only_what_is_compared_with_and_the_newest_listings_are_kept(
    store: SqliteStore, run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(families, "RUNS_KEPT", 4)
    monkeypatch.setattr(families, "SLICES_KEPT", 2)
    for number, part in enumerate(["", "", "a", "b", "c", "c", "d"]):
        finish(store, run(f"r{number}", number), record(store, [f"family-{number + 1}"], [number], [0], slice=part))
    assert [bool(names(store, f"r{number}")) for number in range(7)] == [False, True, False, True, True, True, True]
    for part, kept in (("", "r1"), ("a", None), ("b", None), ("c", "r5"), ("d", "r6")):
        found = store.family_history(part, None).labels
        assert (found and found.run_id) == kept
    with sqlite3.connect(store.data_dir / "coterie.db") as connection:
        assert connection.execute("SELECT count(*) FROM family_labels").fetchone() == (3,)
    connection.close()


def test_joins_are_counted_and_the_next_run_forgets_them(
    store: SqliteStore, exchange: Make, run: MakeRun, embed: Callable[[SqliteStore], list[int]]
) -> None:
    store.append([exchange(number) for number in range(5)])
    ids = embed(store)
    assert store.last_vector() == 5
    finish(store, run("r1", 1), record(store, ["family-1", "family-2"], ids[:2], [0, 1], last_vector=2))
    assert store.joining() == ("r1", 2)
    texts = np.array([ids[2], ids[3], 999])
    wanted = [FamilyId("family-1"), FamilyId("family-1"), FamilyId("family-2")]
    assert store.put_joins(RunId("r1"), texts, wanted, np.ones(3, np.float32), 5)
    assert store.put_joins(RunId("r1"), texts[:1], wanted[:1], np.ones(1, np.float32), 5)  # again: no second row
    assert {item.family_id: item.joined for _, item in store.families(limit=9)[1]} == {"family-1": 2, "family-2": 0}
    assert store.joined(RunId("r1"), np.array(ids)) == {ids[2]: "family-1", ids[3]: "family-1"}
    assert store.joining() == ("r1", 5)
    finish(store, run("r2", 2), record(store, ["family-3"], [7], [0], slice="week"))
    assert store.joining() == ("r1", 5)
    finish(store, run("r3", 3), record(store, ["family-4"], ids[:1], [0], last_vector=4))
    assert store.joining() == ("r3", 4)
    assert store.joined(RunId("r1"), np.array(ids)) == {}
    assert not store.put_joins(RunId("r1"), texts[:1], wanted[:1], np.ones(1, np.float32), 5)
    assert store.joining() == ("r3", 4)
    assert store.joined(RunId("r1"), np.array(ids)) == {}


def test_an_erased_account_leaves_families_labels_and_joins(
    store: SqliteStore, exchange: Make, run: MakeRun, embed: Callable[[SqliteStore], list[int]]
) -> None:
    store.append([exchange(1), exchange(2), exchange(3)])
    store.append([exchange(4, account_id="b", prompt="prompt 2"), exchange(5, account_id="b"), exchange(6)])
    ids = embed(store)
    texts = {number: store.exchange_text(f"e{number}", TextField.PROMPT) for number in (1, 2, 3, 5, 6)}  # type: ignore[arg-type]
    assert set(texts.values()) == set(ids)
    held = [texts[1], texts[2], texts[3]]
    made = record(store, ["family-1", "family-2", "family-3"], held, [0, 1, 2], last_vector=3)
    its = (
        family("family-1", exemplar="e1", accounts=1),
        family("family-2", exemplar="e2"),
        family("family-3", exemplar="e5"),  # all its texts are the account's, though the exemplar is not
    )
    finish(store, run("r1", 1), dataclasses.replace(made, families=its))
    named = Slice(accounts=("a", "b"))  # type: ignore[arg-type]
    finish(store, run("r2", 2, slice=named), record(store, ["family-4"], held, [0, 0, 0], slice=named.key))
    joined = np.array([texts[5], texts[6]])
    assert store.put_joins(RunId("r1"), joined, [FamilyId("family-2")] * 2, np.ones(2, np.float32), 5)

    store.erase_account("a", 1)  # type: ignore[arg-type]

    found = {item.family_id: item for _, item in store.families("r1", limit=9)[1]}
    assert found.keys() == {"family-2"}
    assert (found["family-2"].exemplar, found["family-2"].joined, found["family-2"].texts) == ("", 1, 2)
    labels = store.family_labels()
    assert labels is not None
    assert labels.text_ids.tolist() == [texts[2]]
    assert labels.family.tolist() == [1]
    assert labels.core_distance.tolist() == made.labels.core_distance[1:2].tolist()
    assert labels.exchanges.tolist() == [2]
    assert labels.family_ids == made.labels.family_ids
    assert store.joined(RunId("r1"), np.array(ids)) == {texts[5]: "family-2"}
    assert store.family_history(named.key, None).labels is None
    with sqlite3.connect(store.data_dir / "coterie.db") as connection:
        assert connection.execute("SELECT count(*) FROM family_run WHERE slice = ?", (named.key,)).fetchone() == (0,)
        assert connection.execute("SELECT exchange_id FROM family_exemplar WHERE run_id = 'r1'").fetchall() == []
    connection.close()


def test_the_labels_of_erased_texts_are_overwritten(
    store: SqliteStore, data_dir: Path, exchange: Make, run: MakeRun, embed: Callable[[SqliteStore], list[int]]
) -> None:
    store.append([exchange(1), *(exchange(number, account_id="b") for number in range(2, 3000))])
    ids = np.array(embed(store))
    core = np.full(len(ids), 0.25, np.float32)
    core[ids == ids.min()] = np.float32(0.123456)
    made = record(store, ["family-1"], sorted(ids.tolist()), [0] * len(ids))
    finish(store, run("r1"), dataclasses.replace(made, labels=dataclasses.replace(made.labels, core_distance=core)))
    mark = np.float32(0.123456).tobytes()
    assert any(mark in path.read_bytes() for path in data_dir.iterdir())
    store.erase_account("a", 1)  # type: ignore[arg-type]
    assert not any(mark in path.read_bytes() for path in data_dir.iterdir())


def test_labels_say_where_a_text_is() -> None:
    labels = FamilyLabels(
        np.array([2, 5, 9]),
        np.array([0, -1, 0], np.int32),
        np.ones(3, np.float32),
        np.ones(3, np.int32),
        (FamilyId("family-1"),),
        np.ones(1, np.float32),
    )
    assert labels.place(np.array([[1, 2], [9, 10]])).tolist() == [[-1, 0], [2, -1]]
    assert labels.without(np.arange(99)).place(np.array([2])).tolist() == [-1]
