"""The whole service in one process: store, model, indexes and detection behind one set of calls."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from coterie.domain import (
    LIMITS,
    AccountId,
    AccountReport,
    AuditEntry,
    AuditRow,
    AuditVerdict,
    Backup,
    Benchmark,
    BenchmarkItem,
    BenchmarkMatch,
    Calibration,
    CancelledRunError,
    ConflictError,
    CoterieError,
    DeniedError,
    Dossier,
    Erasure,
    Exchange,
    Family,
    FamilyLineage,
    Finding,
    FindingId,
    IngestResult,
    InvalidError,
    NewRule,
    NotFoundError,
    ParameterSet,
    Rejection,
    Residue,
    Retained,
    Review,
    ReviewAction,
    ReviewState,
    Rule,
    RuleKind,
    Run,
    RunId,
    SearchResult,
    Slice,
    Standing,
    Stats,
    StreamPart,
    TextField,
    TextId,
    TextMap,
    TextMode,
    TextPolicy,
    Twins,
    UnavailableError,
    check_exchange,
    estimated_tokens,
)
from coterie.server.admission import EmbeddingQueue
from coterie.server.checks import (
    check_benchmark,
    check_count,
    check_file_name,
    check_name,
    check_part,
    check_reason,
    check_review,
    check_rule,
    check_sets,
    check_slice,
    check_texts,
)
from coterie.server.config import Config
from coterie.server.dossier import Dossiers
from coterie.server.embedding import Embedding, EmbedLoop, Progress
from coterie.server.erasure import Eraser
from coterie.server.families import StandingFamilies
from coterie.server.jobs import WHOLE, Outcome, Runs, Scheduler
from coterie.server.keys import read_key_file
from coterie.server.logs import emit
from coterie.server.maps import Maps
from coterie.server.masking import Masking
from coterie.server.multilingual import Multilingual
from coterie.server.observer import Observer
from coterie.server.pseudonyms import Pseudonyms
from coterie.server.retention import Retention
from coterie.server.rules import Rules
from coterie.server.schedule import parse_schedule
from coterie.server.search import Query, Searcher
from coterie.server.signals import Signal
from coterie.server.stages import Stages
from coterie.server.tracing import Span, begun, span
from coterie.server.watching import EARLY, Watching
from coterie.server.webhook_delivery import read_endpoints
from coterie.server.webhooks import Webhooks
from coterie.store import Store, open_store

# FAISS, torch and detection take seconds to import: they come in at first use, so that listing findings is quick.
if TYPE_CHECKING:
    from coterie.server.benchmarks import Benchmarks
    from coterie.server.graphs import Graphs
    from coterie.server.indexes import Indexes


_LOGGER = logging.getLogger(__name__)


class Engine:
    """What the gRPC services call; synchronous and thread-safe. Close it when done."""

    def __init__(self, config: Config, store: Store, observer: Observer | None = None) -> None:
        self.config = config
        self.store = store
        self._observer = observer = observer or Observer()
        self._caught_up = False
        self.changed = Signal()
        """Told when a run moves, findings appear or a review is made."""
        self._closing = threading.Event()
        self._making = threading.RLock()
        self._backing_up = threading.Lock()
        self._indexes: Indexes | None = None
        self._benchmarks: Benchmarks | None = None
        self._graphs: Graphs | None = None
        self._names = Pseudonyms.of_store(store, config.pseudonym_key_file)
        self._queue = EmbeddingQueue(config.queued_tokens_max)
        self._embedding = Embedding(store, config, self._follow, observer, self._queue)
        self._multilingual = Multilingual(store)
        self._loop = EmbedLoop(self._embedding, self._follow_and_join)
        self._families = StandingFamilies(store)
        self._watching = Watching(store)
        self._dossiers = Dossiers(store, self._match)
        self._maps = Maps(store, self._families.labels)
        self._searcher = Searcher(store, self._embedding, self._made_indexes, config.search_candidates_max)
        if store.unclean:
            emit(_LOGGER, logging.WARNING, "unclean_start", action="what was acknowledged is there; the rest goes on")
        self._runs = Runs(store, self._recluster_under_rules, self.changed, observer)
        self._rules = Rules(store)
        self.webhooks = Webhooks(
            store,
            read_endpoints(Path(config.webhooks_file)) if config.webhooks_file else (),
            self.changed,
            timeout_s=config.webhook_timeout_s,
            give_up_s=config.webhook_give_up_s,
        )
        schedule = parse_schedule(config.schedule)
        self._scheduler: Scheduler | None = None
        if schedule is not None:
            self._scheduler = Scheduler(schedule, self._runs, config.data_dir / "schedule-since")
        self.masking = Masking(store, config.analyst_accounts_min, self._accused)
        """What a caller sees outside of findings."""
        self._eraser = Eraser(store, self._runs, self._purge)
        self._retention = Retention(store, self._runs, self._purge, config)
        self._eraser.resume()

    @classmethod
    def open(cls, config: Config, *, create: bool = True, observer: Observer | None = None) -> "Engine":
        """Open the data folder; with `lazy_model` the model waits for its first use, else `warm_up` loads it.

        Raises:
            ConflictError: another process has the folder open.
            NotFoundError: there is no coterie data in the folder, and `create` is off.
            UnavailableError: the folder cannot be used.
        """
        key = read_key_file(Path(config.text_key_file)) if config.text_key_file else None
        store = open_store(config.data_dir, create=create, texts=TextPolicy(TextMode(config.texts), key))
        try:
            if config.audit_key_file:
                store.use_audit_key(read_key_file(Path(config.audit_key_file)))
            return cls(config, store, observer)
        except BaseException:
            store.close()
            raise

    @property
    def ready(self) -> bool:
        """Whether the model is loaded and passed its self-test."""
        return self._embedding.ready

    @property
    def serving(self) -> bool:
        """Whether the model is ready and the indexes have caught up with the store once."""
        return self._caught_up

    @property
    def drifted(self) -> bool:
        """Whether the model was loaded but failed its self-test."""
        return self._embedding.drifted

    def warm_up(self) -> None:
        """Load and test the model, catch the indexes up, and begin to embed and to follow the schedule.

        With `lazy_model` it only begins to follow the schedule.

        Raises:
            ConflictError: the data folder belongs to another model.
            UnavailableError: the model cannot be loaded, or fails its self-test.
        """
        if not self.config.lazy_model:
            indexes = self._load()
            self._queue.counted(self.store.backlog())
            indexes.start()
            self._caught_up = True
            self._loop.start()
            self._retention.start()  # a verb that works on the folder itself deletes nothing by the way
        if self._scheduler is not None:
            self._scheduler.start()
        self.webhooks.start()

    def warm_clustering(self) -> None:
        """Load and compile what a run needs: a second where it was compiled before, a minute where it was not."""
        from coterie.detection import warm_up as warm_detection
        from coterie.index import warm_up as warm_index

        warm_index()
        warm_detection()

    def stop_jobs(self, timeout_s: float | None = None) -> None:
        """Stop schedule and run, so that whoever watches them sees the end; everything else goes on.

        Args:
            timeout_s: how long to wait for a run to stop, seconds; for ever by default. One that is left over loses the
                store when that closes, and the next start records it as failed.
        """
        self._closing.set()
        if self._scheduler is not None:
            self._scheduler.close()
        self._retention.close()
        self._runs.close(timeout_s)

    def close(self) -> None:
        """Stop everything, write index snapshots and let the data folder go."""
        if not self._closing.is_set():
            self.stop_jobs(self.config.shutdown_grace_s)
        self._maps.close()
        self._loop.close()
        try:
            if self._indexes is not None:
                self._indexes.close()
                self._indexes.follow()
                self._indexes.save()
            if self._graphs is not None:
                self._graphs.save()
        finally:
            self.store.close()

    # Exchanges

    def check_room(self, size_bytes: int) -> None:
        """Whether what is in a request of so many bytes can be embedded soon.

        Raises:
            OverloadedError: it cannot; the delay is how long until it can.
        """
        if not self.config.lazy_model:
            self._queue.check(estimated_tokens(size_bytes))

    def ingest_position(self, stream_id: str, principal: str = "") -> int:
        """How far a named stream is durable, in exchanges of its input; 0 for one that is not known.

        Args:
            principal: who asks; "" for whoever may see every stream.

        Raises:
            DeniedError: another principal began it.
        """
        check_name(stream_id, "stream_id")
        position, whose = self.store.ingest_position(stream_id)
        if principal and whose not in ("", principal):
            raise DeniedError(f"stream {stream_id} is another caller's: give yours another name")
        return position

    def ingest(self, exchanges: Sequence[Exchange], part: StreamPart | None = None) -> "Future[IngestResult]":
        """Store a batch, which may be a part of a named stream; the future is done when it is durable.

        Raises:
            InvalidError: no exchange, or too many for one batch. Bad exchanges are rejections in the result.
            OverloadedError: too much is waiting for the disk; nothing of the batch was stored.
        """
        check_count(len(exchanges), LIMITS.batch_exchanges_max, "exchanges")
        if part is not None:
            check_part(part)
        places: list[int] = []
        rejections: list[Rejection] = []
        for place, exchange in enumerate(exchanges):
            try:
                check_exchange(exchange)
                places.append(place)
            except InvalidError as error:
                rejections.append(
                    Rejection(place, exchange.exchange_id[: LIMITS.id_chars_max], error.reason, str(error))
                )
        result: Future[IngestResult] = Future()
        result.set_running_or_notify_cancel()  # it is on its way to the disk: a caller that goes away changes nothing
        trace = begun("commit", **{"coterie.exchanges": len(places)})
        try:
            stored = self.store.submit([self._names.exchange(exchanges[place]) for place in places], part)
        except CoterieError as error:
            trace.end(error)
            raise
        stored.add_done_callback(lambda done: self._answer(result, done, places, rejections, trace))
        return result

    def embed_pending(self, progress: Progress, cancelled: Callable[[], bool]) -> int:
        """Embed what is waiting; returns how many texts.

        Raises:
            CancelledRunError: `cancelled` said so.
        """
        return self._embedding.embed_pending(progress, cancelled)

    def search(self, query: Query) -> SearchResult:
        """The nearest exchanges. With `lazy_model` what waits is embedded first.

        Raises:
            InvalidError, NotFoundError: see `Searcher.search`.
        """
        if self.config.lazy_model:
            self._embedding.embed_pending(lambda _: None, self._closing.is_set)
            self._made_indexes().follow()
        with span("search", **{"coterie.k": query.k}):
            result = self._searcher.search(replace(query, filter=self._names.filter(query.filter)))
        self._observer.searched(result)
        return result

    # Runs

    def start_run(
        self,
        since_us: int | None,
        until_us: int | None,
        trigger: str = "manual",
        *,
        part: Slice = WHOLE,
        sets: Sequence[ParameterSet] = (),
    ) -> Run:
        """Begin a run on a slice of its window, with the first of some parameter sets; see `Runs.start`.

        Raises:
            InvalidError: also, a filter or a parameter set out of its limits.
            ConflictError: also, the data folder belongs to another model.
            UnavailableError: also, the model is not usable.
        """
        check_slice(part)
        part = self._names.slice(part)
        if sets:
            from coterie.detection import Parameters

            check_sets(sets, Parameters().min_samples, self.config.graph_k)
        if self.store.time_range() is not None:  # a folder without exchanges is bound to no model by this
            self._embedding.encoder()
        return self._runs.start(since_us, until_us, trigger, part, sets)

    def run(self, run_id: str) -> Run:
        """A run as it is now; "" is the newest, whatever its slice: the one to watch. Raises NotFoundError."""
        return self._runs.get(run_id)

    def runs(self, limit: int, before: tuple[int, str] | None = None) -> list[Run]:
        """Runs, newest first; see `Runs.page`."""
        return self._runs.page(limit, before)

    def cancel_run(self, run_id: str) -> Run:
        """Ask a run to stop; see `Runs.cancel`."""
        return self._runs.cancel(run_id)

    # Findings

    def findings(self, run_id: str = "") -> tuple[str, list[Finding]]:
        """The findings of a run, by default the newest whole one that is done, and its id; most severe first."""
        return self.store.findings(run_id)

    def finding(self, finding_id: FindingId) -> tuple[Finding, list[Review], list[Exchange]]:
        """A finding, the decisions on it and its exemplars whole. Raises NotFoundError."""
        finding = self.store.finding(finding_id)
        return finding, self.store.reviews(finding_id), self.store.exchanges(finding.exemplars)

    def dossier(self, finding_id: FindingId, run_id: str = "", *, with_text: bool) -> Dossier:
        """Everything of a finding that is drawn or reported; see `Dossiers.get`. Raises NotFoundError."""
        dossier = self._dossiers.get(finding_id, run_id, with_text=with_text)
        part = dossier.run.slice.listed(LIMITS.run_accounts_listed_max)
        return replace(dossier, run=replace(dossier.run, slice=part))

    def review(self, review: Review, version: int | None = None, suppress: NewRule | None = None) -> Finding:
        """Record an entry in the history of a finding, at this moment; returns the finding as it is then.

        Args:
            version: that of the finding that was looked at; None for whatever it is.
            suppress: with a dismissal, what is to be suppressed from here on.

        Raises:
            InvalidError: a reason or a name out of its limits, or a rule that does not explain the finding; also, see
                `Store.add_review`.
            NotFoundError: no such finding.
            ConflictError: the finding has another version by now.
        """
        check_review(review)
        accounts = tuple(self._names.account(name) for name in review.accounts)
        review = replace(review, accounts=accounts, time_us=_now_us())
        rule = None
        if suppress is not None:
            if review.action is not ReviewAction.DECIDE or review.decision is not ReviewState.DISMISSED:
                raise InvalidError("only what is dismissed can be suppressed: dismiss it", field="suppress")
            check_rule(suppress)
            rule = self._rules.made_on(
                review.finding_id, self._stored(suppress), review.reason, review.reviewer, review.time_us
            )
        finding = self.store.add_review(review, version=version, rule=rule)
        self.changed.notify()
        return finding

    def calibration(self) -> Calibration:
        """What reviewers decided against how sure the findings were; see `calibrate`."""
        from coterie.server.calibration import calibrate

        return calibrate(*self.store.decisions())

    def rules(self) -> list[Rule]:
        """Every rule ever made, newest first."""
        return self.store.rules()

    def allow(self, asked: NewRule, reason: str, creator: str) -> Rule:
        """Make the rule of an allow-list of organisations or accounts, which may do what looks like a campaign.

        Raises:
            InvalidError: another kind, nobody named, or something out of its limits.
        """
        check_rule(asked)
        check_reason(reason)
        rule = self._rules.allowed(self._stored(asked), reason, creator, _now_us())
        made = self.store.add_rule(rule, *self._rules.match(rule))
        self.changed.notify()
        return made

    def revoke_rule(self, rule_id: str, reviewer: str) -> Rule:
        """Take a rule back. Raises NotFoundError, ConflictError."""
        rule = self.store.revoke_rule(rule_id, reviewer, _now_us())
        self.changed.notify()
        return rule

    def _stored(self, asked: NewRule) -> NewRule:
        """The same with the names under which accounts and organisations are stored."""
        if asked.kind is RuleKind.ACCOUNTS:
            return replace(asked, values=tuple(self._names.account(name) for name in asked.values))
        if asked.kind is RuleKind.ORGANISATION:
            named = (self._names.attributes({"organisation": name})["organisation"] for name in asked.values)
            return replace(asked, values=tuple(named))
        return asked

    def known_as(self, account_id: str) -> AccountId:
        """How an account is stored: its pseudonym, where there are pseudonyms. Records and answers name it so."""
        return self._names.account(account_id)

    def account(self, account_id: AccountId) -> AccountReport:
        """Where an account stands in the newest whole run that is done. Raises NotFoundError."""
        check_name(account_id, "account_id")
        account_id = self._names.account(account_id)
        self._check_account(account_id)
        total = self.store.account_exchanges(account_id)
        run_id, standing = self.store.standing(account_id)
        if standing is None:
            reason = "it has no exchange in the window of the newest run" if run_id else "no whole run is done yet"
            standing = Standing(account_id, 0, reason=reason)
        findings = self.store.findings(run_id)[1] if run_id else []
        held = tuple(finding for finding in findings if _holds(finding, account_id))
        standing = replace(standing, findings=tuple(finding.finding_id for finding in held))
        excluded = [
            finding.finding_id
            for finding in findings
            if any(account.account_id == account_id for account in finding.excluded)
        ]
        if excluded and not held:
            standing = replace(standing, reason=f"excluded by review from {', '.join(excluded)}")
        return AccountReport(total, RunId(run_id), standing, held, self._families.of_account(account_id))

    def families(
        self, run_id: str = "", *, lineage: FamilyLineage | None = None, limit: int, after: int = -1
    ) -> tuple[str, list[tuple[int, Family]]]:
        """The families of a run, each with its place, behind a place; see `Store.families`. Raises NotFoundError."""
        return self.store.families(run_id, lineage=lineage, limit=limit, after=after)

    def events(self, after: int, limit: int) -> list[tuple[int, Finding]]:
        """Findings that appeared or were reviewed, by event number, after `after`."""
        return self.store.events(after, limit)

    # Looking around

    def map(self) -> TextMap:
        """The texts of the newest run of everything as points of a plane; see `Maps.get`."""
        return self._maps.get()

    def exchanges(
        self, account_id: AccountId | None, text_id: TextId | None, before: tuple[int, int] | None, limit: int
    ) -> list[tuple[int, Exchange]]:
        """Exchanges of an account or of a text, newest first; see `Store.exchanges_before`."""
        if account_id is not None:
            check_name(account_id, "account_id")
            account_id = self._names.account(account_id)
        return self.store.exchanges_before(account_id, text_id, before, limit)

    def twins(self, account_id: AccountId, limit: int) -> Twins:
        """The accounts that ask most like an account. Raises NotFoundError."""
        from coterie.server.twins import find_twins

        check_name(account_id, "account_id")
        account_id = self._names.account(account_id)
        self._check_account(account_id)
        if self.config.lazy_model:
            self._made_indexes().follow()
        return find_twins(self.store, self._made_indexes().fields[TextField.PROMPT], account_id, limit)

    # Benchmarks

    def register_benchmark(self, name: str, items: Sequence[BenchmarkItem]) -> Benchmark:
        """Register a reference corpus.

        Raises:
            InvalidError: a name or an item out of its limits.
            ConflictError: the name is taken by other items.
        """
        check_benchmark(name, items)
        return self.store.register_benchmark(name, items, _now_us())

    def benchmarks(self) -> list[Benchmark]:
        """Registered benchmarks, by name."""
        return sorted(self.store.benchmarks(), key=lambda benchmark: benchmark.name)

    def match_benchmarks(self, texts: Sequence[str]) -> list[list[BenchmarkMatch]]:
        """For each text the items that it is, best first.

        Raises:
            InvalidError: no text, too many, or one out of its limits.
            UnavailableError: the service is stopping.
        """
        check_texts(texts)
        return self._match(texts)

    # Administration

    def index_sizes(self) -> Mapping[TextField, int]:
        """How many texts search finds in each field; nothing before the indexes are loaded."""
        indexes = self._indexes
        return {} if indexes is None else {field: len(index) for field, index in indexes.fields.items()}

    def stats(self) -> Stats:
        """What the service holds."""
        refused = 0 if self._graphs is None else self._graphs.refused
        if self._indexes is not None:
            refused += sum(index.refused for index in self._indexes.fields.values())
        stats = self.store.stats()
        # A lazy service embeds when it is asked to: its queue is what the store says, and nobody is late.
        backlog = replace(self._queue.state(), texts=stats.pending_texts)
        return replace(
            stats,
            backlog=backlog,
            segments=() if self._indexes is None else self._indexes.states(),
            unclean_start=self.store.unclean,
            runs_cut_off=self._runs.cut_off,
            snapshots_refused=refused,
        )

    def erase_account(self, account_id: AccountId) -> Erasure:
        """Remove an account and what only it sent, from everywhere, and prove it; see `Eraser`.

        Raises:
            NotFoundError: there is no such account, and none was erased.
        """
        check_name(account_id, "account_id")
        account_id = self._names.account(account_id)
        if not self.store.is_named(account_id) and self.store.erased_at(account_id) is None:
            raise NotFoundError(f"account {account_id} is named nowhere here")
        erasure = self._eraser.erase(account_id)
        self._observer.erased(erasure)
        self.changed.notify()
        return erasure

    def retain(self, *, outlook: bool) -> Retained:
        """Let go of what is older than the configuration allows, or only say what that would be."""
        return self._retention.outlook() if outlook else self._retention.sweep(asked=True)

    def backup_name(self, name: str) -> str:
        """The name of a backup to write: that given, or one by the time.

        Raises:
            InvalidError: it is no plain file name.
            ConflictError: there is no folder for backups.
        """
        if not self.config.backup_dir:
            raise ConflictError(
                "this server has no folder for backups: set backup_dir, or stop it and run `coterie backup` on its disk"
            )
        if not name:
            return f"coterie-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.tar.zst"
        check_file_name(name, "name")
        return name

    def create_backup(self, name: str) -> Backup:
        """Write a backup into the folder for them, one at a time; see `backup.create_backup`.

        Raises:
            ConflictError: also, another backup is being written.
        """
        from coterie.server.backup import create_backup

        if not self._backing_up.acquire(blocking=False):
            raise ConflictError("a backup is being written: wait for its end")
        try:
            return create_backup(self.store, Path(self.config.backup_dir) / name, self._check_open)
        finally:
            self._backing_up.release()

    def _purge(self, text_ids: NDArray[np.int64]) -> list[Residue]:
        """Take what the store has erased out of memory, indexes, graphs and their snapshots; returns what is left."""
        self._families.forget()
        self._watching.forget()
        self._dossiers.forget()
        self._maps.forget()
        if self.store.model() is None:
            return []
        # The snapshots on disk hold the erased vectors too: they are written anew before an erasure is answered.
        self._made_graphs().erase()
        indexes = self._made_indexes()
        indexes.follow()
        indexes.save()
        left = {field.value: int(np.isin(text_ids, index.ids()).sum()) for field, index in indexes.fields.items()}
        return [Residue(f"index of {name}s", "text number", count) for name, count in left.items() if count]

    def audit(self, entry: AuditEntry) -> "Future[int]":
        """Record who read texts or changed something; see `Store.audit`."""
        return self.store.audit(entry)

    def audit_rows(self, *, since_us: int, action: str, actor: str, before: int, limit: int) -> list[AuditRow]:
        """Rows of the audit record, newest first; see `Store.audit_rows`."""
        return self.store.audit_rows(since_us=since_us, action=action, actor=actor, before=before, limit=limit)

    def verify_audit(self, noted: str) -> AuditVerdict:
        """Walk the audit chain; see `Store.verify_audit`."""
        return self.store.verify_audit(noted)

    def _accused(self) -> frozenset[AccountId]:
        """The accounts that the standing findings accuse, and those that joined since."""
        found = [finding for finding in self.findings()[1] if finding.accuses]
        named = frozenset(account.account_id for finding in found for account in finding.accounts)
        return named | {account.account_id for finding in found for account in finding.joined_since}

    def _check_open(self, _: float) -> None:
        if self._closing.is_set():
            raise UnavailableError("the service is stopping: ask again when it is back")

    def _check_account(self, account_id: AccountId) -> None:
        if not self.store.account_exchanges(account_id) and self.store.standing(account_id)[1] is None:
            raise NotFoundError(f"account {account_id} has no exchanges here")

    def _match(self, texts: Sequence[str]) -> list[list[BenchmarkMatch]]:
        try:
            return self._made_benchmarks().match(texts, self._closing.is_set)
        except CancelledRunError as error:
            raise UnavailableError("the service is stopping: ask again when it is back") from error

    def _answer(
        self,
        result: "Future[IngestResult]",
        stored: "Future[IngestResult]",
        places: Sequence[int],
        rejections: Sequence[Rejection],
        trace: Span,
    ) -> None:
        error = stored.exception()
        trace.end(error)
        if error is not None:
            result.set_exception(error)
            return
        report = stored.result()
        refused = [
            Rejection(places[item.index], item.exchange_id, item.reason, item.message) for item in report.rejections
        ]
        everything = tuple(sorted([*rejections, *refused], key=lambda item: item.index))
        if report.stored:
            self._queue.arrived(report.queued_texts, report.queued_tokens)
            self._loop.wake()
        report = replace(report, rejections=everything)
        self._observer.ingested(report)
        result.set_result(report)

    def _recluster_under_rules(self, run: Run, stages: Stages) -> Outcome:
        outcome = self._recluster(run, stages)
        labels = None if outcome.families is None else outcome.families.labels
        try:
            self._rules.follow(outcome.run, outcome.findings, labels)
        except CoterieError as error:  # then nothing of this run is suppressed, which hides nothing
            emit(_LOGGER, logging.ERROR, "rules_not_followed", run=run.run_id, reason=error)
        return outcome

    def _recluster(self, run: Run, stages: Stages) -> Outcome:
        from coterie.server.pipeline import Pipeline

        graphs = self._made_graphs()
        pipeline = Pipeline(
            self.store, self._embedding, self._multilingual, self._made_benchmarks(), graphs, self.config
        )
        outcome = pipeline.recluster(run, stages)
        try:
            graphs.save_when_due()
        except CoterieError as error:
            # The run is good without; the next one tries again, and a start without a snapshot builds the graph.
            emit(_LOGGER, logging.WARNING, "graph_not_saved", reason=error)
        return outcome

    def _follow(self) -> None:
        indexes = self._indexes
        if indexes is not None:
            indexes.follow()
            indexes.save_when_due()

    def _follow_and_join(self) -> None:
        # Only where nobody waits: a run that embeds what is pending has better use for the processor, and what comes
        # meanwhile joins the families that it makes.
        self._follow()
        if self._indexes is not None:
            prompts = self._indexes.fields[TextField.PROMPT]
            self._families.follow(prompts, self._closing.is_set)
            if self._watching.follow(prompts, self._closing.is_set):
                self.changed.notify()
            self._start_early()

    def _start_early(self) -> None:
        """Start a run where a watched pool has grown, at most one in an interval after any run."""
        interval_s = self.config.early_run_interval_s
        if not interval_s or self._closing.is_set() or not self._watching.grown():
            return
        if self._runs.since_last_s() < interval_s:
            return
        try:
            self._runs.start(None, None, EARLY)
        except CoterieError as error:  # such as a run at work, whose findings take over
            emit(_LOGGER, logging.INFO, "early_run_skipped", reason=error)

    def _load(self) -> "Indexes":
        """Load the model, and beside it the indexes where the folder says whose vectors they hold."""
        if self.store.model() is None:
            self._embedding.encoder()
            return self._made_indexes()
        with ThreadPoolExecutor(1, thread_name_prefix="coterie-load") as loader:
            indexes = loader.submit(self._made_indexes)
            self._embedding.encoder()
            return indexes.result()

    def _made_indexes(self) -> "Indexes":
        with self._making:
            if self._indexes is None:
                from coterie.server.indexes import Indexes

                config = self.config
                self._indexes = Indexes(
                    self.store,
                    *self._model(),
                    config.snapshot_interval_s,
                    exact_rows_max=config.index_exact_rows_max,
                )
            return self._indexes

    def _made_graphs(self) -> "Graphs":
        with self._making:
            if self._graphs is None:
                from coterie.server.graphs import Graphs

                config = self.config
                self._graphs = Graphs(self.store, *self._model(), config.graph_k, config.snapshot_interval_s)
            return self._graphs

    def _model(self) -> tuple[str, int]:
        """The id and dimension of the model whose vectors the folder holds, or will hold."""
        model = self.store.model()
        if model is None:
            encoder = self._embedding.encoder()
            model = (encoder.model_id, encoder.dim)
        return model

    def _made_benchmarks(self) -> "Benchmarks":
        with self._making:
            if self._benchmarks is None:
                from coterie.server.benchmarks import Benchmarks

                self._benchmarks = Benchmarks(self.store, self._multilingual)
            return self._benchmarks


def _holds(finding: Finding, account_id: AccountId) -> bool:
    """Whether an account is in a finding, or joined it since the run."""
    held = {item.account_id for item in finding.accounts} | {item.account_id for item in finding.joined_since}
    return account_id in held


def _now_us() -> int:
    return time.time_ns() // 1_000
