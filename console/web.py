"""What every page shares: who is signed in, how templates are filled, and what an error looks like."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from coterie.client import AsyncClient
from coterie.console import shown
from coterie.console.assets import asset_address
from coterie.console.sessions import Failures, Session, Sessions
from coterie.console.settings import ConsoleSettings
from coterie.domain import (
    ConflictError,
    CoterieError,
    DeniedError,
    InvalidError,
    NotFoundError,
    OverloadedError,
    UnauthenticatedError,
    UnavailableError,
)

Connect = Callable[[str], AsyncClient]
"""A client of the service that calls with a token; "" calls without one."""

Page = Callable[["Console", Request, Session], Awaitable[Response]]
"""A page for a person who is signed in."""

_STATUS: Mapping[type[CoterieError], int] = {
    InvalidError: 400,
    NotFoundError: 404,
    UnauthenticatedError: 401,
    DeniedError: 403,
    ConflictError: 409,
    OverloadedError: 429,
    UnavailableError: 503,
}
_HEADLINES = {
    400: "That cannot be done as asked",
    403: "Your role does not allow that",
    404: "There is no such thing here",
    409: "Something else stands in the way",
    429: "Too much at once",
    500: "Something broke",
    503: "Not ready",
}


class Console:
    """The console as its pages see it."""

    def __init__(self, settings: ConsoleSettings, connect: Connect) -> None:
        self.settings = settings
        self.connect = connect
        self.sessions = Sessions(settings)
        self.failures = Failures(settings)
        self._templates = _templates()

    def page(
        self, name: str, session: Session | None, *, status: int = 200, area: str = "", **values: Any
    ) -> HTMLResponse:
        """A template filled in; what it shows is escaped.

        Args:
            name: of the template.
            area: the part of the console it belongs to, which the navigation marks.
        """
        notes: list[str] = []
        if session is not None:
            notes, session.notes = session.notes, []
        template = self._templates.get_template(name)
        return HTMLResponse(
            template.render(person=session, csrf=session.csrf if session else "", area=area, notes=notes, **values),
            status_code=status,
        )

    def error(self, error: CoterieError, session: Session | None) -> HTMLResponse:
        """What a person sees of an error: what is wrong and what to do, as the service said it."""
        status = status_of(error)
        headline = _HEADLINES.get(status, _HEADLINES[500])
        return self.page("error.html", session, status=status, headline=headline, message=str(error))

    async def session(self, request: Request) -> Session | None:
        """Who makes a request, if they are signed in."""
        secret = request.cookies.get(self.settings.cookie, "")
        return await self.sessions.find(secret) if secret else None

    def sign_in(self, response: Response, secret: str) -> None:
        """Give the cookie of a session out."""
        response.set_cookie(
            self.settings.cookie,
            secret,
            max_age=int(self.settings.session_s),
            path="/",
            secure=self.settings.secure,
            httponly=True,
            samesite="strict",
        )

    def sign_out(self, response: Response) -> None:
        """Take the cookie back."""
        response.delete_cookie(
            self.settings.cookie, path="/", secure=self.settings.secure, httponly=True, samesite="strict"
        )


def status_of(error: CoterieError) -> int:
    """The HTTP status of an error: that of its nearest ancestor in the table."""
    for ancestor in type(error).__mro__:
        if ancestor in _STATUS:
            return _STATUS[ancestor]
    return 500


def console_of(request: Request) -> Console:
    """The console that serves a request."""
    console: Console = request.app.state.console
    return console


def signed_in(page: Page) -> Callable[[Request], Awaitable[Response]]:
    """A page as an endpoint: whoever is not signed in is sent to sign in, and errors are told."""

    async def endpoint(request: Request) -> Response:
        console = console_of(request)
        session = await console.session(request)
        if session is None:
            return RedirectResponse("/sign-in", status_code=303)
        try:
            return await page(console, request, session)
        except UnauthenticatedError:  # the token was revoked or has expired, or the first was minted meanwhile
            await console.sessions.close(request.cookies.get(console.settings.cookie, ""))
            response = console.page("sign_in.html", None, problem="Your token is no longer valid.", status=401)
            console.sign_out(response)
            return response
        except CoterieError as error:
            return console.error(error, session)

    return endpoint


def see_other(address: str) -> RedirectResponse:
    """Where to go on after a form was taken."""
    return RedirectResponse(address, status_code=303)


def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("coterie.console", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(shown.FILTERS)
    environment.globals["asset"] = asset_address
    return environment
