"""A clock that jumps: order and intervals hold, and only stamps are what the clock said."""

import math
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from coterie.domain import Exchange, Run, RunState
from coterie.server import Config, Engine, jobs
from coterie.server.schedule import Schedule

YEAR_US = 365 * 86_400_000_000


class Clock:
    """The wall clock of `server.jobs`, which can be set."""

    def __init__(self) -> None:
        self.us = 1_800_000_000_000_000

    def __call__(self) -> int:
        self.us += 1_000
        return self.us


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(jobs, "_now_us", clock)
    return clock


@pytest.mark.parametrize("jump_us", [-YEAR_US, 10 * YEAR_US])
def test_the_newest_run_is_the_one_that_was_made_last(
    jump_us: int, engine: Engine, script: Any, exchange: Callable[..., Exchange], clock: Clock, finished: Any
) -> None:
    engine.ingest([exchange(1)]).result()
    made = []
    for jump in (0, jump_us, -jump_us, jump_us):
        clock.us += jump
        made.append(finished(engine, engine.start_run(None, None).run_id).run_id)
        assert engine.findings()[0] == made[-1]
        assert engine.run("").run_id == made[-1]
    assert [run.run_id for run in engine.runs(10)] == made[::-1]
    assert all(run.state is RunState.DONE for run in engine.runs(10))


def test_the_time_since_the_last_run_is_not_the_clocks(
    engine: Engine, script: Any, exchange: Callable[..., Exchange], clock: Clock, finished: Any
) -> None:
    assert engine._runs.since_last_s() == math.inf
    engine.ingest([exchange(1)]).result()
    finished(engine, engine.start_run(None, None).run_id)
    for jump in (YEAR_US, -2 * YEAR_US):
        clock.us += jump
        assert 0 <= engine._runs.since_last_s() < 60


def test_a_stamp_from_the_future_does_not_hold_up_early_runs(
    config: Config, script: Any, exchange: Callable[..., Exchange], clock: Clock, finished: Any
) -> None:
    def opened() -> Engine:
        return Engine.open(replace(config, lazy_model=True))

    clock.us += 10 * YEAR_US
    engine = opened()
    try:
        engine.ingest([exchange(1)]).result()
        finished(engine, engine.start_run(None, None).run_id)
    finally:
        engine.close()
    clock.us -= 10 * YEAR_US
    engine = opened()
    try:
        assert engine._runs.since_last_s() == math.inf
        finished(engine, engine.start_run(None, None).run_id)
        assert engine._runs.since_last_s() < 60, "one early run at most, whatever the stamps say"
    finally:
        engine.close()


@pytest.mark.parametrize("when", ["before the start", "while it waits"])
def test_a_schedule_goes_on_after_the_clock_was_set_back(
    when: str, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it would wait until the time that it had been."""
    monkeypatch.setattr(jobs, "_SCHEDULE_LOOK_S_MAX", 0.001)
    started: list[int] = []
    fired = threading.Event()

    def start(*_: object) -> Run:
        started.append(clock.us)
        fired.set()
        return Run("r", RunState.DONE, clock.us)  # type: ignore[arg-type]

    last_us = clock.us + 10 * YEAR_US if when == "before the start" else clock.us
    runs = SimpleNamespace(last_scheduled_us=lambda: last_us, start=start)
    scheduler = jobs.Scheduler(Schedule(interval_s=60), runs, tmp_path / "anchor")  # type: ignore[arg-type]
    scheduler.start()
    try:
        if when == "while it waits":
            clock.us -= YEAR_US
        threading.Event().wait(0.05)
        assert not started, "nothing is due yet"
        clock.us += 61_000_000
        assert fired.wait(10)
    finally:
        scheduler.close()


def test_a_schedule_fires_once_after_a_jump_forward(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_SCHEDULE_LOOK_S_MAX", 0.001)
    started: list[int] = []
    first = clock.us
    runs = SimpleNamespace(last_scheduled_us=lambda: first, start=lambda *_: started.append(clock.us))
    scheduler = jobs.Scheduler(Schedule(interval_s=3_600), runs, tmp_path / "anchor")  # type: ignore[arg-type]
    scheduler.start()
    try:
        clock.us += YEAR_US
        threading.Event().wait(0.2)
        assert len(started) == 1
    finally:
        scheduler.close()
