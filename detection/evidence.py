"""Step 5 and 7: named, tested reasons for a finding, and reasons against it.

Each module `evidence_*` looks at one side of a pool; here they are put in the order in which an analyst reads them.
Every function answers None where there is too little to say: missing data is no evidence.
"""

from collections.abc import Sequence

from coterie.detection.decision import Verdict
from coterie.detection.evidence_account import attributes_evidence, pivot_evidence
from coterie.detection.evidence_content import Contents, content_evidence, read_contents
from coterie.detection.evidence_counter import counter_evidence
from coterie.detection.evidence_list import (
    benchmark_evidence,
    exchangeability_evidence,
    harvest_evidence,
    links_evidence,
    mixing_evidence,
    partition_evidence,
    permutation_evidence,
    spread_evidence,
)
from coterie.detection.evidence_pool import Comparison, PoolView, compare
from coterie.detection.evidence_time import relay_evidence, rhythm_evidence, spans_evidence, synchrony_evidence
from coterie.detection.evidence_volume import equal_shares_evidence, volume_evidence
from coterie.detection.parameters import Parameters
from coterie.detection.pools import BenchmarkHits
from coterie.detection.text_facts import TextFacts
from coterie.detection.view_data import ViewData
from coterie.domain import Evidence, TextField

__all__ = [
    "PoolView",
    "attributes_evidence",
    "benchmark_evidence",
    "campaign_evidence",
    "counter_evidence",
    "equal_shares_evidence",
    "exchangeability_evidence",
    "further_evidence",
    "harvest_evidence",
    "links_evidence",
    "look_around",
    "mixing_evidence",
    "partition_evidence",
    "permutation_evidence",
    "spread_evidence",
]


def campaign_evidence(
    pool: PoolView,
    verdict: Verdict,
    view: ViewData,
    hits: Sequence[BenchmarkHits],
    facts: TextFacts,
    parameters: Parameters,
) -> list[Evidence]:
    """All that speaks for a pool that passed: what decided first, then what else is to be seen.

    Args:
        hits: of the benchmarks that a good part of the pool matches.
        facts: of the window's texts.
    """
    field = pool.window.slice.field
    seed = parameters.seed
    comparison, contents = look_around(pool, facts, seed=seed)
    decided = [
        exchangeability_evidence(verdict, parameters, field),
        mixing_evidence(verdict, parameters, field),
        permutation_evidence(verdict, view),
        spread_evidence(verdict, parameters, field),
        links_evidence(verdict, view, field),
        partition_evidence(verdict, contents, field, seed=seed),
        harvest_evidence(pool),
    ]
    return [
        *(item for item in decided if item),
        *(item for hit in hits for item in benchmark_evidence(pool, hit, seed=seed)),
        *further_evidence(pool, comparison, contents, seed=seed),
    ]


def look_around(pool: PoolView, facts: TextFacts, *, seed: int) -> tuple[Comparison | None, Contents | None]:
    """The pool beside its peers, and the texts of both; None for what is too little to compare."""
    comparison = compare(pool, seed=seed)
    # Answers have their model's manner and subjects, not their account's.
    if comparison is None or pool.window.slice.field is not TextField.PROMPT:
        return comparison, None
    return comparison, read_contents(pool, comparison, facts)


def further_evidence(
    pool: PoolView,
    comparison: Comparison | None,
    contents: Contents | None,
    *,
    seed: int,
) -> list[Evidence]:
    """What does not decide: each piece is listed only where its p-value is at most `SHOWN_AT`.

    Cost: linear in the pool and in what it is compared with, which is at most ten times as many customers; and once
    linear in the window's rows.

    Args:
        comparison: the pool beside its peers; None where they are too few, and then nothing that needs peers is said.
        contents: likewise for their texts.
    """
    found: list[Evidence | None] = [
        attributes_evidence(pool),
        pivot_evidence(pool),
        synchrony_evidence(pool, seed=seed),
        relay_evidence(pool, seed=seed),
        equal_shares_evidence(pool, seed=seed),
        *volume_evidence(pool),
    ]
    if comparison is not None:
        found += [spans_evidence(pool, comparison, seed=seed), *rhythm_evidence(pool, comparison, seed=seed)]
    if contents is not None:
        found += content_evidence(contents, seed=seed)
    return [item for item in found if item]
