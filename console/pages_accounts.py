"""One account or one text: where it stands, what else it asks, and who asks alike."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from coterie.console.forms import query_form
from coterie.console.sessions import Session
from coterie.console.web import Console
from coterie.domain import InvalidError, NotFoundError

EXCHANGES_SHOWN = 25
_TEXT_EXCHANGES_SHOWN = 50
_TEXT_ID_MAX = 2**63 - 1
_TEXT_ID_DIGITS_MAX = 19


async def account_page(console: Console, request: Request, session: Session) -> Response:
    """Where an account stands, its newest exchanges and its twins; without an id, a form that asks for one."""
    form = query_form(request)
    account_id = form.raw("id").strip()
    if not account_id:
        return console.page("accounts.html", session, area="accounts")
    client = session.client
    report, twins, (exchanges, next_token) = await asyncio.gather(
        client.get_account(account_id),
        client.list_twins(account_id),
        client.exchanges_page(account_id, size=EXCHANGES_SHOWN, page_token=form.text("after")),
    )
    return console.page(
        "account.html",
        session,
        area="accounts",
        account_id=account_id,
        report=report,
        twins=twins,
        exchanges=exchanges,
        is_first=not form.text("after"),
        next_token=next_token,
    )


async def text_page(console: Console, request: Request, session: Session) -> Response:
    """One text and who asked it; as a part of the map's page where that asks for one."""
    given = request.path_params["text_id"]
    if not given.isdecimal() or len(given) > _TEXT_ID_DIGITS_MAX or int(given) > _TEXT_ID_MAX:
        raise InvalidError("a text id is a whole number", field="text_id")
    exchanges = await session.client.list_exchanges(text_id=int(given), limit=_TEXT_EXCHANGES_SHOWN)
    if not exchanges:
        raise NotFoundError(f"there is no exchange with text {given}: it may have been erased")
    template = "text_part.html" if "part" in request.query_params else "text.html"
    return console.page(template, session, area="map", text_id=int(given), exchanges=exchanges)
