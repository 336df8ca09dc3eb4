"""Step 9 for campaigns: what a run leaves to be followed, and who came to a pool since.

Between runs nothing is clustered and nothing is accused anew. A new prompt is near a pool by the rule by which a run
gathers one: enough of its nearest neighbours are in it. A customer has joined where chance does not explain its prompts
there, and where they look like any other part of the pool.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse, stats

from coterie.detection.candidates import Candidate
from coterie.detection.decision import SAME_PRINCIPALS, Verdict, test_candidate
from coterie.detection.items import LINK_NEIGHBOURS, NEIGHBOURS_IN_MIN, ODDS_MIN
from coterie.detection.parameters import Parameters
from coterie.detection.pools import Principals, pool_rows
from coterie.detection.trimming import ITEMS_MIN
from coterie.detection.view_data import ViewData
from coterie.domain import WATCHED_POOLS_MAX, WATCHED_TEXTS_MAX, TextId, WatchedPool, Window

JOIN_PROMPTS_MIN = 3
"""Distinct new prompts near a pool, of one customer, that may make it join."""

JOIN_RATE = 0.001
"""Chance that any one customer outside of a pool joins it, were all of them alike."""

APART_SHARE_MIN = 0.75
"""Similarity of a newcomer's prompts to the pool, over that of the pool to itself: below, it asks something else."""

SUBJECT_QUANTILE_MAX = 0.95
"""Among equally many prompts drawn from the pool, the quantile of similarity to each other that a newcomer's may reach:
above, they may be a subject of its own. The highest of those tried that lets in less than one in 2,000 of the innocent
beside a pool in composed traffic (bench/detection/newcomers.py). One in four true newcomers waits for the next run:
their prompts near the pool lie nearer to each other than a draw from all of it."""

DRAWS = 400

GROWTH_MIN = 0.25
"""New prompts near a watched pool, over its own, that make it worth another run."""

WATCHED_TEXTS_MIN = 15
"""Distinct texts of the smallest pool that is followed: `ITEMS_MIN` for each of three customers."""

TESTS_MAX = 200
"""Pools tested once more to see whether they are to be followed, clearest first."""


def watched_pools(
    window: Window,
    principals: Principals,
    views: Mapping[str, ViewData],
    verdicts: Sequence[Verdict],
    passed: Sequence[Verdict],
    parameters: Parameters,
) -> tuple[WatchedPool, ...]:
    """The pools that would be reported if they had more texts or a smaller p-value, clearest first.

    Each once: of pools that share most of their principals the clearest, and none that is part of what `passed`.
    """
    loose = replace(parameters, texts_min=min(WATCHED_TEXTS_MIN, parameters.texts_min))
    near_misses = sorted(
        (verdict for verdict in verdicts if verdict.reason and _nearly(verdict, parameters)),
        key=lambda verdict: (verdict.p_value, -verdict.texts, verdict.view, verdict.origin),
    )
    known = [verdict.principals for verdict in passed]
    found: list[WatchedPool] = []
    for verdict in near_misses[:TESTS_MAX]:
        if len(found) == WATCHED_POOLS_MAX:
            break
        if any(_same(verdict.principals, other) for other in known):
            continue
        again = test_candidate(Candidate(verdict.origin, verdict.view, verdict.items), views[verdict.view], loose)
        if again.reason or again.p_value > parameters.promising_rate:
            continue
        known.append(again.principals)
        found.append(_watched(window, principals, views[again.view], again, verdict.reason))
    return tuple(sorted(found, key=lambda pool: pool.p_value))


def _nearly(verdict: Verdict, parameters: Parameters) -> bool:
    short = verdict.result is not None and WATCHED_TEXTS_MIN <= verdict.texts < parameters.texts_min
    return short or (verdict.overlap is not None and verdict.p_value <= parameters.promising_rate)


def _same(first: NDArray[np.int32], second: NDArray[np.int32]) -> bool:
    common = len(np.intersect1d(first, second, assume_unique=True))
    return common >= SAME_PRINCIPALS * min(len(first), len(second))


def _watched(window: Window, principals: Principals, view: ViewData, verdict: Verdict, reason: str) -> WatchedPool:
    rows = pool_rows(
        window.views[verdict.view].text,
        principals.of_row,
        view.items.principal[verdict.items],
        view.items.text[verdict.items],
    )
    texts = sample(np.unique(window.rows.prompt[rows]), WATCHED_TEXTS_MAX)
    accounts = sorted(window.rows.account_ids[number] for number in np.unique(window.rows.account[rows]).tolist())
    return WatchedPool(tuple(TextId(text) for text in texts.tolist()), tuple(accounts), verdict.p_value, reason)


def sample(values: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most so many of the values, evenly spread."""
    return values if len(values) <= most else values[np.linspace(0, len(values) - 1, most).astype(np.int64)]


def near_pools(neighbours: NDArray[np.int64], pools: Sequence[NDArray[np.int64]], reference: int) -> NDArray[np.bool_]:
    """Which new prompts lie near which pools, by the odds by which a run gathers a pool.

    Args:
        neighbours: int64[q, k], the reference texts nearest to each of q prompts, nearest first, -1 pads; the first
            `LINK_NEIGHBOURS` count.
        pools: text ids of each pool, all of them reference texts.
        reference: how many reference texts there are: those that the run knew.

    Returns:
        bool[q, pools].
    """
    neighbours = neighbours[:, :LINK_NEIGHBOURS]
    known = np.unique(np.concatenate([np.zeros(0, np.int64), *pools]))
    if not len(known) or not neighbours.size:
        return np.zeros((len(neighbours), len(pools)), bool)
    place = np.concatenate([np.searchsorted(known, pool) for pool in pools])
    number = np.repeat(np.arange(len(pools)), [len(pool) for pool in pools])
    member = sparse.csr_matrix((np.ones(len(place)), (place, number)), shape=(len(known), len(pools)))
    at = np.minimum(np.searchsorted(known, neighbours), len(known) - 1)
    row, slot = np.nonzero(known[at] == neighbours)
    held = sparse.csr_matrix((np.ones(len(row)), (row, at[row, slot])), shape=(len(neighbours), len(known)))
    inside = np.asarray((held @ member).todense())
    outside = np.maximum((neighbours >= 0).sum(axis=1, keepdims=True) - inside, 0.5)
    share = np.minimum([len(pool) / max(reference, 1) for pool in pools], 1.0)
    near: NDArray[np.bool_] = (inside >= NEIGHBOURS_IN_MIN) & (
        inside / outside >= ODDS_MIN * share / np.maximum(1 - share, 1e-9)
    )
    return near


def newcomers(
    near: NDArray[np.int64], prompts: NDArray[np.int64], fits: Callable[[int], bool]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which of c customers outside of a pool joined it.

    Null: a customer's prompts fall near the pool at the rate of all the others' (Poisson); the rate is of those that
    have not joined, without the customer itself, and counts one prompt more than they sent there. Corrected for c
    (Bonferroni). With nobody to compare with, nobody joins.

    Args:
        near: int64[c], distinct new prompts near the pool.
        prompts: int64[c], distinct new prompts.
        fits: asked for those that chance does not explain; one that does not fit stays among the others.

    Returns:
        joined: bool[c].
        p_value: float64[c], corrected.
    """
    joined = np.zeros(len(near), bool)
    asked = np.zeros(len(near), bool)
    while True:
        others_near = near[~joined].sum() - np.where(joined, 0, near)
        others_prompts = prompts[~joined].sum() - np.where(joined, 0, prompts)
        expected = prompts * (others_near + 1) / np.maximum(others_prompts, 1)
        p_value = np.minimum(stats.poisson.sf(near - 1, expected) * len(near), 1.0)
        found = np.flatnonzero(~asked & (near >= JOIN_PROMPTS_MIN) & (p_value < JOIN_RATE))
        if not len(found):
            return joined, p_value
        asked[found] = True
        joined[found] = [fits(int(customer)) for customer in found]


def fits_pool(prompts: NDArray[np.float32], pool: NDArray[np.float32], *, seed: int = 0) -> bool:
    """Whether a customer's prompts could be any other part of a pool: of its subject, and without one of their own.

    Args:
        prompts: float32[n, dim], the customer's, centred as in a run, n of at least 2.
        pool: float32[m, dim], likewise.
    """
    n, m = len(prompts), len(pool)
    if n < 2 or m < 2:
        return False
    centre = pool.mean(axis=0)
    if float((prompts @ centre).mean()) < APART_SHARE_MIN * alikeness(pool):
        return False
    rng = np.random.default_rng(seed)
    size = min(n, m)
    drawn = [alikeness(pool[rng.choice(m, size, replace=False)]) for _ in range(DRAWS)]
    return alikeness(prompts) <= float(np.quantile(drawn, SUBJECT_QUANTILE_MAX))


def alikeness(vectors: NDArray[np.float32]) -> float:
    """Mean similarity of two different ones."""
    total = vectors.sum(axis=0, dtype=np.float64)
    pairs = len(vectors) * (len(vectors) - 1)
    return float(total @ total - np.einsum("ij,ij->", vectors, vectors)) / pairs


def has_grown(texts: int, new_texts: int, newcomer_texts: int) -> bool:
    """Whether a watched pool is worth another run.

    Args:
        texts: its distinct texts in the run.
        new_texts: distinct new prompts near it.
        newcomer_texts: those of the customer outside of it that sent most.
    """
    return new_texts >= GROWTH_MIN * texts or newcomer_texts >= ITEMS_MIN
