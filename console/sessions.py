"""Who is signed in: sessions kept in memory, and how often signing in may fail."""

import hashlib
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from coterie.client import AsyncClient
from coterie.console.settings import ConsoleSettings
from coterie.domain import Caller, Role

_ADDRESSES_MAX = 10_000


@dataclass(slots=True)
class Session:
    """One person, signed in.

    Attributes:
        client: calls the service with this person's token.
        caller: as the service knows them.
        csrf: what every form of this session sends along.
        notes: what to tell on the next page.
        started_s, seen_s: of the sessions' clock, seconds.
    """

    client: AsyncClient
    caller: Caller
    csrf: str
    started_s: float
    seen_s: float
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """What they are called."""
        return self.caller.name

    @property
    def reviews(self) -> bool:
        """Whether they may decide on findings."""
        return self.caller.may(Role.REVIEWER)

    @property
    def administers(self) -> bool:
        """Whether they may see the audit record and mint tokens."""
        return self.caller.may(Role.ADMIN)


class Sessions:
    """The sessions by the secret in a person's cookie, of which only a digest is kept."""

    def __init__(self, settings: ConsoleSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._sessions: dict[bytes, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    async def open(self, client: AsyncClient, caller: Caller) -> tuple[str, Session]:
        """Sign a person in; the secret for the cookie, and the session."""
        await self.expire()
        if len(self._sessions) >= self._settings.sessions_max:
            idlest = min(self._sessions, key=lambda key: self._sessions[key].seen_s)
            await self._drop(idlest)
        now_s = self._clock()
        secret = secrets.token_urlsafe(32)
        session = Session(client, caller, secrets.token_urlsafe(32), now_s, now_s)
        self._sessions[_digest(secret)] = session
        return secret, session

    async def find(self, secret: str) -> Session | None:
        """The session of a cookie, if it has not expired; it has been seen now."""
        key = _digest(secret)
        session = self._sessions.get(key)
        if session is None:
            return None
        if self._expired(session):
            await self._drop(key)
            return None
        session.seen_s = self._clock()
        return session

    async def close(self, secret: str) -> None:
        """Sign the person of a cookie out."""
        if _digest(secret) in self._sessions:
            await self._drop(_digest(secret))

    async def close_all(self) -> None:
        """Sign everybody out."""
        for key in list(self._sessions):
            await self._drop(key)

    async def expire(self) -> None:
        """Let go of the sessions whose time is over."""
        for key in [key for key, session in self._sessions.items() if self._expired(session)]:
            await self._drop(key)

    def _expired(self, session: Session) -> bool:
        now_s = self._clock()
        return now_s - session.seen_s > self._settings.idle_s or now_s - session.started_s > self._settings.session_s

    async def _drop(self, key: bytes) -> None:
        await self._sessions.pop(key).client.close()


class Failures:
    """Counts failed tries to sign in by address, within a sliding window."""

    def __init__(self, settings: ConsoleSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._times: dict[str, deque[float]] = {}

    def wait_s(self, address: str) -> float:
        """How long an address has to wait before it may try again, seconds; 0 where it may now."""
        times = self._recent(address)
        if len(times) < self._settings.sign_in_failures_max:
            return 0.0
        return max(0.0, times[0] + self._settings.sign_in_window_s - self._clock())

    def add(self, address: str) -> None:
        """Count a failed try."""
        while len(self._times) >= _ADDRESSES_MAX:
            self._times.pop(next(iter(self._times)))
        times = self._recent(address)
        times.append(self._clock())
        self._times[address] = times

    def _recent(self, address: str) -> deque[float]:
        oldest_s = self._clock() - self._settings.sign_in_window_s
        times = self._times.get(address, deque(maxlen=self._settings.sign_in_failures_max))
        while times and times[0] <= oldest_s:
            times.popleft()
        return times


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
