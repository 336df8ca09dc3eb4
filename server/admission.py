"""What is let in: no more than memory holds, and no more than can be embedded soon; the rest is refused at once."""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable

from coterie.domain import Backlog, OverloadedError

_DELAY_MIN_S, _DELAY_MAX_S = 0.05, 60.0
_DELAY_UNKNOWN_S = 1.0
_RATE_MEMORY_S = 10.0
"""Seconds over which a rate is averaged: what was longer ago counts for little."""

_ARRIVALS_APART_S = 1.0

Clock = Callable[[], float]
"""Seconds that only grow."""


class Rate:
    """How much gets done in a second, lately: an exponential average over the time that was spent at work."""

    def __init__(self) -> None:
        self.per_s = 0.0
        """0 before anything was done."""
        self._weight_s = 0.0

    def done(self, amount: float, seconds: float) -> None:
        """Count what was done in so many seconds of work."""
        seconds = max(seconds, 1e-6)
        left = _RATE_MEMORY_S / (_RATE_MEMORY_S + seconds)
        weight_s = self._weight_s * left + seconds
        self.per_s = (self.per_s * self._weight_s * left + amount) / weight_s
        self._weight_s = weight_s

    def delay_s(self, amount: float) -> float:
        """How long so much will take, within what a caller can be told."""
        return min(_DELAY_MAX_S, max(_DELAY_MIN_S, amount / self.per_s)) if self.per_s else _DELAY_UNKNOWN_S


class EmbeddingQueue:
    """Keeps count of what waits to be embedded, and says when there is no room for more. Thread-safe.

    The queue itself is in the store; a number that drifts is set right whenever the store has nothing left.

    Args:
        tokens_max: tokens that may wait.
    """

    def __init__(self, tokens_max: int, clock: Clock = time.monotonic) -> None:
        self._tokens_max = tokens_max
        self._clock = clock
        self._lock = threading.Lock()
        self._texts = self._tokens = 0
        self._rate = Rate()
        self._arrived = self._served = 0
        # (when, how many tokens had arrived by then): the oldest that waits is the first that is not served yet.
        self._arrivals: deque[tuple[float, int]] = deque(maxlen=100_000)

    def counted(self, backlog: Backlog) -> None:
        """Take over what the store counted, whatever was known before."""
        self.emptied()
        self.arrived(backlog.texts, backlog.tokens)

    def arrived(self, texts: int, tokens: int) -> None:
        """Texts were stored and wait now."""
        if not texts:
            return
        now = self._clock()
        with self._lock:
            self._texts += texts
            self._tokens += tokens
            self._arrived += tokens
            if self._arrivals and now - self._arrivals[-1][0] < _ARRIVALS_APART_S:
                self._arrivals[-1] = (self._arrivals[-1][0], self._arrived)
            else:
                self._arrivals.append((now, self._arrived))

    def embedded(self, texts: int, tokens: int, seconds: float) -> None:
        """Texts were embedded, in so many seconds."""
        with self._lock:
            self._texts = max(0, self._texts - texts)
            self._tokens = max(0, self._tokens - tokens)
            self._served += tokens
            self._rate.done(tokens, seconds)
            while self._arrivals and self._arrivals[0][1] <= self._served:
                self._arrivals.popleft()

    def emptied(self) -> None:
        """The store had nothing that waited; what arrived in this moment is counted again with the next."""
        with self._lock:
            self._texts = self._tokens = 0
            self._served = self._arrived
            self._arrivals.clear()

    def state(self) -> Backlog:
        """What waits now."""
        with self._lock:
            oldest_s = self._clock() - self._arrivals[0][0] if self._texts and self._arrivals else 0.0
            return Backlog(self._texts, self._tokens, oldest_s, self._rate.per_s)

    def check(self, tokens: int) -> None:
        """Whether there is room for about so many tokens; an empty queue takes any number.

        Raises:
            OverloadedError: there is not; the delay is how long it takes, as fast as it went lately, until there is.
        """
        excess = self._tokens + tokens - self._tokens_max
        if self._tokens and excess > 0:
            raise OverloadedError(
                f"about {self._tokens} tokens wait to be embedded, the limit is {self._tokens_max}: send again later",
                retry_after_s=self._rate.delay_s(excess),
                reason="embedding_queue",
            )


class Room:
    """Bytes of requests that were received and are not durable yet, bounded. Used on one event loop.

    Args:
        bytes_max: all of them; one request may be larger when it is alone.
    """

    def __init__(self, bytes_max: int, clock: Clock = time.monotonic) -> None:
        self._bytes_max = bytes_max
        self._clock = clock
        self._bytes = 0
        self._rate = Rate()
        self._last = clock()
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def taken_bytes(self) -> int:
        """Bytes that are held."""
        return self._bytes

    def take(self, size: int) -> None:
        """Hold so many bytes, or refuse at once.

        Raises:
            OverloadedError: there is no room, or others wait for it; the delay is how long that takes at the rate at
                which requests became durable lately.
        """
        if self._waiting or not self._fits(size):
            ahead = self._bytes + sum(other for other, _ in self._waiting) + size - self._bytes_max
            raise OverloadedError(
                f"{self._bytes} bytes of requests wait to be stored, the limit is {self._bytes_max}: send again later",
                retry_after_s=self._rate.delay_s(max(ahead, size)),
                reason="write_queue",
            )
        self._hold(size)

    async def wait(self, size: int) -> None:
        """Hold so many bytes as soon as there is room: a stream that is not read meanwhile stops its sender."""
        if self._waiting or not self._fits(size):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((size, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self.give(size, durable=False)  # it was let in and does not come
                else:
                    self._waiting.remove((size, turn))
                raise
        else:
            self._hold(size)

    def give(self, size: int, *, durable: bool) -> None:
        """Let bytes go, and those in who wait for them."""
        self._bytes -= size
        now = self._clock()
        if durable:
            self._rate.done(size, now - self._last)
        self._last = now
        while self._waiting and self._fits(self._waiting[0][0]):
            waiting, turn = self._waiting.popleft()
            if not turn.done():
                self._hold(waiting)
                turn.set_result(None)

    def _fits(self, size: int) -> bool:
        return not self._bytes or self._bytes + size <= self._bytes_max

    def _hold(self, size: int) -> None:
        if not self._bytes:
            self._last = self._clock()  # idle until now: that says nothing of how fast it goes
        self._bytes += size
