"""The control of false discoveries: what counts as a hypothesis, and how far p-values pass."""

from dataclasses import replace

import numpy as np
import pytest
from worlds import World

from coterie.detection.candidates import Candidate
from coterie.detection.decision import AGREEMENT_POOLS_MIN, _agreed, _limit
from coterie.detection.decision import test_candidate as judged
from coterie.detection.parameters import Parameters
from coterie.detection.pools import find_principals
from coterie.detection.view_data import items_of_views, read_views

STRICT = replace(Parameters(), finding_rate=0.02, null_share=1.0)


def apart(count: int, *, first: int = 0, size: int = 4) -> list[np.ndarray]:
    """Groups of principals that have nobody in common."""
    return [np.arange(first + size * number, first + size * (number + 1), dtype=np.int32) for number in range(count)]


def test_groups_apart_pass_as_benjamini_and_hochberg_say() -> None:
    p_values = np.array([1e-5, 3e-4, 5e-4, 0.01, *np.full(96, 0.5)])
    assert _limit(apart(100), p_values, STRICT) == pytest.approx(0.02 * 3 / 100)


def test_pieces_of_a_campaign_are_neither_nulls_nor_discoveries() -> None:
    campaigns = [np.arange(20, dtype=np.int32), np.arange(20, 40, dtype=np.int32)]
    pieces = [np.arange(start, start + 3, dtype=np.int32) for start in range(17)] * 5
    others = apart(8, first=40)
    p_values = np.array([1e-6, 3e-3, *np.full(len(pieces), 0.3), *np.full(len(others), 0.7)])
    # Two found among ten that are about different principals; the pieces of the first would have made it 95.
    assert _limit(campaigns + pieces + others, p_values, STRICT) == pytest.approx(0.02 * 2 / 10)
    assert _limit(campaigns + apart(len(pieces), first=100) + others, p_values, STRICT) < 3e-3


def test_clear_pieces_make_no_room_for_another_discovery() -> None:
    whole = np.arange(20, dtype=np.int32)
    pieces = [np.arange(start, start + 3, dtype=np.int32) for start in range(17)]
    others = apart(10, first=20)
    p_values = np.array([1e-6, *np.full(len(pieces), 1e-5), 6e-3, *np.full(9, 0.7)])
    # One of eleven, and not eighteen of twenty-eight.
    assert _limit([whole, *pieces, *others], p_values, STRICT) == pytest.approx(0.02 / 11)


def test_false_discoveries_among_nulls_are_as_rare_as_the_rate_says() -> None:
    rng = np.random.default_rng(0)
    rate = replace(STRICT, finding_rate=0.1)
    groups = apart(60)
    passed = [_limit(groups, p_values, rate) >= p_values.min() for p_values in rng.uniform(size=(400, 60))]
    assert 0.04 < np.mean(passed) < 0.16


def test_who_is_in_one_pool_of_many_is_let_go() -> None:
    world = World(5)
    world.people(30)
    members = world.campaign("team", 10)
    list_subject = np.mean([world.vectors[text] for account, text, *_ in world.asked if account in members], axis=0)
    world.ask("bystander", [world.text(list_subject / np.linalg.norm(list_subject), spread=1.2) for _ in range(15)])
    window = world.window()
    views = read_views(window, items_of_views(window, find_principals(window)), window.texts)
    items = views["raw"].items
    parameters = Parameters()

    def pool(*names: str) -> np.ndarray:
        numbers = [window.rows.account_ids.index(name) for name in names]
        return np.flatnonzero(np.isin(items.principal, numbers))

    def verdict(*names: str):
        return judged(Candidate("test", "raw", pool(*names)), views["raw"], parameters)

    with_bystander = verdict(*members, "bystander")
    assert not with_bystander.reason
    without = [verdict(*members)] * AGREEMENT_POOLS_MIN
    names = [window.rows.account_ids[number] for number in with_bystander.principals]
    assert "bystander" in names
    agreed = _agreed(with_bystander, [with_bystander, *without], views, parameters, 0.01)
    assert {window.rows.account_ids[number] for number in agreed.principals} == set(members)
    few = [with_bystander, *without[2:]]
    assert _agreed(with_bystander, few, views, parameters, 0.01) is with_bystander
