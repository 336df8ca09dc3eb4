"""Families from run to run: who is who, what became of the others, and that ids are never given twice."""

import time
from dataclasses import replace

import numpy as np
import pytest
from worlds import World, exact_graph

from coterie.detection import detect
from coterie.detection.family_identity import FamilyIdentity, identify_families
from coterie.domain import Family, FamilyHistory, FamilyId, FamilyLabels, FamilyLineage, FamilyRecord, View, Window


def labels_of(groups: dict[str, list[int]], noise: list[int] | None = None) -> FamilyLabels:
    """An earlier run's families: text ids by family id."""
    pairs = [(text, number) for number, texts in enumerate(groups.values()) for text in texts]
    pairs = sorted(pairs + [(text, -1) for text in noise or []])
    texts = np.array([text for text, _ in pairs], np.int64)
    family = np.array([number for _, number in pairs], np.int32)
    return FamilyLabels(
        texts,
        family,
        np.ones(len(pairs), np.float32),
        np.ones(len(pairs), np.int32),
        tuple(FamilyId(name) for name in groups),
        np.ones(len(groups), np.float32),
    )


def identify(
    now: list[list[int]],
    then: dict[str, list[int]],
    *,
    noise_now: list[int] | None = None,
    noise_then: list[int] | None = None,
    same_slice: bool = True,
    last_number: int = 90,
) -> FamilyIdentity:
    current = labels_of({str(number): texts for number, texts in enumerate(now)}, noise_now)
    history = FamilyHistory(labels_of(then, noise_then), (), same_slice, last_number)
    return identify_families(current.text_ids, current.family, history)


def span(first: int, count: int) -> list[int]:
    return list(range(first, first + count))


def test_without_a_past_all_are_born_and_numbered_in_order() -> None:
    identity = identify_families(np.arange(6), np.array([0, 0, -1, 1, 1, 0], np.int32), FamilyHistory())
    assert identity.family_ids == ("family-1", "family-2")
    assert set(identity.lineage) == {FamilyLineage.BORN}
    assert (identity.gone, identity.last_number) == ((), 2)


def test_best_overlap_goes_first_and_each_id_once() -> None:
    then = {"family-1": span(0, 10), "family-2": span(10, 10)}
    # The first holds more of family-2 than of family-1, but the second holds nearly all of family-2.
    identity = identify([[*span(0, 4), 19], span(10, 9)], then, noise_now=span(4, 6))
    assert identity.family_ids == ("family-1", "family-2")
    assert identity.lineage == (FamilyLineage.STEADY, FamilyLineage.STEADY)


def test_texts_that_only_one_run_held_tell_nothing() -> None:
    """The window moved: most of the family's texts left, and many came."""
    identity = identify([span(30, 100)], {"family-7": span(0, 40)}, noise_then=[], last_number=7)
    assert identity.family_ids == ("family-7",)
    assert identity.lineage == (FamilyLineage.GROWN,)
    # The same sizes, all held by both runs: too little overlap.
    everything = span(0, 130)
    identity = identify(
        [span(30, 100)],
        {"family-7": span(0, 40)},
        noise_now=span(0, 30),
        noise_then=[text for text in everything if text >= 40],
        last_number=7,
    )
    assert identity.family_ids == ("family-8",)
    assert identity.gone == ("family-7",)


def test_growth_is_by_more_than_a_tenth() -> None:
    then = {"family-1": span(0, 100)}
    assert identify([span(0, 110)], then).lineage == (FamilyLineage.STEADY,)
    assert identify([span(0, 111)], then).lineage == (FamilyLineage.GROWN,)
    assert identify([span(0, 60)], then, noise_now=span(60, 40)).lineage == (FamilyLineage.STEADY,)


def test_a_family_that_falls_apart_is_split_and_its_largest_part_keeps_the_id() -> None:
    identity = identify([span(60, 40), span(0, 60)], {"family-5": span(0, 100)})
    assert identity.family_ids == ("family-91", "family-5")
    assert identity.lineage == (FamilyLineage.SPLIT, FamilyLineage.SPLIT)
    assert identity.lineage_of == (("family-5",), ("family-5",))
    assert identity.gone == ()


def test_a_crumb_is_born_and_what_it_fell_from_is_not_split() -> None:
    identity = identify([span(0, 95), span(95, 5)], {"family-5": span(0, 100)})
    assert identity.lineage == (FamilyLineage.STEADY, FamilyLineage.BORN)


def test_a_family_in_four_equal_parts_has_no_heir_but_is_not_gone() -> None:
    identity = identify([span(25 * part, 25) for part in range(4)], {"family-5": span(0, 100)})
    assert identity.family_ids == ("family-91", "family-92", "family-93", "family-94")
    assert identity.lineage == (FamilyLineage.SPLIT,) * 4
    assert identity.gone == ()


def test_what_flows_together_is_merged_under_the_id_of_most_overlap() -> None:
    identity = identify([span(0, 100)], {"family-1": span(0, 30), "family-2": span(30, 70)})
    assert identity.family_ids == ("family-2",)
    assert identity.lineage == (FamilyLineage.MERGED,)
    assert identity.lineage_of == (("family-1", "family-2"),)
    assert identity.gone == ()


def test_the_last_texts_of_a_family_that_the_window_left_behind_merge_nothing() -> None:
    then = {"family-1": span(0, 50), "family-2": span(50, 50)}
    identity = identify([[49, *span(50, 50)]], then)  # texts 0 to 48 are outside this window
    assert identity.family_ids == ("family-2",)
    assert identity.lineage == (FamilyLineage.STEADY,)
    assert identity.gone == ("family-1",)


def test_a_run_on_another_slice_takes_ids_over_and_ends_nothing() -> None:
    then = {"family-1": span(0, 100), "family-2": span(100, 50), "family-3": span(150, 50)}
    identity = identify([span(0, 20), span(100, 100), span(500, 20)], then, same_slice=False)
    assert identity.family_ids == ("family-1", "family-2", "family-91")
    assert identity.lineage == (FamilyLineage.STEADY, FamilyLineage.STEADY, FamilyLineage.BORN)
    assert identity.lineage_of == ((), (), ())
    assert identity.gone == ()


def test_a_family_of_which_an_erasure_left_nothing_is_nobody() -> None:
    then = labels_of({"family-1": span(0, 20), "family-2": span(20, 20)}).without(np.arange(20))
    identity = identify_families(np.arange(20, 40), np.zeros(20, np.int32), FamilyHistory(then, (), True, 2))
    assert identity.family_ids == ("family-2",)
    assert identity.gone == ()


@pytest.mark.parametrize("seed", range(5))
def test_matching_is_the_greedy_best_overlap_of_a_plain_search(seed: int) -> None:
    rng = np.random.default_rng(seed)
    now = rng.integers(-1, 12, 400).astype(np.int32)
    then = np.where(rng.random(400) < 0.7, now, rng.integers(-1, 12, 400)).astype(np.int32)
    held_now, held_then = rng.random(400) < 0.9, rng.random(400) < 0.9
    ids = np.arange(400)
    both = held_now & held_then
    pairs = []
    for a in range(12):
        for b in range(12):
            common = np.sum(both & (now == a) & (then == b))
            union = np.sum(both & ((now == a) | (then == b)))
            pairs.append((-common / max(union, 1), -common, b, a))
    expected: dict[int, int] = {}
    for score, _, b, a in sorted(pairs):
        if -score >= 0.3 and a not in expected and b not in expected.values():
            expected[a] = b
    earlier = FamilyLabels(
        ids[held_then],
        then[held_then],
        np.ones(held_then.sum(), np.float32),
        np.ones(held_then.sum(), np.int32),
        tuple(FamilyId(f"old-{number}") for number in range(12)),
        np.ones(12, np.float32),
    )
    identity = identify_families(ids[held_now], now[held_now], FamilyHistory(earlier))
    kept = {a: int(name[4:]) for a, name in enumerate(identity.family_ids) if name.startswith("old-")}
    assert kept == expected
    assert len(set(identity.family_ids)) == 12


def test_cost_is_linear_in_texts_and_not_in_pairs_of_families() -> None:
    """Fifty thousand families on each side: a loop over pairs would take hours."""
    n, count = 500_000, 50_000
    now = (np.arange(n) % count).astype(np.int32)
    earlier = FamilyLabels(
        np.arange(n),
        np.roll(now, 1),
        np.ones(n, np.float32),
        np.ones(n, np.int32),
        tuple(FamilyId(f"family-{number}") for number in range(count)),
        np.ones(count, np.float32),
    )
    started_s = time.perf_counter()
    identity = identify_families(np.arange(n), now, FamilyHistory(earlier, last_number=count))
    assert time.perf_counter() - started_s < 20
    assert set(identity.lineage) == {FamilyLineage.STEADY}


def history_of(record: FamilyRecord) -> FamilyHistory:
    living = tuple(family for family in record.families if family.lineage is not FamilyLineage.GONE)
    return FamilyHistory(record.labels, living, True, record.number_after)


def by_id(record: FamilyRecord) -> dict[str, Family]:
    return {family.family_id: family for family in record.families}


def stable(world: World) -> Window:
    """The world's window, with text ids that stay from window to window."""
    window = world.window()
    number = {name: place + 1 for place, name in enumerate(world.vectors)}
    ids = np.array([number[name] for name in window.texts])
    order = np.argsort(ids)
    rank = np.argsort(order).astype(np.int32)
    vectors = window.raw.vectors[order]
    view = View("raw", vectors, exact_graph(vectors, 20), rank[window.raw.text])
    rows = replace(window.rows, prompt=ids[window.raw.text])
    return replace(
        window, rows=rows, text_ids=ids[order], texts=tuple(np.array(window.texts)[order]), views={"raw": view}
    )


def test_runs_of_a_growing_world_keep_their_families() -> None:
    world = World(11)
    for name in ("team", "crew", "unit"):
        world.campaign(name, 8, spread=0.6)
    first = detect(stable(world))
    assert first.families is not None
    assert first.measures["families_born"] == first.measures["families"] > 2
    rows = stable(world).rows
    for family in first.families.families:
        number = first.families.labels.family_ids.index(family.family_id)
        texts = first.families.labels.text_ids[first.families.labels.family == number]
        mine = np.isin(rows.prompt, texts)
        assert (family.texts, family.exchanges) == (len(texts), mine.sum())
        assert family.accounts == len(np.unique(rows.account[mine]))
        assert (family.first_seen_us, family.last_seen_us) == (rows.time_us[mine].min(), rows.time_us[mine].max())
        assert family.exemplar in {rows.exchange_ids[row] for row in np.flatnonzero(mine)}
        core = np.sort(first.families.labels.core_distance[first.families.labels.family == number])
        assert family.gate_distance == pytest.approx(core[int(np.ceil(0.98 * len(core))) - 1])
    again = detect(stable(world), history=history_of(first.families))
    assert again.families is not None
    assert again.measures["families_steady"] == first.measures["families"]
    assert by_id(again.families).keys() == by_id(first.families).keys()
    assert [finding.families for finding in again.findings] == [finding.families for finding in first.findings]

    world.asked = [row for row in world.asked if not row[0].startswith("crew")]
    world.campaign("band", 8, spread=0.6)
    third = detect(stable(world), history=history_of(again.families))
    assert third.families is not None
    lineages = [family.lineage for family in third.families.families]
    assert lineages[-1] is FamilyLineage.GONE
    assert third.measures["families_gone"] == lineages.count(FamilyLineage.GONE) >= 1
    assert third.measures["families_born"] >= 1
    born = [family.family_id for family in third.families.families if family.lineage is FamilyLineage.BORN]
    assert not set(born) & by_id(first.families).keys()
    fourth = detect(stable(world), history=history_of(third.families))
    assert fourth.measures["families_gone"] == 0
