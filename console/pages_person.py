"""Signing in and out, and who one is."""

import math

from starlette.requests import Request
from starlette.responses import Response

from coterie.console.forms import read_form
from coterie.console.sessions import Session
from coterie.console.web import Console, console_of, see_other
from coterie.domain import CoterieError, DeniedError, InvalidError, Role, UnauthenticatedError


async def sign_in_page(request: Request) -> Response:
    """Asks for a token; where the service is open, it is not needed."""
    console = console_of(request)
    if await console.session(request) is not None:
        return see_other("/findings")
    try:
        # Where no token was ever minted, none is needed.
        entered = await _enter(console, "")
    except CoterieError as error:
        return console.error(error, None)
    return entered or console.page("sign_in.html", None, problem="")


async def sign_in(request: Request) -> Response:
    """Takes a token."""
    console = console_of(request)
    address = request.client.host if request.client else ""
    wait_s = console.failures.wait_s(address)
    if wait_s:
        problem = f"Too many tries that failed. Try again in {math.ceil(wait_s / 60)} minutes."
        response = console.page("sign_in.html", None, problem=problem, status=429)
        response.headers["retry-after"] = str(math.ceil(wait_s))
        return response
    try:
        form = await read_form(request, None)
        entered = await _enter(console, form.text("token")) if form.text("token") else None
    except CoterieError as error:
        return console.error(error, None)
    if entered is not None:
        return entered
    console.failures.add(address)
    return console.page("sign_in.html", None, problem="The service does not know this token.", status=401)


async def sign_out(console: Console, request: Request, session: Session) -> Response:
    """Ends the session."""
    await read_form(request, session)
    await console.sessions.close(request.cookies.get(console.settings.cookie, ""))
    response = see_other("/sign-in?signed-out")
    console.sign_out(response)
    return response


async def person_page(console: Console, request: Request, session: Session) -> Response:
    """Who is signed in, and what the service holds."""
    return console.page("person.html", session, area="person", stats=await session.client.stats())


async def _enter(console: Console, token: str) -> Response | None:
    """To the findings, signed in; None where the service does not take the token.

    Raises:
        CoterieError: the service cannot say, or the token's roles let nobody read.
    """
    try:
        client = console.connect(token)
    except InvalidError:  # what no token looks like
        return None
    try:
        caller = await client.who_am_i()
        if not caller.may(Role.ANALYST):
            raise DeniedError(f"{caller.name} may send exchanges in and read nothing: the console is for analysts")
    except (UnauthenticatedError, InvalidError):
        await client.close()
        return None
    except CoterieError:
        await client.close()
        raise
    secret, _ = await console.sessions.open(client, caller)
    response = see_other("/findings")
    console.sign_in(response, secret)
    return response
