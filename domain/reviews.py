"""What people decide about findings, and what a finding is under their decisions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from coterie.domain.exchange import format_time
from coterie.domain.findings import (
    Evidence,
    ExcludedAccount,
    Finding,
    FindingAccount,
    Lineage,
    ReviewState,
    Severity,
)
from coterie.domain.ids import AccountId, FindingId, RunId

SERVICE_REVIEWER = "coterie"
"""Reviewer of the entries that the service makes when it carries decisions over to a later run."""

CARRIED_MIN = 0.5
"""Share of a finding's accounts that a dismissal must have been made on to hold for it still."""


class ReviewAction(StrEnum):
    """What was done to a finding. `carry` is the service's own: a decision met what a later run reports."""

    DECIDE = "decide"
    COMMENT = "comment"
    ASSIGN = "assign"
    MERGE = "merge"
    UNMERGE = "unmerge"
    SPLIT = "split"
    RESTORE = "restore"
    CARRY = "carry"


@dataclass(frozen=True, slots=True)
class ReviewBasis:
    """What the finding claimed when a decision was made on it: what calibration holds the decision against.

    Attributes:
        kind: of the finding.
        confidence: 0 to 1.
        accounts: how many it had, those that were excluded left out.
        evidence: the p-value of each piece of evidence; None where it was an effect size.
    """

    kind: str = ""
    confidence: float = 0.0
    accounts: int = 0
    evidence: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Review:
    """One entry in the history of a finding; never changed, only followed by another.

    Attributes:
        decision: the state of the finding from here on; of an entry that decides nothing, as it was.
        reviewer: who; "" when unknown.
        action: what was done.
        assignee: of `assign`: to whom; "" takes the finding from everybody.
        findings: of `merge` and `unmerge`: the other findings.
        accounts: of `split`, `restore` and `carry`: the accounts.
        version: the number of the entry, which is the finding's version from here on; given by the store.
        run_id: the run whose report was looked at; filled in by the store.
        basis: what that report claimed; filled in by the store.
    """

    finding_id: FindingId
    decision: ReviewState
    reason: str
    reviewer: str
    time_us: int
    action: ReviewAction = ReviewAction.DECIDE
    assignee: str = ""
    findings: tuple[FindingId, ...] = ()
    accounts: tuple[AccountId, ...] = ()
    version: int = 0
    run_id: RunId = RunId("")
    basis: ReviewBasis = ReviewBasis()


def review_basis(finding: Finding) -> ReviewBasis:
    """What a finding claims now."""
    return ReviewBasis(
        finding.kind.value,
        finding.confidence,
        len(finding.accounts),
        {item.name: item.p_value for item in finding.evidence},
    )


def review_to_json(entry: Review) -> dict[str, Any]:
    """The JSON form of an entry in a history."""
    return {
        "decision": entry.decision.value,
        "reason": entry.reason,
        "reviewer": entry.reviewer,
        "time": format_time(entry.time_us),
        "action": entry.action.value,
        "version": entry.version,
        "finding_id": entry.finding_id,
        "run_id": entry.run_id,
        "assignee": entry.assignee,
        "findings": list(entry.findings),
        "accounts": list(entry.accounts),
        "seen": {"confidence": entry.basis.confidence, "accounts": entry.basis.accounts},
    }


def without_excluded(finding: Finding, excluded: Sequence[ExcludedAccount]) -> Finding:
    """The finding without the accounts that a reviewer found not to be part of it; they are told, never dropped.

    Evidence, title and counts stay those of the whole pool, as the run tested it, and a piece of counter-evidence says
    so.

    Args:
        excluded: every account that was ever excluded from it. Those that the run has not put into it are passed over.
    """
    by = {item.account_id: item for item in excluded}
    held = [account for account in finding.accounts if account.account_id in by]
    came = [joined for joined in finding.joined_since if joined.account_id in by]
    if not held and not came:
        return finding
    told = [replace(by[item.account_id], exchanges=item.exchanges) for item in held]
    told += [by[item.account_id] for item in came if item.account_id not in {account.account_id for account in held}]
    return replace(
        finding,
        accounts=tuple(account for account in finding.accounts if account.account_id not in by),
        joined_since=tuple(joined for joined in finding.joined_since if joined.account_id not in by),
        excluded=tuple(told),
        counter_evidence=(_exclusion_evidence(finding, len(held), told), *finding.counter_evidence),
    )


def _exclusion_evidence(finding: Finding, held: int, told: Sequence[ExcludedAccount]) -> Evidence:
    exchanges, everything = sum(item.exchanges for item in told), sum(item.exchanges for item in finding.accounts)
    return Evidence(
        name="excluded_by_review",
        statistic="accounts that reviewers found not to be part of it",
        value=float(len(told)),
        null="none: a person's decision",
        summary=(
            f"Accounts excluded by review: {len(told)}. The run put {held} of its {len(finding.accounts)} accounts, "
            f"with {exchanges:,} of {everything:,} exchanges, into the pool in spite of that; its figures are of all."
        ),
    )


def merged_finding(into: FindingId, parts: Sequence[Finding]) -> Finding:
    """Several findings of one run that a reviewer found to be one campaign, as one.

    What is strongest of them gives its claim: the parts that are not gone, by severity and confidence. Accounts,
    families, texts and exemplars are those of all; an account in several parts counts the exchanges of each.

    Args:
        into: the id that they have together.
        parts: at least one, of one run and one kind.
    """
    standing = [part for part in parts if part.lineage is not Lineage.GONE] or list(parts)
    order = sorted(standing, key=lambda part: (-_RANK[part.severity], -part.confidence, part.finding_id))
    first = order[0]
    if len(order) == 1:
        return replace(first, finding_id=into)
    accounts = _accounts(order)
    joined = {item.account_id: item for part in reversed(order) for item in part.joined_since}
    return replace(
        first,
        finding_id=into,
        title=f"{len(accounts)} accounts in {len(order)} findings that review made one. The clearest: {first.title}",
        accounts=accounts,
        families=tuple({item.family_id: item for part in reversed(order) for item in part.families}.values()),
        benchmarks=tuple({item.name: item for part in reversed(order) for item in part.benchmarks}.values()),
        first_seen_us=min(part.first_seen_us for part in order),
        last_seen_us=max(part.last_seen_us for part in order),
        evidence=tuple(item for part in order for item in _of_part(part, part.evidence, first)),
        counter_evidence=tuple(item for part in order for item in _of_part(part, part.counter_evidence, first)),
        exemplars=tuple(dict.fromkeys(item for part in order for item in part.exemplars)),
        lineage_of=tuple(dict.fromkeys(item for part in order for item in part.lineage_of)),
        text_ids=tuple(sorted({item for part in order for item in part.text_ids})),
        provisional=all(part.provisional for part in order),
        returned=all(part.returned for part in order),
        joined_since=tuple(
            sorted(
                (item for item in joined.values() if item.account_id not in {each.account_id for each in accounts}),
                key=lambda item: (item.time_us, item.account_id),
            )
        ),
        merged=tuple(sorted(part.finding_id for part in order if part.finding_id != into)),
    )


_RANK = {severity: rank for rank, severity in enumerate(Severity)}


def _of_part(part: Finding, evidence: Sequence[Evidence], first: Finding) -> list[Evidence]:
    if part is first:
        return list(evidence)
    return [replace(item, summary=f"Of {part.finding_id}: {item.summary}") for item in evidence]


def _accounts(parts: Sequence[Finding]) -> tuple[FindingAccount, ...]:
    found: dict[AccountId, FindingAccount] = {}
    for part in parts:
        for account in part.accounts:
            before = found.get(account.account_id)
            found[account.account_id] = account if before is None else _together(before, account)
    return tuple(sorted(found.values(), key=lambda item: (-item.exchanges, item.account_id)))


def _together(one: FindingAccount, other: FindingAccount) -> FindingAccount:
    return FindingAccount(
        one.account_id,
        one.exchanges + other.exchanges,
        one.distinct_texts + other.distinct_texts,
        min(1.0, one.share_of_traffic + other.share_of_traffic),
        min(one.first_seen_us, other.first_seen_us),
        max(one.last_seen_us, other.last_seen_us),
    )
