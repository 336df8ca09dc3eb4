"""What reviewers have explained: rules that suppress findings, and how often a stated confidence was right."""

from starlette.requests import Request
from starlette.responses import Response

from coterie.console.forms import Form, read_form
from coterie.console.pages_search import time_of
from coterie.console.sessions import Session
from coterie.console.web import Console, see_other, status_of
from coterie.domain import ConflictError, InvalidError, NewRule, RuleKind

ALLOWED = (RuleKind.ORGANISATION, RuleKind.ACCOUNTS)
"""What an allow-list can be of; rules of wording and of families are made from the finding that they explain."""


async def rules_page(console: Console, request: Request, session: Session) -> Response:
    """Every rule, those that ended too, and an allow-list to add."""
    return await _page(console, session)


async def _page(
    console: Console, session: Session, *, form: Form | None = None, problem: str = "", status: int = 200
) -> Response:
    return console.page(
        "rules.html",
        session,
        status=status,
        area="rules",
        rules=await session.client.list_rules(),
        kinds=ALLOWED,
        form=form or Form({}),
        problem=problem,
    )


async def add_rule(console: Console, request: Request, session: Session) -> Response:
    """Puts organisations or accounts on an allow-list."""
    form = await read_form(request, session)
    try:
        rule = await session.client.create_rule(
            NewRule(
                rule_kind(form.text("kind")), tuple(form.words("values")), expires_us=time_of(form, "expires") or 0
            ),
            form.raw("reason").strip(),
            reviewer=session.name,
        )
    except (InvalidError, ConflictError) as error:
        return await _page(console, session, form=form, problem=str(error), status=status_of(error))
    session.notes.append(f"Rule {rule.rule_id} holds; it suppresses {rule.findings} findings of the newest run.")
    return see_other("/rules")


async def revoke_rule(console: Console, request: Request, session: Session) -> Response:
    """Takes a rule back."""
    await read_form(request, session)
    rule = await session.client.revoke_rule(request.path_params["rule_id"], reviewer=session.name)
    session.notes.append(f"Rule {rule.rule_id} no longer holds; what it suppressed is back.")
    return see_other("/rules")


async def calibration_page(console: Console, request: Request, session: Session) -> Response:
    """Stated confidence against what reviewers decided."""
    return console.page(
        "calibration.html", session, area="calibration", calibration=await session.client.get_calibration()
    )


def rule_kind(word: str) -> RuleKind:
    """The kind of rule that a form names.

    Raises:
        InvalidError: there is none of that name.
    """
    if word not in list(RuleKind):
        raise InvalidError(f"a rule is one of {', '.join(RuleKind)}", field="kind")
    return RuleKind(word)
