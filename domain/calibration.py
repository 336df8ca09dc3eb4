"""How often reviewers found findings to be true, by how sure those were: values, and their JSON form."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from coterie.domain.ids import FindingId


@dataclass(frozen=True, slots=True)
class Decision:
    """The last decision on a finding, and what that claimed when it was made.

    Attributes:
        confirmed: it was held to be true; else it was dismissed.
        evidence: the p-value of each piece of evidence; None where it was an effect size.
    """

    finding_id: FindingId
    kind: str
    confidence: float
    confirmed: bool
    evidence: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rate:
    """A share with its 95 % interval (Jeffreys).

    Attributes:
        name: of what.
        count, confirmed: decisions, and how many of them confirmed.
        rate: confirmed over count; 0 with low 0 and high 1 where there are none.
    """

    name: str
    count: int
    confirmed: int
    rate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The findings whose confidence lies in [low, high), the last bin with its end.

    Attributes:
        confidence: mean of what was stated; 0 where there are none.
        confirmed: how often it was true.
    """

    low: float
    high: float
    confidence: float
    confirmed: Rate


@dataclass(frozen=True, slots=True)
class Reliability:
    """Stated confidence against decisions, of all findings or of one kind.

    Attributes:
        brier: mean squared difference of confidence and outcome: 0 is perfect.
        brier_base: the same for whoever states the share of confirmed ones for each; a lower `brier` tells more.
    """

    name: str
    count: int
    confirmed: int
    brier: float
    brier_base: float
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True, slots=True)
class LimitProposal:
    """The lowest limit of confidence that would have kept a precision.

    Attributes:
        precision: that is wanted.
        limit: of confidence; None where none of those tried keeps it.
        kept: decisions at or above the limit, with the share of confirmed ones; its interval holds for all limits tried
            at once.
        lost: confirmed findings below the limit.
    """

    precision: float
    limit: float | None
    kept: Rate
    lost: int


@dataclass(frozen=True, slots=True)
class FittedConfidence:
    """What a stated confidence was worth: isotonic fit, with a 95 % interval by bootstrap."""

    stated: float
    fitted: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Decisions against stated confidence. Nothing of it is applied by itself.

    Attributes:
        verdict: what can be said, in one sentence; of too few decisions, that they are.
        unknown: decisions from before it was recorded what was decided on; left out.
        groups: all, then by kind.
        evidence: by piece of evidence: findings that have it with a p-value of at most .01, or as an effect size.
        proposals, fit: empty where there are too few decisions.
    """

    verdict: str
    decisions: int
    confirmed: int
    unknown: int
    groups: tuple[Reliability, ...] = ()
    evidence: tuple[Rate, ...] = ()
    proposals: tuple[LimitProposal, ...] = ()
    fit: tuple[FittedConfidence, ...] = ()


def calibration_to_json(calibration: Calibration) -> dict[str, Any]:
    """The JSON form of a calibration: one key per attribute."""
    return asdict(calibration)
