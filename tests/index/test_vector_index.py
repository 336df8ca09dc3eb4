"""The FAISS index and its NumPy twin: the same calls on both, results compared."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie.domain import InvalidError
from coterie.index import NumpyIndex, VectorIndex

DIM = 8


def vectors_of(seeds):
    """One unit row per number, always the same."""
    rows = np.array([np.random.default_rng(seed).normal(size=DIM) for seed in seeds]).reshape(-1, DIM)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def assert_same_hits(index, twin, queries, k, allowed=None):
    ids, similarities = index.search(queries, k, allowed=allowed)
    twin_ids, twin_similarities = twin.search(queries, k, allowed=allowed)
    assert ids.shape == similarities.shape == (len(queries), k)
    assert (ids.dtype, similarities.dtype) == (np.int64, np.float32)
    np.testing.assert_allclose(similarities, twin_similarities, atol=1e-5)
    np.testing.assert_array_equal(ids < 0, twin_ids < 0)
    for row in range(len(queries)):
        held = ids[row][ids[row] >= 0]
        assert len(set(held.tolist())) == len(held), "an id is found once"
        # Ids may differ only where similarities are as good as equal.
        unlike = ids[row] != twin_ids[row]
        others = np.abs(twin_similarities[row][:, None] - twin_similarities[row]) < 1e-5
        last = np.abs(twin_similarities[row] - twin_similarities[row, -1]) < 1e-5
        assert (~unlike | (others.sum(axis=1) > 1) | last).all()


STEPS = st.one_of(
    st.tuples(st.just("add"), st.lists(st.tuples(st.integers(0, 25), st.integers(0, 9)), max_size=8)),
    st.tuples(st.just("remove"), st.lists(st.integers(0, 30), max_size=6)),
    st.tuples(st.just("search"), st.tuples(st.integers(1, 40), st.none() | st.lists(st.integers(0, 30), max_size=12))),
    st.tuples(st.just("reload"), st.none()),
)


@pytest.mark.parametrize("flat_rows_max", [10_000, 6])
@settings(deadline=None, max_examples=60)
@given(steps=st.lists(STEPS, max_size=14))
def test_any_sequence_of_calls_gives_what_the_twin_gives(tmp_path_factory, flat_rows_max, steps):
    index, twin = VectorIndex(DIM, flat_rows_max=flat_rows_max), NumpyIndex(DIM)
    folder = tmp_path_factory.mktemp("index")
    for name, argument in steps:
        if name == "add":
            ids, vectors = [id_ for id_, _ in argument], vectors_of([seed for _, seed in argument])
            index.add(np.array(ids, dtype=np.int64), vectors)
            twin.add(np.array(ids, dtype=np.int64), vectors)
        elif name == "remove":
            assert index.remove(argument) == twin.remove(argument)
        elif name == "search":
            k, allowed = argument
            chosen = None if allowed is None else np.array(allowed, dtype=np.int64)
            assert_same_hits(index, twin, vectors_of([0, 50]), k, chosen)
        else:
            index.save(folder / "a", last_vector=1, last_erasure=2)
            twin.save(folder / "b", last_vector=1, last_erasure=2)
            index, *_ = VectorIndex.load(folder / "a", DIM)
            twin, *_ = NumpyIndex.load(folder / "b", DIM)
        assert len(index) == len(twin)
        np.testing.assert_array_equal(index.ids(), twin.ids())
        assert all((id_ in index) == (id_ in twin) for id_ in range(32))


@pytest.fixture(params=["flat", "inverted"])
def filled(request, unit):
    """An index of 3,000 families' vectors and its twin, either kind."""
    index = VectorIndex(16, flat_rows_max=10_000 if request.param == "flat" else 500, probes=10_000)
    twin = NumpyIndex(16)
    vectors, ids = unit(3_000, centres=60), np.arange(3_000) * 7 + 3
    for half in (slice(0, 1_500), slice(1_500, 3_000)):
        index.add(ids[half], vectors[half])
        twin.add(ids[half], vectors[half])
    assert bool(index.state.lists) == (request.param == "inverted")
    return index, twin, ids, vectors


def test_every_vector_finds_itself(filled):
    index, _, ids, vectors = filled
    found, similarities = index.search(vectors, 1)
    assert (similarities > 0.9999).all()
    assert (found[:, 0] == ids).mean() > 0.99


def test_hits_are_those_of_the_twin(filled, unit):
    index, twin, _, _ = filled
    queries = unit(40, seed=5, centres=60)
    assert_same_hits(index, twin, queries, 10)
    assert_same_hits(index, twin, queries, 4_000)


def test_inverted_search_finds_nearly_all_of_the_true_hits_within_its_probes(unit):
    index, twin = VectorIndex(32, flat_rows_max=500, probes=64), NumpyIndex(32)
    vectors = unit(6_000, 32, centres=150)
    index.add(np.arange(6_000), vectors)
    twin.add(np.arange(6_000), vectors)
    assert index.state.lists > 64, "not every list is probed"
    found, _ = index.search(vectors[:300], 10)
    expected, _ = twin.search(vectors[:300], 10)
    recall = np.mean([np.isin(expected[row], found[row]).mean() for row in range(300)])
    assert recall > 0.97


@pytest.mark.parametrize("scored_exactly_max", [20_000, 0])
def test_only_allowed_ids_are_hits(filled, unit, monkeypatch, scored_exactly_max):
    monkeypatch.setattr("coterie.index.parts._SCORED_EXACTLY_MAX", scored_exactly_max)
    index, twin, ids, _ = filled
    queries = unit(10, seed=6)
    for allowed in (ids[::13], np.r_[ids[:3], 1, 2, 1_000_000], ids[:0], np.array([1]), ids[[5, 5, 5]]):
        assert_same_hits(index, twin, queries, 20, allowed)


def test_removed_ids_are_found_no_more_and_replaced_ones_at_their_new_place(filled):
    index, twin, ids, vectors = filled
    assert index.remove(ids[:100]) == twin.remove(ids[:100]) == 100
    assert index.remove(ids[:100]) == 0
    moved = ids[200:300]
    for each in (index, twin):
        each.add(moved, -vectors[200:300])
    assert len(index) == len(twin) == 2_900
    found, similarities = index.search(-vectors[200:300], 1)
    np.testing.assert_array_equal(found[:, 0], moved)
    np.testing.assert_allclose(similarities, 1.0, atol=1e-5)
    assert not np.isin(ids[:100], index.search(vectors[:100], 50)[0]).any()
    assert_same_hits(index, twin, vectors[::100], 30)


def test_an_inverted_file_is_trained_again_when_it_has_outgrown_its_lists(unit):
    index = VectorIndex(16, flat_rows_max=100)
    index.add(np.arange(101), unit(101))
    lists = index.state.lists
    index.add(np.arange(101, 1_000), unit(899, seed=1))
    assert index.state.lists >= 2 * lists
    assert len(index) == index.state.rows == 1_000


def test_nothing_in_the_index_gives_padding(unit):
    index = VectorIndex(16)
    ids, similarities = index.search(unit(2), 3)
    assert ids.tolist() == [[-1] * 3] * 2
    assert similarities.tolist() == [[-1.0] * 3] * 2
    assert index.search(unit(0), 3)[0].shape == (0, 3)
    index.add(np.array([], dtype=np.int64), unit(0))
    assert len(index) == 0
    assert index.remove([]) == 0


@pytest.mark.parametrize("kind", [VectorIndex, NumpyIndex])
def test_wrong_input_is_refused_and_changes_nothing(kind, unit):
    index = kind(16)
    index.add([1], unit(1))
    nan = unit(1)
    nan[0, 0] = np.nan
    for ids, vectors in (
        ([2], unit(1, 15)),
        ([2], unit(2)),
        ([-1], unit(1)),
        ([2.5], unit(1)),
        ([[2]], unit(1)),
        ([2], nan),
        ([2], np.zeros((1, 16), np.float32)),
        ([2], unit(1) * 3),
    ):
        with pytest.raises(InvalidError):
            index.add(ids, vectors)
    for queries, k in ((unit(1, 15), 1), (nan, 1), (unit(1)[0], 1), (unit(1), 0), (unit(1), 16_385)):
        with pytest.raises(InvalidError):
            index.search(queries, k)
    with pytest.raises(InvalidError):
        index.search(unit(1), 1, allowed=np.array([-4]))
    assert index.ids().tolist() == [1]


@pytest.mark.parametrize("dim", [0, -1, 5_000])
def test_dim_has_limits(dim):
    with pytest.raises(InvalidError, match="1 to 4096"):
        VectorIndex(dim)


def test_readers_see_whole_changes_while_writers_write(unit):
    index = VectorIndex(16, flat_rows_max=300)
    vectors = unit(1_200)
    index.add(np.arange(100), vectors[:100])
    stop, failures, searches = threading.Event(), [], [0]

    def read():
        while not stop.is_set():
            ids, similarities = index.search(vectors[:4], 5)
            searches[0] += 1
            # Ids 0 to 99 are never touched: each must always find itself.
            if ids[:, 0].tolist() != [0, 1, 2, 3] or similarities[:, 0].min() < 0.999:
                failures.append(ids[:, 0].tolist())

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for start in range(100, 1_200, 50):
        index.add(np.arange(start, start + 50), vectors[start : start + 50])
        index.remove(np.arange(start, start + 25))
    stop.set()
    for reader in readers:
        reader.join(timeout=30)
        assert not reader.is_alive()
    assert failures == []
    assert searches[0] > 0
    assert index.state.lists
    assert len(index) == 100 + 1_100 // 2


def test_vectors_are_given_back_in_the_order_asked():
    index = VectorIndex(8, flat_rows_max=50)
    rows = np.random.default_rng(3).normal(size=(120, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    index.add(np.arange(120), rows)  # beyond the flat rows: from an inverted file
    np.testing.assert_allclose(index.vectors([7, 119, 0]), rows[[7, 119, 0]], atol=1e-6)
    with pytest.raises(InvalidError, match="not in the index"):
        index.vectors([7, 120])


def test_fewer_probes_find_less_and_all_of_them_everything():
    rows = np.random.default_rng(4).normal(size=(3_000, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    exact = NumpyIndex(16)
    exact.add(np.arange(3_000), rows)
    truth, _ = exact.search(rows[:100], 10)
    recalls = []
    for probes in (1, 3_000):
        index = VectorIndex(16, flat_rows_max=500, probes=probes)
        index.add(np.arange(3_000), rows)
        found, _ = index.search(rows[:100], 10)
        recalls.append((found[:, :, None] == truth[:, None, :]).any(axis=1).mean())
    assert recalls[0] < 0.8 < recalls[1]
    assert recalls[1] == pytest.approx(1.0)
