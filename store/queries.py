"""Every statement that reads the database. Each function runs on a connection that sees one commit."""

import json
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from coterie.domain import (
    AccountId,
    Backlog,
    Benchmark,
    BenchmarkItem,
    Exchange,
    ExchangeId,
    Finding,
    NotFoundError,
    Run,
    RunState,
    SearchFilter,
    SharedTexts,
    Slice,
    Standing,
    Stats,
    TextField,
    TextId,
    estimated_tokens,
)
from coterie.domain import Sequence as LogSequence
from coterie.store.records import finding_from, finding_order, run_from, standing_from
from coterie.store.vault import ANSWER, CONTENT, LABELS, SHOWN

CHUNK = 1_000
"""Parameters of one IN list."""

SHARED_LOOK_MAX = 10_000
"""Exchanges with a text that are looked at to see whether several accounts have it."""

_SEQUENCE_COLUMN = {TextField.PROMPT: "prompt_seq", TextField.RESPONSE: "response_seq"}

T = TypeVar("T")


def chunks(values: Collection[T], size: int = CHUNK) -> Iterator[list[T]]:
    """The values in lists short enough for one statement."""
    ordered = list(values)
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


def marks(values: Collection[object]) -> str:
    """Placeholders for an IN list."""
    return ",".join("?" * len(values))


# --- model, texts, vectors ------------------------------------------------------------------------------------


def model(connection: sqlite3.Connection) -> tuple[str, int] | None:
    """The embedding model's id and dimensions."""
    found = dict(connection.execute("SELECT name, value FROM setting WHERE name IN ('model_id', 'dim')").fetchall())
    return (found["model_id"], int(found["dim"])) if found else None


def setting(connection: sqlite3.Connection, name: str) -> str | None:
    """What is recorded about the folder under a name."""
    row = connection.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def pending_texts(connection: sqlite3.Connection, limit: int) -> list[tuple[TextId, str]]:
    """The head of the embedding queue."""
    return connection.execute(
        f"SELECT text_id, {CONTENT.format('text')} FROM text WHERE queue IS NOT NULL ORDER BY queue, text_id LIMIT ?",
        (limit,),
    ).fetchall()


def pending_count(connection: sqlite3.Connection) -> int:
    """The length of the embedding queue."""
    return _number(connection, "SELECT count(*) FROM text WHERE queue IS NOT NULL")


def oldest_pending(connection: sqlite3.Connection) -> TextId:
    """The oldest text of the embedding queue, 0 where that is empty."""
    # One queue at a time: over both, SQLite would read the whole index.
    oldest = [
        _number(connection, "SELECT coalesce(min(text_id), 0) FROM text WHERE queue = ?", queue) for queue in (0, 1)
    ]
    return TextId(min((text_id for text_id in oldest if text_id), default=0))


def backlog(connection: sqlite3.Connection) -> Backlog:
    """What waits to be embedded, counted."""
    lengths = connection.execute(
        "SELECT max(length(content), coalesce(length(sealed), 0)) FROM text WHERE queue IS NOT NULL"
    )
    tokens = [estimated_tokens(length) for (length,) in lengths]
    return Backlog(len(tokens), sum(tokens))


def ingest_position(connection: sqlite3.Connection, stream_id: str) -> tuple[int, str]:
    """How far a named stream is durable, and whose it is; 0 and "" for one that is not known."""
    row = connection.execute("SELECT position, principal FROM ingest_stream WHERE stream_id = ?", (stream_id,))
    return row.fetchone() or (0, "")


def texts(connection: sqlite3.Connection, text_ids: NDArray[np.int64]) -> list[str]:
    """The contents of texts, in the order asked."""
    found = _by_text_id(connection, f"SELECT text_id, {CONTENT.format('text')} FROM text", text_ids)
    return [found[text_id] for text_id in text_ids.tolist()]


def vectors(connection: sqlite3.Connection, text_ids: NDArray[np.int64]) -> NDArray[np.float32]:
    """The vectors of texts, float32[n, dim], in the order asked."""
    distinct, places = np.unique(text_ids, return_inverse=True)
    found = _by_text_id(connection, "SELECT text_id, vector FROM vector", distinct)
    return unit_rows([found[text_id] for text_id in distinct.tolist()], _dim(connection))[places]


def vectors_since(
    connection: sqlite3.Connection, field: TextField, after: int, limit: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """What became searchable in a field after a point of the vector sequence."""
    column = _SEQUENCE_COLUMN[field]
    rows = connection.execute(
        f"SELECT {column}, text_id, vector FROM vector WHERE {column} > ? ORDER BY {column} LIMIT ?", (after, limit)
    ).fetchall()
    sequence = np.array([row[0] for row in rows], dtype=np.int64)
    text_ids = np.array([row[1] for row in rows], dtype=np.int64)
    return sequence, text_ids, unit_rows([row[2] for row in rows], _dim(connection))


def text_ids(connection: sqlite3.Connection, field: TextField, after: int, limit: int) -> NDArray[np.int64]:
    """As `vectors_since`, only the text ids."""
    column = _SEQUENCE_COLUMN[field]
    rows = connection.execute(
        f"SELECT text_id FROM vector WHERE {column} > ? ORDER BY {column} LIMIT ?", (after, limit)
    ).fetchall()
    return np.array([row[0] for row in rows], dtype=np.int64)


def last_vector(connection: sqlite3.Connection) -> int:
    """The last number of the vector sequence."""
    return _counter(connection, "vector")


def view_vectors(
    connection: sqlite3.Connection, model_id: str, digests: Sequence[bytes]
) -> dict[bytes, NDArray[np.float32]]:
    """The cached vectors among those asked for."""
    found: dict[bytes, NDArray[np.float32]] = {}
    for chunk in chunks(digests):
        rows = connection.execute(
            f"SELECT digest, vector FROM view_vector WHERE model_id = ? AND digest IN ({marks(chunk)})",
            (model_id, *chunk),
        )
        for digest, stored in rows:
            found[digest] = unit_rows([stored], len(stored) // 2)[0]
    return found


def unit_rows(stored: Sequence[bytes], dim: int) -> NDArray[np.float32]:
    """Stored float16 vectors as float32[n, dim] of unit length, which rounding to float16 had lost."""
    rows = np.frombuffer(b"".join(stored), dtype="<f2").reshape(len(stored), dim).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


def erased_since(connection: sqlite3.Connection, after: int) -> tuple[int, NDArray[np.int64]]:
    """The last tombstone's number, and the texts erased after `after`."""
    rows = connection.execute(
        "SELECT text_id FROM erasure WHERE erasure_seq > ? ORDER BY erasure_seq", (after,)
    ).fetchall()
    return _counter(connection, "erasure"), np.array([row[0] for row in rows], dtype=np.int64)


def _by_text_id(connection: sqlite3.Connection, select: str, text_ids: NDArray[np.int64]) -> dict[int, Any]:
    wanted = np.unique(text_ids).tolist()
    found: dict[int, Any] = {}
    for chunk in chunks(wanted):
        found.update(connection.execute(f"{select} WHERE text_id IN ({marks(chunk)})", chunk).fetchall())
    if len(found) < len(wanted):
        missing = next(text_id for text_id in wanted if text_id not in found)
        raise NotFoundError(
            f"{len(wanted) - len(found)} of {len(wanted)} texts are not stored or not embedded, such as {missing}: "
            "they may have been erased; read the queue again"
        )
    return found


def _dim(connection: sqlite3.Connection) -> int:
    bound = model(connection)
    return bound[1] if bound else 0


# --- exchanges ------------------------------------------------------------------------------------------------

_EXCHANGE_COLUMNS = (
    f"SELECT e.exchange_id, e.account_id, e.time_us, {SHOWN.format('p')}, {SHOWN.format('r')}, {SHOWN.format('s')},"
    f" e.conversation_id, e.turn, e.model, e.input_tokens, e.output_tokens, e.cost_usd, {LABELS.format('a')}"
)
_EXCHANGE_TEXTS = (
    " LEFT JOIN text p ON p.text_id = e.prompt LEFT JOIN text r ON r.text_id = e.response"
    " LEFT JOIN text s ON s.text_id = e.system LEFT JOIN attribute_set a ON a.set_id = e.attribute_set"
)


def exchanges(connection: sqlite3.Connection, exchange_ids: Sequence[ExchangeId]) -> list[Exchange]:
    """The exchanges among these ids, in the order asked."""
    found: dict[str, Exchange] = {}
    for chunk in chunks(exchange_ids):
        rows = connection.execute(
            f"{_EXCHANGE_COLUMNS} FROM exchange e {_EXCHANGE_TEXTS} WHERE e.exchange_id IN ({marks(chunk)})", chunk
        )
        found.update((row[0], _exchange(row)) for row in rows)
    return [found[exchange_id] for exchange_id in exchange_ids if exchange_id in found]


def exchange_text(connection: sqlite3.Connection, exchange_id: ExchangeId, field: TextField) -> TextId | None:
    """The text id of one side of an exchange."""
    row = connection.execute(f"SELECT {field.value} FROM exchange WHERE exchange_id = ?", (exchange_id,)).fetchone()
    if row is None:
        raise missing_exchange(exchange_id)
    return None if row[0] is None else TextId(row[0])


def missing_exchange(exchange_id: ExchangeId) -> NotFoundError:
    """The error for an id that is not stored."""
    return NotFoundError(f"there is no exchange {exchange_id}: it was never sent, was rejected, or was erased")


def exchanges_of_texts(
    connection: sqlite3.Connection,
    field: TextField,
    text_ids: NDArray[np.int64],
    search_filter: SearchFilter,
    limit_per_text: int,
) -> dict[TextId, list[Exchange]]:
    """For each text the newest exchanges that have it and pass the filter; texts without one are left out."""
    conditions, parameters = _conditions(search_filter)
    where = " AND ".join([f"e.{field.value} = ?", *conditions])
    # Without the hint SQLite may go through an account's exchanges once for every text.
    statement = (
        f"{_EXCHANGE_COLUMNS} FROM exchange e INDEXED BY exchange_{field.value} {_EXCHANGE_TEXTS}"
        f" WHERE {where} ORDER BY e.time_us DESC, e.sequence DESC LIMIT ?"
    )
    found: dict[TextId, list[Exchange]] = {}
    for text_id in np.unique(text_ids).tolist():
        rows = connection.execute(statement, (text_id, *parameters, limit_per_text)).fetchall()
        if rows:
            found[TextId(text_id)] = [_exchange(row) for row in rows]
    return found


def exchanges_before(
    connection: sqlite3.Connection,
    account_id: AccountId | None,
    text_id: TextId | None,
    before: tuple[int, int] | None,
    limit: int,
) -> list[tuple[int, Exchange]]:
    """Exchanges of an account or of a prompt, newest first, each with its sequence, after the place of `before`."""
    column, value = ("account_id", account_id) if account_id is not None else ("prompt", text_id)
    later = " AND (e.time_us, e.sequence) < (?, ?)" if before is not None else ""
    rows = connection.execute(
        f"{_EXCHANGE_COLUMNS}, e.sequence FROM exchange e {_EXCHANGE_TEXTS} WHERE e.{column} = ?{later}"
        " ORDER BY e.time_us DESC, e.sequence DESC LIMIT ?",
        (value, *(before or ()), limit),
    )
    return [(row[-1], _exchange(row[:-1])) for row in rows]


def accounts_of_prompts(connection: sqlite3.Connection, text_ids: NDArray[np.int64]) -> dict[TextId, list[AccountId]]:
    """The accounts that sent each text as a prompt."""
    found: dict[TextId, list[AccountId]] = {}
    for chunk in chunks(np.unique(text_ids).tolist()):
        rows = connection.execute(
            f"SELECT DISTINCT prompt, account_id FROM exchange WHERE prompt IN ({marks(chunk)})", chunk
        )
        for text_id, account_id in rows:
            found.setdefault(TextId(text_id), []).append(account_id)
    return found


def distinct_prompts(connection: sqlite3.Connection, account_ids: Collection[AccountId]) -> dict[AccountId, int]:
    """How many distinct prompts accounts sent."""
    found: dict[AccountId, int] = {}
    for chunk in chunks(sorted(account_ids)):
        found.update(
            connection.execute(
                "SELECT account_id, count(DISTINCT prompt) FROM exchange"
                f" WHERE account_id IN ({marks(chunk)}) GROUP BY account_id",
                chunk,
            ).fetchall()
        )
    return found


def candidate_texts(
    connection: sqlite3.Connection, field: TextField, search_filter: SearchFilter, limit: int
) -> NDArray[np.int64] | None:
    """The distinct texts of one side of the exchanges that pass the filter, rising; None beyond the limit."""
    conditions, parameters = _conditions(search_filter)
    where = " AND ".join([f"e.{field.value} IS NOT NULL", *conditions])
    rows = connection.execute(
        f"SELECT DISTINCT e.{field.value} FROM exchange e WHERE {where} LIMIT ?", (*parameters, limit + 1)
    ).fetchall()
    if len(rows) > limit:
        return None
    return np.sort(np.array([row[0] for row in rows], dtype=np.int64))


def count_accounts(connection: sqlite3.Connection, search_filter: SearchFilter, limit: int) -> int:
    """How many accounts have an exchange that passes the filter; `limit` where there are as many or more."""
    conditions, parameters = _conditions(search_filter)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    # Without the limit a label that everybody has reads every row: 35 ms of 200,000.
    distinct = f"SELECT DISTINCT e.account_id FROM exchange e{where} LIMIT ?"
    return _number(connection, f"SELECT count(*) FROM ({distinct})", *parameters, limit)


def shared_texts(
    connection: sqlite3.Connection, exchange_ids: Collection[ExchangeId], accounts_min: int
) -> dict[ExchangeId, SharedTexts]:
    """Which texts of exchanges at least so many accounts have in the same place."""
    held: dict[ExchangeId, tuple[int | None, ...]] = {}
    for chunk in chunks(exchange_ids):
        rows = connection.execute(
            f"SELECT exchange_id, prompt, response, system FROM exchange WHERE exchange_id IN ({marks(chunk)})", chunk
        )
        held.update({ExchangeId(row[0]): row[1:] for row in rows})
    shared: list[set[int | None]] = []
    for place, column in enumerate(("prompt", "response", "system")):
        # The newest where the index is by time; a text that one account repeats must not be read to its end each time.
        newest = "" if column == "system" else "ORDER BY time_us DESC"
        statement = (
            f"SELECT count(*) FROM (SELECT DISTINCT account_id FROM (SELECT account_id FROM exchange INDEXED BY"
            f" exchange_{column} WHERE {column} = ? {newest} LIMIT ?) LIMIT ?)"
        )
        texts = {values[place] for values in held.values()} - {None}
        bounds = (SHARED_LOOK_MAX, accounts_min)
        shared.append({text for text in texts if _number(connection, statement, text, *bounds) >= accounts_min})
    return {
        exchange_id: SharedTexts(*(text in among for text, among in zip(values, shared, strict=True)))
        for exchange_id, values in held.items()
    }


def account_exchanges(connection: sqlite3.Connection, account_id: AccountId) -> int:
    """How many exchanges an account has."""
    return _number(connection, "SELECT count(*) FROM exchange WHERE account_id = ?", account_id)


def time_range(connection: sqlite3.Connection) -> tuple[int, int] | None:
    """The earliest and the latest time."""
    # Two subqueries: SQLite answers each from the index, but one SELECT of both by reading every row.
    first, last = connection.execute(
        "SELECT (SELECT min(time_us) FROM exchange), (SELECT max(time_us) FROM exchange)"
    ).fetchone()
    return None if first is None else (first, last)


def window_cursor(connection: sqlite3.Connection, search_filter: SearchFilter, field: TextField) -> sqlite3.Cursor:
    """Rows of `window.COLUMNS`, by time, then sequence; those without a text in the field are left out."""
    conditions, parameters = _conditions(search_filter)
    where = " AND ".join([f"e.{field.value} IS NOT NULL", *conditions])
    return connection.execute(
        f"SELECT exchange_id, account_id, time_us, {field.value}, coalesce(response, -1), coalesce(system, -1),"
        " conversation_id, coalesce(turn, -1), model, input_tokens, output_tokens, cost_usd, attribute_set"
        f" FROM exchange e WHERE {where} ORDER BY time_us, sequence",
        parameters,
    )


def attribute_sets(connection: sqlite3.Connection, set_ids: Sequence[int]) -> dict[int, str]:
    """The JSON of attribute sets."""
    found: dict[int, str] = {}
    for chunk in chunks(set_ids):
        found.update(
            connection.execute(
                f"SELECT set_id, {LABELS.format('attribute_set')} FROM attribute_set WHERE set_id IN ({marks(chunk)})",
                chunk,
            ).fetchall()
        )
    return found


def _exchange(row: tuple[Any, ...]) -> Exchange:
    exchange_id, account_id, time_us, prompt, response, system, conversation_id, turn, model_name, *rest = row
    input_tokens, output_tokens, cost_usd, attributes = rest
    return Exchange(
        exchange_id=exchange_id,
        account_id=account_id,
        time_us=time_us,
        prompt=prompt,
        response=response or "",
        system=system or "",
        conversation_id=conversation_id,
        turn=turn,
        model=model_name,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cost_usd=cost_usd,
        attributes=json.loads(attributes),
    )


def _conditions(search_filter: SearchFilter) -> tuple[list[str], list[Any]]:
    conditions: list[str] = []
    parameters: list[Any] = []

    def add(condition: str, *values: Any) -> None:
        conditions.append(condition)
        parameters.extend(values)

    if search_filter.accounts:
        add(f"e.account_id IN ({marks(search_filter.accounts)})", *search_filter.accounts)
    if search_filter.models:
        add(f"e.model IN ({marks(search_filter.models)})", *search_filter.models)
    if search_filter.since_us is not None:
        add("e.time_us >= ?", search_filter.since_us)
    if search_filter.until_us is not None:
        add("e.time_us < ?", search_filter.until_us)
    for name, value in search_filter.attributes.items():
        add(
            "e.attribute_set IN (SELECT set_id FROM attribute WHERE name = ? AND value = label_key(?, ?))",
            name,
            name,
            value,
        )
    return conditions, parameters


# --- runs, findings, reviews ----------------------------------------------------------------------------------


def run(connection: sqlite3.Connection, run_id: str) -> Run:
    """A run by id, or the newest."""
    if run_id:
        row = connection.execute("SELECT record FROM run WHERE run_id = ?", (run_id,)).fetchone()
        if row is None:
            raise NotFoundError(f"there is no run {run_id}: list the runs to see their ids")
    else:
        row = connection.execute("SELECT record FROM run ORDER BY created_us DESC, run_id DESC LIMIT 1").fetchone()
        if row is None:
            raise NotFoundError("there is no run yet: start one")
    return run_from(row[0])


def runs(connection: sqlite3.Connection, limit: int, before: tuple[int, str] | None) -> list[Run]:
    """Runs, the newest first, after the one whose `(created_us, run_id)` is `before`."""
    where, key = ("WHERE (created_us, run_id) < (?, ?)", before) if before else ("", ())
    rows = connection.execute(
        f"SELECT record FROM run {where} ORDER BY created_us DESC, run_id DESC LIMIT ?", (*key, limit)
    ).fetchall()
    return [run_from(record) for (record,) in rows]


WHOLE = Slice()


def newest_done_run(connection: sqlite3.Connection, part: Slice = WHOLE) -> str:
    """The id of the newest finished run of a slice, empty when there is none."""
    # A record from before there were slices has no key: its run was whole.
    row = connection.execute(
        "SELECT run_id FROM run WHERE state = ? AND coalesce(json_extract(record, '$.slice_key'), '') = ?"
        " ORDER BY created_us DESC, run_id DESC LIMIT 1",
        (RunState.DONE.value, part.key),
    ).fetchone()
    return row[0] if row else ""


def findings(connection: sqlite3.Connection, run_id: str) -> tuple[str, list[Finding]]:
    """A run's findings, or the newest finished whole run's, as the run reported them."""
    chosen = run(connection, run_id).run_id if run_id else newest_done_run(connection)
    rows = connection.execute("SELECT record FROM finding WHERE run_id = ?", (chosen,)).fetchall()
    return chosen, sorted((finding_from(record) for (record,) in rows), key=finding_order)


def gone(connection: sqlite3.Connection, part: Slice, limit: int) -> list[Finding]:
    """Findings of a slice of which the last that any run says is that they are gone; those that went last first."""
    rows = connection.execute(
        "SELECT f.record FROM finding f JOIN run r ON r.run_id = f.run_id"
        " WHERE json_extract(f.record, '$.lineage') = 'gone'"  # as the index `finding_gone` has it
        " AND coalesce(json_extract(r.record, '$.slice_key'), '') = ?"
        " AND NOT EXISTS (SELECT 1 FROM finding g JOIN run s ON s.run_id = g.run_id WHERE g.finding_id = f.finding_id"
        " AND (s.created_us, s.run_id) > (r.created_us, r.run_id))"
        " ORDER BY r.created_us DESC, r.run_id DESC, f.finding_id LIMIT ?",
        (part.key, limit),
    )
    return [finding_from(record) for (record,) in rows]


def accounts_of_finding(connection: sqlite3.Connection, finding_id: str) -> set[str]:
    """Every account that any run put into a finding."""
    rows = connection.execute(
        "SELECT a.account_id FROM finding f JOIN finding_account a"
        " ON a.run_id = f.run_id AND a.finding_id = f.finding_id WHERE f.finding_id = ?",
        (finding_id,),
    )
    return {account_id for (account_id,) in rows}


def standing(connection: sqlite3.Connection, account_id: AccountId) -> tuple[str, Standing | None]:
    """Where an account stands in the newest finished whole run."""
    run_id = newest_done_run(connection)
    row = connection.execute(
        "SELECT record FROM standing WHERE run_id = ? AND account_id = ?", (run_id, account_id)
    ).fetchone()
    return run_id, standing_from(row[0]) if row else None


def log_position(connection: sqlite3.Connection) -> tuple[LogSequence, TextId]:
    """The last number of the log, and the last text id."""
    return LogSequence(_counter(connection, "sequence")), TextId(_counter(connection, "text"))


def last_event(connection: sqlite3.Connection) -> int:
    """The last event's number."""
    return _counter(connection, "event")


# --- benchmarks and counts ------------------------------------------------------------------------------------

_BENCHMARK = (
    "SELECT b.name, (SELECT count(*) FROM benchmark_item i WHERE i.name = b.name), b.registered_us FROM benchmark b"
)


def benchmark(connection: sqlite3.Connection, name: str) -> Benchmark | None:
    """A benchmark, where it is registered."""
    row = connection.execute(f"{_BENCHMARK} WHERE b.name = ?", (name,)).fetchone()
    return Benchmark(*row) if row else None


def benchmarks(connection: sqlite3.Connection) -> list[Benchmark]:
    """The benchmarks by name."""
    return [Benchmark(*row) for row in connection.execute(f"{_BENCHMARK} ORDER BY b.name")]


def benchmark_items(connection: sqlite3.Connection, name: str) -> tuple[list[BenchmarkItem], NDArray[np.int64]]:
    """A benchmark's items in their order, and their text ids."""
    if benchmark(connection, name) is None:
        raise NotFoundError(f"there is no benchmark {name}: register it, or list those there are")
    rows = connection.execute(
        f"SELECT i.item_id, {CONTENT.format('t')}, {ANSWER}, i.text_id FROM benchmark_item i"
        " JOIN text t ON t.text_id = i.text_id"
        " WHERE i.name = ? ORDER BY i.position",
        (name,),
    ).fetchall()
    items = [BenchmarkItem(item_id, text, answer) for item_id, text, answer, _ in rows]
    return items, np.array([row[3] for row in rows], dtype=np.int64)


def stats(connection: sqlite3.Connection, database_bytes: int) -> Stats:
    """Counts of everything."""
    model_id, dim = model(connection) or ("", 0)
    first, last = time_range(connection) or (0, 0)
    return Stats(
        exchanges=_number(connection, "SELECT count(*) FROM exchange"),
        accounts=_number(connection, "SELECT count(DISTINCT account_id) FROM exchange"),
        texts=_number(connection, "SELECT count(*) FROM text"),
        pending_texts=pending_count(connection),
        runs=_number(connection, "SELECT count(*) FROM run"),
        findings=_number(connection, "SELECT count(*) FROM finding WHERE run_id = ?", newest_done_run(connection)),
        benchmarks=_number(connection, "SELECT count(*) FROM benchmark"),
        last_sequence=LogSequence(_counter(connection, "sequence")),
        database_bytes=database_bytes,
        model_id=model_id,
        dim=dim,
        first_seen_us=first,
        last_seen_us=last,
    )


def _number(connection: sqlite3.Connection, statement: str, *parameters: Any) -> int:
    value: int = connection.execute(statement, parameters).fetchone()[0]
    return value


def _counter(connection: sqlite3.Connection, name: str) -> int:
    return _number(connection, "SELECT coalesce((SELECT value FROM counter WHERE name = ?), 0)", name)
