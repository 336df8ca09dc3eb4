"""Group commit: who shares a transaction, who gets which error."""

import logging
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from coterie.domain import ConflictError, CoterieError, Exchange, OverloadedError, UnavailableError
from coterie.domain.telemetry import Commit
from coterie.store import SqliteStore, open_store, writer
from coterie.store.changes import Transaction

Make = Callable[..., Exchange]


class Watched:
    """The writer's connection, with its commits counted and, on demand, refused."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.commits = 0
        self.refusals = 0

    def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
        if statement == "COMMIT":
            self.commits += 1
            if self.refusals:
                self.refusals -= 1
                raise sqlite3.OperationalError("disk I/O error")
        return self._connection.execute(statement, *parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class Gate:
    """A job that holds the writer until it is opened, so that what comes after it gathers in one group."""

    def __init__(self, store: SqliteStore) -> None:
        self.entered = threading.Event()
        self._opened = threading.Event()
        self._future: Future[None] = store._writer.submit(self._job, wait=True)
        assert self.entered.wait(30)

    def _job(self, transaction: Transaction) -> None:
        self.entered.set()
        assert self._opened.wait(30)

    def open(self) -> None:
        self._opened.set()
        self._future.result(timeout=30)


@pytest.fixture
def watched(store: SqliteStore) -> Watched:
    connection = Watched(store._writer._connection)
    store._writer._connection = connection  # type: ignore[assignment]
    return connection


def test_callers_that_wait_share_a_commit(store: SqliteStore, watched: Watched, exchange: Make) -> None:
    gate = Gate(store)
    futures = [store.submit([exchange(number)]) for number in range(20)]
    gate.open()
    assert [future.result(timeout=30).stored for future in futures] == [1] * 20
    assert watched.commits == 2


def test_a_failed_commit_reaches_every_caller_and_the_next_group_goes_on(
    store: SqliteStore, watched: Watched, exchange: Make, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate(store)
    futures = [store.submit([exchange(number)]) for number in range(3)]
    watched.refusals = 2
    with caplog.at_level(logging.ERROR), pytest.raises(CoterieError, match="nothing of this request was stored"):
        gate.open()
    for future in futures:
        with pytest.raises(CoterieError, match="nothing of this request was stored"):
            future.result(timeout=30)
    assert store.stats().exchanges == 0
    assert store.append([exchange(0), exchange(1)]).last_sequence == 2


def test_a_request_that_fails_is_undone_alone(
    store: SqliteStore, watched: Watched, exchange: Make, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(transaction: Transaction) -> None:
        transaction.connection.execute("INSERT INTO setting (name, value) VALUES ('half', 'done')")
        raise ZeroDivisionError

    store.bind_model("m", 4)
    before = watched.commits
    gate = Gate(store)
    good = [store.submit([exchange(1)])]
    refused = store._writer.submit(lambda _: (_ for _ in ()).throw(ConflictError("on purpose")), wait=True)
    with caplog.at_level(logging.ERROR):
        defect = store._writer.submit(broken, wait=True)
        good.append(store.submit([exchange(2)]))
        gate.open()
        assert [future.result(timeout=30).stored for future in good] == [1, 1]
        with pytest.raises(ConflictError, match="on purpose"):
            refused.result(timeout=30)
        with pytest.raises(CoterieError, match="ZeroDivisionError"):
            defect.result(timeout=30)
    assert watched.commits == before + 2
    assert store.model() == ("m", 4)
    with store._readers.snapshot() as connection:
        assert connection.execute("SELECT count(*) FROM setting WHERE name = 'half'").fetchone() == (0,)


def test_ids_of_an_undone_request_are_not_given_again_in_its_group(store: SqliteStore, exchange: Make) -> None:
    def taken(transaction: Transaction) -> int:
        return transaction.take("sequence")

    def failed(transaction: Transaction) -> None:
        transaction.take("sequence")
        raise ConflictError("on purpose")

    gate = Gate(store)
    first = store._writer.submit(taken, wait=True)
    undone = store._writer.submit(failed, wait=True)
    last = store._writer.submit(taken, wait=True)
    gate.open()
    assert undone.exception(timeout=30) is not None
    assert (first.result(timeout=30), last.result(timeout=30)) == (1, 3)
    assert store.append([exchange(1)]).last_sequence == 4


def test_a_full_queue_refuses_who_will_not_wait_and_holds_who_will(
    store: SqliteStore, exchange: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "QUEUE_REQUESTS_MAX", 2)
    gate = Gate(store)
    futures = [store.submit([exchange(number)]) for number in (1, 2)]
    with pytest.raises(OverloadedError, match="2 requests with 16 characters wait") as caught:
        store.submit([exchange(3)])
    assert caught.value.retry_after_s > 0
    waiting = threading.Thread(target=store.append, args=([exchange(4)],))
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    gate.open()
    waiting.join(30)
    assert [future.result(timeout=30).stored for future in futures] == [1, 1]
    assert [item.exchange_id for item in store.exchanges(["e1", "e2", "e3", "e4"])] == ["e1", "e2", "e4"]


def test_the_queue_is_bounded_in_characters_but_takes_one_large_request(
    store: SqliteStore, exchange: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "QUEUE_CHARS_MAX", 100)
    gate = Gate(store)
    large = store.submit([exchange(1, prompt="x" * 1_000)])
    with pytest.raises(OverloadedError):
        store.submit([exchange(2)])
    gate.open()
    assert large.result(timeout=30).stored == 1
    assert store.submit([exchange(2)]).result(timeout=30).stored == 1


def test_closing_writes_what_is_queued(data_dir: Path, exchange: Make) -> None:
    store = open_store(data_dir)
    gate = Gate(store)
    futures = [store.submit([exchange(number)]) for number in range(5)]
    threading.Timer(0.1, gate.open).start()
    store.close()
    assert [future.result(timeout=30).stored for future in futures] == [1] * 5
    with open_store(data_dir) as again:
        assert again.stats().exchanges == 5


def test_a_cancelled_request_is_not_written(store: SqliteStore, exchange: Make) -> None:
    gate = Gate(store)
    cancelled, kept = store.submit([exchange(1)]), store.submit([exchange(2)])
    assert cancelled.cancel()
    gate.open()
    assert kept.result(timeout=30).stored == 1
    assert store.window().exchange_ids == ("e2",)


def test_readers_see_one_commit_and_are_bounded(
    store: SqliteStore, exchange: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coterie.store.database.READERS_MAX", 1)
    with store._readers.snapshot() as connection:
        count = "SELECT count(*) FROM exchange"
        assert connection.execute(count).fetchone() == (0,)
        store.append([exchange(1)])
        assert connection.execute(count).fetchone() == (0,)
        reader = threading.Thread(target=store.stats)
        reader.start()
        reader.join(0.1)
        assert reader.is_alive()
    reader.join(30)
    assert not reader.is_alive()
    assert store.stats().exchanges == 1


def test_reading_a_damaged_file_is_an_error_of_the_tree(store: SqliteStore) -> None:
    with pytest.raises(UnavailableError, match="cannot be written"), store._readers.snapshot() as connection:
        connection.execute("DELETE FROM exchange")


def test_every_transaction_tells_how_many_shared_it(store: SqliteStore, exchange: Make, watched: Watched) -> None:
    told: list[Commit] = []
    store.on_commit(told.append)
    gate = Gate(store)
    waiting = [store.submit([exchange(number, prompt="abcde")]) for number in range(5)]
    assert store.waiting_writes() == (5, 25)
    gate.open()
    for future in waiting:
        future.result(timeout=30)
    assert [(commit.requests, commit.chars, commit.failed) for commit in told] == [(1, 0, False), (5, 25, False)]
    assert all(commit.duration_s > 0 for commit in told)
    assert store.waiting_writes() == (0, 0)
    watched.refusals = 1
    with pytest.raises(CoterieError):
        store.append([exchange(9)])
    assert told[-1].failed


def test_a_write_check_fails_with_the_disk_and_not_with_the_queue(store: SqliteStore, watched: Watched) -> None:
    store.check_writable(30.0)
    watched.refusals = 1
    with pytest.raises(CoterieError):
        store.check_writable(30.0)
    gate = Gate(store)
    with pytest.raises(UnavailableError, match=r"took no write for 0\.05 s"):
        store.check_writable(0.05)
    gate.open()
    store.check_writable(30.0)
    database_bytes, log_bytes = store.file_sizes()
    assert database_bytes >= 4_096
    assert log_bytes > 0
