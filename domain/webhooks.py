"""What endpoints are told of findings, and how far each has been told."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from coterie.domain.exchange import format_time
from coterie.domain.findings import Finding, Lineage

WEBHOOK_ACCOUNTS_MAX = 1_000
"""Accounts of a finding that a message lists; `accounts_total` is their number."""


class EventCause(StrEnum):
    """Why a finding is in the outbox."""

    REPORTED = "reported"
    REVIEWED = "reviewed"
    JOINED = "joined"


@dataclass(frozen=True, slots=True)
class OutboxEvent:
    """One event of the outbox.

    Attributes:
        event: its number.
        cause: None for an event from before there were causes.
        finding: as its run reports it, under what was decided by now.
    """

    event: int
    cause: EventCause | None
    finding: Finding


@dataclass(frozen=True, slots=True)
class WebhookState:
    """How far an endpoint has been told.

    Attributes:
        url: without query, which may hold a secret; "" for an endpoint that is no longer configured.
        cursor: the last event that was delivered, passed over, or given up.
        delivered, dead: events since ever that it took, and those it did not take in time, of which replay is possible.
        failures: tries that failed since the last that did not.
        failing_since_us: since when, microseconds since the epoch; 0 while it takes what comes.
        last_error: why the last try failed; empty after one that did not.
    """

    name: str
    url: str
    cursor: int
    delivered: int
    dead: int
    failures: int
    failing_since_us: int
    last_error: str


def webhook_type(event: OutboxEvent) -> str:
    """The type of the message of an event; empty for one that changes nothing: a run found the finding as it was."""
    if event.cause is EventCause.REVIEWED:
        return "finding.reviewed"
    if event.finding.lineage is Lineage.NEW and event.cause is not EventCause.JOINED:
        return "finding.appeared"
    if event.finding.lineage is Lineage.STEADY and not event.finding.returned and event.cause is EventCause.REPORTED:
        return ""
    return "finding.changed"


def webhook_body(event: OutboxEvent, kind: str, time_us: int) -> dict[str, Any]:
    """The message of an event: what the finding claims, in numbers and ids. It holds no text that a person wrote."""
    finding = event.finding
    return {
        "type": kind,
        "timestamp": format_time(time_us),
        "data": {
            "event": event.event,
            "finding_id": finding.finding_id,
            "run_id": finding.run_id,
            "kind": finding.kind.value,
            "severity": finding.severity.value,
            "confidence": finding.confidence,
            "lineage": finding.lineage.value,
            "lineage_of": list(finding.lineage_of),
            "review": finding.review.value,
            "version": finding.version,
            "assignee": finding.assignee,
            "provisional": finding.provisional,
            "returned": finding.returned,
            "suppressed_by": finding.suppressed.rule_id if finding.suppressed else None,
            "accounts_total": len(finding.accounts),
            "accounts": [account.account_id for account in finding.accounts[:WEBHOOK_ACCOUNTS_MAX]],
            "joined_since": [account.account_id for account in finding.joined_since[:WEBHOOK_ACCOUNTS_MAX]],
            "exchanges": sum(account.exchanges for account in finding.accounts),
            "benchmarks": [{"name": hit.name, "coverage": hit.coverage} for hit in finding.benchmarks],
            "first_seen": format_time(finding.first_seen_us),
            "last_seen": format_time(finding.last_seen_us),
            "evidence": [
                {"name": item.name, "value": item.value, "p_value": item.p_value} for item in finding.evidence
            ],
        },
    }
