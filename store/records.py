"""Runs, findings and standings as the JSON that the database keeps, and back."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from coterie.domain import (
    Evidence,
    Finding,
    FindingAccount,
    FindingBenchmark,
    FindingFamily,
    FindingKind,
    Lineage,
    ParameterSet,
    ReviewState,
    Run,
    RunState,
    Severity,
    Slice,
    Standing,
    TextField,
)

# One for all: json.dumps would make another for every exchange.
_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=dict)
_FILLED_IN = ("joined_since", "version", "assignee", "excluded", "merged", "suppressed")
_SEVERITY_RANK = {severity: rank for rank, severity in enumerate(Severity)}


def to_record(value: Run | Finding | Standing) -> str:
    """The JSON of a value, one key per attribute; a run's also holds its slice's key, to look it up by."""
    record = asdict(value)
    if isinstance(value, Run):
        record["slice_key"] = value.slice.key
    if isinstance(value, Finding):
        for name in _FILLED_IN:  # have tables of their own: what a run reports does not change
            record.pop(name)
    return to_json(record)


def to_json(value: Mapping[str, Any]) -> str:
    """Canonical JSON: keys sorted, no spaces, Unicode as it is."""
    return _ENCODER.encode(value)


def run_from(record: str) -> Run:
    """The run of a record; one from before there were slices was whole."""
    values = json.loads(record)
    values.pop("slice_key", "")
    part = values.get("slice", {})
    return Run(
        **{
            **values,
            "state": RunState(values["state"]),
            "slice": Slice(**{**part, "field": TextField(part["field"])}) if part else Slice(),
            "sets": tuple(ParameterSet(**item) for item in values.get("sets", ())),
        }
    )


def standing_from(record: str) -> Standing:
    """The standing of a record."""
    values = json.loads(record)
    return Standing(**{**values, "findings": tuple(values["findings"])})


def finding_from(record: str) -> Finding:
    """The finding of a record, as its run reported it."""
    values = json.loads(record)
    return Finding(
        **{
            **values,
            "kind": FindingKind(values["kind"]),
            "severity": Severity(values["severity"]),
            "lineage": Lineage(values["lineage"]),
            "review": ReviewState(values["review"]),
            "accounts": tuple(FindingAccount(**item) for item in values["accounts"]),
            "families": tuple(FindingFamily(**item) for item in values["families"]),
            "benchmarks": tuple(FindingBenchmark(**item) for item in values["benchmarks"]),
            "evidence": tuple(Evidence(**item) for item in values["evidence"]),
            "counter_evidence": tuple(Evidence(**item) for item in values["counter_evidence"]),
            "exemplars": tuple(values["exemplars"]),
            "lineage_of": tuple(values["lineage_of"]),
            "text_ids": tuple(values["text_ids"]),
        }
    )


def finding_order(finding: Finding) -> tuple[int, float, str]:
    """Sort key: severity and confidence falling, then id."""
    return (-_SEVERITY_RANK[finding.severity], -finding.confidence, finding.finding_id)
