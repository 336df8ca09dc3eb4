"""Decisions against stated confidence: what is counted, and that nothing is proposed from too little."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from coterie.client import Client, wire_calibration
from coterie.domain import Decision, Exchange, ReviewState
from coterie.server.calibration import DECISIONS_MIN, EACH_MIN, calibrate, jeffreys


def decided(confidence: float, confirmed: bool, kind: str = "campaign", **evidence: float | None) -> Decision:
    return Decision("f", kind, confidence, confirmed, evidence)  # type: ignore[arg-type]


def drawn(count: int, seed: int, true: Callable[[float], float]) -> list[Decision]:
    """Decisions at random confidences, each true with the chance that `true` gives it."""
    rng = np.random.default_rng(seed)
    stated = rng.uniform(0.4, 0.99, count)
    return [decided(float(value), bool(rng.random() < true(value))) for value in stated]


def test_the_interval_is_that_of_jeffreys() -> None:
    # Brown, Cai and DasGupta (2001), table 5: n = 10.
    for confirmed, low, high in ((0, 0.0, 0.2172), (1, 0.0110, 0.3813), (5, 0.2235, 0.7765), (10, 0.7828, 1.0)):
        rate = jeffreys("x", confirmed, 10)
        assert (rate.low, rate.high) == (pytest.approx(low, abs=2e-3), pytest.approx(high, abs=2e-3))
    assert (jeffreys("x", 0, 0).low, jeffreys("x", 0, 0).high) == (0.0, 1.0)


def test_reliability_counts_by_confidence_and_kind_and_scores_by_brier() -> None:
    found = calibrate(
        [
            decided(0.99, True, content=0.001, mixing=None),
            decided(0.95, True, content=0.2),
            decided(0.8, False, content=0.01),
            decided(0.6, False, "benchmark_run"),
        ],
        unknown=2,
    )
    assert (found.decisions, found.confirmed, found.unknown) == (4, 2, 2)
    everything, run, campaign = found.groups
    assert (everything.name, run.name, campaign.name) == ("all", "benchmark_run", "campaign")
    assert everything.brier == pytest.approx((0.01**2 + 0.05**2 + 0.8**2 + 0.6**2) / 4)
    assert everything.brier_base == pytest.approx(0.25)
    assert [item.confirmed.count for item in everything.bins] == [0, 1, 1, 0, 1, 1]
    assert [item.confirmed.confirmed for item in everything.bins] == [0, 0, 0, 0, 1, 1]
    assert [(rate.name, rate.count, rate.confirmed) for rate in found.evidence] == [("content", 2, 1), ("mixing", 1, 1)]


@pytest.mark.parametrize(
    "decisions",
    [
        [],
        [decided(0.9, number % 2 == 0) for number in range(DECISIONS_MIN - 1)],
        [decided(0.9, True) for _ in range(200)],
        [decided(0.9, number >= EACH_MIN - 1) for number in range(200)],
    ],
)
def test_too_few_decisions_are_said_to_be_and_nothing_is_proposed(decisions: list[Decision]) -> None:
    found = calibrate(decisions)
    assert found.verdict.startswith(f"Too few decisions to propose anything: {len(decisions)} of at least")
    assert found.proposals == found.fit == ()


def test_a_limit_is_proposed_only_where_its_lower_end_keeps_the_precision() -> None:
    def sharp(value: float) -> float:
        return 0.2 if value < 0.75 else 0.98

    found = calibrate(drawn(2_000, 1, sharp))
    by = {item.precision: item for item in found.proposals}
    assert by[0.95].limit is not None
    assert 0.75 <= by[0.95].limit <= 0.8
    assert by[0.95].kept.low >= 0.95
    assert by[0.99].limit is None
    few = calibrate(drawn(60, 1, sharp))
    assert {item.precision: item.limit for item in few.proposals}[0.99] is None


def test_a_proposed_limit_seldom_keeps_less_than_it_says() -> None:
    # True with .9 at each confidence: a limit for .95 is then wrong, whatever it is.
    found = [calibrate(drawn(120, seed, lambda _: 0.9)).proposals for seed in range(60)]
    wrong = sum(any(item.limit is not None for item in proposals if item.precision > 0.9) for proposals in found)
    assert wrong <= 3 + 3 * np.sqrt(60 * 0.05 * 0.95)


def test_the_fit_finds_what_confidence_was_worth() -> None:
    found = calibrate(drawn(3_000, 2, lambda value: value**3))
    for point in found.fit:
        assert point.low - 0.05 <= point.stated**3 <= point.high + 0.05
        assert point.low <= point.fitted <= point.high
    fitted = [point.fitted for point in found.fit]
    assert fitted == sorted(fitted)
    assert calibrate(drawn(3_000, 2, lambda value: value**3)) == found


def test_a_calibration_survives_the_wire() -> None:
    for decisions in ([], drawn(300, 3, lambda value: value)):
        found = calibrate(decisions, unknown=1)
        assert wire_calibration.calibration_from_wire(wire_calibration.calibration_to_wire(found)) == found


def test_the_last_decision_on_each_finding_counts(
    script: Any, client: Client, exchange: Callable[..., Exchange]
) -> None:
    client.ingest([exchange(number) for number in range(7)])
    list(client.watch_run(client.start_run().run_id))
    client.review_finding("f-big", ReviewState.DISMISSED, "hm")
    client.review_finding("f-big", ReviewState.CONFIRMED, "after all")
    client.comment_finding("f-big", "see the card")
    client.review_finding("f-small", ReviewState.ESCALATED, "not decided")
    found = client.get_calibration()
    assert (found.decisions, found.confirmed, found.unknown) == (1, 1, 0)
    assert [(rate.name, rate.confirmed) for rate in found.evidence] == [("exchangeability", 1)]
    client.review_finding("f-big", ReviewState.OPEN, "unsure")
    assert client.get_calibration().decisions == 0
