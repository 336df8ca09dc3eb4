"""One draw of a scenario: its traffic and its window, made when they are first asked for."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any

from bench.detection.vectors import VectorCache
from bench.detection.windows import make_window
from coterie.domain import Exchange, Window
from coterie.simulation import Config, Scores, Traffic, evaluate, simulate

Groups = list[set[str]]
"""Sets of account ids that a method takes for one campaign each; every account in one of them is accused."""


@dataclass
class Trial:
    """Traffic with its truth.

    Attributes:
        exchanges_max: take a random sample of so many exchanges; None takes all.
    """

    config: Config
    cache: VectorCache
    exchanges_max: int | None = None

    @cached_property
    def traffic(self) -> Traffic:
        """The traffic, sampled where it is too much."""
        traffic = simulate(self.config)
        if self.exchanges_max is None or len(traffic.events) <= self.exchanges_max:
            return traffic
        kept = sorted(Random(self.config.seed).sample(range(len(traffic.events)), self.exchanges_max))
        events = [traffic.events[row] for row in kept]
        present = {event.account_id for event in events}
        return Traffic(events, {account: entry for account, entry in traffic.truth.items() if account in present})

    @cached_property
    def window(self) -> Window:
        """All of it as detection sees it."""
        return make_window(self.traffic.events, self.cache)


def score(groups: Groups, traffic: Traffic) -> dict[str, Any]:
    """What `coterie evaluate` says about those groups.

    Returns:
        `Scores.to_json()` with `crowds`: for each class its crowds as [accounts, accused], to be pooled over seeds.
    """
    found = _evaluate(groups, traffic)
    return {**found.to_json(), "crowds": {one.kind: [list(crowd) for crowd in one.crowds] for one in found.classes}}


def _evaluate(groups: Groups, traffic: Traffic) -> Scores:
    findings = [
        {"kind": "campaign", "accounts": [{"account_id": account} for account in sorted(group)]} for group in groups
    ]
    with tempfile.TemporaryDirectory() as folder:
        events, truth = Path(folder, "events.jsonl"), Path(folder, "truth.json")
        lines = (json.dumps({"account_id": event.account_id}) + "\n" for event in traffic.events)
        events.write_text("".join(lines), encoding="utf-8")
        truth.write_text(json.dumps(traffic.truth), encoding="utf-8")
        return evaluate(findings, events, truth)


def prefix(events: Sequence[Exchange], until_us: int) -> list[Exchange]:
    """The exchanges before a time; they are in order of time."""
    return [event for event in events if event.time_us < until_us]
