"""Erasures as they are kept: what was asked for, what is finished, and tombstones that name nobody."""

import hashlib
import re
import sqlite3
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from coterie.domain import AccountId, ConflictError, ErasureLedger, PendingErasure, Tombstone
from coterie.store.queries import chunks, marks

if TYPE_CHECKING:
    from coterie.store.changes import Transaction

_KEY_SETTING = "erasure_key"
_DIGEST_BYTES = 16
TOMBSTONE = "erased:"
"""What every tombstone in the audit record begins with."""

_TOMBSTONE_FORM = re.compile(rf"{TOMBSTONE}[0-9a-f]{{{2 * _DIGEST_BYTES}}}")

_TABLES = ("exchange", "standing", "finding_account", "near_prompt", "joined_account", "excluded_account")
_NAMING = (
    *(f"SELECT account_id FROM {table}" for table in _TABLES),
    "SELECT j.value AS account_id FROM rule r, json_each(r.record, '$.accounts') j",
    "SELECT j.value AS account_id FROM rule r, json_each(r.record, '$.values') j"
    " WHERE json_extract(r.record, '$.kind') = 'accounts'",
    "SELECT j.value AS account_id FROM review r, json_each(r.detail, '$.accounts') j",
)
"""SQL: the accounts that something other than the audit record names."""

_AUDITED = "SELECT subject AS account_id FROM audit"
"""SQL: what the audit record names; not only accounts, and also those that somebody asked for and were not there."""


def account_digest(key: bytes, account_id: str) -> bytes:
    """The tombstone of an account: keyed, so that a list of names alone does not tell who was erased."""
    return hashlib.blake2b(account_id.encode("utf-8"), digest_size=_DIGEST_BYTES, key=key).digest()


def tombstone(digest: bytes) -> str:
    """How a tombstone stands in the audit record."""
    return f"{TOMBSTONE}{digest.hex()}"


def subject_digest(key: bytes, subject: str) -> bytes:
    """What the audit chain covers in a subject's place: its keyed hash, and what a tombstone says it was."""
    if is_tombstone(subject):
        return bytes.fromhex(subject.removeprefix(TOMBSTONE))
    return account_digest(key, subject) if subject else b""


def is_tombstone(subject: str) -> bool:
    """Whether a subject is what an erasure puts in the place of a name."""
    return _TOMBSTONE_FORM.fullmatch(subject) is not None


def is_erased(connection: sqlite3.Connection, digest: bytes) -> bool:
    """Whether this is the tombstone of an erasure that is finished, and none of the same account is under way."""
    found = connection.execute("SELECT min(finished_us IS NOT NULL) FROM account_erasure WHERE digest = ?", (digest,))
    return bool(found.fetchone()[0])


def ledger(connection: sqlite3.Connection) -> ErasureLedger:
    """Every erasure ever asked for, oldest first."""
    rows = connection.execute("SELECT digest, requested_us FROM account_erasure ORDER BY requested_us, erasure_id")
    return ErasureLedger(folder_key(connection), tuple(Tombstone(*row) for row in rows))


def pending(connection: sqlite3.Connection) -> list[PendingErasure]:
    """Erasures that are not finished, oldest first."""
    rows = connection.execute(
        "SELECT erasure_id, account_id, requested_us FROM account_erasure WHERE finished_us IS NULL ORDER BY erasure_id"
    )
    return [PendingErasure(*row) for row in rows]


def erased_at(connection: sqlite3.Connection, account_id: AccountId) -> int | None:
    """When an account was last erased, microseconds since the epoch; None if never."""
    return _erased_at(connection, folder_key(connection), [account_id]).get(account_id)


def is_named(connection: sqlite3.Connection, account_id: AccountId) -> bool:
    """Whether anything stored names an account, such as a finding whose exchanges are gone by their age."""
    return any(
        connection.execute(f"SELECT 1 FROM ({names}) WHERE account_id = ? LIMIT 1", (account_id,)).fetchone()
        for names in _NAMING
    )


def begin(transaction: "Transaction", account_id: AccountId, time_us: int) -> PendingErasure:
    """Record that an account is to be erased; one that is pending already stays as it is."""
    connection = transaction.connection
    row = connection.execute(
        "SELECT erasure_id, account_id, requested_us FROM account_erasure WHERE finished_us IS NULL AND account_id = ?",
        (account_id,),
    ).fetchone()
    if row is not None:
        return PendingErasure(*row)
    number = transaction.take("account_erasure")
    connection.execute(
        "INSERT INTO account_erasure (erasure_id, digest, account_id, requested_us) VALUES (?, ?, ?, ?)",
        (number, account_digest(folder_key(connection), account_id), account_id, time_us),
    )
    return PendingErasure(number, account_id, time_us)


def finish(transaction: "Transaction", erasure: PendingErasure, time_us: int) -> str:
    """Let go of the name itself, here and in the audit record; returns the tombstone that stands for it."""
    transaction.erased = True
    connection = transaction.connection
    mark = tombstone(account_digest(folder_key(connection), erasure.account_id))
    connection.execute(
        "UPDATE account_erasure SET account_id = '', finished_us = ? WHERE erasure_id = ?",
        (time_us, erasure.erasure_id),
    )
    connection.execute("UPDATE audit SET subject = ? WHERE subject = ?", (mark, erasure.account_id))
    # Once more: a run that was at work when the account went may have put derived texts' vectors back.
    connection.execute("DELETE FROM view_vector")
    return mark


def adopt(transaction: "Transaction", known: ErasureLedger, time_us: int) -> int:
    """Take over erasures that this copy of the data has not seen; returns how many accounts are to be erased again.

    Raises:
        ConflictError: the ledger is another folder's.
    """
    connection = transaction.connection
    key = folder_key(connection)
    if known.key != key:
        raise ConflictError("these erasures are of another data folder: nothing of them was taken over")
    seen = {(item.digest, item.requested_us) for item in ledger(connection).tombstones}
    new = [item for item in known.tombstones if (item.digest, item.requested_us) not in seen]
    named = {account_digest(key, name): name for name in _named(connection)} if new else {}
    for item in new:
        name = named.get(item.digest, "")
        connection.execute(
            "INSERT INTO account_erasure (erasure_id, digest, account_id, requested_us, finished_us)"
            " VALUES (?, ?, ?, ?, ?)",
            (transaction.take("account_erasure"), item.digest, name, item.requested_us, None if name else time_us),
        )
    return sum(item.digest in named for item in new)


def erased_of(connection: sqlite3.Connection, account_ids: Collection[str]) -> dict[str, int]:
    """Those of the accounts that were erased, or are to be, and when it was last asked for."""
    if connection.execute("SELECT 1 FROM account_erasure LIMIT 1").fetchone() is None:
        return {}
    return _erased_at(connection, folder_key(connection), account_ids)


def _erased_at(connection: sqlite3.Connection, key: bytes, account_ids: Iterable[str]) -> dict[str, int]:
    names = {account_digest(key, name): name for name in account_ids}
    found: dict[str, int] = {}
    for chunk in chunks(names):
        rows = connection.execute(
            f"SELECT digest, max(requested_us) FROM account_erasure WHERE digest IN ({marks(chunk)}) GROUP BY digest",
            chunk,
        )
        found.update((names[digest], time_us) for digest, time_us in rows)
    return found


def _named(connection: sqlite3.Connection) -> set[str]:
    return {
        name
        for names in (*_NAMING, _AUDITED)
        for (name,) in connection.execute(f"SELECT DISTINCT account_id FROM ({names})").fetchall()
    }


def folder_key(connection: sqlite3.Connection) -> bytes:
    """The key of this folder's tombstones."""
    (value,) = connection.execute("SELECT value FROM setting WHERE name = ?", (_KEY_SETTING,)).fetchone()
    return bytes.fromhex(value)
