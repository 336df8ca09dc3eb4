"""Runs: what was looked at when, how far one at work is, and starting another."""

import json
from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from coterie.console.forms import read_form
from coterie.console.pages_search import time_of
from coterie.console.sessions import Session
from coterie.console.web import Console, see_other
from coterie.domain import CoterieError, Run

RUNS_SHOWN = 50


async def runs_page(console: Console, request: Request, session: Session) -> Response:
    """Runs, newest first."""
    return await _runs_page(console, session)


async def _runs_page(console: Console, session: Session, *, problem: str = "", status: int = 200) -> Response:
    runs = await session.client.list_runs(limit=RUNS_SHOWN)
    return console.page(
        "runs.html",
        session,
        area="runs",
        status=status,
        runs=runs,
        working=next((run for run in runs if not run.state.finished), None),
        stats=await session.client.stats(),
        problem=problem,
    )


async def run_page(console: Console, request: Request, session: Session) -> Response:
    """One run: how far it is, or what came of it."""
    run = await session.client.get_run(request.path_params["run_id"])
    return console.page("run.html", session, area="runs", run=run)


async def start_run(console: Console, request: Request, session: Session) -> Response:
    """Starts a run and shows its progress."""
    form = await read_form(request, session)
    try:
        run = await session.client.start_run(since_us=time_of(form, "since"), until_us=time_of(form, "until"))
    except CoterieError as error:
        return await _runs_page(console, session, problem=str(error), status=409)
    return see_other(f"/runs/{run.run_id}")


async def cancel_run(console: Console, request: Request, session: Session) -> Response:
    """Asks a run to stop."""
    await read_form(request, session)
    run = await session.client.cancel_run(request.path_params["run_id"])
    session.notes.append("The run was asked to stop; the last good one stays." if not run.state.finished else "")
    return see_other(f"/runs/{run.run_id}")


async def run_events(console: Console, request: Request, session: Session) -> Response:
    """A run's progress as server-sent events, until it is finished; a page without them reloads itself."""
    run_id = request.path_params["run_id"]
    await session.client.get_run(run_id)
    return StreamingResponse(_events(session, run_id), media_type="text/event-stream")


async def _events(session: Session, run_id: str) -> AsyncIterator[str]:
    try:
        async for run in session.client.watch_run(run_id):
            yield f"data: {json.dumps(_progress(run))}\n\n"
    except CoterieError:  # the page asks again, and then sees the error itself
        yield "event: broken\ndata: {}\n\n"


def _progress(run: Run) -> dict[str, object]:
    return {"state": run.state.value, "stage": run.stage, "progress": run.progress, "finished": run.state.finished}
