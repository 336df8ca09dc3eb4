"""How often each piece of further evidence appears: for customers at random, for every innocent crowd, for campaigns.

The pools are known, not found: all that the accounts of a class or a campaign send. Subject areas come from hashed
words, so that no model is loaded; `--corpus` takes texts from there instead of the built-in ones. Customers at random
show whether p-values hold: a share of about .01 of them may have any one piece of evidence.

    python -m bench.detection.evidence --seeds 1 2 3 4 5 6 7 8 --mix null
    python -m bench.detection.evidence --seeds 1 2 3 4 5 6 7 8 --mix hard
"""

import argparse
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.detection.windows import make_window
from coterie.detection import stripped_texts
from coterie.detection.evidence import further_evidence, look_around
from coterie.detection.evidence_pool import UNITS_MIN, PoolView
from coterie.detection.pools import find_principals
from coterie.detection.reporting import make_pool
from coterie.detection.text_facts import TextFacts
from coterie.domain import Window
from coterie.simulation import Config, Traffic, simulate

DIM = 64
RANDOM_POOLS = 40
RANDOM_SIZE = 12


class WordVectors:
    """A text's vector is the sum of random directions, one for each of its words; it stands in for `VectorCache`."""

    multilingual = None

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32[n, dim], unit rows."""
        numbers: dict[str, int] = {}
        words = [[numbers.setdefault(word, len(numbers)) for word in text.lower().split()] for text in texts]
        directions = np.random.default_rng(0).normal(size=(max(1, len(numbers)), DIM)).astype(np.float32)
        # Frequent words carry no subject.
        uses = np.bincount([word for mine in words for word in set(mine)], minlength=len(directions))
        directions *= np.log(1 + len(texts) / np.maximum(uses, 1))[:, None]
        found = np.array([directions[mine].sum(axis=0) if mine else directions[0] for mine in words])
        return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9), np.float32)


def main() -> None:
    """Run every seed; a table on stderr, JSON on stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, default=None)
    parser.add_argument("--accounts", type=int, default=400)
    parser.add_argument("--mix", choices=("easy", "hard", "null"), default="null")
    parser.add_argument("--cover", type=float, default=0.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options = parser.parse_args()
    pools: Counter[str] = Counter()
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    seconds: list[float] = []
    for seed in options.seeds:
        scenario = Config(options.corpus, options.accounts, options.mix, cover=options.cover, seed=seed)
        for name, evidence, spent in measure(simulate(scenario), seed):
            pools[name] += 1
            seen[name].update(evidence)
            seconds.append(spent)
    names = sorted({item for found in seen.values() for item in found})
    report: dict[str, Any] = {
        "arguments": {name: str(value) for name, value in vars(options).items()},
        "cpu_s_per_pool": {"median": round(float(np.median(seconds)), 3), "max": round(max(seconds), 3)},
        "shown": {
            name: {"pools": pools[name], **{item: round(seen[name][item] / pools[name], 3) for item in names}}
            for name in sorted(pools)
        },
    }
    for name in sorted(pools):
        shown = ", ".join(f"{item} {n / pools[name]:.2f}" for item, n in seen[name].most_common())
        print(f"{name:34s} {pools[name]:4d}  {shown}", file=sys.stderr)
    json.dump(report, sys.stdout, indent=1)


def measure(traffic: Traffic, seed: int) -> Iterator[tuple[str, list[str], float]]:
    """Each pool of one window: its class, the names of the evidence that it shows, CPU seconds."""
    window = make_window(traffic.events, WordVectors())
    principals = find_principals(window)
    cores = stripped_texts(window.texts, window.raw.text, window.rows.account)
    facts = TextFacts(window, cores, seed=seed)
    for name, accounts in _pools(window, traffic, seed):
        rows = np.flatnonzero(np.isin(window.rows.account, accounts))
        pool: PoolView = make_pool(window, principals, rows)
        if len(pool.units) < UNITS_MIN:
            continue
        start = time.process_time()
        evidence = further_evidence(pool, *look_around(pool, facts, seed=seed), seed=seed)
        yield name, [item.name for item in evidence], time.process_time() - start


def _pools(window: Window, traffic: Traffic, seed: int) -> Iterator[tuple[str, NDArray[np.int64]]]:
    truth = [traffic.truth[account] for account in window.rows.account_ids]
    innocent = np.array([entry["label"] == "benign" for entry in truth])
    rng = np.random.default_rng(seed)
    for _ in range(RANDOM_POOLS):
        yield "= innocents at random", rng.choice(np.flatnonzero(innocent), RANDOM_SIZE, replace=False)
    persons = np.flatnonzero([entry["kind"] == "person" for entry in truth])
    for _ in range(RANDOM_POOLS):
        yield "= persons at random", rng.choice(persons, RANDOM_SIZE, replace=False)
    groups: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, entry in enumerate(truth):
        groups[entry["label"], entry["kind"]].append(number)
    for (label, kind), members in sorted(groups.items()):
        if kind != "person":
            yield (kind if label == "benign" else f"! {kind}"), np.array(members)


if __name__ == "__main__":
    main()
