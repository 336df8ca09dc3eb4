"""Ingest over a real socket: answers in order, refusals told apart, overload, stopping."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import grpc
import pytest

from coterie.client import Client, wire
from coterie.client.channel import Stubs
from coterie.domain import LIMITS, AccountId, Exchange, IngestResult, OverloadedError, Sequence
from coterie.server import Config, Engine, local_server
from coterie.v1 import ingest_service_pb2 as pb


@pytest.fixture
def stubs(address: str) -> Iterator[Stubs]:
    with grpc.insecure_channel(address, options=[("grpc.max_send_message_length", -1)]) as channel:
        yield Stubs.on(channel)


def request(number: int, exchanges: list[Exchange]) -> pb.IngestRequest:
    return pb.IngestRequest(batch_number=number, exchanges=[wire.exchange_to_wire(item) for item in exchanges])


def test_batches_are_answered_in_order(stubs: Stubs, exchange: Callable[..., Exchange]) -> None:
    batches = [[exchange(100 * batch + row) for row in range(100)] for batch in range(30)]
    answers = list(stubs.ingest.Ingest(request(number, batch) for number, batch in enumerate(batches)))
    assert [answer.batch_number for answer in answers] == list(range(30))
    assert [answer.report.stored for answer in answers] == [100] * 30
    sequences = [answer.report.last_sequence for answer in answers]
    assert sequences == sorted(sequences)
    assert sequences[-1] == 3_000


def test_a_bad_exchange_leaves_the_rest_of_its_batch_unharmed(
    client: Client, stubs: Stubs, exchange: Callable[..., Exchange]
) -> None:
    good = [exchange(number) for number in range(8)]
    client.ingest([good[7]])
    batch = [
        good[0],
        replace(good[1], account_id=AccountId("")),
        replace(good[2], time_us=5),
        replace(good[3], prompt="x" * (LIMITS.text_chars_max + 1)),
        good[4],
        replace(good[5], account_id=AccountId("a\x07b")),
        replace(good[6], prompt=" \n "),
        replace(good[7], prompt="something else"),
        good[0],
        replace(good[4], prompt="another text under the same id"),
    ]
    report = stubs.ingest.IngestBatch(
        pb.IngestBatchRequest(exchanges=[wire.exchange_to_wire(item) for item in batch])
    ).report
    assert (report.stored, report.duplicates) == (2, 1)
    assert [(item.index, item.reason) for item in report.rejections] == [
        (1, "missing_account_id"),
        (2, "bad_time"),
        (3, "too_long"),
        (5, "control_character"),
        (6, "empty_prompt"),
        (7, "conflict"),
        (9, "conflict"),
    ]
    assert [item.exchange_id for item in report.rejections] == [
        batch[item.index].exchange_id for item in report.rejections
    ]
    assert client.stats().exchanges == 3


def test_a_batch_of_nothing_but_bad_exchanges_is_answered(stubs: Stubs, exchange: Callable[..., Exchange]) -> None:
    bad = replace(exchange(1), time_us=0)
    (answer,) = stubs.ingest.Ingest(iter([request(3, [bad])]))
    assert answer.batch_number == 3
    assert (answer.report.stored, len(answer.report.rejections)) == (0, 1)


@pytest.mark.parametrize("count", [0, LIMITS.batch_exchanges_max + 1])
def test_a_batch_of_the_wrong_size_ends_the_stream_after_the_answers_before_it(
    stubs: Stubs, exchange: Callable[..., Exchange], count: int
) -> None:
    stream = stubs.ingest.Ingest(
        iter([request(1, [exchange(1)]), request(2, [exchange(number) for number in range(count)])])
    )
    assert next(stream).batch_number == 1
    with pytest.raises(grpc.RpcError) as caught:
        next(stream)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert f"{count} entries, send 1 to 1000" in caught.value.details()


def test_a_message_over_the_limit_is_refused(stubs: Stubs, exchange: Callable[..., Exchange]) -> None:
    long = "x" * (LIMITS.text_chars_max - 1)
    batch = [exchange(number, prompt=long) for number in range(LIMITS.message_bytes_max // len(long) + 2)]
    with pytest.raises(grpc.RpcError) as caught:
        list(stubs.ingest.Ingest(iter([request(1, batch)])))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_overload_is_refused_with_a_delay_and_what_was_queued_is_answered(
    stubs: Stubs, exchange: Callable[..., Exchange], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    ingest = Engine.ingest

    def full_at_the_third(self: Engine, exchanges: Any, part: Any) -> "Future[IngestResult]":
        calls.append(1)
        if len(calls) == 3:
            raise OverloadedError("the queue is full", retry_after_s=0.25)
        return ingest(self, exchanges, part)

    monkeypatch.setattr(Engine, "ingest", full_at_the_third)
    stream = stubs.ingest.Ingest(request(number, [exchange(number)]) for number in range(10))
    assert [next(stream).batch_number, next(stream).batch_number] == [0, 1]
    with pytest.raises(grpc.RpcError) as caught:
        next(stream)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert dict(caught.value.trailing_metadata())["retry-after-ms"] == "250"
    assert len(calls) == 3


def test_a_client_comes_back_after_overload_and_loses_nothing(
    client: Client, exchange: Callable[..., Exchange], monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest = Engine.ingest
    calls: list[int] = []

    def sometimes_full(self: Engine, exchanges: Any, part: Any) -> "Future[IngestResult]":
        calls.append(1)
        if len(calls) % 7 == 3:
            raise OverloadedError("the queue is full", retry_after_s=0.01)
        return ingest(self, exchanges, part)

    monkeypatch.setattr(Engine, "ingest", sometimes_full)
    summary = client.ingest((exchange(number) for number in range(500)), batch=25)
    assert summary.stored + summary.duplicates == 500
    assert client.stats().exchanges == 500
    assert summary.retries > 0


def test_no_more_batches_are_read_than_may_wait(
    config: Config, exchange: Callable[..., Exchange], monkeypatch: pytest.MonkeyPatch, until: Callable[..., None]
) -> None:
    waiting: list[Future[IngestResult]] = []

    def never(self: Engine, exchanges: Any, part: Any) -> "Future[IngestResult]":
        waiting.append(Future())
        return waiting[-1]

    monkeypatch.setattr(Engine, "ingest", never)
    with (
        local_server(replace(config, ingest_batches_in_flight_max=4)) as address,
        grpc.insecure_channel(address) as channel,
    ):
        stream = Stubs.on(channel).ingest.Ingest(request(number, [exchange(number)]) for number in range(40))
        until(lambda: len(waiting) >= 5)
        time.sleep(0.3)
        # Four in the queue, one in the hand that answers, one in the hand that reads.
        assert len(waiting) <= 6
        for number in range(40):
            until(lambda number=number: len(waiting) > number)
            waiting[number].set_result(IngestResult(1, 0, (), Sequence(number)))
            assert next(stream).batch_number == number


def test_stopping_ends_an_open_stream_after_its_answers(config: Config, exchange: Callable[..., Exchange]) -> None:
    with local_server(replace(config, shutdown_grace_s=30)) as address:
        channel = grpc.insecure_channel(address)
        answered: list[int] = []

        def requests() -> Iterator[pb.IngestRequest]:
            yield request(1, [exchange(1)])
            while channel is not None:
                time.sleep(0.05)
                if stop:
                    return

        stop: list[bool] = []
        stream = Stubs.on(channel).ingest.Ingest(requests())
        answered.append(next(stream).batch_number)
        started = time.monotonic()
    assert time.monotonic() - started < 10
    with pytest.raises(grpc.RpcError) as caught:
        next(stream)
    stop.append(True)
    channel.close()
    assert answered == [1]
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "send what it did not answer" in caught.value.details()


def test_a_caller_that_goes_away_stops_neither_the_answer_nor_the_embedding(
    engine: Engine, exchange: Callable[..., Exchange], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored: Future[IngestResult] = Future()
    result_done_at_wake: list[bool] = []
    monkeypatch.setattr(engine.store, "submit", lambda *_: stored)
    result = engine.ingest([exchange(1)])
    monkeypatch.setattr(engine._loop, "wake", lambda: result_done_at_wake.append(result.done()))
    assert not result.cancel()
    stored.set_result(IngestResult(1, 0, (), Sequence(1)))
    assert result.result(0).stored == 1
    assert result_done_at_wake == [False]
