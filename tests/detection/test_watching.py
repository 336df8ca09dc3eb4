"""Who is near a pool, who joined it, and which pools a run leaves to be followed."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import World

from coterie.detection import Parameters, detect, fits_pool, has_grown, near_pools, newcomers, sample
from coterie.domain import FindingKind


def fits(_: int) -> bool:
    return True


def test_near_needs_two_neighbours_in_the_pool_and_more_than_chance() -> None:
    small, large = np.arange(10, 20), np.arange(100, 700)
    neighbours = np.array(
        [
            [10, *range(20, 34)],  # one of fifteen
            [10, 11, *range(20, 33)],
            [10, 11, *range(20, 33)][::-1],
            [*range(100, 108), *range(20, 27)],  # eight of fifteen, where chance gives nine
            [*range(100, 115)],
            [*range(20, 35)],
        ]
    )
    near = near_pools(neighbours, [small, large], 1_000)
    assert near.tolist() == [[False, False], [True, False], [True, False], [False, False], [False, True], [False] * 2]


def test_only_the_first_fifteen_neighbours_count_and_padding_does_not() -> None:
    far = np.array([[*range(20, 35), 10, 11, 12]])
    short = np.array([[10, 11, *[-1] * 13]])
    assert not near_pools(far, [np.arange(10, 20)], 1_000).any()
    assert near_pools(short, [np.arange(10, 20)], 1_000).all()
    assert near_pools(short, [], 1_000).shape == (1, 0)
    assert not near_pools(short, [np.zeros(0, np.int64)], 1_000).any()


@given(st.integers(0, 2**32 - 1))
def test_nearness_is_what_counting_by_hand_gives(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pools = [np.unique(rng.choice(60, rng.integers(1, 30))) for _ in range(3)]
    neighbours = np.array([rng.permutation(60)[:15] for _ in range(8)])
    near = near_pools(neighbours, pools, 60)
    for row, found in enumerate(neighbours):
        for number, pool in enumerate(pools):
            inside = len(set(found.tolist()) & set(pool.tolist()))
            odds = inside / max(15 - inside, 0.5)
            chance = len(pool) / 60 / (1 - len(pool) / 60)
            assert near[row, number] == (inside >= 2 and odds >= 4 * chance)


def test_a_customer_joins_when_chance_does_not_explain_its_prompts() -> None:
    near = np.array([0] * 50 + [8, 2, 1])
    prompts = np.array([10] * 50 + [10, 2, 10])
    joined, p_value = newcomers(near, prompts, fits)
    assert np.flatnonzero(joined).tolist() == [50]
    assert p_value[50] < 1e-6
    # Not even two of two: three prompts are the least.
    assert not joined[51]


def test_with_nobody_to_compare_with_nobody_joins() -> None:
    assert not newcomers(np.array([30]), np.array([30]), fits)[0].any()
    assert not newcomers(np.zeros(0, np.int64), np.zeros(0, np.int64), fits)[0].any()
    # Everybody asks like that: then it is what everybody asks.
    assert not newcomers(np.full(30, 8), np.full(30, 10), fits)[0].any()


def test_several_that_join_at_once_do_not_hide_each_other_and_those_that_do_not_fit_stay() -> None:
    near = np.array([0] * 30 + [9, 9, 9, 5])
    prompts = np.full(34, 10)
    joined, _ = newcomers(near, prompts, fits)
    assert np.flatnonzero(joined).tolist() == [30, 31, 32, 33]
    asked: list[int] = []

    def only_one(customer: int) -> bool:
        asked.append(customer)
        return customer == 30

    joined, _ = newcomers(near, prompts, only_one)
    assert np.flatnonzero(joined).tolist() == [30]
    assert len(asked) == len(set(asked))


def test_under_the_null_customers_join_as_rarely_as_promised() -> None:
    """A thousand worlds of forty alike customers: the chance that any of them joins is at most .001."""
    rng = np.random.default_rng(3)
    falsely = 0
    for _ in range(1_000):
        prompts = rng.integers(1, 40, 40)
        near = rng.binomial(prompts, 0.1)
        falsely += bool(newcomers(near, prompts, fits)[0].any())
    assert falsely <= 4  # 1 expected at most; Poisson, p < .004


def vectors(world: World, subject: np.ndarray, count: int, spread: float) -> np.ndarray:
    return np.array([world.vectors[world.text(subject, spread=spread)] for _ in range(count)])


def test_a_slice_of_the_list_fits_and_a_subject_of_its_own_or_another_does_not() -> None:
    world = World(4)
    subject = world.subject()
    pool = vectors(world, subject, 300, 2.0)
    slices = [fits_pool(vectors(world, subject, 12, 2.0), pool, seed=seed) for seed in range(40)]
    assert np.mean(slices) >= 0.85  # 19 in 20 are expected
    for seed in range(20):
        inside = world.subject(around=subject, spread=0.8)
        assert not fits_pool(vectors(world, inside, 12, 1.2), pool, seed=seed)
        assert not fits_pool(vectors(world, world.subject(), 12, 2.0), pool, seed=seed)
    assert not fits_pool(pool[:1], pool)
    assert not fits_pool(pool[:5], pool[:1])


@pytest.mark.parametrize(("new", "most", "grown"), [(24, 4, False), (25, 0, True), (0, 5, True), (0, 0, False)])
def test_a_pool_has_grown_by_a_quarter_or_by_one_more_slice(new: int, most: int, grown: bool) -> None:
    assert has_grown(100, new, most) is grown


def test_a_sample_is_even_and_never_larger_than_asked() -> None:
    values = np.arange(10, 110)
    assert sample(values, 100) is values
    assert sample(values, 3).tolist() == [10, 59, 109]


def test_a_campaign_with_too_few_texts_is_watched_and_one_that_is_reported_is_not() -> None:
    world = World(1)
    world.people(40)
    members = world.campaign("team", 12)
    window = world.window()
    found = detect(window)
    assert [finding.kind for finding in found.findings] == [FindingKind.CAMPAIGN]
    assert found.watched == ()
    missed = detect(window, replace(Parameters(), texts_min=1_000))
    assert missed.findings == ()
    assert missed.measures["watched"] == len(missed.watched) >= 1
    clearest = missed.watched[0]
    assert set(clearest.account_ids) == set(members)
    texts = {
        number + 1
        for number, name in enumerate(window.texts)
        if any(row[1] == name for row in world.asked if row[0] in members)
    }
    assert set(clearest.text_ids) <= texts
    assert "distinct texts were harvested, 1000" in clearest.reason
    assert [pool.p_value for pool in missed.watched] == sorted(pool.p_value for pool in missed.watched)


def test_people_alone_leave_hardly_anything_to_watch() -> None:
    watched = []
    for seed in range(4):
        world = World(seed)
        world.people(60)
        watched += detect(world.window()).watched
    assert len(watched) <= 2
