"""Log lines: two formats with the request's id in them, one line each whatever is said, and repeats counted."""

import json
import logging
import sys
from collections.abc import Callable

import pytest

from coterie.server import requests
from coterie.server.logs import REPEAT_INTERVAL_S, REPEATS_MAX, Repeats, emit, logging_to_stderr
from coterie.server.requests import Request

LOGGER = logging.getLogger("coterie.test")


def test_json_lines_carry_the_request_at_work_and_only_that(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_stderr("info"):
        emit(LOGGER, logging.INFO, "outside", count=3)
        token = requests._CURRENT.set(Request("r-1"))
        emit(LOGGER, logging.INFO, "inside", path="a b")
        LOGGER.info("plain %d", 7)
        requests._CURRENT.reset(token)
        emit(LOGGER, logging.DEBUG, "too_fine")
    outside, inside, plain = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert outside["event"] == "outside"
    assert outside["count"] == 3
    assert "request_id" not in outside
    assert (inside["request_id"], inside["path"], inside["level"]) == ("r-1", "a b", "info")
    assert (plain["request_id"], plain["event"]) == ("r-1", "plain 7")


@pytest.mark.parametrize(("terminal", "begins"), [(True, "2"), (False, "{")])
def test_lines_are_for_people_on_a_terminal_and_for_programs_elsewhere(
    terminal: bool, begins: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with logging_to_stderr("info"):
        emit(logging.getLogger("coterie.test"), logging.INFO, "something", n=1)
    assert capsys.readouterr().err.startswith(begins)


def test_text_stays_on_one_line_whatever_a_value_holds(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_stderr("info", "text"):
        emit(LOGGER, logging.WARNING, "odd", reason="two\nlines and \x1b[31m", empty="", path="/var/lib")
        LOGGER.error("also\nhere")
    odd, also = capsys.readouterr().err.splitlines()
    assert odd.endswith(r'coterie.test: odd reason="two\nlines and \u001b[31m" empty="" path=/var/lib')
    assert " WARNING " in odd
    assert also.endswith(r"also\nhere")


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def record(level: int, event: str, **values: object) -> logging.LogRecord:
    made = logging.LogRecord("coterie.test", level, __file__, 1, event, None, None)
    made.__dict__.update(event=event, values=values)
    return made


@pytest.fixture
def told() -> list[logging.LogRecord]:
    return []


@pytest.fixture
def repeats(clock: Clock, told: list[logging.LogRecord]) -> Repeats:
    return Repeats(told.append, clock)


def passing(repeats: Repeats, make: Callable[[], logging.LogRecord], times: int) -> int:
    return sum(repeats.filter(make()) for _ in range(times))


def test_repeats_are_held_back_by_kind_and_counted(
    repeats: Repeats, clock: Clock, told: list[logging.LogRecord]
) -> None:
    assert passing(repeats, lambda: record(logging.ERROR, "disk_full"), 100) == REPEATS_MAX
    assert passing(repeats, lambda: record(logging.ERROR, "other"), 3) == 3
    assert passing(repeats, lambda: record(logging.INFO, "rpc", status="OK", method="/m"), 100) == 100
    assert passing(repeats, lambda: record(logging.INFO, "rpc", status="UNAVAILABLE", method="/m"), 30) == REPEATS_MAX
    assert passing(repeats, lambda: record(logging.INFO, "rpc", status="UNAVAILABLE", method="/n"), 1) == 1
    assert told == []
    clock.now_s += REPEAT_INTERVAL_S
    assert passing(repeats, lambda: record(logging.ERROR, "disk_full"), 1) == 1
    said = {(line.__dict__["values"]["of"], line.__dict__["values"]["count"]) for line in told}
    assert said == {("disk_full", 100 - REPEATS_MAX), ("rpc", 30 - REPEATS_MAX)}


def test_what_was_held_back_is_said_at_the_end(repeats: Repeats, told: list[logging.LogRecord]) -> None:
    passing(repeats, lambda: record(logging.ERROR, "disk_full"), REPEATS_MAX + 2)
    repeats.flush()
    assert [line.__dict__["values"]["count"] for line in told] == [2]
    repeats.flush()
    assert len(told) == 1


def test_the_kinds_kept_are_bounded(repeats: Repeats) -> None:
    for number in range(5_000):
        assert repeats.filter(record(logging.ERROR, f"event-{number}"))
    assert len(repeats._seen) <= 1_024
