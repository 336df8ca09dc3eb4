"""Webhooks against a receiver on 127.0.0.1: signed, in order, at least once, and never elsewhere."""

import base64
import hashlib
import hmac
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from coterie.domain import (
    FindingId,
    InvalidError,
    Lineage,
    NotFoundError,
    Review,
    ReviewState,
    Run,
    RunId,
    RunState,
    UnavailableError,
)
from coterie.server import Config, Engine, webhook_delivery
from coterie.server.signals import Signal
from coterie.server.webhook_delivery import DeliveryError, Endpoint, deliver, read_endpoints, signature
from coterie.server.webhooks import Webhooks
from coterie.store import SqliteStore, open_store

SECRET = b"0123456789abcdef0123456789abcdef"


@dataclass
class Receiver:
    """What was received, and how to answer: a status, headers and a wait for each message, the last for the rest."""

    url: str = ""
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str], float]] = field(default_factory=lambda: [(204, {}, 0.0)])

    def answer(self, *answers: tuple[int, dict[str, str], float]) -> None:
        self.answers[:] = answers

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.got]

    def told(self) -> list[tuple[str, str]]:
        bodies = [json.loads(body) for _, body in self.got]
        return [(body["type"], body["data"].get("finding_id", "")) for body in bodies]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    state = Receiver()

    stopped = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            state.got.append(({name.lower(): value for name, value in self.headers.items()}, body))
            status, headers, wait_s = state.answers.pop(0) if len(state.answers) > 1 else state.answers[0]
            stopped.wait(wait_s)
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
            except OSError:
                return  # the sender has given up waiting, which is what the test is about

        def log_message(self, *_: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_port}/hook?key=hidden"
    yield state
    stopped.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def endpoint(receiver: Receiver) -> Endpoint:
    return Endpoint("siem", receiver.url, SECRET, allow_private=True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with open_store(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
def report(store: SqliteStore, script: Any) -> Callable[..., None]:
    """`report(lineage)`: another run that finds the script's two findings so."""
    numbers = iter(range(1, 100))

    def make(lineage: Lineage = Lineage.NEW) -> None:
        number = next(numbers)
        run = Run(RunId(f"r{number}"), RunState.PENDING, number)
        store.create_run(run)
        store.finish_run(
            replace(run, state=RunState.DONE), [replace(item, lineage=lineage) for item in script.findings], []
        )

    return make


def telling(store: SqliteStore, endpoint: Endpoint, **options: Any) -> Webhooks:
    values: dict[str, Any] = {"timeout_s": 5.0, "give_up_s": 600.0, "backoff_first_s": 0.01, **options}
    webhooks = Webhooks(store, [endpoint], Signal(), **values)
    webhooks.start()
    return webhooks


def test_messages_are_signed_and_hold_numbers_and_ids_only(
    store: SqliteStore, report: Callable[..., None], receiver: Receiver, endpoint: Endpoint, until: Callable[..., None]
) -> None:
    webhooks = telling(store, endpoint)
    report()
    store.add_review(Review(FindingId("f-big"), ReviewState.CONFIRMED, "a secret reason", "ana", 1))
    report(Lineage.STEADY)
    report(Lineage.GROWING)
    webhooks.wake()
    until(lambda: len(receiver.got) == 5)
    webhooks.close()
    assert receiver.told() == [
        ("finding.appeared", "f-big"),
        ("finding.appeared", "f-small"),
        ("finding.reviewed", "f-big"),
        ("finding.changed", "f-big"),
        ("finding.changed", "f-small"),
    ]
    assert receiver.ids == ["evt_1", "evt_2", "evt_3", "evt_6", "evt_7"]
    for headers, body in receiver.got:
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        mac = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{mac}"
        assert abs(int(headers["webhook-timestamp"]) - time.time()) < 60
        assert b"a secret reason" not in body
        assert b"e00001" not in body  # nor exemplars
    (state,) = webhooks.states()
    assert (state.cursor, state.delivered, state.dead, state.failures) == (7, 5, 0, 0)
    assert "hidden" not in state.url


def test_the_signature_is_that_of_the_standard() -> None:
    # The example of the Standard Webhooks specification and its libraries.
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    assert signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


def test_what_fails_is_sent_again_under_its_id_and_in_order(
    store: SqliteStore, report: Callable[..., None], receiver: Receiver, endpoint: Endpoint, until: Callable[..., None]
) -> None:
    receiver.answer((500, {}, 0), (302, {"location": "http://127.0.0.1:1/"}, 0), (204, {}, 0))
    webhooks = telling(store, endpoint)
    report()
    webhooks.wake()
    until(lambda: len(receiver.got) == 4)
    webhooks.close()
    assert receiver.ids == ["evt_1", "evt_1", "evt_1", "evt_2"]


def test_an_endpoint_that_says_when_to_come_back_is_left_alone_until_then(
    receiver: Receiver, endpoint: Endpoint
) -> None:
    receiver.answer((429, {"retry-after": "7"}, 0), (503, {"retry-after": formatdate(time.time() + 100)}, 0),
                    (503, {"retry-after": "soon"}, 0))  # fmt: skip
    waits = []
    for _ in range(3):
        with pytest.raises(DeliveryError) as caught:
            deliver(endpoint, "evt_1", b"{}", 5)
        waits.append(caught.value.retry_after_s)
    assert waits[0] == 7
    assert 60 < waits[1] <= 100
    assert waits[2] == 0


def test_a_restart_goes_on_behind_the_last_message_that_was_taken(
    store: SqliteStore, report: Callable[..., None], receiver: Receiver, endpoint: Endpoint, until: Callable[..., None]
) -> None:
    telling(store, endpoint).close()
    report()
    receiver.answer((204, {}, 0), (500, {}, 0), (500, {}, 0))
    first = telling(store, endpoint, backoff_first_s=60.0)
    until(lambda: len(receiver.got) == 2)
    first.close()
    receiver.answer((204, {}, 0))
    second = telling(store, endpoint)
    until(lambda: len(receiver.got) == 3)
    second.close()
    assert receiver.ids == ["evt_1", "evt_2", "evt_2"]


def test_a_service_that_is_killed_loses_no_message_and_repeats_only_what_was_not_answered(
    tmp_path: Path, script: Any, receiver: Receiver, start_server: Callable[..., Any], until: Callable[..., None]
) -> None:
    with open_store(tmp_path / "data") as store:
        store.begin_webhook("siem")
        run = Run(RunId("r1"), RunState.PENDING, 1)
        store.create_run(run)
        store.finish_run(replace(run, state=RunState.DONE), script.findings, [])
    path = endpoints_file(tmp_path, url=receiver.url, allow_private=True)
    settings = {
        "data_dir": tmp_path / "data", "listen": "127.0.0.1:0", "console_listen": "", "model": "hash",
        "lazy_model": True, "monolingual": True, "webhooks_file": path,
    }  # fmt: skip
    receiver.answer((204, {}, 0), (204, {}, 30.0), (204, {}, 0))
    server = start_server(**settings)
    until(lambda: len(receiver.got) == 2)
    server.stop(signal.SIGKILL)
    receiver.answer((204, {}, 0))
    server = start_server(**settings)
    until(lambda: len(receiver.got) == 3)
    server.stop()
    assert receiver.ids == ["evt_1", "evt_2", "evt_2"]


def test_what_fails_too_long_is_put_by_told_and_can_be_replayed(
    store: SqliteStore, report: Callable[..., None], receiver: Receiver, endpoint: Endpoint, until: Callable[..., None]
) -> None:
    receiver.answer((500, {}, 0))
    webhooks = telling(store, endpoint, give_up_s=0.2)
    report()
    webhooks.wake()
    until(lambda: webhooks.states()[0].dead == 2)
    (state,) = webhooks.states()
    assert (state.cursor, state.delivered, state.last_error) == (2, 0, "answered 500")
    assert receiver.ids.count("evt_2") == 1  # it was failing for long enough
    receiver.answer((204, {}, 0))
    receiver.got.clear()
    assert webhooks.replay("siem", None) == 0
    until(lambda: webhooks.states()[0].delivered == 2)
    (state,) = webhooks.states()
    assert (state.dead, state.failures, state.last_error) == (0, 0, "")
    webhooks.replay("siem", 1)
    until(lambda: len(receiver.got) == 3)
    webhooks.close()
    assert receiver.ids == ["evt_1", "evt_2", "evt_2"]
    with pytest.raises(NotFoundError):
        webhooks.replay("nobody", None)


def test_a_receiver_that_answers_late_or_by_drops_is_given_up_at_the_deadline(endpoint: Endpoint) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            peer, _ = server.accept()
            with peer:
                try:
                    while True:
                        peer.sendall(b"HTTP/1.1 200 OK\r\nx: "[:1])
                        time.sleep(0.05)
                except OSError:
                    return  # it was shut off, which is what the test is about

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        slow = replace(endpoint, url=f"http://127.0.0.1:{server.getsockname()[1]}/")
        begun = time.monotonic()
        with pytest.raises(DeliveryError):
            deliver(slow, "evt_1", b"{}", 0.5)
        assert time.monotonic() - begun < 5
        thread.join(10)


def test_a_name_server_that_does_not_answer_holds_up_no_longer_than_the_deadline(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go_on = [], threading.Event()
    known = socket.getaddrinfo

    def slow(host: str, *arguments: Any, **more: Any) -> Any:
        asked.append(host)
        go_on.wait(30)
        return known(host, *arguments, **more)

    monkeypatch.setattr(webhook_delivery.socket, "getaddrinfo", slow)
    begun = time.monotonic()
    for _ in range(3):
        with pytest.raises(DeliveryError, match=r"no connection within 0\.2 s"):
            deliver(endpoint, "evt_1", b"{}", 0.2)
    assert time.monotonic() - begun < 10
    assert len(asked) == 1, "who asks again waits for the same answer: nothing piles up"
    go_on.set()
    deliver(endpoint, "evt_1", b"{}", 10)


def test_a_handshake_that_does_not_end_is_cut_short_at_the_deadline(tmp_path: Path) -> None:
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                connection.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03")  # the beginning of a ServerHello
                while not stop.wait(0.02):  # a record that never is whole: every byte is in time
                    connection.sendall(b"\x00")

        thread = threading.Thread(target=drip)
        thread.start()
        target = Endpoint("drip", f"https://127.0.0.1:{server.getsockname()[1]}/", SECRET, allow_private=True)
        begun = time.monotonic()
        with pytest.raises(DeliveryError, match=r"no answer within 0\.5 s"):
            deliver(target, "evt_1", b"{}", 0.5)
        assert time.monotonic() - begun < 10
        stop.set()
        thread.join()


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.0.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "::1",
        "fd00::1",
        "fe80::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "0.0.0.0",
    ],
)
def test_a_name_that_leads_to_an_address_that_is_not_public_is_refused(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    connected = []
    monkeypatch.setattr(webhook_delivery.socket, "getaddrinfo", lambda *_, **__: [(0, 0, 0, "", (address, 443))])
    monkeypatch.setattr(webhook_delivery.socket, "create_connection", lambda *args: connected.append(args))
    with pytest.raises(DeliveryError, match="not public"):
        deliver(Endpoint("siem", "https://hooks.example/", SECRET), "evt_1", b"{}", 1)
    if address in ("169.254.169.254", "fe80::1", "0.0.0.0"):  # not even where private ones are allowed
        with pytest.raises(DeliveryError, match="not public"):
            deliver(Endpoint("siem", "https://hooks.example/", SECRET, allow_private=True), "evt_1", b"{}", 1)
    assert connected == []


def endpoints_file(folder: Path, **values: Any) -> Path:
    secret = folder / "secret"
    secret.write_text("whsec_" + base64.b64encode(SECRET).decode())
    secret.chmod(0o600)
    item = {"name": "siem", "url": "https://hooks.example/in", "secret_file": "secret", **values}
    path = folder / "webhooks.toml"
    path.write_text("[[endpoint]]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in item.items()))
    return path


def test_endpoints_are_read_from_a_file_with_their_secrets_beside_it(tmp_path: Path) -> None:
    assert read_endpoints(endpoints_file(tmp_path)) == (Endpoint("siem", "https://hooks.example/in", SECRET),)
    (tmp_path / "secret").chmod(0o644)
    with pytest.raises(UnavailableError, match="others may read it"):
        read_endpoints(tmp_path / "webhooks.toml")
    assert SECRET.decode() not in repr(Endpoint("siem", "https://hooks.example/in", SECRET))


@pytest.mark.parametrize(
    "values",
    [
        {"url": "http://hooks.example/"},
        {"url": "http://127.0.0.1:9/"},
        {"url": "http://10.0.0.1/", "allow_private": True},
        {"url": "ftp://hooks.example/"},
        {"url": "https://user:word@hooks.example/"},
        {"url": "https:///path"},
        {"url": "https://hooks.example:99999/"},
        {"name": ""},
        {"name": "a\nb"},
        {"allow_private": "yes"},
        {"colour": "red"},
    ],
)
def test_an_endpoint_that_is_not_safe_or_not_understood_is_refused(tmp_path: Path, values: dict[str, Any]) -> None:
    with pytest.raises(InvalidError):
        read_endpoints(endpoints_file(tmp_path, **values))


def test_the_service_tells_the_endpoints_that_are_configured(
    script: Any, config: Config, tmp_path: Path, receiver: Receiver, until: Callable[..., None], exchange: Any
) -> None:
    path = endpoints_file(tmp_path, url=receiver.url, allow_private=True)
    engine = Engine.open(replace(config, webhooks_file=str(path)))
    try:
        engine.warm_up()
        engine.webhooks.test("siem")
        with pytest.raises(NotFoundError):
            engine.webhooks.test("nobody")
        engine.ingest([exchange(1)]).result()
        engine.start_run(None, None)
        until(lambda: len(receiver.got) == 3)
        receiver.answer((500, {}, 0))
        with pytest.raises(UnavailableError, match="answered 500"):
            engine.webhooks.test("siem")
    finally:
        engine.close()
    assert receiver.told()[:3] == [("ping", ""), ("finding.appeared", "f-big"), ("finding.appeared", "f-small")]
