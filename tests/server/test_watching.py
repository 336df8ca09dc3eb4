"""What is followed between runs, with the real detection and the model-free encoder."""

import functools
import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from coterie.client import Client
from coterie.detection import Parameters
from coterie.domain import (
    AccountId,
    Exchange,
    Finding,
    FindingId,
    FindingKind,
    Lineage,
    Run,
    RunState,
    Severity,
    TextId,
    WatchedPool,
    finding_to_json,
)
from coterie.server import Config, Engine
from coterie.server.watching import EARLY, provisional

Make = Callable[..., Exchange]


class World:
    """People with a subject each, and a campaign that shares out one list, in words that mean nothing."""

    def __init__(self, make: Make) -> None:
        self._make = make
        self._random = random.Random(7)
        self._words: dict[str, list[str]] = {}
        self._number = 0

    def asks(self, account: str, subject: str, count: int, **attributes: str) -> list[Exchange]:
        """New prompts of one account on a subject: eight words each of the forty that the subject has."""
        made = []
        for _ in range(count):
            prompt = " ".join(self._random.sample(self._subject(subject), 8))
            self._number += 1
            made.append(self._make(self._number, account=account, prompt=prompt, attributes=attributes))
        return made

    def people(self, count: int, each: int) -> list[Exchange]:
        return [item for number in range(count) for item in self.asks(f"person-{number}", f"own-{number}", each)]

    def campaign(self, members: int, each: int) -> list[Exchange]:
        return [item for number in range(members) for item in self.asks(f"member-{number}", "list", each)]

    def part(self, name: str, subject: str, words: int) -> None:
        """A subject that has some of another's words."""
        self._words[name] = self._subject(subject)[:words]

    def _subject(self, name: str) -> list[str]:
        if name not in self._words:
            letters = "abcdefghijklmnopqrstuvwxyz"
            self._words[name] = ["".join(self._random.choices(letters, k=7)) for _ in range(40)]
        return self._words[name]


@pytest.fixture
def world(exchange: Make) -> World:
    return World(exchange)


@pytest.fixture
def config(config: Config) -> Config:
    return replace(config, early_run_interval_s=0)


def send(engine: Engine, made: Sequence[Exchange]) -> None:
    for first in range(0, len(made), 1_000):
        engine.ingest(made[first : first + 1_000]).result(10)


def run_to_its_end(engine: Engine, finished: Any, **more: Any) -> Run:
    run: Run = finished(engine, engine.start_run(None, None, **more).run_id)
    assert run.state is RunState.DONE, run.error
    return run


def followed(engine: Engine, until: Callable[..., None]) -> None:
    """Wait until every exchange was held against the pools."""
    until(lambda: engine.stats().pending_texts == 0)
    engine._follow_and_join()
    assert engine.store.watching()[3] == engine.stats().last_sequence


def campaigns(engine: Engine) -> list[Finding]:
    return [finding for finding in engine.findings()[1] if finding.kind is FindingKind.CAMPAIGN]


def joined(engine: Engine) -> set[str]:
    return {item.account_id for finding in campaigns(engine) for item in finding.joined_since}


def world_with_a_campaign(world: World) -> list[Exchange]:
    return world.people(40, 20) + world.campaign(8, 20)


def test_accounts_join_a_campaign_at_once_and_innocents_do_not(
    config: Config, world: World, finished: Any, until: Any
) -> None:
    engine = Engine.open(config)
    try:
        engine.warm_up()
        send(engine, world_with_a_campaign(world))
        run_to_its_end(engine, finished)
        (before,) = campaigns(engine)
        assert {account.account_id for account in before.accounts} == {f"member-{number}" for number in range(8)}
        assert (before.joined_since, before.provisional) == ((), False)
        event = engine.store.last_event()
        # Part of the list's words, again and again: near the pool, and a subject of its own.
        world.part("narrow", "list", 12)
        neighbour = world.asks("neighbour", "narrow", 15)
        send(engine, world.people(40, 3) + neighbour + world.asks("late-1", "list", 8))
        followed(engine, until)
        near = engine.store.near()[before.finding_id]
        assert len(near[AccountId("neighbour")]) >= 3
        assert joined(engine) == {"late-1"}
    finally:
        engine.close()

    engine = Engine.open(config)  # a restart goes on where it was, and tells nobody twice
    try:
        engine.warm_up()
        send(engine, world.asks("late-2", "list", 9) + world.asks("late-1", "list", 2) + world.campaign(8, 1))
        followed(engine, until)
        (after,) = campaigns(engine)
        assert replace(after, joined_since=()) == before
        assert {item.account_id: item.prompts for item in after.joined_since} == {"late-1": 8, "late-2": 9}
        assert all(item.p_value < 0.001 for item in after.joined_since)
        assert engine.finding(after.finding_id)[0] == after
        told = engine.events(event, 100)
        assert [finding.finding_id for _, finding in told] == [after.finding_id] * 2
        assert engine.account(AccountId("late-1")).findings == (after,)
        assert engine.account(AccountId("neighbour")).findings == ()

        engine.erase_account(AccountId("late-2"))
        assert joined(engine) == {"late-1"}
        followed(engine, until)
        assert joined(engine) == {"late-1"}

        run_to_its_end(engine, finished)
        (grown,) = campaigns(engine)
        assert grown.finding_id == before.finding_id
        assert "late-1" in {account.account_id for account in grown.accounts}
        assert grown.joined_since == ()
        assert engine.store.near() == {}
    finally:
        engine.close()


def test_an_organisation_joins_as_one_customer_and_never_its_own_pool(
    engine: Engine, world: World, finished: Any, until: Any
) -> None:
    made = world.people(40, 20) + world.campaign(7, 20) + world.asks("seat-0", "list", 20, organisation="acme")
    send(engine, made)
    run_to_its_end(engine, finished)
    assert "seat-0" in {account.account_id for account in campaigns(engine)[0].accounts}
    seats = [world.asks(f"seat-{number}", "list", 6, organisation="acme") for number in (1, 2)]
    other = [world.asks(f"desk-{number}", "list", 2, organisation="emca") for number in range(4)]
    send(engine, world.people(40, 3) + [item for batch in seats + other for item in batch])
    followed(engine, until)
    assert joined(engine) == {f"desk-{number}" for number in range(4)}
    p_values = {item.p_value for item in campaigns(engine)[0].joined_since}
    assert len(p_values) == 1


def test_joining_is_seen_over_the_socket(config: Config, client: Client, world: World, until: Any) -> None:
    client.ingest(world_with_a_campaign(world))
    list(client.watch_run(client.start_run().run_id))
    client.ingest(world.people(40, 3) + world.asks("late", "list", 8))

    def told() -> list[Finding]:
        return client.list_findings(account_id="late")[1]

    until(lambda: bool(told()))
    (finding,) = told()
    assert [item.account_id for item in finding.joined_since] == ["late"]
    assert finding_to_json(finding)["joined_since"][0]["prompts"] == 8
    assert client.get_finding(finding.finding_id)[0] == finding


def test_a_failure_to_watch_is_logged_and_hinders_nothing(
    engine: Engine, world: World, finished: Any, until: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    send(engine, world_with_a_campaign(world))
    run_to_its_end(engine, finished)

    def broken(*_: object) -> None:
        raise ValueError("a prompt that must not be logged")

    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR, "coterie"):
        patch.setattr(engine.store, "put_near", broken)
        send(engine, world.people(40, 3) + world.asks("late", "list", 8))
        until(lambda: "watching_failed" in caplog.text)
        until(lambda: engine.stats().pending_texts == 0)
        assert "must not be logged" not in caplog.text
    followed(engine, until)
    assert joined(engine) == {"late"}


@pytest.fixture
def demanding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs that ask for more texts than is usual, so that a clear campaign may still be too small."""
    for place in ("coterie.detection.Parameters", "coterie.server.pipeline.Parameters"):
        monkeypatch.setattr(place, functools.partial(Parameters, texts_min=100))


def grown_pool(engine: Engine, world: World, finished: Any) -> None:
    """A run that leaves a pool with too few texts, and prompts that make it enough."""
    send(engine, world.people(40, 20) + world.campaign(8, 10))
    run_to_its_end(engine, finished)
    assert campaigns(engine) == []
    (pool,) = engine.store.watched_pools().values()
    assert set(pool.account_ids) == {f"member-{number}" for number in range(8)}
    assert "80 distinct texts" in pool.reason
    send(engine, world.people(40, 2) + world.campaign(8, 10))


@pytest.mark.usefixtures("demanding")
def test_a_growing_pool_raises_a_provisional_finding_which_the_next_run_confirms(
    config: Config, world: World, finished: Any, until: Any
) -> None:
    engine = Engine.open(config)
    try:
        engine.warm_up()
        grown_pool(engine, world, finished)
        followed(engine, until)
    finally:
        engine.close()
    # The pool grew while nothing was to be started early: the next start knows.
    engine = Engine.open(replace(config, early_run_interval_s=0.01))
    try:
        engine.warm_up()
        until(lambda: engine.run("").trigger == EARLY)
        early = finished(engine, engine.run("").run_id)
        assert early.state is RunState.DONE, early.error
        (finding,) = campaigns(engine)
        assert finding.provisional
        assert "80 distinct texts" in finding.counter_evidence[0].summary
        assert {account.account_id for account in finding.accounts} == {f"member-{number}" for number in range(8)}
        run_to_its_end(engine, finished)
        (confirmed,) = campaigns(engine)
        assert confirmed.finding_id == finding.finding_id
        assert not confirmed.provisional
        assert "provisional" not in {item.name for item in confirmed.counter_evidence}
    finally:
        engine.close()


@pytest.mark.usefixtures("demanding")
def test_early_runs_keep_their_interval_and_can_be_off(config: Config, world: World, finished: Any, until: Any) -> None:
    engine = Engine.open(config)
    try:
        engine.warm_up()
        grown_pool(engine, world, finished)
        followed(engine, until)
        assert engine._watching.grown()
        runs = len(engine.runs(10))
        for interval_s in (0.0, 3_600.0):
            engine.config = replace(config, early_run_interval_s=interval_s)
            engine._follow_and_join()
            assert len(engine.runs(10)) == runs
    finally:
        engine.close()


def made_finding(finding_id: str, **more: Any) -> Finding:
    values: dict[str, Any] = {
        "finding_id": FindingId(finding_id), "kind": FindingKind.CAMPAIGN, "severity": Severity.LOW, "confidence": 0.5,
        "title": "", "accounts": (), "families": (), "benchmarks": (), "first_seen_us": 1, "last_seen_us": 2,
        "evidence": (), "counter_evidence": (), "exemplars": (), "text_ids": (1, 2, 3, 4),
    }  # fmt: skip
    return Finding(**{**values, **more})


def test_only_campaigns_that_no_other_run_found_are_provisional() -> None:
    pools = [
        WatchedPool((TextId(9),), (AccountId("a"),), 0.01, "other"),
        WatchedPool((TextId(1), TextId(2), TextId(3)), (AccountId("a"), AccountId("b")), 0.02, "too few"),
    ]
    found = [
        made_finding("new"),
        made_finding("known"),
        made_finding("early-before"),
        made_finding("run", kind=FindingKind.BENCHMARK_RUN),
        made_finding("gone", lineage=Lineage.GONE),
    ]
    earlier = [made_finding("known"), made_finding("early-before", provisional=True)]
    marked = {item.finding_id: item for item in provisional(found, earlier, pools)}
    assert {name for name, item in marked.items() if item.provisional} == {"new", "early-before"}
    (said,) = marked["new"].counter_evidence  # type: ignore[index]
    assert said.value == 3
    assert "a pool of 3 prompts of 2 accounts, 3 of its 4" in said.summary
    assert "too few" in said.summary
    (alone,) = provisional([made_finding("new")], [], [])[0].counter_evidence
    assert "shares no prompt" in alone.summary
