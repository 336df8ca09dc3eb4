"""Every call as a value: request, how to send it, how to read the answer. The sync and async clients share them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from coterie.client import wire, wire_calibration, wire_dossier
from coterie.client.channel import Stubs
from coterie.domain import (
    LIMITS,
    AccountId,
    AccountReport,
    Backup,
    Benchmark,
    BenchmarkItem,
    BenchmarkMatch,
    Calibration,
    CoterieError,
    Dossier,
    Erasure,
    Exchange,
    Family,
    FamilyLineage,
    Finding,
    FindingId,
    FindingKind,
    InvalidError,
    NewRule,
    ParameterSet,
    Retained,
    Review,
    ReviewState,
    Rule,
    Run,
    SearchFilter,
    SearchResult,
    Slice,
    Stats,
    TextField,
    UnavailableError,
    WebhookState,
)
from coterie.v1 import (
    admin_service_pb2,
    benchmark_service_pb2,
    finding_service_pb2,
    ingest_service_pb2,
    run_service_pb2,
    search_service_pb2,
    types_pb2,
)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Detail = tuple[Finding, list[Review], list[Exchange]]
"""A finding, the decisions on it (oldest first), and its exemplars whole."""

EVERYTHING = SearchFilter()
"""The filter that lets every exchange pass."""

WHOLE = Slice()
"""The slice that leaves nothing out."""

REGISTER_TIMEOUT_S = 900.0
BACKUP_TIMEOUT_S = 24 * 3600.0
ERASE_TIMEOUT_S = 3_600.0
_MESSAGE_SLACK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One call with one answer.

    Attributes:
        send: starts it, given the stubs and a timeout in seconds; sync or async as the stubs are.
        parse: the answer as a domain value.
        repeatable: sending it twice has the effect of sending it once, and the same answer.
    """

    send: Callable[[Stubs, float], Any]
    parse: Callable[[Any], T]
    repeatable: bool = True


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """One page of a listing; `run_id` is set where the listing is of one run."""

    items: list[T]
    next_token: str
    run_id: str = ""


class Listing(Generic[T]):
    """A listing fetched page by page, up to `limit` entries, all pages of the same run."""

    def __init__(
        self, page: Callable[[str, types_pb2.PageRequest], Call[Page[T]]], limit: int, run_id: str = ""
    ) -> None:
        self.items: list[T] = []
        self.run_id = run_id
        self._page = page
        self._limit = limit
        self._token: str | None = ""

    def next_call(self) -> Call[Page[T]] | None:
        """The call for the next page; None when the listing is complete."""
        wanted = self._limit - len(self.items)
        if self._token is None or wanted <= 0:
            return None
        size = min(wanted, LIMITS.page_size_default)
        return self._page(self.run_id, types_pb2.PageRequest(page_size=size, page_token=self._token))

    def accept(self, page: Page[T]) -> None:
        """Add a page."""
        self.items.extend(page.items)
        self.run_id = page.run_id
        self._token = page.next_token or None


def search(
    *,
    text: str | None,
    exchange_id: str | None,
    vector: ArrayLike | None,
    field: TextField,
    k: int,
    search_filter: SearchFilter,
    one_per_account: bool,
) -> Call[SearchResult]:
    """The nearest exchanges to exactly one of text, exchange and vector.

    Raises:
        InvalidError: none or several of them.
    """
    if sum(query is not None for query in (text, exchange_id, vector)) != 1:
        raise InvalidError("search takes exactly one of text, exchange_id and vector", field="query")
    request = search_service_pb2.SearchRequest(
        field=wire.TEXT_FIELDS[field],
        k=k,
        filter=wire.filter_to_wire(search_filter),
        one_per_account=one_per_account,
    )
    if text is not None:
        request.text = text
    if exchange_id is not None:
        request.exchange_id = exchange_id
    if vector is not None:
        request.vector = np.asarray(vector, dtype="<f4").tobytes()
    return Call(lambda stubs, timeout_s: stubs.search.Search(request, timeout=timeout_s), wire.search_result_from_wire)


def start_run(since_us: int | None, until_us: int | None, part: Slice, sets: Iterable[ParameterSet]) -> Call[Run]:
    """Starts a run; sent again it would meet its own first try as a conflict.

    Raises:
        InvalidError: a number beyond the field's width, or a name that is not Unicode text.
    """
    try:
        request = run_service_pb2.StartRunRequest(
            since_us=since_us, until_us=until_us, slice=wire.slice_to_wire(part), sets=wire.sets_to_wire(sets)
        )
    except ValueError as error:
        raise InvalidError("a number is beyond 32 bits, or a name is not Unicode text", field="slice") from error
    return Call(lambda stubs, timeout_s: stubs.run.StartRun(request, timeout=timeout_s), _run, repeatable=False)


def get_run(run_id: str) -> Call[Run]:
    """One run; empty means the newest."""
    request = run_service_pb2.GetRunRequest(run_id=run_id)
    return Call(lambda stubs, timeout_s: stubs.run.GetRun(request, timeout=timeout_s), _run)


def cancel_run(run_id: str) -> Call[Run]:
    """Asks a run to stop."""
    request = run_service_pb2.CancelRunRequest(run_id=run_id)
    return Call(lambda stubs, timeout_s: stubs.run.CancelRun(request, timeout=timeout_s), _run)


def list_runs(limit: int) -> Listing[Run]:
    """Runs, newest first."""
    return Listing(lambda _, page: _runs_page(page), limit)


def _runs_page(page: types_pb2.PageRequest) -> Call[Page[Run]]:
    request = run_service_pb2.ListRunsRequest(page=page)
    return Call(
        lambda stubs, timeout_s: stubs.run.ListRuns(request, timeout=timeout_s),
        lambda answer: Page([wire.run_from_wire(run) for run in answer.runs], answer.page.next_page_token),
    )


def newest_run() -> Call[Run | None]:
    """The newest run; None where there is none yet."""
    first = _runs_page(types_pb2.PageRequest(page_size=1))
    return Call(first.send, lambda answer: next(iter(first.parse(answer).items), None))


def list_findings(
    run_id: str, kind: FindingKind | None, review: ReviewState | None, account_id: str, limit: int
) -> Listing[Finding]:
    """The findings of one run, most severe first; the run of the first page holds for all."""
    return Listing(lambda run, page: _findings_page(run, kind, review, account_id, page), limit, run_id)


def _findings_page(
    run_id: str, kind: FindingKind | None, review: ReviewState | None, account_id: str, page: types_pb2.PageRequest
) -> Call[Page[Finding]]:
    request = finding_service_pb2.ListFindingsRequest(
        run_id=run_id,
        kind=finding_service_pb2.FINDING_KIND_UNSPECIFIED if kind is None else wire.KINDS[kind],
        review=finding_service_pb2.REVIEW_STATE_UNSPECIFIED if review is None else wire.REVIEW_STATES[review],
        account_id=account_id,
        page=page,
    )
    return Call(
        lambda stubs, timeout_s: stubs.finding.ListFindings(request, timeout=timeout_s),
        lambda answer: Page(
            [wire.finding_from_wire(finding) for finding in answer.findings],
            answer.page.next_page_token,
            answer.run_id,
        ),
    )


def get_finding(finding_id: str) -> Call[Detail]:
    """A finding with its reviews and exemplars."""
    request = finding_service_pb2.GetFindingRequest(finding_id=finding_id)
    return Call(
        lambda stubs, timeout_s: stubs.finding.GetFinding(request, timeout=timeout_s),
        lambda answer: (
            wire.finding_from_wire(answer.finding),
            [wire.review_from_wire(review, FindingId(finding_id)) for review in answer.reviews],
            [wire.exchange_from_wire(exchange) for exchange in answer.exemplars],
        ),
    )


def get_dossier(finding_id: str, run_id: str, with_text: bool) -> Call[Dossier]:
    """Everything of a finding that is drawn or reported."""
    request = finding_service_pb2.GetDossierRequest(finding_id=finding_id, run_id=run_id, with_text=with_text)
    return Call(
        lambda stubs, timeout_s: stubs.finding.GetDossier(request, timeout=timeout_s), wire_dossier.dossier_from_wire
    )


def review_finding(
    finding_id: str,
    decision: ReviewState,
    reason: str,
    reviewer: str,
    version: int | None,
    suppress: NewRule | None,
) -> Call[Finding]:
    """Records a decision; sent again it would be recorded twice."""
    request = finding_service_pb2.ReviewFindingRequest(
        finding_id=finding_id,
        decision=wire.REVIEW_STATES[decision],
        reason=reason,
        reviewer=reviewer,
        version=version,
        suppress=None if suppress is None else wire.new_rule_to_wire(suppress),
    )
    return Call(
        lambda stubs, timeout_s: stubs.finding.ReviewFinding(request, timeout=timeout_s), _finding, repeatable=False
    )


def comment_finding(finding_id: str, text: str, reviewer: str, version: int | None) -> Call[Finding]:
    """Records a comment; sent again it would be recorded twice."""
    request = finding_service_pb2.CommentFindingRequest(
        finding_id=finding_id, text=text, reviewer=reviewer, version=version
    )
    return Call(
        lambda stubs, timeout_s: stubs.finding.CommentFinding(request, timeout=timeout_s), _finding, repeatable=False
    )


def assign_finding(finding_id: str, assignee: str, reason: str, reviewer: str, version: int | None) -> Call[Finding]:
    """Records whose a finding is; sent again it would be recorded twice."""
    request = finding_service_pb2.AssignFindingRequest(
        finding_id=finding_id, assignee=assignee, reason=reason, reviewer=reviewer, version=version
    )
    return Call(
        lambda stubs, timeout_s: stubs.finding.AssignFinding(request, timeout=timeout_s), _finding, repeatable=False
    )


def merge_findings(
    finding_id: str, others: Iterable[str], reason: str, reviewer: str, version: int | None, *, undo: bool
) -> Call[Finding]:
    """Makes findings one, or takes it back; sent again it would meet its own first try as a conflict."""
    request = finding_service_pb2.MergeFindingsRequest(
        finding_id=finding_id,
        merged_finding_ids=others,
        reason=reason,
        reviewer=reviewer,
        version=version,
        undo=undo,
    )
    return Call(
        lambda stubs, timeout_s: stubs.finding.MergeFindings(request, timeout=timeout_s), _finding, repeatable=False
    )


def split_finding(
    finding_id: str, account_ids: Iterable[str], reason: str, reviewer: str, version: int | None, *, undo: bool
) -> Call[Finding]:
    """Takes accounts out of a finding, or puts them back; sent again it would be refused."""
    request = finding_service_pb2.SplitFindingRequest(
        finding_id=finding_id,
        account_ids=account_ids,
        reason=reason,
        reviewer=reviewer,
        version=version,
        undo=undo,
    )
    return Call(
        lambda stubs, timeout_s: stubs.finding.SplitFinding(request, timeout=timeout_s), _finding, repeatable=False
    )


def create_rule(rule: NewRule, reason: str, reviewer: str) -> Call[Rule]:
    """Makes an allow-list; sent again it would be made twice."""
    request = finding_service_pb2.CreateRuleRequest(rule=wire.new_rule_to_wire(rule), reason=reason, reviewer=reviewer)
    return Call(lambda stubs, timeout_s: stubs.finding.CreateRule(request, timeout=timeout_s), _rule, repeatable=False)


def list_rules() -> Call[list[Rule]]:
    """Every rule ever made."""
    request = finding_service_pb2.ListRulesRequest()
    return Call(
        lambda stubs, timeout_s: stubs.finding.ListRules(request, timeout=timeout_s),
        lambda answer: [wire.rule_from_wire(rule) for rule in answer.rules],
    )


def revoke_rule(rule_id: str, reviewer: str) -> Call[Rule]:
    """Takes a rule back; sent again it would meet its own first try as a conflict."""
    request = finding_service_pb2.RevokeRuleRequest(rule_id=rule_id, reviewer=reviewer)
    return Call(lambda stubs, timeout_s: stubs.finding.RevokeRule(request, timeout=timeout_s), _rule, repeatable=False)


def get_calibration() -> Call[Calibration]:
    """Decisions against stated confidence."""
    request = finding_service_pb2.GetCalibrationRequest()
    return Call(
        lambda stubs, timeout_s: stubs.finding.GetCalibration(request, timeout=timeout_s),
        wire_calibration.calibration_from_wire,
    )


def get_account(account_id: str) -> Call[AccountReport]:
    """Where an account stands."""
    request = finding_service_pb2.GetAccountRequest(account_id=account_id)
    return Call(
        lambda stubs, timeout_s: stubs.finding.GetAccount(request, timeout=timeout_s),
        wire.account_report_from_wire,
    )


def list_families(run_id: str, lineage: FamilyLineage | None, limit: int) -> Listing[Family]:
    """The families of one run, those of most exchanges first; the run of the first page holds for all."""
    return Listing(lambda run, page: _families_page(run, lineage, page), limit, run_id)


def _families_page(run_id: str, lineage: FamilyLineage | None, page: types_pb2.PageRequest) -> Call[Page[Family]]:
    request = finding_service_pb2.ListFamiliesRequest(
        run_id=run_id,
        lineage=finding_service_pb2.FAMILY_LINEAGE_UNSPECIFIED if lineage is None else wire.FAMILY_LINEAGES[lineage],
        page=page,
    )
    return Call(
        lambda stubs, timeout_s: stubs.finding.ListFamilies(request, timeout=timeout_s),
        lambda answer: Page(
            [wire.family_from_wire(family) for family in answer.families], answer.page.next_page_token, answer.run_id
        ),
    )


def list_benchmarks(limit: int) -> Listing[Benchmark]:
    """Benchmarks, by name."""
    return Listing(lambda _, page: _benchmarks_page(page), limit)


def _benchmarks_page(page: types_pb2.PageRequest) -> Call[Page[Benchmark]]:
    request = benchmark_service_pb2.ListBenchmarksRequest(page=page)
    return Call(
        lambda stubs, timeout_s: stubs.benchmark.ListBenchmarks(request, timeout=timeout_s),
        lambda answer: Page(
            [wire.benchmark_from_wire(benchmark) for benchmark in answer.benchmarks], answer.page.next_page_token
        ),
    )


def match_benchmarks(texts: Sequence[str]) -> Call[list[list[BenchmarkMatch]]]:
    """Which items texts are."""
    request = benchmark_service_pb2.MatchBenchmarksRequest(texts=texts)
    return Call(
        lambda stubs, timeout_s: stubs.benchmark.MatchBenchmarks(request, timeout=timeout_s),
        lambda answer: [wire.text_matches_from_wire(matches) for matches in answer.texts],
    )


def ingest_position(stream_id: str) -> Call[int]:
    """How far a named stream is durable."""
    request = ingest_service_pb2.GetIngestPositionRequest(stream_id=stream_id)
    return Call(
        lambda stubs, timeout_s: stubs.ingest.GetIngestPosition(request, timeout=timeout_s),
        lambda answer: int(answer.position),
    )


def stats() -> Call[Stats]:
    """What the service holds."""
    request = admin_service_pb2.GetStatsRequest()
    return Call(lambda stubs, timeout_s: stubs.admin.GetStats(request, timeout=timeout_s), wire.stats_from_wire)


def erase_account(account_id: str) -> Call[Erasure]:
    """Erases an account; sent again the count of what was removed would be lost. The proof reads the whole folder."""
    request = admin_service_pb2.EraseAccountRequest(account_id=account_id)
    return Call(
        lambda stubs, timeout_s: stubs.admin.EraseAccount(request, timeout=max(timeout_s, ERASE_TIMEOUT_S)),
        lambda answer: wire.erasure_from_wire(answer, AccountId(account_id)),
        repeatable=False,
    )


def create_backup(name: str) -> Call[Backup]:
    """Write a backup on the server's disk; not sent twice, as the second would find the name taken."""
    request = admin_service_pb2.CreateBackupRequest(name=name)
    return Call(
        lambda stubs, timeout_s: stubs.admin.CreateBackup(request, timeout=max(timeout_s, BACKUP_TIMEOUT_S)),
        wire.backup_from_wire,
        repeatable=False,
    )


def list_webhooks() -> Call[list[WebhookState]]:
    """How far endpoints have been told."""
    request = admin_service_pb2.ListWebhooksRequest()
    return Call(
        lambda stubs, timeout_s: stubs.admin.ListWebhooks(request, timeout=timeout_s),
        lambda answer: [wire.webhook_from_wire(item) for item in answer.webhooks],
    )


def test_webhook(name: str) -> Call[None]:
    """Sends an endpoint a message; one that was refused is not sent again unasked."""
    request = admin_service_pb2.TestWebhookRequest(name=name)
    return Call(
        lambda stubs, timeout_s: stubs.admin.TestWebhook(request, timeout=timeout_s), lambda _: None, repeatable=False
    )


def replay_webhook(name: str, after_event: int | None) -> Call[int]:
    """Tells an endpoint again."""
    request = admin_service_pb2.ReplayWebhookRequest(name=name, after_event=after_event)
    return Call(
        lambda stubs, timeout_s: stubs.admin.ReplayWebhook(request, timeout=timeout_s),
        lambda answer: int(answer.after_event),
        repeatable=False,
    )


def retain(*, outlook: bool) -> Call[Retained]:
    """Deletes what is too old, or tells what that would be."""
    request = admin_service_pb2.RetainRequest(outlook=outlook)
    return Call(
        lambda stubs, timeout_s: stubs.admin.Retain(request, timeout=max(timeout_s, ERASE_TIMEOUT_S)),
        wire.retained_from_wire,
    )


def register_benchmark(name: str, items: Iterable[BenchmarkItem]) -> Call[Benchmark]:
    """Registers a benchmark; writing and embedding-queue work may take longer than a usual call.

    Raises:
        InvalidError: a text that is not Unicode.
    """
    try:
        requests = list(_register_requests(name, items))
    except ValueError as error:
        raise InvalidError("an item's id, text or answer is not Unicode text", field="items") from error
    return Call(
        lambda stubs, timeout_s: stubs.benchmark.RegisterBenchmark(
            iter(requests), timeout=max(timeout_s, REGISTER_TIMEOUT_S)
        ),
        lambda answer: wire.benchmark_from_wire(answer.benchmark),
    )


def _register_requests(
    name: str, items: Iterable[BenchmarkItem]
) -> Iterator[benchmark_service_pb2.RegisterBenchmarkRequest]:
    # At least one message, so that an empty benchmark is refused by the service.
    request = benchmark_service_pb2.RegisterBenchmarkRequest(name=name)
    size_bytes = 0
    for item in items:
        message = wire.benchmark_item_to_wire(item)
        item_bytes = message.ByteSize() + 8
        if request.items and (
            size_bytes + item_bytes > LIMITS.message_bytes_max - _MESSAGE_SLACK_BYTES
            or len(request.items) >= LIMITS.batch_exchanges_max
        ):
            yield request
            request, size_bytes = benchmark_service_pb2.RegisterBenchmarkRequest(name=name), 0
        request.items.append(message)
        size_bytes += item_bytes
    yield request


class Watch(Protocol[T_co]):
    """A stream that can be taken up again where it broke."""

    finished: bool

    def open(self, stubs: Stubs) -> Any:
        """The stream of answers, sync or async as the stubs are."""

    def accept(self, answer: Any) -> T_co | None:
        """An answer as a domain value; None when it is nothing new."""


class RunWatch:
    """A run's progress until it is finished; pins the run so that a reconnect watches the same one."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self.finished = False

    def open(self, stubs: Stubs) -> Any:
        """The stream of answers, sync or async as the stubs are."""
        return stubs.run.WatchRun(run_service_pb2.WatchRunRequest(run_id=self._run_id))

    def accept(self, answer: run_service_pb2.WatchRunResponse) -> Run:
        """The run as it is now."""
        run = wire.run_from_wire(answer.run)
        self._run_id, self.finished = run.run_id, run.state.finished
        return run


class FindingWatch:
    """Findings as they change, without end; after a reconnect it goes on behind the last event seen."""

    def __init__(self, after_event: int) -> None:
        self._after_event = after_event
        self.finished = False

    def open(self, stubs: Stubs) -> Any:
        """The stream of answers, sync or async as the stubs are."""
        return stubs.finding.WatchFindings(finding_service_pb2.WatchFindingsRequest(after_event=self._after_event))

    def accept(self, answer: finding_service_pb2.WatchFindingsResponse) -> tuple[int, Finding] | None:
        """The event's number and the finding; None for one seen before."""
        if answer.event <= self._after_event:
            return None
        self._after_event = answer.event
        return answer.event, wire.finding_from_wire(answer.finding)


def ended_early() -> CoterieError:
    """The error of a stream that the server closed while something was still to come."""
    return UnavailableError("the server closed the stream early: it may be shutting down; try again")


def _run(answer: Any) -> Run:
    return wire.run_from_wire(answer.run)


def _finding(answer: Any) -> Finding:
    return wire.finding_from_wire(answer.finding)


def _rule(answer: Any) -> Rule:
    return wire.rule_from_wire(answer.rule)
