from dataclasses import fields, replace

import grpc
import pytest

from coterie.client import wire
from coterie.domain import (
    AccountFamily,
    AccountReport,
    Benchmark,
    BenchmarkItem,
    BenchmarkMatch,
    ConflictError,
    CoterieError,
    Erasure,
    Evidence,
    Exchange,
    ExcludedAccount,
    Family,
    FamilyLineage,
    Finding,
    FindingAccount,
    FindingBenchmark,
    FindingFamily,
    FindingKind,
    Hit,
    IngestResult,
    InvalidError,
    JoinedAccount,
    Lineage,
    OverloadedError,
    ParameterSet,
    Rejection,
    Review,
    ReviewState,
    Run,
    RunState,
    SearchFilter,
    SearchResult,
    Severity,
    Slice,
    Standing,
    Stats,
    Suppression,
    TextField,
    UnavailableError,
)

EXCHANGE = Exchange(
    "x1",
    "a1",
    1_700_000_000_000_001,
    "a prompt\x1b[31m",
    "an answer",
    "be brief",
    "c1",
    0,
    "m1",
    0,
    12,
    0.0,
    {"asn": "1"},
)  # type: ignore[arg-type]
EVIDENCE = Evidence("order", "rank correlation", 0.5, "shuffled: 0", "They keep the order.", 0.0)
FINDING = Finding(
    finding_id="f1",  # type: ignore[arg-type]
    kind=FindingKind.BENCHMARK_RUN,
    severity=Severity.CRITICAL,
    confidence=0.25,
    title="one account works through a benchmark",
    accounts=(FindingAccount("a1", 5, 4, 0.5, 10, 20),),  # type: ignore[arg-type]
    families=(FindingFamily("fam", 3, 2),),  # type: ignore[arg-type]
    benchmarks=(FindingBenchmark("gsm", 7, 0.125),),
    first_seen_us=10,
    last_seen_us=20,
    evidence=(EVIDENCE,),
    counter_evidence=(replace(EVIDENCE, name="payment", p_value=None),),
    exemplars=("x1", "x2"),  # type: ignore[arg-type]
    lineage=Lineage.MERGED,
    lineage_of=("f0", "f9"),  # type: ignore[arg-type]
    review=ReviewState.WATCHED,
    run_id="r1",  # type: ignore[arg-type]
    provisional=True,
    returned=True,
    joined_since=(JoinedAccount("a9", 30, 4, 1e-6),),  # type: ignore[arg-type]
    version=7,
    assignee="kim",
    excluded=(ExcludedAccount("a8", 3, "ann", "a shared office", 9),),  # type: ignore[arg-type]
    merged=("f2", "f3"),  # type: ignore[arg-type]
    suppressed=Suppression("rule-3", "family", "All of it is a course.", "a course", "kim", 9),
)
RUN = Run("r1", RunState.FAILED, 1, "schedule", 2, 3, 4, 5, "embed", 0.5, "disk full", {"n": 2.0}, {"k": 30.0})  # type: ignore[arg-type]
SLICE = Slice(("m1",), ("a1", "a2"), {"organisation": "o"}, 7, TextField.RESPONSE)  # type: ignore[arg-type]
FAMILY = Family(
    family_id="family-9",  # type: ignore[arg-type]
    texts=5,
    exchanges=9,
    accounts=3,
    lineage=FamilyLineage.MERGED,
    gate_distance=0.625,
    exemplar="x1",  # type: ignore[arg-type]
    first_seen_us=10,
    last_seen_us=20,
    lineage_of=("family-1", "family-9"),  # type: ignore[arg-type]
    run_id="r1",  # type: ignore[arg-type]
    joined=4,
)
STANDING = Standing("a1", 4, ("f1",), "pool of 3 accounts", 0.0, "too few texts", 2)  # type: ignore[arg-type]


def through(message):
    """The message as the other side reads it."""
    return type(message).FromString(message.SerializeToString())


@pytest.mark.parametrize(
    ("value", "to_wire", "from_wire"),
    [
        (EXCHANGE, wire.exchange_to_wire, wire.exchange_from_wire),
        (Exchange("x", "a", 3, "p"), wire.exchange_to_wire, wire.exchange_from_wire),  # type: ignore[arg-type]
        (
            IngestResult(3, 2, (Rejection(4, "x9", "bad_time", "time must ..."),), 77),  # type: ignore[arg-type]
            wire.ingest_result_to_wire,
            wire.ingest_result_from_wire,
        ),
        (SearchFilter(), wire.filter_to_wire, wire.filter_from_wire),
        (SearchFilter(("a", "b"), ("m",), 0, 5, {"asn": "7"}), wire.filter_to_wire, wire.filter_from_wire),  # type: ignore[arg-type]
        (SearchResult((Hit(EXCHANGE, 0.5),), 11, 22), wire.search_result_to_wire, wire.search_result_from_wire),
        (RUN, wire.run_to_wire, wire.run_from_wire),
        (
            replace(RUN, slice=SLICE, sets=(ParameterSet(5, 10), ParameterSet(0, 20))),
            wire.run_to_wire,
            wire.run_from_wire,
        ),
        (FINDING, wire.finding_to_wire, wire.finding_from_wire),
        (EVIDENCE, wire.evidence_to_wire, wire.evidence_from_wire),
        (
            AccountReport(9, "r1", STANDING, (FINDING,), (AccountFamily("family-3", 5, 2),)),  # type: ignore[arg-type]
            wire.account_report_to_wire,
            wire.account_report_from_wire,
        ),
        (
            AccountReport(0, "", Standing("a9", 0)),  # type: ignore[arg-type]
            wire.account_report_to_wire,
            wire.account_report_from_wire,
        ),
        (FAMILY, wire.family_to_wire, wire.family_from_wire),
        (Benchmark("gsm", 7, 8), wire.benchmark_to_wire, wire.benchmark_from_wire),
        (BenchmarkItem("i1", "2 + 2?", "4"), wire.benchmark_item_to_wire, wire.benchmark_item_from_wire),
        ([BenchmarkMatch("gsm", "i1", "verbatim", 1.0)], wire.text_matches_to_wire, wire.text_matches_from_wire),
        (Stats(1, 2, 3, 4, 5, 6, 7, 8, 9, "m", 10, 11, 12), wire.stats_to_wire, wire.stats_from_wire),  # type: ignore[arg-type]
    ],
)
def test_values_survive_the_wire(value, to_wire, from_wire):
    assert from_wire(through(to_wire(value))) == value


def test_a_run_of_an_older_server_is_whole():
    message = wire.run_to_wire(RUN)
    message.ClearField("slice")
    assert wire.run_from_wire(through(message)).slice.is_whole


def test_review_and_erasure_get_their_subject_from_the_request():
    review = Review("f1", ReviewState.DISMISSED, "a shared office", "kim", 9)  # type: ignore[arg-type]
    assert wire.review_from_wire(through(wire.review_to_wire(review)), review.finding_id) == review
    erasure = Erasure("a1", 3, 2, 1)  # type: ignore[arg-type]
    assert wire.erasure_from_wire(through(wire.erasure_to_wire(erasure)), erasure.account_id) == erasure


def test_text_ids_never_leave_the_service():
    message = wire.finding_to_wire(replace(FINDING, text_ids=(1, 2)))  # type: ignore[arg-type]
    assert wire.finding_from_wire(message).text_ids == ()
    assert {item.name for item in fields(Finding)} - {"text_ids"} <= set(message.DESCRIPTOR.fields_by_name)


@pytest.mark.parametrize(
    "table", [wire.TEXT_FIELDS, wire.RUN_STATES, wire.KINDS, wire.SEVERITIES, wire.LINEAGES, wire.REVIEW_STATES]
)
def test_enums_are_one_to_one_and_never_zero(table):
    assert len(set(table.values())) == len(table)
    assert 0 not in table.values()
    for member, number in table.items():
        assert wire.enum_from_wire(table, number, "field") is member


def test_enum_numbers_that_mean_nothing_are_refused_by_name():
    with pytest.raises(InvalidError, match="decision is unspecified: use one of open, watched"):
        wire.enum_from_wire(wire.REVIEW_STATES, 0, "decision")
    with pytest.raises(InvalidError, match="kind has the unknown number 99"):
        wire.enum_filter_from_wire(wire.KINDS, 99, "kind")
    assert wire.enum_filter_from_wire(wire.KINDS, 0, "kind") is None
    assert wire.text_field_from_wire(0) is TextField.PROMPT
    assert wire.text_field_from_wire(2) is TextField.RESPONSE


def error_classes(kind=CoterieError):
    """The tree that goes over the wire; other packages may be loaded, with errors of their own."""
    yield kind
    for child in kind.__subclasses__():
        if child.__module__.startswith("coterie.domain"):
            yield from error_classes(child)


@pytest.mark.parametrize("kind", list(error_classes()))
def test_every_error_of_the_tree_comes_back_as_itself(kind):
    assert kind in wire.STATUS_OF_ERROR, "a new error needs a line in STATUS_OF_ERROR"
    sent = kind("what to do")
    received = wire.error_from_status(wire.status_of(sent), str(sent), dict(wire.error_metadata(sent)))
    assert type(received) is kind
    assert "what to do" in str(received)


def test_errors_carry_their_details():
    sent = InvalidError("no", field="prömpt", reason="too_long")
    received = wire.error_from_status(wire.status_of(sent), "no", dict(wire.error_metadata(sent)))
    assert isinstance(received, InvalidError)
    assert (received.field, received.reason) == ("pr\\xf6mpt", "too_long")
    sent_overload = OverloadedError("full", retry_after_s=2.5)
    overload = wire.error_from_status(wire.status_of(sent_overload), "full", dict(wire.error_metadata(sent_overload)))
    assert isinstance(overload, OverloadedError)
    assert overload.retry_after_s == 2.5


@pytest.mark.parametrize(
    ("code", "message", "kind", "part"),
    [
        (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", UnavailableError, "in time"),
        (grpc.StatusCode.UNIMPLEMENTED, "Method not found!", ConflictError, "does not know this call"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!", OverloadedError, "limit"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Sent message larger than max (9 vs. 8)", InvalidError, "send less"),
        (grpc.StatusCode.DATA_LOSS, "gone", CoterieError, "DATA_LOSS: gone"),
    ],
)
def test_statuses_that_grpc_makes_itself_say_what_to_do(code, message, kind, part):
    received = wire.error_from_status(code, message, {})
    assert type(received) is kind
    assert part in str(received)
