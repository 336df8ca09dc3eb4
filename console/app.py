"""The console as an ASGI application: addresses and what answers there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from coterie.console import (
    pages_accounts,
    pages_audit,
    pages_benchmarks,
    pages_findings,
    pages_map,
    pages_person,
    pages_rules,
    pages_runs,
    pages_search,
)
from coterie.console.assets import ASSETS, compressed_asset, read_asset
from coterie.console.guard import Guard
from coterie.console.sessions import Session
from coterie.console.settings import ConsoleSettings
from coterie.console.web import Connect, Console, console_of, see_other, signed_in
from coterie.domain import NotFoundError

_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
_FOREVER = "public, max-age=31536000, immutable"


def make_app(settings: ConsoleSettings, connect: Connect) -> Guard:
    """The console.

    Args:
        connect: gives a client of the service that calls with the token it is given, or without one for "". Each
            signed-in person has one; it is closed when they leave.
    """
    console = Console(settings, connect)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await console.sessions.close_all()

    app = Starlette(routes=_routes(), lifespan=lifespan, exception_handlers={404: _missing, 405: _missing})
    app.state.console = console
    return Guard(app, settings)


def _routes() -> list[Route]:
    return [
        Route("/", _home),
        Route("/sign-in", pages_person.sign_in_page),
        Route("/sign-in", pages_person.sign_in, methods=["POST"]),
        Route("/sign-out", signed_in(pages_person.sign_out), methods=["POST"]),
        Route("/help", signed_in(_help)),
        Route("/person", signed_in(pages_person.person_page)),
        Route("/findings", signed_in(pages_findings.findings_page)),
        Route("/findings/{finding_id}", signed_in(pages_findings.finding_page)),
        Route("/findings/{finding_id}/review", signed_in(pages_findings.review_finding), methods=["POST"]),
        Route("/findings/{finding_id}/pictures", signed_in(pages_findings.finding_pictures)),
        Route("/findings/{finding_id}/report", signed_in(pages_findings.finding_report)),
        Route("/accounts", signed_in(pages_accounts.account_page)),
        Route("/texts/{text_id}", signed_in(pages_accounts.text_page)),
        Route("/map", signed_in(pages_map.map_page)),
        Route("/map/data", signed_in(pages_map.map_data)),
        Route("/search", signed_in(pages_search.search_page)),
        Route("/search", signed_in(pages_search.search), methods=["POST"]),
        Route("/runs", signed_in(pages_runs.runs_page)),
        Route("/runs", signed_in(pages_runs.start_run), methods=["POST"]),
        Route("/runs/{run_id}", signed_in(pages_runs.run_page)),
        Route("/runs/{run_id}/cancel", signed_in(pages_runs.cancel_run), methods=["POST"]),
        Route("/runs/{run_id}/events", signed_in(pages_runs.run_events)),
        Route("/benchmarks", signed_in(pages_benchmarks.benchmarks_page)),
        Route("/rules", signed_in(pages_rules.rules_page)),
        Route("/rules", signed_in(pages_rules.add_rule), methods=["POST"]),
        Route("/rules/{rule_id}/revoke", signed_in(pages_rules.revoke_rule), methods=["POST"]),
        Route("/calibration", signed_in(pages_rules.calibration_page)),
        Route("/audit", signed_in(pages_audit.audit_page)),
        Route("/audit", signed_in(pages_audit.verify_audit), methods=["POST"]),
        Route("/static/{name}", _asset),
    ]


async def _home(request: Request) -> Response:
    return see_other("/findings")


async def _help(console: Console, request: Request, session: Session) -> Response:
    return console.page("help.html", session)


async def _asset(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in ASSETS:
        return PlainTextResponse("no such file\n", status_code=404)
    headers = {"cache-control": _FOREVER, "vary": "accept-encoding"}
    content = read_asset(name)
    if "gzip" in request.headers.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
        content = await asyncio.to_thread(compressed_asset, name)
    return Response(content, media_type=_TYPES[name.rpartition(".")[2]], headers=headers)


async def _missing(request: Request, error: Exception) -> Response:
    console = console_of(request)
    return console.error(NotFoundError("The address leads nowhere."), await console.session(request))
