"""What a run reports: findings and the evidence in them, as values with one JSON form."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from coterie.domain.exchange import format_time
from coterie.domain.ids import AccountId, ExchangeId, FamilyId, FindingId, RunId, TextId
from coterie.domain.watching import JoinedAccount


class FindingKind(StrEnum):
    """`campaign`: several accounts acting as one. `benchmark_run`: benchmark-like queries, no coordination found."""

    CAMPAIGN = "campaign"
    BENCHMARK_RUN = "benchmark_run"


class Severity(StrEnum):
    """How much was harvested, not how sure we are."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Lineage(StrEnum):
    """How a finding relates to those of the run before."""

    NEW = "new"
    GROWING = "growing"
    STEADY = "steady"
    GONE = "gone"
    MERGED = "merged"
    SPLIT = "split"


class ReviewState(StrEnum):
    """What a person made of a finding."""

    OPEN = "open"
    WATCHED = "watched"
    ESCALATED = "escalated"
    CONFIRMED = "confirmed"
    DISMISSED = "dismissed"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One named, tested reason for or against a finding.

    Attributes:
        statistic: what was measured, in words.
        value: its observed value.
        null: the null model it was held against and what that gives.
        p_value: probability of a value as extreme under the null; None where the evidence is an effect size.
        summary: one sentence an analyst can read aloud.
    """

    name: str
    statistic: str
    value: float
    null: str
    summary: str
    p_value: float | None = None


@dataclass(frozen=True, slots=True)
class FindingAccount:
    """An account's part in a finding: counts are of its exchanges inside the finding's pool."""

    account_id: AccountId
    exchanges: int
    distinct_texts: int
    share_of_traffic: float
    first_seen_us: int
    last_seen_us: int


@dataclass(frozen=True, slots=True)
class ExcludedAccount:
    """An account that a run put into a finding, and that a reviewer found not to be part of it.

    Attributes:
        exchanges: its exchanges inside the finding's pool, as the run counts them; 0 where it only came since.
        reviewer, reason, time_us: who excluded it, why and when, microseconds since the epoch.
    """

    account_id: AccountId
    exchanges: int
    reviewer: str
    reason: str
    time_us: int


@dataclass(frozen=True, slots=True)
class Suppression:
    """A rule that explains a finding.

    Attributes:
        kind: of the rule.
        summary: why it explains the finding, in one sentence.
        reason, creator: why the rule was made, and by whom.
        expires_us: when the rule ends, microseconds since the epoch; 0 is never.
    """

    rule_id: str
    kind: str
    summary: str
    reason: str
    creator: str
    expires_us: int = 0


@dataclass(frozen=True, slots=True)
class FindingFamily:
    """A family that the finding's queries fall into; counts are of the whole family."""

    family_id: FamilyId
    texts: int
    accounts: int


@dataclass(frozen=True, slots=True)
class FindingBenchmark:
    """A registered benchmark that the finding's queries match; `coverage` is matched items over all items."""

    name: str
    items_matched: int
    coverage: float


@dataclass(frozen=True, slots=True)
class Finding:
    """What a run reports and an analyst reviews; keeps its identity from run to run.

    Attributes:
        text_ids: the distinct prompts of its pool: they identify it in later runs and never leave the service.
        provisional: it was found by a run that was started early because a pool was growing, and by no other yet.
        returned: it was gone in the run before and came back under its id; `lineage` then says how it is beside what it
            was when it went.
        joined_since: accounts that came to its pool after the run; kept apart from it, filled in when it is read.
        version: the number of the last entry in its history, 0 before the first; like the rest, filled in when read.
        assignee: whose it is to look at; "" for nobody's.
        excluded: accounts that the run put into it and a reviewer took out; they are not among `accounts`.
        merged: other findings of the run that a reviewer made one with it.
        suppressed: the rule that explains it; None for none.
    """

    finding_id: FindingId
    kind: FindingKind
    severity: Severity
    confidence: float
    title: str
    accounts: tuple[FindingAccount, ...]
    families: tuple[FindingFamily, ...]
    benchmarks: tuple[FindingBenchmark, ...]
    first_seen_us: int
    last_seen_us: int
    evidence: tuple[Evidence, ...]
    counter_evidence: tuple[Evidence, ...]
    exemplars: tuple[ExchangeId, ...]
    lineage: Lineage = Lineage.NEW
    lineage_of: tuple[FindingId, ...] = ()
    review: ReviewState = ReviewState.OPEN
    run_id: RunId = RunId("")
    text_ids: tuple[TextId, ...] = ()
    provisional: bool = False
    joined_since: tuple[JoinedAccount, ...] = ()
    version: int = 0
    assignee: str = ""
    excluded: tuple[ExcludedAccount, ...] = ()
    merged: tuple[FindingId, ...] = ()
    suppressed: Suppression | None = None
    returned: bool = False

    @property
    def accuses(self) -> bool:
        """Whether its run found it, and neither a person nor a rule says that it is innocent."""
        return self.lineage is not Lineage.GONE and self.review is not ReviewState.DISMISSED and self.suppressed is None

    def with_review(self, review: ReviewState) -> "Finding":
        """The same finding under another review state."""
        return replace(self, review=review)


def evidence_to_json(evidence: Evidence) -> dict[str, Any]:
    """The JSON form of one piece of evidence."""
    record: dict[str, Any] = {
        "name": evidence.name,
        "statistic": evidence.statistic,
        "value": evidence.value,
        "null": evidence.null,
        "summary": evidence.summary,
    }
    if evidence.p_value is not None:
        record["p_value"] = evidence.p_value
    return record


def suppression_to_json(suppression: Suppression) -> dict[str, Any]:
    """The JSON form of what suppresses a finding."""
    return {
        "rule_id": suppression.rule_id,
        "kind": suppression.kind,
        "summary": suppression.summary,
        "reason": suppression.reason,
        "creator": suppression.creator,
        "expires": format_time(suppression.expires_us) if suppression.expires_us else None,
    }


def finding_to_json(finding: Finding) -> dict[str, Any]:
    """The JSON form of a finding: the fixed contract of `coterie findings --json`."""
    return {
        "finding_id": finding.finding_id,
        "kind": finding.kind.value,
        "severity": finding.severity.value,
        "confidence": finding.confidence,
        "lineage": finding.lineage.value,
        "lineage_of": list(finding.lineage_of),
        "review": finding.review.value,
        "provisional": finding.provisional,
        "returned": finding.returned,
        "title": finding.title,
        "accounts": [
            {
                "account_id": account.account_id,
                "exchanges": account.exchanges,
                "distinct_texts": account.distinct_texts,
                "share_of_traffic": account.share_of_traffic,
                "first_seen": format_time(account.first_seen_us),
                "last_seen": format_time(account.last_seen_us),
            }
            for account in finding.accounts
        ],
        "families": [
            {"family_id": family.family_id, "texts": family.texts, "accounts": family.accounts}
            for family in finding.families
        ],
        "benchmarks": [
            {"name": hit.name, "items_matched": hit.items_matched, "coverage": hit.coverage}
            for hit in finding.benchmarks
        ],
        "first_seen": format_time(finding.first_seen_us),
        "last_seen": format_time(finding.last_seen_us),
        "evidence": [evidence_to_json(item) for item in finding.evidence],
        "counter_evidence": [evidence_to_json(item) for item in finding.counter_evidence],
        "exemplars": list(finding.exemplars),
        "joined_since": [
            {
                "account_id": joined.account_id,
                "first_seen": format_time(joined.time_us),
                "prompts": joined.prompts,
                "p_value": joined.p_value,
            }
            for joined in finding.joined_since
        ],
        "version": finding.version,
        "assignee": finding.assignee,
        "excluded": [
            {
                "account_id": account.account_id,
                "exchanges": account.exchanges,
                "reviewer": account.reviewer,
                "reason": account.reason,
                "time": format_time(account.time_us),
            }
            for account in finding.excluded
        ],
        "merged": list(finding.merged),
        "suppressed": None if finding.suppressed is None else suppression_to_json(finding.suppressed),
    }


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one account stands in a run: in which findings, and if in none, how near it came.

    Attributes:
        exchanges: its exchanges in the window.
        findings: ids of findings that hold it.
        nearest_candidate: what the pool nearest to accusing it looked like; empty when it was in no candidate.
        nearest_p_value: the evidence against that pool, combined; None when it was in no candidate.
        reason: why that pool was not reported, or why there was none.
        pool_exchanges: how many of the account's exchanges were in that pool.
    """

    account_id: AccountId
    exchanges: int
    findings: tuple[FindingId, ...] = ()
    nearest_candidate: str = ""
    nearest_p_value: float | None = None
    reason: str = ""
    pool_exchanges: int = 0
