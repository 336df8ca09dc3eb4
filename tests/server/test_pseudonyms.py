"""Names never reach the disk where a key is configured, and everything else is as it was."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coterie.client import Client
from coterie.domain import ConflictError, Exchange, NotFoundError, RunState, SearchFilter, Slice, UnavailableError
from coterie.server import Config, Engine, local_server
from coterie.server.keys import new_key_file
from coterie.server.pseudonyms import Pseudonyms
from coterie.simulation import Config as Traffic
from coterie.simulation import simulate

KEY = bytes(range(32))
NAMES = ("canary-account", "canary-organisation", "canary-card")


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    new_key_file(tmp_path / "key")
    return tmp_path / "key"


@pytest.fixture
def hashing(config: Config, key_file: Path) -> Config:
    return replace(config, pseudonym_key_file=str(key_file))


def named(exchange: Callable[..., Exchange], number: int, account: str = NAMES[0]) -> Exchange:
    labels = {"organisation": NAMES[1], "payment": NAMES[2], "asn": "AS64500", "tier": "free"}
    return exchange(number, account=account, attributes=labels)


def test_a_name_has_one_pseudonym_under_a_key_and_another_as_something_else() -> None:
    names, others = Pseudonyms(KEY), Pseudonyms(bytes(32))
    once = names.account("ann")
    assert once == names.account("ann")
    assert once.startswith("acct-")
    assert len({once, names.account("Ann"), others.account("ann")}) == 3
    labels = names.attributes({"organisation": "ann", "payment": "ann", "asn": "AS1", "client": "ann", "x": "ann"})
    assert {labels[name] for name in ("asn", "client", "x")} == {"AS1", "ann"}
    assert labels["organisation"].startswith("org-")
    assert labels["payment"].startswith("pay-")
    assert len({once[5:], labels["organisation"][4:], labels["payment"][4:]}) == 3
    assert names.attributes({"organisation": ""}) == {"organisation": ""}
    assert names.account(once) == once  # what an answer names can be asked by
    assert names.attributes(labels) == labels
    assert Pseudonyms(None).account("ann") == "ann"


def test_an_account_that_calls_itself_a_pseudonym_is_hashed_like_every_other(exchange: Any) -> None:
    names = Pseudonyms(KEY)
    claimed = names.account("somebody else")
    assert names.exchange(exchange(1, account=claimed)).account_id != claimed


def test_no_name_reaches_the_disk_and_every_question_takes_the_name(
    hashing: Config, exchange: Any, caplog: pytest.LogCaptureFixture, until: Callable[..., None]
) -> None:
    caplog.set_level("DEBUG")
    with local_server(hashing) as address, Client.connect(address, timeout_s=60) as client:
        client.ingest([named(exchange, number) for number in range(5)] + [exchange(50)])
        report = client.get_account(NAMES[0])
        assert report.exchanges_total == 5
        pseudonym = report.standing.account_id
        assert client.get_account(pseudonym).exchanges_total == 5
        until(lambda: len(client.search("tides", k=50).hits) == 6)  # what is ingested is embedded a moment later
        for wanted in (
            SearchFilter(accounts=(NAMES[0],)),  # type: ignore[arg-type]
            SearchFilter(attributes={"organisation": NAMES[1]}),
            SearchFilter(attributes={"payment": NAMES[2], "asn": "AS64500"}),
        ):
            hits = client.search("tides", k=50, filter=wanted).hits
            assert {hit.exchange.account_id for hit in hits} == {pseudonym}
            assert len(hits) == 5
        assert client.search("tides", filter=SearchFilter(accounts=("nobody",))).hits == ()  # type: ignore[arg-type]
        files = [path for path in hashing.data_dir.rglob("*") if path.is_file()]
        assert not [(path, name) for path in files for name in NAMES if name.encode() in path.read_bytes()]
        assert client.erase_account(NAMES[0]).exchanges == 5
        with pytest.raises(NotFoundError):
            client.get_account(NAMES[0])
    assert not [name for name in NAMES if name in caplog.text]


def test_a_folder_keeps_to_what_it_began_with(config: Config, hashing: Config, tmp_path: Path, exchange: Any) -> None:
    new_key_file(tmp_path / "other")
    other = replace(hashing, pseudonym_key_file=str(tmp_path / "other"))
    for first in (config, other, hashing):  # nobody is stored yet: the last one counts
        Engine.open(first).close()
    engine = Engine.open(hashing)
    engine.ingest([exchange(1)]).result()
    engine.close()
    Engine.open(hashing).close()
    with pytest.raises(ConflictError, match="is not the key that this data folder began with"):
        Engine.open(other)
    with pytest.raises(ConflictError, match="name the key file"):
        Engine.open(config)
    clear = replace(config, data_dir=tmp_path / "clear")
    engine = Engine.open(clear)
    engine.ingest([exchange(1)]).result()
    engine.close()
    with pytest.raises(ConflictError, match="new folder"):
        Engine.open(replace(hashing, data_dir=clear.data_dir))
    with pytest.raises(UnavailableError, match="cannot be read"):
        Engine.open(replace(hashing, pseudonym_key_file=str(tmp_path / "gone")))
    Engine.open(clear).close()


def test_a_run_on_a_slice_takes_names(
    hashing: Config, exchange: Any, finished: Callable[..., Any], script: Any
) -> None:
    engine = Engine.open(hashing)
    try:
        engine.ingest([named(exchange, 1)]).result()
        run = engine.start_run(None, None, part=Slice(accounts=(NAMES[0],), attributes={"organisation": NAMES[1]}))  # type: ignore[arg-type]
        part = finished(engine, run.run_id).slice
        assert part.accounts == (engine.known_as(NAMES[0]),)
        assert part.attributes["organisation"].startswith("org-")
    finally:
        engine.close()


def test_detection_finds_the_same_under_other_names(
    config: Config, hashing: Config, tmp_path: Path, finished: Callable[..., Any]
) -> None:
    traffic = simulate(Traffic(accounts=90, seed=3, responses=0.1, campaigns=2))
    found = []
    for number, settings in enumerate((config, hashing)):
        engine = Engine.open(replace(settings, data_dir=tmp_path / f"store-{number}", recall_sample=0))
        try:
            engine.ingest(traffic.events[:1_000]).result()
            for first in range(1_000, len(traffic.events), 1_000):
                engine.ingest(traffic.events[first : first + 1_000]).result()
            run = finished(engine, engine.start_run(None, None).run_id)
            assert run.state is RunState.DONE
            findings = engine.findings()[1]
            found.append([(item.kind, sorted(a.account_id for a in item.accounts)) for item in findings])
            if settings is config:
                expected = found[0]
            else:
                expected = [(kind, sorted(engine.known_as(name) for name in names)) for kind, names in found[0]]
        finally:
            engine.close()
    assert len(found[0]) > 0
    assert sorted(found[1]) == sorted(expected)
