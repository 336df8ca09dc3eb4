"""Maps and twins on the wire."""

from collections.abc import Iterator

import numpy as np

from coterie.client.wire import enum_from_wire
from coterie.domain import AccountId, FamilyId, FindingId, InvalidError, MapState, RunId, TextMap, Twin, Twins
from coterie.v1 import explore_service_pb2

MAP_STATES = {
    MapState.NONE: explore_service_pb2.MAP_STATE_NONE,
    MapState.MAKING: explore_service_pb2.MAP_STATE_MAKING,
    MapState.READY: explore_service_pb2.MAP_STATE_READY,
    MapState.FAILED: explore_service_pb2.MAP_STATE_FAILED,
}
_POINTS_AT_ONCE = 20_000


def map_to_wire(found: TextMap) -> Iterator[explore_service_pb2.GetMapResponse]:
    """A map's messages, the header first."""
    yield explore_service_pb2.GetMapResponse(
        header=explore_service_pb2.MapHeader(
            state=MAP_STATES[found.state],
            run_id=found.run_id,
            points=len(found.text_ids),
            texts=found.texts,
            family_ids=found.family_ids,
            finding_ids=found.finding_ids,
            error=found.error,
        )
    )
    for first in range(0, len(found.text_ids), _POINTS_AT_ONCE):
        some = slice(first, first + _POINTS_AT_ONCE)
        yield explore_service_pb2.GetMapResponse(
            points=explore_service_pb2.MapPoints(
                text_ids=found.text_ids[some].tolist(),
                positions=found.positions[some].astype("<f4").tobytes(),
                families=found.family[some].astype("<i4").tobytes(),
                findings=found.finding[some].astype("<i4").tobytes(),
            )
        )


class MapReader:
    """Puts a map together again."""

    def __init__(self) -> None:
        self._header: explore_service_pb2.MapHeader | None = None
        self._points: list[explore_service_pb2.MapPoints] = []

    def add(self, answer: explore_service_pb2.GetMapResponse) -> None:
        """Take the next message."""
        if answer.HasField("header"):
            self._header = answer.header
        else:
            self._points.append(answer.points)

    def whole(self) -> TextMap:
        """The map.

        Raises:
            InvalidError: a part of it is missing, or a state this version does not know.
        """
        header = self._header
        if header is None:
            raise InvalidError("the map has no beginning: the server is not of this version")
        text_ids = np.concatenate([np.array(part.text_ids, np.int64) for part in self._points] or [np.zeros(0, int)])
        positions = np.frombuffer(b"".join(part.positions for part in self._points), "<f4").reshape(-1, 2)
        family = np.frombuffer(b"".join(part.families for part in self._points), "<i4")
        finding = np.frombuffer(b"".join(part.findings for part in self._points), "<i4")
        if not header.points == len(text_ids) == len(positions) == len(family) == len(finding):
            raise InvalidError("the map has fewer points than it says: ask for it again")
        return TextMap(
            state=enum_from_wire(MAP_STATES, header.state, "state"),
            run_id=RunId(header.run_id),
            texts=header.texts,
            text_ids=text_ids.astype(np.int64),
            positions=positions.astype(np.float32),
            family=family.astype(np.int32),
            finding=finding.astype(np.int32),
            family_ids=tuple(FamilyId(name) for name in header.family_ids),
            finding_ids=tuple(FindingId(name) for name in header.finding_ids),
            error=header.error,
        )


def twins_to_wire(found: Twins) -> explore_service_pb2.ListTwinsResponse:
    """Accounts alike."""
    return explore_service_pb2.ListTwinsResponse(
        twins=[
            explore_service_pb2.Twin(
                account_id=twin.account_id,
                near_prompts=twin.near_prompts,
                expected_prompts=twin.expected_prompts,
                similarity=twin.similarity,
            )
            for twin in found.twins
        ],
        prompts=found.prompts,
    )


def twins_from_wire(message: explore_service_pb2.ListTwinsResponse) -> Twins:
    """Accounts alike."""
    return Twins(
        tuple(
            Twin(AccountId(twin.account_id), twin.near_prompts, twin.expected_prompts, twin.similarity)
            for twin in message.twins
        ),
        message.prompts,
    )
