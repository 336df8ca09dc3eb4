"""The database file: opening, migrating, reading connections, and what SQLite's errors mean to a caller."""

import os
import re
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from coterie.domain import CoterieError, UnavailableError
from coterie.store import audit

READERS_MAX = 32
"""Reading connections; further readers wait for one to come free."""

_APPLICATION_ID = 0x636F7465  # "cote"
_BUSY_MS = 5_000
_WAL_BYTES_MAX = 256 * 1024 * 1024
# Random ids and digests dirty an index page a row: the longer the log, the more of them share a page's write.
_WAL_CHECKPOINT_PAGES = 48_000
_CACHE_KIB = 64 * 1024


def migrations() -> list[tuple[int, str]]:
    """The numbered scripts of this package, `(version, SQL)`, from 1 without a gap."""
    found = []
    for entry in files("coterie.store").iterdir():
        name = re.fullmatch(r"(\d{4})_\w+\.sql", entry.name)
        if name:
            found.append((int(name[1]), entry.read_text("utf-8")))
    return sorted(found)


def open_writer(path: Path) -> sqlite3.Connection:
    """Open or create the database, migrated to this version, on the one connection that writes.

    Raises:
        UnavailableError: not SQLite, not coterie's, from a newer version, or not writable.
    """
    try:
        # Before SQLite does, which would make it readable to all.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as error:
        raise translated(error, path) from error
    try:
        check_owner(connection, path)
        _check_version(connection, path)  # before anything is written
        _set_up(connection)
        migrate(connection, path)
        if _pragma(connection, "user_version") >= audit.CHAINED_SINCE:
            audit.adopt(connection)
        _sync_folder(path.parent)
    except (OSError, sqlite3.Error) as error:
        connection.close()
        raise translated(error, path) from error
    except CoterieError:
        connection.close()
        raise
    return connection


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Run the scripts the database has not seen, each in a transaction with its version number.

    Raises:
        UnavailableError: the database is from a newer version.
    """
    version = _check_version(connection, path)
    for number, script in migrations():
        if number > version:
            _run_script(connection, f"BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")


class Readers:
    """Read-only connections, each lent to one thread at a time."""

    def __init__(self, path: Path, prepare: Callable[[sqlite3.Connection], None] = lambda _: None) -> None:
        """`prepare` is called with every new connection."""
        self._path = path
        self._prepare = prepare
        self._lent = 0
        self._closed = False
        self._free: deque[sqlite3.Connection] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A connection on which every statement sees the same commit.

        Raises:
            UnavailableError: the store is closed, or its file cannot be read.
        """
        connection = self._borrow()
        try:
            connection.execute("BEGIN")
            yield connection
        except sqlite3.Error as error:
            raise translated(error, self._path) from error
        finally:
            self._give_back(connection)

    def close(self) -> None:
        """Wait for the readers at work, then close every connection."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._lent == 0)
            while self._free:
                self._free.pop().close()

    def _borrow(self) -> sqlite3.Connection:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._lent < READERS_MAX)
            if self._closed:
                raise closed_error()
            self._lent += 1
            if self._free:
                return self._free.pop()
        try:
            return self._connect()
        except sqlite3.Error as error:
            with self._changed:
                self._lent -= 1
                self._changed.notify_all()
            raise translated(error, self._path) from error

    def _give_back(self, connection: sqlite3.Connection) -> None:
        usable = True
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            # Its file is in trouble, which the reader is told already: the next reader gets a fresh connection.
            connection.close()
            usable = False
        with self._changed:
            self._lent -= 1
            if usable:
                self._free.append(connection)
            self._changed.notify_all()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA query_only = ON")
        connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        self._prepare(connection)
        return connection


def truncate_log(connection: sqlite3.Connection) -> bool:
    """Move the write-ahead log into the database and empty its file; False while a reader needs it."""
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def closed_error() -> UnavailableError:
    """The error of a call on a closed store."""
    return UnavailableError("the store is closed: open it again")


def translated(error: Exception, path: Path) -> CoterieError:
    """The error of the tree for what went wrong with the file; a `CoterieError` as it is."""
    if isinstance(error, CoterieError):
        return error
    if isinstance(error, OSError):
        return UnavailableError(
            f"cannot write {path}: {error.strerror}; mend its permissions or choose another data folder"
        )
    code = getattr(error, "sqlite_errorname", "")
    for prefix, advice in _ADVICE:
        if code.startswith(prefix):
            return UnavailableError(advice.format(path=path))
    # The text of SQLite's own messages is about the schema, never about values.
    detail = str(error) if isinstance(error, sqlite3.Error) else type(error).__name__
    return CoterieError(f"the store failed on {path}, nothing of this request was stored: {code} {detail}")


_ADVICE = (
    ("SQLITE_FULL", "the disk of {path} is full, nothing of this request was stored: free space, then send again"),
    ("SQLITE_NOTADB", "{path} is not a coterie database: restore it from a backup or choose another data folder"),
    ("SQLITE_CORRUPT", "{path} is damaged: stop, and restore it from a backup"),
    ("SQLITE_READONLY", "{path} cannot be written: mend its permissions or choose another data folder"),
    ("SQLITE_CANTOPEN", "{path} cannot be opened: mend its permissions or choose another data folder"),
    ("SQLITE_IOERR", "reading or writing {path} failed, nothing of this request is promised: check the disk"),
    ("SQLITE_BUSY", "{path} is locked by another program: end it, then try again"),
)


def _sync_folder(folder: Path) -> None:
    # A new file's name is durable only when its folder is.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_owner(connection: sqlite3.Connection, path: Path) -> None:
    """Raise UnavailableError where the database is another program's."""
    owner = _pragma(connection, "application_id")
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if owner != _APPLICATION_ID and (owner or tables):
        raise UnavailableError(f"{path} is another program's database: choose another data folder")


def _check_version(connection: sqlite3.Connection, path: Path) -> int:
    version, newest = _pragma(connection, "user_version"), migrations()[-1][0]
    if version > newest:
        raise UnavailableError(
            f"{path} is of version {version}, this coterie knows up to {newest}: "
            "use the coterie that wrote it, or a newer one, or another data folder"
        )
    return version


def _set_up(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
    if _pragma(connection, "application_id") != _APPLICATION_ID:
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    # Erased means overwritten. On from the first row: an update, too, leaves the old copy in its page.
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES_MAX}")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")


def _run_script(connection: sqlite3.Connection, script: str) -> None:
    try:
        connection.executescript(script)
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value
