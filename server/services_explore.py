"""Looking around: the map, exchanges of an account or a text, and twins."""

from collections.abc import AsyncIterator

from coterie.client import wire, wire_explore
from coterie.domain import LIMITS, AccountId, InvalidError, TextId
from coterie.server.access import current_caller
from coterie.server.paging import page_key, page_size, page_token
from coterie.server.services import Context, Desk
from coterie.v1 import explore_service_pb2, explore_service_pb2_grpc, types_pb2

_TWINS_DEFAULT = 10


class ExploreService(explore_service_pb2_grpc.ExploreServiceServicer):
    """Lets a person look around."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def GetMap(
        self, request: explore_service_pb2.GetMapRequest, context: Context
    ) -> AsyncIterator[explore_service_pb2.GetMapResponse]:
        """The texts of the newest whole run as points."""
        found = await self._desk.call(self._desk.engine.map)
        for answer in wire_explore.map_to_wire(found):
            yield answer

    async def ListExchanges(
        self, request: explore_service_pb2.ListExchangesRequest, context: Context
    ) -> explore_service_pb2.ListExchangesResponse:
        """Exchanges of an account, or of a text, newest first."""
        which = request.WhichOneof("of")
        if which is None:
            raise InvalidError("one of account_id and text_id is required", field="of")
        account_id = AccountId(request.account_id) if which == "account_id" else None
        text_id = TextId(request.text_id) if which == "text_id" else None
        size = page_size(request.page)
        key = page_key(request.page, "exchanges", [int, int])
        before = None if key is None else (int(key[0]), int(key[1]))
        subject = f"text {text_id}" if account_id is None else self._desk.engine.known_as(account_id)
        await self._desk.audit(context, "list_exchanges", subject)
        found = await self._desk.call(self._desk.engine.exchanges, account_id, text_id, before, size + 1)
        page = found[:size]
        shown = [exchange for _, exchange in page]
        masking = self._desk.engine.masking
        if masking.applies(current_caller()):
            shown = await self._desk.call(masking.exchanges, shown)
        token = page_token("exchanges", [page[-1][1].time_us, page[-1][0]]) if len(found) > size else ""
        return explore_service_pb2.ListExchangesResponse(
            exchanges=[wire.exchange_to_wire(exchange) for exchange in shown],
            page=types_pb2.PageResponse(next_page_token=token),
        )

    async def ListTwins(
        self, request: explore_service_pb2.ListTwinsRequest, context: Context
    ) -> explore_service_pb2.ListTwinsResponse:
        """The accounts that ask most like an account."""
        limit = request.limit or _TWINS_DEFAULT
        if not 1 <= limit <= LIMITS.twins_max:
            raise InvalidError(f"limit is {limit}, it must lie between 1 and {LIMITS.twins_max}", field="limit")
        twins = await self._desk.call(self._desk.engine.twins, AccountId(request.account_id), limit)
        return wire_explore.twins_to_wire(twins)
