"""The audit record: rows in a chain of hashes, never changed but for the name of what was erased."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from coterie.domain import CHAIN_START, AuditEntry, AuditRow, AuditVerdict
from coterie.store.erasing import folder_key, is_erased, is_tombstone, subject_digest, tombstone

if TYPE_CHECKING:
    from coterie.store.changes import Transaction

CHAINED_SINCE = 8
"""The migration that brought the chain."""

_COLUMNS = (
    "audit_id, time_us, actor, action, subject, roles, credential, request_id, outcome, subject_digest, keyed, hash"
)
_ROWS_AT_ONCE = 2_000


def append(transaction: "Transaction", entry: AuditEntry, key: bytes | None) -> int:
    """Add a row behind the last; returns its id."""
    connection = transaction.connection
    last = connection.execute("SELECT hash FROM audit ORDER BY audit_id DESC LIMIT 1").fetchone()
    digest = subject_digest(folder_key(connection), entry.subject)
    if digest and is_erased(connection, digest):
        # Somebody asks for what was erased: its name does not come back by that.
        entry = replace(entry, subject=tombstone(digest))
    row = AuditRow(transaction.take("audit"), entry, digest, key is not None, b"")
    made = row.expected_hash(last[0] if last else CHAIN_START, key)
    connection.execute(
        f"INSERT INTO audit ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            row.audit_id,
            entry.time_us,
            entry.actor,
            entry.action,
            entry.subject,
            entry.roles,
            entry.credential,
            entry.request_id,
            entry.outcome,
            digest,
            row.keyed,
            made,
        ),
    )
    return row.audit_id


def adopt(connection: sqlite3.Connection) -> int:
    """Take rows from before there was a chain into it, in one transaction; returns how many."""
    first = connection.execute("SELECT hash FROM audit ORDER BY audit_id LIMIT 1").fetchone()
    if first is None or first[0] is not None:
        return 0
    if connection.execute("SELECT count(hash) FROM audit").fetchone()[0]:
        return 0  # somebody emptied it: that is for `verify` to tell
    connection.execute("BEGIN IMMEDIATE")
    try:
        key = folder_key(connection)
        before, count = CHAIN_START, 0
        for old in _walk(connection):
            row = replace(old, subject_digest=subject_digest(key, old.entry.subject))
            before = row.expected_hash(before, None)
            connection.execute(
                "UPDATE audit SET subject_digest = ?, hash = ? WHERE audit_id = ?",
                (row.subject_digest, before, row.audit_id),
            )
            count += 1
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return count


def head(connection: sqlite3.Connection) -> tuple[int, str]:
    """The last row's id and its hash in hexadecimal; 0 and "" before the first."""
    row = connection.execute("SELECT audit_id, hash FROM audit ORDER BY audit_id DESC LIMIT 1").fetchone()
    return (row[0], (row[1] or b"").hex()) if row else (0, "")


def rows(
    connection: sqlite3.Connection, since_us: int, action: str, actor: str, before: int, limit: int
) -> list[AuditRow]:
    """Rows, newest first.

    Args:
        since_us: not before.
        action, actor: only these; empty is any.
        before: below this id; 0 begins with the newest.
    """
    found = connection.execute(
        f"SELECT {_COLUMNS} FROM audit WHERE audit_id < ? AND time_us >= ? AND (? = '' OR action = ?)"
        " AND (? = '' OR actor = ?) ORDER BY audit_id DESC LIMIT ?",
        (before or 1 << 62, since_us, action, action, actor, actor, limit),
    )
    return [_row(item) for item in found]


def verify(connection: sqlite3.Connection, key: bytes | None, noted: str) -> AuditVerdict:
    """Walk the chain from its first row to its end.

    Args:
        key: the audit key; without it, rows under one are not to be told from forged ones, and are reported.
        noted: a hash that was the head once and was kept elsewhere, in hexadecimal; "" for none.
    """
    names, before = folder_key(connection), CHAIN_START
    verdict = AuditVerdict(0)
    for row in _walk(connection):
        problem = _problem(row, before, key, names, verdict.keyed_from)
        verdict = replace(verdict, rows=verdict.rows + 1, head_id=row.audit_id, head=row.hash.hex())
        if problem:
            return replace(verdict, broken_id=row.audit_id, problem=problem)
        if row.keyed and not verdict.keyed_from:
            verdict = replace(verdict, keyed_from=row.audit_id)
        if noted and verdict.head == noted:
            verdict = replace(verdict, noted_id=row.audit_id)
        before = row.hash
    return replace(verdict, problem=_end_problem(connection, verdict, noted))


def _problem(row: AuditRow, before: bytes, key: bytes | None, names: bytes, keyed_from: int) -> str:
    if row.keyed and key is None:
        return "it is under an audit key: name its file in audit_key_file"
    if keyed_from and not row.keyed:
        return "it is not under the audit key, and rows before it are"
    if row.hash != row.expected_hash(before, key if row.keyed else None):
        return "it is not what was written, or what stood before it was changed, removed or added"
    subject = row.entry.subject
    if is_tombstone(subject):
        return "" if subject == tombstone(row.subject_digest) else "its tombstone is not that of its subject"
    return "" if subject_digest(names, subject) == row.subject_digest else "its subject was changed"


def _end_problem(connection: sqlite3.Connection, verdict: AuditVerdict, noted: str) -> str:
    given = connection.execute("SELECT value FROM counter WHERE name = 'audit'").fetchone()
    if given and given[0] > verdict.head_id:
        return f"rows are missing at the end: the last is {verdict.head_id}, and {given[0]} was given"
    if noted and not verdict.noted_id:
        return "no row has the hash that was noted: rows were removed, or the whole was written anew"
    return ""


def _walk(connection: sqlite3.Connection) -> Iterator[AuditRow]:
    last = -1 << 62
    while True:
        found = connection.execute(
            f"SELECT {_COLUMNS} FROM audit WHERE audit_id > ? ORDER BY audit_id LIMIT {_ROWS_AT_ONCE}", (last,)
        ).fetchall()
        yield from map(_row, found)
        if len(found) < _ROWS_AT_ONCE:
            return
        last = found[-1][0]


def _row(values: tuple[Any, ...]) -> AuditRow:
    audit_id, time_us, actor, action, subject, roles, credential, request_id, outcome, digest, keyed, made = values
    entry = AuditEntry(time_us, actor, action, subject, roles, credential, request_id, outcome)
    return AuditRow(audit_id, entry, digest, bool(keyed), made or b"")
