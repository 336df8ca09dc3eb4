"""The graphs that runs share: what they hold, when they are made anew, and what a restart or an erasure leaves."""

from pathlib import Path

import numpy as np
import pytest

from coterie.domain import AccountId, CancelledRunError, Exchange, ExchangeId
from coterie.index import neighbour_graph
from coterie.server.graphs import Graphs
from coterie.store import Store, open_store

DIM, K = 16, 5


def unit(n: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, DIM))
    # As the store keeps them: float16 holds these values exactly.
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)


@pytest.fixture
def store(tmp_path: Path):
    opened = open_store(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def graphs(store: Store) -> Graphs:
    return Graphs(store, "model", DIM, K, 300.0)


def take(graphs: Graphs, ids, vectors, *, whole=True, name="raw"):
    return graphs.of(name, np.asarray(ids), vectors, whole=whole, progress=lambda _: None)


def assert_as_built(found, vectors) -> None:
    expected = neighbour_graph(vectors, min(K, len(vectors) - 1))
    np.testing.assert_array_equal(found.neighbours, expected.neighbours)
    np.testing.assert_allclose(found.similarities, expected.similarities, atol=1e-6)


def test_a_run_pays_for_what_is_new_and_gets_the_graph_of_its_own_texts(graphs: Graphs) -> None:
    vectors = unit(220)
    found, new = take(graphs, np.arange(200), vectors[:200])
    assert new == 200
    assert_as_built(found, vectors[:200])
    # The window has moved on: ten texts have left, twenty have come.
    found, new = take(graphs, np.arange(10, 220), vectors[10:])
    assert new == 20
    assert_as_built(found, vectors[10:])


def test_the_order_of_the_texts_is_the_callers(graphs: Graphs) -> None:
    vectors = unit(60)
    take(graphs, np.arange(60), vectors)
    order = np.random.default_rng(1).permutation(60)
    found, new = take(graphs, order, vectors[order])
    assert new == 0
    assert_as_built(found, vectors[order])


def test_a_slice_takes_what_it_needs_and_leaves_the_whole_window(graphs: Graphs) -> None:
    vectors = unit(300)
    take(graphs, np.arange(200), vectors[:200])
    found, new = take(graphs, np.arange(0, 200, 2), vectors[:200:2], whole=False)
    assert new == 0
    assert_as_built(found, vectors[:200:2])
    # Of a foreign window it makes a graph and forgets it.
    found, new = take(graphs, np.arange(200, 300), vectors[200:], whole=False)
    assert new == 100
    assert_as_built(found, vectors[200:])
    _, new = take(graphs, np.arange(200), vectors[:200])
    assert new == 0


def test_a_text_whose_vector_changed_is_put_in_again(graphs: Graphs) -> None:
    vectors = unit(100)
    take(graphs, np.arange(100), vectors)
    changed = vectors.copy()
    changed[7] = unit(1, seed=9)[0]
    found, new = take(graphs, np.arange(100), changed)
    assert new == 1
    assert_as_built(found, changed)


def test_a_window_that_keeps_little_makes_the_graph_anew(graphs: Graphs) -> None:
    vectors = unit(300)
    take(graphs, np.arange(200), vectors[:200])
    found, new = take(graphs, np.arange(150, 300), vectors[150:])
    assert new == 150
    assert_as_built(found, vectors[150:])


@pytest.mark.parametrize("n", [1, 2, 3])
def test_hardly_any_text(graphs: Graphs, n: int) -> None:
    vectors = unit(n)
    found, _ = take(graphs, np.arange(n), vectors)
    assert found.size == n
    assert (found.neighbours < n).all()


def test_a_restart_goes_on_from_the_snapshot_and_a_damaged_one_is_built_anew(graphs: Graphs, store: Store) -> None:
    vectors = unit(200)
    take(graphs, np.arange(200), vectors)
    graphs.save()
    again = Graphs(store, "model", DIM, K, 300.0)
    found, new = take(again, np.arange(200), vectors)
    assert new == 0
    assert_as_built(found, vectors)
    for path in (store.data_dir / "index").rglob("*"):
        if path.is_file():
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
    found, new = take(Graphs(store, "model", DIM, K, 300.0), np.arange(200), vectors)
    assert new == 200
    assert_as_built(found, vectors)


def test_another_model_or_k_does_not_take_this_ones_snapshot(graphs: Graphs, store: Store) -> None:
    vectors = unit(50)
    take(graphs, np.arange(50), vectors)
    graphs.save()
    for other in (Graphs(store, "other", DIM, K, 300.0), Graphs(store, "model", DIM, K + 1, 300.0)):
        _, new = take(other, np.arange(50), vectors)
        assert new == 50


def test_what_was_erased_leaves_graph_and_snapshot(graphs: Graphs, store: Store) -> None:
    texts = [f"prompt number {number}" for number in range(40)]
    store.append(
        [
            Exchange(ExchangeId(f"x{number}"), AccountId(f"a{number % 2}"), 1_700_000_000_000_000 + number, text)
            for number, text in enumerate(texts)
        ]
    )
    store.bind_model("model", DIM)
    ids = np.array([text_id for text_id, _ in store.pending_texts(100)])
    vectors = unit(len(ids))
    store.put_vectors(ids, vectors)
    take(graphs, ids, vectors)
    graphs.save()
    (snapshot,) = (store.data_dir / "index").glob("graph-*")
    other = snapshot.with_name("graph-raw-0123456789ab.coterie")  # of another model, say
    other.write_bytes(snapshot.read_bytes())
    store.erase_account(AccountId("a1"), 1_700_000_100_000_000)
    graphs.erase()
    assert not other.exists()
    content, halves = snapshot.read_bytes(), vectors.astype(np.float16)
    gone = set(store.erased_since(0)[1].tolist())
    assert [half.tobytes() in content for half in halves] == [text_id not in gone for text_id in ids.tolist()]
    left = np.setdiff1d(ids, store.erased_since(0)[1])
    assert 0 < len(left) < len(ids)
    for held in (graphs, Graphs(store, "model", DIM, K, 300.0)):
        assert set(held._held("raw").ids().tolist()) == set(left.tolist())


def test_an_erasure_before_any_run_removes_the_snapshots_of_the_time_before(graphs: Graphs, store: Store) -> None:
    take(graphs, np.arange(50), unit(50))
    graphs.save()
    Graphs(store, "model", DIM, K, 300.0).erase()
    assert not list((store.data_dir / "index").glob("graph-*"))


def test_stopping_a_rebuild_leaves_the_graph_that_was_there(graphs: Graphs) -> None:
    vectors = unit(300)
    take(graphs, np.arange(200), vectors[:200])

    def stop(_: float) -> None:
        raise CancelledRunError("stopped")

    with pytest.raises(CancelledRunError):
        graphs.of("raw", np.arange(150, 300), vectors[150:], whole=True, progress=stop)
    _, new = take(graphs, np.arange(200), vectors[:200])
    assert new == 0


def test_a_slice_that_sees_other_vectors_leaves_the_whole_windows(graphs: Graphs) -> None:
    vectors = unit(100)
    take(graphs, np.arange(100), vectors)
    other = vectors[:50].copy()
    other[7] = unit(1, seed=9)[0]
    found, new = take(graphs, np.arange(50), other, whole=False)
    assert new == 50
    assert_as_built(found, other)
    _, new = take(graphs, np.arange(100), vectors)
    assert new == 0


def test_stopping_leaves_a_graph_that_the_next_run_can_use(graphs: Graphs) -> None:
    vectors = unit(200)
    take(graphs, np.arange(150), vectors[:150])

    def stop(_: float) -> None:
        raise CancelledRunError("stopped")

    with pytest.raises(CancelledRunError):
        graphs.of("raw", np.arange(200), vectors, whole=True, progress=stop)
    found, _ = take(graphs, np.arange(200), vectors)
    assert_as_built(found, vectors)
