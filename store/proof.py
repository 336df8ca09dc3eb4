"""The proof of an erasure: every table and every file of the data folder is searched for what was erased."""

import json
import os
import re
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from coterie.domain import AccountId, ErasureProof, Residue
from coterie.store.queries import chunks, marks, unit_rows
from coterie.store.scan import Explained, Finder, Finds, find_in_database, find_in_file, probes

ID_BYTES_MIN = 6
"""Shorter account ids stand in every file by chance: they are looked for in the tables alone."""

DATABASE = "coterie.db"

_FETCH_ROWS = 2_000
_ROWS_AT_ONCE = 1_000


@dataclass(slots=True)
class Belongings:
    """What only an erased account had, as pieces of bytes by which it would be recognised.

    Attributes:
        text_ids: the texts that went with it.
        vector_probes: piece of a vector as an index holds it (float32) -> as the store does (float16).
        skipped: texts without a piece to recognise them by.
    """

    text_ids: set[int] = field(default_factory=set)
    text_probes: set[bytes] = field(default_factory=set)
    vector_probes: dict[bytes, bytes] = field(default_factory=dict)
    texts: int = 0
    vectors: int = 0
    skipped: int = 0

    def take(self, connection: sqlite3.Connection, text_ids: Collection[int]) -> None:
        """Take note of texts that are about to be deleted, and of their vectors."""
        self.text_ids.update(text_ids)
        for chunk in chunks(text_ids):
            rows = connection.execute(f"SELECT content, sealed FROM text WHERE text_id IN ({marks(chunk)})", chunk)
            for content, sealed in rows:
                pieces = probes(_bytes(content if sealed is None else sealed))
                self.text_probes.update(pieces)
                self.texts += bool(pieces)
                self.skipped += not pieces
            stored = connection.execute(f"SELECT vector FROM vector WHERE text_id IN ({marks(chunk)})", chunk)
            for (vector,) in stored.fetchall():
                self._take_vector(vector)

    def _take_vector(self, stored: bytes) -> None:
        pieces = probes(stored)
        if not pieces:
            return
        self.vectors += 1
        single = unit_rows([stored], len(stored) // 2)[0].astype("<f4")
        halves = single.astype("<f2").tobytes()
        for piece in {*pieces, *probes(halves), *probes(single.tobytes())}:
            self.vector_probes[piece] = pieces[0]


def prove(
    connection: sqlite3.Connection, data_dir: Path, account_id: AccountId, belongings: Belongings, *, compacted: bool
) -> ErasureProof:
    """Search tables and files, of which the database is as one commit left it; others may write meanwhile.

    Cost: everything is read once; a second time where a piece of a text stands in something of others.
    """
    ids = _forms(account_id)
    columns = _columns(connection)
    explained = Explained()
    in_tables = _Tables(connection, columns, account_id, ids, explained)
    (returned,) = connection.execute("SELECT count(*) FROM exchange WHERE account_id = ?", (account_id,)).fetchone()
    finder = Finder([*(ids if _in_bytes(account_id) else ()), *belongings.text_probes, *belongings.vector_probes])
    files = list(_files(data_dir))
    found = {path: _look(path, finder, connection) for path in files}
    pieces = {needle for finds in found.values() for needle, _ in finds.counts} - set(ids)
    if pieces:
        pieces |= {belongings.vector_probes[piece] for piece in pieces & belongings.vector_probes.keys()}
        _explain(connection, columns, Finder(pieces), explained)
    residues = [*in_tables.residues, *_left_numbers(connection, belongings.text_ids)]
    for path, finds in found.items():
        residues += _residues(f"file {path.relative_to(data_dir)}", finds, ids, belongings, explained)
    residues += [
        Residue(f"name of {path.relative_to(data_dir)}", "account id", 1)
        for path in files
        if _in_bytes(account_id) and account_id in path.name
    ]
    if returned:
        residues = [item for item in residues if item.kind != "account id"]
    return ErasureProof(
        tables=len(columns),
        rows=in_tables.rows,
        files=len(files),
        bytes_read=sum(finds.bytes_read for finds in found.values()),
        texts=belongings.texts,
        vectors=belongings.vectors,
        texts_skipped=belongings.skipped,
        id_in_bytes=_in_bytes(account_id),
        mentions=in_tables.mentions,
        returned=returned,
        compacted=compacted,
        residues=tuple(residues),
    )


def _in_bytes(account_id: str) -> bool:
    return len(account_id.encode("utf-8")) >= ID_BYTES_MIN


def _forms(account_id: str) -> tuple[bytes, ...]:
    """The bytes of an id as it is, and as JSON writes it."""
    escaped = (json.dumps(account_id, ensure_ascii=ascii_only)[1:-1] for ascii_only in (False, True))
    return tuple(dict.fromkeys(form.encode("utf-8") for form in (account_id, *escaped)))


def _columns(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """The columns of every table that can hold bytes of a text or an id."""
    tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return {
        table: [
            name
            for _, name, kind, *_ in connection.execute(f'PRAGMA table_info("{table}")')
            if kind.upper() in ("TEXT", "BLOB", "ANY", "")
        ]
        for (table,) in tables.fetchall()
    }


class _Tables:
    """Where the id stands in the tables: as itself, in a record, in a text of others, or in a longer id."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        columns: dict[str, list[str]],
        account_id: str,
        ids: Iterable[bytes],
        explained: Explained,
    ) -> None:
        self.rows = 0
        self.mentions = 0
        self.residues: list[Residue] = []
        self._ids = tuple(ids)
        self._named = _Named(account_id)
        self._finder = Finder(self._ids)
        self._explained = explained
        for table, names in columns.items():
            (rows,) = connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()
            self.rows += rows
            for name in names:
                self._look(connection, table, name)

    def _look(self, connection: sqlite3.Connection, table: str, column: str) -> None:
        holds = " OR ".join(f'instr(CAST("{column}" AS BLOB), ?)' for _ in self._ids)
        # Equal values are read once: many rows repeat an account or an attribute.
        rows = connection.execute(
            f'SELECT "{column}", count(*) FROM "{table}" WHERE {holds} GROUP BY 1', tuple(self._ids)
        )
        count = 0
        while block := rows.fetchmany(_FETCH_ROWS):
            others: list[bytes] = []
            for value, times in block:
                stored = _bytes(value)
                if not self._named(stored):
                    others.append(stored)
                elif (table, column) == ("text", "content"):
                    self.mentions += times
                    others.append(stored)
                else:
                    count += times
            self._explained.add(others, self._finder)
        if count:
            self.residues.append(Residue(f"table {table}.{column}", "account id", count))


class _Named:
    """Whether a value is an account's id or names it: as a JSON string or, if it is long enough, as a word."""

    def __init__(self, account_id: str) -> None:
        self._id = account_id.encode("utf-8")
        strings = {json.dumps(account_id, ensure_ascii=ascii_only).encode() for ascii_only in (False, True)}
        parts = [re.escape(string) for string in strings]
        if _in_bytes(account_id):
            # A point or a slash joins words only where a word follows: "led by a.b." names a.b, and "a.b.c" does not.
            word = re.escape(self._id)
            parts.append(rb"(?<![\w-])(?<![\w-][.@:/+])" + word + rb"(?![\w-])(?![.@:/+][\w-])")
        self._pattern = re.compile(b"|".join(parts))

    def __call__(self, value: bytes) -> bool:
        return value == self._id or self._pattern.search(value) is not None


def _left_numbers(connection: sqlite3.Connection, text_ids: Collection[int]) -> list[Residue]:
    left: Counter[str] = Counter()
    for chunk in chunks(text_ids, _ROWS_AT_ONCE):
        for table in ("text", "vector", "family_join", "near_prompt"):
            left[table] += connection.execute(
                f"SELECT count(*) FROM {table} WHERE text_id IN ({marks(chunk)})", chunk
            ).fetchone()[0]
    return [Residue(f"table {table}.text_id", "text number", count) for table, count in left.items() if count]


def _files(data_dir: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(data_dir):
        for name in sorted(names):
            path = Path(folder) / name
            if path.is_file():
                yield path


def _look(path: Path, finder: Finder, connection: sqlite3.Connection) -> Finds:
    try:
        if path.name in (DATABASE, f"{DATABASE}-wal"):
            return find_in_database(path, finder, connection.execute("PRAGMA page_size").fetchone()[0])
        return find_in_file(path, finder)
    except FileNotFoundError:  # a snapshot that was replaced meanwhile: the new one holds nothing erased
        return Finds(Counter())


def _explain(
    connection: sqlite3.Connection, columns: dict[str, list[str]], finder: Finder, explained: Explained
) -> None:
    for table, names in columns.items():
        for name in names:
            rows = connection.execute(f'SELECT "{name}" FROM "{table}" WHERE "{name}" IS NOT NULL')
            while block := rows.fetchmany(_FETCH_ROWS):
                explained.add([_bytes(value) for (value,) in block], finder)


def _residues(
    place: str, finds: Finds, ids: Collection[bytes], belongings: Belongings, explained: Explained
) -> list[Residue]:
    left: Counter[str] = Counter()
    for (needle, context), count in finds.counts.items():
        if needle in belongings.vector_probes:
            # Another text has the same vector; in which form a file holds it makes no difference.
            if belongings.vector_probes[needle] not in explained and not explained.explains(needle, context):
                left["vector"] += count
        elif not explained.explains(needle, context):
            left["account id" if needle in ids else "text"] += count
    return [Residue(place, kind, count) for kind, count in left.items()]


def _bytes(value: str | bytes) -> bytes:
    return value.encode("utf-8") if isinstance(value, str) else bytes(value)
