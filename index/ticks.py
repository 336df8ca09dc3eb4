"""Telling how far a search is, which is also where it can be stopped."""

from collections.abc import Callable

Tick = Callable[[float], None]
"""Told the finished share, 0 to 1; may raise to stop."""


def no_tick(_: float) -> None:
    """Tell nobody."""


def part_of(tick: Tick, start: float, length: float) -> Tick:
    """A tick for a part that begins at the share `start` of the whole and is this long."""
    return lambda share: tick(start + length * share)
