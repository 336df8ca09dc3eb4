"""What is in a database, held against what was acknowledged."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.faults.streams import Stream


@dataclass(frozen=True, slots=True)
class Found:
    """Faults of a database; all are 0 in one that is right.

    Attributes:
        lost: acknowledged exchanges that are not there, or with another prompt.
        doubled: exchanges that are there more than once.
        invented: exchanges that nobody sent.
        torn: exchanges with a text that is missing.
        unfinished: runs that are neither done nor failed nor cancelled.
    """

    lost: int = 0
    doubled: int = 0
    invented: int = 0
    torn: int = 0
    unfinished: int = 0

    @property
    def faults(self) -> int:
        """All of them together."""
        return self.lost + self.doubled + self.invented + self.torn + self.unfinished


def look(database: Path, streams: Iterable[Stream], *, settled: bool) -> Found:
    """Read a database beside the service that has it open.

    Args:
        settled: whether no run is at work.
    """
    connection = sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)
    try:
        connection.execute("BEGIN")
        rows = connection.execute(
            "SELECT e.exchange_id, t.content FROM exchange e LEFT JOIN text t ON t.text_id = e.prompt"
            " WHERE e.account_id NOT LIKE 'erased-%'"
        ).fetchall()
        torn = connection.execute(
            "SELECT count(*) FROM exchange e LEFT JOIN text p ON p.text_id = e.prompt LEFT JOIN text r ON r.text_id ="
            " e.response WHERE p.text_id IS NULL OR (e.response IS NOT NULL AND r.text_id IS NULL)"
        ).fetchone()[0]
        unfinished = connection.execute("SELECT count(*) FROM run WHERE state IN ('pending', 'running')").fetchone()[0]
    finally:
        connection.close()
    there = dict(rows)
    lost = sent = 0
    for stream in streams:
        lost += sum(there.get(exchange_id) != prompt for exchange_id, prompt in stream.ids())
        sent += sum(f"s{stream.number}-{number}" in there for number in range(stream.sent))
    return Found(
        lost=lost,
        doubled=len(rows) - len(there),
        invented=len(there) - sent,
        torn=torn,
        unfinished=unfinished if settled else 0,
    )


def of_account(database: Path, account_id: str) -> int:
    """How many exchanges of an account are there."""
    return int(_rows(database, "SELECT count(*) FROM exchange WHERE account_id = ?", account_id)[0][0])


def count(database: Path) -> int:
    """How many exchanges are there."""
    return int(_rows(database, "SELECT count(*) FROM exchange")[0][0])


def last_erasure(database: Path) -> int:
    """The number of the last tombstone; 0 before the first."""
    return int(_rows(database, "SELECT max(value) FROM counter WHERE name = 'erasure'")[0][0] or 0)


def done_runs(database: Path) -> list[str]:
    """The ids of the runs that are done, oldest first."""
    return [row[0] for row in _rows(database, "SELECT run_id FROM run WHERE state = 'done' ORDER BY created_us")]


def _rows(database: Path, query: str, *values: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)
    try:
        return connection.execute(query, values).fetchall()
    finally:
        connection.close()
