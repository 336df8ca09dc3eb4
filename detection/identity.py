"""Step 8: which finding of this run is which of the run before."""

from collections import defaultdict
from collections.abc import Iterable, Sequence, Set
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
    finding fell into is split, and the largest part keeps its id. What is left, and would be new, is held against those
    that were gone already: one that overlaps likewise came back.
    """
    before = [finding for finding in earlier if finding.lineage is not Lineage.GONE]
    match = _matched(findings, before, range(len(findings)))
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
    result = _with_returned(result, [finding for finding in earlier if finding.lineage is Lineage.GONE])
    kept = set(match.values()) | {j for i in range(len(findings)) for j in sources[i]}
    gone = [replace(then, lineage=Lineage.GONE, returned=False) for j, then in enumerate(before) if j not in kept]
    return tuple(_unique(result + gone))


def _matched(findings: Sequence[Finding], before: Sequence[Finding], places: Iterable[int]) -> dict[int, int]:
    """Which of the findings at some places is which earlier one."""
    now = {i: _content(findings[i]) for i in places}
    then = [_content(finding) for finding in before]
    scored = sorted(
        (
            (_similarity(content, then[j]), -j, -i)
            for i, content in now.items()
            for j in range(len(before))
            if findings[i].kind is before[j].kind
        ),
        reverse=True,
    )
    match: dict[int, int] = {}
    taken: set[int] = set()
    for overlap, minus_j, minus_i in scored:
        if overlap >= MATCH_MIN and -minus_i not in match and -minus_j not in taken:
            match[-minus_i] = -minus_j
            taken.add(-minus_j)
    return match


def _with_returned(findings: Sequence[Finding], gone: Sequence[Finding]) -> list[Finding]:
    """Those that would be new, but were gone and came back, under the ids they had."""
    new = [i for i, finding in enumerate(findings) if finding.lineage is Lineage.NEW]
    result = list(findings)
    for i, j in _matched(findings, gone, new).items():
        lineage = _growth(findings[i], gone[j])
        result[i] = replace(findings[i], finding_id=gone[j].finding_id, lineage=lineage, returned=True)
    return result


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
    return _growth(finding, then), ()


def _growth(now: Finding, then: Finding) -> Lineage:
    grown = len(now.accounts) > len(then.accounts) or len(now.text_ids) > GROWTH_MIN * len(then.text_ids)
    return Lineage.GROWING if grown else Lineage.STEADY


def _shares_accounts(now: Finding, then: Finding) -> bool:
    accounts = {account.account_id for account in now.accounts}
    return len(accounts & {account.account_id for account in then.accounts}) >= CONTAINED_MIN * len(accounts)


def _content(finding: Finding) -> tuple[Set[object], Set[object]]:
    return {account.account_id for account in finding.accounts}, set(finding.text_ids)


def _similarity(now: tuple[Set[object], Set[object]], then: tuple[Set[object], Set[object]]) -> float:
    return max(_jaccard(*accounts_or_texts) for accounts_or_texts in zip(now, then, strict=True))


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
