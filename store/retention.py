"""What grows old: every statement that lets go of exchanges and texts by their age, a slice at a time."""

import sqlite3
from typing import TYPE_CHECKING

from coterie.domain import TextId
from coterie.store.queries import marks

if TYPE_CHECKING:
    from coterie.store.changes import Transaction

_YOUNG = " OR ".join(
    f"EXISTS (SELECT 1 FROM exchange e WHERE e.{use} = t.text_id AND e.time_us >= ?)"
    for use in ("prompt", "response", "system")
)


def count_before(connection: sqlite3.Connection, before_us: int) -> int:
    """How many exchanges are older than a time."""
    count: int = connection.execute("SELECT count(*) FROM exchange WHERE time_us < ?", (before_us,)).fetchone()[0]
    return count


def drop_exchanges(
    transaction: "Transaction", before_us: int, limit: int, time_us: int
) -> tuple[int, tuple[TextId, ...]]:
    """Delete the oldest exchanges before a time, and the texts and attributes that no other has."""
    from coterie.store.changes import delete_unused_attributes, delete_unused_texts

    connection = transaction.connection
    rows = connection.execute(
        "SELECT sequence, prompt, response, system, attribute_set FROM exchange WHERE time_us < ?"
        " ORDER BY time_us, sequence LIMIT ?",
        (before_us, limit),
    ).fetchall()
    if not rows:
        return 0, ()
    transaction.erased = True
    connection.execute(f"DELETE FROM exchange WHERE sequence IN ({marks(rows)})", [sequence for sequence, *_ in rows])
    text_ids = sorted({text_id for row in rows for text_id in row[1:4] if text_id is not None})
    removed = sorted(delete_unused_texts(transaction, text_ids, time_us))
    delete_unused_attributes(connection, sorted({row[4] for row in rows}))
    keys = [(text_id,) for text_id in removed]
    connection.executemany("DELETE FROM family_join WHERE text_id = ?", keys)
    return len(rows), tuple(TextId(text_id) for text_id in removed)


def drop_near(transaction: "Transaction") -> None:
    """Forget that texts which are gone were near a pool, and the cached vectors of what was derived from them."""
    transaction.erased = True
    transaction.connection.execute(
        "DELETE FROM near_prompt WHERE NOT EXISTS (SELECT 1 FROM text t WHERE t.text_id = near_prompt.text_id)"
    )
    transaction.connection.execute("DELETE FROM view_vector")


def drop_contents(transaction: "Transaction", before_us: int, after: int, limit: int) -> tuple[int, int]:
    """Let go of the contents of texts that no exchange since a time has; those that wait to be embedded stay.

    Looks at the next texts after a text id. Returns the last one looked at (0 when there are no more), and how many
    contents went.
    """
    from coterie.store.changes import ITEM, drop_texts

    connection = transaction.connection
    rows = connection.execute(
        "SELECT t.text_id FROM text t WHERE t.text_id > ? ORDER BY t.text_id LIMIT ?", (after, limit)
    ).fetchall()
    if not rows:
        return 0, 0
    last: int = rows[-1][0]
    old = connection.execute(
        "SELECT t.text_id FROM text t WHERE t.text_id > ? AND t.text_id <= ? AND t.chars IS NULL AND t.queue IS NULL"
        f" AND t.uses & {ITEM} = 0 AND NOT ({_YOUNG})",
        (after, last, before_us, before_us, before_us),
    ).fetchall()
    return last, drop_texts(transaction, [text_id for (text_id,) in old])
