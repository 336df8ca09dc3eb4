"""How far webhook endpoints have been told: every statement that reads or changes it."""

import sqlite3
from collections.abc import Mapping

from coterie.domain import ConflictError, NotFoundError, WebhookState


def states(connection: sqlite3.Connection, urls: Mapping[str, str]) -> list[WebhookState]:
    """Every endpoint that was ever told, by name.

    Args:
        urls: of the endpoints that are configured, by their names.
    """
    rows = connection.execute(
        "SELECT w.name, w.cursor, w.delivered, (SELECT count(*) FROM webhook_dead d WHERE d.name = w.name), w.failures,"
        " w.failing_since_us, w.last_error FROM webhook w ORDER BY w.name"
    )
    return [WebhookState(row[0], urls.get(row[0], ""), *row[1:]) for row in rows]


def begin(connection: sqlite3.Connection, name: str, last_event: int) -> int:
    """Where an endpoint is; one that is new begins after an event."""
    connection.execute("INSERT OR IGNORE INTO webhook (name, cursor) VALUES (?, ?)", (name, last_event))
    return _cursor(connection, name)


def advance(connection: sqlite3.Connection, name: str, before: int, event: int, *, delivered: bool) -> bool:
    """Go on after an event that was delivered, or that says nothing; False where a replay has moved the endpoint."""
    done = connection.execute(
        "UPDATE webhook SET cursor = ?, delivered = delivered + ?,"
        " failures = CASE WHEN ? THEN 0 ELSE failures END,"
        " failing_since_us = CASE WHEN ? THEN 0 ELSE failing_since_us END,"
        " last_error = CASE WHEN ? THEN '' ELSE last_error END WHERE name = ? AND cursor = ?",
        (event, delivered, delivered, delivered, delivered, name, before),
    )
    return done.rowcount > 0


def fail(connection: sqlite3.Connection, name: str, error: str, time_us: int) -> tuple[int, int]:
    """Record a try that failed; returns since when all did, microseconds since the epoch, and how many."""
    connection.execute(
        "UPDATE webhook SET failures = failures + 1, last_error = ?,"
        " failing_since_us = CASE failing_since_us WHEN 0 THEN ? ELSE failing_since_us END WHERE name = ?",
        (error, time_us, name),
    )
    since_us, failures = connection.execute(
        "SELECT failing_since_us, failures FROM webhook WHERE name = ?", (name,)
    ).fetchone()
    return int(since_us), int(failures)


def give_up(connection: sqlite3.Connection, name: str, before: int, event: int, error: str, time_us: int) -> bool:
    """Put an event by and go on after it; False where a replay has moved the endpoint."""
    if not advance(connection, name, before, event, delivered=False):
        return False
    connection.execute(
        "INSERT OR REPLACE INTO webhook_dead (name, event_id, time_us, error) VALUES (?, ?, ?, ?)",
        (name, event, time_us, error),
    )
    return True


def replay(connection: sqlite3.Connection, name: str, after_event: int | None) -> int:
    """Tell an endpoint again from an event on, by default from the first it did not take; returns where it goes on."""
    cursor = _cursor(connection, name)
    if after_event is None:
        row = connection.execute("SELECT min(event_id) FROM webhook_dead WHERE name = ?", (name,)).fetchone()
        if row[0] is None:
            raise ConflictError(f"{name} took everything: name the event after which to tell it again")
        after_event = row[0] - 1
    after_event = min(after_event, cursor)
    connection.execute(
        "UPDATE webhook SET cursor = ?, failing_since_us = 0, failures = 0 WHERE name = ?", (after_event, name)
    )
    connection.execute("DELETE FROM webhook_dead WHERE name = ? AND event_id > ?", (name, after_event))
    return after_event


def _cursor(connection: sqlite3.Connection, name: str) -> int:
    row = connection.execute("SELECT cursor FROM webhook WHERE name = ?", (name,)).fetchone()
    if row is None:
        raise NotFoundError(f"there is no webhook endpoint {name}: list them to see their names")
    return int(row[0])
