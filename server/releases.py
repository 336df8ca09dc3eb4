"""When models were released, as the operator says it: what the pivot evidence of a run is held against."""

from collections.abc import Mapping
from datetime import date, datetime
from types import MappingProxyType
from typing import Any

from coterie.domain import InvalidError, parse_time


def parse_releases(text: str) -> Mapping[str, int]:
    """Microseconds since the epoch by model, from `MODEL=TIME`, commas between.

    TIME is RFC 3339 with an offset, or a date, which is its midnight UTC.

    Raises:
        InvalidError: it is not of this form, or a model comes twice.
    """
    found: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, time = (piece.strip() for piece in part.rpartition("="))
        try:
            time_us = parse_time(f"{time}T00:00:00Z" if len(time) == len("2000-01-01") else time)
        except InvalidError as error:
            raise _bad(part) from error
        if not name or name in found:
            raise _bad(part)
        found[name] = time_us
    return MappingProxyType(found)


def releases_text(table: Mapping[str, Any]) -> str:
    """The same of a table of a TOML file, whose times are text, dates or times with an offset.

    Raises:
        TypeError: a time is something else.
        ValueError: a name holds a comma.
    """
    parts = []
    for name, time in table.items():
        if not isinstance(time, (str, date, datetime)):
            raise TypeError(time)
        if "," in name:
            raise ValueError(name)
        parts.append(f"{name}={time if isinstance(time, str) else time.isoformat()}")
    return ",".join(parts)


def _bad(part: str) -> InvalidError:
    return InvalidError(
        f"releases holds {part!r}: it must be MODEL=TIME, each model once, TIME a date or such as 2026-01-31T08:00:00Z",
        field="releases",
    )
