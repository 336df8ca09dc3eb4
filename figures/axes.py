"""Where ticks go, and what stands beside rows of accounts."""

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from coterie.domain import DAY_US, AccountId
from coterie.figures.svg import Svg, shortened

LEFT = 150.0
"""Room for the names of accounts."""

RIGHT = 14.0
_NAME_CHARACTERS = 20
_DAYS_BETWEEN = (1, 2, 7, 14, 28, 56)


def round_ticks(low: float, high: float, count: int = 6) -> list[float]:
    """About `count` round numbers from low to high."""
    span = high - low
    if span <= 0:
        return [low]
    raw = span / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw)
    first = math.ceil(low / step - 1e-9)
    return [round(place * step, 10) for place in range(first, math.floor(high / step + 1e-9) + 1)]


def day_name(time_us: int) -> str:
    """A day as in "2 Mar"."""
    moment = datetime.fromtimestamp(time_us // 1_000_000, UTC)
    return f"{moment.day} {moment:%b}"


def day_axis(
    svg: Svg, place: Callable[[float], float], since_us: int, until_us: int, top: float, bottom: float
) -> None:
    """A faint line at each day's beginning (UTC), some of them named below."""
    first, last = -(-since_us // DAY_US), until_us // DAY_US
    between = next((days for days in _DAYS_BETWEEN if (last - first + 1) / days <= 12), _DAYS_BETWEEN[-1])
    for day in range(first, last + 1):
        x = place(day * DAY_US)
        named = (day - first) % between == 0
        if named or between <= 2:
            svg.line(x, top, x, bottom, opacity=0.22 if named else 0.1)
        if named and x < svg.width - 20:
            svg.text(x, bottom + 14, day_name(day * DAY_US), anchor="middle", faint=True)


def row_names(svg: Svg, names: Sequence[AccountId], top: float, row: float) -> None:
    """The names of rows, right of `LEFT`'s edge; where rows are narrow, every second or third."""
    every = max(1, math.ceil(9 / row))
    size = min(11.0, max(8.0, row - 1))
    for number, name in enumerate(names):
        if number % every == 0:
            y = top + (number + 0.5) * row + size * 0.36
            svg.text(LEFT - 8, y, shortened(name, _NAME_CHARACTERS), anchor="end", size=size)


def row_height(rows: int, most: float = 18.0, least: float = 9.0, whole: float = 420.0) -> float:
    """How high a row is, so that many fit on a page."""
    return max(least, min(most, whole / max(rows, 1)))


def several(count: int, word: str) -> str:
    """A count with its word: 1 account, 2 accounts."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"
