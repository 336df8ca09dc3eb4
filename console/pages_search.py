"""Who else asks like this: the nearest exchanges to a text or an exchange."""

from starlette.requests import Request
from starlette.responses import Response

from coterie.console.forms import TEXT_FORM_BYTES_MAX, Form, query_form, read_form
from coterie.console.sessions import Session
from coterie.console.web import Console
from coterie.domain import AccountId, InvalidError, SearchFilter, SearchResult, TextField, parse_time

K_DEFAULT = 25
_DATE_CHARS = len("2026-01-31")


async def search_page(console: Console, request: Request, session: Session) -> Response:
    """The form; with the id of an exchange in the address, its neighbours too."""
    form = query_form(request)
    result = await _search(session, form) if form.text("exchange") else None
    return _page(console, session, form, result)


async def search(console: Console, request: Request, session: Session) -> Response:
    """The neighbours of a text. The text comes in a form: an address would leave it in histories and logs."""
    form = await read_form(request, session, TEXT_FORM_BYTES_MAX)
    try:
        result = await _search(session, form)
    except InvalidError as error:
        return _page(console, session, form, None, problem=str(error), status=400)
    return _page(console, session, form, result)


def _page(
    console: Console,
    session: Session,
    form: Form,
    result: SearchResult | None,
    *,
    problem: str = "",
    status: int = 200,
) -> Response:
    accounts = {hit.exchange.account_id for hit in result.hits} if result else set()
    return console.page(
        "search.html",
        session,
        area="search",
        status=status,
        form=form,
        result=result,
        accounts=len(accounts),
        problem=problem,
        k_default=K_DEFAULT,
    )


async def _search(session: Session, form: Form) -> SearchResult:
    text, exchange_id = form.raw("text").strip(), form.text("exchange")
    if not text and not exchange_id:
        raise InvalidError("write the text whose neighbours you look for, or the id of an exchange", field="text")
    return await session.client.search(
        text=None if exchange_id else text,
        exchange_id=exchange_id or None,
        field=TextField.RESPONSE if form.text("field") == "response" else TextField.PROMPT,
        k=form.number("k", K_DEFAULT),
        filter=SearchFilter(
            accounts=tuple(AccountId(word) for word in form.words("accounts")),
            models=tuple(form.words("models")),
            since_us=time_of(form, "since"),
            until_us=time_of(form, "until"),
            attributes=dict(_label(word) for word in form.words("attributes")),
        ),
        one_per_account=form.checked("one_per_account"),
    )


def time_of(form: Form, name: str) -> int | None:
    """A day or a time of a form, microseconds since the epoch; None where it is empty.

    Raises:
        InvalidError: it is neither.
    """
    value = form.text(name)
    if not value:
        return None
    return parse_time(f"{value}T00:00:00Z" if len(value) == _DATE_CHARS else value)


def _label(word: str) -> tuple[str, str]:
    key, found, value = word.partition("=")
    if not key or not found:
        raise InvalidError("a label is written KEY=VALUE, such as organisation=acme", field="attributes")
    return key, value
