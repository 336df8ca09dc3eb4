"""The audit record: append-only, and a chain that shows every change."""

import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from coterie.domain import CHAIN_START, AuditEntry, InvalidError, OverloadedError
from coterie.store import SqliteStore, open_store
from coterie.store.audit import CHAINED_SINCE
from coterie.store.database import migrations

KEY = bytes(range(32))
ROWS = 7


def entry(number: int, subject: str | None = None) -> AuditEntry:
    return AuditEntry(
        number, "ann", "read_finding", f"f{number}" if subject is None else subject, "analyst", "token 0a", f"r{number}"
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with some rows."""
    with open_store(tmp_path / "data") as store:
        for number in range(1, ROWS + 1):
            store.audit(entry(number)).result()
        assert store.verify_audit().whole
    return tmp_path / "data"


def change(folder: Path, *statements: str) -> None:
    """Change the database as somebody would who holds the file: past every trigger."""
    with closing(sqlite3.connect(folder / "coterie.db", isolation_level=None)) as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            if name.startswith("audit"):
                connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            assert connection.execute(statement).rowcount in (-1, 1), statement


def test_rows_are_kept_as_they_were_given_and_listed_newest_first(folder: Path) -> None:
    with open_store(folder) as store:
        rows = store.audit_rows(limit=100)
        assert [row.entry for row in rows] == [entry(number) for number in range(ROWS, 0, -1)]
        assert [row.audit_id for row in store.audit_rows(before=4, limit=2)] == [3, 2]
        assert [row.audit_id for row in store.audit_rows(since_us=6, limit=9)] == [7, 6]
        store.audit(AuditEntry(9, "bob", "erase_account", "a")).result()
        assert [row.entry.actor for row in store.audit_rows(actor="bob", limit=9)] == ["bob"]
        assert [row.entry.actor for row in store.audit_rows(action="erase_account", limit=9)] == ["bob"]
        assert store.audit_head() == (ROWS + 1, store.audit_rows(limit=1)[0].hash.hex())


def test_the_chain_is_what_the_docstring_says(folder: Path) -> None:
    import hashlib
    import json

    with open_store(folder) as store:
        before = CHAIN_START
        for row in reversed(store.audit_rows(limit=100)):
            item = row.entry
            covered = [row.audit_id, item.time_us, item.actor, item.roles, item.credential, item.action,
                       row.subject_digest.hex(), item.request_id, item.outcome, 0]  # fmt: skip
            before = hashlib.sha256(before + json.dumps(covered, separators=(",", ":")).encode()).digest()
            assert row.hash == before
            assert len(row.subject_digest) == 16


@pytest.mark.parametrize(
    "value",
    ["time_us = 99", "actor = 'eve'", "action = 'x'", "subject = 'f0'", "roles = ''", "credential = ''",
     "request_id = 'r'", "outcome = 'denied'", "subject_digest = x'00'", "keyed = 1", "hash = x'00'", "hash = NULL",
     "audit_id = audit_id + 1000"],
)  # fmt: skip
def test_a_change_of_any_value_in_any_row_is_found_there(folder: Path, value: str) -> None:
    from coterie.store import audit

    change(folder)
    with closing(sqlite3.connect(folder / "coterie.db", isolation_level=None)) as connection:
        for row in range(1, ROWS + 1):
            connection.execute("BEGIN")
            connection.execute(f"UPDATE audit SET {value} WHERE audit_id = {row}")
            verdict = audit.verify(connection, None, "")
            connection.execute("ROLLBACK")
            moved = value.startswith("audit_id")  # then the next row, or the row itself at the end, has lost its place
            assert verdict.broken_id == (row if not moved else row + 1000 if row == ROWS else row + 1)
            assert not verdict.whole
        assert audit.verify(connection, None, "").whole


def test_who_makes_the_whole_record_look_old_gets_another_head(folder: Path) -> None:
    with open_store(folder) as store:
        _, noted = store.audit_head()
    change(
        folder, *(f"UPDATE audit SET hash = NULL, actor = 'eve' WHERE audit_id = {row}" for row in range(1, ROWS + 1))
    )
    with open_store(folder) as store:
        assert store.verify_audit().whole
        assert store.verify_audit(noted).problem.startswith("no row has the hash that was noted")


def test_a_row_that_was_removed_is_missed(folder: Path) -> None:
    from coterie.store import audit

    change(folder)
    with closing(sqlite3.connect(folder / "coterie.db", isolation_level=None)) as connection:
        for row in range(1, ROWS + 1):
            connection.execute("BEGIN")
            connection.execute(f"DELETE FROM audit WHERE audit_id = {row}")
            verdict = audit.verify(connection, None, "")
            connection.execute("ROLLBACK")
            assert (verdict.broken_id, verdict.rows) == ((row + 1, row) if row < ROWS else (0, ROWS - 1))
            assert ("missing at the end" in verdict.problem) is (row == ROWS)


def test_rows_that_changed_places_or_were_put_between_are_found(folder: Path) -> None:
    with open_store(folder) as store:
        store.audit(replace(entry(3), time_us=8)).result()
    change(
        folder,
        "UPDATE audit SET audit_id = 100 WHERE audit_id = 4",
        "UPDATE audit SET audit_id = 4 WHERE audit_id = 5",
        "UPDATE audit SET audit_id = 5 WHERE audit_id = 100",
    )
    with open_store(folder) as store:
        assert store.verify_audit().broken_id == 4


def test_a_tail_that_was_cut_off_with_its_counter_is_shown_by_a_head_that_was_noted(folder: Path) -> None:
    with open_store(folder) as store:
        _, noted = store.audit_head()
    change(
        folder,
        f"DELETE FROM audit WHERE audit_id = {ROWS}",
        f"UPDATE counter SET value = {ROWS - 1} WHERE name = 'audit'",
    )
    with open_store(folder) as store:
        assert store.verify_audit().whole  # nothing in the folder can tell
        verdict = store.verify_audit(noted)
        assert (verdict.whole, verdict.noted_id) == (False, 0)
        store.audit(entry(1)).result()
        assert not store.verify_audit(noted).whole


def test_a_noted_head_is_found_again_behind_what_followed(folder: Path) -> None:
    with open_store(folder) as store:
        _, noted = store.audit_head()
        store.audit(entry(99)).result()
        verdict = store.verify_audit(noted)
    assert (verdict.whole, verdict.noted_id, verdict.head_id) == (True, ROWS, ROWS + 1)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM audit WHERE audit_id = 3",
        "UPDATE audit SET actor = 'eve' WHERE audit_id = 3",
        "UPDATE audit SET subject = 'x' WHERE audit_id = 3",
        "UPDATE audit SET subject = 'erased:00' WHERE audit_id = 3",
        "UPDATE audit SET subject = 'erased:' || lower(hex(subject_digest)), actor = 'eve' WHERE audit_id = 3",
        "REPLACE INTO audit (audit_id, time_us, actor, action, subject) VALUES (3, 1, 'eve', 'x', '')",
        "INSERT INTO audit (audit_id, time_us, actor, action, subject) VALUES (0, 1, 'eve', 'x', '')",
    ],
)
def test_the_database_refuses_changes(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / "coterie.db")) as connection:
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
        connection.rollback()
    with open_store(folder) as store:
        assert store.verify_audit().whole


def test_an_erasure_leaves_the_chain_whole_and_the_name_gone(folder: Path, exchange: Callable[..., object]) -> None:
    with open_store(folder) as store:
        store.audit(AuditEntry(8, "ann", "read_account", "account-77")).result()
        _, noted = store.audit_head()
        pending = store.begin_erasure("account-77", 9)  # type: ignore[arg-type]
        store.erase_account(pending.account_id, 9)
        mark = store.finish_erasure(pending, 10)
        store.audit(AuditEntry(11, "ann", "read_account", "account-77")).result()  # asks for what is gone
        assert [row.entry.subject for row in store.audit_rows(action="read_account", limit=9)] == [mark, mark]
        verdict = store.verify_audit(noted)
        assert (verdict.whole, verdict.noted_id) == (True, ROWS + 1)
    assert b"account-77" not in (folder / "coterie.db").read_bytes()
    change(folder, "UPDATE audit SET subject = 'erased:" + "0" * 32 + f"' WHERE audit_id = {ROWS + 1}")
    with open_store(folder) as store:
        assert store.verify_audit().broken_id == ROWS + 1


def test_the_rows_of_an_older_folder_join_the_chain(tmp_path: Path) -> None:
    folder = tmp_path / "old"
    folder.mkdir(mode=0o700)
    with closing(sqlite3.connect(folder / "coterie.db", isolation_level=None)) as connection:
        connection.execute(f"PRAGMA application_id = {0x636F7465}")
        for number, script in migrations():
            if number < CHAINED_SINCE:
                connection.executescript(f"{script}; PRAGMA user_version = {number};")
        for number in range(1, 4):
            connection.execute("INSERT INTO audit VALUES (?, ?, 'unix:', 'search', ?)", (number, number, f"e{number}"))
        connection.execute(f"INSERT INTO audit VALUES (9, 9, 'unix:', 'erase_account', 'erased:{'ab' * 16}')")
        connection.execute("INSERT INTO counter VALUES ('audit', 9)")
    for _ in range(2):
        with open_store(folder) as store:
            verdict = store.verify_audit()
            assert (verdict.whole, verdict.rows, verdict.head_id) == (True, 4, 9)
    change(folder, "UPDATE audit SET actor = 'eve' WHERE audit_id = 2")
    with open_store(folder) as store:
        assert store.verify_audit().broken_id == 2


def test_under_a_key_a_chain_cannot_be_made_without_it(folder: Path) -> None:
    with open_store(folder) as store:
        store.use_audit_key(KEY)
        for number in (8, 9):
            store.audit(entry(number)).result()
        verdict = store.verify_audit()
        assert (verdict.whole, verdict.keyed_from) == (True, 8)
        for other in (None, bytes(32)):
            store.use_audit_key(other)
            assert store.verify_audit().broken_id == 8
        store.use_audit_key(None)
        store.audit(entry(10)).result()
        store.use_audit_key(KEY)
        assert (store.verify_audit().broken_id, "not under the audit key" in store.verify_audit().problem) == (10, True)


def test_many_callers_share_a_commit_and_the_chain_holds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_store(folder) as store:
        ids = [store.audit(entry(number)) for number in range(500)]
        assert [row.result() for row in ids] == list(range(ROWS + 1, ROWS + 501))
        assert store.verify_audit().whole


def test_a_write_that_is_undone_takes_its_row_with_it_and_no_other(folder: Path) -> None:
    from coterie.store import audit

    def undone(transaction: object) -> None:
        audit.append(transaction, entry(50), None)  # type: ignore[arg-type]
        raise InvalidError("undone")

    with open_store(folder) as store:
        first, bad, last = (
            store.audit(entry(1)), store._writer.submit(undone, wait=True), store.audit(entry(2)),
        )  # fmt: skip
        assert first.result() < last.result()
        assert isinstance(bad.exception(), InvalidError)
        assert store.verify_audit().whole


def test_what_is_written_after_a_row_is_durable_only_with_it(folder: Path, exchange: Callable[..., object]) -> None:
    with open_store(folder) as store:
        done: list[str] = []
        row = store.audit(entry(8))
        row.add_done_callback(lambda _: done.append("row"))
        store.append([exchange(1)])  # type: ignore[list-item]
        assert done == ["row"]


@pytest.mark.parametrize("name", ["action", "subject", "actor", "request_id"])
@pytest.mark.parametrize("text", ["secret words " * 40, "secret\nwords"])
def test_a_row_takes_ids_not_text(folder: Path, name: str, text: str) -> None:
    with open_store(folder) as store:
        with pytest.raises(InvalidError, match="never text") as caught:
            store.audit(replace(entry(8), **{name: text}))  # type: ignore[arg-type]
        assert caught.value.field == name
        assert "secret" not in str(caught.value)
        assert store.audit_head()[0] == ROWS


@pytest.fixture
def stuck(folder: Path) -> Iterator[SqliteStore]:
    """A store whose writer waits."""
    import threading

    go = threading.Event()
    with open_store(folder) as store:
        started = threading.Event()
        store._writer.submit(lambda _: started.set() or go.wait(30), wait=True)
        started.wait(10)
        yield store
        go.set()


def test_a_full_queue_of_exchanges_leaves_room_for_the_audit_and_that_is_bounded(
    stuck: SqliteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = sys.modules["coterie.store.writer"]
    monkeypatch.setattr(writer, "QUEUE_REQUESTS_MAX", 3)
    monkeypatch.setattr(writer, "QUEUE_SMALL_MAX", 2)
    for _ in range(3):
        stuck._writer.submit(lambda _: None, chars=9, wait=False)
    with pytest.raises(OverloadedError):
        stuck._writer.submit(lambda _: None, chars=9, wait=False)
    for number in range(2):
        stuck.audit(entry(number))
    with pytest.raises(OverloadedError):
        stuck.audit(entry(2))
