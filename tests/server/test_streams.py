"""Named streams go on where they were durable; overload is refused early, and passes."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coterie.client import Client, IngestSummary, RetryPolicy
from coterie.domain import DeniedError, Exchange, InvalidError, OverloadedError, Role, StreamPart, UnavailableError
from coterie.server import Config, Engine, local_server

QUICK = RetryPolicy(attempts=2, initial_s=0.01)


def test_a_named_stream_goes_on_where_it_was_durable(client: Client, exchange: Callable[..., Exchange]) -> None:
    read: list[int] = []

    def exchanges(count: int) -> Iterator[Exchange]:
        for number in range(count):
            read.append(number)
            yield exchange(number)

    assert client.ingest_position("nightly") == 0
    first = client.ingest(exchanges(250), batch=100, stream_id="nightly")
    assert (first.stored, first.skipped, first.batches) == (250, 0, 3)
    assert client.ingest_position("nightly") == 250
    again = client.ingest(exchanges(300), batch=100, stream_id="nightly")
    assert (again.stored, again.duplicates, again.skipped, again.batches) == (50, 0, 250, 1)
    assert client.ingest_position("nightly") == 300
    assert client.ingest_position("another") == 0
    assert client.stats().exchanges == 300
    with pytest.raises(InvalidError, match="256"):
        client.ingest([], stream_id="n" * 257)


def test_places_of_rejections_are_those_of_the_whole_input(client: Client, exchange: Callable[..., Exchange]) -> None:
    client.ingest([exchange(number) for number in range(10)], stream_id="s")
    bad = [exchange(number) for number in range(14)]
    bad[12] = replace(bad[12], account_id="")
    summary = client.ingest(bad, stream_id="s")
    assert [item.index for item in summary.rejections] == [12]
    assert (summary.stored, client.ingest_position("s")) == (3, 14), "what is refused is not sent again either"


def test_a_stream_is_its_principals_alone(config: Config, exchange: Callable[..., Exchange]) -> None:
    exchanges = [exchange(number) for number in range(20)]
    with local_server(config) as address:
        with Client.connect(address, retry=QUICK) as client:
            client.ingest(exchanges[:5], stream_id="from before")  # the service is open yet: it is nobody's
            admin, _ = client.mint_token("root", [Role.ADMIN])
        with Client.connect(address, token=admin) as client:
            names = ("one", "two", "one")
            one, two, new = (client.mint_token(name, [Role.INGEST])[0] for name in names)
        with Client.connect(address, token=one, retry=QUICK) as client:
            assert client.ingest(exchanges[:10], stream_id="nightly").stored == 5
            assert client.ingest(exchanges[:7], stream_id="from before").skipped == 5
        with Client.connect(address, token=two, retry=QUICK) as client:
            for name in ("nightly", "from before"):
                with pytest.raises(DeniedError, match="another caller's"):
                    client.ingest_position(name)
            calls = client.ingest(exchanges[:10], stream_id="of two")
            assert (calls.stored, client.ingest_position("of two")) == (0, 10)
        with Client.connect(address, token=new, retry=QUICK) as client:
            assert client.ingest_position("nightly") == 10
            assert client.ingest(exchanges[:12], stream_id="nightly").stored == 2
        with Client.connect(address, token=admin, retry=QUICK) as client:
            assert [client.ingest_position(name) for name in ("nightly", "of two", "from before")] == [12, 10, 7]


def test_what_another_sends_under_a_streams_name_is_refused_and_moves_nothing(
    config: Config, engine: Engine, exchange: Callable[..., Exchange]
) -> None:
    def send(principal: str, start: int, stop: int) -> int:
        some = [exchange(number) for number in range(start, stop)]
        return engine.ingest(some, StreamPart("s", start, stop, principal)).result(10).position

    assert send("one", 0, 5) == 5
    assert send("two", 0, 9) == 0, "both began it at one time: the first has it"
    assert send("two", 5, 9) == 0
    assert engine.ingest_position("s", "one") == 5
    assert send("one", 5, 7) == 7
    assert send("", 7, 9) == 9, "whoever has the folder may go on with it"
    with pytest.raises(DeniedError):
        engine.ingest_position("s", "two")
    assert engine.ingest_position("s", "one") == engine.ingest_position("s") == 9


def test_the_first_message_under_anothers_name_ends_the_stream(
    config: Config, exchange: Callable[..., Exchange], monkeypatch: pytest.MonkeyPatch
) -> None:
    with local_server(config) as address:
        with Client.connect(address, retry=QUICK) as client:
            admin, _ = client.mint_token("root", [Role.ADMIN])
        with Client.connect(address, token=admin, retry=QUICK) as client:
            client.ingest([exchange(1)], stream_id="s")
            other, _ = client.mint_token("other", [Role.INGEST])
        with Client.connect(address, token=other, retry=QUICK) as client, monkeypatch.context() as patched:
            patched.setattr(Client, "ingest_position", lambda _, stream_id: 0)  # one that does not ask before
            with pytest.raises(DeniedError, match="another caller's"):
                client.ingest([exchange(2)], stream_id="s")
        with Client.connect(address, token=admin, retry=QUICK) as client:
            assert (client.stats().exchanges, client.ingest_position("s")) == (1, 1)


def test_a_part_behind_a_gap_moves_nothing(engine: Engine, exchange: Callable[..., Exchange]) -> None:
    def send(start: int, stop: int) -> int:
        some = [exchange(number) for number in range(start, stop)]
        return engine.ingest(some, StreamPart("s", start, stop)).result(10).position

    assert send(5, 10) == 0, "exchanges 0 to 5 are missing"
    assert send(0, 5) == 5
    assert send(5, 10) == 10
    assert send(0, 7) == 10, "and it never goes back"
    assert engine.ingest_position("s") == 10
    for start, stop in ((3, 3), (-1, 4)):
        with pytest.raises(InvalidError, match="no part of one"):
            engine.ingest([exchange(1)], StreamPart("s", start, stop))


def test_after_a_kill_nothing_is_lost_and_nothing_sent_twice(
    config: Config, exchange: Callable[..., Exchange], start_server: Callable[..., Any]
) -> None:
    settings = {"data_dir": config.data_dir, "listen": "127.0.0.1:0", "model": "hash", "monolingual": "true"}
    server = start_server(**settings)
    count = 3_000
    answered = threading.Event()

    def kill() -> None:
        assert answered.wait(20)
        server.stop(signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()

    def on_progress(summary: IngestSummary) -> None:
        if summary.batches == 5:
            answered.set()
            time.sleep(0.05)

    with Client.connect(server.address, retry=QUICK) as client, pytest.raises(UnavailableError):
        client.ingest((exchange(n) for n in range(count)), batch=50, stream_id="s", on_progress=on_progress)
    killer.join(20)
    server = start_server(**settings)
    with Client.connect(server.address) as client:
        position = client.ingest_position("s")
        assert position >= 250, "what was answered is durable, and so is where it stood"
        summary = client.ingest((exchange(n) for n in range(count)), batch=50, stream_id="s")
        assert summary.skipped == position
        assert (summary.stored, summary.duplicates) == (count - position, 0)
        assert client.stats().exchanges == count


@pytest.fixture
def stuck(config: Config, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Client, threading.Event]]:
    """A client of a service that takes few tokens, and embeds nothing before the event is set."""
    go = threading.Event()
    encode = "coterie.embedder.hashing.HashEncoder._encode_chunk"
    from coterie.embedder.hashing import HashEncoder

    original = HashEncoder._encode_chunk

    def waiting(self: HashEncoder, texts: Any) -> Any:
        if len(texts) > 8:  # the self-test and queries pass
            assert go.wait(30)
        return original(self, texts)

    monkeypatch.setattr(encode, waiting)
    monkeypatch.setattr("coterie.server.embedding._IDLE_S", 0.05)
    with (
        local_server(replace(config, queued_tokens_max=2_000)) as address,
        Client.connect(address, timeout_s=20, retry=RetryPolicy(attempts=1)) as client,
    ):
        yield client, go
        go.set()


def test_overload_is_refused_at_once_and_passes(
    stuck: tuple[Client, threading.Event], exchange: Callable[..., Exchange], until: Callable[..., None]
) -> None:
    client, go = stuck
    client.search("warm")
    client.ingest([exchange(number, response=f"answer {number} " * 20) for number in range(100)])
    assert client.stats().backlog.tokens > 2_000
    started_s = time.monotonic()
    with pytest.raises(OverloadedError) as refused:
        client.ingest([exchange(number) for number in range(200, 300)])
    assert time.monotonic() - started_s < 5
    assert 0.05 <= refused.value.retry_after_s <= 60
    assert client.stats().exchanges == 100, "nothing of it was stored"
    time.sleep(0.3)
    assert client.stats().backlog.oldest_s > 0.2
    assert client.search("anything", k=1).hits == (), "search answers meanwhile"
    go.set()
    until(lambda: client.stats().pending_texts == 0)
    until(lambda: client.stats().backlog.tokens == 0)
    assert client.stats().backlog.tokens_per_s > 0
    assert client.ingest([exchange(number) for number in range(200, 300)]).stored == 100


def test_the_client_comes_back_by_itself_when_there_is_room(
    stuck: tuple[Client, threading.Event], exchange: Callable[..., Exchange]
) -> None:
    client, go = stuck
    client.ingest([exchange(number, response=f"answer {number} " * 20) for number in range(100)])
    threading.Timer(0.5, go.set).start()
    with Client(client._channel, retry=RetryPolicy(attempts=50, initial_s=0.01, max_s=0.05)) as patient:
        summary = patient.ingest([exchange(number) for number in range(200, 300)])
    assert summary.stored == 100
    assert summary.retries >= 1


def test_memory_stays_bounded_while_much_more_is_sent_than_is_stored(
    config: Config, exchange: Callable[..., Exchange], monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    from coterie.server.admission import Room

    hold = Room._hold

    def watched(self: Room, size: int) -> None:
        hold(self, size)
        held.append(self.taken_bytes)

    monkeypatch.setattr(Room, "_hold", watched)
    limit = 100_000
    with local_server(replace(config, ingest_bytes_in_flight_max=limit)) as address:
        text = "word " * 200
        threads = [
            threading.Thread(
                target=lambda first: Client.connect(address).ingest(
                    [exchange(first + number, response=f"{first + number} {text}") for number in range(400)], batch=20
                ),
                args=(first,),
            )
            for first in (0, 10_000, 20_000, 30_000)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        with Client.connect(address) as client:
            assert client.stats().exchanges == 1_600
    assert len(held) == 80
    assert max(held) <= limit
    assert max(held) > limit / 2, "four clients together do reach the limit"


def test_a_restart_counts_what_waits(config: Config, exchange: Callable[..., Exchange], tmp_path: Path) -> None:
    lazy = Engine.open(replace(config, lazy_model=True))
    lazy.ingest([exchange(number) for number in range(50)]).result(10)
    waiting = lazy.store.backlog()
    lazy.close()
    assert waiting.texts == 50
    assert waiting.tokens > 100
