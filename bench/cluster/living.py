"""What the living graph saves, and whether it stays as good as a new one.

Growth: 99 % of the rows are there; the last 1 % is added, then the whole is clustered, beside a run from scratch.
Churn: half of the rows are there; in 20 rounds 5 % of them are removed and as many others added, and after each the
graph's recall is taken, after some beside that of a graph built anew from the rows that are then there.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.cluster.cost import timed
from bench.cluster.engines import MIN_CLUSTER_SIZE, MIN_SAMPLES
from bench.cluster.quality import RECALL_K, agreement, graph_recall, planted_quality, sample_of, true_similarities

K = 30
NEW_SHARE, MOVED_SHARE = 0.01, 0.05
ROUNDS, FRESH_EVERY = 20, 5
FRESH_ALWAYS_ROWS_MAX = 10_000
CHURN_ROWS_MAX = 250_000
WARM_ROWS = (3_000, 25_000)


@dataclass(frozen=True, slots=True)
class Rows:
    """The world, and the seed of what is drawn.

    Attributes:
        vectors: float32[n, dim], unit rows; a row's number is its id.
        planted: int32[n], family of each row, or what else it is.
        band: int8[families].
    """

    vectors: NDArray[np.float32]
    planted: NDArray[np.int32]
    band: NDArray[np.int8]
    seed: int


def measure_living(
    vectors: NDArray[np.float32], planted: NDArray[np.int32], band: NDArray[np.int8], seed: int
) -> dict[str, Any]:
    """Growth and churn, after calls of everything on 3,000 rows and on 25,000."""
    rows = Rows(vectors, planted, band, seed)
    for count in sorted({min(len(vectors), few) for few in WARM_ROWS}):
        few = Rows(vectors[:count].copy(), planted[:count], band, seed)
        _growth(few)
        _churn(few, 1)
    churn = _churn(rows, ROUNDS) if len(vectors) <= CHURN_ROWS_MAX else None
    return {"parameters": {"k": K}, "growth": _growth(rows), "churn": churn}


def _growth(rows: Rows) -> dict[str, Any]:
    from coterie.index import neighbour_graph

    n = len(rows.vectors)
    held, new = np.split(np.arange(n), [n - max(1, int(NEW_SHARE * n))])
    living, build = timed(lambda: _built(rows, held))
    _, add = timed(lambda: living.add(new, rows.vectors[new]))
    (ids, graph), take = timed(lambda: living.graph(None, K))
    families, cut = timed(lambda: _families(graph))
    scratch_graph, search = timed(lambda: neighbour_graph(rows.vectors, K, seed=rows.seed))
    scratch, scratch_cut = timed(lambda: _families(scratch_graph))
    return {
        "rows": n,
        "new": len(new),
        "build": build.to_json(),
        "run": (add + take + cut).to_json(),
        "run_parts": {"add": add.to_json(), "graph": take.to_json(), "families": cut.to_json()},
        "scratch": (search + scratch_cut).to_json(),
        "scratch_parts": {"graph": search.to_json(), "families": scratch_cut.to_json()},
        "ari_to_scratch": round(agreement(families.label, scratch.label[ids]), 4),
        "quality": planted_quality(families.label, rows.planted[ids], rows.band),
        "scratch_quality": planted_quality(scratch.label, rows.planted, rows.band),
        "graph_recall": _recall(living, rows),
    }


def _churn(rows: Rows, rounds: int) -> dict[str, Any]:
    draw = np.random.default_rng([rows.seed, len(rows.vectors), 2])
    held, waiting = np.split(draw.permutation(len(rows.vectors)), [len(rows.vectors) // 2])
    moved = max(1, int(MOVED_SHARE * len(held)))
    living = _built(rows, held)
    record = []
    for number in range(1, rounds + 1):
        gone, held = np.split(draw.permutation(held), [moved])
        come, waiting = np.split(waiting, [moved])
        held = np.concatenate((held, come))
        _, remove = timed(partial(living.remove, gone))
        _, add = timed(partial(living.add, come, rows.vectors[come]))
        fresh = None
        if len(held) <= FRESH_ALWAYS_ROWS_MAX or number % FRESH_EVERY == 0:
            fresh = _recall(_built(rows, held), rows)
        record.append(
            {
                "round": number,
                "remove": remove.to_json(),
                "add": add.to_json(),
                "graph_recall": _recall(living, rows),
                "fresh_graph_recall": fresh,
                "own_recall": round(float(living.recall(sample=500)), 4),
            }
        )
    return {"rows": len(held), "moved_each_round": moved, "rounds": record}


def _built(rows: Rows, ids: NDArray[np.int64]) -> Any:
    from coterie.index import LivingGraph

    living = LivingGraph(rows.vectors.shape[1], k=K, seed=rows.seed)
    living.add(ids, rows.vectors[ids])
    return living


def _families(graph: Any) -> Any:
    from coterie.detection.families import find_families

    once = np.ones(graph.size, np.int64)
    return find_families(graph, once, min_samples=MIN_SAMPLES, min_cluster_size=MIN_CLUSTER_SIZE)


def _recall(living: Any, rows: Rows) -> dict[str, float | None]:
    """Against an exact search in the rows that are held, by the benchmark's own measure."""
    ids, graph = living.graph(None, RECALL_K)
    vectors, sample = rows.vectors[ids], sample_of(len(ids), rows.seed)
    nearest = true_similarities(vectors, sample, RECALL_K)
    return graph_recall(graph.neighbours[sample], sample, vectors, nearest, rows.planted[ids])
