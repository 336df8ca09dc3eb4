"""What a call leaves in the audit record: a row before it is answered, and a second one where it then fails."""

import asyncio
import time
from concurrent.futures import Future
from contextvars import ContextVar

from coterie.client.wire import status_of
from coterie.domain import ALLOWED, DENIED, AuditEntry, Caller, CoterieError, DeniedError
from coterie.server.access import UNAUDITED, action_of
from coterie.server.requests import request_id
from coterie.store import Store


class CallAudit:
    """The rows of one call.

    A row is queued behind everything that was written before, and in front of what the call writes, so no change is
    durable without it; the call's work goes on meanwhile, and `settled` waits for the disk before the answer.
    """

    def __init__(self, store: Store, method: str, caller: Caller) -> None:
        self._store = store
        self._method = method
        self._caller = caller
        self._recorded: AuditEntry | None = None
        self._waiting: list[Future[int]] = []

    def record(self, action: str, subject: str = "", outcome: str = ALLOWED) -> None:
        """Queue a row.

        Raises:
            InvalidError: the subject is no id.
            OverloadedError: too much is waiting for the disk.
        """
        caller = self._caller
        self._recorded = AuditEntry(
            time_us=time.time_ns() // 1_000,
            actor=caller.name,
            action=action,
            subject=subject,
            roles=",".join(sorted(caller.roles)),
            credential=f"{caller.credential.value} {caller.token_id}".rstrip(),
            request_id=request_id(),
            outcome=outcome,
        )
        self._waiting.append(self._store.audit(self._recorded))

    def complete(self) -> None:
        """Queue the row of a method that did not say what it does, and is not one that needs none."""
        if self._recorded is None and self._method not in UNAUDITED:
            self.record(action_of(self._method))

    def failed(self, error: Exception) -> None:
        """Queue how a call ended that fails: what was refused, and what was let through and failed then."""
        outcome = (status_of(error) if isinstance(error, CoterieError) else status_of(CoterieError())).name.lower()
        if self._recorded is not None:
            self.record(self._recorded.action, self._recorded.subject, outcome)
        elif isinstance(error, DeniedError):
            self.record(action_of(self._method), outcome=DENIED)

    async def settled(self) -> None:
        """Wait until the rows are durable."""
        waiting, self._waiting = self._waiting, []
        for row in waiting:
            await asyncio.wrap_future(row)


_CURRENT: ContextVar[CallAudit] = ContextVar("coterie_audit")


def enter_audit(audit: CallAudit) -> None:
    """Make these the rows of this task's call, which ends with it."""
    _CURRENT.set(audit)


def record(action: str, subject: str = "") -> None:
    """Queue a row of the call that this task answers; see `CallAudit.record`."""
    _CURRENT.get().record(action, subject)
