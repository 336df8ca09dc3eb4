"""MISP: each finding as an event, its accounts as user-account objects, its reasons as comments; made offline."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Any

from coterie.domain import Dossier, Evidence, FindingKind, ReviewState, Severity
from coterie.exports.content import PRODUCT, TECHNIQUES, Marking, need, refuse, summary, texts, uid
from coterie.exports.report import claim, p_value

_THREAT = {Severity.CRITICAL: 1, Severity.HIGH: 1, Severity.MEDIUM: 2, Severity.LOW: 3}
_RECORD = "coterie finding, as JSON"


def write_misp(dossiers: Sequence[Dossier], marking: Marking) -> bytes:
    """`{"response": [{"Event": ...}]}`, as MISP's own exports are. Raises InvalidError where pymisp is not installed.

    Events are not published, and distributed to nobody but the organisation that takes them in: a person decides.
    """
    pymisp = _library()
    events = [{"Event": json.loads(_event(pymisp, dossier, marking).to_json())} for dossier in dossiers]
    return json.dumps({"response": events}, indent=2, sort_keys=True, ensure_ascii=False).encode()


def read_misp(content: bytes) -> list[dict[str, Any]]:
    """The findings of events, each as it was passed on.

    Raises:
        InvalidError: pymisp does not take an event, or one holds no finding of coterie's.
    """
    pymisp = _library()
    try:
        events = json.loads(content)["response"]
        loaded = []
        for item in events:
            if not _validator(pymisp).is_valid(item):
                raise refuse("MISP event", "it breaks the schema of MISP events")
            event = pymisp.MISPEvent()
            event.load(item)
            loaded.append(event)
    except (pymisp.PyMISPError, ValueError, KeyError, TypeError) as error:
        raise refuse("MISP event", type(error).__name__) from error
    records = [attribute.value for event in loaded for attribute in event.attributes if attribute.comment == _RECORD]
    if not records or len(records) != len(loaded):
        raise refuse("MISP event", "it holds no finding")
    return [json.loads(record) for record in records]


def _event(pymisp: Any, dossier: Dossier, marking: Marking) -> Any:
    finding = dossier.finding
    event = pymisp.MISPEvent()
    event.uuid = uid("misp", "event", finding.finding_id)
    event.info = finding.title
    event.date = _day(finding.first_seen_us)
    event.timestamp = datetime.fromtimestamp(dossier.run.created_us // 1_000_000, UTC)
    event.threat_level_id = _THREAT[finding.severity] if finding.kind is FindingKind.CAMPAIGN else 4
    event.analysis = 2 if finding.review in (ReviewState.CONFIRMED, ReviewState.DISMISSED) else 0
    event.distribution = 0
    event.published = False
    event.add_tag(f"tlp:{marking.value}")
    event.add_tag(f"{PRODUCT}:review={finding.review.value}")
    made = _Attributes(event, finding.finding_id, dossier.run.created_us)
    made.add("comment", "Other", claim(finding), "what it claims")
    if finding.kind is FindingKind.CAMPAIGN:
        for technique in TECHNIQUES:
            made.add(
                "link",
                "External analysis",
                technique.url,
                f"MITRE ATLAS {technique.uid} {technique.name}: {technique.why}",
            )
    for side, items in (("for", finding.evidence), ("against", finding.counter_evidence)):
        for item in items:
            made.add("comment", "Other", _reason(item), f"speaks {side} it: {item.name}")
    for name, line in texts(dossier):
        made.add("text", "Other", line, f"exemplar {name}")
    made.add("text", "Other", json.dumps(summary(finding), sort_keys=True, ensure_ascii=False), _RECORD)
    for account in finding.accounts:
        event.add_object(_account(pymisp, dossier, account.account_id))
    return event


def _account(pymisp: Any, dossier: Dossier, account_id: str) -> Any:
    names = ("misp", "account", dossier.finding.finding_id, account_id)
    made = pymisp.MISPObject("user-account", standalone=False, strict=True)
    made.uuid = uid(*names)
    made.timestamp = datetime.fromtimestamp(dossier.run.created_us // 1_000_000, UTC)
    attribute = made.add_attribute("user-id", value=account_id, uuid=uid(*names, "user-id"), to_ids=False)
    attribute.timestamp = made.timestamp
    return made


class _Attributes:
    """Adds attributes to an event, each under an id of its own that is the same in every export."""

    def __init__(self, event: Any, finding_id: str, time_us: int) -> None:
        self._event = event
        self._finding_id = finding_id
        self._time = datetime.fromtimestamp(time_us // 1_000_000, UTC)

    def add(self, kind: str, category: str, value: str, comment: str) -> None:
        """Add one; it is nothing to block by, and that two events have the same words means nothing."""
        self._event.add_attribute(
            kind,
            value,
            category=category,
            comment=comment,
            to_ids=False,
            disable_correlation=True,
            timestamp=self._time,
            uuid=uid("misp", "attribute", self._finding_id, comment, str(len(self._event.attributes))),
        )


def _library() -> Any:
    try:
        import pymisp
    except ImportError as error:
        raise need("pymisp", error) from error
    return pymisp


@cache
def _validator(pymisp: Any) -> Any:
    """Of the schema of events that pymisp brings: the wider of two, because the narrow one is older than objects."""
    try:
        from jsonschema import Draft4Validator
    except ImportError as error:
        raise need("jsonschema", error) from error
    return Draft4Validator(
        json.loads((Path(pymisp.__file__).parent / "data" / "schema-lax.json").read_text(encoding="utf-8"))
    )


def _reason(item: Evidence) -> str:
    return (
        f"{item.summary} Measured: {item.statistic} = {item.value:.6g}. Held against: {item.null}. "
        f"{p_value(item.p_value)}."
    )


def _day(time_us: int) -> date:
    return datetime.fromtimestamp(time_us // 1_000_000, UTC).date()
