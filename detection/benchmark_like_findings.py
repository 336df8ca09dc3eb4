"""What is reported of benchmark-like runs and families: low findings that accuse nobody of acting together."""

from collections.abc import Sequence

import numpy as np

from coterie.detection.benchmark_like import BenchmarkLike, Run, Scattered
from coterie.detection.evidence import PoolView, counter_evidence, harvest_evidence
from coterie.detection.family_record import NamedFamilies
from coterie.detection.pools import Principals
from coterie.detection.reporting import make_finding, make_pool
from coterie.domain import Evidence, Finding, FindingKind, Severity, Window

RUN_CONFIDENCE = 0.9
"""Share right among the runs of composed traffic, the lower 95 % limit (bench/detection/NOTES.md)."""

FAMILY_CONFIDENCE = 0.8
"""Likewise of families across accounts."""


def benchmark_like_findings(
    window: Window, principals: Principals, found: BenchmarkLike, families: NamedFamilies, cores: Sequence[str]
) -> list[Finding]:
    """One finding for each run, then one for each family across accounts, most exchanges first."""
    findings = []
    for run in sorted(found.runs, key=lambda run: (-len(run.rows), run.principal)):
        pool = make_pool(window, principals, run.rows)
        title = f"One customer works through {len(pool.texts):,} benchmark-like prompts that are not registered"
        reasons = [item_form_evidence(pool, found), pace_evidence(run), harvest_evidence(pool)]
        findings.append(_finding(pool, title, RUN_CONFIDENCE, families, reasons, cores))
    for family in found.scattered:
        pool = make_pool(window, principals, family.rows)
        title = (
            f"A benchmark-like family: {len(pool.accounts)} accounts ask {len(pool.texts):,} prompts, hardly any twice"
        )
        reasons = [item_form_evidence(pool, found), asked_once_evidence(pool, family), harvest_evidence(pool)]
        findings.append(_finding(pool, title, FAMILY_CONFIDENCE, families, reasons, cores))
    return findings


def _finding(
    pool: PoolView,
    title: str,
    confidence: float,
    families: NamedFamilies,
    evidence: list[Evidence],
    cores: Sequence[str],
) -> Finding:
    kind, counter = FindingKind.BENCHMARK_RUN, counter_evidence(pool, None, cores)
    return make_finding(pool, kind, title, confidence, families, [], evidence, counter, severity=Severity.LOW)


def item_form_evidence(pool: PoolView, found: BenchmarkLike) -> Evidence:
    """How many of the pool's texts are built like test items, beside the others that were looked at."""
    inside = np.zeros(len(found.form), bool)
    inside[pool.texts] = True
    others = found.looked_at & ~inside
    share = float((found.form[pool.texts] >= 0).mean())
    usual = float((found.form[others] >= 0).mean()) if others.any() else 0.0
    return Evidence(
        name="item_form",
        statistic="share of prompts with options, a gap, a program to specification, or a sum in words",
        value=round(share, 4),
        null=f"none: an effect size. Of the other prompts of large customers and of families {usual:.1%}",
        summary=f"{share:.0%} of these prompts are built like test items; of others in the window {usual:.1%} are.",
    )


def pace_evidence(run: Run) -> Evidence:
    """How fast one item follows another."""
    return Evidence(
        name="pace",
        statistic="seconds from one item to the next, in the middle",
        value=round(run.gap_s, 1),
        null="none: an effect size. People who ask as many leave more than a minute between, and rest",
        summary=f"In the middle an item follows {run.gap_s:,.0f} seconds after the one before, as a script sends them.",
    )


def asked_once_evidence(pool: PoolView, family: Scattered) -> Evidence:
    """How few of the items several customers ask."""
    return Evidence(
        name="asked_once",
        statistic="share of the prompts that several customers sent",
        value=round(family.repeats, 4),
        null="none: an effect size. Learners who draw from one bank or sheet repeat a sixth of it and more",
        summary=(
            f"{len(pool.units)} customers ask {len(pool.texts):,} items, {family.repeats:.1%} of them more than one of "
            "them. Whether they act together was tested apart, and not found."
        ),
    )
