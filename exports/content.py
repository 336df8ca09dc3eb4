"""What every format passes on of a finding, and the names it gets there."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid5

from coterie.domain import Dossier, Finding, InvalidError, exchange_to_json, finding_to_json

NAMESPACE = UUID("6f1f9b0e-5c0f-5d5b-9d3c-0c5c1e7a4e21")
"""Of all ids that are made here, so that the same finding has the same ids in every export and on every machine."""

PRODUCT = "coterie"


class Marking(StrEnum):
    """Who may be told: the Traffic Light Protocol of FIRST."""

    CLEAR = "clear"
    GREEN = "green"
    AMBER = "amber"
    RED = "red"


@dataclass(frozen=True, slots=True)
class Technique:
    """A technique of MITRE ATLAS."""

    uid: str
    name: str
    why: str

    @property
    def url(self) -> str:
        """Its page."""
        return f"https://atlas.mitre.org/techniques/{self.uid}"


TECHNIQUES = (
    Technique(
        "AML.T0024.002",
        "Extract AI Model",
        "Consistent with it: one work list was dealt out over many accounts. What the answers were used for is not "
        "observed.",
    ),
    Technique("AML.T0040", "AI Model Inference API Access", "All of it went through the inference API."),
)
"""What a campaign is referred to; a benchmark run is referred to none, because it claims nothing."""


def uid(*names: str) -> str:
    """A name-based UUID (version 5, RFC 9562)."""
    return str(uuid5(NAMESPACE, "\x1f".join(names)))


def summary(finding: Finding) -> dict[str, Any]:
    """The finding as every format carries it, whole, so that it comes back the same: `coterie findings --json`."""
    return finding_to_json(finding) | {"run_id": finding.run_id}


def texts(dossier: Dossier) -> list[tuple[str, str]]:
    """Id and JSON line of each exemplar that has its text; none where the dossier was asked for without."""
    if not dossier.with_text:
        return []
    return [(exchange.exchange_id, exchange_to_json(exchange)) for exchange in dossier.exemplars if exchange.prompt]


def refuse(kind: str, why: str) -> InvalidError:
    """The error for a file that is not what it should be."""
    return InvalidError(f"the file is no {kind} that coterie wrote: {why}", field="file", reason="bad_file")


def need(extra: str, error: ImportError) -> InvalidError:
    """The error for a library that is not installed."""
    return InvalidError(
        f"{extra} is not installed: pip install 'coterie[exports]' brings what the formats need ({error.name})",
        field="format",
        reason="not_installed",
    )
