"""Starts, lists, watches and cancels runs."""

from collections.abc import AsyncIterator
from dataclasses import replace

from coterie.client import wire
from coterie.domain import LIMITS, DeniedError, Role, Run
from coterie.server.access import current_caller
from coterie.server.paging import page_key, page_size, page_token
from coterie.server.services import Context, Desk
from coterie.v1 import run_service_pb2, run_service_pb2_grpc, types_pb2


class RunService(run_service_pb2_grpc.RunServiceServicer):
    """Re-clusters a window of exchanges, one run at a time."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def StartRun(
        self, request: run_service_pb2.StartRunRequest, context: Context
    ) -> run_service_pb2.StartRunResponse:
        """Starts a run and answers at once."""
        part = replace(wire.slice_from_wire(request.slice), accounts_unlisted=0)
        sets = wire.sets_from_wire(request.sets)
        if sets and part.is_whole and not current_caller().may(Role.REVIEWER):
            raise DeniedError(
                "a run of everything with other parameters makes the standing picture, which takes the role reviewer: "
                "leave the parameters out, or name a slice"
            )
        since_us = request.since_us if request.HasField("since_us") else None
        until_us = request.until_us if request.HasField("until_us") else None
        run = await self._desk.call(
            self._desk.engine.start_run,
            since_us,
            until_us,
            part=part,
            sets=sets,
        )
        await self._desk.audit(context, "start_run", run.run_id)
        return run_service_pb2.StartRunResponse(run=wire.run_to_wire(run))

    async def GetRun(self, request: run_service_pb2.GetRunRequest, context: Context) -> run_service_pb2.GetRunResponse:
        """One run."""
        run = await self._desk.call(self._desk.engine.run, request.run_id)
        return run_service_pb2.GetRunResponse(run=wire.run_to_wire(run))

    async def ListRuns(
        self, request: run_service_pb2.ListRunsRequest, context: Context
    ) -> run_service_pb2.ListRunsResponse:
        """Runs, newest first."""
        size = page_size(request.page)
        key = page_key(request.page, "runs", [int, str])
        before = None if key is None else (int(key[0]), str(key[1]))
        runs = await self._desk.call(self._desk.engine.runs, size + 1, before)
        page = runs[:size]
        token = page_token("runs", [page[-1].created_us, page[-1].run_id]) if len(runs) > size else ""
        return run_service_pb2.ListRunsResponse(
            runs=[wire.run_to_wire(_listed(run)) for run in page], page=types_pb2.PageResponse(next_page_token=token)
        )

    async def WatchRun(
        self, request: run_service_pb2.WatchRunRequest, context: Context
    ) -> AsyncIterator[run_service_pb2.WatchRunResponse]:
        """A run's progress until it is finished; at shutdown the run is stopped, which ends this too."""
        with self._desk.engine.changed.event() as changed:
            run = await self._desk.call(self._desk.engine.run, request.run_id)
            yield run_service_pb2.WatchRunResponse(run=wire.run_to_wire(_listed(run)))
            while not run.state.finished:
                await changed.wait()
                changed.clear()
                seen, run = run, await self._desk.call(self._desk.engine.run, run.run_id)
                if run != seen:
                    yield run_service_pb2.WatchRunResponse(run=wire.run_to_wire(_listed(run)))

    async def CancelRun(
        self, request: run_service_pb2.CancelRunRequest, context: Context
    ) -> run_service_pb2.CancelRunResponse:
        """Asks a run to stop."""
        await self._desk.audit(context, "cancel_run", request.run_id)
        run = await self._desk.call(self._desk.engine.cancel_run, request.run_id)
        return run_service_pb2.CancelRunResponse(run=wire.run_to_wire(run))


def _listed(run: Run) -> Run:
    """The run for where it is one of many messages: a slice may name more accounts than fit."""
    return replace(run, slice=run.slice.listed(LIMITS.run_accounts_listed_max))
