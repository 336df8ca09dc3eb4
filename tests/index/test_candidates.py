"""How a search among cells is told of, and that it can be stopped anywhere."""

import numpy as np
import pytest

from coterie.domain import CancelledRunError
from coterie.index import candidates as candidates_module
from coterie.index import graph as graph_module
from coterie.index import neighbour_graph
from coterie.index.candidates import chance_worth_reading, portions
from coterie.index.ticks import no_tick, part_of


def test_a_search_by_cells_ticks_every_few_of_them(unit, monkeypatch):
    monkeypatch.setattr(graph_module, "gpu_device", lambda: None, raising=False)
    monkeypatch.setattr(graph_module, "ALL_PAIRS_ROWS_MAX", 100)
    vectors, shares = unit(2_000), []
    neighbour_graph(vectors, 5, progress=shares.append)
    few = len(shares)
    monkeypatch.setattr(candidates_module, "_CELLS_A_TICK", 1)
    shares.clear()
    neighbour_graph(vectors, 5, progress=shares.append)
    assert shares == sorted(shares)
    # 40 cells, read in two passes: the nearest ones, and those that promise something.
    assert len(shares) == few + 2 * (40 - 5)
    for stop_at in range(1, len(shares) + 1, 7):
        asked: list[int] = []
        with pytest.raises(CancelledRunError):
            neighbour_graph(
                vectors, 5, cancelled=lambda asked=asked, at=stop_at: bool(asked.append(1)) or len(asked) == at
            )
        assert len(asked) == stop_at


def test_portions_cover_every_number_once_and_tell_how_far_they_are():
    told: list[float] = []
    taken = []
    for some, tick_part in portions(10, told.append, 4):
        taken += some.tolist()
        tick_part(0.5)
    assert taken == list(range(10))
    np.testing.assert_allclose(told, [0.0, 0.2, 0.4, 0.6, 0.8, 0.9])
    assert list(portions(0, no_tick)) == []


def test_a_part_of_a_part_ends_where_the_next_begins():
    told: list[float] = []
    half = part_of(told.append, 0.5, 0.5)
    part_of(half, 0.0, 0.2)(1.0)
    part_of(half, 0.2, 0.8)(0.0)
    half(1.0)
    np.testing.assert_allclose(told, [0.6, 0.6, 1.0])


def test_fewer_cells_are_worth_reading_the_more_rows_there_are():
    assert chance_worth_reading(10, 10) == 0.5
    chances = [chance_worth_reading(30, n) for n in (10_000, 200_000, 1_000_000)]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] == pytest.approx(0.5 * 30 / 10_000)
    assert chances[1] == pytest.approx(3.5 * 30 / 200_000)
