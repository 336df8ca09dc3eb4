"""A graph comes back as it was and goes on as it would have, or is refused."""

import numpy as np
import pytest

from coterie.domain import InvalidError, UnavailableError
from coterie.index import LivingGraph, VectorIndex
from coterie.index import graph as graph_module
from coterie.index import living as living_module
from coterie.index import snapshot as snapshot_module


@pytest.fixture(params=[False, True], ids=["all pairs", "cells"])
def with_cells(request, monkeypatch):
    if request.param:
        for module in (graph_module, living_module):
            monkeypatch.setattr(module, "ALL_PAIRS_ROWS_MAX", 200)
    return request.param


@pytest.fixture
def vectors(unit):
    return unit(500, 24, centres=20)


@pytest.fixture
def graph(with_cells, vectors):
    made = LivingGraph(24, 6, slack=2, seed=3)
    made.add(np.arange(400) * 3, vectors[:400])
    made.remove(np.arange(0, 300, 9))
    made.add(np.arange(400, 450) * 3, vectors[400:450])
    assert (made._cells is not None) == with_cells
    return made


@pytest.fixture
def saved(graph, tmp_path):
    path = tmp_path / "deep" / "graph"
    graph.save(path, last_vector=77, last_erasure=5)
    return path


def load(path):
    return LivingGraph.load(path, 24, 6, slack=2, seed=3)


def same(one, other):
    np.testing.assert_array_equal(one.ids(), other.ids())
    np.testing.assert_array_equal(one.vectors(one.ids()), other.vectors(one.ids()))
    for ids in (None, one.ids()[5:380:2]):
        of_one, of_other = one.graph(ids)[1], other.graph(ids)[1]
        np.testing.assert_array_equal(of_one.neighbours, of_other.neighbours)
        np.testing.assert_array_equal(of_one.similarities, of_other.similarities)


def test_comes_back_with_its_sequences_and_goes_on_alike(graph, saved, vectors):
    loaded, last_vector, last_erasure = load(saved)
    assert (last_vector, last_erasure) == (77, 5)
    same(loaded, graph)
    for each in (loaded, graph):
        each.remove(np.arange(300, 600, 6))
        each.add(np.arange(450, 500) * 3, vectors[450:])
    same(loaded, graph)
    for each in (loaded, graph):
        assert each.remove(np.arange(0, 1_500, 6)) > 100
    same(loaded, graph)


def test_an_empty_graph_comes_back(tmp_path):
    LivingGraph(4).save(tmp_path / "g", last_vector=0, last_erasure=9)
    loaded, _, last_erasure = LivingGraph.load(tmp_path / "g", 4)
    assert (len(loaded), last_erasure) == (0, 9)
    loaded.add([1, 2], np.eye(4, dtype=np.float32)[:2])
    assert loaded.graph()[1].neighbours[:, 0].tolist() == [1, 0]


def test_any_flipped_bit_and_any_other_length_is_refused(saved):
    whole = saved.read_bytes()
    for position in (0, 9, 40, len(whole) // 2, len(whole) - 40, len(whole) - 1):
        flipped = bytearray(whole)
        flipped[position] ^= 0x10
        saved.write_bytes(flipped)
        with pytest.raises(UnavailableError, match="damaged"):
            load(saved)
    for changed in (b"", whole[:50], whole[: len(whole) // 2], whole[:-1], whole + b"\0"):
        saved.write_bytes(changed)
        with pytest.raises(UnavailableError, match="damaged"):
            load(saved)


@pytest.mark.parametrize(
    ("dim", "k", "slack", "seed"), [(25, 6, 2, 3), (24, 5, 3, 3), (24, 6, 3, 3), (24, 7, 2, 3), (24, 6, 2, 0)]
)
def test_another_graph_is_refused(saved, dim, k, slack, seed):
    with pytest.raises(UnavailableError, match="another graph"):
        LivingGraph.load(saved, dim, k, slack=slack, seed=seed)


def test_an_index_is_no_graph_and_a_graph_no_index(saved, tmp_path):
    with pytest.raises(UnavailableError, match="it holds"):
        VectorIndex.load(saved, 24)
    VectorIndex(24).save(tmp_path / "i", last_vector=0, last_erasure=0)
    with pytest.raises(UnavailableError, match="another graph"):
        load(tmp_path / "i")
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(UnavailableError, match="cannot be read"):
            load(path)
    with pytest.raises(InvalidError):
        LivingGraph.load(saved, 24, 0)


def change(graph, name, value):
    getattr(graph, name)[(7,) * getattr(graph, name).ndim] = value


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("_rows", 10**6, "a row that is not there"),
        ("_rows", "rows", "a row that is not there"),
        ("_rows", -2, "a row that is not there"),
        ("_ids", -1, "negative"),
        ("_ids", "first", "twice"),
        ("_cell", -1, "a cell"),
        ("_cell", "cells", "a cell"),
    ],
)
def test_a_whole_file_that_names_what_is_not_there_is_refused(graph, with_cells, tmp_path, name, value, what):
    if name == "_cell" and not with_cells:
        pytest.skip("all pairs need no cells")
    cells = 0 if graph._cells is None else graph._cells.count
    change(graph, name, {"rows": len(graph), "first": graph._ids[0], "cells": cells}.get(value, value))
    graph.save(tmp_path / "g", last_vector=0, last_erasure=0)
    with pytest.raises(UnavailableError, match=what):
        load(tmp_path / "g")


@pytest.mark.parametrize("rows", [0, 415, 417, 10**12])
def test_a_header_that_does_not_fit_its_arrays_is_refused(graph, saved, monkeypatch, rows):
    write = snapshot_module.write_snapshot
    monkeypatch.setattr(
        living_module, "write_snapshot", lambda path, header, payload: write(path, {**header, "rows": rows}, payload)
    )
    assert len(graph) == 416
    graph.save(saved, last_vector=0, last_erasure=0)
    with pytest.raises(UnavailableError, match="damaged"):
        load(saved)


def test_a_save_that_fails_leaves_the_old_file(graph, saved, monkeypatch):
    before = saved.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(snapshot_module.os, "fsync", full)
    with pytest.raises(UnavailableError, match="No space left"):
        graph.save(saved, last_vector=78, last_erasure=5)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
