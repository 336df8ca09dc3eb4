"""Opening, migrating, and what a caller hears of a bad folder or a full disk."""

import logging
import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from coterie.domain import CoterieError, Exchange, NotFoundError, UnavailableError
from coterie.store import SqliteStore, database, open_store

Make = Callable[..., Exchange]


def version(data_dir: Path) -> int:
    connection = sqlite3.connect(data_dir / "coterie.db")
    try:
        found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    finally:
        connection.close()
    return found


def test_migrations_are_numbered_without_a_gap() -> None:
    assert [number for number, _ in database.migrations()] == list(range(1, len(database.migrations()) + 1))


def test_a_new_folder_is_made_and_is_its_owners_alone(data_dir: Path, exchange: Make) -> None:
    nested = data_dir / "deeper"
    with open_store(nested) as store:
        store.append([exchange(1)])
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [nested, *nested.iterdir()]}
    assert modes.pop("deeper") == 0o700
    assert {"coterie.db", "coterie.db-wal", "lock"} <= modes.keys()
    assert set(modes.values()) == {0o600}


def test_version_0_is_brought_up_to_date_and_kept(data_dir: Path, exchange: Make) -> None:
    data_dir.mkdir()
    (data_dir / "coterie.db").touch()
    with open_store(data_dir) as store:
        store.append([exchange(1)])
    assert version(data_dir) == len(database.migrations())
    with open_store(data_dir) as store:
        assert store.exchange("e1") == exchange(1)


def test_only_newer_scripts_run(data_dir: Path, exchange: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_store(data_dir) as store:
        store.append([exchange(1)])
    newest = len(database.migrations())
    scripts = [*database.migrations(), (newest + 1, "CREATE TABLE added (x INTEGER); INSERT INTO added VALUES (1);")]
    monkeypatch.setattr(database, "migrations", lambda: scripts)
    for _ in range(2):
        with open_store(data_dir) as store:
            assert store.exchange("e1") == exchange(1)
    connection = sqlite3.connect(data_dir / "coterie.db")
    assert connection.execute("SELECT count(*) FROM added").fetchone() == (1,)
    connection.close()
    assert version(data_dir) == newest + 1


def test_a_script_that_fails_leaves_the_version_before(
    data_dir: Path, exchange: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(data_dir) as store:
        store.append([exchange(1)])
    newest = len(database.migrations())
    with monkeypatch.context() as patch:
        patch.setattr(
            database,
            "migrations",
            lambda: [(newest + 1, "CREATE TABLE added (x INTEGER); INSERT INTO missing VALUES (1);")],
        )
        with pytest.raises(CoterieError, match="missing"):
            open_store(data_dir)
    with open_store(data_dir) as store:
        assert store.exchange("e1") == exchange(1)
    assert version(data_dir) == newest


def test_a_newer_version_is_refused_untouched(data_dir: Path) -> None:
    open_store(data_dir).close()
    connection = sqlite3.connect(data_dir / "coterie.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(
        UnavailableError, match=f"version 99, this coterie knows up to {len(database.migrations())}: use"
    ):
        open_store(data_dir)
    assert version(data_dir) == 99


def test_another_programs_database_is_refused(data_dir: Path) -> None:
    data_dir.mkdir()
    connection = sqlite3.connect(data_dir / "coterie.db")
    connection.execute("CREATE TABLE theirs (x INTEGER)")
    connection.close()
    with pytest.raises(UnavailableError, match="another program's database"):
        open_store(data_dir)


def test_nothing_is_made_when_creating_is_off(data_dir: Path) -> None:
    with pytest.raises(NotFoundError, match="no coterie data"):
        open_store(data_dir, create=False)
    assert not data_dir.exists()
    open_store(data_dir).close()
    open_store(data_dir, create=False).close()


def test_a_folder_that_is_a_file_is_refused(data_dir: Path) -> None:
    data_dir.write_text("a file")
    with pytest.raises(UnavailableError, match=r"cannot write .*choose another data folder"):
        open_store(data_dir)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_refused(data_dir: Path) -> None:
    data_dir.mkdir(mode=0o500)
    with pytest.raises(UnavailableError, match=r"cannot write .*permissions"):
        open_store(data_dir)


def test_a_database_that_is_a_folder_is_refused_and_the_lock_given_back(data_dir: Path) -> None:
    (data_dir / "coterie.db").mkdir(parents=True)
    with pytest.raises(UnavailableError, match="cannot write"):
        open_store(data_dir)
    (data_dir / "coterie.db").rmdir()
    open_store(data_dir).close()


def test_a_full_disk_fails_the_caller_and_not_the_next(
    store: SqliteStore, exchange: Make, caplog: pytest.LogCaptureFixture
) -> None:
    store.append([exchange(1)])
    connection = store._writer._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    secret = "canary " * 100_000
    with caplog.at_level(logging.ERROR):
        futures = [store.submit([exchange(number, prompt=f"{secret}{number}")]) for number in (2, 3)]
        for future in futures:
            with pytest.raises(UnavailableError, match=r"disk of .* is full, nothing of this request was stored"):
                future.result(timeout=30)
    assert "canary" not in caplog.text
    connection.execute("PRAGMA max_page_count = 1000000")
    assert store.exchanges(["e1", "e2", "e3"]) == [exchange(1)]
    assert store.append([exchange(2)]).stored == 1
    assert store.window().exchange_ids == ("e1", "e2")


def test_a_closed_store_says_so(data_dir: Path, exchange: Make) -> None:
    store = open_store(data_dir)
    store.close()
    for call in (lambda: store.append([exchange(1)]), store.stats, lambda: store.submit([exchange(1)])):
        with pytest.raises(UnavailableError, match="closed"):
            call()
