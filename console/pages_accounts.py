"""One account: what it is in, and how near it came."""

from starlette.requests import Request
from starlette.responses import Response

from coterie.console.forms import query_form
from coterie.console.sessions import Session
from coterie.console.web import Console


async def account_page(console: Console, request: Request, session: Session) -> Response:
    """Where an account stands; without an id, a form that asks for one."""
    account_id = query_form(request).raw("id").strip()
    if not account_id:
        return console.page("accounts.html", session, area="accounts")
    report = await session.client.get_account(account_id)
    return console.page("account.html", session, area="accounts", account_id=account_id, report=report)
