"""The audit record: who read texts, who changed what, and what was refused."""

from starlette.requests import Request
from starlette.responses import Response

from coterie.console.forms import Form, query_form, read_form
from coterie.console.pages_search import time_of
from coterie.console.sessions import Session
from coterie.console.web import Console
from coterie.domain import AuditVerdict

ROWS_SHOWN = 200


async def audit_page(console: Console, request: Request, session: Session) -> Response:
    """The newest rows, of one actor or action where that is asked for."""
    return await _page(console, session, query_form(request), None)


async def verify_audit(console: Console, request: Request, session: Session) -> Response:
    """Walks the record's chain and tells whether it is as it was written."""
    form = await read_form(request, session)
    return await _page(console, session, Form({}), await session.client.verify_audit(noted_head=form.text("head")))


async def _page(console: Console, session: Session, form: Form, verdict: AuditVerdict | None) -> Response:
    rows = await session.client.list_audit(
        since_us=time_of(form, "since") or 0,
        action=form.text("action"),
        actor=form.text("actor"),
        limit=ROWS_SHOWN,
    )
    return console.page(
        "audit.html", session, area="audit", rows=rows, form=form, verdict=verdict, is_full=len(rows) == ROWS_SHOWN
    )
