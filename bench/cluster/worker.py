"""One engine on one set of vectors, in a process of its own, which ends with it.

    python -m bench.cluster.worker FOLDER

FOLDER holds job.json; what was measured goes into FOLDER/measured.json, labels and neighbours beside it.
"""

import json
import os
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.cluster.cost import Cost, peak_gb, timed
from bench.cluster.engines import ENGINES, Outcome

WARM_ROWS, WARM_MORE_ROWS = 3_000, 25_000
"""Rows of the calls before the one that is measured; where there are more, a second, larger one, because some engines
(coterie, pynndescent) run other code on many rows, which is then compiled too."""

PASSES_MAX, PASSES_UNTIL_S = 3, 20.0
"""A call is repeated up to three times, as long as all took less than this together: short calls are noisy."""


@dataclass(frozen=True, slots=True)
class Job:
    """What to do.

    Attributes:
        engine: a name in `ENGINES`, or `living`.
        world: folder of vectors.npy, planted.npy, band.npy and sample.npy.
        seed: of the engine, where it takes one.
        cold: only the first call, on few rows.
    """

    engine: str
    world: str
    seed: int
    cold: bool = False


def main() -> None:
    """Do the job of the folder named on the command line."""
    folder = Path(sys.argv[1])
    job = Job(**json.loads((folder / "job.json").read_text()))
    world = Path(job.world)
    vectors = np.load(world / "vectors.npy")
    if job.cold:
        measured = _first_call(job, vectors)
    elif job.engine == "living":
        from bench.cluster.living import measure_living

        measured = measure_living(vectors, np.load(world / "planted.npy"), np.load(world / "band.npy"), job.seed)
    else:
        measured = _measure(job, vectors, np.load(world / "sample.npy"), folder)
    measured["peak_gb"] = round(peak_gb(), 3)
    (folder / "measured.json").write_text(json.dumps(measured))


def _first_call(job: Job, vectors: NDArray[np.float32]) -> dict[str, Any]:
    few = vectors[:WARM_ROWS].copy()
    _, cost = timed(lambda: ENGINES[job.engine].run(few, job.seed))
    return {"rows": len(few), **cost.to_json()}


def _measure(job: Job, vectors: NDArray[np.float32], sample: NDArray[np.int64], folder: Path) -> dict[str, Any]:
    first = _first_call(job, vectors)
    if len(vectors) > WARM_MORE_ROWS:
        ENGINES[job.engine].run(vectors[:WARM_MORE_ROWS].copy(), job.seed)
    load, before = os.getloadavg()[0], peak_gb()
    passes: list[Cost] = []
    outcome = Outcome()
    while not passes or (len(passes) < PASSES_MAX and sum(cost.wall_s for cost in passes) < PASSES_UNTIL_S):
        outcome = Outcome()  # what the pass before found is not held while the next one runs
        outcome, cost = timed(lambda: ENGINES[job.engine].run(vectors, job.seed))
        passes.append(cost)
    if outcome.label is not None:
        np.save(folder / "label.npy", outcome.label)
    for name, label in outcome.others.items():
        np.save(folder / f"other-{name}.npy", label)
    if outcome.neighbours is not None:
        np.save(folder / "neighbours.npy", outcome.neighbours[sample])
    return {
        "wall_s": round(statistics.median(cost.wall_s for cost in passes), 3),
        "cpu_s": round(statistics.median(cost.cpu_s for cost in passes), 3),
        "passes": [cost.to_json() for cost in passes],
        "first_call_s": first["wall_s"],
        "peak_before_gb": round(before, 3),
        "load_average": round(load, 2),
        "clusters": None if outcome.label is None else len(np.unique(outcome.label[outcome.label >= 0])),
    }


if __name__ == "__main__":
    main()
