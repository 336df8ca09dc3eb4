"""What a finding has to say where texts of its prompts are not kept."""

from collections.abc import Sequence
from dataclasses import replace

from coterie.domain import Evidence, Finding, Lineage, Window


def with_lost_texts(findings: Sequence[Finding], window: Window) -> list[Finding]:
    """The findings, each of them with what could not be looked at, where texts of its pool are not kept."""
    lost = {text_id for text_id, text in zip(window.text_ids.tolist(), window.texts, strict=True) if not text}
    if not lost:
        return list(findings)
    return [
        replace(finding, counter_evidence=(*finding.counter_evidence, _evidence(share)))
        if finding.lineage is not Lineage.GONE and (share := _share(finding, lost))
        else finding
        for finding in findings
    ]


def _share(finding: Finding, lost: set[int]) -> float:
    return sum(text_id in lost for text_id in finding.text_ids) / max(1, len(finding.text_ids))


def _evidence(share: float) -> Evidence:
    return Evidence(
        name="texts_not_kept",
        statistic="share of the pool's texts that are no longer kept",
        value=round(share, 4),
        null="none: it tells what was not looked at",
        summary=(
            f"Of {share:.0%} of these texts only the vectors are kept: no boilerplate was taken off them, and they "
            "were not compared across languages, with benchmarks, by format, by what they ask for, or for the same "
            "question in another wording."
        ),
    )
