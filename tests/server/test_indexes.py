"""The indexes follow the store: snapshots, damage, replay, erasure."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from coterie.domain import AccountId, Exchange, TextField
from coterie.index import VectorIndex
from coterie.server import Config, Engine, Query


def filled(config: Config, exchanges: list[Exchange]) -> Engine:
    engine = Engine.open(config)
    engine.warm_up()
    engine.ingest(exchanges).result(10)
    engine.embed_pending(lambda _: None, lambda: False)
    engine._follow()
    return engine


def held(engine: Engine, field: TextField = TextField.PROMPT) -> set[int]:
    return set(engine._made_indexes().fields[field].ids().tolist())


def stored(engine: Engine, field: TextField = TextField.PROMPT) -> set[int]:
    return set(engine.store.text_ids(field).tolist())


def snapshots(config: Config) -> list[Path]:
    return sorted((config.data_dir / "index").glob("*.faiss"))


@pytest.fixture
def exchanges(exchange: Callable[..., Exchange]) -> list[Exchange]:
    return [exchange(number, response=f"the answer is {number}") for number in range(60)]


def test_closing_writes_snapshots_that_opening_takes(
    config: Config, exchanges: list[Exchange], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = filled(config, exchanges)
    before = held(engine)
    engine.close()
    assert len(before) == 60
    assert len(snapshots(config)) == 2

    def refuse(*_: object) -> None:
        raise AssertionError("a whole snapshot must not be rebuilt")

    monkeypatch.setattr("coterie.index.VectorIndex.add", refuse)
    engine = Engine.open(config)
    try:
        engine.warm_up()
        assert held(engine) == before == stored(engine)
        assert held(engine, TextField.RESPONSE) == stored(engine, TextField.RESPONSE)
    finally:
        engine.close()


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_snapshot_is_refused_and_rebuilt(
    config: Config, exchanges: list[Exchange], damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    filled(config, exchanges).close()
    for path in snapshots(config):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 4
        path.write_bytes({"flip": bytes(content), "cut": bytes(content[:-9]), "empty": b""}[damage])
    with caplog.at_level(logging.WARNING, "coterie"):
        engine = Engine.open(config)
        engine.warm_up()
    try:
        assert caplog.text.count("snapshot_refused") == 2
        assert "rebuilt from the store" in caplog.text
        assert held(engine) == stored(engine)
        nearest = engine.search(Query(text=exchanges[7].prompt, k=1)).hits[0]
        assert nearest.exchange.exchange_id == exchanges[7].exchange_id
    finally:
        engine.close()


def test_an_old_snapshot_is_caught_up_with_what_came_and_what_went(
    config: Config, exchanges: list[Exchange], exchange: Callable[..., Exchange]
) -> None:
    filled(config, exchanges).close()
    old = {path: path.read_bytes() for path in snapshots(config)}
    engine = filled(config, [exchange(100), exchange(101, account="other", prompt="the answer is 5")])
    engine.erase_account(AccountId("account-3"))
    engine.close()
    for path, content in old.items():
        path.write_bytes(content)
    engine = Engine.open(config)
    try:
        engine.warm_up()
        assert held(engine) == stored(engine)
        # A text that was known as a response and then came as a prompt is found as both.
        ids = engine.store.exchange_text(exchange(101).exchange_id, TextField.PROMPT)
        assert ids in held(engine)
        assert ids in held(engine, TextField.RESPONSE)
    finally:
        engine.close()


def test_erasing_reaches_the_index_at_once(config: Config, exchanges: list[Exchange]) -> None:
    engine = filled(config, exchanges)
    try:
        gone = engine.store.exchange_text(exchanges[3].exchange_id, TextField.PROMPT)
        assert gone in held(engine)
        erasure = engine.erase_account(exchanges[3].account_id)
        assert erasure.texts > 0
        assert gone not in held(engine)
        hits = engine.search(Query(text=exchanges[3].prompt, k=60)).hits
        assert exchanges[3].account_id not in {hit.exchange.account_id for hit in hits}
        assert len(hits) == 60 - erasure.exchanges
    finally:
        engine.close()


@pytest.mark.parametrize("lazy", [False, True])
def test_erasing_reaches_the_snapshots_before_it_is_answered(
    config: Config, exchanges: list[Exchange], lazy: bool
) -> None:
    filled(config, exchanges).close()
    engine = Engine.open(replace(config, lazy_model=lazy))
    try:
        engine.warm_up()
        gone = engine.store.exchange_text(exchanges[3].exchange_id, TextField.PROMPT)
        path = next(path for path in snapshots(config) if path.name.startswith("prompt"))
        assert gone in VectorIndex.load(path, 256)[0]
        engine.erase_account(exchanges[3].account_id)
        assert gone not in VectorIndex.load(path, 256)[0]
        assert engine.ready is not lazy
    finally:
        engine.close()


def test_snapshots_are_made_while_vectors_arrive(
    config: Config, exchanges: list[Exchange], exchange: Callable[..., Exchange], until: Callable[..., None]
) -> None:
    engine = Engine.open(Config(data_dir=config.data_dir, model="hash", snapshot_interval_s=1.0))
    try:
        engine.warm_up()

        def came() -> bool:
            engine.ingest([exchange(int(np.random.default_rng().integers(10**6)))]).result(10)
            return bool(snapshots(config))

        until(came)
    finally:
        engine.close()
