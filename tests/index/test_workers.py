"""A loop that is shared out does its work once, on one core or many."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from coterie.index import graph as graph_module
from coterie.index import neighbour_graph, workers


@pytest.fixture(params=[1, 2, 7])
def core_count(request, monkeypatch):
    with ThreadPoolExecutor(max(1, request.param - 1)) as pool:
        monkeypatch.setattr(workers, "cores", lambda: request.param)
        monkeypatch.setattr(workers, "_pool", lambda: pool)
        yield request.param


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 1_000])
def test_every_row_is_worked_on_once(core_count, count):
    times = np.zeros(count, np.int64)
    parts = []

    def loop(step, low, high, out):
        parts.append((low, high))
        out[low:high] += step

    workers.share(loop, count, (3,), (times,))
    assert times.tolist() == [3] * count
    assert len(parts) == (core_count if count >= 64 else 1)


def test_a_part_that_fails_is_heard_of(core_count):
    def loop(low, high):
        if high == 100:
            raise ValueError("the last part")

    with pytest.raises(ValueError, match="the last part"):
        workers.share(loop, 100, (), ())


def test_the_graph_does_not_depend_on_the_cores(unit, monkeypatch):
    monkeypatch.setattr(graph_module, "gpu_device", lambda: None)
    monkeypatch.setattr(graph_module, "ALL_PAIRS_ROWS_MAX", 500)
    vectors = unit(1_500, 32, centres=20)
    graphs = []
    for count in (1, 2, 5):
        with ThreadPoolExecutor(max(1, count - 1)) as pool:
            monkeypatch.setattr(workers, "cores", lambda count=count: count)
            monkeypatch.setattr(workers, "_pool", lambda pool=pool: pool)
            graphs.append(neighbour_graph(vectors, 10))
    for graph in graphs[1:]:
        np.testing.assert_array_equal(graph.neighbours, graphs[0].neighbours)
        np.testing.assert_array_equal(graph.similarities, graphs[0].similarities)
