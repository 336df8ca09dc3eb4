"""The client for asyncio: the same methods as `coterie.client.Client`."""

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, TypeVar

import grpc
import grpc.aio
from numpy.typing import ArrayLike

from coterie.client import calls, calls_access, calls_explore, wire
from coterie.client.channel import TIMEOUT_DEFAULT_S, Stubs, Tls, channel_options, check_address, check_token
from coterie.client.ingest import (
    BATCH_DEFAULT,
    IN_FLIGHT_DEFAULT,
    REJECTIONS_KEPT_DEFAULT,
    Ingest,
    IngestSummary,
    check_stream_id,
)
from coterie.client.retry import RetryPolicy
from coterie.domain import (
    LIMITS,
    AccountReport,
    AuditRow,
    AuditVerdict,
    Backup,
    Benchmark,
    BenchmarkItem,
    BenchmarkMatch,
    Calibration,
    Caller,
    CoterieError,
    DeniedError,
    Dossier,
    Erasure,
    Exchange,
    Family,
    FamilyLineage,
    Finding,
    FindingKind,
    NewRule,
    ParameterSet,
    Retained,
    ReviewState,
    Role,
    Rule,
    Run,
    SearchFilter,
    SearchResult,
    Slice,
    Stats,
    TextField,
    TextMap,
    Token,
    Twins,
    UnauthenticatedError,
    UnavailableError,
    WebhookState,
)
from coterie.v1 import ingest_service_pb2

T = TypeVar("T")

_EOF: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # absent from the stubs
_WRITE_FAILED = "Internal error from Core"
_STATUS_LOST = "the connection broke while sending: try again"
_STATUS_POLLS = 50
_STATUS_POLL_S = 0.01


class AsyncClient:
    """A connection to a coterie server for one event loop; safe to share between its tasks.

    Methods, defaults and errors are those of `coterie.client.Client`.

    Example:
        >>> async with AsyncClient.connect("localhost:50051") as client:  # doctest: +SKIP
        ...     await client.ingest(exchanges)
        ...     run_id, findings = await client.list_findings()
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        timeout_s: float = TIMEOUT_DEFAULT_S,
        retry: RetryPolicy,
        token: str | None = None,
    ) -> None:
        """A client on a channel; unlike `connect`, it sends its token whatever the channel leads over."""
        self._channel = channel
        self._stubs = Stubs.on(channel, token)
        # The stubs know only calls that are given their requests at once.
        self._open_ingest: Any = self._stubs.ingest.Ingest
        self._timeout_s = timeout_s
        self._retry = retry

    @classmethod
    def connect(
        cls,
        address: str,
        *,
        timeout_s: float = TIMEOUT_DEFAULT_S,
        retry: RetryPolicy | None = None,
        token: str | None = None,
        tls: Tls | None = None,
    ) -> "AsyncClient":
        """A client of the server at `host:port` or `unix:path`; the connection is made by the first call.

        Args:
            timeout_s: how long one call may take. Ingest and watching are not bounded by it.
            token: who calls, as it was minted; kept out of every log and error.
            tls: speak TLS, with these files; None speaks in the clear.

        Raises:
            InvalidError: no such form of address, a file that cannot be used, or a token that would cross the network
                in the clear.
        """
        token = check_token(token, check_address(address), encrypted=tls is not None)
        options = channel_options(address)
        if tls is None:
            channel = grpc.aio.insecure_channel(address, options=options)
        else:
            channel = grpc.aio.secure_channel(address, tls.credentials(), options=options)
        return cls(channel, timeout_s=timeout_s, retry=retry or RetryPolicy(), token=token)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls under way end as cancelled."""
        await self._channel.close(None)

    async def ingest(
        self,
        exchanges: Iterable[Exchange] | AsyncIterable[Exchange],
        *,
        batch: int = BATCH_DEFAULT,
        in_flight: int = IN_FLIGHT_DEFAULT,
        rejections_kept: int = REJECTIONS_KEPT_DEFAULT,
        stream_id: str = "",
        on_progress: Callable[[IngestSummary], None] | None = None,
    ) -> IngestSummary:
        """Stream exchanges in; returns when all of them are durable or refused.

        Batches without an answer are sent again when the stream breaks; ids make that idempotent. Unlike the sync
        client, grpc.aio can drop answers that arrived just before the break; those batches then count as duplicates.

        Args:
            exchanges: read lazily; a plain iterable that blocks holds up the event loop, so give a slow one as async.
            batch: exchanges in a message, up to `LIMITS.batch_exchanges_max`.
            in_flight: batches sent ahead of their answers.
            rejections_kept: how many rejections the summary lists; all are counted.
            stream_id: a name for this input. The server keeps how far it is durable under it, and the same input
                given again goes on there: its first exchanges are read and passed over.
            on_progress: called after each answered batch.

        Raises:
            CoterieError: the stream could not be kept up; what was answered before is durable.
        """
        check_stream_id(stream_id)
        start = await self.ingest_position(stream_id) if stream_id else 0
        state = Ingest(batch, in_flight, rejections_kept, self._retry, stream_id, start)
        requests = _requests(state, exchanges, start)
        while (broken := await self._ingest_stream(state, requests, on_progress)) is not None:
            await asyncio.sleep(state.failed(broken))
        return state.summary

    async def _ingest_stream(
        self,
        state: Ingest,
        requests: AsyncIterator[ingest_service_pb2.IngestRequest],
        on_progress: Callable[[IngestSummary], None] | None,
    ) -> CoterieError | None:
        # One stream until all is answered (None) or it breaks (why).
        call = self._open_ingest()
        try:
            while True:
                while state.has_room and (request := state.again() or await anext(requests, None)) is not None:
                    await _write(call, request)
                if state.idle:
                    await call.done_writing()
                    await _next_answer(call)
                    return None
                answer = await _next_answer(call)
                if isinstance(answer, CoterieError):
                    return await self._explained(answer)
                summary = state.accept(answer)
                if on_progress is not None:
                    on_progress(summary)
        finally:
            if not state.idle:
                call.cancel()

    async def _explained(self, broken: CoterieError) -> CoterieError:
        # A refusal that meets a write is lost in grpc.aio; an empty batch is refused for the same reason.
        if str(broken) == _STATUS_LOST:
            try:
                call: Any = self._stubs.ingest.IngestBatch(ingest_service_pb2.IngestBatchRequest())
                await call
            except grpc.RpcError as error:
                refused = wire.error_from_rpc(error)
                if isinstance(refused, (UnauthenticatedError, DeniedError)):
                    return refused
        return broken

    async def ingest_position(self, stream_id: str) -> int:
        """How far a named stream is durable, in exchanges of its input; 0 for one that is not known."""
        return await self._call(calls.ingest_position(stream_id))

    async def search(
        self,
        text: str | None = None,
        *,
        exchange_id: str | None = None,
        vector: ArrayLike | None = None,
        field: TextField = TextField.PROMPT,
        k: int = LIMITS.search_k_default,
        filter: SearchFilter = calls.EVERYTHING,
        one_per_account: bool = False,
    ) -> SearchResult:
        """The nearest exchanges to a text, a stored exchange or a vector (float32[dim]); give exactly one."""
        return await self._call(
            calls.search(
                text=text,
                exchange_id=exchange_id,
                vector=vector,
                field=field,
                k=k,
                search_filter=filter,
                one_per_account=one_per_account,
            )
        )

    async def start_run(
        self,
        *,
        since_us: int | None = None,
        until_us: int | None = None,
        slice: Slice = calls.WHOLE,
        sets: Sequence[ParameterSet] = (),
    ) -> Run:
        """Start a run on [since, until); by default the 14 days up to the newest exchange. Answers at once.

        Args:
            slice: what of the window to look at. What is found on a slice is listed by the run's id only; findings and
                accounts asked for without a run stay those of the newest whole run.
            sets: parameter sets to try on the same graph; findings come from the first, see `Run.sets`.

        Raises:
            InvalidError: also, a filter or a parameter out of its limits.
        """
        return await self._call(calls.start_run(since_us, until_us, slice, sets))

    async def get_run(self, run_id: str = "") -> Run:
        """One run; empty means the newest."""
        return await self._call(calls.get_run(run_id))

    async def list_runs(self, *, limit: int = LIMITS.page_size_default) -> list[Run]:
        """Runs, newest first; of a slice's accounts the first `LIMITS.run_accounts_listed_max` are listed."""
        return (await self._list(calls.list_runs(limit))).items

    def watch_run(self, run_id: str = "") -> AsyncIterator[Run]:
        """A run's progress until it is finished; the last value is its final state. Survives reconnects."""
        return self._watch(calls.RunWatch(run_id))

    async def cancel_run(self, run_id: str) -> Run:
        """Ask a run to stop; it may take a moment to become cancelled."""
        return await self._call(calls.cancel_run(run_id))

    async def list_findings(
        self,
        run_id: str = "",
        *,
        kind: FindingKind | None = None,
        review: ReviewState | None = None,
        account_id: str = "",
        limit: int = LIMITS.page_size_max,
    ) -> tuple[str, list[Finding]]:
        """The run's id ("" when there is none yet) and its findings, most severe first.

        Args:
            run_id: empty means the newest whole run that is done.
            kind, review, account_id: only such findings.
            limit: findings at most.
        """
        listing = await self._list(calls.list_findings(run_id, kind, review, account_id, limit))
        return listing.run_id, listing.items

    async def get_finding(self, finding_id: str) -> calls.Detail:
        """A finding, the decisions on it (oldest first), and its exemplars whole."""
        return await self._call(calls.get_finding(finding_id))

    async def get_dossier(self, finding_id: str, *, run_id: str = "", with_text: bool = False) -> Dossier:
        """Everything of a finding that is drawn or reported; of a large one some is sampled, with a seed that is told.

        Args:
            run_id: as this run reports it; empty means the newest that does.
            with_text: with the texts of its exemplars, which is recorded.
        """
        return await self._call(calls.get_dossier(finding_id, run_id, with_text))

    def watch_findings(self, *, after_event: int = 0) -> AsyncIterator[tuple[int, Finding]]:
        """Findings as runs finish and reviews are made, each with its event number; never ends by itself.

        Args:
            after_event: go on behind this event; 0 means from now on.
        """
        return self._watch(calls.FindingWatch(after_event))

    async def review_finding(
        self,
        finding_id: str,
        decision: ReviewState,
        reason: str,
        *,
        reviewer: str = "",
        version: int | None = None,
        suppress: NewRule | None = None,
    ) -> Finding:
        """Record a person's decision; the finding as it is then.

        Args:
            reviewer: who decides; of no effect where the server knows callers by their tokens.
            version: `Finding.version` of what was looked at; None decides whatever was done to it meanwhile.
            suppress: with a dismissal, the pattern that later findings are suppressed by.

        Raises:
            InvalidError: also, that pattern does not explain the finding.
            ConflictError: the finding has another version by now: look at it again.
        """
        return await self._call(calls.review_finding(finding_id, decision, reason, reviewer, version, suppress))

    async def comment_finding(
        self, finding_id: str, text: str, *, reviewer: str = "", version: int | None = None
    ) -> Finding:
        """Record a comment, which decides nothing; otherwise as `review_finding`."""
        return await self._call(calls.comment_finding(finding_id, text, reviewer, version))

    async def assign_finding(
        self,
        finding_id: str,
        assignee: str,
        *,
        reason: str = "",
        reviewer: str = "",
        version: int | None = None,
    ) -> Finding:
        """Say whose it is to look at a finding, "" for nobody's; otherwise as `review_finding`."""
        return await self._call(calls.assign_finding(finding_id, assignee, reason, reviewer, version))

    async def merge_findings(
        self,
        finding_id: str,
        others: Sequence[str],
        reason: str,
        *,
        undo: bool = False,
        reviewer: str = "",
        version: int | None = None,
    ) -> Finding:
        """Make other findings one with this one, in every run, or take it back; otherwise as `review_finding`."""
        return await self._call(calls.merge_findings(finding_id, others, reason, reviewer, version, undo=undo))

    async def split_finding(
        self,
        finding_id: str,
        account_ids: Sequence[str],
        reason: str,
        *,
        undo: bool = False,
        reviewer: str = "",
        version: int | None = None,
    ) -> Finding:
        """Take accounts that are not part of it out of a finding, in every run, or put them back.

        Otherwise as `review_finding`.
        """
        return await self._call(calls.split_finding(finding_id, account_ids, reason, reviewer, version, undo=undo))

    async def create_rule(self, rule: NewRule, reason: str, *, reviewer: str = "") -> Rule:
        """Put organisations or accounts on an allow-list: findings that they explain are suppressed."""
        return await self._call(calls.create_rule(rule, reason, reviewer))

    async def list_rules(self) -> list[Rule]:
        """Every rule ever made, newest first, those that ended or were revoked too."""
        return await self._call(calls.list_rules())

    async def revoke_rule(self, rule_id: str, *, reviewer: str = "") -> Rule:
        """Take a rule back: what it suppressed no longer is."""
        return await self._call(calls.revoke_rule(rule_id, reviewer))

    async def get_calibration(self) -> Calibration:
        """What reviewers decided against how sure the findings were, and what follows; nothing is applied by itself."""
        return await self._call(calls.get_calibration())

    async def get_account(self, account_id: str) -> AccountReport:
        """Whether an account is in anything, and if not, how near it was."""
        return await self._call(calls.get_account(account_id))

    async def list_families(
        self, run_id: str = "", *, lineage: FamilyLineage | None = None, limit: int = LIMITS.page_size_max
    ) -> tuple[str, list[Family]]:
        """The run's id ("" when there is none yet) and its families, those of most exchanges first.

        Args:
            run_id: empty means the newest run that is done and was not on a slice.
            lineage: only these.
            limit: families at most.
        """
        listing = await self._list(calls.list_families(run_id, lineage, limit))
        return listing.run_id, listing.items

    async def map(self) -> TextMap:
        """The texts of the newest whole run as points; where there is no map yet, its state says so: ask again."""
        return await anext(self._watch(calls_explore.MapWatch()))

    async def list_exchanges(
        self, account_id: str | None = None, *, text_id: int | None = None, limit: int = LIMITS.page_size_default
    ) -> list[Exchange]:
        """Exchanges of an account, or of a text (by its id on the map), newest first; give exactly one."""
        return (await self._list(calls_explore.list_exchanges(account_id, text_id, limit))).items

    async def exchanges_page(
        self, account_id: str, *, size: int = LIMITS.page_size_default, page_token: str = ""
    ) -> tuple[list[Exchange], str]:
        """One page of an account's exchanges, newest first, and the token of the next ("" when it was the last)."""
        page = await self._call(calls_explore.exchanges_page(account_id, size, page_token))
        return page.items, page.next_token

    async def list_twins(self, account_id: str, *, limit: int = 10) -> Twins:
        """The accounts that ask most like an account, those furthest beyond chance first."""
        return await self._call(calls_explore.list_twins(account_id, limit))

    async def register_benchmark(self, name: str, items: Iterable[BenchmarkItem]) -> Benchmark:
        """Register a reference corpus, all or nothing; the same items again change nothing."""
        return await self._call(calls.register_benchmark(name, items))

    async def list_benchmarks(self, *, limit: int = LIMITS.page_size_max) -> list[Benchmark]:
        """Registered benchmarks, by name."""
        return (await self._list(calls.list_benchmarks(limit))).items

    async def match_benchmarks(self, texts: Sequence[str]) -> list[list[BenchmarkMatch]]:
        """For each text (1 to `LIMITS.match_texts_max`), the items it is, best first."""
        return await self._call(calls.match_benchmarks(texts))

    async def stats(self) -> Stats:
        """What the service holds."""
        return await self._call(calls.stats())

    async def create_backup(self, name: str = "") -> Backup:
        """Write a backup on the server's disk, where its setting `backup_dir` says; returns when it is whole.

        Args:
            name: ending in .tar.zst or .tar.gz for an archive, in anything else for a folder; empty for one by time.

        Raises:
            ConflictError: the server has no such folder, or the name is taken.
        """
        return await self._call(calls.create_backup(name))

    async def list_webhooks(self) -> list[WebhookState]:
        """How far webhook endpoints have been told, by name."""
        return await self._call(calls.list_webhooks())

    async def test_webhook(self, name: str) -> None:
        """Send an endpoint a message of type `ping`, once.

        Raises:
            UnavailableError: it did not take it; the message says why.
        """
        await self._call(calls.test_webhook(name))

    async def replay_webhook(self, name: str, *, after_event: int | None = None) -> int:
        """Tell an endpoint again, by default from the first event it did not take; returns after which event."""
        return await self._call(calls.replay_webhook(name, after_event))

    async def retain(self, *, outlook: bool = False) -> Retained:
        """Delete what is older than the service's settings allow, or with `outlook` only tell what that would be."""
        return await self._call(calls.retain(outlook=outlook))

    async def erase_account(self, account_id: str) -> Erasure:
        """Remove an account and all that only it sent. There is no way back."""
        return await self._call(calls.erase_account(account_id))

    async def mint_token(self, name: str, roles: Iterable[Role], *, expires_us: int = 0) -> tuple[str, Token]:
        """Make a token: what to send, which the service does not keep, and what it keeps.

        Args:
            expires_us: from when on it is refused, microseconds since 1970-01-01 UTC; 0 is never.
        """
        return await self._call(calls_access.mint_token(name, roles, expires_us))

    async def list_tokens(self, *, limit: int = LIMITS.access_tokens_max) -> list[Token]:
        """Every token that was ever minted, newest first."""
        return (await self._list(calls_access.list_tokens(limit))).items

    async def revoke_token(self, token_id: str) -> Token:
        """End a token, at once and for good; the token as it is now."""
        return await self._call(calls_access.revoke_token(token_id))

    async def who_am_i(self) -> Caller:
        """Who the service takes this client for."""
        return await self._call(calls_access.who_am_i())

    async def list_audit(
        self, *, since_us: int = 0, action: str = "", actor: str = "", limit: int = LIMITS.page_size_max
    ) -> list[AuditRow]:
        """Who read texts and changed what, newest first; without the digests that the chain covers.

        Args:
            since_us: not before this time, microseconds since 1970-01-01 UTC.
            action, actor: only these; empty is any.
            limit: rows at most.
        """
        return (await self._list(calls_access.list_audit(since_us, action, actor, limit))).items

    async def verify_audit(self, *, noted_head: str = "") -> AuditVerdict:
        """Whether the audit record is as it was written.

        Args:
            noted_head: a hash that was the head once and was kept elsewhere, 64 hexadecimal digits.
        """
        return await self._call(calls_access.verify_audit(noted_head))

    async def _call(self, call: calls.Call[T]) -> T:
        failures = 0
        while True:
            try:
                return call.parse(await call.send(self._stubs, self._timeout_s))
            except grpc.RpcError as error:
                failures += 1
                await asyncio.sleep(
                    self._retry.delay_s(failures, wire.error_from_rpc(error), repeatable=call.repeatable)
                )

    async def _list(self, listing: calls.Listing[T]) -> calls.Listing[T]:
        while (call := listing.next_call()) is not None:
            listing.accept(await self._call(call))
        return listing

    async def _watch(self, watch: calls.Watch[T]) -> AsyncIterator[T]:
        failures = 0
        while not watch.finished:
            stream = watch.open(self._stubs)
            try:
                while not isinstance(answer := await _next_answer(stream), CoterieError):
                    failures = 0
                    value = watch.accept(answer)
                    if value is not None:
                        yield value
            finally:
                stream.cancel()
            if not watch.finished:
                failures += 1
                await asyncio.sleep(self._retry.delay_s(failures, answer))


async def _requests(
    state: Ingest, exchanges: Iterable[Exchange] | AsyncIterable[Exchange], start: int
) -> AsyncIterator[ingest_service_pb2.IngestRequest]:
    skipped = 0
    async for exchange in _each(exchanges):
        if skipped < start:
            skipped += 1
            continue
        full = state.push(exchange)
        if full is not None:
            yield state.sending(full)
    last = state.flush()
    if last is not None:
        yield state.sending(last)


async def _each(exchanges: Iterable[Exchange] | AsyncIterable[Exchange]) -> AsyncIterator[Exchange]:
    if isinstance(exchanges, AsyncIterable):
        async for exchange in exchanges:
            yield exchange
    else:
        for exchange in exchanges:
            yield exchange


async def _write(call: Any, request: ingest_service_pb2.IngestRequest) -> None:
    # A stream already broken says why at the next read.
    if not call.done():
        with contextlib.suppress(grpc.RpcError):
            await call.write(request)


async def _next_answer(stream: Any) -> Any:
    # The next message, or why there is none.
    try:
        answer = await stream.read()
    except grpc.RpcError as error:
        return await _why_broken(stream, error)
    return calls.ended_early() if answer is _EOF else answer


async def _why_broken(stream: Any, error: grpc.RpcError) -> CoterieError:
    # A write that meets the end of the stream makes grpc.aio report INTERNAL, until the server's status, which is on
    # its way, takes that one's place. Without it nothing is known but that the stream broke.
    if await stream.details() != _WRITE_FAILED:
        return wire.error_from_rpc(error)
    for _ in range(_STATUS_POLLS):
        await asyncio.sleep(_STATUS_POLL_S)
        code, details = await stream.code(), await stream.details()
        if code is grpc.StatusCode.OK:
            return calls.ended_early()
        if details != _WRITE_FAILED:
            metadata = {key: value for key, value in await stream.trailing_metadata() if isinstance(value, str)}
            return wire.error_from_status(code, details, metadata)
    return UnavailableError(_STATUS_LOST)
