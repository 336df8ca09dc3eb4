"""What grows old goes in whole days, whatever the clock does, and what runs recorded tells that it is gone."""

import io
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from coterie.client import Client
from coterie.domain import AccountId, ExchangeId, FindingId, InvalidError, RunState, TextField
from coterie.server import Config, Engine, local_server
from coterie.server.cli_render import finding_page
from coterie.server.retention import JUMP_DAYS_MAX, SLICE_EXCHANGES, Retention

DAY_S = 86_400
DAY_US = DAY_S * 1_000_000
TODAY = 20_454  # 2026-01-01, the day of the first exchange that is made here


class Clock:
    """Days and the time that passes, both as the test says."""

    def __init__(self) -> None:
        self.day = float(TODAY)
        self.passed = 0.0

    def now(self) -> float:
        return self.day * DAY_S

    def monotonic(self) -> float:
        return self.passed


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keeping(config: Config) -> Config:
    return replace(config, retention_days=30, text_retention_days=20, window_days=14)


@pytest.fixture
def kept(keeping: Config) -> Iterator[Engine]:
    engine = Engine.open(keeping)
    try:
        yield engine
    finally:
        engine.close()


@pytest.fixture
def retention(kept: Engine, clock: Clock) -> Retention:
    return Retention(kept.store, kept._runs, kept._purge, kept.config, clock.now, clock.monotonic)


def on_day(exchange: Callable[..., Any], number: int, day: int, **more: Any) -> Any:
    """An exchange so many days after the first day, a minute into it."""
    return exchange(number, time_us=(TODAY + day) * DAY_US + 60_000_000 + number, **more)


def fill(engine: Engine, exchanges: list[Any]) -> None:
    for first in range(0, len(exchanges), 500):
        engine.ingest(exchanges[first : first + 500]).result()
    engine.embed_pending(lambda _: None, lambda: False)
    engine._made_indexes().follow()


def stored(engine: Engine, count: int) -> list[int]:
    ids = [ExchangeId(f"e{number:05}") for number in range(count)]
    return [int(item.exchange_id[1:]) for item in engine.store.exchanges(ids)]


def test_whole_days_go_with_their_texts_and_leave_the_index(
    kept: Engine, retention: Retention, clock: Clock, exchange: Any
) -> None:
    old = [on_day(exchange, n, 0, prompt=f"canary old words {n}") for n in range(4)]
    young = [on_day(exchange, 4 + n, 1, prompt=f"young words {n}") for n in range(4)]
    shared = [on_day(exchange, 8, 0, prompt="shared words"), on_day(exchange, 9, 31, prompt="shared words")]
    fill(kept, [*old, *young, *shared])
    clock.day = TODAY + 30.99  # the first day is not yet 30 whole days ago
    assert retention.sweep().exchanges == 0
    clock.day = TODAY + 31
    done = retention.sweep()
    assert (done.exchanges, done.texts, done.waiting) == (5, 4, False)
    assert done.before_us == (TODAY + 1) * DAY_US
    assert stored(kept, 10) == [4, 5, 6, 7, 9]
    index = kept._made_indexes().fields[TextField.PROMPT]
    assert len(index) == 5
    files = [path for path in kept.config.data_dir.rglob("*") if path.is_file()]
    assert not [path for path in files if b"canary old words" in path.read_bytes()]
    assert retention.sweep().exchanges == 0


def test_texts_go_before_their_exchanges_and_come_back_when_they_are_sent_again(
    kept: Engine, retention: Retention, clock: Clock, exchange: Any
) -> None:
    fill(
        kept,
        [
            on_day(exchange, 0, 0, prompt="canary words", response="an answer", system="a system"),
            on_day(exchange, 1, 0, prompt="words of both"),
            on_day(exchange, 2, 15, prompt="words of both"),
        ],
    )
    clock.day = TODAY + 21
    done = retention.sweep(asked=True)
    assert (done.exchanges, done.texts, done.contents) == (0, 0, 3)
    shown = kept.store.exchange(ExchangeId("e00000"))
    assert (shown.prompt, shown.response, shown.system) == (
        "(not kept: 12 characters)",
        "(not kept: 9 characters)",
        "(not kept: 8 characters)",
    )
    assert kept.store.exchange(ExchangeId("e00001")).prompt == "words of both"
    assert len(kept._made_indexes().fields[TextField.PROMPT]) == 2  # still found by its vector
    files = [path for path in kept.config.data_dir.rglob("*") if path.is_file()]
    assert not [path for path in files if b"canary words" in path.read_bytes()]
    fill(kept, [on_day(exchange, 3, 20, prompt="canary  words")])
    assert kept.store.exchange(ExchangeId("e00000")).prompt == "canary  words"
    assert retention.sweep(asked=True).contents == 0


def test_a_text_that_waits_to_be_embedded_stays(
    kept: Engine, retention: Retention, clock: Clock, exchange: Any
) -> None:
    kept.ingest([on_day(exchange, 0, 0, prompt="waiting words")]).result()
    clock.day = TODAY + 21
    assert retention.sweep(asked=True).contents == 0
    assert [text for _, text in kept.store.pending_texts(9)] == ["waiting words"]


# Clocks


def test_a_clock_that_jumps_ahead_deletes_nothing(
    kept: Engine, retention: Retention, clock: Clock, exchange: Any, caplog: pytest.LogCaptureFixture
) -> None:
    fill(kept, [on_day(exchange, 0, 0)])
    assert not retention.sweep().waiting
    clock.day = TODAY + 5_000
    for hours in range(24):
        clock.passed = hours * 3_600.0
        done = retention.sweep()
        assert (done.waiting, done.exchanges) == (True, 0)
    assert "retention_waits" in caplog.text
    clock.day = TODAY + 1  # it is set right again
    clock.passed = 30 * 3_600.0
    assert not retention.sweep().waiting
    clock.day = TODAY + 5_000  # and jumps again: it has to stand for a day from now
    assert retention.sweep().waiting
    assert stored(kept, 1) == [0]


def test_a_clock_that_stands_for_a_day_is_believed(
    kept: Engine, retention: Retention, clock: Clock, exchange: Any
) -> None:
    """As after a service was off for months."""
    fill(kept, [on_day(exchange, 0, 0)])
    clock.day = TODAY + 200
    assert retention.sweep().waiting
    clock.day, clock.passed = TODAY + 201, DAY_S
    assert retention.sweep().exchanges == 1


def test_an_exchange_of_these_days_vouches_for_the_clock(
    kept: Engine, retention: Retention, clock: Clock, exchange: Any
) -> None:
    fill(kept, [on_day(exchange, 0, 0), on_day(exchange, 1, 199)])
    clock.day = TODAY + 200
    assert retention.sweep().exchanges == 1
    assert stored(kept, 2) == [1]


def test_a_person_who_asks_is_believed(kept: Engine, retention: Retention, clock: Clock, exchange: Any) -> None:
    fill(kept, [on_day(exchange, 0, 0)])
    clock.day = TODAY + 200
    assert retention.outlook().exchanges == 1
    assert stored(kept, 1) == [0]
    assert retention.sweep(asked=True).exchanges == 1


def test_a_clock_that_goes_back_or_a_few_days_ahead_is_nothing_to_wonder_at(
    kept: Engine, retention: Retention, clock: Clock, exchange: Any
) -> None:
    fill(kept, [on_day(exchange, 0, 0), on_day(exchange, 1, 40)])
    for day, left in ((40, [1]), (5, [1]), (7, [1]), (7 + JUMP_DAYS_MAX, [1])):
        clock.day = TODAY + day
        assert not retention.sweep().waiting
        assert stored(kept, 2) == left


# Beside everything else


def test_ingest_goes_on_between_slices(kept: Engine, retention: Retention, clock: Clock, exchange: Any) -> None:
    fill(kept, [on_day(exchange, n, 0, prompt=f"old {n}") for n in range(4 * SLICE_EXCHANGES)])
    clock.day = TODAY + 31
    waits: list[float] = []
    done = threading.Event()

    def stream() -> None:
        number = 50_000
        while not done.is_set():
            started = time.perf_counter()
            kept.ingest([on_day(exchange, number, 30, prompt="young")]).result()
            waits.append(time.perf_counter() - started)
            number += 1

    thread = threading.Thread(target=stream)
    thread.start()
    try:
        assert retention.sweep(asked=True).exchanges == 4 * SLICE_EXCHANGES
    finally:
        done.set()
        thread.join()
    assert len(waits) > 4  # ingest had its turn between the slices


def test_a_sweep_waits_for_the_run_at_work(
    script: Any, kept: Engine, retention: Retention, clock: Clock, exchange: Any, finished: Any
) -> None:
    fill(kept, [on_day(exchange, 0, 0)])
    clock.day = TODAY + 31
    script.go.clear()
    run = kept.start_run(None, None)
    script.started.wait(10)
    sweep = threading.Thread(target=retention.sweep, kwargs={"asked": True})
    sweep.start()
    time.sleep(0.1)
    assert stored(kept, 1) == [0]
    script.go.set()
    assert finished(kept, run.run_id).state is RunState.DONE
    sweep.join(30)
    assert stored(kept, 1) == []


def test_a_finding_tells_that_its_exemplars_are_gone(
    script: Any, kept: Engine, retention: Retention, clock: Clock, exchange: Any, finished: Any
) -> None:
    fill(kept, [on_day(exchange, n, 0 if n == 1 else 20) for n in range(4)])
    finished(kept, kept.start_run(None, None).run_id)
    clock.day = TODAY + 31
    retention.sweep(asked=True)
    finding, _, exemplars = kept.finding(FindingId("f-big"))
    assert finding.exemplars == ("e00001", "e00002")
    assert [item.exchange_id for item in exemplars] == ["e00002"]
    assert kept.erase_account(AccountId("account-1")).findings_changed == 1  # it outlived its exchanges
    assert [account.account_id for account in kept.finding(FindingId("f-big"))[0].accounts] == ["account-2"]
    shown = io.StringIO()
    Console(width=200, file=shown).print(finding_page(finding, [], exemplars))
    assert "1 of its 2 exemplars are no longer stored" in shown.getvalue()


def test_over_the_wire_the_outlook_comes_first(keeping: Config, exchange: Any) -> None:
    with local_server(replace(keeping, lazy_model=True)) as address, Client.connect(address, timeout_s=60) as client:
        client.ingest([exchange(1, time_us=946_684_800_000_000 + 5)])  # older than any clock says
        assert client.retain(outlook=True).exchanges == 1
        assert client.stats().exchanges == 1
        done = client.retain()
        assert (done.exchanges, done.texts) == (1, 1)
        assert done.before_us % DAY_US == 0
        assert client.stats().exchanges == 0


def test_the_service_sweeps_by_itself(keeping: Config, exchange: Any, until: Callable[..., None]) -> None:
    engine = Engine.open(keeping)
    try:
        engine.ingest([exchange(1, time_us=946_684_800_000_000), exchange(2, time_us=time.time_ns() // 1_000)]).result()
        engine.warm_up()
        until(lambda: engine.stats().exchanges == 1)
        assert engine.store.account_exchanges(AccountId("account-2")) == 1
    finally:
        engine.close()


def test_less_than_a_window_cannot_be_kept() -> None:
    with pytest.raises(InvalidError, match="keep at least those"):
        Config(retention_days=10)
