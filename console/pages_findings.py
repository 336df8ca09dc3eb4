"""The triage list, and one finding with what speaks for it and against it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

from coterie.console.forms import Form, query_form, read_form
from coterie.console.pages_rules import rule_kind
from coterie.console.sessions import Session
from coterie.console.sharing import shared_parts
from coterie.console.web import Console, see_other, status_of
from coterie.domain import (
    LIMITS,
    ConflictError,
    Finding,
    FindingKind,
    InvalidError,
    Lineage,
    NewRule,
    ReviewState,
    RuleKind,
    Severity,
    reading_of,
)
from coterie.exports import Redaction, write_report
from coterie.exports.report import claim
from coterie.figures import PICTURE_OF, draw

PAGE_FINDINGS = 50
_FINDINGS_MAX = 10_000
_ACCOUNTS_SHOWN = 100

_SEVERITY_RANK = {severity: rank for rank, severity in enumerate(Severity)}
SORTS: dict[str, Callable[[Finding], tuple[float, ...]]] = {
    "severity": lambda finding: (-_SEVERITY_RANK[finding.severity], -finding.confidence),
    "confidence": lambda finding: (-finding.confidence, -_SEVERITY_RANK[finding.severity]),
    "accounts": lambda finding: (-len(finding.accounts),),
    "last_seen": lambda finding: (-finding.last_seen_us,),
    "first_seen": lambda finding: (-finding.first_seen_us,),
}
"""The orders of the list by name; ties are broken by id."""

TRIAGE = "triage"
"""The default of the list: dismissed, suppressed and gone ones are left out."""
SUPPRESSED = "suppressed"
"""The findings that a rule explains."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which findings a person wants to see, in which order."""

    review: str = TRIAGE
    severity: str = ""
    kind: str = ""
    lineage: str = ""
    words: str = ""
    assignee: str = ""
    run_id: str = ""
    sort: str = "severity"
    page: int = 1

    @classmethod
    def of(cls, form: Form) -> "Choice":
        """The choice in a query.

        Raises:
            InvalidError: a word that none of the lists has.
        """
        choice = cls(
            review=form.text("review") or TRIAGE,
            severity=_one_of(form.text("severity"), Severity),
            kind=_one_of(form.text("kind"), FindingKind),
            lineage=_one_of(form.text("lineage"), Lineage),
            words=form.text("words"),
            assignee=form.text("assignee"),
            run_id=form.text("run"),
            sort=form.text("sort") or "severity",
            page=max(1, form.number("page", 1)),
        )
        if choice.review not in (TRIAGE, SUPPRESSED, "all", *ReviewState):
            raise InvalidError("review must be triage, suppressed, all or a review state", field="review")
        if choice.sort not in SORTS:
            raise InvalidError(f"sort must be one of {', '.join(SORTS)}", field="sort")
        return choice

    def takes(self, finding: Finding) -> bool:
        """Whether a finding is wanted."""
        reviewed = {
            TRIAGE: finding.review is not ReviewState.DISMISSED
            and finding.lineage is not Lineage.GONE
            and finding.suppressed is None,
            SUPPRESSED: finding.suppressed is not None,
            "all": True,
        }
        return (
            reviewed.get(self.review, finding.review.value == self.review)
            and self.severity in ("", finding.severity.value)
            and self.kind in ("", finding.kind.value)
            and self.lineage in ("", finding.lineage.value)
            and self.assignee in ("", finding.assignee)
            and _holds(finding, self.words.casefold())
        )

    def address(self, page: int) -> str:
        """Another page of the same list."""
        values = {
            "review": self.review if self.review != TRIAGE else "",
            "severity": self.severity,
            "kind": self.kind,
            "lineage": self.lineage,
            "words": self.words,
            "assignee": self.assignee,
            "run": self.run_id,
            "sort": self.sort if self.sort != "severity" else "",
            "page": str(page) if page > 1 else "",
        }
        query = urlencode({name: value for name, value in values.items() if value})
        return f"/findings?{query}" if query else "/findings"


async def findings_page(console: Console, request: Request, session: Session) -> Response:
    """The findings of a run as a list to work through."""
    choice = Choice.of(query_form(request))
    run_id, findings = await session.client.list_findings(choice.run_id, limit=_FINDINGS_MAX)
    wanted = sorted(
        (finding for finding in findings if choice.takes(finding)),
        key=lambda finding: (*SORTS[choice.sort](finding), finding.finding_id),
    )
    pages = max(1, -(-len(wanted) // PAGE_FINDINGS))
    page = min(choice.page, pages)
    return console.page(
        "findings.html",
        session,
        area="findings",
        choice=choice,
        run=await session.client.get_run(run_id) if run_id else None,
        stats=None if run_id else await session.client.stats(),
        findings=wanted[(page - 1) * PAGE_FINDINGS : page * PAGE_FINDINGS],
        first=(page - 1) * PAGE_FINDINGS,
        wanted=len(wanted),
        total=len(findings),
        suppressed=sum(finding.suppressed is not None for finding in findings),
        page=page,
        pages=pages,
        assignees=sorted({finding.assignee for finding in findings} - {""} | {session.name}),
        severities=list(reversed(Severity)),
        kinds=list(FindingKind),
        lineages=list(Lineage),
        states=list(ReviewState),
        sorts=list(SORTS),
    )


async def finding_page(console: Console, request: Request, session: Session) -> Response:
    """One finding: what it claims, why, what speaks against it, and what was decided."""
    return await _finding_page(console, session, request.path_params["finding_id"])


async def _finding_page(
    console: Console,
    session: Session,
    finding_id: str,
    *,
    problem: str = "",
    form: Form | None = None,
    status: int = 200,
) -> Response:
    finding, reviews, exemplars = await session.client.get_finding(finding_id)
    return console.page(
        "finding.html",
        session,
        status=status,
        area="findings",
        finding=finding,
        claim=claim(finding),
        reviews=list(reversed(reviews)),
        evidence=[(item, reading_of(item.name)) for item in finding.evidence],
        counter_evidence=[(item, reading_of(item.name)) for item in finding.counter_evidence],
        exemplars=list(zip(exemplars, shared_parts([exchange.prompt for exchange in exemplars]), strict=True)),
        accounts=finding.accounts[:_ACCOUNTS_SHOWN],
        accounts_unlisted=max(0, len(finding.accounts) - _ACCOUNTS_SHOWN),
        states=list(ReviewState),
        levels=list(Redaction),
        rule_kinds=list(RuleKind),
        reason_chars_max=LIMITS.reason_chars_max,
        problem=problem,
        form=form or Form({}),
    )


async def finding_pictures(console: Console, request: Request, session: Session) -> Response:
    """What there is to see of a finding: a page of its own, or the part that the finding's page fetches and places."""
    dossier = await session.client.get_dossier(request.path_params["finding_id"])
    # The pictures escape what they show; see `coterie.figures.svg`.
    figures = [(figure, Markup(figure.svg)) for figure in await asyncio.to_thread(draw, dossier)]
    explains: dict[str, list[str]] = {figure.name: [] for figure, _ in figures}
    for item in (*dossier.finding.evidence, *dossier.finding.counter_evidence):
        if PICTURE_OF.get(item.name, "") in explains:
            explains[PICTURE_OF[item.name]].append(item.name)
    template = "pictures_part.html" if "part" in request.query_params else "pictures.html"
    return console.page(
        template, session, area="findings", finding=dossier.finding, dossier=dossier, figures=figures, explains=explains
    )


async def review_finding(console: Console, request: Request, session: Session) -> Response:
    """Records what a person does to a finding: decide, comment, assign, merge, split, or take one of these back."""
    finding_id = request.path_params["finding_id"]
    form = await read_form(request, session)
    try:
        told = await _reviewed(session, finding_id, form)
    except (InvalidError, ConflictError) as error:
        status = status_of(error)
        return await _finding_page(console, session, finding_id, problem=str(error), form=form, status=status)
    session.notes.append(told)
    return see_other(f"/findings/{finding_id}")


async def _reviewed(session: Session, finding_id: str, form: Form) -> str:
    """Do it; what to tell of it."""
    client, action, reason = session.client, form.text("action"), form.raw("reason").strip()
    more: dict[str, Any] = {"reviewer": session.name, "version": form.number("version", 0)}
    if action == "comment":
        await client.comment_finding(finding_id, reason, **more)
        return "The comment is recorded."
    if action == "assign":
        finding = await client.assign_finding(finding_id, form.text("assignee"), reason=reason, **more)
        return f"It is {finding.assignee}’s to look at now." if finding.assignee else "It is nobody’s now."
    if action in ("merge", "unmerge"):
        others = form.words("others")
        await client.merge_findings(finding_id, others, reason, undo=action == "unmerge", **more)
        return f"{' and '.join(others)} {'is on its own again' if action == 'unmerge' else 'is one with it now'}."
    if action in ("split", "restore"):
        accounts = form.texts("account")
        await client.split_finding(finding_id, accounts, reason, undo=action == "restore", **more)
        return f"{len(accounts)} accounts were {'put back' if action == 'restore' else 'taken out'}."
    try:
        decision = ReviewState(form.text("decision"))
    except ValueError:
        raise InvalidError("choose a decision", field="decision") from None
    suppress = form.text("suppress")
    if suppress and decision is not ReviewState.DISMISSED:
        raise InvalidError("only what is dismissed can be suppressed later", field="suppress")
    rule = NewRule(rule_kind(suppress), anyone=form.checked("anyone")) if suppress else None
    finding = await client.review_finding(finding_id, decision, reason, suppress=rule, **more)
    later = " What the rule explains is suppressed from here on; see Rules." if rule else ""
    return f"Recorded: {finding.finding_id} is now {decision.value}.{later}"


async def finding_report(console: Console, request: Request, session: Session) -> Response:
    """The finding as one file for the case, with as much text as was asked for."""
    finding_id = request.path_params["finding_id"]
    try:
        redaction = Redaction(query_form(request).text("level") or Redaction.STATISTICS)
    except ValueError:
        raise InvalidError(f"level must be one of {', '.join(Redaction)}", field="level") from None
    dossier = await session.client.get_dossier(finding_id, with_text=redaction.needs_text)
    stats = await session.client.stats()
    report = write_report([dossier], redaction=redaction, made_us=time.time_ns() // 1_000, model_id=stats.model_id)
    name = f"{dossier.finding.finding_id}-{redaction.value}.html"
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(report.html.encode("utf-8", "replace"), media_type="text/html", headers=headers)


def _holds(finding: Finding, words: str) -> bool:
    if not words:
        return True
    named = (finding.finding_id, finding.title, *(account.account_id for account in finding.accounts))
    return any(words in name.casefold() for name in named) or any(
        words in benchmark.name.casefold() for benchmark in finding.benchmarks
    )


def _one_of(value: str, kind: type[Severity] | type[FindingKind] | type[Lineage]) -> str:
    if value and value not in list(kind):
        raise InvalidError(f"{value!r} is none of {', '.join(kind)}", field=kind.__name__.lower())
    return value
