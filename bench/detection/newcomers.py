"""Where `SUBJECT_QUANTILE_MAX` of `detection/watching.py` comes from: innocents near a campaign's pool, and newcomers.

Of each campaign without cover, two thirds of the accounts are its pool; the others come new, beside half of the
innocent. Prompts near the pool, the tests of chance and of apartness are those of the service. Of everybody who is held
against the pool's subject, the quantile is noted that the similarity of his prompts to each other has among as
many drawn from the pool: a limit lets in all up to it.

    python -m bench.detection.newcomers --corpus ../shared/data --cache build/bench-vectors --seeds 1 2 3 4
"""

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.detection.trial import Trial
from bench.detection.vectors import VectorCache
from coterie.detection.items import LINK_NEIGHBOURS
from coterie.detection.watching import APART_SHARE_MIN, DRAWS, alikeness, near_pools, newcomers
from coterie.domain import Window
from coterie.simulation import Config

LIMITS = (0.5, 0.75, 0.9, 0.95, 0.975, 0.99, 1.0)
POOL_SHARE = 2 / 3
_AT_ONCE = 2_000


class Tested(NamedTuple):
    """Somebody whom chance does not explain near a pool: his class, whether he is of the campaign, his quantile."""

    kind: str
    is_member: bool
    quantile: float


def tested(window: Window, truth: dict[str, dict[str, str]], seed: int) -> Iterator[tuple[str, int, list[Tested]]]:
    """Of each campaign: its kind, how many innocents came new, and who was held against its pool's subject."""
    rng = np.random.default_rng(seed)
    label = np.array([truth[account]["label"] for account in window.rows.account_ids])
    kind = [truth[account]["kind"] for account in window.rows.account_ids]
    innocent = label == "benign"
    is_new = innocent & (rng.random(len(label)) < 0.5)
    for campaign in sorted(set(label[~innocent])):
        members = rng.permutation(np.flatnonzero(label == campaign))
        if "cover" in kind[members[0]] or len(members) < 4:
            continue
        held_out = members[round(POOL_SHARE * len(members)) :]
        new = is_new.copy()
        new[held_out] = True
        yield kind[members[0]], int(is_new.sum()), _held_against(window, label == campaign, new, kind, innocent, seed)


def _held_against(
    window: Window,
    campaign: NDArray[np.bool_],
    new: NDArray[np.bool_],
    kind: list[str],
    innocent: NDArray[np.bool_],
    seed: int,
) -> list[Tested]:
    account, text = window.rows.account, window.raw.text
    known = np.unique(text[~new[account]])
    pool = np.unique(text[(campaign & ~new)[account]]).astype(np.int64)
    vectors = window.raw.vectors - window.raw.vectors[known].mean(axis=0)
    pairs = np.unique(np.column_stack((account, text))[new[account]], axis=0)
    fresh = pairs[~np.isin(pairs[:, 1], known)]
    is_near = _near(window.raw.vectors, np.unique(fresh[:, 1]), known, pool)
    near = np.zeros(len(new), np.int64)
    np.add.at(near, fresh[is_near[fresh[:, 1]], 0], 1)
    prompts = np.bincount(fresh[:, 0], minlength=len(new))
    customers = np.flatnonzero(prompts)
    found: list[Tested] = []

    def fits(customer: int) -> bool:
        who = int(customers[customer])
        mine = fresh[(fresh[:, 0] == who) & is_near[fresh[:, 1]], 1]
        quantile = subject_quantile(vectors[mine], vectors[pool], seed)
        if quantile is not None:
            found.append(Tested(kind[who], not bool(innocent[who]) and bool(campaign[who]), quantile))
        return not bool(innocent[who])

    newcomers(near[customers], prompts[customers], fits)
    return found


def _near(
    vectors: NDArray[np.float32], asked: NDArray[np.int64], known: NDArray[np.int64], pool: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """bool[m]: which of the texts asked lie near the pool, by their exact nearest known texts."""
    found = np.zeros(len(vectors), bool)
    for start in range(0, len(asked), _AT_ONCE):
        some = asked[start : start + _AT_ONCE]
        likeness = vectors[some] @ vectors[known].T
        nearest = np.argpartition(-likeness, LINK_NEIGHBOURS, axis=1)[:, :LINK_NEIGHBOURS]
        found[some] = near_pools(known[nearest].astype(np.int64), [pool], len(known))[:, 0]
    return found


def subject_quantile(prompts: NDArray[np.float32], pool: NDArray[np.float32], seed: int) -> float | None:
    """Share of draws from the pool that are less alike than the prompts; None for who asks something else."""
    if len(prompts) < 2 or float((prompts @ pool.mean(axis=0)).mean()) < APART_SHARE_MIN * alikeness(pool):
        return None
    rng = np.random.default_rng(seed)
    size = min(len(prompts), len(pool))
    drawn = np.array([alikeness(pool[rng.choice(len(pool), size, replace=False)]) for _ in range(DRAWS)])
    return float((drawn < alikeness(prompts)).mean())


def main() -> None:
    """Measure every seed; JSON on stdout."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, default=None)
    parser.add_argument("--cache", type=Path, default=Path("build/bench-vectors"))
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--split", default="tune")
    parser.add_argument("--mixes", nargs="+", default=["easy", "hard"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options = parser.parse_args()
    cache = VectorCache(options.cache, options.model)
    windows = []
    for mix in options.mixes:
        for seed in options.seeds:
            trial = Trial(Config(options.corpus, mix=mix, seed=seed, split=options.split, responses=0.0), cache)
            windows.append(list(tested(trial.window, trial.traffic.truth, seed)))
            print(f"{mix} {seed}: {len(windows[-1])} campaigns", file=sys.stderr)
    arguments = {name: str(value) for name, value in vars(options).items()}
    json.dump({"arguments": arguments, **summary(windows)}, sys.stdout, indent=1)


def summary(windows: list[list[tuple[str, int, list[Tested]]]]) -> dict[str, Any]:
    """Who is let in at each limit."""
    campaigns = [one for window in windows for one in window]
    everybody = [person for *_, found in campaigns for person in found]
    members = np.array([person.quantile for person in everybody if person.is_member])
    others = np.array([person.quantile for person in everybody if not person.is_member])
    let_in: dict[str, Any] = defaultdict(dict)
    for limit in LIMITS:
        let_in[str(limit)] = {
            "newcomers": round(float((members <= limit).mean()), 4) if len(members) else None,
            "others": int((others <= limit).sum()),
        }
    return {
        "campaigns": len(campaigns),
        "innocents_held_against_a_pool": sum(count for _, count, _ in campaigns),
        "newcomers_tested": len(members),
        "others_tested": Counter(person.kind for person in everybody if not person.is_member),
        "others_quantiles": sorted(others.round(3).tolist()),
        "let_in": let_in,
    }


if __name__ == "__main__":
    main()
