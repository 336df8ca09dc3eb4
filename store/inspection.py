"""A look into a database beside whoever has it open: read-only, without the folder's lock."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from coterie.domain import UnavailableError
from coterie.store.database import check_owner, migrations, translated


@dataclass(frozen=True, slots=True)
class DatabaseLook:
    """What a database was seen to be.

    Attributes:
        schema_version, schema_newest: number of its last migration, and of the last that this version knows.
        problem: what the integrity check found; empty for nothing, or where it was left out.
        model_id: of its vectors; empty before the first.
        latest_us: time of the newest exchange, microseconds since the epoch; 0 for none.
        log_bytes: size of the write-ahead log.
    """

    schema_version: int
    schema_newest: int
    problem: str
    model_id: str
    latest_us: int
    log_bytes: int


def look_into(data_dir: Path, *, whole: bool) -> DatabaseLook:
    """Look into the database of a data folder.

    Args:
        whole: also read it from end to end, which takes about a second a gigabyte on a quick disk.

    Raises:
        UnavailableError: it cannot be read, or is not coterie's.
    """
    path = data_dir / "coterie.db"
    log = path.with_name(f"{path.name}-wal")
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        try:
            check_owner(connection, path)
            problem = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0]) if whole else "ok"
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            newest = migrations()[-1][0]
            model_id, latest_us = "", 0
            if 0 < version <= newest:
                row = connection.execute("SELECT value FROM setting WHERE name = 'model_id'").fetchone()
                model_id = str(row[0]) if row else ""
                latest_us = int(connection.execute("SELECT coalesce(max(time_us), 0) FROM exchange").fetchone()[0])
        finally:
            connection.close()
    except UnicodeDecodeError as error:  # torn bytes where text was
        raise UnavailableError(f"{path} is damaged: stop, and restore it from a backup") from error
    except (OSError, sqlite3.Error) as error:
        raise translated(error, path) from error
    log_bytes = log.stat().st_size if log.exists() else 0
    return DatabaseLook(version, newest, "" if problem == "ok" else problem, model_id, latest_us, log_bytes)


def sqlite_build() -> tuple[str, frozenset[str]]:
    """The version of SQLite, and the options it was compiled with."""
    connection = sqlite3.connect(":memory:")
    try:
        options = frozenset(str(row[0]) for row in connection.execute("PRAGMA compile_options"))
    finally:
        connection.close()
    return sqlite3.sqlite_version, options
