"""What a store does, whatever database is behind it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from coterie.domain import (
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
    JoinedAccount,
    LineageStep,
    OutboxEvent,
    PendingErasure,
    Review,
    Rule,
    Run,
    RunId,
    SearchFilter,
    SharedTexts,
    Slice,
    Standing,
    Stats,
    StreamPart,
    TextField,
    TextId,
    TextMode,
    Token,
    Watch,
    WatchedPool,
    WebhookState,
    WindowRows,
)
from coterie.domain import Sequence as LogSequence
from coterie.domain.telemetry import OnCommit
from coterie.store.proof import Belongings

EVERYTHING = SearchFilter()
"""The filter that lets every exchange pass."""


class Store(Protocol):
    """The system of record of one data folder. Thread-safe.

    Every method that changes something returns when the change is durable. Besides the errors named, every method
    raises `UnavailableError` when the store is closed or its disk fails; then nothing of the call is promised.
    """

    data_dir: Path

    unclean: bool
    """Whether the process that had the folder before died without closing it."""

    def announce(self, address: str) -> None:
        """Write a server's address where the next opener of the folder will find it."""
        ...

    def on_commit(self, listener: OnCommit) -> None:
        """From now on tell one listener of every transaction, on the thread that writes; it must be quick."""
        ...

    def waiting_writes(self) -> tuple[int, int]:
        """Requests that wait to be written, and the characters of their texts."""
        ...

    def check_writable(self, timeout_s: float) -> None:
        """Have the disk take a small write.

        Raises:
            UnavailableError: it does not, or not in time.
            OverloadedError: the queue is full; whether the disk takes writes is not known.
        """
        ...

    def file_sizes(self) -> tuple[int, int]:
        """Bytes of the database file and of its write-ahead log."""
        ...

    def close(self) -> None:
        """Write what is queued, end the readers, give the folder back; a second call does nothing."""
        ...

    def copy_to(self, path: Path, progress: Callable[[float], None]) -> None:
        """Copy what is committed now into a new database file, while everything goes on.

        Until it returns, the write-ahead log grows by what is written, and what is erased stays in it.

        Args:
            path: a file that is not there yet.
            progress: told the copied share; may raise to stop.
        """
        ...

    # --- model

    def model(self) -> tuple[str, int] | None:
        """The embedding model's id and dimensions; None before the first is bound."""
        ...

    def bind_model(self, model_id: str, dim: int) -> None:
        """Make the folder's vectors those of one model.

        Raises:
            ConflictError: it belongs to another model; the message tells the way out.
        """
        ...

    # --- settings

    def setting(self, name: str) -> str | None:
        """What was recorded about the folder under a name; None for nothing."""
        ...

    def put_setting(self, name: str, value: str) -> None:
        """Record something about the folder, in place of what is there."""
        ...

    def text_mode(self) -> TextMode:
        """How this folder keeps its texts."""
        ...

    def rotate_text_key(self, old_key: bytes, new_key: bytes) -> None:
        """Wrap the key of the texts by another one; the texts stay as they are.

        Raises:
            ConflictError: the folder's texts have no key.
            UnavailableError: the old key is not the folder's.
        """
        ...

    # --- ingest

    def append(self, exchanges: Sequence[Exchange]) -> IngestResult:
        """Store checked exchanges and wait until they are durable; waits for room when the queue is full.

        An id that is there with the same content counts as a duplicate; with other content it is rejected with
        reason `conflict`. Texts are compared in their normalised form.
        """
        ...

    def submit(self, exchanges: Sequence[Exchange], part: StreamPart | None = None) -> Future[IngestResult]:
        """As `append`, without waiting; the future's callbacks must not write to the store.

        A part of a named stream moves the stream's position to its end in the same commit, unless a part before it is
        missing or the stream is another principal's. A stream that is nobody's becomes the part's principal's.

        Raises:
            OverloadedError: the queue is full; nothing was stored.
        """
        ...

    def ingest_position(self, stream_id: str) -> tuple[int, str]:
        """How far a named stream is durable, in exchanges of its input, and whose it is.

        0 for one that is not known; "" for nobody's.
        """
        ...

    def backlog(self) -> Backlog:
        """What waits to be embedded, counted one by one: for the start of a service."""
        ...

    # --- texts and vectors

    def pending_texts(self, limit: int) -> list[tuple[TextId, str]]:
        """The next texts to embed: prompts, then responses, oldest first."""
        ...

    def oldest_pending(self) -> TextId:
        """The oldest text that waits to be embedded, 0 for none; text ids rise with time."""
        ...

    def pending_count(self) -> int:
        """How many texts wait to be embedded."""
        ...

    def put_vectors(self, text_ids: Sequence[TextId] | NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
        """Store the unit vectors float32[n, dim] of pending texts, as float16.

        Texts that have a vector, or were erased meanwhile, are passed over.

        Raises:
            InvalidError: the shapes do not fit, or a row is not of unit length.
            ConflictError: no model is bound, or it has other dimensions.
        """
        ...

    def vectors(self, text_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vectors of texts, float32[n, dim] of unit length, in the order asked.

        Raises:
            NotFoundError: a text is not stored or not embedded.
        """
        ...

    def texts(self, text_ids: NDArray[np.int64]) -> list[str]:
        """The contents of texts, each in its first spelling, in the order asked.

        Raises:
            NotFoundError: a text is not stored.
        """
        ...

    def text_ids(self, field: TextField, *, after: int = 0, limit: int = 1_000_000) -> NDArray[np.int64]:
        """The text ids of `vectors_since(field, after, limit)`, int64[n]."""
        ...

    def vectors_since(
        self, field: TextField, after_vector: int, limit: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """What became searchable in a field after a point of the vector sequence, for an index to catch up.

        A text enters a field's sequence when it is embedded or, if it was embedded as something else, when it is
        first used in that field.

        Returns:
            vector_seq: int64[n], rising; the last is the next call's `after_vector`.
            text_ids: int64[n].
            vectors: float32[n, dim].
        """
        ...

    def last_vector(self) -> int:
        """The last number of the vector sequence, 0 before the first."""
        ...

    def view_vectors(self, model_id: str, digests: Sequence[bytes]) -> dict[bytes, NDArray[np.float32]]:
        """The cached vectors, float32[dim], of derived texts by `text_digest`; missing ones are left out."""
        ...

    def put_view_vectors(self, model_id: str, digests: Sequence[bytes], vectors: NDArray[np.float32]) -> None:
        """Cache vectors of derived texts, as float16; the oldest are dropped beyond a bound.

        Raises:
            InvalidError: the shapes do not fit, or a row is not of unit length.
        """
        ...

    # --- reading

    def exchange(self, exchange_id: ExchangeId) -> Exchange:
        """One exchange, its texts in their first spelling.

        Raises:
            NotFoundError: it is not stored.
        """
        ...

    def exchanges(self, exchange_ids: Sequence[ExchangeId]) -> list[Exchange]:
        """The exchanges that are stored, in the order asked."""
        ...

    def exchange_text(self, exchange_id: ExchangeId, field: TextField) -> TextId | None:
        """The text id of a side of an exchange; None where that side is empty.

        Raises:
            NotFoundError: the exchange is not stored.
        """
        ...

    def exchanges_of_texts(
        self, field: TextField, text_ids: NDArray[np.int64], filter: SearchFilter, *, limit_per_text: int
    ) -> dict[TextId, list[Exchange]]:
        """For each text, the newest exchanges that have it in a field and pass the filter, newest first.

        Texts without such an exchange are left out.
        """
        ...

    def exchanges_before(
        self, account_id: AccountId | None, text_id: TextId | None, before: tuple[int, int] | None, limit: int
    ) -> list[tuple[int, Exchange]]:
        """Exchanges of an account, or those whose prompt is a text, newest first, each with its sequence.

        Args:
            before: the time and the sequence of the last exchange of the page before; None for the first page.
        """
        ...

    def accounts_of_prompts(self, text_ids: NDArray[np.int64]) -> dict[TextId, list[AccountId]]:
        """The accounts that sent each text as a prompt; texts that nobody sent are left out."""
        ...

    def distinct_prompts(self, account_ids: Collection[AccountId]) -> dict[AccountId, int]:
        """How many distinct prompts accounts sent."""
        ...

    def candidate_texts(self, field: TextField, filter: SearchFilter, *, limit: int) -> NDArray[np.int64] | None:
        """The distinct texts, int64[n] rising, of the exchanges that pass; None where there are more than `limit`."""
        ...

    def window(self, filter: SearchFilter = EVERYTHING, field: TextField = TextField.PROMPT) -> WindowRows:
        """The exchanges that pass as columns, none where none does. Conversations are numbered per account.

        With the responses as `field`, exchanges without one drop out, and `prompt` holds the others' responses: all
        that follows sees those as the texts.
        """
        ...

    def time_range(self) -> tuple[int, int] | None:
        """The earliest and the latest exchange, microseconds since the epoch; None when there is none."""
        ...

    def stats(self) -> Stats:
        """What the store holds; `findings` are those of the newest finished whole run."""
        ...

    # --- runs and findings

    def create_run(self, run: Run) -> None:
        """Record a new run.

        Raises:
            ConflictError: its id is taken.
        """
        ...

    def update_run(self, run: Run) -> None:
        """Overwrite a run that has not finished; `finish_run` is the way to DONE.

        Raises:
            NotFoundError: there is no such run.
            ConflictError: it has finished.
        """
        ...

    def run(self, run_id: str) -> Run:
        """A run, the newest of any slice where the id is empty.

        Raises:
            NotFoundError: there is no such run.
        """
        ...

    def runs(self, *, limit: int, before: tuple[int, str] | None = None) -> list[Run]:
        """Runs, newest first; `before` is the `(created_us, run_id)` of the last run of the page before."""
        ...

    def finish_run(
        self,
        run: Run,
        findings: Sequence[Finding],
        standings: Sequence[Standing],
        record: FamilyRecord | None = None,
        watch: Watch | None = None,
    ) -> None:
        """Record the end of a run (`state` DONE), its findings, standings, families and events in one transaction.

        From here on `watch` is followed, where the run was whole; what was followed before is forgotten, whatever came
        of it. Without one nothing is followed.

        Standings are kept of the newest finished whole run only. A run on a slice leaves them as they are, and its
        findings are not announced in the outbox: whoever asked for it reads them by its id.

        Raises:
            NotFoundError: the run was not created.
            ConflictError: it has finished already, or another run has numbered families since its history was read.
            InvalidError: the state is not DONE, or two findings have one id.
        """
        ...

    def last_done(self, part: Slice) -> RunId:
        """The newest finished run of an equal slice, "" when there is none: what a run of it is compared with."""
        ...

    def gone(self, part: Slice, limit: int) -> list[Finding]:
        """Findings of an equal slice that are gone now, as the runs that missed them first kept them; the last first.

        What came back since, or went into another finding, is not among them, and neither is what was erased.
        """
        ...

    def findings(self, run_id: str = "") -> tuple[str, list[Finding]]:
        """A run's findings; without an id the standing picture: those of the newest finished whole run, and its id.

        That id is "" when no whole run is done, whatever was found on slices.

        Ordered by severity and confidence, falling, then by id; under what was decided by now: those that reviewers
        merged are one, and accounts that they excluded are told apart.

        Raises:
            NotFoundError: there is no such run.
        """
        ...

    def reported(self, run_id: str = "") -> tuple[str, list[Finding]]:
        """As `findings`, but as the run reported them, whatever was decided: what a later run is compared with."""
        ...

    def finding(self, finding_id: FindingId, run_id: str = "") -> Finding:
        """A finding as one run reports it, without an id the newest that has it.

        Findings of different slices have different ids.

        By the id of one that was merged into another, that other.

        Raises:
            NotFoundError: there is no such finding, or that run does not report it.
        """
        ...

    def finding_lineage(self, finding_id: FindingId, run_id: RunId, *, limit: int) -> list[LineageStep]:
        """A finding and those it came from, in every run up to this one, oldest first; the newest `limit` of them."""
        ...

    def reviews(self, finding_id: FindingId) -> list[Review]:
        """The history of a finding and of those merged with it, oldest first."""
        ...

    def add_review(
        self,
        review: Review,
        *,
        version: int | None = None,
        rule: tuple[Rule, str, Mapping[FindingId, str]] | None = None,
    ) -> Finding:
        """Record an entry in the history of a finding and its outbox event, on a slice's finding too.

        What the entry says is done in the same transaction; an entry on a finding that was merged into another is made
        on that other. `decision` counts only where something is decided.

        Args:
            version: the version of the finding that was looked at; None for whatever it is.
            rule: to be made in the same transaction, with what `add_rule` takes.

        Returns:
            The finding as it is then.

        Raises:
            NotFoundError: there is no such finding, or none of those to be merged.
            ConflictError: the finding has another version by now, or those to be merged are one already.
            InvalidError: what is to be merged is of different kinds, what is to be taken back is not there, accounts
                are not in the finding, or too few would be left.
        """
        ...

    def decisions(self) -> tuple[list[Decision], int]:
        """The last decision on each finding that was confirmed or dismissed, with what it was made on.

        And how many there are besides that tell nothing of that: from before it was recorded.
        """
        ...

    def rules(self) -> list[Rule]:
        """Every rule ever made, newest first."""
        ...

    def add_rule(self, rule: Rule, run_id: str, matches: Mapping[FindingId, str]) -> Rule:
        """Record a rule, and which findings of a run it explains and why; returns it with its id.

        From here on those findings, as that run reports them, are read with the rule in `suppressed` while it holds.
        """
        ...

    def revoke_rule(self, rule_id: str, reviewer: str, time_us: int) -> Rule:
        """Take a rule back: what it suppressed no longer is.

        Raises:
            NotFoundError: there is no such rule.
            ConflictError: it was revoked already.
        """
        ...

    def put_rule_matches(self, run_id: str, matches: Mapping[str, Mapping[FindingId, str]]) -> None:
        """Record which findings of a run rules explain and why, by the rules' ids; the run may be recorded later."""
        ...

    def standing(self, account_id: AccountId) -> tuple[str, Standing | None]:
        """The newest finished whole run's id ("" when there is none) and the account's standing in it."""
        ...

    def shared_texts(self, exchange_ids: Collection[ExchangeId], accounts_min: int) -> dict[ExchangeId, SharedTexts]:
        """Which texts of exchanges at least so many accounts have in the same place; missing exchanges are left out.

        Of a text only the `SHARED_LOOK_MAX` newest exchanges are looked at: beyond those it may be told as not shared.
        """
        ...

    def account_exchanges(self, account_id: AccountId) -> int:
        """How many exchanges an account has in the whole store."""
        ...

    def count_accounts(self, filter: SearchFilter = EVERYTHING, *, limit: int) -> int:
        """How many accounts have an exchange that passes the filter; `limit` where there are as many or more."""
        ...

    def daily_exchanges(
        self, account_ids: Collection[AccountId], since_us: int, until_us: int
    ) -> dict[AccountId, dict[int, int]]:
        """Exchanges of each account by day, in [since, until) of microseconds since the epoch.

        A day (UTC) is named by where it begins, in microseconds; days and accounts without an exchange are left out.
        """
        ...

    def events(self, after: int, limit: int) -> list[tuple[int, Finding]]:
        """The outbox after an event number: `(number, finding under its present review)`."""
        ...

    def outbox(self, after: int, limit: int) -> list[OutboxEvent]:
        """As `events`, with why each is there."""
        ...

    # --- webhooks

    def webhooks(self, urls: Mapping[str, str]) -> list[WebhookState]:
        """How far each endpoint has been told, by name; `urls` are those of the configured ones."""
        ...

    def begin_webhook(self, name: str) -> int:
        """The event after which an endpoint goes on; one that is new is told from now on."""
        ...

    def advance_webhook(self, name: str, before: int, event: int, *, delivered: bool) -> bool:
        """Let an endpoint go on after an event; False, and nothing is done, where it is no longer at `before`."""
        ...

    def fail_webhook(self, name: str, error: str, time_us: int) -> tuple[int, int]:
        """Record a try that failed; returns since when all did, and how many."""
        ...

    def give_up_webhook(self, name: str, before: int, event: int, error: str, time_us: int) -> bool:
        """As `advance_webhook`, with the event put to the dead letters."""
        ...

    def replay_webhook(self, name: str, after_event: int | None) -> int:
        """Go back to an event, None to the one before the first dead letter; later dead letters are let go.

        Raises:
            NotFoundError: there is no such endpoint.
            ConflictError: None, and there are no dead letters.
        """
        ...

    def last_event(self) -> int:
        """The last event's number, 0 before the first."""
        ...

    # --- families

    def families(
        self, run_id: str = "", *, lineage: FamilyLineage | None = None, limit: int, after: int = -1
    ) -> tuple[str, list[tuple[int, Family]]]:
        """A run's families, each with its place; without an id those of the newest finished whole run, and its id.

        In the order of the run's record. Families of the newest runs only are kept, so of an old run there are none.

        Args:
            lineage: only these.
            after: go on behind this place.

        Raises:
            NotFoundError: there is no such run.
        """
        ...

    def family_history(self, part: str, other: str | None) -> FamilyHistory:
        """What a run of a slice is compared with: the newest run of that slice, else of the other one (None: of none).

        Slices are named as in `FamilyRecord.slice`.
        """
        ...

    def family_labels(self) -> FamilyLabels | None:
        """Which family each text is in, by the newest run of everything in the default window: the one to join."""
        ...

    def run_family_labels(self, run_id: str) -> FamilyLabels | None:
        """Which family each text is in, by one run; None where that is no longer kept."""
        ...

    def joining(self) -> tuple[RunId, int]:
        """That run's id ("" when there is none), and up to where of the vector sequence texts were looked at since."""
        ...

    def put_joins(
        self,
        run_id: RunId,
        text_ids: NDArray[np.int64],
        family_ids: Sequence[FamilyId],
        distances: NDArray[np.float32],
        last_vector: int,
    ) -> bool:
        """Record n texts that joined families of the run to join, and up to where of the vector sequence was looked.

        Texts erased meanwhile are passed over. The next run of everything in the default window forgets all joins.

        Args:
            distances: float32[n], mutual reachability.

        Returns:
            False, with nothing recorded, where that run is no longer the one to join.
        """
        ...

    def joined(self, run_id: RunId, text_ids: NDArray[np.int64]) -> dict[TextId, FamilyId]:
        """Those of the texts that joined a family since that run."""
        ...

    # --- watching

    def log_position(self) -> tuple[LogSequence, TextId]:
        """The last number of the log, and the last text id; 0 before the first."""
        ...

    def watching(self) -> tuple[RunId, int, int, int]:
        """The run whose pools are followed ("" when there is none), and three places.

        Its last sequence and its last text (see `Watch`), and the sequence up to which exchanges were looked at since.
        """
        ...

    def watched_pools(self) -> dict[str, WatchedPool]:
        """The pools that the run left to be followed, by id; a finding never has such an id."""
        ...

    def arrivals(self, after: int, limit: int) -> list[Arrival]:
        """The exchanges after a place of the log, in its order, up to the first whose prompt has no vector yet."""
        ...

    def put_near(self, run_id: RunId, near: Sequence[tuple[str, AccountId, TextId, int]], looked_sequence: int) -> bool:
        """Record which new prompts lie near which pool, and up to where of the log was looked.

        A prompt counts once for an account and a pool. What was erased meanwhile is passed over, and so is what comes
        after half a million of them. The next whole run forgets them.

        Args:
            near: `(pool id or finding id, account, prompt, time of the exchange in microseconds since the epoch)`.

        Returns:
            False, with nothing recorded, where that run is no longer the one that is followed.
        """
        ...

    def near(self) -> dict[str, dict[AccountId, dict[TextId, int]]]:
        """Those prompts by pool and account, each with the time of its exchange."""
        ...

    def prompts_since(self, after: int, until: int) -> dict[AccountId, int]:
        """Distinct prompts of each account in the log, later than one sequence and up to another."""
        ...

    def organisations(self, account_ids: Collection[AccountId]) -> dict[AccountId, str]:
        """The organisation that each of the accounts names most; accounts that name none are left out."""
        ...

    def put_joined(
        self, run_id: RunId, joined: Mapping[FindingId, Sequence[JoinedAccount]]
    ) -> list[tuple[FindingId, AccountId]]:
        """Record accounts that joined findings of the run that is followed, each once, with an outbox event for each.

        What was erased meanwhile is passed over. From here on the findings are read with them in `joined_since`, until
        the next whole run.

        Returns:
            Those that were not recorded before.
        """
        ...

    # --- benchmarks

    def register_benchmark(self, name: str, items: Sequence[BenchmarkItem], time_us: int) -> Benchmark:
        """Record a benchmark; its texts wait for no vector of their own. The same items again change nothing.

        Raises:
            InvalidError: no items, too many, an empty text, or an item id twice.
            ConflictError: the name is taken by other items.
        """
        ...

    def benchmarks(self) -> list[Benchmark]:
        """The registered benchmarks by name."""
        ...

    def benchmark_items(self, name: str) -> tuple[list[BenchmarkItem], NDArray[np.int64]]:
        """A benchmark's items in their order, and their text ids, int64[n].

        Raises:
            NotFoundError: there is no such benchmark.
        """
        ...

    # --- retention

    def count_before(self, before_us: int) -> int:
        """How many exchanges are older than a time, microseconds since the epoch."""
        ...

    def drop_exchanges(self, before_us: int, limit: int, time_us: int) -> tuple[int, tuple[TextId, ...]]:
        """Delete at most so many exchanges before a time, oldest first, in one transaction.

        Texts and attributes that no other exchange has go with them. What runs recorded stays; it may name exchanges
        that are gone.

        Returns:
            How many went, and the texts that went with them.
        """
        ...

    def drop_contents(self, before_us: int, after: int, limit: int) -> tuple[int, int]:
        """Let go of the contents of texts that no exchange since a time has; their vectors and lengths stay.

        Looks at so many texts after a text id, in one transaction. Texts that wait to be embedded stay, and so do items
        of benchmarks. A text that is sent again is there again.

        Returns:
            The last text id that was looked at, 0 when there are no more, and how many contents went.
        """
        ...

    def forget_dropped(self) -> None:
        """Take texts that are gone out of what is followed between runs, and empty the cache of derived vectors."""
        ...

    # --- erasure and audit

    def begin_erasure(self, account_id: AccountId, time_us: int) -> PendingErasure:
        """Record that an account is to be erased, before anything of it is; one that is pending stays as it is.

        From here on exchanges of the account whose time is not later than this are refused with reason `erased`.
        """
        ...

    def finish_erasure(self, erasure: PendingErasure, time_us: int) -> str:
        """Let go of the name, when store and snapshots have forgotten the account; returns its tombstone.

        The tombstone takes the name's place in the audit record.
        """
        ...

    def pending_erasures(self) -> list[PendingErasure]:
        """Erasures that a crash cut off, or that `adopt_erasures` left to be done, oldest first."""
        ...

    def is_named(self, account_id: AccountId) -> bool:
        """Whether anything stored names an account: its exchanges, or a finding that outlived them."""
        ...

    def erased_at(self, account_id: AccountId) -> int | None:
        """When an account was last erased, microseconds since the epoch; None if never."""
        ...

    def erasure_ledger(self) -> ErasureLedger:
        """Every erasure of this folder: what a restore of an older copy has to do again."""
        ...

    def adopt_erasures(self, ledger: ErasureLedger, time_us: int) -> int:
        """Take over the erasures that this copy of the data has not seen, as pending where it holds the account.

        Returns how many are pending by this; the service finishes them at its next start.

        Raises:
            ConflictError: the ledger is of another folder.
        """
        ...

    def prove_erasure(self, account_id: AccountId, belongings: Belongings) -> ErasureProof:
        """Search every table and every byte of the folder for an erased account; see `ErasureProof`.

        The write-ahead log is emptied first, and the database written anew where unused parts of it still hold bytes.
        """
        ...

    def erase_account(self, account_id: AccountId, time_us: int, belongings: Belongings | None = None) -> Erasure:
        """Remove an account and all that only it sent, from every table and every run, in one transaction.

        Findings and the slices of runs lose the account, its exemplars and its name; a finding left without an account
        is deleted. The cache of view vectors is emptied. The bytes are overwritten, and the write-ahead log is emptied,
        at once or, while a reader still needs it, soon after. The ids of the texts removed stay, with `time_us`, for
        `erased_since`. Audit rows keep the name until `finish_erasure`. `belongings` takes note of what goes.
        """
        ...

    def erased_since(self, seq: int) -> tuple[int, NDArray[np.int64]]:
        """The last tombstone's number and the text ids, int64[n], erased after `seq`, for an index to forget."""
        ...

    # --- audit

    def use_audit_key(self, key: bytes | None) -> None:
        """From here on chain audit rows under a key of 32 bytes, and verify with it; None is without."""
        ...

    def audit(self, entry: AuditEntry) -> Future[int]:
        """Record who did what, behind everything recorded and written before it; its id, when it is durable.

        What is written after this call is durable only with it or after it.

        Raises:
            InvalidError: a value is too long or holds control characters.
            OverloadedError: too much is waiting to be written.
        """
        ...

    def audit_rows(
        self, *, since_us: int = 0, action: str = "", actor: str = "", before: int = 0, limit: int
    ) -> list[AuditRow]:
        """Rows of the audit record, newest first; empty values do not filter, and `before` is an id."""
        ...

    def audit_head(self) -> tuple[int, str]:
        """The id and hash (hexadecimal) of the last audit row: what to keep elsewhere. 0 and "" before the first."""
        ...

    def verify_audit(self, noted: str = "") -> AuditVerdict:
        """Walk the audit chain; `noted` is a hash that was the head once (hexadecimal), which must still be in it."""
        ...

    # --- access

    def tokens(self) -> list[tuple[Token, bytes]]:
        """Every token ever minted, newest first, each with the SHA-256 of its secret, 32 bytes."""
        ...

    def add_token(self, token: Token, digest: bytes) -> None:
        """Record a token.

        Raises:
            InvalidError: there are too many.
        """
        ...

    def revoke_token(self, token_id: str, time_us: int) -> Token:
        """End a token for good; the token as it is now. One that has ended keeps its time.

        Raises:
            NotFoundError: there is none of this id.
        """
        ...

    def touch_token(self, token_id: str, used_us: int) -> Future[None]:
        """Record when a token was last used; nobody needs to wait for it.

        Raises:
            OverloadedError: too much is waiting to be written.
        """
        ...
