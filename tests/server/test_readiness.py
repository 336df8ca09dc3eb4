"""Readiness: what fails, what only degrades, lag without clocks in the store, and probes that agree with health."""

import json
import shutil
import signal
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from coterie.domain import Exchange, OverloadedError, UnavailableError
from coterie.domain.telemetry import Commit
from coterie.server import Config, Engine
from coterie.server.operations import BEAT_AGE_S_MAX, Operations
from coterie.server.readiness import Lag, Readiness
from coterie.store.sqlite_store import SqliteStore

MIB = 1 << 20


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def changes() -> list[bool]:
    return []


@pytest.fixture
def readiness(engine: Engine, clock: Clock, changes: list[bool]) -> Readiness:
    readiness = Readiness(engine, changes.append, clock)
    engine.store.on_commit(readiness.committed)
    return readiness


def test_a_warm_engine_is_ready_and_one_that_loads_is_not(
    config: Config, readiness: Readiness, changes: list[bool], tmp_path: Path
) -> None:
    assert not readiness.verdict.ready
    verdict = readiness.look()
    assert (verdict.status, verdict.to_json()["reasons"]) == ("ready", [])
    assert changes == [True]
    cold = Engine.open(replace(config, data_dir=tmp_path / "cold"))
    try:
        verdict = Readiness(cold, changes.append).look()
        assert verdict.status == "not_ready"
        assert verdict.to_json()["checks"]["model"] == "failed"
        lazy = Engine(replace(cold.config, lazy_model=True), cold.store)
        assert Readiness(lazy, changes.append).look().status == "ready"
    finally:
        cold.close()


def test_a_full_disk_is_not_ready_and_a_filling_one_degraded(
    readiness: Readiness, engine: Engine, changes: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    def free(mib: float) -> None:
        usage = shutil._ntuple_diskusage(10_000 * MIB, 0, round(mib * MIB))  # type: ignore[attr-defined]
        monkeypatch.setattr("coterie.server.readiness.shutil.disk_usage", lambda _: usage)

    least = engine.config.disk_free_mib_min
    for mib, status in (
        (2 * least, "ready"),
        (2 * least - 1, "degraded"),
        (least, "degraded"),
        (least - 1, "not_ready"),
    ):
        free(mib)
        verdict = readiness.look()
        assert verdict.status == status
        assert ("MiB are free" in " ".join(verdict.to_json()["reasons"])) is (status != "ready")
    free(2 * least)
    readiness.look()
    assert changes == [True, False, True]


def test_a_store_that_takes_no_writes_is_not_ready_until_it_does(
    readiness: Readiness, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def refuse(_: object, timeout_s: float) -> None:
        asked.append(timeout_s)
        raise UnavailableError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(SqliteStore, "check_writable", refuse)
        assert readiness.look().ready  # nothing is asked of a store that has just written
        assert asked == []
        readiness.committed(Commit(1, 0, 0.1, failed=True))
        verdict = readiness.look()
        assert verdict.to_json()["reasons"] == ["the disk is full"]
        assert not verdict.ready
        assert asked
    assert readiness.look().ready  # a real write, which tells the listener too
    assert readiness.look().ready


def test_a_quiet_store_is_asked_and_a_busy_one_is_not_dead(
    readiness: Readiness, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(_: object, timeout_s: float) -> None:
        raise OverloadedError("full")

    monkeypatch.setattr(SqliteStore, "check_writable", busy)
    clock.now_s = 11.0
    assert readiness.look().status == "degraded"
    clock.now_s = 21.0
    verdict = readiness.look()
    assert verdict.status == "not_ready"
    assert "stopped writing" in verdict.to_json()["reasons"][0]


def test_a_check_of_a_read_only_file_fails(engine: Engine) -> None:
    engine.store.check_writable(5.0)
    store: Any = engine.store
    store._writer.run(lambda transaction: transaction.connection.execute("PRAGMA query_only = ON").fetchall())
    with pytest.raises(UnavailableError):
        engine.store.check_writable(5.0)
    store._writer._connection.execute("PRAGMA query_only = OFF")
    engine.store.check_writable(5.0)


def test_draining_is_not_ready_at_once_and_for_good(readiness: Readiness) -> None:
    assert readiness.look().ready
    readiness.drain()
    assert readiness.verdict.to_json()["checks"] == {"drain": "failed"}
    assert not readiness.look().ready


def test_lag_is_the_wait_of_the_oldest_text(clock: Clock) -> None:
    lag = Lag(clock)
    assert lag.look(0, 0) == 0
    clock.now_s = 10.0
    assert lag.look(1, 100) == 0  # texts 1 to 100 have come since the last look
    clock.now_s = 14.0
    assert lag.look(60, 100) == 4
    clock.now_s = 15.0
    assert lag.look(60, 200) == 5
    clock.now_s = 18.0
    assert lag.look(101, 200) == 3
    clock.now_s = 20.0
    assert lag.look(0, 200) == 0
    clock.now_s = 30.0
    assert lag.look(201, 210) == 0


def test_what_an_earlier_process_left_counts_from_the_start(clock: Clock) -> None:
    clock.now_s = 100.0
    lag = Lag(clock)
    lag.look(5, 1_000)
    clock.now_s = 160.0
    assert lag.look(900, 1_000) == 60


def test_the_marks_of_a_long_lag_are_bounded(clock: Clock) -> None:
    lag = Lag(clock)
    for number in range(1, 20_000):
        clock.now_s = float(number)
        told = lag.look(1, number)
    assert len(lag._marks) <= 2_049
    assert told == pytest.approx(19_998, abs=1)


def test_lag_degrades(readiness: Readiness, engine: Engine, exchange: Callable[..., Exchange], clock: Clock) -> None:
    assert readiness.look().status == "ready"
    engine._loop.close()  # nothing is embedded any more
    engine.ingest([exchange(1)]).result(10)
    readiness.look()
    clock.now_s = engine.config.embedding_lag_s_max + 1.0
    readiness.committed(Commit(1, 0, 0.1))
    verdict = readiness.look()
    assert verdict.status == "degraded"
    assert readiness.lag_s == clock.now_s
    assert "texts wait 901 s" in verdict.to_json()["reasons"][0]


def test_a_silent_event_loop_is_not_alive(config: Config) -> None:
    operations = Operations(config)
    assert operations._livez("").status == HTTPStatus.OK
    operations._beat_at -= BEAT_AGE_S_MAX + 1
    page = operations._livez("")
    assert page.status == HTTPStatus.SERVICE_UNAVAILABLE
    assert b"silent for 31 s" in page.body


def probe(address: str, path: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        with error:
            return error.code, json.load(error)
    except (URLError, ConnectionError, TimeoutError):
        return 0, {}


def serving(address: str) -> bool:
    with grpc.insecure_channel(address) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def test_probes_and_health_agree_in_a_process(
    start_server: Callable[..., Any], tmp_path: Path, until: Callable[..., None]
) -> None:
    settings = {"data_dir": tmp_path / "data", "model": "hash", "listen": "127.0.0.1:0"}
    free_mib = shutil.disk_usage(tmp_path).free / MIB
    short = start_server(**settings, metrics_listen="127.0.0.1:0", disk_free_mib_min=free_mib * 2)
    until(lambda: "/readyz" in short.log.read_text())
    at = short.log.read_text().split("probes: http://")[1].split("/metrics")[0]
    until(lambda: set(probe(at, "/readyz")[1].get("checks", {})) == {"model", "store", "disk", "embedding"})
    until(lambda: probe(at, "/readyz")[1]["checks"]["model"] == "ok")
    status, answer = probe(at, "/readyz")
    assert status == HTTPStatus.SERVICE_UNAVAILABLE
    assert answer["checks"]["disk"] == "failed"
    assert probe(at, "/livez") == (HTTPStatus.OK, {"status": "alive"})
    assert not serving(short.address)
    assert short.stop(signal.SIGTERM) == 0

    well = start_server(**settings, metrics_listen="127.0.0.1:0", disk_free_mib_min=1, drain_delay_s=60)
    at = (
        well.log.read_text().split("probes: http://")[1].split("/metrics")[0]
        if "probes" in well.log.read_text()
        else ""
    )
    until(lambda: "/readyz" in well.log.read_text())
    at = well.log.read_text().split("probes: http://")[1].split("/metrics")[0]
    until(lambda: probe(at, "/readyz")[0] == HTTPStatus.OK)
    until(partial(serving, well.address))
    # A signal: not ready at once on both, while calls are still taken.
    well.process.send_signal(signal.SIGTERM)
    until(lambda: probe(at, "/readyz")[0] == HTTPStatus.SERVICE_UNAVAILABLE)
    assert probe(at, "/readyz")[1]["checks"] == {"drain": "failed"}
    assert not serving(well.address)
    assert probe(at, "/livez")[0] == HTTPStatus.OK
    assert well.stop(signal.SIGTERM) == 128 + signal.SIGTERM  # the second one does not wait for the delay
