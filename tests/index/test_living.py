"""The living graph against one that is made anew, whatever came, went and was asked for."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie.domain import InvalidError
from coterie.index import LivingGraph, graph_recall, neighbour_graph
from coterie.index import candidates as candidates_module
from coterie.index import graph as graph_module
from coterie.index import living as living_module
from coterie.index import tiles as tiles_module


@pytest.fixture
def by_cells(monkeypatch):
    """Cells and slices by the lists from a few hundred rows on."""
    monkeypatch.setattr(graph_module, "gpu_device", lambda: None)
    for module in (graph_module, living_module):
        monkeypatch.setattr(module, "ALL_PAIRS_ROWS_MAX", 500)


def check(ids, graph, vectors_by_id, k):
    """Every list is that of brute force, up to the order of ties."""
    n = len(ids)
    assert graph.neighbours.shape == graph.similarities.shape == (n, k)
    if not n:
        return
    vectors = np.array([vectors_by_id[one] for one in ids.tolist()], np.float16).astype(np.float64)
    true = vectors @ vectors.T
    np.fill_diagonal(true, -np.inf)
    findable = min(k, n - 1)
    assert (graph.neighbours[:, findable:] == -1).all()
    found = graph.neighbours[:, :findable]
    assert (found >= 0).all(), "a list is as long as it can be"
    assert (found != np.arange(n)[:, None]).all(), "a row is not its own neighbour"
    assert all(len(set(row)) == findable for row in found.tolist()), "a neighbour is named once"
    reached = np.take_along_axis(true, found, 1)
    np.testing.assert_allclose(np.sort(reached)[:, ::-1], np.sort(true)[:, ::-1][:, :findable], atol=1e-6)
    # Of equal vectors a graph made anew says 1, and float16 rows are of length 1 within a thousandth.
    np.testing.assert_allclose(graph.similarities[:, :findable], reached, atol=2e-3)
    assert (np.diff(graph.similarities, axis=1) <= 0).all()


def same(one, other):
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(one[1].neighbours, other[1].neighbours)
    np.testing.assert_array_equal(one[1].similarities, other[1].similarities)


CHANGES = st.lists(
    st.tuples(st.booleans(), st.lists(st.tuples(st.integers(0, 39), st.integers(0, 59)), max_size=25)), max_size=12
)


@settings(deadline=None, max_examples=80)
@given(CHANGES, st.integers(1, 7), st.integers(0, 3))
def test_any_changes_in_any_order_give_the_graph_of_what_is_left(changes, k, slack):
    random = np.random.default_rng(7)
    pool = random.normal(size=(60, 12))
    pool[40:] = pool[random.integers(0, 8, 20)]  # some texts come under several ids
    pool = (pool / np.linalg.norm(pool, axis=1, keepdims=True)).astype(np.float32)
    graph, expected = LivingGraph(12, k, slack=slack), {}
    for adding, pairs in changes:
        ids = np.array([one for one, _ in pairs], np.int64)
        if adding:
            graph.add(ids, pool[[row for _, row in pairs]].reshape(-1, 12))
            expected.update({one: pool[row] for one, row in pairs})
        else:
            held = set(ids.tolist()) & set(expected)
            assert graph.remove(ids) == len(held)
            for one in held:
                del expected[one]
        assert len(graph) == len(expected)
        assert set(graph.ids().tolist()) == set(expected)
        check(*graph.graph(), expected, k)
    assert graph.recall() == 1.0


def test_a_graph_that_shrank_to_less_than_k_grows_again(unit):
    vectors = unit(60)
    near = np.argsort(-(vectors @ vectors[0]))
    graph = LivingGraph(16, 10, slack=2)
    graph.add(near[:30], vectors[near[:30]])
    graph.remove(near[8:30])
    graph.add(near[-3:], vectors[near[-3:]])  # further away than all that the lists ever held
    check(*graph.graph(), dict(enumerate(vectors)), 10)


def test_recall_by_cells_stays_that_of_a_fresh_graph(unit, by_cells):
    vectors = unit(8_000, 48, centres=160)
    graph = LivingGraph(48, 15, slack=5)
    graph.add(np.arange(4_000), vectors[:4_000])
    assert graph._cells is not None
    random = np.random.default_rng(1)
    for first in range(4_000, 8_000, 200):
        graph.remove(random.permutation(graph.ids())[:200])
        graph.add(np.arange(first, first + 200), vectors[first : first + 200])
    ids, found = graph.graph()
    assert len(ids) == 4_000
    held = graph.vectors(ids)
    fresh = graph_recall(neighbour_graph(held, 15), held, sample=2_000)
    assert fresh > 0.97
    assert graph_recall(found, held, sample=2_000) > fresh - 0.01
    assert graph.recall(sample=2_000) == graph_recall(found, held, sample=2_000)


def test_recall_holds_without_structure_and_where_lists_are_searched_again(unit, by_cells):
    vectors = unit(3_000, 32)
    graph = LivingGraph(32, 10, slack=2)
    graph.add(np.arange(2_000), vectors[:2_000])
    for first in range(2_000, 3_000, 250):
        graph.add(np.arange(first, first + 250), vectors[first : first + 250])
        graph.remove(np.arange(first - 2_000, first - 1_750))
    held = graph.vectors(graph.ids())
    fresh = graph_recall(neighbour_graph(held, 10), held)
    # Here fresh lists are at .9, and neighbours of neighbours lead nowhere.
    assert graph.recall() > fresh - 0.02


def test_a_graph_that_grows_little_by_little_gets_cells_and_outgrows_them(unit, by_cells):
    vectors = unit(2_400, 32, centres=50)
    graph = LivingGraph(32, 10, slack=5)
    counts = []
    for first in range(0, 2_400, 100):
        graph.add(np.arange(first, first + 100), vectors[first : first + 100])
        counts.append(0 if graph._cells is None else graph._cells.count)
    assert counts[4] == 0 < counts[5] < counts[-1]
    assert graph.recall(sample=1_000) > 0.97
    graph.remove(np.arange(0, 2_000))
    assert graph._cells is None
    assert graph.recall(sample=1_000) > 0.97


@pytest.mark.parametrize("all_pairs_rows_max", [500, 20_000])
def test_an_id_that_comes_again_counts_with_its_new_vector(unit, monkeypatch, all_pairs_rows_max):
    for module in (graph_module, living_module):
        monkeypatch.setattr(module, "ALL_PAIRS_ROWS_MAX", all_pairs_rows_max)
    vectors = unit(801)
    graph = LivingGraph(16, 5)
    graph.add(np.arange(800), vectors[:800])
    graph.add([3, 9, 3], vectors[[7, 11, 800]])
    assert len(graph) == 800
    np.testing.assert_array_equal(graph.vectors([3, 9]), vectors[[800, 11]].astype(np.float16))
    ids, found = graph.graph()
    place = {one: at for at, one in enumerate(ids.tolist())}
    assert ids[found.neighbours[place[9], 0]] == 11
    assert ids[found.neighbours[place[11], 0]] == 9
    assert place[7] not in found.neighbours[place[3], :1]


def test_nothing_added_nothing_removed_and_unknown_ids_change_nothing(unit):
    graph = LivingGraph(16, 5)
    graph.add(np.empty(0, np.int64), np.empty((0, 16), np.float32))
    assert (len(graph), graph.remove([1, 2]), graph.recall()) == (0, 0, 1.0)
    graph.add(np.arange(40), unit(40))
    before = graph.graph()
    graph.add([], np.empty((0, 16), np.float32))
    assert graph.remove([]) == graph.remove([40, 99]) == 0
    same(graph.graph(), before)


def test_all_that_is_removed_leaves_an_empty_graph_that_can_be_filled(unit, by_cells):
    vectors = unit(600)
    graph = LivingGraph(16, 5)
    graph.add(np.arange(600), vectors)
    assert graph.remove(np.arange(600)) == 600
    ids, found = graph.graph()
    assert (len(graph), len(ids), found.neighbours.shape) == (0, 0, (0, 5))
    graph.add(np.arange(20), vectors[:20])
    check(*graph.graph(), dict(enumerate(vectors)), 5)


def slices(n, random):
    yield random.permutation(n)[: n // 10]
    yield random.permutation(n)[: n * 7 // 10]
    yield random.permutation(n)
    yield np.arange(n)[::-1]


def test_a_slice_is_the_graph_of_its_rows_in_their_order(unit):
    vectors = unit(300)
    graph = LivingGraph(16, 6, slack=3)
    graph.add(np.arange(300) * 7, vectors)
    for at in slices(300, np.random.default_rng(0)):
        for k in (6, 2):
            ids, found = graph.graph(at * 7, k)
            np.testing.assert_array_equal(ids, at * 7)
            check(ids, found, dict(zip((np.arange(300) * 7).tolist(), vectors, strict=True)), k)


def test_a_slice_by_cells_finds_what_a_fresh_graph_of_it_finds(unit, by_cells):
    vectors = unit(3_000, 32, centres=60)
    graph = LivingGraph(32, 10, slack=3)
    graph.add(np.arange(3_000), vectors)
    graph.remove(np.arange(0, 300))
    for at in slices(2_700, np.random.default_rng(0)):
        ids, found = graph.graph(at + 300)
        np.testing.assert_array_equal(ids, at + 300)
        held = graph.vectors(ids)
        fresh = graph_recall(neighbour_graph(held, 10), held)
        assert graph_recall(found, held) > fresh - 0.01
        stated = np.einsum("ijk,ik->ij", held[found.neighbours], held)
        np.testing.assert_allclose(found.similarities[found.neighbours >= 0], stated[found.neighbours >= 0], atol=1e-5)
        assert all(len(set(row)) == 10 for row in found.neighbours.tolist())


@pytest.mark.parametrize("n", [0, 1, 3])
def test_a_slice_of_fewer_than_k_is_padded(unit, n):
    graph = LivingGraph(16, 6)
    graph.add(np.arange(50), unit(50))
    ids, found = graph.graph(np.arange(n))
    check(ids, found, dict(enumerate(unit(50))), 6)


def test_a_slice_knows_what_was_added_since_the_last_one(unit):
    vectors = unit(100)
    graph = LivingGraph(16, 6)
    graph.add(np.arange(10), vectors[:10])
    graph.graph(np.arange(5))
    graph.add(np.arange(10, 90), vectors[10:90])  # made anew
    graph.graph(np.arange(80, 90))
    graph.add(np.arange(90, 100), vectors[90:])  # put in
    ids, found = graph.graph(np.arange(50, 100))
    check(ids, found, dict(enumerate(vectors)), 6)
    graph.remove([70])
    with pytest.raises(InvalidError, match="does not"):
        graph.vectors([70])


@pytest.mark.parametrize(
    ("ids", "k"),
    [([0, 50], 3), ([1, 1], 3), ([-1], 3), ([0.5], 3), ([[1]], 3), ([1, 2], 7), ([1, 2], 0), (None, 7), ([10**15], 3)],
)
def test_a_slice_that_cannot_be_is_refused(unit, ids, k):
    graph = LivingGraph(16, 6)
    graph.add(np.arange(50), unit(50))
    with pytest.raises(InvalidError):
        graph.graph(ids, k)


def test_an_empty_graph_has_no_ids_to_slice():
    graph = LivingGraph(16, 6)
    assert graph.graph([])[1].size == 0
    with pytest.raises(InvalidError, match="does not"):
        graph.graph([1])


def test_many_equal_vectors_are_each_others_neighbours_however_they_come(unit, by_cells):
    others, one = unit(700, centres=12), unit(1, seed=9)
    graph = LivingGraph(16, 8, slack=2)
    graph.add(np.arange(700), others)
    for first in (1_000, 1_030, 1_060):
        graph.add(np.arange(first, first + 30), one.repeat(30, axis=0))
    graph.remove(np.arange(1_000, 1_025))
    ids, found = graph.graph()
    copies = ids >= 1_000
    assert copies.sum() == 65
    assert (ids[found.neighbours[copies]] >= 1_000).all()
    np.testing.assert_allclose(found.similarities[copies], 1.0, atol=2e-3)
    assert all(len(set(row)) == 8 for row in found.neighbours.tolist())


def bad(what, unit):
    ids, vectors = np.arange(45, 55), unit(10, seed=5)
    if what == "nan":
        vectors[3, 2] = np.nan
    elif what == "infinite":
        vectors[3, 2] = np.inf
    elif what == "length":
        vectors[3] *= 1.1
    elif what == "dim":
        vectors = unit(10, 15)
    elif what == "negative":
        ids[4] = -1
    elif what == "number":
        ids = ids[:9]
    elif what == "kind":
        ids = ids + 0.5
    return ids, vectors


@pytest.mark.parametrize("what", ["nan", "infinite", "length", "dim", "negative", "number", "kind"])
def test_wrong_input_is_refused_and_changes_nothing(unit, what):
    graph = LivingGraph(16, 6)
    graph.add(np.arange(50), unit(50))
    before = graph.graph()
    with pytest.raises(InvalidError):
        graph.add(*bad(what, unit))
    same(graph.graph(), before)
    with pytest.raises(InvalidError):
        graph.remove([3, -1])
    same(graph.graph(), before)


@pytest.mark.parametrize(("k", "slack"), [(0, 1), (1_001, 0), (5, -1), (1_000, 1)])
def test_k_and_slack_have_limits(k, slack):
    with pytest.raises(InvalidError, match="1000"):
        LivingGraph(16, k, slack=slack)


class StoppedError(Exception):
    """Raised by a tick."""


@pytest.mark.parametrize("all_pairs_rows_max", [500, 20_000])
@pytest.mark.parametrize("new", [100, 900])
def test_a_tick_that_raises_leaves_the_graph_without_the_new_rows(unit, monkeypatch, all_pairs_rows_max, new):
    monkeypatch.setattr(graph_module, "gpu_device", lambda: None)
    for module in (graph_module, living_module):
        monkeypatch.setattr(module, "ALL_PAIRS_ROWS_MAX", all_pairs_rows_max)
    monkeypatch.setattr(candidates_module, "PLANNED_AT_ONCE", 300)
    monkeypatch.setattr(tiles_module, "_TILE_ROWS", 300)
    monkeypatch.setattr(graph_module, "_ROWS_AT_ONCE", 300)
    monkeypatch.setattr(living_module, "_OFFERED_AT_ONCE", 30)
    vectors = unit(800 + new, 32, centres=20)
    ids = np.arange(10, 810 + new)

    def grown(stop_at):
        graph, ticks = LivingGraph(32, 8, slack=1), []
        graph.add(ids[:800], vectors[:800])

        def tick(share):
            ticks.append(share)
            if len(ticks) == stop_at:
                raise StoppedError

        if stop_at is None:
            graph.add(ids[800:], vectors[800:], tick=tick)
        else:
            with pytest.raises(StoppedError):
                graph.add(ids[800:], vectors[800:], tick=tick)
        return graph, ticks

    whole, ticks = grown(None)
    assert len(ticks) > 3
    assert ticks == sorted(ticks)
    assert all(0 <= share <= 1 for share in ticks)
    for stop_at in {1, 2, len(ticks) // 2, len(ticks) - 1, len(ticks)}:
        graph, _ = grown(stop_at)
        held, found = graph.graph()
        np.testing.assert_array_equal(held, ids[:800])
        assert graph_recall(found, graph.vectors(held)) > 0.99
        assert all(len(set(row)) == 8 for row in found.neighbours.tolist())
        graph.add(ids[800:], vectors[800:])
        assert graph.recall() > whole.recall() - 0.01


def test_the_same_calls_give_the_same_graph(unit, by_cells):
    vectors = unit(1_500, 32, centres=30)

    def made():
        graph = LivingGraph(32, 8, slack=2, seed=4)
        graph.add(np.arange(1_000), vectors[:1_000])
        graph.remove(np.arange(0, 400, 3))
        graph.add(np.arange(1_000, 1_500), vectors[1_000:])
        return graph

    same(made().graph(), made().graph())
    some = np.arange(400, 1_500, 2)
    same(made().graph(some), made().graph(some))


def test_whoever_reads_while_another_changes_sees_a_whole_graph(unit):
    vectors = unit(900, centres=30)
    graph = LivingGraph(16, 6, slack=2)
    graph.add(np.arange(300), vectors[:300])
    failures: list[BaseException] = []
    done, read = threading.Event(), threading.Event()

    def change():
        try:
            for first in range(300, 900, 50):
                # On busy cores the reader might otherwise come only when all is over.
                assert read.wait(60)
                read.clear()
                graph.add(np.arange(first, first + 50), vectors[first : first + 50])
                graph.remove(np.arange(first - 300, first - 275))
        except BaseException as error:  # noqa: BLE001 (told to the test's own thread)
            failures.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=change)
    thread.start()
    seen = set()
    while not done.is_set():
        ids, found = graph.graph()
        seen.add(len(ids))
        read.set()
        check(ids, found, dict(enumerate(vectors)), 6)
        kept = graph.ids()[-100:]  # the newest stay longest
        check(*graph.graph(kept), dict(enumerate(vectors)), 6)
    thread.join()
    assert not failures
    assert len(seen) > 1
    assert len(graph) == 600
    check(*graph.graph(), dict(enumerate(vectors)), 6)
