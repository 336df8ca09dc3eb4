"""Families from run to run and between runs, with the real detection and the model-free encoder."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import grpc
import numpy as np
import pytest

from coterie.client import AsyncClient, Client
from coterie.detection import Parameters
from coterie.domain import (
    AccountFamily,
    AccountId,
    Exchange,
    Family,
    FamilyLineage,
    ParameterSet,
    Run,
    RunId,
    RunState,
    Slice,
    TextField,
)
from coterie.server import Config, Engine
from coterie.server.families import slice_name
from coterie.server.paging import page_token
from coterie.v1 import finding_service_pb2, types_pb2

TOPICS = (
    "Translate this line of the harbour log into plain English",
    "Write a unit test for the parser of dates, case",
    "Summarise the minutes of the parish council, meeting",
    "Which spices belong into the stew of the day, variant",
    "Prove by induction the lemma about trees with leaves,",
)
Make = Callable[..., Exchange]


def prompts(topic: int, first: int, count: int) -> list[str]:
    """Half of the first twenty stand apart a little, so that the gate is well beyond the later ones."""
    words = ("harbour", "parish", "stew", "lemma", "tide")
    return [
        f"{TOPICS[topic]} number {n % 20} {n}" + (f" for the {words[n % 5]}" if n % 2 and n < 20 else "")
        for n in range(first, first + count)
    ]


def exchanges(make: Make, texts: list[str], first: int, **more: Any) -> list[Exchange]:
    return [make(first + place, prompt=text, **more) for place, text in enumerate(texts)]


def world(make: Make) -> list[Exchange]:
    """Three topics of twenty prompts, each topic asked by four accounts of its own."""
    made = []
    for topic in range(3):
        for place, text in enumerate(prompts(topic, 0, 20)):
            made.append(make(100 * topic + place, prompt=text, account=f"account-{topic}-{place % 4}"))
    return made


def run_to_its_end(engine: Engine, finished: Any, *bounds: Any, **more: Any) -> Run:
    run: Run = finished(engine, engine.start_run(*(bounds or (None, None)), **more).run_id)
    assert run.state is RunState.DONE, run.error
    return run


def families(engine: Engine, run_id: str = "") -> dict[str, Family]:
    return {family.family_id: family for _, family in engine.families(run_id, limit=1_000)[1]}


def followed(engine: Engine, until: Callable[..., None]) -> None:
    """Wait until every text was looked at for joining."""
    until(lambda: engine.stats().pending_texts == 0)
    engine._follow_and_join()
    assert engine.store.joining()[1] == engine.store.last_vector()


def test_families_keep_their_ids_and_new_texts_join_them_at_once(
    engine: Engine, exchange: Make, finished: Any, until: Any
) -> None:
    engine.ingest(world(exchange)).result(10)
    first = run_to_its_end(engine, finished)
    before = families(engine)
    assert len(before) == first.measures["families"] == first.measures["families_born"] == 3
    assert {(family.texts, family.exchanges, family.accounts) for family in before.values()} == {(20, 20, 4)}
    assert {family.run_id for family in before.values()} == {first.run_id}

    new = exchanges(exchange, prompts(1, 20, 6), 500) + exchanges(
        exchange, ["the moon was full and nobody slept well", "x = [y for y in zip(a, b)]"], 600
    )
    engine.ingest(new).result(10)
    followed(engine, until)
    home = engine.store.family_labels()
    assert home is not None
    text = engine.store.exchange_text(exchange(100).exchange_id, TextField.PROMPT)
    family_id = home.family_ids[home.family[home.place(np.array([text]))[0]]]
    joined = {name: family.joined for name, family in families(engine).items() if family.joined}
    assert joined.keys() == {family_id}
    assert joined[family_id] == 6
    report = engine.account(AccountId("account-1-0"))
    assert report.families == (AccountFamily(family_id, 5, 0),)
    newcomer = engine.account(new[0].account_id)
    assert newcomer.families[0].family_id == family_id
    assert newcomer.families[0].joined == newcomer.families[0].texts > 0

    second = run_to_its_end(engine, finished)
    after = families(engine)
    assert after.keys() == before.keys()
    assert (after[family_id].lineage, after[family_id].texts) == (FamilyLineage.GROWN, 26)
    assert second.measures["families_grown"] == 1
    assert second.measures["families_steady"] == 2
    assert all(family.joined == 0 for family in after.values())
    assert families(engine, first.run_id) == {
        name: replace(family, run_id=first.run_id, joined=0) for name, family in before.items()
    }


def test_a_window_that_was_asked_for_takes_ids_over_and_ends_nothing(
    engine: Engine, exchange: Make, finished: Any
) -> None:
    made = world(exchange)
    engine.ingest(made).result(10)
    run_to_its_end(engine, finished)
    before = families(engine)
    narrow = run_to_its_end(engine, finished, None, made[40].time_us)  # without the last topic
    assert narrow.measures["families"] == 2
    assert narrow.measures["families_gone"] == narrow.measures["families_born"] == 0
    assert families(engine).keys() < before.keys()
    on_accounts = run_to_its_end(engine, finished, part=Slice(accounts=(AccountId("account-2-1"),)))
    assert on_accounts.measures["families_gone"] == 0
    again = run_to_its_end(engine, finished)
    assert families(engine).keys() == before.keys()
    assert again.measures["families_steady"] == 3
    later = 40_000  # minutes: four weeks
    engine.ingest(exchanges(exchange, prompts(3, 0, 20), later)).result(10)
    engine.ingest(exchanges(exchange, prompts(4, 0, 20), later + 50)).result(10)
    moved = run_to_its_end(engine, finished)
    found = families(engine)
    assert moved.measures["families_gone"] == 3
    assert {name for name, family in found.items() if family.lineage is FamilyLineage.GONE} == before.keys()
    born = set(found) - set(before)
    assert len(born) == 2
    assert next(family.lineage for _, family in engine.families(limit=9)[1]) is FamilyLineage.BORN


def test_a_rule_is_slice_window_and_parameters() -> None:
    run = Run(RunId("r"), RunState.PENDING, 0)
    assert slice_name(run, Parameters()) == ""
    names = {
        slice_name(run, Parameters()),
        slice_name(replace(run, since_us=5), Parameters()),
        slice_name(replace(run, until_us=5), Parameters()),
        slice_name(replace(run, slice=Slice(models=("m",))), Parameters()),
        slice_name(replace(run, slice=Slice(field=TextField.RESPONSE)), Parameters()),
        slice_name(run, Parameters(min_samples=6)),
        slice_name(run, Parameters(min_cluster_size=6)),
    }
    assert len(names) == 7


def test_a_run_with_other_parameters_is_not_the_one_to_join(engine: Engine, exchange: Make, finished: Any) -> None:
    engine.ingest(world(exchange)).result(10)
    first = run_to_its_end(engine, finished)
    other = run_to_its_end(engine, finished, sets=(ParameterSet(3, 5),))
    assert engine.store.joining()[0] == first.run_id
    assert other.measures["families_gone"] == 0


def test_what_comes_during_a_run_joins_when_it_is_done(
    engine: Engine, exchange: Make, finished: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.ingest(world(exchange)).result(10)
    read = engine.store.window

    def then_more(*arguments: Any) -> Any:
        rows = read(*arguments)
        engine.ingest(exchanges(exchange, prompts(0, 20, 3), 700)).result(10)
        until(lambda: engine.stats().pending_texts == 0)
        return rows

    monkeypatch.setattr(engine.store, "window", then_more)
    run_to_its_end(engine, finished)
    followed(engine, until)
    assert sum(family.joined for family in families(engine).values()) == 3


def test_a_failure_to_join_is_logged_and_hinders_nothing(
    engine: Engine, exchange: Make, finished: Any, until: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    engine.ingest(world(exchange)).result(10)
    run = run_to_its_end(engine, finished)

    def broken(*_: object) -> None:
        raise ValueError("a prompt that must not be logged")

    with monkeypatch.context() as patch, caplog.at_level(logging.ERROR, "coterie"):
        patch.setattr("coterie.server.indexes.FieldIndex.search_batch", broken)
        engine.ingest(exchanges(exchange, prompts(2, 20, 4), 800)).result(10)
        until(lambda: "joining_failed" in caplog.text)
        until(lambda: engine.stats().pending_texts == 0)
        assert run.run_id in caplog.text
        assert "must not be logged" not in caplog.text
    followed(engine, until)
    assert sum(family.joined for family in families(engine).values()) == 4


def test_an_erased_account_leaves_the_families_at_once(
    engine: Engine, exchange: Make, finished: Any, until: Any
) -> None:
    engine.ingest(world(exchange)).result(10)
    run_to_its_end(engine, finished)
    engine.ingest(exchanges(exchange, prompts(0, 20, 4), 900, account="late")).result(10)
    followed(engine, until)
    assert sum(family.joined for family in families(engine).values()) == 4
    engine.erase_account(AccountId("late"))
    assert sum(family.joined for family in families(engine).values()) == 0
    gone = engine.store.exchange_text(exchange(0).exchange_id, TextField.PROMPT)
    labels = engine._families.labels()
    assert labels is not None
    assert gone in labels.text_ids
    engine.erase_account(AccountId("account-0-0"))
    labels = engine._families.labels()
    assert labels is not None
    assert gone not in labels.text_ids
    assert len(labels.text_ids) == 55


def test_a_restart_goes_on_where_joining_was(config: Config, exchange: Make, finished: Any, until: Any) -> None:
    engine = Engine.open(config)
    try:
        engine.warm_up()
        engine.ingest(world(exchange)).result(10)
        run_to_its_end(engine, finished)
        engine.ingest(exchanges(exchange, prompts(0, 20, 2), 900)).result(10)
        followed(engine, until)
    finally:
        engine.close()
    engine = Engine.open(config)
    try:
        engine.ingest(exchanges(exchange, prompts(1, 20, 3), 950)).result(10)
        engine.warm_up()
        followed(engine, until)
        assert sorted(family.joined for family in families(engine).values()) == [0, 2, 3]
    finally:
        engine.close()


def test_families_are_listed_over_the_socket_page_by_page(client: Client, address: str, exchange: Make) -> None:
    assert client.list_families() == ("", [])
    client.ingest(world(exchange))
    run = list(client.watch_run(client.start_run().run_id))[-1]
    run_id, found = client.list_families()
    assert run_id == run.run_id
    assert len(found) == 3
    assert client.list_families(limit=2) == (run_id, found[:2])
    assert client.list_families(run_id, lineage=FamilyLineage.BORN) == (run_id, found)
    assert client.list_families(lineage=FamilyLineage.GONE) == (run_id, [])
    assert client.get_account("account-0-1").families == (AccountFamily(_of(found, "account-0-1", client), 5, 0),)

    async def listed() -> tuple[str, list[Family]]:
        async with AsyncClient.connect(address) as other:
            return await other.list_families()

    assert asyncio.run(listed()) == (run_id, found)


def _of(found: list[Family], account_id: str, client: Client) -> Any:
    """The family whose exemplar asks about the account's topic."""
    topic = int(account_id.split("-")[1])
    return next(family.family_id for family in found if int(family.exemplar[1:]) // 100 == topic)


def test_a_page_token_of_another_run_or_listing_is_refused(client: Client, exchange: Make) -> None:
    client.ingest(world(exchange))
    list(client.watch_run(client.start_run().run_id))
    stub = client._stubs.finding
    first = stub.ListFamilies(finding_service_pb2.ListFamiliesRequest(page=types_pb2.PageRequest(page_size=1)))
    token = first.page.next_page_token
    page = types_pb2.PageRequest(page_size=1, page_token=token)
    rest = stub.ListFamilies(finding_service_pb2.ListFamiliesRequest(page=page))
    assert [item.family_id for item in rest.families] != [item.family_id for item in first.families]
    for run_id, wrong in (("other", token), ("", page_token("findings", ["r", "f"]))):
        page = types_pb2.PageRequest(page_token=wrong)
        with pytest.raises(grpc.RpcError, match="page_token"):
            stub.ListFamilies(finding_service_pb2.ListFamiliesRequest(run_id=run_id, page=page))
