"""When to re-cluster unasked: an interval or a cron expression, and the moment that is next."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from coterie.domain import InvalidError

_INTERVAL = re.compile(r"(\d{1,9})\s*([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_INTERVAL_MAX_S = 366 * 86_400


@dataclass(frozen=True, slots=True)
class Schedule:
    """Either an interval or a cron expression, in UTC; the other is 0 or empty."""

    interval_s: int = 0
    cron: str = ""

    def next_after(self, time_us: int) -> int:
        """The first moment due after `time_us`; both are microseconds since the epoch."""
        if self.interval_s:
            return time_us + self.interval_s * 1_000_000
        from croniter import croniter

        start = datetime.fromtimestamp(time_us / 1e6, UTC)
        return int(croniter(self.cron, start).get_next(float) * 1e6)


def parse_schedule(text: str) -> Schedule | None:
    """The schedule that a setting names; None for an empty one.

    Raises:
        InvalidError: neither an interval nor a cron expression that ever comes due.
    """
    text = text.strip()
    if not text:
        return None
    interval = _INTERVAL.fullmatch(text)
    if interval:
        interval_s = int(interval[1]) * _SECONDS[interval[2]]
        if not 1 <= interval_s <= _INTERVAL_MAX_S:
            raise InvalidError(f"schedule is {text!r}, an interval lies between 1s and 366d", field="schedule")
        return Schedule(interval_s=interval_s)
    from croniter import croniter

    if len(text.split()) != 5 or not croniter.is_valid(text):
        raise InvalidError(
            f"schedule is {text!r}, it must be an interval such as 30m, 6h, 1d, or a five-field cron expression "
            "such as '0 3 * * *'",
            field="schedule",
        )
    return Schedule(cron=text)
