"""The JSON form of a finding is the fixed contract of `coterie findings --json`."""

import json
from dataclasses import replace

import pytest

from coterie.domain import (
    AccountId,
    Evidence,
    ExchangeId,
    FamilyId,
    Finding,
    FindingAccount,
    FindingBenchmark,
    FindingFamily,
    FindingId,
    FindingKind,
    Lineage,
    ReviewState,
    RunId,
    Severity,
    TextId,
    evidence_to_json,
    finding_to_json,
)

FINDING = Finding(
    finding_id=FindingId("f-1"),
    kind=FindingKind.CAMPAIGN,
    severity=Severity.HIGH,
    confidence=0.875,
    title="2 accounts share one work list",
    accounts=(
        FindingAccount(AccountId("a-1"), 12, 10, 0.5, 1_769_846_400_000_000, 1_769_846_460_000_000),
        FindingAccount(AccountId("a-2"), 3, 3, 1.0, 1_769_846_400_250_000, 1_769_846_400_250_000),
    ),
    families=(FindingFamily(FamilyId("family-7"), texts=40, accounts=2),),
    benchmarks=(FindingBenchmark("gsm8k", items_matched=9, coverage=0.25),),
    first_seen_us=1_769_846_400_000_000,
    last_seen_us=1_769_846_460_000_000,
    evidence=(Evidence("shared_pool", "texts both sent", 9.0, "0.2 by chance", "They share 9 texts.", p_value=0.001),),
    counter_evidence=(Evidence("own_texts", "share sent by one only", 0.1, "none", "A tenth is their own."),),
    exemplars=(ExchangeId("e-1"), ExchangeId("e-2")),
    lineage=Lineage.MERGED,
    lineage_of=(FindingId("f-0"),),
    review=ReviewState.WATCHED,
    run_id=RunId("r-1"),
    text_ids=(TextId(4711),),
)
CONTRACT = {
    "finding_id": "f-1",
    "kind": "campaign",
    "severity": "high",
    "confidence": 0.875,
    "lineage": "merged",
    "lineage_of": ["f-0"],
    "review": "watched",
    "title": "2 accounts share one work list",
    "accounts": [
        {
            "account_id": "a-1",
            "exchanges": 12,
            "distinct_texts": 10,
            "share_of_traffic": 0.5,
            "first_seen": "2026-01-31T08:00:00Z",
            "last_seen": "2026-01-31T08:01:00Z",
        },
        {
            "account_id": "a-2",
            "exchanges": 3,
            "distinct_texts": 3,
            "share_of_traffic": 1.0,
            "first_seen": "2026-01-31T08:00:00.250000Z",
            "last_seen": "2026-01-31T08:00:00.250000Z",
        },
    ],
    "families": [{"family_id": "family-7", "texts": 40, "accounts": 2}],
    "benchmarks": [{"name": "gsm8k", "items_matched": 9, "coverage": 0.25}],
    "first_seen": "2026-01-31T08:00:00Z",
    "last_seen": "2026-01-31T08:01:00Z",
    "evidence": [
        {
            "name": "shared_pool",
            "statistic": "texts both sent",
            "value": 9.0,
            "null": "0.2 by chance",
            "p_value": 0.001,
            "summary": "They share 9 texts.",
        }
    ],
    "counter_evidence": [
        {
            "name": "own_texts",
            "statistic": "share sent by one only",
            "value": 0.1,
            "null": "none",
            "summary": "A tenth is their own.",
        }
    ],
    "exemplars": ["e-1", "e-2"],
    "provisional": False,
    "returned": False,
    "joined_since": [],
    "version": 0,
    "assignee": "",
    "excluded": [],
    "merged": [],
    "suppressed": None,
}


def test_a_finding_has_the_form_of_the_contract() -> None:
    assert json.loads(json.dumps(finding_to_json(FINDING))) == CONTRACT


def test_text_ids_never_leave_the_service() -> None:
    assert "4711" not in json.dumps(finding_to_json(FINDING))


def test_an_empty_finding_keeps_every_key() -> None:
    empty = replace(FINDING, accounts=(), families=(), benchmarks=(), evidence=(), counter_evidence=(), exemplars=())
    record = finding_to_json(empty)
    assert record.keys() == CONTRACT.keys()
    assert record["accounts"] == record["families"] == record["benchmarks"] == record["exemplars"] == []


def test_a_p_value_of_zero_is_told_and_an_absent_one_is_left_out() -> None:
    evidence = FINDING.evidence[0]
    assert evidence_to_json(replace(evidence, p_value=0.0))["p_value"] == 0.0
    assert "p_value" not in evidence_to_json(replace(evidence, p_value=None))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (FindingKind, "campaign benchmark_run"),
        (Severity, "low medium high critical"),
        (Lineage, "new growing steady gone merged split"),
        (ReviewState, "open watched escalated confirmed dismissed"),
    ],
)
def test_the_words_are_those_of_the_contract(
    kind: type[FindingKind | Severity | Lineage | ReviewState], words: str
) -> None:
    assert [member.value for member in kind] == words.split()


def test_a_review_changes_nothing_else() -> None:
    reviewed = FINDING.with_review(ReviewState.DISMISSED)
    assert reviewed.review is ReviewState.DISMISSED
    assert replace(reviewed, review=FINDING.review) == FINDING
