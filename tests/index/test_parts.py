"""Searches go on as they were while an index is built anew, and nothing is lost that changes meanwhile."""

import threading

import numpy as np
import pytest

from coterie.index import NumpyIndex, VectorIndex
from coterie.index import vector_index as vector_index_module


@pytest.fixture
def built_slowly(monkeypatch):
    """Building waits, where it has its rows, until it is let go: (reached, go)."""
    reached, go = threading.Event(), threading.Event()
    make = vector_index_module.made_part

    def slow(*arguments):
        reached.set()
        assert go.wait(20)
        return make(*arguments)

    monkeypatch.setattr(vector_index_module, "made_part", slow)
    return reached, go


def test_searches_and_changes_go_on_while_lists_are_built(unit, built_slowly):
    reached, go = built_slowly
    index, twin = VectorIndex(16, flat_rows_max=500, probes=10_000), NumpyIndex(16)
    vectors = unit(900, centres=60)
    index.put(np.arange(600), vectors[:600])
    twin.add(np.arange(600), vectors[:600])
    building = threading.Thread(target=index.maintain)
    building.start()
    assert reached.wait(20)
    for each, add in ((index, index.put), (twin, twin.add)):
        each.remove(np.arange(50))
        add(np.arange(100, 120), -vectors[100:120])  # at another place than the one that is being built
        add(np.arange(600, 900), vectors[600:])
        each.remove(np.arange(610, 620))
    assert index.state.lists == 0, "still searched exactly"
    found, similarities = index.search(vectors[::10], 7)
    expected, _ = twin.search(vectors[::10], 7)
    np.testing.assert_array_equal(found, expected)
    go.set()
    building.join(20)
    assert not building.is_alive()
    assert index.state.lists > 0
    np.testing.assert_array_equal(index.ids(), twin.ids())
    found, after = index.search(vectors[::10], 7)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(after, similarities, atol=1e-6)


def test_a_view_stays_as_it_was(unit):
    index = VectorIndex(16, flat_rows_max=100, probes=10_000)
    vectors = unit(400)
    index.add(np.arange(200), vectors[:200])
    view = index.view()
    before = view.search(vectors[:50], 3, None)
    index.remove(np.arange(100))
    index.add(np.arange(200, 400), vectors[200:])
    for old, new in zip(before, view.search(vectors[:50], 3, None), strict=True):
        np.testing.assert_array_equal(old, new)
    assert (len(view), len(index)) == (200, 300)


def test_there_are_few_parts_and_the_tail_is_short_however_rows_come(unit):
    index = VectorIndex(16, flat_rows_max=100)
    vectors = unit(6_000, centres=200)
    for start in range(0, 6_000, 40):
        index.add(np.arange(start, start + 40), vectors[start : start + 40])
        assert index.state.tail_rows <= 100
        assert len(index.view().parts) <= 6
    assert index.state.rows == 6_000
    assert index.state.recall >= 0.98, "measured"
    assert index.state.probes < index.state.lists


def test_probes_are_as_few_as_the_recall_allows(unit):
    exact = NumpyIndex(32)
    index = VectorIndex(32, flat_rows_max=500)
    vectors, queries = np.split(unit(8_400, 32, centres=400), [8_000])
    index.add(np.arange(8_000), vectors)
    exact.add(np.arange(8_000), vectors)
    found, truth = index.search(queries, 10)[0], exact.search(queries, 10)[0]
    recall = (found[:, :, None] == truth[:, None, :]).any(axis=1).mean()
    assert recall > 0.96
    assert index.state.probes < index.state.lists / 2


def test_what_was_removed_is_in_no_snapshot_and_leaves_memory(unit, tmp_path):
    index = VectorIndex(16, flat_rows_max=100)
    vectors = unit(400)
    index.add(np.arange(400), vectors)
    index.remove(np.arange(0, 400, 7))
    assert index.save(tmp_path / "a", last_vector=1, last_erasure=1) == len(index)
    content = (tmp_path / "a").read_bytes()
    assert vectors[7].tobytes() not in content
    assert vectors[8].tobytes() in content
    index.maintain()
    (part,) = index.view().parts
    assert part.removed == 0
    assert not (part.rows == vectors[7]).all(axis=1).any()
