"""The measurements of the living graph, on a stand-in that is exact: recall 1, and the families found from scratch."""

import numpy as np
import pytest

import coterie.index
from bench.cluster.living import Rows, _churn, _growth
from coterie.domain import NeighbourGraph


class ExactLivingGraph:
    """Searches everything anew whenever it is asked."""

    def __init__(self, dim, k=30, slack=10, seed=0):
        self.rows = {}

    def add(self, ids, vectors):
        assert not set(ids.tolist()) & set(self.rows), "a row is added once"
        self.rows.update(zip(ids.tolist(), vectors, strict=True))

    def remove(self, ids):
        for row in ids.tolist():
            del self.rows[row]

    def graph(self, ids, k):
        held = np.array(sorted(self.rows))
        vectors = np.array([self.rows[row] for row in held.tolist()])
        likeness = vectors @ vectors.T
        np.fill_diagonal(likeness, -2.0)
        nearest = np.argsort(-likeness, axis=1, kind="stable")[:, :k].astype(np.int32)
        return held, NeighbourGraph(nearest, np.take_along_axis(likeness, nearest, 1))

    def recall(self, sample=500):
        return 1.0


@pytest.fixture
def rows(world, monkeypatch):
    monkeypatch.setattr(coterie.index, "LivingGraph", ExactLivingGraph, raising=False)
    return Rows(world.vectors, world.label, world.band, 0)


def test_growth_adds_the_last_hundredth(rows):
    growth = _growth(rows)
    assert (growth["rows"], growth["new"]) == (1_000, 10)
    assert growth["ari_to_scratch"] > 0.98
    assert growth["quality"]["family_recall"]["all"] == growth["scratch_quality"]["family_recall"]["all"] > 0.5
    assert growth["graph_recall"]["all"] == 1.0
    assert growth["run"]["wall_s"] == pytest.approx(
        sum(part["wall_s"] for part in growth["run_parts"].values()), abs=0.003
    )


def test_churn_moves_a_twentieth_each_round_and_takes_recall_of_what_is_held(rows):
    churn = _churn(rows, 20)
    assert (churn["rows"], churn["moved_each_round"], len(churn["rounds"])) == (500, 25, 20)
    assert all(one["graph_recall"] == one["fresh_graph_recall"] for one in churn["rounds"])
    assert churn["rounds"][-1]["graph_recall"]["all"] == 1.0


def test_churn_sees_a_graph_that_goes_bad(rows, monkeypatch):
    class Forgetful(ExactLivingGraph):
        def graph(self, ids, k):
            held, graph = super().graph(ids, k)
            graph.neighbours[np.arange(0, len(held), 2)] = -1
            return held, graph

    monkeypatch.setattr(coterie.index, "LivingGraph", Forgetful)
    assert _churn(rows, 1)["rounds"][0]["graph_recall"]["all"] == pytest.approx(0.5, abs=0.01)
