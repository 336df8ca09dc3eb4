"""How values are written on pages: times, counts, shares, probabilities, and names for people."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from coterie.domain import format_time

_BYTES = ("bytes", "KB", "MB", "GB", "TB")
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_P_LEAST = 1e-300
"""What detection gives where a probability is too small to be written."""

TEXT_CHARS_SHOWN = 6_000
"""Characters of one text that a page shows."""


def moment(time_us: int) -> str:
    """A time for people, in UTC, to the minute; a dash for 0."""
    return datetime.fromtimestamp(time_us / 1e6, UTC).strftime("%-d %b %Y, %H:%M") if time_us else "–"


def day(time_us: int) -> str:
    """A day for people, in UTC; a dash for 0."""
    return datetime.fromtimestamp(time_us / 1e6, UTC).strftime("%-d %b %Y") if time_us else "–"


def machine_time(time_us: int) -> str:
    """A time as `<time datetime>` takes it."""
    return format_time(time_us)


def duration(seconds: float) -> str:
    """A length of time for people."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86_400:.0f} days"


def count(number: float) -> str:
    """A whole number with its thousands apart."""
    return f"{round(number):,}"


def share(value: float) -> str:
    """A share as a percentage."""
    return f"{100 * value:.0f} %" if value >= 0.1 or value == 0 else f"{100 * value:.1f} %"


def number(value: float) -> str:
    """A measured value with the digits that matter."""
    if not math.isfinite(value):
        return "–"
    if value == round(value) and abs(value) < 1e6:
        return f"{value:,.0f}"
    return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def p_value(value: float | None) -> str:
    """A probability under a null model; a dash where there is none."""
    if value is None:
        return "–"
    if value <= _P_LEAST:
        return f"under 10{_raised(-300)}"
    if value >= 1e-4:
        return f"{value:.2g}"
    digit, _, exponent = f"{value:.0e}".partition("e")
    return f"{digit} × 10{_raised(int(exponent))}"


def _raised(exponent: int) -> str:
    return str(exponent).translate(_SUPERSCRIPTS)


def words(name: str) -> str:
    """A name from the code as words."""
    return name.replace("_", " ")


def sentence(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def size(number_bytes: float) -> str:
    """A size in bytes for people."""
    step = 0
    while number_bytes >= 1000 and step < len(_BYTES) - 1:
        number_bytes /= 1000
        step += 1
    return f"{number_bytes:.0f} {_BYTES[step]}" if step == 0 else f"{number_bytes:.1f} {_BYTES[step]}"


def cut(text: str, chars_max: int = TEXT_CHARS_SHOWN) -> str:
    """The beginning of a text."""
    return text if len(text) <= chars_max else text[:chars_max] + " …"


FILTERS: dict[str, Callable[..., Any]] = {
    "moment": moment,
    "day": day,
    "machine_time": machine_time,
    "duration": duration,
    "count": count,
    "share": share,
    "number": number,
    "p_value": p_value,
    "words": words,
    "sentence": sentence,
    "size": size,
    "cut": cut,
}
"""Every one of them by the name that templates use."""
