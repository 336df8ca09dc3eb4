"""OCSF 1.5.0: each finding as a Detection Finding (class 2004), one event a line."""

import json
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from typing import Any

from coterie.domain import Dossier, Finding, FindingKind, Lineage, ReviewState, Severity
from coterie.exports.content import PRODUCT, TECHNIQUES, Marking, need, refuse, summary, texts
from coterie.exports.report import claim

OCSF_VERSION = "1.5.0"
_CLASS_UID, _CATEGORY_UID = 2004, 2
_CREATE, _UPDATE, _CLOSE = 1, 2, 3
_SEVERITIES = {Severity.LOW: 2, Severity.MEDIUM: 3, Severity.HIGH: 4, Severity.CRITICAL: 5}
_NEW, _IN_PROGRESS, _SUPPRESSED = 1, 2, 3
_STATES = {ReviewState.OPEN: _NEW, ReviewState.DISMISSED: _SUPPRESSED}
_STATISTICAL = 3
"""The kind of analytic."""


def write_ocsf(dossiers: Sequence[Dossier], marking: Marking) -> bytes:
    """The events of some findings as JSON lines, each checked against the schema.

    Raises:
        InvalidError: the schema's library is not installed.
    """
    events = [_event(dossier, marking) for dossier in dossiers]
    for event in events:
        problem = _problem(event)
        assert problem is None, problem
    return "".join(json.dumps(event, sort_keys=True, ensure_ascii=False) + "\n" for event in events).encode()


def read_ocsf(content: bytes) -> list[dict[str, Any]]:
    """The findings of events, each as it was passed on.

    Raises:
        InvalidError: a line that the schema does not allow, or without a finding of coterie's.
    """
    found: list[dict[str, Any]] = []
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            event = json.loads(line)
        except ValueError as error:
            raise refuse("OCSF event", f"line {number} is not JSON") from error
        problem = _problem(event)
        if problem is not None:
            raise refuse("OCSF event", f"line {number}: {problem}")
        finding = event.get("unmapped", {}).get(PRODUCT)
        if not isinstance(finding, dict):
            raise refuse("OCSF event", f"line {number} holds no finding")
        found.append(finding)
    if not found:
        raise refuse("OCSF event", "it is empty")
    return found


def _event(dossier: Dossier, marking: Marking) -> dict[str, Any]:
    finding = dossier.finding
    activity = _activity(finding)
    state = _STATES.get(finding.review, _IN_PROGRESS)
    evidences: list[dict[str, Any]] = [
        {
            "actor": {"user": {"uid": account.account_id}},
            "data": {"exchanges": account.exchanges, "distinct_texts": account.distinct_texts},
        }
        for account in finding.accounts
    ]
    evidences += [{"data": {"exchange": json.loads(line)}} for _, line in texts(dossier)]
    return {
        "activity_id": activity,
        "category_uid": _CATEGORY_UID,
        "class_uid": _CLASS_UID,
        "class_name": "Detection Finding",
        "category_name": "Findings",
        "type_uid": 100 * _CLASS_UID + activity,
        "time": dossier.run.created_us // 1_000,
        "start_time": finding.first_seen_us // 1_000,
        "end_time": finding.last_seen_us // 1_000,
        "count": sum(account.exchanges for account in finding.accounts),
        "severity_id": _SEVERITIES[finding.severity],
        "confidence_score": round(100 * finding.confidence),
        "status_id": state,
        "status_detail": finding.review.value,
        "is_alert": finding.kind is FindingKind.CAMPAIGN and finding.lineage is not Lineage.GONE,
        "message": claim(finding),
        "metadata": {
            "version": OCSF_VERSION,
            "product": {"name": PRODUCT, "vendor_name": PRODUCT, "version": version(PRODUCT)},
            "uid": f"{finding.finding_id}@{finding.run_id}",
            "labels": [f"tlp:{marking.value}"],
        },
        "finding_info": _info(dossier),
        "evidences": evidences,
        "unmapped": {PRODUCT: summary(finding)},
    }


def _info(dossier: Dossier) -> dict[str, Any]:
    finding = dossier.finding
    first_us = dossier.lineage[0].created_us if dossier.lineage else dossier.run.created_us
    info: dict[str, Any] = {
        "uid": finding.finding_id,
        "title": finding.title,
        "desc": claim(finding),
        "types": [finding.kind.value],
        "created_time": first_us // 1_000,
        "modified_time": dossier.run.created_us // 1_000,
        "first_seen_time": finding.first_seen_us // 1_000,
        "last_seen_time": finding.last_seen_us // 1_000,
        "analytic": {"name": "exchangeability of accounts", "type_id": _STATISTICAL, "version": version(PRODUCT)},
        "related_events_count": sum(account.exchanges for account in finding.accounts),
    }
    if finding.kind is FindingKind.CAMPAIGN:
        info["attacks"] = [
            {"technique": {"uid": item.uid, "name": item.name, "src_url": item.url}} for item in TECHNIQUES
        ]
    return info


def _activity(finding: Finding) -> int:
    if finding.lineage is Lineage.GONE or finding.review is ReviewState.DISMISSED:
        return _CLOSE
    return _CREATE if finding.lineage is Lineage.NEW else _UPDATE


def _problem(event: Any) -> str | None:
    """Where an event is not as the schema has it; never with a value of it, which may be text."""
    error = next(_validator().iter_errors(event), None)
    if error is None:
        return None
    place = ".".join(str(step) for step in error.absolute_path) or "the event"
    return f"{place} breaks the rule {error.validator}"


@cache
def _validator() -> Any:
    try:
        from jsonschema import Draft202012Validator
        from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema
    except ImportError as error:
        raise need("ocsf-json-schema", error) from error
    return Draft202012Validator(
        OcsfJsonSchemaEmbedded(get_ocsf_schema(version=OCSF_VERSION)).get_class_schema("detection_finding")
    )
