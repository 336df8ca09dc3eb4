"""One condition switched off at a time. A parameter that detection no longer has is left out."""

from dataclasses import fields, replace

from coterie.detection import Parameters
from coterie.domain import Window

NEVER = 1e9

OFF: dict[str, dict[str, float]] = {
    "content on the whole (C/W)": {"ratio_floor": -NEVER},
    "content close up (neighbour mixing)": {"mixing_ceiling": NEVER},
    "content at all": {"content_rate": 1.0},
    "equal shares": {"share_spread_min": 1e-6},
    "growth": {"promising_rate": 0.0},
    "false discovery control": {"finding_rate": 1.0, "silence_rate": NEVER},
    "silence without a campaign": {"silence_rate": NEVER},
    "asked more alike than the public": {"across_min": -NEVER},
    "no common source (repeats)": {"repeats_max": 1.0},
    "no common source (rewrapped)": {"rewrapped_max": 1.0},
    "distinct texts": {"texts_min": 1},
}
"""Condition -> the limits that make it hold for everybody."""

NO_CONDITION = frozenset(
    {"min_samples", "min_cluster_size", "link_rate", "seed", "run_items_min", "run_coverage_min"}
    | {"rewrapped_rate", "principals_min"}
)
"""Parameters that are no condition of a campaign, that only refine one which has a line above, or that the tests
themselves need (three customers)."""


def ablations() -> dict[str, Parameters]:
    """Parameters with one condition off, by its name; conditions that do not exist are skipped."""
    known = {parameter.name for parameter in fields(Parameters)}
    kept = {name: {key: value for key, value in off.items() if key in known} for name, off in OFF.items()}
    # `replace` takes the parameters by name, and types are those of the table.
    return {name: replace(Parameters(), **off) for name, off in kept.items() if off}  # type: ignore[arg-type]


def uncovered() -> list[str]:
    """Parameters that no ablation turns, so that a condition added later is seen to be missing here."""
    turned = {key for off in OFF.values() for key in off}
    return sorted({parameter.name for parameter in fields(Parameters)} - turned - NO_CONDITION)


def without_view(window: Window, name: str) -> Window:
    """The window without one of its views."""
    return replace(window, views={key: view for key, view in window.views.items() if key != name})
