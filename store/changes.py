"""Every statement that changes the database. Each function runs inside the writer's transaction."""

import json
import re
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coterie.domain import (
    ERASED,
    AccountId,
    Benchmark,
    BenchmarkItem,
    ConflictError,
    Erasure,
    EventCause,
    Exchange,
    Finding,
    FindingId,
    IngestResult,
    InvalidError,
    JoinedAccount,
    Rejection,
    Review,
    Rule,
    Run,
    RunId,
    Standing,
    StreamPart,
    TextMode,
    Watch,
    estimated_tokens,
    normalise,
)
from coterie.domain import Sequence as LogSequence
from coterie.store import erasing, families, reviews, rules, watching
from coterie.store.proof import Belongings
from coterie.store.queries import (
    accounts_of_finding,
    benchmark,
    benchmark_items,
    chunks,
    ingest_position,
    marks,
    model,
    newest_done_run,
    run,
)
from coterie.store.records import finding_from, run_from, standing_from, to_json, to_record
from coterie.store.vault import CONTENT, LABELS, Kept, Vault, digested

VIEW_VECTORS_MAX = 4_000_000
"""Cached vectors of derived texts; the oldest go first."""

PROMPT, RESPONSE, SYSTEM, ITEM = 1, 2, 4, 8
"""Uses of a text, as bits of `text.uses`."""


class Transaction:
    """One open transaction of the writer: its connection and the ids it gives out.

    Attributes:
        erased: whether something was erased, so that the write-ahead log must be emptied after the commit.
    """

    def __init__(self, connection: sqlite3.Connection, vault: Vault) -> None:
        self.connection = connection
        self.vault = vault
        self.erased = False
        self._counters: dict[str, int] = {}

    def take(self, name: str, count: int = 1) -> int:
        """The first of `count` consecutive ids that were never given before."""
        last = self.last(name)
        self._counters[name] = last + count
        return last + 1

    def last(self, name: str) -> int:
        """The last id given, 0 before the first."""
        if name not in self._counters:
            row = self.connection.execute("SELECT value FROM counter WHERE name = ?", (name,)).fetchone()
            self._counters[name] = row[0] if row else 0
        return self._counters[name]

    def save_counters(self) -> None:
        """Write the counters; the last thing before the commit, so that an undone request leaves a gap."""
        self.connection.executemany(
            "INSERT INTO counter (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            self._counters.items(),
        )


# --- ingest ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prepared:
    """An exchange made ready in its caller's thread.

    Attributes:
        content: everything but the id, texts as digests, in the order of `_CONTENT_FIELDS`; equal content means
            the same exchange.
        texts: the distinct texts among it, `(digest, use, what is kept of it)`.
        labels: what is kept of the attributes, where they are sealed.
    """

    exchange_id: str
    content: tuple[Any, ...]
    texts: tuple[tuple[bytes, int, Kept], ...]
    labels: bytes | None = None


_CONTENT_FIELDS = (
    "account_id",
    "time",
    "conversation_id",
    "turn",
    "model",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "prompt",
    "response",
    "system",
    "attributes",
)


def prepare(exchanges: Iterable[Exchange], vault: Vault) -> list[Prepared]:
    """Normalise, digest and seal the texts of exchanges, away from the writer."""
    made: dict[str, tuple[bytes, Kept] | None] = {}
    labels: dict[tuple[tuple[str, str], ...], tuple[str, bytes | None]] = {}

    def text_of(text: str) -> tuple[bytes, Kept] | None:
        if text not in made:
            digest = digested(text, vault)
            made[text] = None if digest is None else (digest, vault.keep(text, digest))
        return made[text]

    def labels_of(attributes: Mapping[str, str]) -> tuple[str, bytes | None]:
        key = tuple(attributes.items())
        if key not in labels:
            content = to_json(attributes)
            labels[key] = content, vault.seal(content, vault.labels_key(content))
        return labels[key]

    return [_prepare(exchange, text_of, labels_of) for exchange in exchanges]


def _prepare(
    exchange: Exchange,
    text_of: Callable[[str], tuple[bytes, Kept] | None],
    labels_of: Callable[[Mapping[str, str]], tuple[str, bytes | None]],
) -> Prepared:
    spellings = ((exchange.prompt, PROMPT), (exchange.response, RESPONSE), (exchange.system, SYSTEM))
    texts = [text_of(text) if text else None for text, _ in spellings]
    keys = [None if text is None else text[0] for text in texts]
    if keys[0] is None:
        raise InvalidError("prompt is empty: send the text that was asked", field="prompt", reason="empty_prompt")
    labels, sealed_labels = labels_of(exchange.attributes)
    return Prepared(
        exchange.exchange_id,
        (
            exchange.account_id,
            exchange.time_us,
            exchange.conversation_id,
            exchange.turn,
            exchange.model,
            exchange.input_tokens,
            exchange.output_tokens,
            None if exchange.cost_usd is None else float(exchange.cost_usd),
            *keys,
            labels,
        ),
        tuple((text[0], use, text[1]) for text, (_, use) in zip(texts, spellings, strict=True) if text is not None),
        sealed_labels,
    )


def append(transaction: Transaction, batch: Sequence[Prepared], part: StreamPart | None = None) -> IngestResult:
    """Store the exchanges that are not there yet, and how far their stream has come."""
    known = _stored_content(transaction.connection, [item.exchange_id for item in batch])
    erased_us = erasing.erased_of(transaction.connection, {item.content[0] for item in batch})
    accepted: list[Prepared] = []
    rejections: list[Rejection] = []
    for index, item in enumerate(batch):
        account_id, time_us = item.content[:2]
        if time_us <= erased_us.get(account_id, -1) and item.exchange_id not in known:
            rejections.append(_erased(index, item))
            continue
        earlier = known.setdefault(item.exchange_id, item.content)
        if earlier is item.content:
            accepted.append(item)
        elif earlier != item.content:
            rejections.append(_conflict(index, item, earlier))
    queued_texts, queued_tokens = _insert_exchanges(transaction, accepted)
    return IngestResult(
        stored=len(accepted),
        duplicates=len(batch) - len(accepted) - len(rejections),
        rejections=tuple(rejections),
        last_sequence=LogSequence(transaction.last("sequence")),
        position=0 if part is None else _advance(transaction.connection, part),
        queued_texts=queued_texts,
        queued_tokens=queued_tokens,
    )


def _advance(connection: sqlite3.Connection, part: StreamPart) -> int:
    """How far a stream is durable with this part; one behind a gap, whose own commit failed, moves nothing."""
    if part.start == 0:
        connection.execute("INSERT OR IGNORE INTO ingest_stream (stream_id, position) VALUES (?, 0)", (part.stream_id,))
    connection.execute(
        "UPDATE ingest_stream SET position = max(position, :stop), principal = coalesce(nullif(principal, ''), :who)"
        " WHERE stream_id = :stream AND position >= :start AND (principal IN ('', :who) OR :who = '')",
        {"stop": part.stop, "start": part.start, "stream": part.stream_id, "who": part.principal},
    )
    position, principal = ingest_position(connection, part.stream_id)
    return position if not part.principal or principal in ("", part.principal) else 0


def _conflict(index: int, item: Prepared, earlier: tuple[Any, ...]) -> Rejection:
    pairs = zip(_CONTENT_FIELDS, item.content, earlier, strict=True)
    differing = ", ".join(name for name, new, old in pairs if new != old)
    return Rejection(
        index=index,
        exchange_id=item.exchange_id,
        reason="conflict",
        message=f"this exchange_id is stored with another {differing}: an exchange cannot be changed; "
        "send this one under an exchange_id of its own",
    )


def _erased(index: int, item: Prepared) -> Rejection:
    return Rejection(
        index=index,
        exchange_id=item.exchange_id,
        reason="erased",
        message="its account was erased after the time of this exchange: what came before an erasure stays out",
    )


def _stored_content(connection: sqlite3.Connection, exchange_ids: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    found: dict[str, tuple[Any, ...]] = {}
    for chunk in chunks(exchange_ids):
        rows = connection.execute(
            "SELECT e.exchange_id, e.account_id, e.time_us, e.conversation_id, e.turn, e.model, e.input_tokens,"
            f" e.output_tokens, e.cost_usd, p.digest, r.digest, s.digest, {LABELS.format('a')} FROM exchange e"
            " LEFT JOIN text p ON p.text_id = e.prompt LEFT JOIN text r ON r.text_id = e.response"
            " LEFT JOIN text s ON s.text_id = e.system LEFT JOIN attribute_set a ON a.set_id = e.attribute_set"
            f" WHERE e.exchange_id IN ({marks(chunk)})",
            chunk,
        )
        found.update((row[0], row[1:]) for row in rows)
    return found


def _insert_exchanges(transaction: Transaction, accepted: Sequence[Prepared]) -> tuple[int, int]:
    """Store exchanges; returns how many texts, and about how many tokens, wait to be embedded because of them."""
    texts = _TextIds(transaction, {digest for item in accepted for digest, _, _ in item.texts})
    for item in accepted:
        for digest, use, kept in item.texts:
            texts.use(digest, use, kept)
    texts.save()
    set_ids = _attribute_set_ids(transaction, {item.content[-1]: item.labels for item in accepted})
    sequence = transaction.take("sequence", len(accepted))
    transaction.connection.executemany(
        "INSERT INTO exchange (sequence, exchange_id, account_id, time_us, conversation_id, turn, model, input_tokens,"
        " output_tokens, cost_usd, prompt, response, system, attribute_set)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (
                sequence + place,
                item.exchange_id,
                *item.content[:8],
                *(None if digest is None else texts.known[digest].text_id for digest in item.content[8:11]),
                set_ids[item.content[-1]],
            )
            for place, item in enumerate(accepted)
        ),
    )
    return texts.queued()


@dataclass(slots=True)
class _Text:
    """A text's row. held: whether its content is there; kept: what to put there, where it was not."""

    text_id: int
    uses: int
    embedded: bool
    held: bool = True
    gained: int = 0
    kept: Kept | None = None


class _TextIds:
    """The ids of texts by digest: looked up at once, added and brought up to date at once."""

    def __init__(self, transaction: Transaction, digests: Collection[bytes]) -> None:
        self._transaction = transaction
        self._added: list[tuple[_Text, bytes, Kept]] = []
        self.known: dict[bytes, _Text] = {}
        for chunk in chunks(digests):
            rows = transaction.connection.execute(
                "SELECT t.digest, t.text_id, t.uses, v.text_id IS NOT NULL, t.chars IS NULL FROM text t"
                f" LEFT JOIN vector v ON v.text_id = t.text_id WHERE t.digest IN ({marks(chunk)})",
                chunk,
            )
            for digest, text_id, uses, embedded, held in rows:
                self.known[digest] = _Text(text_id, uses, bool(embedded), bool(held))

    def use(self, digest: bytes, use: int, kept: Kept) -> int:
        """The id of a text, which is now also used in this way."""
        text = self.known.get(digest)
        if text is None:
            text = self.known[digest] = _Text(self._transaction.take("text"), use, embedded=False)
            self._added.append((text, digest, kept))
        else:
            if not text.uses & use:
                text.uses |= use
                text.gained |= use
            if not text.held:
                text.kept = kept  # it was let go of, and is sent again
        return text.text_id

    def queued(self) -> tuple[int, int]:
        """How many of the new texts wait to be embedded, and about how many tokens they have."""
        lengths = [kept.chars for text, _, kept in self._added if _queue(text.uses) is not None]
        return len(lengths), sum(map(estimated_tokens, lengths))

    def save(self) -> None:
        """Insert the new texts and record the new uses of old ones."""
        connection = self._transaction.connection
        connection.executemany(
            "INSERT INTO text (text_id, digest, uses, queue, content, sealed, chars) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                (text.text_id, digest, text.uses, _queue(text.uses), *self._columns(text, kept))
                for text, digest, kept in self._added
            ),
        )
        connection.executemany(
            "UPDATE text SET content = ?, sealed = ?, chars = ? WHERE text_id = ?",
            ((*self._columns(text, text.kept), text.text_id) for text in self.known.values() if text.kept is not None),
        )
        added = {text.text_id for text, _, _ in self._added}
        for text in self.known.values():
            if text.gained and text.text_id not in added:
                queue = None if text.embedded else _queue(text.uses)
                connection.execute(
                    "UPDATE text SET uses = ?, queue = ? WHERE text_id = ?", (text.uses, queue, text.text_id)
                )
                if text.embedded:
                    _make_searchable(self._transaction, text.text_id, text.gained)

    def _columns(self, text: _Text, kept: Kept) -> tuple[str, bytes | None, int | None]:
        """Content, sealed content and, where it is let go of, length."""
        waits = not text.embedded and _queue(text.uses) is not None
        if self._transaction.vault.mode is TextMode.DROP and not waits and not text.uses & ITEM:
            return "", None, kept.chars
        return kept.content, kept.sealed, None


def _queue(uses: int) -> int | None:
    # An item waits only once it is asked: what matches items reads them in another model's space.
    if uses & PROMPT:
        return 0
    return 1 if uses & RESPONSE else None


def _make_searchable(transaction: Transaction, text_id: int, uses: int) -> None:
    for use, column in ((PROMPT, "prompt_seq"), (RESPONSE, "response_seq")):
        if uses & use:
            transaction.connection.execute(
                f"UPDATE vector SET {column} = ? WHERE text_id = ?", (transaction.take("vector"), text_id)
            )


def _attribute_set_ids(transaction: Transaction, contents: Mapping[str, bytes | None]) -> dict[str, int]:
    """The number of each attribute set, given its JSON and what is kept of that where it is sealed."""
    connection, vault = transaction.connection, transaction.vault
    key_of = {content: vault.labels_key(content) for content in contents}
    known: dict[str, int] = {}
    for chunk in chunks(key_of.values()):
        known.update(
            connection.execute(
                f"SELECT content, set_id FROM attribute_set WHERE content IN ({marks(chunk)})", chunk
            ).fetchall()
        )
    for content, key in key_of.items():
        if key not in known:
            known[key] = set_id = transaction.take("attribute_set")
            connection.execute(
                "INSERT INTO attribute_set (set_id, content, sealed) VALUES (?, ?, ?)", (set_id, key, contents[content])
            )
            connection.executemany(
                "INSERT INTO attribute (name, value, set_id) VALUES (?, label_key(?, ?), ?)",
                ((name, name, value, set_id) for name, value in json.loads(content).items()),
            )
    return {content: known[key] for content, key in key_of.items()}


# --- model and vectors ----------------------------------------------------------------------------------------


def put_setting(transaction: Transaction, name: str, value: str) -> None:
    """Record something about the folder."""
    transaction.connection.execute(
        "INSERT INTO setting (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )


def bind_model(transaction: Transaction, model_id: str, dim: int) -> None:
    """Record the embedding model of the folder, or hold it against the one recorded."""
    bound = model(transaction.connection)
    if bound is None:
        transaction.connection.executemany(
            "INSERT INTO setting (name, value) VALUES (?, ?)", (("model_id", model_id), ("dim", str(dim)))
        )
    elif bound != (model_id, dim):
        raise ConflictError(
            f"this data folder holds vectors of model {bound[0]} ({bound[1]} dimensions), not of {model_id} ({dim}): "
            f"start with the model {bound[0]}, or use a new data folder and ingest again"
        )


def put_vectors(transaction: Transaction, text_ids: NDArray[np.int64], vectors: NDArray[np.float16]) -> None:
    """Take texts off the queue. Texts that are embedded already, or erased meanwhile, are passed over."""
    _check_dim(transaction, vectors)
    connection = transaction.connection
    waiting: dict[int, int] = {}
    for chunk in chunks(text_ids.tolist()):
        waiting.update(
            connection.execute(
                f"SELECT text_id, uses FROM text WHERE text_id IN ({marks(chunk)})"
                " AND NOT EXISTS (SELECT 1 FROM vector v WHERE v.text_id = text.text_id)",
                chunk,
            ).fetchall()
        )
    rows = []
    for text_id, vector in zip(text_ids.tolist(), vectors, strict=True):
        uses = waiting.pop(text_id, None)
        if uses is not None:
            sequences = [transaction.take("vector") if uses & use else None for use in (PROMPT, RESPONSE)]
            rows.append((text_id, *sequences, vector.tobytes()))
    connection.executemany("INSERT INTO vector (text_id, prompt_seq, response_seq, vector) VALUES (?, ?, ?, ?)", rows)
    connection.executemany("UPDATE text SET queue = NULL WHERE text_id = ?", ((row[0],) for row in rows))
    if transaction.vault.mode is TextMode.DROP:
        drop_texts(transaction, [row[0] for row in rows])


def drop_texts(transaction: Transaction, text_ids: Sequence[int]) -> int:
    """Let go of the contents of texts, and keep their lengths; items of benchmarks stay. Returns how many went."""
    if not text_ids:
        return 0
    transaction.erased = True
    return transaction.connection.executemany(
        f"UPDATE text SET chars = length({CONTENT.format('text')}), content = '', sealed = NULL"
        f" WHERE text_id = ? AND chars IS NULL AND uses & {ITEM} = 0",
        ((text_id,) for text_id in text_ids),
    ).rowcount


def put_view_vectors(
    transaction: Transaction, model_id: str, digests: Sequence[bytes], vectors: NDArray[np.float16]
) -> None:
    """Cache vectors of derived texts, and drop the oldest beyond the bound."""
    first = transaction.take("view_vector", len(digests))
    transaction.connection.executemany(
        "INSERT INTO view_vector (view_id, model_id, digest, vector) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (model_id, digest) DO UPDATE SET vector = excluded.vector",
        (
            (first + place, model_id, digest, vector.tobytes())
            for place, (digest, vector) in enumerate(zip(digests, vectors, strict=True))
        ),
    )
    oldest = transaction.last("view_vector") - VIEW_VECTORS_MAX
    transaction.connection.execute("DELETE FROM view_vector WHERE view_id <= ?", (oldest,))


def _check_dim(transaction: Transaction, vectors: NDArray[np.float16]) -> None:
    bound = model(transaction.connection)
    if bound is None:
        raise ConflictError("the data folder has no embedding model yet: bind one before storing vectors")
    if vectors.shape[1] != bound[1]:
        raise ConflictError(f"vectors have {vectors.shape[1]} dimensions, the data folder's model has {bound[1]}")


# --- runs, findings, reviews ----------------------------------------------------------------------------------


def create_run(transaction: Transaction, value: Run) -> None:
    """Record a new run."""
    try:
        transaction.connection.execute(
            "INSERT INTO run (run_id, state, created_us, record) VALUES (?, ?, ?, ?)",
            (value.run_id, value.state.value, value.created_us, to_record(value)),
        )
    except sqlite3.IntegrityError:
        raise ConflictError(f"there is a run {value.run_id} already: choose another id") from None


def update_run(transaction: Transaction, value: Run) -> None:
    """Overwrite an unfinished run."""
    stored = run(transaction.connection, value.run_id)
    if stored.state.finished:
        raise ConflictError(f"run {value.run_id} is {stored.state.value} and can no longer change: start another")
    transaction.connection.execute(
        "UPDATE run SET state = ?, created_us = ?, record = ? WHERE run_id = ?",
        (value.state.value, value.created_us, to_record(value), value.run_id),
    )


def finish_run(
    transaction: Transaction,
    value: Run,
    findings: Sequence[Finding],
    standings: Sequence[Standing],
    its_families: families.Prepared | None,
    watch: Watch | None,
) -> None:
    """Record everything a run found; what a whole run found is announced, and replaces what the one before left."""
    if len({item.finding_id for item in findings}) != len(findings):
        raise InvalidError("two findings of a run have one id", field="finding_id", reason="duplicate")
    update_run(transaction, value)
    for item in findings:
        _insert_finding(transaction.connection, replace(item, run_id=value.run_id))
    if its_families is not None:
        families.save(transaction, value.run_id, its_families)
    reviews.carry(transaction, [replace(item, run_id=value.run_id) for item in findings], value.finished_us)
    if not value.slice.is_whole:
        return
    watching.begin(transaction.connection, value.run_id, watch)
    for item in findings:
        _insert_event(transaction, value.run_id, item.finding_id, EventCause.REPORTED)
    transaction.connection.executemany(
        "INSERT INTO standing (run_id, account_id, record) VALUES (?, ?, ?)",
        ((value.run_id, item.account_id, to_record(item)) for item in standings),
    )
    transaction.connection.execute("DELETE FROM standing WHERE run_id <> ?", (newest_done_run(transaction.connection),))


def add_review(
    transaction: Transaction, review: Review, version: int | None, rule: tuple[Rule, str, rules.Matches] | None
) -> Finding:
    """Record an entry in the history of a finding, an event for it, and the rule that is made with it."""
    reviewed = reviews.add(transaction, review, version)
    _insert_event(transaction, reviewed.run_id, reviewed.finding_id, EventCause.REVIEWED)
    if rule is None:
        return reviewed
    rules.add(transaction, *rule)
    return reviews.finding(transaction.connection, reviewed.finding_id)


def put_joined(
    transaction: Transaction, run_id: RunId, joined: Mapping[FindingId, Sequence[JoinedAccount]]
) -> list[tuple[FindingId, AccountId]]:
    """Record accounts that joined findings since a run, with an event for each; returns those that are new."""
    added = watching.put_joined(transaction, run_id, joined)
    for finding_id, _ in added:
        _insert_event(transaction, run_id, finding_id, EventCause.JOINED)
    return added


def _insert_finding(connection: sqlite3.Connection, value: Finding) -> None:
    key = (value.run_id, value.finding_id)
    connection.execute("INSERT INTO finding (run_id, finding_id, record) VALUES (?, ?, ?)", (*key, to_record(value)))
    connection.executemany(
        "INSERT INTO finding_account (account_id, run_id, finding_id) VALUES (?, ?, ?)",
        ((account_id, *key) for account_id in {account.account_id for account in value.accounts}),
    )
    connection.executemany(
        "INSERT INTO finding_exemplar (exchange_id, run_id, finding_id) VALUES (?, ?, ?)",
        ((exchange_id, *key) for exchange_id in set(value.exemplars)),
    )


def _delete_finding(connection: sqlite3.Connection, run_id: str, finding_id: str) -> None:
    for table in ("finding", "finding_account", "finding_exemplar"):
        connection.execute(f"DELETE FROM {table} WHERE run_id = ? AND finding_id = ?", (run_id, finding_id))


def _insert_event(transaction: Transaction, run_id: str, finding_id: str, cause: EventCause) -> None:
    transaction.connection.execute(
        "INSERT INTO event (event_id, run_id, finding_id, cause) VALUES (?, ?, ?, ?)",
        (transaction.take("event"), run_id, finding_id, cause.value),
    )


# --- benchmarks -------------------------------------------------------------------------------------


def register_benchmark(transaction: Transaction, name: str, items: Sequence[BenchmarkItem], time_us: int) -> Benchmark:
    """Record a benchmark."""
    vault = transaction.vault
    digests = [vault.digest(normalise(item.text)) for item in items]
    texts = _TextIds(transaction, set(digests))
    stored = benchmark(transaction.connection, name)
    if stored is not None:
        _check_same_items(transaction.connection, name, items, digests, texts)
        return stored
    for item, digest in zip(items, digests, strict=True):
        texts.use(digest, ITEM, vault.keep(item.text, digest))
    texts.save()
    transaction.connection.execute("INSERT INTO benchmark (name, registered_us) VALUES (?, ?)", (name, time_us))
    transaction.connection.executemany(
        "INSERT INTO benchmark_item (name, position, item_id, text_id, answer, sealed) VALUES (?, ?, ?, ?, ?, ?)",
        (
            (name, position, item.item_id, texts.known[digest].text_id, *_answer(vault, item))
            for position, (item, digest) in enumerate(zip(items, digests, strict=True))
        ),
    )
    return Benchmark(name, len(items), time_us)


def _answer(vault: Vault, item: BenchmarkItem) -> tuple[str, bytes | None]:
    sealed = vault.seal(item.answer, item.item_id)
    return ("" if sealed is not None else item.answer), sealed


def _check_same_items(
    connection: sqlite3.Connection,
    name: str,
    items: Sequence[BenchmarkItem],
    digests: Sequence[bytes],
    texts: _TextIds,
) -> None:
    stored_items, stored_ids = benchmark_items(connection, name)
    stored = [
        (item.item_id, text_id, item.answer) for item, text_id in zip(stored_items, stored_ids.tolist(), strict=True)
    ]
    new = [
        (item.item_id, texts.known[digest].text_id if digest in texts.known else None, item.answer)
        for item, digest in zip(items, digests, strict=True)
    ]
    if new != stored:
        raise ConflictError(
            f"benchmark {name} is registered with {len(stored)} other items: register these under another name"
        )


# --- erasure --------------------------------------------------------------------------------------------------


def erase_account(
    transaction: Transaction, account_id: AccountId, time_us: int, belongings: Belongings | None = None
) -> Erasure:
    """Remove an account, its exchanges, and every text, vector and attribute that only it used.

    Args:
        belongings: takes note of what goes, so that it can be looked for afterwards.
    """
    transaction.erased = True
    connection = transaction.connection
    rows = connection.execute(
        "SELECT exchange_id, prompt, response, system, attribute_set FROM exchange WHERE account_id = ?", (account_id,)
    ).fetchall()
    connection.execute("DELETE FROM exchange WHERE account_id = ?", (account_id,))
    text_ids = sorted({text_id for row in rows for text_id in row[1:4] if text_id is not None})
    removed = delete_unused_texts(transaction, text_ids, time_us, belongings)
    delete_unused_attributes(connection, sorted({row[4] for row in rows}))
    # A derived text cannot be traced to those who sent it, and the cache can be made again.
    connection.execute("DELETE FROM view_vector")
    changed = _erase_from_findings(connection, account_id, {row[0] for row in rows}, removed)
    reviews.erase_account(connection, account_id, lambda text: _scrubbed(text, account_id))
    _erase_from_reasons(connection, account_id)
    _erase_from_standings(connection, account_id)
    families.erase(connection, account_id, {row[0] for row in rows}, removed)
    watching.erase(connection, account_id, removed)
    _erase_from_slices(connection, account_id)
    return Erasure(account_id=account_id, exchanges=len(rows), texts=len(removed), findings_changed=changed)


def delete_unused_texts(
    transaction: Transaction, text_ids: Sequence[int], time_us: int, belongings: Belongings | None = None
) -> set[int]:
    """Delete those of the texts that nothing uses any more, and leave their ids for indexes to forget."""
    connection = transaction.connection
    removed: list[int] = []
    for chunk in chunks(text_ids):
        rows = connection.execute(
            "SELECT text_id, uses, EXISTS (SELECT 1 FROM exchange e WHERE e.prompt = text_id),"
            " EXISTS (SELECT 1 FROM exchange e WHERE e.response = text_id),"
            " EXISTS (SELECT 1 FROM exchange e WHERE e.system = text_id),"
            " EXISTS (SELECT 1 FROM benchmark_item b WHERE b.text_id = text.text_id)"
            f" FROM text WHERE text_id IN ({marks(chunk)})",
            chunk,
        ).fetchall()
        for text_id, uses, *used in rows:
            remaining = sum(use for use, present in zip((PROMPT, RESPONSE, SYSTEM, ITEM), used, strict=True) if present)
            if not remaining:
                removed.append(text_id)
            elif remaining != uses:
                _drop_uses(connection, text_id, remaining)
    if belongings is not None:
        belongings.take(connection, removed)
    first = transaction.take("erasure", len(removed))
    keys = [(text_id,) for text_id in removed]
    connection.executemany("DELETE FROM vector WHERE text_id = ?", keys)
    connection.executemany("DELETE FROM text WHERE text_id = ?", keys)
    connection.executemany(
        "INSERT INTO erasure (erasure_seq, text_id, time_us) VALUES (?, ?, ?)",
        ((first + place, text_id, time_us) for place, text_id in enumerate(removed)),
    )
    return set(removed)


def _drop_uses(connection: sqlite3.Connection, text_id: int, uses: int) -> None:
    queue = _queue(uses)
    connection.execute(
        "UPDATE text SET uses = ?, queue = CASE WHEN queue IS NULL THEN NULL ELSE ? END WHERE text_id = ?",
        (uses, queue, text_id),
    )
    for use, column in ((PROMPT, "prompt_seq"), (RESPONSE, "response_seq")):
        if not uses & use:
            connection.execute(f"UPDATE vector SET {column} = NULL WHERE text_id = ?", (text_id,))


def delete_unused_attributes(connection: sqlite3.Connection, set_ids: Sequence[int]) -> None:
    """Delete those of the attribute sets that no exchange has any more."""
    for chunk in chunks(set_ids):
        unused = connection.execute(
            f"SELECT set_id, {LABELS.format('attribute_set')} FROM attribute_set WHERE set_id IN ({marks(chunk)})"
            " AND NOT EXISTS (SELECT 1 FROM exchange e WHERE e.attribute_set = set_id)",
            chunk,
        ).fetchall()
        for set_id, content in unused:
            connection.executemany(
                "DELETE FROM attribute WHERE name = ? AND value = label_key(?, ?) AND set_id = ?",
                ((name, name, value, set_id) for name, value in json.loads(content).items()),
            )
            connection.execute("DELETE FROM attribute_set WHERE set_id = ?", (set_id,))


def _erase_from_findings(
    connection: sqlite3.Connection, account_id: AccountId, exchange_ids: Collection[str], text_ids: Collection[int]
) -> int:
    keys: set[tuple[str, str]] = set(
        connection.execute("SELECT run_id, finding_id FROM finding_account WHERE account_id = ?", (account_id,))
    )
    for chunk in chunks(exchange_ids):
        keys.update(
            connection.execute(
                f"SELECT run_id, finding_id FROM finding_exemplar WHERE exchange_id IN ({marks(chunk)})", chunk
            )
        )
    for run_id, finding_id in sorted(keys):
        (record,) = connection.execute(
            "SELECT record FROM finding WHERE run_id = ? AND finding_id = ?", (run_id, finding_id)
        ).fetchone()
        _delete_finding(connection, run_id, finding_id)
        rest = _without(finding_from(record), account_id, exchange_ids, text_ids)
        if rest.accounts:
            _insert_finding(connection, rest)
        else:
            connection.execute("DELETE FROM event WHERE run_id = ? AND finding_id = ?", (run_id, finding_id))
    for finding_id in sorted({finding_id for _, finding_id in keys}):
        _erase_from_reviews(connection, account_id, finding_id)
    return len(keys)


def _without(
    value: Finding, account_id: AccountId, exchange_ids: Collection[str], text_ids: Collection[int]
) -> Finding:
    def scrubbed(text: str) -> str:
        return _scrubbed(text, account_id)

    return replace(
        value,
        title=scrubbed(value.title),
        accounts=tuple(account for account in value.accounts if account.account_id != account_id),
        exemplars=tuple(item for item in value.exemplars if item not in exchange_ids),
        text_ids=tuple(item for item in value.text_ids if item not in text_ids),
        evidence=tuple(
            replace(item, summary=scrubbed(item.summary), null=scrubbed(item.null)) for item in value.evidence
        ),
        counter_evidence=tuple(
            replace(item, summary=scrubbed(item.summary), null=scrubbed(item.null)) for item in value.counter_evidence
        ),
    )


def _erase_from_reviews(connection: sqlite3.Connection, account_id: AccountId, finding_id: str) -> None:
    if not accounts_of_finding(connection, finding_id):
        reviews.erase_finding(connection, finding_id)
        return
    rows = connection.execute("SELECT review_id, reason FROM review WHERE finding_id = ?", (finding_id,)).fetchall()
    connection.executemany(
        "UPDATE review SET reason = ? WHERE review_id = ?",
        ((_scrubbed(reason, account_id), review_id) for review_id, reason in rows),
    )


def _erase_from_reasons(connection: sqlite3.Connection, account_id: AccountId) -> None:
    """Whoever reviewed another finding may have named the account there."""
    rows = connection.execute(
        "SELECT review_id, reason FROM review WHERE instr(reason, ?) > 0", (account_id,)
    ).fetchall()
    connection.executemany(
        "UPDATE review SET reason = ? WHERE review_id = ?",
        ((_scrubbed(reason, account_id), review_id) for review_id, reason in rows),
    )


def _erase_from_slices(connection: sqlite3.Connection, account_id: AccountId) -> None:
    named = connection.execute("SELECT record FROM run WHERE instr(record, ?) > 0", (_in_json(account_id),)).fetchall()
    for (record,) in named:
        value = run_from(record)
        rest = replace(value, slice=value.slice.without(account_id))
        connection.execute("UPDATE run SET record = ? WHERE run_id = ?", (to_record(rest), value.run_id))


def _erase_from_standings(connection: sqlite3.Connection, account_id: AccountId) -> None:
    connection.execute("DELETE FROM standing WHERE account_id = ?", (account_id,))
    named = connection.execute(
        "SELECT run_id, account_id, record FROM standing WHERE instr(record, ?) > 0", (_in_json(account_id),)
    ).fetchall()
    for run_id, other, record in named:
        standing = standing_from(record)
        rest = replace(
            standing,
            nearest_candidate=_scrubbed(standing.nearest_candidate, account_id),
            reason=_scrubbed(standing.reason, account_id),
        )
        connection.execute(
            "UPDATE standing SET record = ? WHERE run_id = ? AND account_id = ?", (to_record(rest), run_id, other)
        )


def _in_json(account_id: AccountId) -> str:
    """An account's name as it stands inside a record."""
    return json.dumps(account_id, ensure_ascii=False)[1:-1]


def _scrubbed(text: str, account_id: str) -> str:
    """The text without the account's name, where it stands as a word of its own."""
    return re.sub(rf"(?<![\w-]){re.escape(account_id)}(?![\w-])", ERASED, text)
