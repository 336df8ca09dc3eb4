"""New texts between runs: how many members of families are found, and how much background is let in.

A run clusters four fifths of the texts; the last fifth, in order of time, joins. In one world, *planted*, families of
three densities lie in a background without structure, and truth is what was planted: families that the run did not tell
apart count as misplaced. In the other, *traffic*, simulated exchanges are embedded by the model, and truth is what a
run over everything makes of the new texts: members of the families that are heirs of the first run's, or noise. Beside
it, in the same run: other gates, and a vote of the five nearest texts. `families_kept` is the share of the first run's
families that go on under their id in the run over everything.

    python bench/bench_joining.py --corpus ../shared/data --accounts 60 > bench/results/joining.json
"""

import argparse
import json
import os
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coterie.detection import Parameters, join_families
from coterie.detection import family_record as record
from coterie.detection.families import Families, find_families
from coterie.detection.family_identity import identify_families
from coterie.domain import FamilyHistory, FamilyLabels, normalise
from coterie.embedder import load_encoder
from coterie.index import neighbour_graph
from coterie.server.families import NEIGHBOURS
from coterie.simulation import Config as Scenario
from coterie.simulation import simulate

DIM = 384
BACKGROUND_RANK = 60
"""Directions that carry the background; sentence embeddings are far from filling their space."""

SPREADS = (0.35, 0.5, 0.65)
"""Members lie at this distance from their subject; two of the loosest at cosine .70."""

VOTERS = 5
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


def main() -> None:
    """Measure every seed of both worlds and write one JSON object to stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=None, help="corpus folder; built-in text without it")
    parser.add_argument("--accounts", type=int, default=150, help="of the traffic; 0 leaves it out")
    parser.add_argument("--texts", type=int, default=10_000, help="of the planted world")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    options = parser.parse_args()
    runs = []
    for seed in options.seeds:
        runs.append({"seed": seed, "planted": planted(options.texts, seed)})
        if options.accounts:
            runs[-1]["traffic"] = traffic(options.corpus, options.accounts, options.model, seed)
        print(json.dumps(runs[-1]), file=sys.stderr)
    machine = {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    versions = {name: version(name) for name in ("numpy", "torch", "faiss-cpu", "fast_hdbscan")}
    arguments = {name: str(value) for name, value in vars(options).items()}
    json.dump({"arguments": arguments, "machine": machine, "versions": versions, "runs": runs}, sys.stdout, indent=1)


def planted(n: int, seed: int) -> dict[str, Any]:
    """Families of 20 to 200 texts make up a third; the rest is background."""
    rng = np.random.default_rng(seed)
    basis = rng.normal(size=(BACKGROUND_RANK, DIM)) / np.sqrt(np.arange(1, BACKGROUND_RANK + 1))[:, None]
    vectors: list[NDArray[np.float64]] = []
    truth: list[NDArray[np.int64]] = []
    family = 0
    while sum(map(len, truth)) < n // 3:
        size = int(20 * 10 ** rng.random())
        subject = unit(rng.normal(size=BACKGROUND_RANK) @ basis)
        noise = unit(rng.normal(size=(size, DIM)))
        vectors.append(unit(subject + np.tan(np.arcsin(SPREADS[family % 3])) * noise))
        truth.append(np.full(size, family))
        family += 1
    rest = n - sum(map(len, truth))
    vectors.append(unit(rng.normal(size=(rest, BACKGROUND_RANK)) @ basis))
    truth.append(np.full(rest, -1))
    order = rng.permutation(n)
    every, kind = np.concatenate(vectors)[order].astype(np.float32), np.concatenate(truth)[order]
    old = int(0.8 * n)
    families = cluster(every[:old], np.ones(old, np.int64))
    # A run's family is the planted one that most of its texts are of.
    table = np.zeros((families.count, family + 1), np.int64)
    held = families.label >= 0
    np.add.at(table, (families.label[held], kind[:old][held]), 1)
    home = np.append(table.argmax(axis=1) if families.count else [], -2).astype(np.int64)
    home[home == family] = -1
    return measured(every, old, np.ones(old, np.int64), families, lambda joined: home[joined], kind[old:])


def traffic(corpus: Path | None, accounts: int, model: str, seed: int) -> dict[str, Any]:
    """Truth is a run over everything, its families under the numbers of those of the first run that they continue."""
    events = sorted(simulate(Scenario(corpus=corpus, accounts=accounts, seed=seed)).events, key=lambda e: e.time_us)
    numbers: dict[str, int] = {}
    text = np.array([numbers.setdefault(normalise(event.prompt), len(numbers)) for event in events])
    encoder = load_encoder(model)
    vectors = encoder.encode(list(numbers))
    then = text[: int(0.8 * len(text))]
    old = int(then.max()) + 1
    multiplicity = np.bincount(then, minlength=old)
    families = cluster(vectors[:old], multiplicity)
    whole = cluster(vectors, np.bincount(text))
    history = FamilyHistory(
        FamilyLabels(
            np.arange(old),
            families.label,
            families.core_distance,
            multiplicity.astype(np.int32),
            tuple(str(number) for number in range(families.count)),  # type: ignore[arg-type]
            np.zeros(families.count, np.float32),
        )
    )
    names = identify_families(np.arange(len(vectors)), whole.label, history).family_ids
    # Families that are nobody's heirs, and so cannot be joined, count as neither members nor background.
    number = np.array([*(int(name) if name.isdigit() else -2 for name in names), -1])
    result = measured(vectors, old, multiplicity, families, lambda joined: joined, number[whole.label[old:]])
    kept = len({name for name in names if name.isdigit()}) / max(1, families.count)
    return {"encoder": encoder.model_id, "exchanges": len(events), "families_kept": round(kept, 4), **result}


def cluster(vectors: Floats, multiplicity: Ints) -> Families:
    """A run's families."""
    parameters = Parameters()
    return find_families(
        neighbour_graph(vectors, NEIGHBOURS),
        multiplicity,
        min_samples=parameters.min_samples,
        min_cluster_size=parameters.min_cluster_size,
    )


def measured(
    vectors: Floats, old: int, multiplicity: Ints, families: Families, home: Any, truth: Ints
) -> dict[str, Any]:
    """Every way to join, on the new texts from row `old` on; truth is their family in the terms of `home`, -1 none."""
    found, similarities = nearest(vectors, np.arange(old, len(vectors)))
    held = found < old
    place = np.where(held, found, 0)
    family = np.where(held, families.label[place], -1).astype(np.int32)
    exchanges = np.where(held, multiplicity[place], 1)
    core = families.core_distance[place]
    results = {}
    for percentile in (90.0, 98.0, 100.0):
        record.GATE_PERCENTILE = percentile
        gates = record.gate_distances(families.label, families.core_distance, families.count)
        started_s = time.perf_counter()
        joined, _ = join_families(similarities, exchanges, family, core, gates, Parameters().min_samples)
        took_s = time.perf_counter() - started_s
        results[f"gate_{percentile:.0f}"] = {
            **shares(joined, home, truth),
            "us_per_text": round(1e6 * took_s / len(joined), 2),
        }
    results["vote_of_5"] = shares(vote(family), home, truth)
    return {
        "texts": len(vectors),
        "families": families.count,
        "new_members": int(np.sum(truth >= 0)),
        "new_background": int(np.sum(truth == -1)),
        **results,
    }


def nearest(vectors: Floats, rows: Ints) -> tuple[Ints, Floats]:
    """The nearest of all texts to some, by exact search, without themselves."""
    ids, cosines = [], []
    for part in np.array_split(rows, max(1, len(rows) // 512)):
        similarity = vectors[part] @ vectors.T
        similarity[np.arange(len(part)), part] = -2
        order = np.argsort(-similarity, axis=1)[:, :NEIGHBOURS]
        ids.append(order)
        cosines.append(np.take_along_axis(similarity, order, 1))
    return np.concatenate(ids), np.concatenate(cosines)


def vote(family: NDArray[np.int32]) -> NDArray[np.int32]:
    """The family that most of the five nearest texts are in, with no gate."""
    first = family[:, :VOTERS]
    votes = (first[:, :, None] == first[:, None, :]).sum(axis=2)
    rows = np.arange(len(first))
    best = np.where(first >= 0, votes, 0).argmax(axis=1)
    return np.where(votes[rows, best] > VOTERS // 2, first[rows, best], -1).astype(np.int32)


def shares(joined: NDArray[np.int32], home: Any, truth: Ints) -> dict[str, float]:
    """Shares of the members that joined their own family and another's, and of the background that joined any."""
    member, background = truth >= 0, truth == -1
    right = (joined >= 0) & (home(joined) == truth)
    return {
        "members_found": round(float(right[member].mean()), 4),
        "members_misplaced": round(float(((joined >= 0) & ~right)[member].mean()), 4),
        "background_joined": round(float((joined[background] >= 0).mean()), 4),
    }


def unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows at length one."""
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


if __name__ == "__main__":
    main()
