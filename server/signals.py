"""Telling threads and event loops that something changed."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Signal:
    """A change that any number of threads and event loops can wait for; it carries nothing, readers look again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: set[Callable[[], None]] = set()

    def notify(self) -> None:
        """Call every listener."""
        with self._lock:
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener()

    @contextmanager
    def listen(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call `listener` at every change while the context is open; it must not block."""
        with self._lock:
            self._listeners.add(listener)
        try:
            yield
        finally:
            with self._lock:
                self._listeners.discard(listener)

    @contextmanager
    def event(self) -> Iterator[asyncio.Event]:
        """An event of the running loop that every change sets; the waiter clears it."""
        loop = asyncio.get_running_loop()
        event = asyncio.Event()

        def wake() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

        with self.listen(wake):
            yield event
