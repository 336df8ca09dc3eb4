"""Registered benchmarks."""

from starlette.requests import Request
from starlette.responses import Response

from coterie.console.sessions import Session
from coterie.console.web import Console


async def benchmarks_page(console: Console, request: Request, session: Session) -> Response:
    """Reference corpora, by name, and how to register one."""
    benchmarks = await session.client.list_benchmarks()
    return console.page("benchmarks.html", session, area="benchmarks", benchmarks=benchmarks)
