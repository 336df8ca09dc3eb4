"""The calls of who looks around, as values like those of `calls`."""

from coterie.client import wire, wire_explore
from coterie.client.calls import Call, Listing, Page
from coterie.client.channel import Stubs
from coterie.domain import Exchange, InvalidError, TextMap, Twins
from coterie.v1 import explore_service_pb2, types_pb2


class MapWatch:
    """One map, message by message; after a break it begins again."""

    def __init__(self) -> None:
        self.finished = False
        self._reader = wire_explore.MapReader()
        self._missing = -1

    def open(self, stubs: Stubs) -> object:
        """The stream of answers, sync or async as the stubs are."""
        self._reader, self._missing = wire_explore.MapReader(), -1
        return stubs.explore.GetMap(explore_service_pb2.GetMapRequest())

    def accept(self, answer: explore_service_pb2.GetMapResponse) -> TextMap | None:
        """The map, with its last message; None before that."""
        self._reader.add(answer)
        if answer.HasField("header"):
            self._missing = answer.header.points
        else:
            self._missing -= len(answer.points.text_ids)
        self.finished = self._missing == 0
        return self._reader.whole() if self.finished else None


def list_exchanges(account_id: str | None, text_id: int | None, limit: int) -> Listing[Exchange]:
    """Exchanges of an account or of a text, newest first.

    Raises:
        InvalidError: neither or both of them.
    """
    if (account_id is None) == (text_id is None):
        raise InvalidError("list_exchanges takes exactly one of account_id and text_id", field="of")
    return Listing(lambda _, page: _exchanges_page(account_id, text_id, page), limit)


def exchanges_page(account_id: str, size: int, page_token: str) -> Call[Page[Exchange]]:
    """One page of an account's exchanges, newest first."""
    return _exchanges_page(account_id, None, types_pb2.PageRequest(page_size=size, page_token=page_token))


def _exchanges_page(account_id: str | None, text_id: int | None, page: types_pb2.PageRequest) -> Call[Page[Exchange]]:
    request = explore_service_pb2.ListExchangesRequest(page=page)
    if account_id is not None:
        request.account_id = account_id
    elif text_id is not None:
        request.text_id = text_id
    return Call(
        lambda stubs, timeout_s: stubs.explore.ListExchanges(request, timeout=timeout_s),
        lambda answer: Page(
            [wire.exchange_from_wire(exchange) for exchange in answer.exchanges], answer.page.next_page_token
        ),
    )


def list_twins(account_id: str, limit: int) -> Call[Twins]:
    """The accounts that ask most like an account."""
    request = explore_service_pb2.ListTwinsRequest(account_id=account_id, limit=limit)
    return Call(
        lambda stubs, timeout_s: stubs.explore.ListTwins(request, timeout=timeout_s), wire_explore.twins_from_wire
    )
