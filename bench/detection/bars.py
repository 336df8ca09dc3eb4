"""What detection is meant to reach, held against the results that there are."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

MIXES = {
    "easy": (0.99, 0.98),
    "hard": (0.97, 0.90),
    "cover50": (0.97, 0.95),
    "cover80": (0.95, 0.85),
    "cover95": (0.90, 0.50),
    "background10": (0.95, 0.85),
}
"""Least account precision and recall."""

KIND_RECALL_MIN = 0.6
SMALL_RECALL_MIN = 0.6
PAIRWISE_F1_MIN = 0.90
FALSE_POSITIVES_MAX = 0.01
NULL_FINDINGS_MAX = 1
SCALE_EXCHANGES = 100_000
WALL_S_MAX = 60.0
PEAK_GB_MAX = 4.0
EXPONENT_MAX = 1.3


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: `value` must be at least the limit, or at most, where `at_most`."""

    name: str
    value: float
    limit: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether the value, not its interval, is on the right side."""
        return self.value <= self.limit if self.at_most else self.value >= self.limit


def bars(reports: dict[str, Json]) -> list[Bar]:
    """The bars for which there is a result.

    Args:
        reports: results files by group.
    """
    found: list[Bar] = []
    for group, of_group in _BARS.items():
        if group in reports:
            found += of_group(reports[group])
    return found


def _mixes(report: Json) -> Iterator[Bar]:
    done = {name: scenario for name, scenario in report["scenarios"].items() if "methods" in scenario}
    for name, (precision, recall) in MIXES.items():
        if name in done:
            scores = done[name]["methods"]["coterie"]
            yield Bar(f"{name}: account precision", scores["precision"]["value"], precision)
            yield Bar(f"{name}: account recall", scores["recall"]["value"], recall)
    if "hard" in done:
        kind, recall = _worst(done["hard"]["recall_by_kind"], lowest=True)
        yield Bar(f"hard: recall of the worst kind, {kind}", recall, KIND_RECALL_MIN)
        yield Bar("hard: pairwise F1", done["hard"]["methods"]["coterie"]["pairwise_f1"]["value"], PAIRWISE_F1_MIN)
    if "small" in done:
        recall = done["small"]["methods"]["coterie"]["recall"]["value"]
        yield Bar("3 to 5 accounts with 30 requests: account recall", recall, SMALL_RECALL_MIN)


def _classes(report: Json) -> Iterator[Bar]:
    rates = {}
    for name, scenario in report["scenarios"].items():
        kind = name.removeprefix("class_")
        if kind in scenario.get("false_positives", {}).get("coterie", {}):
            rates[kind] = scenario["false_positives"]["coterie"][kind]
    if rates:
        kind, rate = _worst(rates, lowest=False)
        yield Bar(f"false positives of the worst class, {kind}", rate, FALSE_POSITIVES_MAX, at_most=True)


def _null(report: Json) -> Iterator[Bar]:
    for name, scenario in report["scenarios"].items():
        if "methods" in scenario:
            findings = scenario["methods"]["coterie"]["findings"]
            yield Bar(f"{name}: findings in {len(findings)} draws", sum(findings), NULL_FINDINGS_MAX, at_most=True)


def _leak(report: Json) -> Iterator[Bar]:
    for scenario in report["scenarios"].values():
        if "within_bar" in scenario:
            share = scenario["within_bar"]["value"]
            yield Bar("campaigns first found by the later of 5 % of the list and 15 requests an account", share, 1.0)


def _calibration(report: Json) -> Iterator[Bar]:
    for level in report["p_values"]["levels"]:
        if level["share"]:
            # The level must lie within the interval of what was measured, or above.
            yield Bar(f"P(p <= {level['at']:g}), lower limit", level["share"]["low"], level["at"], at_most=True)


def _scale(report: Json) -> Iterator[Bar]:
    for scenario in report["scenarios"].values():
        for run in scenario.get("runs", []):
            if run["exchanges"] == SCALE_EXCHANGES:
                yield Bar("100k exchanges, 10k accounts: wall seconds", run["wall_s"], WALL_S_MAX, at_most=True)
                yield Bar("100k exchanges, 10k accounts: peak GB", run["peak_gb"], PEAK_GB_MAX, at_most=True)
    if report["exponents"]["cpu_s"] is not None:
        yield Bar("exponent of CPU seconds", report["exponents"]["cpu_s"], EXPONENT_MAX, at_most=True)


def _worst(estimates: dict[str, Json], *, lowest: bool) -> tuple[str, float]:
    ordered = sorted(estimates, key=lambda name: estimates[name]["value"], reverse=not lowest)
    return ordered[0], estimates[ordered[0]]["value"]


_BARS = {
    "mixes": _mixes,
    "classes": _classes,
    "null": _null,
    "leak": _leak,
    "calibration": _calibration,
    "scale": _scale,
}
