"""The indexes follow the store: snapshots, damage, replay, erasure."""

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from coterie.domain import AccountId, Exchange, TextField
from coterie.index import SegmentedIndex
from coterie.server import Config, Engine, Query
from coterie.server.indexes import FieldIndex


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
    """The folder of each field's snapshot; none is there before its manifest is."""
    return sorted(path.parent for path in (config.data_dir / "index").glob("*/manifest"))


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

    monkeypatch.setattr("coterie.index.SegmentedIndex.add", refuse)
    engine = Engine.open(config)
    try:
        engine.warm_up()
        assert held(engine) == before == stored(engine)
        assert held(engine, TextField.RESPONSE) == stored(engine, TextField.RESPONSE)
    finally:
        engine.close()


@pytest.mark.parametrize("pattern", ["manifest", "segment-*"])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_snapshot_is_refused_and_rebuilt(
    config: Config, exchanges: list[Exchange], damage: str, pattern: str, caplog: pytest.LogCaptureFixture
) -> None:
    filled(config, exchanges).close()
    for folder in snapshots(config):
        (path,) = folder.glob(pattern)
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
    old = config.data_dir.with_name("old")
    shutil.copytree(config.data_dir / "index", old)
    engine = filled(config, [exchange(100), exchange(101, account="other", prompt="the answer is 5")])
    engine.erase_account(AccountId("account-3"))
    engine.close()
    shutil.rmtree(config.data_dir / "index")
    shutil.copytree(old, config.data_dir / "index")
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
        assert gone in SegmentedIndex.load(path, 256)[0]
        engine.erase_account(exchanges[3].account_id)
        assert gone not in SegmentedIndex.load(path, 256)[0]
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


DAY_S = 86_400


class SmallSegments(SegmentedIndex):
    """Closes a segment from 20 texts on."""

    def __init__(self, dim: int, *, flat_rows_max: int = 20) -> None:
        super().__init__(dim, flat_rows_max=flat_rows_max)

    @classmethod
    def load(cls, folder: Path, dim: int, *, flat_rows_max: int = 20) -> tuple[SegmentedIndex, int, int]:
        return super().load(folder, dim, flat_rows_max=flat_rows_max)


def segments(folder: Path) -> dict[str, int]:
    """The segment files, each with when it was written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("segment-*")}


def test_a_day_is_the_clocks_and_a_save_writes_the_days_that_changed(
    config: Config, exchanges: list[Exchange], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coterie.server.indexes.SegmentedIndex", SmallSegments)
    engine = filled(config, exchanges[:30])
    folder, now_s = config.data_dir / "index" / "prompt-mark", [20_000.5 * DAY_S]

    def opened() -> FieldIndex:
        return FieldIndex(engine.store, TextField.PROMPT, folder, 256, lambda: now_s[0])

    def add(some: list[Exchange]) -> None:
        engine.ingest(some).result(10)
        engine.embed_pending(lambda _: None, lambda: False)
        index.follow()
        index.save()

    try:
        index = opened()
        add(exchanges[:1])
        first = segments(folder)
        assert index._index.days() == [(20_000, 20_000)]
        now_s[0] += 0.49 * DAY_S
        add(exchanges[30:31])
        now_s[0] += 0.02 * DAY_S
        first = segments(folder)
        add(exchanges[31:55])
        assert index._index.days() == [(20_000, 20_000), (20_001, 20_001)]
        assert len(segments(folder)) == 2
        assert first.items() < segments(folder).items(), "the day before stays as it was written"

        index = opened()
        now_s[0] -= 3 * DAY_S
        add(exchanges[55:])
        assert index._index.days() == [(20_000, 20_000), (19_998, 20_001)], "a clock set back opens no segment"
        assert first.items() < segments(folder).items()
        assert index.ids().tolist() == sorted(stored(engine))
        for number in (0, 30, 40, 59):
            text_id = engine.store.exchange_text(exchanges[number].exchange_id, TextField.PROMPT)
            (vector,) = engine.store.vectors([text_id])
            assert index.search(vector, 1, None)[0].tolist() == [text_id]
    finally:
        engine.close()


def test_single_file_snapshots_of_earlier_versions_are_passed_over_and_removed(
    config: Config, exchanges: list[Exchange], exchange: Callable[..., Exchange]
) -> None:
    filled(config, exchanges).close()
    folder = config.data_dir / "index"
    for path in snapshots(config):
        shutil.rmtree(path)
        (folder / f"{path.name}.faiss").write_bytes(b"as an earlier version wrote it, with what was erased since")
        (folder / f"{path.name}.faiss.tmp").write_bytes(b"")
    other = folder / "graph-prompt-mark.coterie"
    other.write_bytes(b"of another")
    engine = Engine.open(config)
    try:
        engine.warm_up()
        assert held(engine) == stored(engine)
        assert len(list(folder.glob("*.faiss*"))) == 4
        engine._made_indexes().save()
        assert list(folder.glob("*.faiss*")) == []
        assert other.exists()
        assert len(snapshots(config)) == 2
    finally:
        engine.close()
