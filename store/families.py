"""Families of runs: every statement that reads or changes them."""

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from coterie.domain import (
    AccountId,
    ConflictError,
    ExchangeId,
    Family,
    FamilyHistory,
    FamilyId,
    FamilyLabels,
    FamilyLineage,
    FamilyRecord,
    RunId,
    TextId,
)
from coterie.store.queries import chunks, marks, newest_done_run, run
from coterie.store.records import to_json

if TYPE_CHECKING:
    from coterie.store.changes import Transaction

RUNS_KEPT = 50
"""Finished runs whose families can be listed; of older ones only the findings stay."""

SLICES_KEPT = 8
"""Slices, besides everything in the default window, whose newest run's labels are kept to compare with."""

_ARRAYS = {"gate_distance": "<f4", "text_ids": "<i8", "family": "<i4", "core_distance": "<f4", "exchanges": "<i4"}
_COUNTER = "family"


# --- a run's families -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prepared:
    """A run's families made ready in its caller's thread: `(family_id, place, lineage, record)` and columns."""

    record: FamilyRecord
    families: Sequence[tuple[str, int, str, str]]
    labels: tuple[Any, ...]


def prepare(run_id: RunId, record: FamilyRecord) -> Prepared:
    """Turn a record into rows, away from the writer."""
    rows = [
        (family.family_id, place, family.lineage.value, to_json(asdict(replace(family, run_id=run_id, joined=0))))
        for place, family in enumerate(record.families)
    ]
    return Prepared(record, rows, _columns(record.labels))


def save(transaction: "Transaction", run_id: RunId, prepared: Prepared) -> None:
    """Record a run's families, and let go of what the next run will not be compared with."""
    connection, record = transaction.connection, prepared.record
    if transaction.last(_COUNTER) != record.number_before:
        raise ConflictError("another run has numbered families meanwhile: start this one again")
    transaction.take(_COUNTER, record.number_after - record.number_before)
    connection.execute(
        "INSERT INTO family_run (run_id, finished_seq, slice, joined_seq) VALUES (?, ?, ?, ?)",
        (run_id, transaction.take("family_run"), record.slice, record.last_vector),
    )
    connection.executemany(
        "INSERT INTO family (run_id, family_id, place, lineage, record) VALUES (?, ?, ?, ?, ?)",
        ((run_id, *row) for row in prepared.families),
    )
    connection.executemany(
        "INSERT INTO family_exemplar (exchange_id, run_id, family_id) VALUES (?, ?, ?)",
        ((family.exemplar, run_id, family.family_id) for family in record.families if family.exemplar),
    )
    connection.execute(
        f"INSERT INTO family_labels (run_id, family_ids, {', '.join(_ARRAYS)}) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (run_id, *prepared.labels),
    )
    if not record.slice:
        connection.execute("DELETE FROM family_join")
    _prune(connection)


def _prune(connection: sqlite3.Connection) -> None:
    rows = connection.execute("SELECT run_id, slice FROM family_run ORDER BY finished_seq DESC").fetchall()
    newest: dict[str, str] = {}
    for run_id, part in rows:
        newest.setdefault(part, run_id)
    others = [run_id for part, run_id in newest.items() if part]
    compared = {newest.get("", ""), *others[:SLICES_KEPT]}
    for place, (run_id, _) in enumerate(rows):
        if run_id not in compared:
            connection.execute("DELETE FROM family_labels WHERE run_id = ?", (run_id,))
        if place >= RUNS_KEPT and run_id not in compared:
            for table in ("family_run", "family", "family_exemplar"):
                connection.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,))


def families(
    connection: sqlite3.Connection, run_id: str, lineage: FamilyLineage | None, limit: int, after: int
) -> tuple[str, list[tuple[int, Family]]]:
    """A run's families behind a place of the listing, or those of the newest finished whole run."""
    chosen = run(connection, run_id).run_id if run_id else newest_done_run(connection)
    rows = connection.execute(
        "SELECT f.place, f.record, (SELECT count(*) FROM family_join j WHERE j.run_id = f.run_id"
        " AND j.family_id = f.family_id) FROM family f WHERE f.run_id = ? AND f.place > ?"
        " AND (? = '' OR f.lineage = ?) ORDER BY f.place LIMIT ?",
        (chosen, after, *([lineage.value if lineage else ""] * 2), limit),
    ).fetchall()
    return chosen, [(place, replace(_family_from(record), joined=joined)) for place, record, joined in rows]


def history(connection: sqlite3.Connection, part: str, other: str | None) -> FamilyHistory:
    """The newest run of a slice, else of the other slice, to compare with."""
    last_number = connection.execute("SELECT coalesce(max(value), 0) FROM counter WHERE name = ?", (_COUNTER,))
    number: int = last_number.fetchone()[0]
    for wanted in (part, other):
        found = None if wanted is None else labels(connection, wanted)
        if found is not None:
            rows = connection.execute(
                "SELECT record FROM family WHERE run_id = ? AND lineage <> ? ORDER BY place",
                (found.run_id, FamilyLineage.GONE.value),
            )
            known = tuple(_family_from(record) for (record,) in rows)
            return FamilyHistory(found, known, same_slice=wanted == part, last_number=number)
    return FamilyHistory(last_number=number)


def labels(connection: sqlite3.Connection, part: str) -> FamilyLabels | None:
    """Which family each text is in, by the newest run of a slice."""
    row = connection.execute(
        f"SELECT l.run_id, l.family_ids, {', '.join(f'l.{name}' for name in _ARRAYS)} FROM family_labels l"
        " JOIN family_run r ON r.run_id = l.run_id WHERE r.slice = ? ORDER BY r.finished_seq DESC LIMIT 1",
        (part,),
    ).fetchone()
    return None if row is None else _labels_from(row)


def labels_of_run(connection: sqlite3.Connection, run_id: str) -> FamilyLabels | None:
    """Which family each text is in, by one run; None where that is no longer kept."""
    row = connection.execute(
        f"SELECT run_id, family_ids, {', '.join(_ARRAYS)} FROM family_labels WHERE run_id = ?", (run_id,)
    ).fetchone()
    return None if row is None else _labels_from(row)


def _labels_from(row: tuple[Any, ...]) -> FamilyLabels:
    run_id, family_ids, *blobs = row
    arrays = {
        name: np.frombuffer(blob, kind).astype(kind[1:])
        for (name, kind), blob in zip(_ARRAYS.items(), blobs, strict=True)
    }
    return FamilyLabels(family_ids=tuple(FamilyId(name) for name in json.loads(family_ids)), run_id=run_id, **arrays)


def _columns(value: FamilyLabels) -> tuple[Any, ...]:
    ids = json.dumps(value.family_ids, separators=(",", ":"))
    return (ids, *(getattr(value, name).astype(kind).tobytes() for name, kind in _ARRAYS.items()))


def _family_from(record: str) -> Family:
    values = json.loads(record)
    return Family(**{**values, "lineage": FamilyLineage(values["lineage"]), "lineage_of": tuple(values["lineage_of"])})


# --- joining --------------------------------------------------------------------------------------------------


def joining(connection: sqlite3.Connection) -> tuple[RunId, int]:
    """The newest run of everything in the default window, and up to where texts were looked at since."""
    row = connection.execute(
        "SELECT run_id, joined_seq FROM family_run WHERE slice = '' ORDER BY finished_seq DESC LIMIT 1"
    ).fetchone()
    return row or (RunId(""), 0)


def put_joins(
    transaction: "Transaction",
    run_id: RunId,
    text_ids: NDArray[np.int64],
    family_ids: Sequence[FamilyId],
    distances: NDArray[np.float32],
    last_vector: int,
) -> bool:
    """Record who joined; False, and nothing recorded, where another run has taken over."""
    connection = transaction.connection
    if joining(connection)[0] != run_id:
        return False
    rows = zip(text_ids.tolist(), family_ids, distances.tolist(), strict=True)
    connection.executemany(
        "INSERT OR REPLACE INTO family_join (text_id, run_id, family_id, distance)"
        " SELECT text_id, ?, ?, ? FROM text WHERE text_id = ?",  # one that was erased meanwhile is passed over
        ((run_id, family_id, distance, text_id) for text_id, family_id, distance in rows),
    )
    connection.execute("UPDATE family_run SET joined_seq = ? WHERE run_id = ?", (last_vector, run_id))
    return True


def joined(connection: sqlite3.Connection, run_id: RunId, text_ids: NDArray[np.int64]) -> dict[TextId, FamilyId]:
    """Those of the texts that joined a family since a run."""
    found: dict[TextId, FamilyId] = {}
    for chunk in chunks(text_ids.tolist()):
        found.update(
            connection.execute(
                f"SELECT text_id, family_id FROM family_join WHERE run_id = ? AND text_id IN ({marks(chunk)})",
                (run_id, *chunk),
            ).fetchall()
        )
    return found


# --- erasure --------------------------------------------------------------------------------------------------


def erase(
    connection: sqlite3.Connection, account_id: AccountId, exchange_ids: Collection[str], text_ids: Collection[int]
) -> None:
    """Take an account's exchanges, the texts only it sent, and slices that name it out of what runs recorded.

    A family of which nothing is left goes; the others keep their counts, which name nobody. Called before the runs'
    own slices forget the account.
    """
    for (run_id,) in connection.execute("SELECT run_id FROM family_run WHERE slice <> ''").fetchall():
        if account_id in run(connection, run_id).slice.accounts:
            connection.execute("DELETE FROM family_labels WHERE run_id = ?", (run_id,))
            connection.execute("UPDATE family_run SET slice = ? WHERE run_id = ?", (f"erased {run_id}", run_id))
    for chunk in chunks(exchange_ids):
        rows = connection.execute(
            f"SELECT run_id, family_id FROM family_exemplar WHERE exchange_id IN ({marks(chunk)})", chunk
        ).fetchall()
        for run_id, family_id in rows:
            _erase_exemplar(connection, run_id, family_id)
    connection.executemany("DELETE FROM family_join WHERE text_id = ?", ((text_id,) for text_id in text_ids))
    if text_ids:
        _erase_labels(connection, np.fromiter(text_ids, np.int64, len(text_ids)))


def _erase_exemplar(connection: sqlite3.Connection, run_id: str, family_id: str) -> None:
    key = (run_id, family_id)
    (record,) = connection.execute("SELECT record FROM family WHERE run_id = ? AND family_id = ?", key).fetchone()
    family = replace(_family_from(record), exemplar=ExchangeId(""))
    if family.accounts == 1:
        connection.execute("DELETE FROM family WHERE run_id = ? AND family_id = ?", key)
    else:
        connection.execute(
            "UPDATE family SET record = ? WHERE run_id = ? AND family_id = ?", (to_json(asdict(family)), *key)
        )
    connection.execute("DELETE FROM family_exemplar WHERE run_id = ? AND family_id = ?", key)


def _erase_labels(connection: sqlite3.Connection, text_ids: NDArray[np.int64]) -> None:
    run_ids = connection.execute("SELECT run_id FROM family_labels").fetchall()
    for (run_id,) in run_ids:
        row = connection.execute(
            f"SELECT run_id, family_ids, {', '.join(_ARRAYS)} FROM family_labels WHERE run_id = ?", (run_id,)
        ).fetchone()
        before = _labels_from(row)
        rest = before.without(text_ids)
        if len(rest.text_ids) == len(before.text_ids):
            continue
        connection.execute(
            f"UPDATE family_labels SET family_ids = ?, {', '.join(f'{name} = ?' for name in _ARRAYS)} WHERE run_id = ?",
            (*_columns(rest), run_id),
        )
        emptied = np.setdiff1d(before.family[before.family >= 0], rest.family)
        for number in emptied.tolist():
            key = (run_id, before.family_ids[number])
            for table in ("family", "family_exemplar"):
                connection.execute(f"DELETE FROM {table} WHERE run_id = ? AND family_id = ?", key)
