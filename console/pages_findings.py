"""The triage list, and one finding with what speaks for it and against it."""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from coterie.client import AsyncClient
from coterie.console.forms import Form, query_form, read_form
from coterie.console.sessions import Session
from coterie.console.sharing import shared_parts
from coterie.console.web import Console, see_other
from coterie.domain import (
    LIMITS,
    Finding,
    FindingKind,
    InvalidError,
    Lineage,
    ReviewState,
    Severity,
    reading_of,
)

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
"""The default of the list: what nobody has decided on, dismissed ones left out."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which findings a person wants to see, in which order."""

    review: str = TRIAGE
    severity: str = ""
    kind: str = ""
    lineage: str = ""
    words: str = ""
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
            run_id=form.text("run"),
            sort=form.text("sort") or "severity",
            page=max(1, form.number("page", 1)),
        )
        if choice.review not in (TRIAGE, "all", *ReviewState):
            raise InvalidError("review must be triage, all or a review state", field="review")
        if choice.sort not in SORTS:
            raise InvalidError(f"sort must be one of {', '.join(SORTS)}", field="sort")
        return choice

    def takes(self, finding: Finding) -> bool:
        """Whether a finding is wanted."""
        reviewed = {
            TRIAGE: finding.review is not ReviewState.DISMISSED and finding.lineage is not Lineage.GONE,
            "all": True,
        }
        return (
            reviewed.get(self.review, finding.review.value == self.review)
            and self.severity in ("", finding.severity.value)
            and self.kind in ("", finding.kind.value)
            and self.lineage in ("", finding.lineage.value)
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
        page=page,
        pages=pages,
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
    console: Console, session: Session, finding_id: str, *, problem: str = "", reason: str = "", status: int = 200
) -> Response:
    finding, reviews, exemplars = await session.client.get_finding(finding_id)
    return console.page(
        "finding.html",
        session,
        status=status,
        area="findings",
        finding=finding,
        claim=claim_of(finding),
        reviews=list(reversed(reviews)),
        evidence=[(item, reading_of(item.name)) for item in finding.evidence],
        counter_evidence=[(item, reading_of(item.name)) for item in finding.counter_evidence],
        exemplars=list(zip(exemplars, shared_parts([exchange.prompt for exchange in exemplars]), strict=True)),
        accounts=finding.accounts[:_ACCOUNTS_SHOWN],
        accounts_unlisted=max(0, len(finding.accounts) - _ACCOUNTS_SHOWN),
        states=[state for state in ReviewState if state is not ReviewState.OPEN],
        reason_chars_max=LIMITS.reason_chars_max,
        problem=problem,
        reason=reason,
    )


async def review_finding(console: Console, request: Request, session: Session) -> Response:
    """Records a decision."""
    finding_id = request.path_params["finding_id"]
    form = await read_form(request, session)
    try:
        decision = ReviewState(form.text("decision"))
    except ValueError:
        problem = "Choose a decision."
        return await _finding_page(console, session, finding_id, problem=problem, reason=form.raw("reason"), status=400)
    try:
        finding = await session.client.review_finding(
            finding_id, decision, form.raw("reason").strip(), reviewer=session.name
        )
    except InvalidError as error:
        return await _finding_page(
            console, session, finding_id, problem=str(error), reason=form.raw("reason"), status=400
        )
    session.notes.append(f"Recorded: {finding.finding_id} is now {decision.value}.")
    return see_other(f"/findings/{finding_id}")


def claim_of(finding: Finding) -> str:
    """What a finding claims, in one sentence."""
    days = max(1, round((finding.last_seen_us - finding.first_seen_us) / 86_400e6))
    span = f"{days} days" if days > 1 else "one day"
    if finding.kind is FindingKind.BENCHMARK_RUN:
        who = "One customer" if len(finding.accounts) == 1 else f"{len(finding.accounts)} accounts of one customer"
        return f"{who} openly worked through benchmark-like questions for {span}. This is not an accusation."
    accounts = len(finding.accounts)
    exchanges = sum(account.exchanges for account in finding.accounts)
    asked = f"{exchanges:,} questions over {span}"
    return f"{accounts} accounts look like one: they asked {asked}, and knowing which of them asks says little."


async def latest_run_id(client: AsyncClient) -> str:
    """The newest whole run that is done; empty before the first."""
    run_id, _ = await client.list_findings(limit=1)
    return run_id


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
