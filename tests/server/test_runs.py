"""Runs: one at a time, never left unfinished, started by the clock too."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from coterie.domain import (
    LIMITS,
    AccountId,
    ConflictError,
    CoterieError,
    Erasure,
    Exchange,
    InvalidError,
    NotFoundError,
    ParameterSet,
    Run,
    RunId,
    RunState,
    Slice,
    TextField,
    UnavailableError,
)
from coterie.server import Config, Engine
from coterie.server.stages import Stages


@pytest.fixture
def filled(script: Any, engine: Engine, exchange: Callable[..., Exchange]) -> Engine:
    engine.ingest([exchange(number) for number in range(20)]).result(10)
    return engine


def test_a_run_goes_through_its_stages_and_its_findings_become_current(
    filled: Engine, finished: Callable[[Engine, str], Run]
) -> None:
    started = filled.start_run(None, None)
    assert started.state is RunState.PENDING
    run = finished(filled, started.run_id)
    assert (run.state, run.trigger, run.progress, run.error) == (RunState.DONE, "manual", 1.0, "")
    assert run.created_us <= run.started_us <= run.finished_us
    assert set(run.measures) == {"embed_s", "graph_s", "test_s"}
    run_id, findings = filled.findings()
    assert run_id == run.run_id
    assert [finding.finding_id for finding in findings] == ["f-big", "f-small"]
    assert filled.run("") == run


def test_a_second_run_is_refused_while_one_is_at_work(
    filled: Engine, script: Any, finished: Callable[[Engine, str], Run]
) -> None:
    script.go.clear()
    first = filled.start_run(None, None)
    with pytest.raises(ConflictError, match=first.run_id):
        filled.start_run(None, None)
    script.go.set()
    finished(filled, first.run_id)
    finished(filled, filled.start_run(None, None).run_id)
    assert len(filled.runs(10)) == 2


def test_a_cancelled_run_leaves_the_last_good_one(
    filled: Engine, script: Any, finished: Callable[[Engine, str], Run]
) -> None:
    good = finished(filled, filled.start_run(None, None).run_id)
    script.go.clear()
    script.started.clear()
    second = filled.start_run(None, None)
    script.started.wait(10)
    assert filled.cancel_run(second.run_id).run_id == second.run_id
    assert finished(filled, second.run_id).state is RunState.CANCELLED
    assert filled.findings()[0] == good.run_id
    assert filled.cancel_run(good.run_id) == good


@pytest.mark.parametrize("error", [InvalidError("no exchange in the window"), KeyError("a secret prompt")])
def test_a_failed_run_says_why_and_leaves_the_last_good_one(
    filled: Engine, script: Any, finished: Callable[[Engine, str], Run], error: Exception, caplog: Any
) -> None:
    good = finished(filled, filled.start_run(None, None).run_id)
    script.error = error
    with caplog.at_level(logging.INFO, "coterie"):
        run = finished(filled, filled.start_run(None, None).run_id)
    assert run.state is RunState.FAILED
    assert run.error == str(error) if isinstance(error, CoterieError) else "incident" in run.error
    assert "secret" not in run.error + caplog.text
    assert filled.findings()[0] == good.run_id


def test_stopping_the_service_fails_the_run_at_work(config: Config, script: Any, exchange: Any) -> None:
    engine = Engine.open(config)
    engine.ingest([exchange(1)]).result(10)
    script.go.clear()
    run = engine.start_run(None, None)
    script.started.wait(10)
    engine.stop_jobs()
    assert engine.run(run.run_id).state is RunState.FAILED
    assert "stopped" in engine.run(run.run_id).error
    with pytest.raises(UnavailableError):
        engine.start_run(None, None)
    engine.close()


def test_a_run_that_a_crash_cut_off_is_failed_at_the_next_start(config: Config) -> None:
    engine = Engine.open(config)
    cut_off = Run(RunId("cut-off"), RunState.RUNNING, created_us=5, started_us=6, stage="graph")
    engine.store.create_run(replace(cut_off, state=RunState.PENDING))
    engine.store.update_run(cut_off)
    engine.close()
    engine = Engine.open(config)
    try:
        run = engine.run("cut-off")
        assert run.state is RunState.FAILED
        assert "stopped" in run.error
        assert run.finished_us > 0
    finally:
        engine.close()


def test_erasing_an_account_voids_the_run_that_saw_it(
    filled: Engine, script: Any, finished: Callable[[Engine, str], Run]
) -> None:
    script.go.clear()
    run = filled.start_run(None, None)
    script.started.wait(10)
    filled.erase_account(AccountId("account-1"))
    script.go.set()
    assert finished(filled, run.run_id).state is RunState.FAILED
    assert "erased" in filled.run(run.run_id).error
    assert filled.findings() == ("", [])


def test_a_run_asked_for_during_an_erasure_begins_after_it(
    filled: Engine, script: Any, finished: Callable[[Engine, str], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    erasing, go_on = threading.Event(), threading.Event()
    erase = filled.store.erase_account
    order: list[str] = []

    def erase_slowly(*arguments: Any) -> Erasure:
        erasing.set()
        go_on.wait(10)
        erasure = erase(*arguments)
        order.append("erased")
        return erasure

    def start() -> None:
        run = filled.start_run(None, None)
        order.append("started")
        finished(filled, run.run_id)

    monkeypatch.setattr(filled.store, "erase_account", erase_slowly)
    threads = [threading.Thread(target=filled.erase_account, args=(AccountId("account-1"),))]
    threads[0].start()
    assert erasing.wait(10)
    threads.append(threading.Thread(target=start))
    threads[1].start()
    time.sleep(0.3)
    assert order == []
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert order == ["erased", "started"]
    assert filled.run("").state is RunState.DONE


def test_erasing_nobody_leaves_the_run_at_work(
    filled: Engine, script: Any, finished: Callable[[Engine, str], Run]
) -> None:
    script.go.clear()
    run = filled.start_run(None, None)
    script.started.wait(10)
    with pytest.raises(NotFoundError, match="nobody"):
        filled.erase_account(AccountId("nobody"))
    script.go.set()
    assert finished(filled, run.run_id).state is RunState.DONE


def test_windows_that_cannot_be_are_refused(filled: Engine, exchange: Callable[..., Exchange]) -> None:
    newest = exchange(19).time_us
    for since_us, until_us in ((5, 5), (6, 5), (newest + 1, None)):
        with pytest.raises(InvalidError, match="since must lie before until"):
            filled.start_run(since_us, until_us)
    with pytest.raises(NotFoundError):
        filled.run("")


def test_an_empty_store_has_nothing_to_run_on(engine: Engine) -> None:
    with pytest.raises(ConflictError, match="ingest some"):
        engine.start_run(None, None)


def test_the_schedule_starts_runs_and_goes_on_after_a_restart(
    config: Config, script: Any, exchange: Callable[..., Exchange], until: Callable[..., None]
) -> None:
    scheduled = replace(config, schedule="1s")
    engine = Engine.open(scheduled)
    try:
        engine.ingest([exchange(1)]).result(10)
        engine.warm_up()
        until(lambda: len(engine.runs(10)) >= 2)
        first, second = reversed(engine.runs(10)[-2:])
        assert {first.trigger, second.trigger} == {"schedule"}
        assert 0.9 < (second.created_us - first.created_us) / 1e6 < 5
    finally:
        engine.close()
    daily = Engine.open(replace(config, schedule="1d"))
    try:
        assert daily._scheduler is not None
        last_us = daily._runs.last_scheduled_us()
        assert last_us == max(run.created_us for run in daily.runs(100))
        assert last_us is not None
        assert abs(daily._scheduler._schedule.next_after(last_us) - time.time() * 1e6 - 86_400e6) < 60e6
    finally:
        daily.close()


def test_a_scheduled_run_is_overdue_after_a_long_stop(
    config: Config, script: Any, exchange: Callable[..., Exchange], until: Callable[..., None]
) -> None:
    engine = Engine.open(config)
    engine.ingest([exchange(1)]).result(10)
    long_ago = Run(
        RunId("long-ago"), RunState.PENDING, created_us=int(time.time() * 1e6) - 90_000_000_000, trigger="schedule"
    )
    engine.store.create_run(long_ago)
    engine.close()
    engine = Engine.open(replace(config, schedule="1d"))
    try:
        engine.warm_up()
        until(lambda: engine.run("").run_id != "long-ago")
        assert engine.run("").trigger == "schedule"
    finally:
        engine.close()


def test_a_scheduled_run_is_skipped_while_one_is_at_work(
    config: Config, script: Any, exchange: Callable[..., Exchange], until: Callable[..., None], caplog: Any
) -> None:
    script.go.clear()
    engine = Engine.open(replace(config, schedule="1s"))
    try:
        engine.ingest([exchange(1)]).result(10)
        engine.start_run(None, None)
        with caplog.at_level(logging.WARNING, "coterie"):
            engine.warm_up()
            until(lambda: "scheduled_run_skipped" in caplog.text)
        assert len(engine.runs(10)) == 1
    finally:
        engine.close()


def test_stages_time_themselves_and_stop_where_they_are_asked_to() -> None:
    seen: list[tuple[str, float]] = []
    stop: list[bool] = []
    stages = Stages(lambda stage, share: seen.append((stage, share)), lambda: bool(stop))
    stages.enter("embed")
    stages.part(0.5, 1.0)(0.5)
    stages.follow("graph", 2.0)
    stages.follow("graph", 0.4)
    stop.append(True)
    with pytest.raises(CoterieError, match="before test"):
        stages.enter("test")
    assert seen == [("embed", 0.0), ("embed", 0.75), ("graph", 0.0), ("graph", 1.0), ("graph", 0.4)]
    assert set(stages.measures) == {"embed_s", "graph_s"}


def test_a_run_with_another_model_is_refused_and_leaves_no_run(config: Config, exchange: Any) -> None:
    engine = Engine.open(config)
    engine.ingest([exchange(1)]).result(10)
    engine.warm_up()
    engine.close()
    engine = Engine.open(replace(config, model="hash-64", lazy_model=True))
    try:
        with pytest.raises(ConflictError, match="hash-256"):
            engine.start_run(None, None)
        assert engine.runs(10) == []
    finally:
        engine.close()


def test_a_store_that_fails_as_a_run_begins_does_not_keep_the_next_from_starting(
    filled: Engine, script: Any, until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Run) -> None:
        raise UnavailableError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(filled.store, "update_run", fail)
        filled.start_run(None, None)
        until(lambda: filled._runs._current is None)
    assert filled.start_run(None, None).state is RunState.PENDING


def test_every_run_that_was_cut_off_is_failed_at_the_next_start(config: Config) -> None:
    engine = Engine.open(config)
    for number in range(3):
        engine.store.create_run(Run(RunId(f"cut-off-{number}"), RunState.PENDING, created_us=5 + number))
    engine.close()
    engine = Engine.open(config)
    try:
        assert [run.state for run in engine.runs(10)] == [RunState.FAILED] * 3
    finally:
        engine.close()


def test_a_schedule_that_never_ran_is_counted_from_when_it_was_first_followed(
    config: Config, script: Any, exchange: Callable[..., Exchange], until: Callable[..., None]
) -> None:
    for day in ("", "2026-01-01T00:00:00Z"):
        if day:
            (config.data_dir / "schedule-since").write_text(day)
        engine = Engine.open(replace(config, schedule="1d"))
        try:
            engine.ingest([exchange(1)]).result(10)
            engine.warm_up()
            if day:
                until(lambda engine=engine: engine.runs(10))
            else:
                until((config.data_dir / "schedule-since").is_file)
                assert engine.runs(10) == []
        finally:
            engine.close()


def test_a_schedule_outlives_a_bad_moment(
    config: Config,
    script: Any,
    exchange: Callable[..., Exchange],
    until: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: Any,
) -> None:
    monkeypatch.setattr("coterie.server.jobs._SCHEDULE_RETRY_S", 0.05)
    engine = Engine.open(replace(config, schedule="1s"))
    failures = iter([UnavailableError("the disk is away"), KeyError("a secret")])
    last_us = engine._runs.last_scheduled_us

    def failing() -> int | None:
        for error in failures:
            raise error
        return last_us()

    monkeypatch.setattr(engine._runs, "last_scheduled_us", failing)
    try:
        engine.ingest([exchange(1)]).result(10)
        with caplog.at_level(logging.ERROR, "coterie"):
            engine.warm_up()
            until(lambda: engine.runs(10))
        assert caplog.text.count("schedule_failed") == 2
        assert "secret" not in caplog.text
    finally:
        engine.close()


@pytest.mark.parametrize(
    ("part", "field"),
    [
        (Slice(accounts=tuple(AccountId(f"a{number}") for number in range(10_001))), "slice.account_ids"),
        (Slice(accounts=(AccountId(""),)), "slice.account_ids"),
        (Slice(accounts=(AccountId("a" * 257),)), "slice.account_ids"),
        (Slice(models=tuple(f"m{number}" for number in range(1_001))), "slice.models"),
        (Slice(models=("m" * 257,)), "slice.models"),
        (Slice(attributes={f"k{number}": "v" for number in range(33)}), "slice.attributes"),
        (Slice(attributes={"k" * 65: "v"}), "slice.attributes"),
        (Slice(attributes={"k": "v" * 513}), "slice.attributes"),
    ],
    ids=range(8),
)
def test_slices_out_of_their_limits_are_refused(filled: Engine, part: Slice, field: str) -> None:
    with pytest.raises(InvalidError) as caught:
        filled.start_run(None, None, part=part)
    assert caught.value.field == field
    assert filled.runs(10) == []


def test_a_slice_at_its_limits_is_taken(filled: Engine, finished: Callable[[Engine, str], Run]) -> None:
    part = Slice(
        ("", *(f"m{number}" for number in range(999))),
        tuple(AccountId(f"{number:0256}") for number in range(10_000)),
        {f"{number:064}": "v" * 512 for number in range(32)},
        field=TextField.RESPONSE,
    )
    sets = (ParameterSet(),) * LIMITS.parameter_sets_max
    run = finished(filled, filled.start_run(None, None, part=part, sets=sets).run_id)
    assert (run.slice, run.sets, run.state) == (part, sets, RunState.DONE)


@pytest.mark.parametrize(
    ("sets", "says"),
    [
        ([ParameterSet()] * 9, "the limit is 8"),
        ([ParameterSet(min_samples=1)], "between 2 and 100"),
        ([ParameterSet(min_samples=-1)], "between 2 and 100"),
        ([ParameterSet(min_samples=101)], "between 2 and 100"),
        ([ParameterSet(min_cluster_size=1)], "between 2 and 10000"),
        ([ParameterSet(min_cluster_size=10_001)], "between 2 and 10000"),
        ([ParameterSet(), ParameterSet(min_samples=11)], "set graph_k to 33, or ask for at most 10"),
    ],
)
def test_parameter_sets_out_of_their_limits_are_refused(filled: Engine, sets: list[ParameterSet], says: str) -> None:
    assert filled.config.graph_k == 30
    with pytest.raises(InvalidError, match=says) as caught:
        filled.start_run(None, None, sets=sets)
    assert caught.value.field.startswith("sets")
    assert filled.runs(10) == []


def test_the_default_set_needs_its_graph_too(config: Config, exchange: Callable[..., Exchange], script: Any) -> None:
    engine = Engine.open(replace(config, graph_k=14))
    try:
        engine.ingest([exchange(1)]).result(10)
        with pytest.raises(InvalidError, match="min_samples 5 takes a graph of at least 15 neighbours"):
            engine.start_run(None, None, sets=[ParameterSet(min_cluster_size=20)])
    finally:
        engine.close()


def test_an_account_erased_while_a_run_on_it_is_at_work_stays_erased(
    filled: Engine, script: Any, finished: Callable[[Engine, str], Run]
) -> None:
    script.go.clear()
    part = Slice(accounts=(AccountId("account-1"), AccountId("account-2")))
    run = filled.start_run(None, None, part=part)
    script.started.wait(10)
    filled.erase_account(AccountId("account-1"))
    script.go.set()
    assert finished(filled, run.run_id).state is RunState.FAILED
    assert filled.store.run(run.run_id).slice.accounts == ("(erased)", "account-2")


def test_a_cancelled_run_on_a_slice_leaves_nothing_and_the_next_is_compared_with_the_one_before(
    filled: Engine, script: Any, finished: Callable[[Engine, str], Run]
) -> None:
    part = Slice(models=("m",))
    good = finished(filled, filled.start_run(None, None, part=part).run_id)
    script.go.clear()
    script.started.clear()
    second = filled.start_run(None, None, part=part)
    script.started.wait(10)
    filled.cancel_run(second.run_id)
    assert finished(filled, second.run_id).state is RunState.CANCELLED
    assert filled.findings(second.run_id) == (second.run_id, [])
    assert filled.store.last_done(part) == good.run_id
    assert filled.findings() == ("", [])
