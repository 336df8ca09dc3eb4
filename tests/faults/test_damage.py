"""Damage on the disk: what is derived is made anew and said so, what is not is told with the way out."""

import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.faults.service import Service
from coterie.client import Client, RetryPolicy
from coterie.domain import AccountId, CoterieError, Exchange, ExchangeId, TextField, UnavailableError
from coterie.server import Config, Engine
from coterie.server.backup import create_backup, restore_backup
from coterie.server.cli import main
from coterie.server.search import Query
from coterie.store import open_store

pytestmark = pytest.mark.faults

ROWS = 400
SIZE_MAGIC, SIZE_DIGEST = 8, 32


def exchange(number: int) -> Exchange:
    return Exchange(
        ExchangeId(f"e{number}"),
        AccountId(f"a{number % 9}"),
        1_767_225_600_000_000 + number,
        f"question {number} about {['tides', 'bread', 'chess', 'copper'][number % 4]}",
        f"answer {number}",
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A folder with snapshots of both indexes and a graph, closed."""
    config = Config(data_dir=tmp_path_factory.mktemp("saved") / "data", model="hash", monolingual=True)
    engine = Engine.open(config)
    try:
        engine.warm_up()
        engine.ingest([exchange(number) for number in range(ROWS)]).result()
        engine.embed_pending(lambda _: None, lambda: False)
        graph_of(engine)
    finally:
        engine.close()
    names = {path.relative_to(config.data_dir / "index").parts[0].split("-")[0] for path in snapshot_files(config)}
    assert names == {"prompt", "response", "graph"}
    return config


def snapshot_files(config: Config) -> list[Path]:
    return sorted(path for path in (config.data_dir / "index").rglob("*") if path.is_file())


def graph_of(engine: Engine) -> np.ndarray:
    """The neighbours of every prompt, from the living graph."""
    text_ids = engine.store.text_ids(TextField.PROMPT)
    vectors = engine.store.vectors(text_ids)
    graph, _ = engine._made_graphs().of("raw", text_ids, vectors, whole=True, progress=lambda _: None)
    return graph.neighbours


@pytest.fixture
def copy(saved: Config, tmp_path: Path) -> Config:
    shutil.copytree(saved.data_dir, tmp_path / "data")
    return replace(saved, data_dir=tmp_path / "data")


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x08
    path.write_bytes(content)


def places(path: Path) -> dict[str, int]:
    """A place in every region of a snapshot file."""
    content = path.read_bytes()
    header = int.from_bytes(content[SIZE_MAGIC : SIZE_MAGIC + 4], "little")
    first = SIZE_MAGIC + 4 + header
    return {
        "magic": 3,
        "length of the header": SIZE_MAGIC + 1,
        "header": SIZE_MAGIC + 4 + header // 2,
        "first of the payload": first,
        "middle of the payload": (first + len(content) - SIZE_DIGEST) // 2,
        "last of the payload": len(content) - SIZE_DIGEST - 1,
        "checksum": len(content) - 1,
    }


REGIONS = (
    *("magic", "length of the header", "header", "first of the payload", "middle of the payload"),
    *("last of the payload", "checksum", "missing", "empty"),
)


def damage(path: Path, region: str) -> None:
    if region == "missing":
        path.unlink()
    elif region == "empty":
        path.write_bytes(b"")
    else:
        flip(path, places(path)[region])


@pytest.mark.parametrize("region", REGIONS)
def test_a_damaged_or_lost_snapshot_is_refused_and_made_anew(
    region: str, copy: Config, caplog: pytest.LogCaptureFixture
) -> None:
    for pattern in ("prompt-*/manifest", "response-*/segment-*"):
        for path in (copy.data_dir / "index").glob(pattern):
            damage(path, region)
    for path in (copy.data_dir / "index").glob("graph-*"):
        damage(path, region)
    with caplog.at_level(logging.WARNING):
        for refused in (2, 0):
            caplog.clear()
            engine = Engine.open(replace(copy, lazy_model=True))
            try:
                hits = engine.search(Query(text=exchange(5).prompt, k=1)).hits
                assert hits[0].exchange.exchange_id == "e5"
                assert len(graph_of(engine)) == ROWS
                indexes = engine._made_indexes()
                assert {len(index) for index in indexes.fields.values()} == {ROWS}
                assert engine.stats().exchanges == ROWS
                said = caplog.text.count("snapshot_refused")
                graphs = 1 if refused and region != "missing" else 0
                assert engine.stats().snapshots_refused == said == refused + graphs
            finally:
                engine.close()  # writes what was made anew, so that the next start has it


@pytest.mark.parametrize("share", [0.01, 0.4, 0.8, 0.99])
def test_a_torn_snapshot_is_refused(share: float, copy: Config) -> None:
    for path in snapshot_files(copy):
        os.truncate(path, int(share * path.stat().st_size))
    engine = Engine.open(replace(copy, lazy_model=True))
    try:
        assert engine.search(Query(text=exchange(7).prompt, k=1)).hits[0].exchange.exchange_id == "e7"
        assert len(graph_of(engine)) == ROWS
        assert engine.stats().snapshots_refused == 3
    finally:
        engine.close()


def test_the_snapshots_of_a_newer_database_are_not_taken_for_those_of_an_older_one(copy: Config) -> None:
    """As when a database is put back by hand, and the folder `index` is forgotten."""
    (copy.data_dir / "coterie.db").unlink()
    engine = Engine.open(copy)
    try:
        engine.ingest([exchange(number) for number in range(1_000, 1_010)]).result()
        engine.embed_pending(lambda _: None, lambda: False)
        assert engine.search(Query(text=exchange(5).prompt, k=20)).hits[0].exchange.exchange_id != "e5"
        assert engine.stats().snapshots_refused == 2
        assert {len(index) for index in engine._made_indexes().fields.values()} == {10}
    finally:
        engine.close()


# The database itself


@pytest.fixture
def large(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    with open_store(folder) as store:
        store.append([exchange(number) for number in range(4_000)])
        create_backup(store, tmp_path / "backup")
    return folder


PAGES: dict[str, Callable[[Path], None]] = {
    "header": lambda path: overwrite(path, 0, 100),
    "first page": lambda path: overwrite(path, 100, 3_996),
    "pages in the middle": lambda path: overwrite(path, path.stat().st_size // 2 // 4_096 * 4_096, 40 * 4_096),
    "cut in half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "cut in a page": lambda path: os.truncate(path, path.stat().st_size // 2 + 100),
}


def overwrite(path: Path, first: int, size: int) -> None:
    with path.open("r+b") as file:
        file.seek(first)
        file.write(b"\xa5" * size)


@pytest.mark.parametrize("where", PAGES)
def test_a_damaged_database_is_told_with_the_way_out_and_the_way_out_works(
    where: str, large: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COTERIE_MODEL", "hash")
    PAGES[where](large / "coterie.db")
    with pytest.raises(UnavailableError, match=r"restore it from a backup"):
        read_all(large)
    assert main(["--data-dir", str(large), "backup", str(tmp_path / "worse")]) == 1
    assert "restore it from a backup" in capsys.readouterr().err
    assert not (tmp_path / "worse").exists()
    restore_backup(tmp_path / "backup", tmp_path / "new")
    assert read_all(tmp_path / "new") == 4_000


def read_all(folder: Path) -> int:
    with open_store(folder, create=False) as store:
        rows = store.window()
        store.texts(rows.prompt)
        store.texts(rows.response[rows.response >= 0])
        return rows.size


def test_a_damaged_database_that_is_served_is_told_by_every_call_or_ends_the_start(
    large: Path, start: Callable[..., Service]
) -> None:
    """A start that meets the damage itself, in catching the indexes up, ends with the reason; calls hear it alike."""
    overwrite(large / "coterie.db", (large / "coterie.db").stat().st_size // 2 // 4_096 * 4_096, 400 * 4_096)
    service = start()
    told, heard, gone = "is damaged: stop, and restore it from a backup", set(), False
    with Client.connect(service.address, retry=RetryPolicy(attempts=1)) as client:
        for number in range(0, 4_000, 100):
            try:
                client.ingest([exchange(item) for item in range(number, number + 100)])
            except CoterieError as error:
                gone = "connect" in str(error)
                heard.add(str(error))
            if gone:
                break
    if gone:
        deadline = time.monotonic() + 30
        while service.alive and time.monotonic() < deadline:
            time.sleep(0.05)
        assert service.last_words().startswith("exit code 1")
    else:
        assert service.alive
        assert heard
        assert all(told in line for line in heard)
    said = service.last_words()
    assert told in said
    assert "question " not in said, "a log carries no prompt"
