"""What one caller may take: by the clock, and over a real socket."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.client import Client, RetryPolicy
from coterie.client.channel import Stubs
from coterie.domain import LIMITS, Caller, Credential, Exchange, OverloadedError, Role
from coterie.server import Config, local_server
from coterie.server.access import EVERYBODY
from coterie.server.allowances import Allowances
from coterie.v1 import ingest_service_pb2, run_service_pb2

ANN = Caller("ann", frozenset({Role.ANALYST}), Credential.TOKEN, "0a")
BOB = Caller("bob", frozenset({Role.ANALYST}), Credential.CERTIFICATE)
IMPATIENT = RetryPolicy(attempts=1)


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@given(
    rate=st.floats(0.1, 1_000),
    gaps=st.lists(st.floats(0, 10), min_size=1, max_size=200),
)
def test_never_more_than_a_second_saved_up_and_the_rate_over_any_time(rate: float, gaps: list[float]) -> None:
    clock = Clock()
    allowances = Allowances(1, rate, now_s=clock)
    passed = 0
    for gap in gaps:
        clock.now_s += gap
        with contextlib.suppress(OverloadedError):
            allowances.take(ANN)
            passed += 1
    assert 1 <= passed <= max(1.0, rate) + clock.now_s * rate + 1e-6


def test_after_the_delay_that_was_told_a_call_passes() -> None:
    clock = Clock()
    allowances = Allowances(1, 2.0, now_s=clock)
    for _ in range(2):
        allowances.take(ANN)
    with pytest.raises(OverloadedError, match="more than 2 calls a second") as caught:
        allowances.take(ANN)
    allowances.take(BOB)  # each has its own
    clock.now_s += caught.value.retry_after_s + 1e-9
    allowances.take(ANN)


def test_who_is_not_known_by_name_is_not_counted() -> None:
    allowances = Allowances(1, 1.0)
    with ExitStack() as stack:
        for _ in range(5):
            allowances.take(EVERYBODY)
            stack.enter_context(allowances.stream(EVERYBODY))


def test_streams_are_given_back() -> None:
    allowances = Allowances(2, 0)
    for _ in range(3):
        with (
            allowances.stream(ANN),
            allowances.stream(ANN),
            allowances.stream(BOB),
            pytest.raises(OverloadedError, match="ann has 2 streams open"),
            allowances.stream(ANN),
        ):
            pass
    assert allowances._streams == {}


@pytest.fixture
def served(config: Config, script: Any) -> Iterator[tuple[str, str]]:
    """An address and a token."""
    with local_server(replace(config, caller_streams_max=2), as_owner=False) as address:
        with Client.connect(address, retry=IMPATIENT) as client:
            secret, _ = client.mint_token("root", [Role.ADMIN])
        yield address, secret


def test_the_stream_too_many_is_refused_early_and_the_next_is_served(
    served: tuple[str, str], script: Any, exchange: Callable[..., Exchange]
) -> None:
    address, secret = served
    script.go.clear()
    with grpc.insecure_channel(address) as channel, Client.connect(address, token=secret, retry=IMPATIENT) as client:
        stubs = Stubs.on(channel, secret)
        client.ingest([exchange(1)])
        run_id = client.start_run().run_id
        request = run_service_pb2.WatchRunRequest(run_id=run_id)
        watches = [stubs.run.WatchRun(request) for _ in range(2)]
        for watch in watches:
            next(watch)
        with pytest.raises(grpc.RpcError) as caught:
            next(stubs.run.WatchRun(request))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert ("retry-after-ms", "5000") in caught.value.trailing_metadata()
        client.stats()  # calls that are no streams go on
        script.go.set()
        for watch in watches:
            list(watch)
        next(stubs.run.WatchRun(request))


def test_too_many_calls_a_second_are_refused_with_a_delay(config: Config) -> None:
    settings = replace(config, caller_calls_per_s=0.5)
    with local_server(settings, as_owner=False) as address, Client.connect(address, retry=IMPATIENT) as anybody:
        secret, _ = anybody.mint_token("root", [Role.ADMIN])
        with Client.connect(address, token=secret, retry=IMPATIENT) as client:
            client.who_am_i()
            with pytest.raises(OverloadedError) as caught:
                client.who_am_i()
    assert 0 < caught.value.retry_after_s <= 2.0


def test_a_message_over_the_limit_is_refused_before_it_is_read(
    served: tuple[str, str], exchange: Callable[..., Exchange]
) -> None:
    address, secret = served
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(address, options=options) as channel:
        request = ingest_service_pb2.IngestBatchRequest()
        request.exchanges.add(prompt="x" * (LIMITS.message_bytes_max + 1))
        with pytest.raises(grpc.RpcError) as caught:
            Stubs.on(channel, secret).ingest.IngestBatch(request, timeout=10)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in caught.value.details()
