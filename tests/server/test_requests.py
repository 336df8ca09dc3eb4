"""A request's id: the caller's where it is sane, told in every answer, error and log line of the call."""

import json
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from hypothesis import given
from hypothesis import strategies as st

from coterie.client import Client, RetryPolicy
from coterie.client.channel import Stubs
from coterie.domain import CoterieError, Exchange, NotFoundError
from coterie.server import Engine
from coterie.server.logs import logging_to_stderr
from coterie.server.requests import sane_request_id
from coterie.v1 import admin_service_pb2, finding_service_pb2, ingest_service_pb2, run_service_pb2

KEY = "x-request-id"


@pytest.fixture
def stubs(address: str) -> Iterator[Stubs]:
    with grpc.insecure_channel(address) as channel:
        yield Stubs.on(channel)


def trailing(call: Any) -> dict[str, Any]:
    return dict(call.trailing_metadata() or ())


@given(st.text(max_size=80) | st.binary(max_size=80) | st.none())
def test_an_id_is_the_callers_or_a_plain_one(value: str | bytes | None) -> None:
    made = sane_request_id(value)
    assert 1 <= len(made) <= 64
    assert made.isascii()
    assert made.isprintable()
    assert not set(made) & set(" \"'\\{}<>")
    assert made == value or (len(made) == 16 and int(made, 16) >= 0)


def test_common_ids_are_taken_over() -> None:
    for value in (
        "9f1c2b7e-0f0d-4b6e-9d43-0d5a1f8f3c11",
        "01J8ZQ4T",
        "Root=1-67891233-abcdef012345678912345678",
        "a/b:c",
    ):
        assert sane_request_id(value) == value


def test_an_answer_returns_the_id_given_or_makes_one(stubs: Stubs) -> None:
    _, call = stubs.admin.GetStats.with_call(admin_service_pb2.GetStatsRequest(), metadata=[(KEY, "mine-1")])
    assert trailing(call)[KEY] == "mine-1"
    _, call = stubs.admin.GetStats.with_call(admin_service_pb2.GetStatsRequest(), metadata=[(KEY, "not sane " * 20)])
    made = trailing(call)[KEY]
    assert len(made) == 16
    _, call = stubs.admin.GetStats.with_call(admin_service_pb2.GetStatsRequest())
    assert trailing(call)[KEY] not in ("", made)


def test_a_stream_returns_it_too(stubs: Stubs, exchange: Callable[..., Exchange]) -> None:
    stream = stubs.ingest.Ingest(iter([ingest_service_pb2.IngestRequest(batch_number=1)]), metadata=[(KEY, "s-1")])
    with pytest.raises(grpc.RpcError):  # an empty batch is invalid
        list(stream)
    assert trailing(stream)[KEY] == "s-1"
    quiet = stubs.ingest.Ingest(iter([]), metadata=[(KEY, "s-2")])
    assert list(quiet) == []
    assert trailing(quiet)[KEY] == "s-2"


def test_an_error_names_its_request_in_every_form(stubs: Stubs, address: str) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stubs.finding.GetFinding(finding_service_pb2.GetFindingRequest(finding_id="f-no"), metadata=[(KEY, "r-9")])
    assert trailing(caught.value)[KEY] == "r-9"
    status = rpc_status.from_call(caught.value)
    infos = [error_details_pb2.RequestInfo() for detail in status.details if detail.Is(_DESCRIPTOR)]
    assert len(infos) == 1
    unpacked = error_details_pb2.RequestInfo()
    assert next(detail for detail in status.details if detail.Is(_DESCRIPTOR)).Unpack(unpacked)
    assert unpacked.request_id == "r-9"
    with Client.connect(address) as client, pytest.raises(NotFoundError) as known:
        client.get_finding("f-no")
    assert len(known.value.request_id) == 16


def logged_until(capsys: pytest.CaptureFixture[str], done: Callable[[str], bool]) -> str:
    """What is logged until something is there: the answer may overtake the line about it."""
    text = ""
    deadline = time.monotonic() + 20
    while not done(text):
        assert time.monotonic() < deadline, text
        text += capsys.readouterr().err
        time.sleep(0.01)
    return text


_DESCRIPTOR = error_details_pb2.RequestInfo.DESCRIPTOR


def test_an_incident_is_the_request(
    stubs: Stubs, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: Engine, run_id: str) -> Any:
        logging.getLogger("coterie.test").warning("on a worker")
        raise RuntimeError("secret prompt")

    monkeypatch.setattr(Engine, "run", broken)
    with logging_to_stderr("info"):
        with pytest.raises(grpc.RpcError) as caught:
            stubs.run.GetRun(run_service_pb2.GetRunRequest(run_id="x"), metadata=[(KEY, "r-5")])
        assert caught.value.code() is grpc.StatusCode.INTERNAL
        assert "incident r-5" in caught.value.details()
        text = logged_until(capsys, lambda text: '"event": "rpc"' in text)
    lines = [json.loads(line) for line in text.splitlines()]
    events = {line["event"] for line in lines if line.get("request_id") == "r-5"}
    assert {"on a worker", "unexpected_error", "rpc"} <= events
    assert "secret prompt" not in text


def test_two_calls_at_a_time_keep_their_ids_apart(
    address: str, exchange: Callable[..., Exchange], capsys: pytest.CaptureFixture[str]
) -> None:
    with logging_to_stderr("info"), grpc.insecure_channel(address) as channel:
        stats = Stubs.on(channel).admin.GetStats
        waiting = [
            stats.future(admin_service_pb2.GetStatsRequest(), metadata=[(KEY, f"r-{number}")]) for number in range(20)
        ]
        for number, call in enumerate(waiting):
            call.result()
            assert trailing(call)[KEY] == f"r-{number}"
        text = logged_until(capsys, lambda text: text.count('"event": "rpc"') == len(waiting))
    lines = [json.loads(line) for line in text.splitlines()]
    logged = [line["request_id"] for line in lines if line["event"] == "rpc"]
    assert sorted(logged) == sorted(f"r-{number}" for number in range(20))


def test_an_error_of_no_server_names_no_request() -> None:
    with (
        Client.connect("127.0.0.1:1", retry=RetryPolicy(attempts=1)) as client,
        pytest.raises(CoterieError) as caught,
    ):
        client.stats()
    assert caught.value.request_id == ""
