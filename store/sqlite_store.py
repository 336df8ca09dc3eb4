"""The store on SQLite: one writer, many readers, one data folder."""

import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coterie.domain import (
    LIMITS,
    AccountId,
    Arrival,
    AuditEntry,
    AuditRow,
    AuditVerdict,
    Backlog,
    Benchmark,
    BenchmarkItem,
    Decision,
    Erasure,
    ErasureLedger,
    ErasureProof,
    Exchange,
    ExchangeId,
    Family,
    FamilyHistory,
    FamilyId,
    FamilyLabels,
    FamilyLineage,
    FamilyRecord,
    Finding,
    FindingId,
    IngestResult,
    InvalidError,
    JoinedAccount,
    LineageStep,
    NotFoundError,
    OutboxEvent,
    PendingErasure,
    Review,
    Rule,
    Run,
    RunId,
    RunState,
    SearchFilter,
    SharedTexts,
    Slice,
    Standing,
    Stats,
    StreamPart,
    TextField,
    TextId,
    TextMode,
    TextPolicy,
    Token,
    UnavailableError,
    Watch,
    WatchedPool,
    WebhookState,
    WindowRows,
    normalise,
    printable,
)
from coterie.domain import Sequence as LogSequence
from coterie.domain.telemetry import OnCommit
from coterie.store import (
    access,
    audit,
    changes,
    dossier,
    erasing,
    families,
    queries,
    retention,
    reviews,
    rules,
    watching,
    webhooks,
)
from coterie.store.backup import copy_database
from coterie.store.database import Readers, open_writer, translated
from coterie.store.lock import FolderLock
from coterie.store.proof import DATABASE, Belongings, prove
from coterie.store.protocol import EVERYTHING, Store
from coterie.store.raw import let_go
from coterie.store.vault import open_vault, rewrap
from coterie.store.window import window_rows
from coterie.store.writer import Writer

_NORM_ERROR_MAX = 1e-2
_SETTLE_S = 30.0
"""How long the proof of an erasure waits for readers that keep the write-ahead log from being emptied."""
_SETTLE_LOOK_S = 0.05


def open_store(data_dir: Path, *, create: bool = True, texts: TextPolicy | None = None) -> "SqliteStore":
    """Open the store of a data folder and keep everyone else out of it.

    Args:
        texts: how texts are kept; None for as the folder keeps them, in which case encrypted ones cannot be read.

    Raises:
        ConflictError: another process has it; the message names it, and its address if it serves. Or the folder keeps
            its texts in another way.
        NotFoundError: there is no store and `create` is off.
        UnavailableError: not writable, not coterie's, damaged, or from a newer version.
    """
    path = data_dir / DATABASE
    if not create and not path.exists():
        raise NotFoundError(f"there is no coterie data in {data_dir}: ingest something first, or name another folder")
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        _close_to_others(data_dir)
        lock = FolderLock(data_dir)
    except OSError as error:
        raise translated(error, data_dir) from error
    try:
        return SqliteStore(data_dir, lock, texts)
    except BaseException:
        lock.release()
        raise


def _close_to_others(data_dir: Path) -> None:
    """Take the folder away from everybody but its owner: whoever reads it has every text, and every right."""
    found = data_dir.stat()
    if found.st_mode & 0o077 and found.st_uid == os.geteuid():
        data_dir.chmod(0o700)
        for path in data_dir.rglob("*"):
            if path.is_file() and not path.is_symlink():
                path.chmod(0o600)


class SqliteStore(Store):
    """See `Store`. Made by `open_store`."""

    def __init__(self, data_dir: Path, lock: FolderLock, texts: TextPolicy | None = None) -> None:
        self.data_dir = data_dir
        self._path = data_dir / DATABASE
        self._lock = lock
        self.unclean = lock.left_behind
        self._audit_key: bytes | None = None
        connection = open_writer(self._path)
        try:
            self._vault = open_vault(connection, texts)
        except BaseException:
            connection.close()
            raise
        self._writer = Writer(connection, self._path, self._vault)
        self._readers = Readers(self._path, self._vault.register)

    def __enter__(self) -> "SqliteStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def announce(self, address: str) -> None:
        self._lock.write(address)

    def on_commit(self, listener: OnCommit) -> None:
        self._writer.on_commit = listener

    def waiting_writes(self) -> tuple[int, int]:
        return self._writer.waiting()

    def check_writable(self, timeout_s: float) -> None:
        # A row that is really written: an empty transaction never meets the disk.
        written = self._writer.submit(lambda transaction: transaction.take("write_check"), wait=False)
        try:
            written.result(timeout_s)
        except TimeoutError as error:
            raise UnavailableError(f"{self._path} took no write for {timeout_s:g} s: check its disk") from error

    def file_sizes(self) -> tuple[int, int]:
        return _size(self._path), _size(self._path.with_name(f"{self._path.name}-wal"))

    def close(self) -> None:
        self._readers.close()
        self._writer.close()
        let_go(self.data_dir)
        self._lock.release()

    def copy_to(self, path: Path, progress: Callable[[float], None]) -> None:
        with self._readers.snapshot() as connection:
            # BEGIN alone reads nothing: the first read is what fixes the commit.
            connection.execute("SELECT count(*) FROM counter").fetchone()
            copy_database(connection, path, progress)

    # --- model

    def model(self) -> tuple[str, int] | None:
        with self._readers.snapshot() as connection:
            return queries.model(connection)

    def bind_model(self, model_id: str, dim: int) -> None:
        self._writer.run(lambda transaction: changes.bind_model(transaction, model_id, dim))

    # --- settings

    def setting(self, name: str) -> str | None:
        with self._readers.snapshot() as connection:
            return queries.setting(connection, name)

    def put_setting(self, name: str, value: str) -> None:
        self._writer.run(lambda transaction: changes.put_setting(transaction, name, value))

    def text_mode(self) -> TextMode:
        return self._vault.mode

    def rotate_text_key(self, old_key: bytes, new_key: bytes) -> None:
        self._writer.run(lambda transaction: rewrap(transaction.connection, old_key, new_key))

    # --- ingest

    def append(self, exchanges: Sequence[Exchange]) -> IngestResult:
        return self._append(exchanges, wait=True).result()

    def submit(self, exchanges: Sequence[Exchange], part: StreamPart | None = None) -> Future[IngestResult]:
        return self._append(exchanges, part, wait=False)

    def ingest_position(self, stream_id: str) -> tuple[int, str]:
        with self._readers.snapshot() as connection:
            return queries.ingest_position(connection, stream_id)

    def backlog(self) -> Backlog:
        with self._readers.snapshot() as connection:
            return queries.backlog(connection)

    def _append(
        self, exchanges: Sequence[Exchange], part: StreamPart | None = None, *, wait: bool
    ) -> Future[IngestResult]:
        batch = changes.prepare(exchanges, self._vault)
        chars = sum(kept.chars for item in batch for _, _, kept in item.texts)
        return self._writer.submit(lambda transaction: changes.append(transaction, batch, part), chars=chars, wait=wait)

    # --- texts and vectors

    def pending_texts(self, limit: int) -> list[tuple[TextId, str]]:
        with self._readers.snapshot() as connection:
            return queries.pending_texts(connection, limit)

    def oldest_pending(self) -> TextId:
        with self._readers.snapshot() as connection:
            return queries.oldest_pending(connection)

    def pending_count(self) -> int:
        with self._readers.snapshot() as connection:
            return queries.pending_count(connection)

    def put_vectors(self, text_ids: Sequence[TextId] | NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        ids = np.asarray(text_ids, dtype=np.int64)
        stored = _as_stored(vectors, len(ids))
        self._writer.run(lambda transaction: changes.put_vectors(transaction, ids, stored))

    def vectors(self, text_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        with self._readers.snapshot() as connection:
            return queries.vectors(connection, text_ids)

    def texts(self, text_ids: NDArray[np.int64]) -> list[str]:
        with self._readers.snapshot() as connection:
            return queries.texts(connection, text_ids)

    def text_ids(self, field: TextField, *, after: int = 0, limit: int = 1_000_000) -> NDArray[np.int64]:
        with self._readers.snapshot() as connection:
            return queries.text_ids(connection, field, after, limit)

    def vectors_since(
        self, field: TextField, after_vector: int, limit: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        with self._readers.snapshot() as connection:
            return queries.vectors_since(connection, field, after_vector, limit)

    def last_vector(self) -> int:
        with self._readers.snapshot() as connection:
            return queries.last_vector(connection)

    def view_vectors(self, model_id: str, digests: Sequence[bytes]) -> dict[bytes, NDArray[np.float32]]:
        plain = {self._vault.derived_digest(digest): digest for digest in digests}
        with self._readers.snapshot() as connection:
            found = queries.view_vectors(connection, model_id, list(plain))
        return {plain[digest]: vector for digest, vector in found.items()}

    def put_view_vectors(self, model_id: str, digests: Sequence[bytes], vectors: NDArray[np.float32]) -> None:
        stored = _as_stored(vectors, len(digests))
        kept = [self._vault.derived_digest(digest) for digest in digests]
        self._writer.run(lambda transaction: changes.put_view_vectors(transaction, model_id, kept, stored))

    # --- reading

    def exchange(self, exchange_id: ExchangeId) -> Exchange:
        found = self.exchanges([exchange_id])
        if not found:
            raise queries.missing_exchange(exchange_id)
        return found[0]

    def exchanges(self, exchange_ids: Sequence[ExchangeId]) -> list[Exchange]:
        with self._readers.snapshot() as connection:
            return queries.exchanges(connection, exchange_ids)

    def exchange_text(self, exchange_id: ExchangeId, field: TextField) -> TextId | None:
        with self._readers.snapshot() as connection:
            return queries.exchange_text(connection, exchange_id, field)

    def exchanges_of_texts(
        self, field: TextField, text_ids: NDArray[np.int64], filter: SearchFilter, *, limit_per_text: int
    ) -> dict[TextId, list[Exchange]]:
        with self._readers.snapshot() as connection:
            return queries.exchanges_of_texts(connection, field, text_ids, filter, limit_per_text)

    def exchanges_before(
        self, account_id: AccountId | None, text_id: TextId | None, before: tuple[int, int] | None, limit: int
    ) -> list[tuple[int, Exchange]]:
        with self._readers.snapshot() as connection:
            return queries.exchanges_before(connection, account_id, text_id, before, limit)

    def accounts_of_prompts(self, text_ids: NDArray[np.int64]) -> dict[TextId, list[AccountId]]:
        with self._readers.snapshot() as connection:
            return queries.accounts_of_prompts(connection, text_ids)

    def distinct_prompts(self, account_ids: Collection[AccountId]) -> dict[AccountId, int]:
        with self._readers.snapshot() as connection:
            return queries.distinct_prompts(connection, account_ids)

    def candidate_texts(self, field: TextField, filter: SearchFilter, *, limit: int) -> NDArray[np.int64] | None:
        with self._readers.snapshot() as connection:
            return queries.candidate_texts(connection, field, filter, limit)

    def window(self, filter: SearchFilter = EVERYTHING, field: TextField = TextField.PROMPT) -> WindowRows:
        with self._readers.snapshot() as connection:
            return window_rows(connection, filter, field)

    def time_range(self) -> tuple[int, int] | None:
        with self._readers.snapshot() as connection:
            return queries.time_range(connection)

    def stats(self) -> Stats:
        names = (self._path.name, f"{self._path.name}-wal")
        files = [path for path in (self.data_dir / name for name in names) if path.exists()]
        with self._readers.snapshot() as connection:
            return queries.stats(connection, sum(path.stat().st_size for path in files))

    # --- runs and findings

    def create_run(self, run: Run) -> None:
        self._writer.run(lambda transaction: changes.create_run(transaction, run))

    def update_run(self, run: Run) -> None:
        if run.state is RunState.DONE:
            raise InvalidError("a run is done only with its findings: use finish_run", field="state")
        self._writer.run(lambda transaction: changes.update_run(transaction, run))

    def run(self, run_id: str) -> Run:
        with self._readers.snapshot() as connection:
            return queries.run(connection, run_id)

    def runs(self, *, limit: int, before: tuple[int, str] | None = None) -> list[Run]:
        with self._readers.snapshot() as connection:
            return queries.runs(connection, limit, before)

    def finish_run(
        self,
        run: Run,
        findings: Sequence[Finding],
        standings: Sequence[Standing],
        record: FamilyRecord | None = None,
        watch: Watch | None = None,
    ) -> None:
        if run.state is not RunState.DONE:
            raise InvalidError(f"a finished run is done, not {run.state.value}: use update_run", field="state")
        prepared = None if record is None else families.prepare(run.run_id, record)
        self._writer.run(lambda transaction: changes.finish_run(transaction, run, findings, standings, prepared, watch))

    def last_done(self, part: Slice) -> RunId:
        with self._readers.snapshot() as connection:
            return RunId(queries.newest_done_run(connection, part))

    def gone(self, part: Slice, limit: int) -> list[Finding]:
        with self._readers.snapshot() as connection:
            return queries.gone(connection, part, limit)

    def findings(self, run_id: str = "") -> tuple[str, list[Finding]]:
        with self._readers.snapshot() as connection:
            return reviews.findings(connection, run_id)

    def reported(self, run_id: str = "") -> tuple[str, list[Finding]]:
        with self._readers.snapshot() as connection:
            return queries.findings(connection, run_id)

    def finding(self, finding_id: FindingId, run_id: str = "") -> Finding:
        with self._readers.snapshot() as connection:
            return reviews.finding(connection, finding_id, run_id)

    def finding_lineage(self, finding_id: FindingId, run_id: RunId, *, limit: int) -> list[LineageStep]:
        with self._readers.snapshot() as connection:
            return dossier.lineage(connection, finding_id, run_id, limit)

    def reviews(self, finding_id: FindingId) -> list[Review]:
        with self._readers.snapshot() as connection:
            return reviews.history(connection, finding_id)

    def add_review(
        self,
        review: Review,
        *,
        version: int | None = None,
        rule: tuple[Rule, str, Mapping[FindingId, str]] | None = None,
    ) -> Finding:
        return self._writer.run(lambda transaction: changes.add_review(transaction, review, version, rule))

    def decisions(self) -> tuple[list[Decision], int]:
        with self._readers.snapshot() as connection:
            return reviews.decisions(connection)

    def rules(self) -> list[Rule]:
        with self._readers.snapshot() as connection:
            return rules.rules(connection)

    def add_rule(self, rule: Rule, run_id: str, matches: Mapping[FindingId, str]) -> Rule:
        return self._writer.run(lambda transaction: rules.add(transaction, rule, run_id, matches))

    def revoke_rule(self, rule_id: str, reviewer: str, time_us: int) -> Rule:
        return self._writer.run(lambda transaction: rules.revoke(transaction.connection, rule_id, reviewer, time_us))

    def put_rule_matches(self, run_id: str, matches: Mapping[str, Mapping[FindingId, str]]) -> None:
        self._writer.run(lambda transaction: rules.put_matches(transaction.connection, run_id, matches))

    def standing(self, account_id: AccountId) -> tuple[str, Standing | None]:
        with self._readers.snapshot() as connection:
            return queries.standing(connection, account_id)

    def shared_texts(self, exchange_ids: Collection[ExchangeId], accounts_min: int) -> dict[ExchangeId, SharedTexts]:
        with self._readers.snapshot() as connection:
            return queries.shared_texts(connection, exchange_ids, accounts_min)

    def account_exchanges(self, account_id: AccountId) -> int:
        with self._readers.snapshot() as connection:
            return queries.account_exchanges(connection, account_id)

    def count_accounts(self, filter: SearchFilter = EVERYTHING, *, limit: int) -> int:
        with self._readers.snapshot() as connection:
            return queries.count_accounts(connection, filter, limit)

    def daily_exchanges(
        self, account_ids: Collection[AccountId], since_us: int, until_us: int
    ) -> dict[AccountId, dict[int, int]]:
        with self._readers.snapshot() as connection:
            return dossier.daily_exchanges(connection, account_ids, since_us, until_us)

    def events(self, after: int, limit: int) -> list[tuple[int, Finding]]:
        with self._readers.snapshot() as connection:
            return [(item.event, item.finding) for item in reviews.outbox(connection, after, limit)]

    def outbox(self, after: int, limit: int) -> list[OutboxEvent]:
        with self._readers.snapshot() as connection:
            return reviews.outbox(connection, after, limit)

    def webhooks(self, urls: Mapping[str, str]) -> list[WebhookState]:
        with self._readers.snapshot() as connection:
            return webhooks.states(connection, urls)

    def begin_webhook(self, name: str) -> int:
        return self._writer.run(
            lambda transaction: webhooks.begin(transaction.connection, name, transaction.last("event"))
        )

    def advance_webhook(self, name: str, before: int, event: int, *, delivered: bool) -> bool:
        return self._writer.run(
            lambda transaction: webhooks.advance(transaction.connection, name, before, event, delivered=delivered)
        )

    def fail_webhook(self, name: str, error: str, time_us: int) -> tuple[int, int]:
        return self._writer.run(lambda transaction: webhooks.fail(transaction.connection, name, error, time_us))

    def give_up_webhook(self, name: str, before: int, event: int, error: str, time_us: int) -> bool:
        return self._writer.run(
            lambda transaction: webhooks.give_up(transaction.connection, name, before, event, error, time_us)
        )

    def replay_webhook(self, name: str, after_event: int | None) -> int:
        return self._writer.run(lambda transaction: webhooks.replay(transaction.connection, name, after_event))

    def last_event(self) -> int:
        with self._readers.snapshot() as connection:
            return queries.last_event(connection)

    # --- families

    def families(
        self, run_id: str = "", *, lineage: FamilyLineage | None = None, limit: int, after: int = -1
    ) -> tuple[str, list[tuple[int, Family]]]:
        with self._readers.snapshot() as connection:
            return families.families(connection, run_id, lineage, limit, after)

    def family_history(self, part: str, other: str | None) -> FamilyHistory:
        with self._readers.snapshot() as connection:
            return families.history(connection, part, other)

    def family_labels(self) -> FamilyLabels | None:
        with self._readers.snapshot() as connection:
            return families.labels(connection, "")

    def run_family_labels(self, run_id: str) -> FamilyLabels | None:
        with self._readers.snapshot() as connection:
            return families.labels_of_run(connection, run_id)

    def joining(self) -> tuple[RunId, int]:
        with self._readers.snapshot() as connection:
            return families.joining(connection)

    def put_joins(
        self,
        run_id: RunId,
        text_ids: NDArray[np.int64],
        family_ids: Sequence[FamilyId],
        distances: NDArray[np.float32],
        last_vector: int,
    ) -> bool:
        return self._writer.run(
            lambda transaction: families.put_joins(transaction, run_id, text_ids, family_ids, distances, last_vector)
        )

    def joined(self, run_id: RunId, text_ids: NDArray[np.int64]) -> dict[TextId, FamilyId]:
        with self._readers.snapshot() as connection:
            return families.joined(connection, run_id, text_ids)

    # --- watching

    def log_position(self) -> tuple[LogSequence, TextId]:
        with self._readers.snapshot() as connection:
            return queries.log_position(connection)

    def watching(self) -> tuple[RunId, int, int, int]:
        with self._readers.snapshot() as connection:
            return watching.watching(connection)

    def watched_pools(self) -> dict[str, WatchedPool]:
        with self._readers.snapshot() as connection:
            return watching.watched_pools(connection)

    def arrivals(self, after: int, limit: int) -> list[Arrival]:
        with self._readers.snapshot() as connection:
            return watching.arrivals(connection, after, limit)

    def put_near(self, run_id: RunId, near: Sequence[tuple[str, AccountId, TextId, int]], looked_sequence: int) -> bool:
        return self._writer.run(lambda transaction: watching.put_near(transaction, run_id, near, looked_sequence))

    def near(self) -> dict[str, dict[AccountId, dict[TextId, int]]]:
        with self._readers.snapshot() as connection:
            return watching.near(connection)

    def prompts_since(self, after: int, until: int) -> dict[AccountId, int]:
        with self._readers.snapshot() as connection:
            return watching.prompts_since(connection, after, until)

    def organisations(self, account_ids: Collection[AccountId]) -> dict[AccountId, str]:
        with self._readers.snapshot() as connection:
            return watching.organisations(connection, account_ids)

    def put_joined(
        self, run_id: RunId, joined: Mapping[FindingId, Sequence[JoinedAccount]]
    ) -> list[tuple[FindingId, AccountId]]:
        return self._writer.run(lambda transaction: changes.put_joined(transaction, run_id, joined))

    # --- benchmarks

    def register_benchmark(self, name: str, items: Sequence[BenchmarkItem], time_us: int) -> Benchmark:
        _check_items(items)
        return self._writer.run(lambda transaction: changes.register_benchmark(transaction, name, items, time_us))

    def benchmarks(self) -> list[Benchmark]:
        with self._readers.snapshot() as connection:
            return queries.benchmarks(connection)

    def benchmark_items(self, name: str) -> tuple[list[BenchmarkItem], NDArray[np.int64]]:
        with self._readers.snapshot() as connection:
            return queries.benchmark_items(connection, name)

    # --- retention

    def count_before(self, before_us: int) -> int:
        with self._readers.snapshot() as connection:
            return retention.count_before(connection, before_us)

    def drop_exchanges(self, before_us: int, limit: int, time_us: int) -> tuple[int, tuple[TextId, ...]]:
        return self._writer.run(lambda transaction: retention.drop_exchanges(transaction, before_us, limit, time_us))

    def drop_contents(self, before_us: int, after: int, limit: int) -> tuple[int, int]:
        return self._writer.run(lambda transaction: retention.drop_contents(transaction, before_us, after, limit))

    def forget_dropped(self) -> None:
        self._writer.run(retention.drop_near)

    # --- erasure and audit

    def begin_erasure(self, account_id: AccountId, time_us: int) -> PendingErasure:
        return self._writer.run(lambda transaction: erasing.begin(transaction, account_id, time_us))

    def erase_account(self, account_id: AccountId, time_us: int, belongings: Belongings | None = None) -> Erasure:
        return self._writer.run(lambda transaction: changes.erase_account(transaction, account_id, time_us, belongings))

    def finish_erasure(self, erasure: PendingErasure, time_us: int) -> str:
        return self._writer.run(lambda transaction: erasing.finish(transaction, erasure, time_us))

    def pending_erasures(self) -> list[PendingErasure]:
        with self._readers.snapshot() as connection:
            return erasing.pending(connection)

    def is_named(self, account_id: AccountId) -> bool:
        with self._readers.snapshot() as connection:
            return erasing.is_named(connection, account_id)

    def erased_at(self, account_id: AccountId) -> int | None:
        with self._readers.snapshot() as connection:
            return erasing.erased_at(connection, account_id)

    def erasure_ledger(self) -> ErasureLedger:
        with self._readers.snapshot() as connection:
            return erasing.ledger(connection)

    def adopt_erasures(self, ledger: ErasureLedger, time_us: int) -> int:
        return self._writer.run(lambda transaction: erasing.adopt(transaction, ledger, time_us))

    def prove_erasure(self, account_id: AccountId, belongings: Belongings) -> ErasureProof:
        proof = self._look_for(account_id, belongings, compacted=False)
        unused = {f"file {DATABASE}", f"file {DATABASE}-wal"}
        if proof.residues and all(item.place in unused for item in proof.residues):
            # SQLite overwrites what it deletes, but not every copy that it made when it moved rows between pages.
            self._writer.compact()
            proof = self._look_for(account_id, belongings, compacted=True)
        return proof

    def _look_for(self, account_id: AccountId, belongings: Belongings, *, compacted: bool) -> ErasureProof:
        deadline_s = time.monotonic() + _SETTLE_S
        while not self._writer.settle() and time.monotonic() < deadline_s:
            time.sleep(_SETTLE_LOOK_S)  # a reader still needs the log
        with self._readers.snapshot() as connection:
            return prove(connection, self.data_dir, account_id, belongings, compacted=compacted)

    def erased_since(self, seq: int) -> tuple[int, NDArray[np.int64]]:
        with self._readers.snapshot() as connection:
            return queries.erased_since(connection, seq)

    # --- audit

    def use_audit_key(self, key: bytes | None) -> None:
        self._audit_key = key

    def audit(self, entry: AuditEntry) -> Future[int]:
        for name in ("action", "subject", "actor", "request_id"):
            value = getattr(entry, name)
            if len(value) > LIMITS.id_chars_max or printable(value) != value:
                raise InvalidError(
                    f"{name} has {len(value)} characters or holds control characters: an audit row takes an id of "
                    f"up to {LIMITS.id_chars_max}, never text",
                    field=name,
                )
        return self._writer.submit(lambda transaction: audit.append(transaction, entry, self._audit_key), wait=False)

    def audit_rows(
        self, *, since_us: int = 0, action: str = "", actor: str = "", before: int = 0, limit: int
    ) -> list[AuditRow]:
        with self._readers.snapshot() as connection:
            return audit.rows(connection, since_us, action, actor, before, limit)

    def audit_head(self) -> tuple[int, str]:
        with self._readers.snapshot() as connection:
            return audit.head(connection)

    def verify_audit(self, noted: str = "") -> AuditVerdict:
        with self._readers.snapshot() as connection:
            return audit.verify(connection, self._audit_key, noted)

    # --- access

    def tokens(self) -> list[tuple[Token, bytes]]:
        with self._readers.snapshot() as connection:
            return access.tokens(connection)

    def add_token(self, token: Token, digest: bytes) -> None:
        self._writer.run(lambda transaction: access.add_token(transaction, token, digest))

    def revoke_token(self, token_id: str, time_us: int) -> Token:
        return self._writer.run(lambda transaction: access.revoke_token(transaction, token_id, time_us))

    def touch_token(self, token_id: str, used_us: int) -> Future[None]:
        return self._writer.submit(lambda transaction: access.touch_token(transaction, token_id, used_us), wait=False)


def _as_stored(vectors: NDArray[np.float32], rows: int) -> NDArray[np.float16]:
    if vectors.ndim != 2 or len(vectors) != rows:
        raise InvalidError(f"vectors have the shape {vectors.shape}, wanted is [{rows}, dim]", field="vectors")
    norms = np.linalg.norm(vectors, axis=1)
    # Written so that NaN fails it.
    if not np.all(np.abs(norms - 1) <= _NORM_ERROR_MAX):
        raise InvalidError("vectors must have unit length: divide each row by its norm", field="vectors")
    return vectors.astype("<f2")


def _check_items(items: Iterable[BenchmarkItem]) -> None:
    seen: set[str] = set()
    for item in items:
        if item.item_id in seen:
            raise InvalidError(f"item_id {printable(item.item_id)} appears twice", field="item_id", reason="duplicate")
        if not normalise(item.text):
            raise InvalidError(f"item {printable(item.item_id)} has no text", field="text", reason="empty_text")
        seen.add(item.item_id)
    if not 1 <= len(seen) <= LIMITS.benchmark_items_max:
        raise InvalidError(f"a benchmark has 1 to {LIMITS.benchmark_items_max} items, not {len(seen)}", field="items")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
