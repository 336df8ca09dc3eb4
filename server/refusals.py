"""Calls without a valid credential on the audit record: counted, so that nobody fills it with them."""

import asyncio
import logging
import time
from concurrent.futures import Future
from urllib.parse import unquote

from coterie.domain import AuditEntry, CoterieError, Credential
from coterie.server.access import action_of
from coterie.server.logs import emit
from coterie.server.requests import request_id
from coterie.store import Store

_LOGGER = logging.getLogger(__name__)

OUTCOME = "unauthenticated"
PERIOD_S = 60.0
PEERS_MAX = 8
"""Peers that are told apart within a period; the rest are counted together."""

OTHERS = "other peers"


class Refusals:
    """Counts refused calls by the address they came from. For one event loop.

    The first of a peer is a row of its own, at once; how many more came within the period is a second one at its end.
    So a flood leaves at most `2 * (PEERS_MAX + 1)` rows in a period, whatever it tries.
    """

    def __init__(self, store: Store, period_s: float = PERIOD_S) -> None:
        self._store = store
        self._period_s = period_s
        self._more: dict[str, int] = {}
        self._end: asyncio.TimerHandle | None = None

    def take(self, peer: str, method: str) -> None:
        """Count a call that was refused.

        Args:
            peer: as gRPC names it, with the port.
        """
        name = peer_name(peer)
        if name not in self._more and len(self._more) >= PEERS_MAX:
            name = OTHERS
        if self._end is None:
            self._end = asyncio.get_running_loop().call_later(self._period_s, self.flush)
        if name in self._more:
            self._more[name] += 1
            return
        self._more[name] = 0
        self._record(action_of(method), name, request_id())

    def flush(self) -> None:
        """End the period: record how many more there were."""
        if self._end is not None:
            self._end.cancel()
        more, self._more, self._end = self._more, {}, None
        for name, count in more.items():
            if count:
                self._record("refused_calls", f"{name}: {count} more within {self._period_s:g} s", "")

    def _record(self, action: str, subject: str, request: str) -> None:
        entry = AuditEntry(
            time_us=time.time_ns() // 1_000,
            actor="",
            action=action,
            subject=subject,
            credential=Credential.NONE.value,
            request_id=request,
            outcome=OUTCOME,
        )
        try:
            self._store.audit(entry).add_done_callback(_tell)  # nobody waits for it: the call is refused either way
        except CoterieError as error:
            _say_lost(error)


def peer_name(peer: str) -> str:
    """The address of a peer as gRPC names it (`ipv4:192.0.2.7:5012`, `ipv6:%5B::1%5D:5012`, `unix:`), without port.

    Whoever comes through the console comes by a local socket.
    """
    kind, _, rest = unquote(peer).partition(":")
    if kind not in ("ipv4", "ipv6"):
        return "local socket" if kind.startswith("unix") else "unknown"
    return rest.rpartition(":")[0].strip("[]")


def _tell(written: "Future[int]") -> None:
    if (error := written.exception()) is not None:
        _say_lost(error)


def _say_lost(error: BaseException) -> None:
    reason = str(error) if isinstance(error, CoterieError) else type(error).__name__
    emit(_LOGGER, logging.WARNING, "refusal_not_recorded", reason=reason)
