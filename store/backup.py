"""Copies of the database: taken while it is written to, and checked from end to end."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from coterie.domain import UnavailableError
from coterie.store.database import check_owner, migrations, translated

_SLICE_PAGES = 1_000
"""Pages copied without a pause; 4 MB, a few milliseconds."""


@dataclass(frozen=True, slots=True)
class DatabaseFacts:
    """What a database says of itself.

    Attributes:
        schema_version: number of the last migration.
        last_sequence: the last durable sequence.
        last_erasure: number of the last tombstone; 0 before the first.
    """

    schema_version: int
    exchanges: int
    last_sequence: int
    last_erasure: int


def copy_database(source: sqlite3.Connection, path: Path, progress: Callable[[float], None]) -> None:
    """Copy one commit of a database into a new file, in slices; the file is whole once this returns.

    Args:
        source: a connection inside a read transaction: the backup API then copies that commit, whatever is written
            meanwhile. Without one it would begin anew at every commit of another connection.
        progress: told the copied share after each slice; may raise to stop.

    Raises:
        sqlite3.Error: the database cannot be read, or the file not written.
    """
    assert source.in_transaction
    target = sqlite3.connect(path, isolation_level=None)
    try:
        # Whoever asked for the copy syncs it: half a copy is never used, so nothing is lost before that.
        target.execute("PRAGMA synchronous = OFF")
        target.execute("PRAGMA secure_delete = ON")
        source.backup(
            target, pages=_SLICE_PAGES, progress=lambda _, left, total: progress(1 - left / total if total else 1.0)
        )
        # One file, without a log beside it.
        target.execute("PRAGMA journal_mode = DELETE")
    finally:
        target.close()


def check_database(path: Path) -> DatabaseFacts:
    """Read a database file that nobody has open from end to end; it is not changed.

    Raises:
        UnavailableError: not coterie's, damaged, or from a newer version.
    """
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)
    except sqlite3.Error as error:
        raise translated(error, path) from error
    try:
        check_owner(connection, path)
        found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise UnavailableError(f"{path} is damaged: stop, and restore it from a backup")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        newest = migrations()[-1][0]
        if not 0 < version <= newest:
            raise UnavailableError(
                f"{path} is of version {version}, this coterie knows 1 to {newest}: use the coterie that wrote it, or "
                "a newer one"
            )
        return DatabaseFacts(
            schema_version=version,
            exchanges=_number(connection, "SELECT count(*) FROM exchange"),
            last_sequence=_number(connection, "SELECT max(value) FROM counter WHERE name = 'sequence'"),
            last_erasure=_number(connection, "SELECT max(value) FROM counter WHERE name = 'erasure'"),
        )
    except sqlite3.Error as error:
        raise translated(error, path) from error
    finally:
        connection.close()


def _number(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0] or 0)
