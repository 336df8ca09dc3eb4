"""Every null model: p-values hold on simulated innocents, and a planted effect shows."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.random import Generator
from scipy import stats

from coterie.detection.evidence_account import pivot, shared_values
from coterie.detection.evidence_content import capability_sweep, format_uniformity, subject_stretches
from coterie.detection.evidence_list import dealt, partition
from coterie.detection.evidence_pool import Comparison
from coterie.detection.evidence_time import (
    DAY_US,
    SLOTS,
    batch_rhythm,
    equal_rhythm,
    equal_spans,
    own_rhythm,
    relay,
    synchrony,
)
from coterie.detection.evidence_volume import equal_shares, growth
from coterie.detection.nulls import Measured, apartness, excess_test, mean_columns, rank_test

DRAWS = 250
HOUR_US = DAY_US // 24

Case = Callable[[Generator, int, float], Measured | None]
"""A world with an effect of that size, 0 for none, and what the test says of it."""


def beside(rng: Generator, *, members: int = 8, units: int = 40) -> Comparison:
    unit = np.repeat(np.arange(units), rng.integers(8, 15, units))
    return Comparison(np.arange(len(unit)), unit, np.arange(units) < members)


def in_pool(comparison: Comparison) -> np.ndarray:
    return comparison.member[comparison.unit]


def formats(rng: Generator, seed: int, effect: float) -> Measured | None:
    """People whose manners differ, some more than others; with the effect the members have one manner."""
    both = beside(rng)
    own = rng.normal(size=(both.units, 6)) * rng.choice([0.2, 1.0], (both.units, 1))
    own[both.member] = (1 - effect) * own[both.member] + effect * 2
    return format_uniformity(rng.normal(size=(len(both.unit), 6)) + own[both.unit], both, seed=seed)


def rhythms(rng: Generator, seed: int, effect: float) -> Measured | None:
    both = beside(rng)
    pace = rng.normal(4, 2.5, both.units)
    pace[both.member] = 4 + (1 - effect) * (pace[both.member] - 4)
    return equal_rhythm(rng.lognormal(pace[both.unit], 0.7), both, seed=seed)


def batches(rng: Generator, seed: int, effect: float) -> Measured | None:
    both = beside(rng)
    pace, width = rng.normal(3, 1, both.units), rng.uniform(0.8, 2.5, both.units)
    width[both.member] *= 1 - 0.9 * effect
    return batch_rhythm(rng.lognormal(pace[both.unit], width[both.unit]), both.unit, both.member)


def own(rng: Generator, seed: int, effect: float) -> Measured | None:
    unit = np.repeat(np.arange(14), 30)
    inside = rng.random(len(unit)) < 0.5
    pace, width = rng.normal(3, 1, 14), rng.uniform(0.5, 2, 14)
    return own_rhythm(rng.lognormal(pace[unit], width[unit] * np.where(inside, 1 - 0.8 * effect, 1)), unit, inside, 14)


def spans(rng: Generator, seed: int, effect: float) -> Measured | None:
    both = beside(rng)
    length = np.where(in_pool(both) & (effect > 0), 3 * HOUR_US, 14 * DAY_US)
    return equal_spans((rng.random(len(both.unit)) * length).astype(np.int64), both, seed=seed)


def shares(rng: Generator, seed: int, effect: float) -> Measured | None:
    volume = np.maximum(3, rng.lognormal(3, 0.7, 80)).astype(int)
    inside = rng.integers(18, 22, 8) if effect else volume[:8]
    return equal_shares(inside, volume[8:], seed=seed)


def together(rng: Generator, seed: int, effect: float) -> Measured | None:
    """One time zone, office hours, sessions, an early end of the week: all innocent. With the effect, one schedule."""
    schedule = rng.integers(0, 5, 3)
    day, slot, unit = [], [], []
    for account in range(8):
        for number in range(int(rng.integers(3, 8))):
            on = schedule[number % 3] if effect else rng.integers(0, 5)
            start = int(rng.normal(12, 0.2 if effect else 2) * 12) % SLOTS
            for step in range(int(rng.integers(1, 5))):
                day.append(on)
                slot.append(min(SLOTS - 1, start + step))
                unit.append(account)
    life = np.tile([0, 6], (8, 1))
    everybody = np.zeros(7 * 24, np.int64)
    everybody[: 5 * 24] = 20
    found = synchrony(
        np.array(day),
        np.array(slot),
        np.array(unit),
        life,
        everybody=everybody,
        is_weekend=np.arange(7) >= 5,
        seed=seed,
    )
    return None if found is None else found[0]


def relays(rng: Generator, seed: int, effect: float) -> Measured | None:
    count = 14
    begin = (
        np.arange(count) * DAY_US if effect else rng.integers(0, 12, count) * DAY_US + rng.integers(0, DAY_US, count)
    )
    length = np.full(count, DAY_US) if effect else rng.integers(DAY_US // 2, 3 * DAY_US, count)
    return relay(begin, np.minimum(begin + length, 14 * DAY_US), 0, 14 * DAY_US, seed=seed)


def grown(rng: Generator, seed: int, effect: float) -> Measured | None:
    volume = rng.lognormal(2.5, 0.7, 60).astype(int) + 3
    unit = np.repeat(np.arange(60), volume).astype(np.int32)
    time_us = rng.integers(0, 7 * DAY_US, len(unit))
    since = int(rng.integers(2, 5)) * DAY_US
    if effect:
        more = np.repeat(np.arange(10), 40).astype(np.int32)
        unit, time_us = np.append(unit, more), np.append(time_us, rng.integers(since, 7 * DAY_US, len(more)))
    return growth(time_us, unit, np.arange(60) < 10, since, least=1)


def sweeps(rng: Generator, seed: int, effect: float) -> Measured | None:
    both = beside(rng)
    subjects, first = rng.integers(1, 6, both.units), rng.integers(0, 20, both.units)
    if effect:
        subjects[both.member] = 20
    area = (first[both.unit] + rng.integers(0, 1000, len(both.unit)) % subjects[both.unit]) % 20
    return capability_sweep(area, both)


def elicitation_rates(rng: Generator, seed: int, effect: float) -> Measured | None:
    """A few customers have nothing but hits, as with a template: the worst case for a fitted distribution."""
    both = beside(rng)
    rate = np.where(rng.random(both.units) < 0.05, 0.9, 0.02)
    rate[both.member] = np.maximum(rate[both.member], 0.8 * effect)
    asked = np.bincount(both.unit)
    return excess_test(rng.binomial(asked, rate), asked, both.member, seed=seed)


def repeats(rng: Generator, seed: int, effect: float) -> Measured | None:
    """Four areas with sixty texts of uneven popularity each; with the effect the members take theirs in turn."""
    both = beside(rng, units=60)
    area = rng.integers(0, 4, len(both.unit))
    popularity = 1 / np.arange(1, 61) ** 0.5
    text = area * 60 + rng.choice(60, len(both.unit), p=popularity / popularity.sum())
    if effect:
        mine = in_pool(both)
        text[mine] = rng.permutation(240)[: mine.sum()]
    key = np.unique(both.unit * 1000 + text)
    table = Comparison(np.arange(len(key)), key // 1000, both.member)
    return partition(key % 1000, (key % 1000) // 60, table, seed=seed)


def deals(rng: Generator, seed: int, effect: float) -> Measured | None:
    popularity = rng.lognormal(0, rng.choice([0.0, 0.7]), 200)
    order = rng.permutation(200)
    items, units = [], []
    for unit in range(8):
        picked = rng.choice(200, int(rng.integers(12, 24)), replace=False, p=popularity / popularity.sum())
        items.append(order[unit * 24 : unit * 24 + len(picked)] if effect else picked)
        units.append(np.full(len(picked), unit))
    return dealt(np.concatenate(items).astype(np.int32), np.concatenate(units).astype(np.int32), 200)


def attributes(rng: Generator, seed: int, effect: float) -> Measured | None:
    """A large network and a common client are shared by chance; with the effect a card is shared by six."""
    payment = rng.integers(0, 150, 200)
    if effect:
        payment[:6] = 150
    codes = {"asn": (120 * rng.random(200) ** 2.5).astype(int), "payment": payment, "client": rng.integers(0, 4, 200)}
    held = {key: np.column_stack((np.arange(200), code)) for key, code in codes.items()}
    found = shared_values(held, np.arange(200) < 15)
    return None if found is None else found[0]


def pivots(rng: Generator, seed: int, effect: float) -> Measured | None:
    account = np.repeat(np.arange(100), 20).astype(np.int32)
    time_us = rng.integers(0, 7 * DAY_US, len(account))
    release = 3 * DAY_US
    begins = release + (rng.exponential(1, 100) * DAY_US).astype(np.int64)
    begins[rng.random(100) < 0.2] = 8 * DAY_US
    if effect:
        begins[:12] = release
        time_us[::20] = release + 6 * HOUR_US
    model = (time_us >= begins[account]).astype(np.int32)
    found = pivot(account, model, time_us, np.arange(100) < 12, {1: release} if seed % 2 else {})
    return None if found is None else found[0]


def stretches(rng: Generator, seed: int, effect: float) -> Measured | None:
    """One format, which the other half of the test is told; with the effect each account has a stretch of areas."""
    both = beside(rng)
    area = rng.integers(0, 10, len(both.unit))
    if effect:
        area = (both.unit + rng.integers(0, 2, len(both.unit))) % 10
    return subject_stretches(area, both, Measured(0.0, 1.0, 0.0, 8), seed=seed)


CASES: tuple[Case, ...] = (
    formats, rhythms, batches, own, spans, shares, together, relays, grown, sweeps, elicitation_rates, repeats, deals,
    attributes, pivots, stretches,
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_p_values_hold_on_innocents(case: Case) -> None:
    draws = 80 if case is together else DRAWS
    found = [case(np.random.default_rng(seed), seed, 0.0) for seed in range(draws)]
    p_values = np.array([test.p_value for test in found if test is not None])
    # What abstains accuses nobody, but most worlds must be tested for this to say anything.
    assert len(p_values) >= draws / 2
    for level in (0.01, 0.05, 0.1):
        assert (p_values <= level).sum() <= stats.binom.ppf(0.999, len(p_values), level), level


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_a_planted_effect_shows(case: Case) -> None:
    for seed in range(3):
        tested = case(np.random.default_rng(1000 + seed), seed, 1.0)
        assert tested is not None
        assert tested.p_value <= 0.001


def test_apartness_is_the_mean_distance_of_true_means() -> None:
    rng = np.random.default_rng(0)
    means = rng.normal(size=(30, 4))
    unit = np.repeat(np.arange(30), 40)
    columns, count = mean_columns(means[unit] + rng.normal(size=(len(unit), 4)), unit, 30)
    distances = ((means[:, None] - means[None]) ** 2).sum(axis=2)
    assert (count == 40).all()
    assert apartness(columns.sum(axis=0, keepdims=True), 30)[0] == pytest.approx(distances.sum() / (30 * 29), rel=0.05)


def test_one_manner_is_apart_by_nothing_however_few_texts_show_it() -> None:
    rng = np.random.default_rng(1)
    values = []
    for _ in range(200):
        unit = np.repeat(np.arange(6), 3)
        columns, _ = mean_columns(rng.normal(size=(18, 5)), unit, 6)
        values.append(apartness(columns.sum(axis=0, keepdims=True), 6)[0])
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))


def test_ranks_of_one_value_say_nothing() -> None:
    assert rank_test(np.ones(5), np.ones(30)).p_value == 1.0


def test_a_deadline_in_a_common_time_zone_is_no_synchrony_but_on_one_day_it_is() -> None:
    rng = np.random.default_rng(0)
    day, slot = rng.integers(0, 5, 200), np.clip(rng.normal(140, 6, 200).astype(int), 0, SLOTS - 1)
    unit, life = np.repeat(np.arange(10), 20), np.tile([0, 4], (10, 1))
    everybody, weekend = np.full(5 * 24, 10), np.zeros(5, bool)
    every_day = synchrony(day, slot, unit, life, everybody=everybody, is_weekend=weekend, seed=0)
    one_day = synchrony(np.full(200, 2), slot, unit, life, everybody=everybody, is_weekend=weekend, seed=0)
    assert every_day is not None
    assert one_day is not None
    assert every_day[0].p_value > 0.01
    assert one_day[0].p_value <= 0.001


def test_what_moves_all_traffic_is_no_synchrony() -> None:
    """Everybody asks on one day, the pool too."""
    rng = np.random.default_rng(0)
    day = np.where(rng.random(200) < 0.8, 2, rng.integers(0, 5, 200))
    slot, unit, life = rng.integers(0, SLOTS, 200), np.repeat(np.arange(10), 20), np.tile([0, 4], (10, 1))
    everybody = np.repeat([5, 5, 84, 5, 5], 24)
    found = synchrony(day, slot, unit, life, everybody=everybody, is_weekend=np.zeros(5, bool), seed=0)
    assert found is not None
    assert found[0].p_value > 0.05


def test_too_little_gives_no_evidence() -> None:
    few = Comparison(np.arange(30), np.repeat(np.arange(3), 10), np.arange(3) < 2)
    gaps = np.ones(30)
    assert batch_rhythm(gaps, few.unit, few.member) is None
    assert equal_rhythm(gaps, few, seed=0) is None
    assert own_rhythm(gaps, few.unit, np.arange(30) % 2 == 0, 3) is None
    assert equal_spans(np.arange(30), few, seed=0) is None
    assert equal_shares(np.array([5, 6, 7]), np.arange(5, 100), seed=0) is None
    assert growth(np.arange(30), few.unit.astype(np.int32), few.member, 15, least=1) is None
    assert relay(np.zeros(3, np.int64), np.full(3, DAY_US), 0, 7 * DAY_US, seed=0) is None
    assert partition(np.arange(30), np.zeros(30, np.int64), few, seed=0) is None
    assert dealt(np.arange(3, dtype=np.int32), np.arange(3, dtype=np.int32), 100) is None
    assert shared_values({}, few.member) is None
    assert excess_test(np.ones(3, int), np.full(3, 5), few.member, seed=0) is None
    one = np.zeros(5, np.int64)
    life = np.zeros((1, 2), np.int64)
    assert synchrony(one, one, one, life, everybody=np.ones(96), is_weekend=np.zeros(4, bool), seed=0) is None
