"""Intervals and cron expressions."""

from datetime import UTC, datetime

import pytest

from coterie.domain import InvalidError, parse_time
from coterie.server.schedule import parse_schedule


@pytest.mark.parametrize(("text", "seconds"), [("45s", 45), ("30m", 1_800), ("6h", 21_600), ("1d", 86_400)])
def test_an_interval_is_counted_from_the_last_run(text: str, seconds: int) -> None:
    schedule = parse_schedule(text)
    assert schedule is not None
    assert schedule.next_after(1_000_000_000) == 1_000_000_000 + seconds * 1_000_000


def test_a_cron_expression_is_in_utc() -> None:
    schedule = parse_schedule("30 3 * * 1")
    assert schedule is not None
    due = datetime.fromtimestamp(schedule.next_after(parse_time("2026-01-31T08:00:00Z")) / 1e6, UTC)
    assert due == datetime(2026, 2, 2, 3, 30, tzinfo=UTC)  # a Monday


def test_nothing_is_no_schedule() -> None:
    assert parse_schedule("  ") is None


@pytest.mark.parametrize("text", ["0s", "400d", "5", "6 hours", "* * * *", "61 * * * *", "@daily", "* * * * * *"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(InvalidError, match="schedule is") as caught:
        parse_schedule(text)
    assert caught.value.field == "schedule"
