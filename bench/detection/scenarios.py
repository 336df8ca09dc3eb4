"""What detection is tried on: one table. Settings are options of `coterie.simulation.Config`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any, Literal

from coterie.simulation import CROWDS, EVASIONS, Config

Measure = Literal["score", "ablation", "leak", "scale"]

SEEDS = 5
NULL_SEEDS = 20
JOINED_EVASIONS = ("contiguous+cover50", "persona+paraphrase", "small+prefix")
WEEKLY_REQUESTS = 30 / 7
"""Requests a day from the list that make 30 in a window of a week."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of traffic, drawn again for every seed.

    Attributes:
        group: names the results file, `detection_GROUP.json`.
        settings: what differs from the simulator's defaults.
        seeds: how many there are, from 1.
        measure: what is done with it: score the accused, switch conditions off, find when a campaign is first seen,
            or take time and memory.
        at: its place on the axis of a curve.
        exchanges_max: a sample of so many is taken, for scale.
    """

    name: str
    group: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    seeds: int = SEEDS
    measure: Measure = "score"
    at: float | None = None
    exchanges_max: int | None = None

    def missing_options(self) -> list[str]:
        """Options it needs that this version of the simulator does not have."""
        return sorted(set(self.settings) - {option.name for option in fields(Config)})


def _mixes() -> list[Scenario]:
    found = [Scenario(mix, "mixes", {"mix": mix}) for mix in ("easy", "hard")]
    found += [Scenario(f"cover{share}", "mixes", {"mix": "easy", "cover": share / 100}) for share in (50, 80, 95)]
    found.append(Scenario("background10", "mixes", {"mix": "easy", "background": 10.0}))
    small = {"mix": "easy", "campaigns": 10, "evasions": ("small",), "requests_per_day": WEEKLY_REQUESTS}
    found.append(Scenario("small", "mixes", small))
    return found


def _classes() -> list[Scenario]:
    """Over five seeds 400 accounts in 40 crowds of each class, among as many ordinary people."""
    return [Scenario(f"class_{name}", "classes", {"mix": "null", "accounts": 80, "crowds": (name,)}) for name in CROWDS]


def _evasions() -> list[Scenario]:
    settings = {"mix": "easy", "accounts": 160, "campaigns": 4}
    ways = (*EVASIONS, *JOINED_EVASIONS)
    found = [Scenario(f"evasion_{name}", "evasions", {**settings, "evasions": (name,)}) for name in ways]
    found.append(Scenario("kind_diverse_sweep", "evasions", {**settings, "kinds": ("diverse_sweep",)}))
    return found


def _curves() -> list[Scenario]:
    found = []
    for members, campaigns in ((3, 6), (5, 6), (10, 5), (30, 3), (100, 1), (300, 1), (1_000, 1)):
        settings = {"mix": "easy", "accounts": max(240, round(members * campaigns / 0.45)), "campaigns": campaigns}
        settings |= {"members": members, "requests_per_day": WEEKLY_REQUESTS}
        found.append(Scenario(f"accounts_{members}", "curves", settings, at=members))
    for share in (0, 30, 50, 65, 80, 90, 95):
        settings = {"mix": "easy", "cover": share / 100} if share else {"mix": "easy"}
        found.append(Scenario(f"cover_{share}", "curves", settings, at=share / 100))
    for rate in (1, 3, 10, 26):
        settings = {"mix": "easy", "accounts": 240, "campaigns": 5, "members": 12, "requests_per_day": float(rate)}
        found.append(Scenario(f"rate_{rate}", "curves", settings, at=rate))
    return found


def _scales() -> list[Scenario]:
    """Ten exchanges an account, so that accounts and exchanges grow alike."""
    return [
        Scenario(f"scale_{n}", "scale", {"mix": "hard", "accounts": n * 11 // 100}, 1, "scale", n, n)
        for n in (12_500, 25_000, 50_000, 100_000)
    ]


_LEAK = {"mix": "easy", "accounts": 300, "campaigns": 3, "members": 20, "requests_per_day": 26.0}

SCENARIOS: tuple[Scenario, ...] = (
    *_mixes(),
    Scenario("null", "null", {"mix": "null"}, NULL_SEEDS),
    *_classes(),
    *_evasions(),
    *_curves(),
    Scenario("first_finding", "leak", _LEAK, measure="leak"),
    Scenario("ablation_hard", "ablation", {"mix": "hard"}, measure="ablation"),
    Scenario("ablation_null", "ablation", {"mix": "null"}, measure="ablation"),
    *_scales(),
)


def chosen(patterns: list[str] | None) -> list[Scenario]:
    """The scenarios whose name or group matches one of the patterns (`*` matches anything); all without patterns.

    Raises:
        ValueError: a pattern matches nothing.
    """
    if not patterns:
        return list(SCENARIOS)
    for pattern in patterns:
        if not any(_matches(scenario, pattern) for scenario in SCENARIOS):
            groups = ", ".join(dict.fromkeys(scenario.group for scenario in SCENARIOS))
            raise ValueError(f"no scenario or group is called {pattern}: groups are {groups}")
    return [scenario for scenario in SCENARIOS if any(_matches(scenario, pattern) for pattern in patterns)]


def _matches(scenario: Scenario, pattern: str) -> bool:
    return fnmatchcase(scenario.name, pattern) or fnmatchcase(scenario.group, pattern)
