"""Looking around: maps keep neighbours together, listings hold everything once, twins are those who ask alike."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coterie.client import Client
from coterie.domain import (
    AccountId,
    Exchange,
    FamilyId,
    FamilyLabels,
    InvalidError,
    MapState,
    NotFoundError,
    RunId,
    TextField,
    TextId,
)
from coterie.server import Engine
from coterie.server.layout import layout
from coterie.server.maps import Maps
from coterie.server.twins import NEIGHBOURS

Make = Callable[..., Exchange]
WORDS = ("harbour log", "parish council", "stew of the day", "lemma of trees")


def prompt(topic: int, number: int) -> str:
    return f"Tell me more about the {WORDS[topic]} in case {number} of {number * 7}"


@pytest.fixture
def asked(engine: Engine, exchange: Make) -> list[Exchange]:
    """Two accounts share the first topic out, four others have a topic of their own or two."""
    made: list[Exchange] = []

    def ask(account: str, topic: int, numbers: Sequence[int]) -> None:
        for number in numbers:
            made.append(exchange(len(made), account=account, prompt=prompt(topic, number)))

    ask("one", 0, range(0, 40, 2))
    ask("other", 0, range(1, 40, 2))
    ask("cook", 2, range(20))
    ask("council", 1, range(20))
    ask("reader", 3, range(10))
    ask("reader", 1, range(20, 30))
    engine.ingest(made).result()
    engine.embed_pending(lambda _: None, lambda: False)
    return made


def follow(engine: Engine) -> None:
    engine._made_indexes().follow()


# Exchanges


def test_pages_of_an_account_hold_each_of_its_exchanges_once_newest_first(
    engine: Engine, asked: list[Exchange]
) -> None:
    wanted = [item.exchange_id for item in reversed(asked) if item.account_id == "reader"]
    found: list[str] = []
    before: tuple[int, int] | None = None
    while page := engine.exchanges(AccountId("reader"), None, before, 7):
        found += [item.exchange_id for _, item in page]
        before = (page[-1][1].time_us, page[-1][0])
    assert found == wanted


def test_exchanges_of_one_moment_are_paged_too(engine: Engine, exchange: Make) -> None:
    same = [exchange(number, account="busy", prompt="the same", time_us=1_767_225_600_000_000) for number in range(9)]
    engine.ingest(same).result()
    first = engine.exchanges(AccountId("busy"), None, None, 5)
    rest = engine.exchanges(AccountId("busy"), None, (first[-1][1].time_us, first[-1][0]), 5)
    assert {item.exchange_id for _, item in first + rest} == {item.exchange_id for item in same}
    assert len(first + rest) == 9


def test_a_text_is_found_with_everybody_who_asked_it(client: Client, exchange: Make) -> None:
    both = [exchange(0, account="a", prompt="What is  rye?"), exchange(1, account="b", prompt="What is  rye?")]
    client.ingest([*both, exchange(2, account="c", prompt="What is wheat?")])
    found = [client.list_exchanges(text_id=number) for number in range(1, 4)]
    assert sorted(sorted(item.account_id for item in some) for some in found) == [[], ["a", "b"], ["c"]]


def test_a_listing_needs_one_account_or_text(client: Client) -> None:
    with pytest.raises(InvalidError, match="exactly one"):
        client.list_exchanges()
    with pytest.raises(InvalidError, match="exactly one"):
        client.list_exchanges("a", text_id=1)
    assert client.list_exchanges("nobody") == []


def test_the_client_pages_through_an_account(client: Client, exchange: Make) -> None:
    client.ingest([exchange(number, account="a") for number in range(5)])
    first, token = client.exchanges_page("a", size=3)
    rest, end = client.exchanges_page("a", size=3, page_token=token)
    assert [item.exchange_id for item in first + rest] == [f"e{number:05}" for number in (4, 3, 2, 1, 0)]
    assert end == ""


# Twins


def test_the_twin_is_who_shares_the_topic(engine: Engine, asked: list[Exchange]) -> None:
    follow(engine)
    found = engine.twins(AccountId("one"), 10)
    assert found.prompts == 20
    twin = found.twins[0]
    assert twin.account_id == "other"
    assert twin.near_prompts == 20
    assert twin.expected_prompts < 20
    assert 0.5 < twin.similarity <= 1.0
    assert AccountId("one") not in {item.account_id for item in found.twins}


def test_chance_is_that_of_so_many_draws(engine: Engine, asked: list[Exchange]) -> None:
    follow(engine)
    twin = engine.twins(AccountId("one"), 1).twins[0]
    texts = len({item.prompt for item in asked})
    assert twin.expected_prompts == pytest.approx(20 * (1 - (1 - 20 / texts) ** NEIGHBOURS))


def test_an_account_that_is_not_there_has_no_twins(engine: Engine, asked: list[Exchange]) -> None:
    with pytest.raises(NotFoundError):
        engine.twins(AccountId("nobody"), 10)


def test_the_number_of_twins_is_bounded(client: Client, exchange: Make) -> None:
    client.ingest([exchange(number) for number in range(20)])
    with pytest.raises(InvalidError, match="between 1 and 100"):
        client.list_twins("account-1", limit=101)


# Maps


@pytest.mark.parametrize("count", [1, 2, 5, 59])
def test_few_texts_have_a_place_too(count: int) -> None:
    vectors = np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    positions = layout(vectors)
    assert positions.shape == (count, 2)
    assert positions.dtype == np.float32
    assert np.abs(positions).max(initial=0.0) <= 1.0


def test_equal_texts_have_a_place() -> None:
    vectors = np.tile(np.array([[0.6, 0.8]], np.float32), (40, 1))
    assert np.isfinite(layout(vectors)).all()


def families_of(vectors: np.ndarray[Any, Any]) -> float:
    """Share of points whose nearest point is of the same of three groups, which follow each other."""
    group = np.arange(len(vectors)) * 3 // len(vectors)
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return float((group[distances.argmin(axis=1)] == group).mean())


def test_a_process_of_its_own_lays_out_what_is_alike_together(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    centres = np.repeat(random.normal(size=(3, 32)), 60, axis=0)
    np.save(tmp_path / "in.npy", (centres + 0.8 * random.normal(size=centres.shape)).astype(np.float16))
    paths = [str(tmp_path / "in.npy"), str(tmp_path / "out.npy")]
    subprocess.run([sys.executable, "-m", "coterie.server.layout", *paths], check=True, timeout=300)
    positions = np.load(tmp_path / "out.npy")
    assert positions.shape == (180, 2)
    assert families_of(positions) > 0.95
    shuffled = random.permutation(positions)
    assert families_of(shuffled) < 0.6


class Drawing:
    """Stands in for the process that lays out."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.go = threading.Event()
        self.go.set()
        self.sources: list[np.ndarray[Any, Any]] = []
        self.error: Exception | None = None
        monkeypatch.setattr(Maps, "_run", lambda _, source, target: self(source, target))

    def __call__(self, source: Path, target: Path) -> None:
        vectors = np.load(source)
        self.sources.append(vectors)
        assert self.go.wait(20)
        if self.error is not None:
            raise self.error
        np.save(target, np.linspace(-1, 1, 2 * len(vectors), dtype=np.float32).reshape(-1, 2))


@pytest.fixture
def drawing(monkeypatch: pytest.MonkeyPatch) -> Drawing:
    return Drawing(monkeypatch)


def labels_of(engine: Engine) -> FamilyLabels:
    text_ids = engine.store.text_ids(TextField.PROMPT)
    text_ids = np.sort(text_ids)
    count = len(text_ids)
    return FamilyLabels(
        text_ids=text_ids,
        family=(np.arange(count) % 3 - 1).astype(np.int32),
        core_distance=np.zeros(count, np.float32),
        exchanges=np.ones(count, np.int32),
        family_ids=(FamilyId("family-1"), FamilyId("family-2")),
        gate_distance=np.zeros(2, np.float32),
        run_id=RunId("r-1"),
    )


def drawn(maps: Maps, until: Callable[..., None]) -> None:
    until(lambda: maps.get().state is not MapState.MAKING)


def test_a_map_is_drawn_once_and_kept(
    engine: Engine, asked: list[Exchange], drawing: Drawing, until: Callable[..., None]
) -> None:
    labels = labels_of(engine)
    maps = Maps(engine.store, lambda: labels)
    drawing.go.clear()
    assert maps.get().state is MapState.MAKING
    drawing.go.set()
    drawn(maps, until)
    found = maps.get()
    assert found.text_ids.tolist() == labels.text_ids.tolist()
    assert found.family.tolist() == labels.family.tolist()
    assert found.positions.shape == (len(labels.text_ids), 2)
    assert np.allclose(drawing.sources[0], engine.store.vectors(labels.text_ids), atol=1e-3)
    again = Maps(engine.store, lambda: labels)
    assert again.get().state is MapState.READY
    assert len(drawing.sources) == 1
    assert not list((engine.store.data_dir / "map").glob("*vectors*"))


def test_another_run_is_drawn_anew(
    engine: Engine, asked: list[Exchange], drawing: Drawing, until: Callable[..., None]
) -> None:
    labels = labels_of(engine)
    maps = Maps(engine.store, lambda: labels)
    drawn(maps, until)
    labels = labels.without(labels.text_ids[:1])
    drawn(maps, until)
    assert maps.get().text_ids.tolist() == labels.text_ids.tolist()
    assert len(list((engine.store.data_dir / "map").iterdir())) == 1


def test_erasing_gives_up_what_is_being_drawn_and_leaves_no_file(
    engine: Engine, asked: list[Exchange], drawing: Drawing, until: Callable[..., None]
) -> None:
    labels = labels_of(engine)
    maps = Maps(engine.store, lambda: labels)
    drawing.go.clear()
    maps.get()
    until(lambda: bool(drawing.sources))
    maps.forget()
    drawing.go.set()
    until(lambda: not any(thread.name == "coterie-map" for thread in threading.enumerate()))
    assert list((engine.store.data_dir / "map").iterdir()) == []
    drawn(maps, until)
    assert maps.get().state is MapState.READY


def test_a_map_that_cannot_be_drawn_says_so_once_and_is_tried_again(
    engine: Engine, asked: list[Exchange], drawing: Drawing, until: Callable[..., None]
) -> None:
    labels = labels_of(engine)
    maps = Maps(engine.store, lambda: labels)
    drawing.error = ValueError("a text that nobody may read")
    maps.get()
    until(lambda: not any(thread.name == "coterie-map" for thread in threading.enumerate()))
    failed = maps.get()
    assert failed.state is MapState.FAILED
    assert "nobody may read" not in failed.error
    drawing.error = None
    drawn(maps, until)
    assert maps.get().state is MapState.READY


def test_where_there_are_too_many_the_texts_of_findings_are_all_drawn(
    engine: Engine, asked: list[Exchange], drawing: Drawing, monkeypatch: pytest.MonkeyPatch, until: Callable[..., None]
) -> None:
    labels = labels_of(engine)

    class Found:
        finding_id = "f-1"
        text_ids = tuple(TextId(int(number)) for number in labels.text_ids[5:15])

    monkeypatch.setattr(engine.store, "findings", lambda: ("r-1", [Found]))
    maps = Maps(engine.store, lambda: labels, texts_max=30)
    drawn(maps, until)
    found = maps.get()
    assert len(found.text_ids) == 30
    assert found.texts == len(labels.text_ids)
    assert set(Found.text_ids) <= set(found.text_ids.tolist())
    assert (found.finding >= 0).sum() == 10
    assert (np.diff(found.text_ids) > 0).all()


def test_without_a_run_there_is_no_map(client: Client) -> None:
    assert client.map().state is MapState.NONE


def test_a_map_comes_whole_over_the_wire(
    config: Any, exchange: Make, drawing: Drawing, client: Client, until: Callable[..., None]
) -> None:
    client.ingest([exchange(number) for number in range(60)])
    run = client.start_run()
    for _ in client.watch_run(run.run_id):
        pass
    deadline = time.monotonic() + 60
    while (found := client.map()).state is MapState.MAKING:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert found.state is MapState.READY
    assert found.run_id == run.run_id
    assert len(found.text_ids) == found.texts == 60
    assert found.positions.shape == (60, 2)
    assert found.positions[0].tolist() == [-1.0, pytest.approx(-1 + 2 / 119)]
    assert set(found.family.tolist()) <= set(range(-1, len(found.family_ids)))
