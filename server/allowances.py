"""What one caller may take of the service at a time, so that one token that runs wild does not take it all."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from coterie.domain import Caller, OverloadedError

_STREAM_RETRY_S = 5.0


class Allowances:
    """Open streams and calls per second of each caller that is known by a token or a certificate. For one event loop.

    Calls are counted by a token bucket (Turner, 1986): one call's worth flows in every 1/rate seconds, and a second's
    worth may be saved up.

    Args:
        streams_max: streams that a caller may have open.
        calls_per_s: calls a second, streams counted as one; 0 does not bound them.
        now_s: a clock that never goes back, seconds.
    """

    def __init__(self, streams_max: int, calls_per_s: float, *, now_s: Callable[[], float] = time.monotonic) -> None:
        self._streams_max = streams_max
        self._calls_per_s = calls_per_s
        self._now_s = now_s
        self._streams: dict[str, int] = {}
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, caller: Caller) -> None:
        """Count a call.

        Raises:
            OverloadedError: the caller has none left; it says when there will be one.
        """
        if not self._calls_per_s or not caller.identified:
            return
        now_s, full = self._now_s(), max(1.0, self._calls_per_s)
        left, since_s = self._buckets.get(_key(caller), (full, now_s))
        left = min(full, left + (now_s - since_s) * self._calls_per_s)
        if left < 1.0:
            self._buckets[_key(caller)] = (left, now_s)
            raise OverloadedError(
                f"{caller.name} makes more than {self._calls_per_s:g} calls a second, which is what one token may: "
                "wait, send more in one call, or raise caller_calls_per_s",
                retry_after_s=(1.0 - left) / self._calls_per_s,
                reason="caller_calls",
            )
        self._buckets[_key(caller)] = (left - 1.0, now_s)

    @contextmanager
    def stream(self, caller: Caller) -> Iterator[None]:
        """Hold a stream open.

        Raises:
            OverloadedError: the caller has too many.
        """
        if not caller.identified:
            yield
            return
        key = _key(caller)
        if self._streams.get(key, 0) >= self._streams_max:
            raise OverloadedError(
                f"{caller.name} has {self._streams_max} streams open, which is what one token may: close one, or raise "
                "caller_streams_max",
                retry_after_s=_STREAM_RETRY_S,
                reason="caller_streams",
            )
        self._streams[key] = self._streams.get(key, 0) + 1
        try:
            yield
        finally:
            self._streams[key] -= 1
            if not self._streams[key]:
                del self._streams[key]


def _key(caller: Caller) -> str:
    return caller.token_id or f"certificate {caller.name}"
