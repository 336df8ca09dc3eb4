"""Step 8: which finding of this run is which of the run before."""

from collections import defaultdict
from collections.abc import Sequence, Set
from dataclasses import replace

from coterie.domain import Finding, FindingId, Lineage

MATCH_MIN = 0.3
"""Overlap of accounts or of texts (Jaccard) from which two findings are one."""

CONTAINED_MIN = 0.5
"""Share of an earlier finding's accounts found in a later one for it to have gone into it."""

GROWTH_MIN = 1.1


def with_lineage(findings: Sequence[Finding], earlier: Sequence[Finding]) -> tuple[Finding, ...]:
    """Findings of this run under the ids they had, and those of the run before that are gone.

    Best overlap first, each earlier finding once. What went into one finding together is merged; what one earlier
    finding fell into is split, and the largest part keeps its id.
    """
    before = [finding for finding in earlier if finding.lineage is not Lineage.GONE]
    scored = sorted(
        (
            (_similarity(now, then), -j, -i)
            for i, now in enumerate(findings)
            for j, then in enumerate(before)
            if now.kind is then.kind
        ),
        reverse=True,
    )
    match: dict[int, int] = {}
    taken: set[int] = set()
    for score, minus_j, minus_i in scored:
        if score >= MATCH_MIN and -minus_i not in match and -minus_j not in taken:
            match[-minus_i] = -minus_j
            taken.add(-minus_j)
    sources, parts = _flows(findings, before)
    result = []
    for i, finding in enumerate(findings):
        then = before[match[i]] if i in match else None
        lineage, lineage_of = _lineage(finding, then, sources[i], parts, before)
        result.append(
            replace(
                finding,
                finding_id=then.finding_id if then else finding.finding_id,
                lineage=lineage,
                lineage_of=lineage_of,
            )
        )
    merged = {j for i in range(len(findings)) for j in sources[i]}
    gone = [replace(before[j], lineage=Lineage.GONE) for j in range(len(before)) if j not in taken | merged]
    return tuple(_unique(result + gone))


def _flows(findings: Sequence[Finding], before: Sequence[Finding]) -> tuple[dict[int, list[int]], dict[int, list[int]]]:
    """For each finding, which earlier ones went into it; for each earlier one, which findings hold part of it."""
    sources: dict[int, list[int]] = defaultdict(list)
    parts: dict[int, list[int]] = defaultdict(list)
    for i, now in enumerate(findings):
        accounts = {account.account_id for account in now.accounts}
        for j, then in enumerate(before):
            common = len(accounts & {account.account_id for account in then.accounts})
            if now.kind is then.kind and common >= CONTAINED_MIN * len(then.accounts):
                sources[i].append(j)
            if now.kind is then.kind and common >= CONTAINED_MIN * len(accounts):
                parts[j].append(i)
    return sources, parts


def _lineage(
    finding: Finding,
    then: Finding | None,
    sources: list[int],
    parts: dict[int, list[int]],
    before: Sequence[Finding],
) -> tuple[Lineage, tuple[FindingId, ...]]:
    if len(sources) > 1:
        return Lineage.MERGED, tuple(before[j].finding_id for j in sources)
    for j, pieces in parts.items():
        if len(pieces) > 1 and _shares_accounts(finding, before[j]):
            return Lineage.SPLIT, (before[j].finding_id,)
    if then is None:
        return Lineage.NEW, ()
    grown = len(finding.accounts) > len(then.accounts) or len(finding.text_ids) > GROWTH_MIN * len(then.text_ids)
    return (Lineage.GROWING if grown else Lineage.STEADY), ()


def _shares_accounts(now: Finding, then: Finding) -> bool:
    accounts = {account.account_id for account in now.accounts}
    return len(accounts & {account.account_id for account in then.accounts}) >= CONTAINED_MIN * len(accounts)


def _similarity(now: Finding, then: Finding) -> float:
    accounts = _jaccard({a.account_id for a in now.accounts}, {a.account_id for a in then.accounts})
    return max(accounts, _jaccard(set(now.text_ids), set(then.text_ids)))


def _jaccard(first: Set[object], second: Set[object]) -> float:
    union = len(first | second)
    return len(first & second) / union if union else 0.0


def _unique(findings: list[Finding]) -> list[Finding]:
    """Ids made distinct: a new finding may come upon the id of one that changed since."""
    seen: set[str] = set()
    result = []
    for finding in findings:
        name, number = str(finding.finding_id), 2
        while name in seen:
            name, number = f"{finding.finding_id}-{number}", number + 1
        seen.add(name)
        result.append(replace(finding, finding_id=FindingId(name)))
    return result
