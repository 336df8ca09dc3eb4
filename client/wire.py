"""Domain values to wire messages and back, and errors to gRPC status and back. The server uses it too.

`X_to_wire` and `X_from_wire` are inverses. Nothing is checked against limits here: that is `check_exchange`'s and the
services' business.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import fields
from enum import StrEnum
from typing import Any, TypeVar

import grpc

from coterie.domain import (
    AccountFamily,
    AccountId,
    AccountReport,
    Backlog,
    Backup,
    Benchmark,
    BenchmarkItem,
    BenchmarkMatch,
    CancelledRunError,
    ConflictError,
    CoterieError,
    DeniedError,
    Erasure,
    ErasureProof,
    Evidence,
    Exchange,
    ExchangeId,
    ExcludedAccount,
    Family,
    FamilyId,
    FamilyLineage,
    Finding,
    FindingAccount,
    FindingBenchmark,
    FindingFamily,
    FindingId,
    FindingKind,
    Hit,
    IngestResult,
    InvalidError,
    JoinedAccount,
    Lineage,
    NewRule,
    NotFoundError,
    OverloadedError,
    ParameterSet,
    Rejection,
    Residue,
    Retained,
    Review,
    ReviewAction,
    ReviewBasis,
    ReviewState,
    Rule,
    RuleKind,
    Run,
    RunId,
    RunState,
    SearchFilter,
    SearchResult,
    SegmentState,
    Sequence,
    Severity,
    Slice,
    Standing,
    Stats,
    Suppression,
    TextField,
    UnauthenticatedError,
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

_Enum = TypeVar("_Enum", bound=StrEnum)

TEXT_FIELDS = {item: types_pb2.TextField.Value(f"TEXT_FIELD_{item.name}") for item in TextField}
RUN_STATES = {item: run_service_pb2.RunState.Value(f"RUN_STATE_{item.name}") for item in RunState}
KINDS = {item: finding_service_pb2.FindingKind.Value(f"FINDING_KIND_{item.name}") for item in FindingKind}
SEVERITIES = {item: finding_service_pb2.Severity.Value(f"SEVERITY_{item.name}") for item in Severity}
LINEAGES = {item: finding_service_pb2.Lineage.Value(f"LINEAGE_{item.name}") for item in Lineage}
FAMILY_LINEAGES = {
    item: finding_service_pb2.FamilyLineage.Value(f"FAMILY_LINEAGE_{item.name}") for item in FamilyLineage
}
REVIEW_STATES = {item: finding_service_pb2.ReviewState.Value(f"REVIEW_STATE_{item.name}") for item in ReviewState}

RULE_KINDS = {item: finding_service_pb2.RuleKind.Value(f"RULE_KIND_{item.name}") for item in RuleKind}
REVIEW_ACTIONS = {item: finding_service_pb2.ReviewAction.Value(f"REVIEW_ACTION_{item.name}") for item in ReviewAction}


def enum_from_wire(table: Mapping[_Enum, int], value: int, field: str) -> _Enum:
    """The domain value of an enum number.

    Raises:
        InvalidError: unspecified, or a number this version does not know.
    """
    for member, number in table.items():
        if number == value:
            return member
    known = ", ".join(member.value for member in table)
    wrong = "is unspecified" if value == 0 else f"has the unknown number {value}"
    raise InvalidError(f"{field} {wrong}: use one of {known}", field=field, reason="bad_enum")


def enum_filter_from_wire(table: Mapping[_Enum, int], value: int, field: str) -> _Enum | None:
    """Like `enum_from_wire`, but unspecified means any: None.

    Raises:
        InvalidError: a number this version does not know.
    """
    return None if value == 0 else enum_from_wire(table, value, field)


def text_field_from_wire(value: int) -> TextField:
    """Which side of an exchange; unspecified means the prompt.

    Raises:
        InvalidError: a number this version does not know.
    """
    return enum_filter_from_wire(TEXT_FIELDS, value, "field") or TextField.PROMPT


# Exchanges and ingest


def exchange_to_wire(exchange: Exchange) -> types_pb2.Exchange:
    """An exchange as a message.

    Raises:
        ValueError: a text that is not Unicode, or a number beyond the field's width.
    """
    return types_pb2.Exchange(
        exchange_id=exchange.exchange_id,
        account_id=exchange.account_id,
        time_us=exchange.time_us,
        prompt=exchange.prompt,
        response=exchange.response,
        system=exchange.system,
        conversation_id=exchange.conversation_id,
        turn=exchange.turn,
        model=exchange.model,
        input_tokens=exchange.input_tokens,
        output_tokens=exchange.output_tokens,
        cost_usd=exchange.cost_usd,
        attributes=exchange.attributes,
    )


def exchange_from_wire(message: types_pb2.Exchange) -> Exchange:
    """An exchange as sent, unchecked."""
    return Exchange(
        exchange_id=ExchangeId(message.exchange_id),
        account_id=AccountId(message.account_id),
        time_us=message.time_us,
        prompt=message.prompt,
        response=message.response,
        system=message.system,
        conversation_id=message.conversation_id,
        # Only a zero needs to be asked whether it was sent; this runs on every exchange.
        turn=message.turn or (0 if message.HasField("turn") else None),
        model=message.model,
        input_tokens=message.input_tokens or (0 if message.HasField("input_tokens") else None),
        output_tokens=message.output_tokens or (0 if message.HasField("output_tokens") else None),
        cost_usd=message.cost_usd or (0.0 if message.HasField("cost_usd") else None),
        attributes=dict(message.attributes),
    )


def ingest_result_to_wire(result: IngestResult) -> ingest_service_pb2.IngestReport:
    """What became of a batch."""
    return ingest_service_pb2.IngestReport(
        stored=result.stored,
        duplicates=result.duplicates,
        rejections=[
            ingest_service_pb2.Rejection(
                index=item.index, exchange_id=item.exchange_id, reason=item.reason, message=item.message
            )
            for item in result.rejections
        ],
        last_sequence=result.last_sequence,
    )


def ingest_result_from_wire(message: ingest_service_pb2.IngestReport) -> IngestResult:
    """What became of a batch."""
    return IngestResult(
        stored=message.stored,
        duplicates=message.duplicates,
        rejections=tuple(
            Rejection(item.index, item.exchange_id, item.reason, item.message) for item in message.rejections
        ),
        last_sequence=Sequence(message.last_sequence),
    )


# Search


def filter_to_wire(search_filter: SearchFilter) -> search_service_pb2.SearchFilter:
    """Which exchanges may be hits."""
    return search_service_pb2.SearchFilter(
        account_ids=search_filter.accounts,
        models=search_filter.models,
        since_us=search_filter.since_us,
        until_us=search_filter.until_us,
        attributes=search_filter.attributes,
    )


def filter_from_wire(message: search_service_pb2.SearchFilter) -> SearchFilter:
    """Which exchanges may be hits."""
    return SearchFilter(
        accounts=tuple(AccountId(account) for account in message.account_ids),
        models=tuple(message.models),
        since_us=message.since_us if message.HasField("since_us") else None,
        until_us=message.until_us if message.HasField("until_us") else None,
        attributes=dict(message.attributes),
    )


def search_result_to_wire(result: SearchResult) -> search_service_pb2.SearchResponse:
    """The hits, and what they cost."""
    return search_service_pb2.SearchResponse(
        hits=[
            search_service_pb2.Hit(exchange=exchange_to_wire(hit.exchange), similarity=hit.similarity)
            for hit in result.hits
        ],
        embed_time_ns=result.embed_time_ns,
        queue_time_ns=result.queue_time_ns,
        search_time_ns=result.search_time_ns,
    )


def search_result_from_wire(message: search_service_pb2.SearchResponse) -> SearchResult:
    """The hits, and what they cost."""
    return SearchResult(
        hits=tuple(Hit(exchange_from_wire(hit.exchange), hit.similarity) for hit in message.hits),
        embed_time_ns=message.embed_time_ns,
        queue_time_ns=message.queue_time_ns,
        search_time_ns=message.search_time_ns,
    )


# Runs


def run_to_wire(run: Run) -> run_service_pb2.Run:
    """A run as it is."""
    return run_service_pb2.Run(
        run_id=run.run_id,
        state=RUN_STATES[run.state],
        created_us=run.created_us,
        started_us=run.started_us,
        finished_us=run.finished_us,
        since_us=run.since_us,
        until_us=run.until_us,
        trigger=run.trigger,
        stage=run.stage,
        progress=run.progress,
        error=run.error,
        measures=run.measures,
        parameters=run.parameters,
        slice=slice_to_wire(run.slice),
        sets=sets_to_wire(run.sets),
    )


def run_from_wire(message: run_service_pb2.Run) -> Run:
    """A run as it was sent.

    Raises:
        InvalidError: in a state, or on a field, this version does not know.
    """
    return Run(
        run_id=RunId(message.run_id),
        state=enum_from_wire(RUN_STATES, message.state, "state"),
        created_us=message.created_us,
        started_us=message.started_us,
        finished_us=message.finished_us,
        since_us=message.since_us,
        until_us=message.until_us,
        trigger=message.trigger,
        stage=message.stage,
        progress=message.progress,
        error=message.error,
        measures=dict(message.measures),
        parameters=dict(message.parameters),
        slice=slice_from_wire(message.slice),
        sets=sets_from_wire(message.sets),
    )


def slice_to_wire(part: Slice) -> run_service_pb2.Slice:
    """What of its window a run looks at."""
    return run_service_pb2.Slice(
        field=TEXT_FIELDS[part.field],
        models=part.models,
        account_ids=part.accounts,
        attributes=part.attributes,
        accounts_unlisted=part.accounts_unlisted,
    )


def slice_from_wire(message: run_service_pb2.Slice) -> Slice:
    """What of its window a run looks at; an empty message is the whole.

    Raises:
        InvalidError: a field this version does not know.
    """
    return Slice(
        models=tuple(message.models),
        accounts=tuple(AccountId(account) for account in message.account_ids),
        attributes=dict(message.attributes),
        accounts_unlisted=message.accounts_unlisted,
        field=text_field_from_wire(message.field),
    )


def sets_to_wire(sets: Iterable[ParameterSet]) -> list[run_service_pb2.ParameterSet]:
    """Parameter sets of a run."""
    return [
        run_service_pb2.ParameterSet(min_samples=item.min_samples, min_cluster_size=item.min_cluster_size)
        for item in sets
    ]


def sets_from_wire(messages: Iterable[run_service_pb2.ParameterSet]) -> tuple[ParameterSet, ...]:
    """Parameter sets of a run, unchecked."""
    return tuple(ParameterSet(message.min_samples, message.min_cluster_size) for message in messages)


# Findings


def evidence_to_wire(evidence: Evidence) -> finding_service_pb2.Evidence:
    """One reason."""
    return finding_service_pb2.Evidence(
        name=evidence.name,
        statistic=evidence.statistic,
        value=evidence.value,
        null=evidence.null,
        p_value=evidence.p_value,
        summary=evidence.summary,
    )


def evidence_from_wire(message: finding_service_pb2.Evidence) -> Evidence:
    """One reason."""
    return Evidence(
        name=message.name,
        statistic=message.statistic,
        value=message.value,
        null=message.null,
        summary=message.summary,
        p_value=message.p_value if message.HasField("p_value") else None,
    )


def finding_to_wire(finding: Finding) -> finding_service_pb2.Finding:
    """A finding without its `text_ids`, which never leave the service."""
    return finding_service_pb2.Finding(
        finding_id=finding.finding_id,
        kind=KINDS[finding.kind],
        severity=SEVERITIES[finding.severity],
        confidence=finding.confidence,
        lineage=LINEAGES[finding.lineage],
        lineage_of=finding.lineage_of,
        review=REVIEW_STATES[finding.review],
        title=finding.title,
        accounts=[_account_to_wire(account) for account in finding.accounts],
        families=[
            finding_service_pb2.FindingFamily(family_id=family.family_id, texts=family.texts, accounts=family.accounts)
            for family in finding.families
        ],
        benchmarks=[
            finding_service_pb2.FindingBenchmark(name=hit.name, items_matched=hit.items_matched, coverage=hit.coverage)
            for hit in finding.benchmarks
        ],
        first_seen_us=finding.first_seen_us,
        last_seen_us=finding.last_seen_us,
        evidence=[evidence_to_wire(item) for item in finding.evidence],
        counter_evidence=[evidence_to_wire(item) for item in finding.counter_evidence],
        exemplars=finding.exemplars,
        run_id=finding.run_id,
        provisional=finding.provisional,
        returned=finding.returned,
        joined_since=[
            finding_service_pb2.JoinedAccount(
                account_id=joined.account_id, time_us=joined.time_us, prompts=joined.prompts, p_value=joined.p_value
            )
            for joined in finding.joined_since
        ],
        version=finding.version,
        assignee=finding.assignee,
        excluded=[
            finding_service_pb2.ExcludedAccount(
                account_id=item.account_id,
                exchanges=item.exchanges,
                reviewer=item.reviewer,
                reason=item.reason,
                time_us=item.time_us,
            )
            for item in finding.excluded
        ],
        merged=finding.merged,
        suppressed=None if finding.suppressed is None else _suppression_to_wire(finding.suppressed),
    )


def finding_from_wire(message: finding_service_pb2.Finding) -> Finding:
    """A finding; its `text_ids` are empty.

    Raises:
        InvalidError: an enum value this version does not know.
    """
    return Finding(
        finding_id=FindingId(message.finding_id),
        kind=enum_from_wire(KINDS, message.kind, "kind"),
        severity=enum_from_wire(SEVERITIES, message.severity, "severity"),
        confidence=message.confidence,
        title=message.title,
        accounts=tuple(_account_from_wire(account) for account in message.accounts),
        families=tuple(
            FindingFamily(FamilyId(family.family_id), family.texts, family.accounts) for family in message.families
        ),
        benchmarks=tuple(FindingBenchmark(hit.name, hit.items_matched, hit.coverage) for hit in message.benchmarks),
        first_seen_us=message.first_seen_us,
        last_seen_us=message.last_seen_us,
        evidence=tuple(evidence_from_wire(item) for item in message.evidence),
        counter_evidence=tuple(evidence_from_wire(item) for item in message.counter_evidence),
        exemplars=tuple(ExchangeId(exemplar) for exemplar in message.exemplars),
        lineage=enum_from_wire(LINEAGES, message.lineage, "lineage"),
        lineage_of=tuple(FindingId(earlier) for earlier in message.lineage_of),
        review=enum_from_wire(REVIEW_STATES, message.review, "review"),
        run_id=RunId(message.run_id),
        provisional=message.provisional,
        returned=message.returned,
        joined_since=tuple(
            JoinedAccount(AccountId(joined.account_id), joined.time_us, joined.prompts, joined.p_value)
            for joined in message.joined_since
        ),
        version=message.version,
        assignee=message.assignee,
        excluded=tuple(
            ExcludedAccount(AccountId(item.account_id), item.exchanges, item.reviewer, item.reason, item.time_us)
            for item in message.excluded
        ),
        merged=tuple(FindingId(item) for item in message.merged),
        suppressed=_suppression_from_wire(message.suppressed) if message.HasField("suppressed") else None,
    )


def _suppression_to_wire(suppression: Suppression) -> finding_service_pb2.Suppression:
    return finding_service_pb2.Suppression(
        rule_id=suppression.rule_id,
        kind=RULE_KINDS[RuleKind(suppression.kind)],
        summary=suppression.summary,
        reason=suppression.reason,
        creator=suppression.creator,
        expires_us=suppression.expires_us,
    )


def _suppression_from_wire(message: finding_service_pb2.Suppression) -> Suppression:
    return Suppression(
        rule_id=message.rule_id,
        kind=enum_from_wire(RULE_KINDS, message.kind, "kind").value,
        summary=message.summary,
        reason=message.reason,
        creator=message.creator,
        expires_us=message.expires_us,
    )


def new_rule_to_wire(rule: NewRule) -> finding_service_pb2.NewRule:
    """A pattern to suppress."""
    return finding_service_pb2.NewRule(
        kind=RULE_KINDS[rule.kind], values=rule.values, anyone=rule.anyone, expires_us=rule.expires_us
    )


def new_rule_from_wire(message: finding_service_pb2.NewRule) -> NewRule:
    """A pattern to suppress.

    Raises:
        InvalidError: a kind this version does not know, or none.
    """
    kind = enum_from_wire(RULE_KINDS, message.kind, "kind")
    return NewRule(kind, tuple(message.values), message.anyone, message.expires_us)


def rule_to_wire(rule: Rule) -> finding_service_pb2.Rule:
    """A rule without its template and the accounts of the finding it was made on, which never leave the service."""
    return finding_service_pb2.Rule(
        rule_id=rule.rule_id,
        kind=RULE_KINDS[rule.kind],
        values=rule.values,
        reason=rule.reason,
        creator=rule.creator,
        created_us=rule.created_us,
        finding_id=rule.finding_id,
        anyone=rule.anyone,
        expires_us=rule.expires_us,
        revoked_us=rule.revoked_us,
        revoked_by=rule.revoked_by,
        findings=rule.findings,
    )


def rule_from_wire(message: finding_service_pb2.Rule) -> Rule:
    """A rule; its template and accounts are empty.

    Raises:
        InvalidError: a kind this version does not know.
    """
    return Rule(
        rule_id=message.rule_id,
        kind=enum_from_wire(RULE_KINDS, message.kind, "kind"),
        values=tuple(message.values),
        reason=message.reason,
        creator=message.creator,
        created_us=message.created_us,
        finding_id=FindingId(message.finding_id),
        anyone=message.anyone,
        expires_us=message.expires_us,
        revoked_us=message.revoked_us,
        revoked_by=message.revoked_by,
        findings=message.findings,
    )


def _account_to_wire(account: FindingAccount) -> finding_service_pb2.FindingAccount:
    return finding_service_pb2.FindingAccount(
        account_id=account.account_id,
        exchanges=account.exchanges,
        distinct_texts=account.distinct_texts,
        share_of_traffic=account.share_of_traffic,
        first_seen_us=account.first_seen_us,
        last_seen_us=account.last_seen_us,
    )


def _account_from_wire(message: finding_service_pb2.FindingAccount) -> FindingAccount:
    return FindingAccount(
        account_id=AccountId(message.account_id),
        exchanges=message.exchanges,
        distinct_texts=message.distinct_texts,
        share_of_traffic=message.share_of_traffic,
        first_seen_us=message.first_seen_us,
        last_seen_us=message.last_seen_us,
    )


def review_to_wire(review: Review) -> finding_service_pb2.Review:
    """An entry of a history; of its basis the confidence and the number of accounts."""
    return finding_service_pb2.Review(
        decision=REVIEW_STATES[review.decision],
        reason=review.reason,
        reviewer=review.reviewer,
        time_us=review.time_us,
        action=REVIEW_ACTIONS[review.action],
        assignee=review.assignee,
        finding_ids=review.findings,
        account_ids=review.accounts,
        version=review.version,
        run_id=review.run_id,
        finding_id=review.finding_id,
        confidence=review.basis.confidence,
        accounts=review.basis.accounts,
    )


def review_from_wire(message: finding_service_pb2.Review, finding_id: FindingId) -> Review:
    """An entry of the history of that finding, or of one merged with it.

    Raises:
        InvalidError: a decision or an action this version does not know.
    """
    return Review(
        finding_id=FindingId(message.finding_id) or finding_id,
        decision=enum_from_wire(REVIEW_STATES, message.decision, "decision"),
        reason=message.reason,
        reviewer=message.reviewer,
        time_us=message.time_us,
        action=enum_filter_from_wire(REVIEW_ACTIONS, message.action, "action") or ReviewAction.DECIDE,
        assignee=message.assignee,
        findings=tuple(FindingId(item) for item in message.finding_ids),
        accounts=tuple(AccountId(item) for item in message.account_ids),
        version=message.version,
        run_id=RunId(message.run_id),
        basis=ReviewBasis(confidence=message.confidence, accounts=message.accounts),
    )


def account_report_to_wire(report: AccountReport) -> finding_service_pb2.GetAccountResponse:
    """Where an account stands."""
    return finding_service_pb2.GetAccountResponse(
        account_id=report.standing.account_id,
        exchanges_total=report.exchanges_total,
        exchanges=report.standing.exchanges,
        run_id=report.run_id,
        findings=[finding_to_wire(finding) for finding in report.findings],
        nearest_candidate=report.standing.nearest_candidate,
        nearest_p_value=report.standing.nearest_p_value,
        reason=report.standing.reason,
        pool_exchanges=report.standing.pool_exchanges,
        families=[
            finding_service_pb2.AccountFamily(family_id=item.family_id, texts=item.texts, joined=item.joined)
            for item in report.families
        ],
    )


def account_report_from_wire(message: finding_service_pb2.GetAccountResponse) -> AccountReport:
    """Where an account stands.

    Raises:
        InvalidError: an enum value this version does not know.
    """
    findings = tuple(finding_from_wire(finding) for finding in message.findings)
    return AccountReport(
        exchanges_total=message.exchanges_total,
        run_id=RunId(message.run_id),
        standing=Standing(
            account_id=AccountId(message.account_id),
            exchanges=message.exchanges,
            findings=tuple(finding.finding_id for finding in findings),
            nearest_candidate=message.nearest_candidate,
            nearest_p_value=message.nearest_p_value if message.HasField("nearest_p_value") else None,
            reason=message.reason,
            pool_exchanges=message.pool_exchanges,
        ),
        findings=findings,
        families=tuple(AccountFamily(FamilyId(item.family_id), item.texts, item.joined) for item in message.families),
    )


def family_to_wire(family: Family) -> finding_service_pb2.Family:
    """A family of a run."""
    return finding_service_pb2.Family(
        family_id=family.family_id,
        texts=family.texts,
        exchanges=family.exchanges,
        accounts=family.accounts,
        lineage=FAMILY_LINEAGES[family.lineage],
        lineage_of=family.lineage_of,
        gate_distance=family.gate_distance,
        exemplar=family.exemplar,
        first_seen_us=family.first_seen_us,
        last_seen_us=family.last_seen_us,
        run_id=family.run_id,
        joined=family.joined,
    )


def family_from_wire(message: finding_service_pb2.Family) -> Family:
    """A family of a run.

    Raises:
        InvalidError: a lineage this version does not know.
    """
    return Family(
        family_id=FamilyId(message.family_id),
        texts=message.texts,
        exchanges=message.exchanges,
        accounts=message.accounts,
        lineage=enum_from_wire(FAMILY_LINEAGES, message.lineage, "lineage"),
        lineage_of=tuple(FamilyId(earlier) for earlier in message.lineage_of),
        gate_distance=message.gate_distance,
        exemplar=ExchangeId(message.exemplar),
        first_seen_us=message.first_seen_us,
        last_seen_us=message.last_seen_us,
        run_id=RunId(message.run_id),
        joined=message.joined,
    )


# Benchmarks


def benchmark_to_wire(benchmark: Benchmark) -> benchmark_service_pb2.Benchmark:
    """A registered benchmark."""
    return benchmark_service_pb2.Benchmark(
        name=benchmark.name, items=benchmark.items, registered_us=benchmark.registered_us
    )


def benchmark_from_wire(message: benchmark_service_pb2.Benchmark) -> Benchmark:
    """A registered benchmark."""
    return Benchmark(message.name, message.items, message.registered_us)


def benchmark_item_to_wire(item: BenchmarkItem) -> benchmark_service_pb2.BenchmarkItem:
    """One entry.

    Raises:
        ValueError: a text that is not Unicode.
    """
    return benchmark_service_pb2.BenchmarkItem(item_id=item.item_id, text=item.text, answer=item.answer)


def benchmark_item_from_wire(message: benchmark_service_pb2.BenchmarkItem) -> BenchmarkItem:
    """One entry, as sent."""
    return BenchmarkItem(message.item_id, message.text, message.answer)


def text_matches_to_wire(matches: Iterable[BenchmarkMatch]) -> benchmark_service_pb2.TextMatches:
    """What one text is."""
    return benchmark_service_pb2.TextMatches(
        matches=[
            benchmark_service_pb2.BenchmarkMatch(
                benchmark=match.benchmark, item_id=match.item_id, method=match.method, similarity=match.similarity
            )
            for match in matches
        ]
    )


def text_matches_from_wire(message: benchmark_service_pb2.TextMatches) -> list[BenchmarkMatch]:
    """What one text is, best first."""
    return [BenchmarkMatch(match.benchmark, match.item_id, match.method, match.similarity) for match in message.matches]


# Administration


def stats_to_wire(stats: Stats) -> admin_service_pb2.GetStatsResponse:
    """What the service holds."""
    return admin_service_pb2.GetStatsResponse(
        exchanges=stats.exchanges,
        accounts=stats.accounts,
        texts=stats.texts,
        pending_texts=stats.pending_texts,
        runs=stats.runs,
        findings=stats.findings,
        benchmarks=stats.benchmarks,
        last_sequence=stats.last_sequence,
        database_bytes=stats.database_bytes,
        model_id=stats.model_id,
        dim=stats.dim,
        first_seen_us=stats.first_seen_us,
        last_seen_us=stats.last_seen_us,
        unclean_start=stats.unclean_start,
        runs_cut_off=stats.runs_cut_off,
        snapshots_refused=stats.snapshots_refused,
        backlog=admin_service_pb2.Backlog(
            texts=stats.backlog.texts,
            tokens=stats.backlog.tokens,
            oldest_s=stats.backlog.oldest_s,
            tokens_per_s=stats.backlog.tokens_per_s,
        ),
        index_segments=[_segment_to_wire(segment) for segment in stats.segments],
    )


def stats_from_wire(message: admin_service_pb2.GetStatsResponse) -> Stats:
    """What the service holds."""
    return Stats(
        exchanges=message.exchanges,
        accounts=message.accounts,
        texts=message.texts,
        pending_texts=message.pending_texts,
        runs=message.runs,
        findings=message.findings,
        benchmarks=message.benchmarks,
        last_sequence=Sequence(message.last_sequence),
        database_bytes=message.database_bytes,
        model_id=message.model_id,
        dim=message.dim,
        first_seen_us=message.first_seen_us,
        last_seen_us=message.last_seen_us,
        unclean_start=message.unclean_start,
        runs_cut_off=message.runs_cut_off,
        snapshots_refused=message.snapshots_refused,
        backlog=Backlog(
            message.backlog.texts, message.backlog.tokens, message.backlog.oldest_s, message.backlog.tokens_per_s
        ),
        segments=tuple(_segment_from_wire(segment) for segment in message.index_segments),
    )


def _segment_to_wire(segment: SegmentState) -> admin_service_pb2.IndexSegment:
    return admin_service_pb2.IndexSegment(
        field=TEXT_FIELDS[segment.field],
        rows=segment.rows,
        tail_rows=segment.tail_rows,
        lists=segment.lists,
        probes=segment.probes,
        recall=segment.recall or 0.0,
    )


def _segment_from_wire(message: admin_service_pb2.IndexSegment) -> SegmentState:
    return SegmentState(
        field=text_field_from_wire(message.field),
        rows=message.rows,
        tail_rows=message.tail_rows,
        lists=message.lists,
        probes=message.probes,
        recall=message.recall or None,
    )


def webhook_to_wire(state: WebhookState) -> admin_service_pb2.Webhook:
    """How far an endpoint has been told."""
    return admin_service_pb2.Webhook(**{item.name: getattr(state, item.name) for item in fields(WebhookState)})


def webhook_from_wire(message: admin_service_pb2.Webhook) -> WebhookState:
    """How far an endpoint has been told."""
    return WebhookState(**{item.name: getattr(message, item.name) for item in fields(WebhookState)})


def retained_to_wire(retained: Retained) -> admin_service_pb2.RetainResponse:
    """What a sweep let go of."""
    return admin_service_pb2.RetainResponse(**{name: getattr(retained, name) for name in _RETAINED})


def retained_from_wire(message: admin_service_pb2.RetainResponse) -> Retained:
    """What a sweep let go of."""
    return Retained(**{name: getattr(message, name) for name in _RETAINED})


_RETAINED = ("before_us", "texts_before_us", "exchanges", "texts", "contents")


def erasure_to_wire(erasure: Erasure) -> admin_service_pb2.EraseAccountResponse:
    """What was removed; which account is said in the request."""
    return admin_service_pb2.EraseAccountResponse(
        exchanges=erasure.exchanges,
        texts=erasure.texts,
        findings_changed=erasure.findings_changed,
        tombstone=erasure.tombstone,
        proof=None if erasure.proof is None else _proof_to_wire(erasure.proof),
    )


def _proof_to_wire(proof: ErasureProof) -> admin_service_pb2.ErasureProof:
    return admin_service_pb2.ErasureProof(
        **{name: getattr(proof, name) for name in _PROOF_COUNTS},
        residues=[
            admin_service_pb2.Residue(place=item.place, kind=item.kind, count=item.count) for item in proof.residues
        ],
    )


_PROOF_COUNTS = tuple(item.name for item in dataclasses.fields(ErasureProof) if item.name != "residues")


def erasure_from_wire(message: admin_service_pb2.EraseAccountResponse, account_id: AccountId) -> Erasure:
    """What was removed with that account."""
    proof = None
    if message.HasField("proof"):
        proof = ErasureProof(
            **{name: getattr(message.proof, name) for name in _PROOF_COUNTS},
            residues=tuple(Residue(item.place, item.kind, item.count) for item in message.proof.residues),
        )
    return Erasure(account_id, message.exchanges, message.texts, message.findings_changed, message.tombstone, proof)


def backup_to_wire(backup: Backup) -> admin_service_pb2.CreateBackupResponse:
    """A backup that is whole."""
    return admin_service_pb2.CreateBackupResponse(
        path=backup.path,
        created_us=backup.created_us,
        schema_version=backup.schema_version,
        exchanges=backup.exchanges,
        last_sequence=backup.last_sequence,
        files=backup.files,
        size_bytes=backup.size_bytes,
    )


def backup_from_wire(message: admin_service_pb2.CreateBackupResponse) -> Backup:
    """A backup that is whole."""
    return Backup(
        path=message.path,
        created_us=message.created_us,
        schema_version=message.schema_version,
        exchanges=message.exchanges,
        last_sequence=message.last_sequence,
        files=message.files,
        size_bytes=message.size_bytes,
    )


# Errors

STATUS_OF_ERROR: Mapping[type[CoterieError], grpc.StatusCode] = {
    CoterieError: grpc.StatusCode.INTERNAL,
    InvalidError: grpc.StatusCode.INVALID_ARGUMENT,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    ConflictError: grpc.StatusCode.FAILED_PRECONDITION,
    OverloadedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    DeniedError: grpc.StatusCode.PERMISSION_DENIED,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
    CancelledRunError: grpc.StatusCode.CANCELLED,
}
"""The one table between the error tree and the wire."""

RETRY_AFTER_KEY = "retry-after-ms"
FIELD_KEY = "invalid-field"
REASON_KEY = "invalid-reason"
REQUEST_ID_KEY = "x-request-id"
"""Metadata of a call, where the caller names its request, and of its answer, where the server does."""

_METADATA_VALUE_CHARS_MAX = 256


def status_of(error: CoterieError) -> grpc.StatusCode:
    """The status of an error: that of its nearest ancestor in `STATUS_OF_ERROR`."""
    for ancestor in type(error).__mro__:
        if ancestor in STATUS_OF_ERROR:
            return STATUS_OF_ERROR[ancestor]
    raise TypeError(f"{type(error).__name__} is outside the error tree")


def error_metadata(error: CoterieError) -> list[tuple[str, str]]:
    """What a status cannot say, as plain trailing metadata for clients without grpcio-status."""
    if isinstance(error, OverloadedError):
        return [(RETRY_AFTER_KEY, str(max(0, round(error.retry_after_s * 1000))))]
    if isinstance(error, InvalidError):
        return [(FIELD_KEY, _ascii(error.field)), (REASON_KEY, _ascii(error.reason))]
    return []


def error_from_status(code: grpc.StatusCode, message: str, metadata: Mapping[str, str]) -> CoterieError:
    """The domain error of a failed call.

    Args:
        metadata: the trailing metadata; `error_metadata` and the request's id are read from it.
    """
    error = _error_from_status(code, message, metadata)
    error.request_id = metadata.get(REQUEST_ID_KEY, "")
    return error


def _error_from_status(code: grpc.StatusCode, message: str, metadata: Mapping[str, str]) -> CoterieError:
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        return InvalidError(message, field=metadata.get(FIELD_KEY, ""), reason=metadata.get(REASON_KEY, "invalid"))
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        return _exhausted(message, metadata)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return UnavailableError("the server did not answer in time: try again, or allow more time")
    if code is grpc.StatusCode.UNIMPLEMENTED:
        # To try again would be in vain.
        return ConflictError("the server does not know this call: it is older than this client, or not coterie")
    for kind, status in STATUS_OF_ERROR.items():
        if status is code:
            return kind(message)
    return CoterieError(f"{code.name}: {message}")


def _exhausted(message: str, metadata: Mapping[str, str]) -> CoterieError:
    # gRPC itself uses this status for a message over the size limit: sending that again cannot help.
    retry_after = metadata.get(RETRY_AFTER_KEY, "")
    if not retry_after and "larger than max" in message:
        return InvalidError(f"{message}: ask for less, or send less at once", reason="message_too_large")
    return OverloadedError(message, retry_after_s=int(retry_after) / 1000 if retry_after.isdecimal() else 1.0)


def error_from_rpc(error: Any) -> CoterieError:
    """The domain error of a `grpc.RpcError` raised by a call, sync or async."""
    metadata = {key: value for key, value in error.trailing_metadata() or () if isinstance(value, str)}
    return error_from_status(error.code(), error.details() or error.code().name.lower(), metadata)


def _ascii(value: str) -> str:
    return value[:_METADATA_VALUE_CHARS_MAX].encode("ascii", "backslashreplace").decode()
