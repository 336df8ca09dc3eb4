"""The whole of detection, top to bottom: cluster, link, test, findings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from coterie.detection.benchmark_like import find_benchmark_like
from coterie.detection.benchmark_like_findings import benchmark_like_findings
from coterie.detection.candidates import Candidate, find_candidates, find_topics
from coterie.detection.decision import judge
from coterie.detection.families import Families, find_families
from coterie.detection.family_record import record_families
from coterie.detection.identity import with_lineage
from coterie.detection.parameters import Parameters
from coterie.detection.pools import find_principals, match_benchmarks
from coterie.detection.reporting import benchmark_run_findings, campaign_finding, standings
from coterie.detection.text_facts import TextFacts
from coterie.detection.threads import products_on_one_core, side_by_side
from coterie.detection.view_data import items_of_views, read_views
from coterie.detection.views import stripped_texts
from coterie.detection.watching import watched_pools
from coterie.domain import (
    CancelledRunError,
    FamilyHistory,
    FamilyRecord,
    Finding,
    Standing,
    View,
    WatchedPool,
    Window,
)


@dataclass(frozen=True, slots=True)
class Detection:
    """What a run found.

    Attributes:
        findings: campaigns first, strongest first; then runs of registered benchmarks; then benchmark-like ones; then
            what is gone since the run before.
        standings: one for each account of the window.
        families: those of the raw view, under the ids they had; None for an empty window.
        measures: counts, for the record of the run.
        watched: pools that look guilty and lack evidence, clearest first, at most `WATCHED_POOLS_MAX`.
        p_values: of the hypotheses whose false discoveries are controlled, ascending: groups of pools that are about
            the same customers, each by its clearest pool that is not refused for another reason, and 1 where all are.
    """

    findings: tuple[Finding, ...] = ()
    standings: tuple[Standing, ...] = ()
    families: FamilyRecord | None = None
    measures: dict[str, float] = field(default_factory=dict)
    watched: tuple[WatchedPool, ...] = ()
    p_values: tuple[float, ...] = ()


@products_on_one_core()
def detect(
    window: Window,
    parameters: Parameters | None = None,
    *,
    history: FamilyHistory | None = None,
    progress: Callable[[str, float], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Detection:
    """Find the campaigns and benchmark runs of a window.

    Deterministic: the same window and parameters give the same findings. Cost: near linear in exchanges, and in
    candidates times the accounts in them.

    Args:
        history: earlier families, for identity; without it all are born.
        progress: told the stage and how far it is, 0 to 1.
        cancelled: asked between steps.

    Raises:
        CancelledRunError: `cancelled` said so.
    """
    parameters = parameters or Parameters()
    tell = _teller(progress, cancelled)
    if window.rows.size == 0:
        return Detection(findings=with_lineage((), window.earlier))
    principals = find_principals(window)

    tell("cluster", 0.0)
    families: dict[str, Families] = {}
    for number, view in enumerate(window.views.values()):
        families[view.name] = _families(view, parameters)
        tell("cluster", (number + 1) / len(window.views))
    named_families, record, lineages = record_families(window, families["raw"], history or FamilyHistory())

    tell("link", 0.0)
    cores = stripped_texts(window.texts, window.raw.text, window.rows.account)
    items = items_of_views(window, principals)
    candidates: list[Candidate] = []
    # Reading texts keeps the interpreter, and topics are found without it.
    with side_by_side(partial(find_topics, seed=parameters.seed), list(items.values())) as topics:
        views = read_views(window, items, cores)
        for number, ((name, data), found) in enumerate(zip(views.items(), topics, strict=True)):
            candidates += find_candidates(
                data.items,
                data.around,
                families[name],
                found,
                name,
                link_rate=parameters.link_rate,
                seed=parameters.seed,
                step=_within(tell, "link", number / len(window.views), 1 / len(window.views)),
            )

    tell("test", 0.0)
    judgement = judge(candidates, views, parameters, step=lambda share: tell("test", share))
    passed, verdicts = judgement.reported, judgement.verdicts

    tell("findings", 0.0)
    hits = match_benchmarks(window)
    facts = TextFacts(window, cores, seed=parameters.seed)
    findings = [
        campaign_finding(window, principals, verdict, views[verdict.view], named_families, hits, facts, parameters)
        for verdict in passed
    ]
    accused = np.zeros(principals.count, bool)
    for verdict in passed:
        accused[verdict.principals] = True
    findings += benchmark_run_findings(window, principals, hits, accused, named_families, parameters)
    family = _family_of_text(window, families)
    like = find_benchmark_like(window, principals, facts, family, hits, accused, parameters)
    findings += benchmark_like_findings(window, principals, like, named_families, cores)
    watched = watched_pools(window, principals, views, verdicts, passed, parameters)
    tell("findings", 1.0)
    named = with_lineage(findings, window.earlier)
    return Detection(
        findings=named,
        standings=standings(window, principals, verdicts, named),
        families=record,
        measures={
            "exchanges": float(window.rows.size),
            "accounts": float(len(window.rows.account_ids)),
            "texts": float(len(window.texts)),
            "families": float(families["raw"].count),
            **lineages,
            "candidates": float(len(candidates)),
            "candidates_tested": float(sum(verdict.result is not None for verdict in verdicts)),
            "findings": float(len(findings)),
            "watched": float(len(watched)),
        },
        watched=watched,
        p_values=tuple(np.sort(judgement.p_values).tolist()),
    )


def _teller(
    progress: Callable[[str, float], None] | None, cancelled: Callable[[], bool] | None
) -> Callable[[str, float], None]:
    def tell(stage: str, share: float) -> None:
        if cancelled is not None and cancelled():
            raise CancelledRunError(f"cancelled while at {stage}")
        if progress is not None:
            progress(stage, share)

    return tell


def _within(tell: Callable[[str, float], None], stage: str, begun: float, part: float) -> Callable[[float], None]:
    """Tells of one part of a stage."""
    return lambda share: tell(stage, begun + share * part)


def _families(view: View, parameters: Parameters) -> Families:
    multiplicity = np.bincount(view.text[view.text >= 0], minlength=len(view.vectors)).astype(np.int64)
    return find_families(
        view.graph,
        np.maximum(multiplicity, 1),
        min_samples=parameters.min_samples,
        min_cluster_size=parameters.min_cluster_size,
    )


def _family_of_text(window: Window, families: Mapping[str, Families]) -> NDArray[np.int32]:
    """int32[m]: the family of each raw text in the stripped view, where there is one; -1 for none."""
    name = "stripped" if "stripped" in families else "raw"
    row = window.views[name].text
    found = np.full(len(window.texts), -1, np.int32)
    found[window.raw.text[row >= 0]] = families[name].label[row[row >= 0]]
    return found
