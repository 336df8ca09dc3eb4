from dataclasses import replace

import pytest

from coterie.client import AsyncClient, Client, IngestSummary, RetryPolicy
from coterie.client.ingest import Ingest
from coterie.domain import LIMITS, CoterieError, InvalidError, OverloadedError, UnavailableError
from coterie.v1 import ingest_service_pb2


def test_everything_arrives_once_in_batches(use, address, script, exchanges):
    seen: list[IngestSummary] = []
    summary = use(address, lambda client: client.ingest(iter(exchanges(23)), batch=5, on_progress=seen.append))
    assert list(script.stored) == [f"x{number}" for number in range(23)]
    assert script.batch_sizes == [5, 5, 5, 5, 3]
    assert (summary.stored, summary.duplicates, summary.rejected, summary.batches) == (23, 0, 0, 5)
    assert summary.last_sequence == 23
    assert [progress.answered for progress in seen] == [5, 10, 15, 20, 23]
    assert seen[-1] == summary


def test_nothing_to_ingest_is_an_empty_summary(use, address):
    assert use(address, lambda client: client.ingest([])) == IngestSummary()


BREAKS = [UnavailableError("restarting"), OverloadedError("full", retry_after_s=0.0), None]


@pytest.mark.parametrize("store_next", [False, True])
def test_a_broken_stream_is_taken_up_again_where_it_broke(use, address, script, exchanges, store_next, fault):
    script.faults = [fault(answers, error, store_next) for answers, error in zip((2, 0, 3), BREAKS, strict=True)]
    summary = use(address, lambda client: client.ingest(exchanges(50), batch=4))
    assert sorted(script.stored) == sorted(f"x{number}" for number in range(50))
    assert summary.answered == 50
    assert summary.retries == 3
    assert script.streams == 4
    # Stored without an answer, then sent again: known to the server, so counted as duplicates and not stored twice.
    assert summary.duplicates >= (8 if store_next else 0)


def test_only_unanswered_batches_are_sent_again(address, script, exchanges, fault):
    script.faults = [fault(6, UnavailableError("restarting")), fault(1, UnavailableError("restarting"), True)]
    with Client.connect(address) as client:
        summary = client.ingest(exchanges(40), batch=4, in_flight=2)
    assert script.batch_sizes == [4] * 11
    assert (summary.stored, summary.duplicates, summary.retries) == (36, 4, 2)


def test_attempts_without_progress_are_bounded(use, address, script, exchanges, fault):
    script.faults = [fault(0, UnavailableError("restarting")) for _ in range(9)]
    with pytest.raises(UnavailableError, match="restarting"):
        use(address, lambda client: client.ingest(exchanges(3)))
    assert script.streams == 4


def test_a_refusal_ends_it_with_what_was_answered_kept(use, address, script, exchanges, fault):
    refusal = InvalidError("a batch has too many exchanges", field="exchanges")
    script.faults = [fault(1, refusal), fault(0, refusal), fault(0, refusal)]
    with pytest.raises(InvalidError, match="too many exchanges") as caught:
        use(address, lambda client: client.ingest(exchanges(20), batch=5))
    assert caught.value.field == "exchanges"
    assert len(script.stored) == 5


def test_no_server_is_an_error_that_ends(use, tmp_path, exchanges):
    with pytest.raises(UnavailableError):
        use(f"unix:{tmp_path}/nobody", lambda client: client.ingest(exchanges(3)))


def test_rejections_are_counted_and_placed_in_the_callers_order(use, address, script, exchanges):
    sent = exchanges(30)
    sent[3] = replace(sent[3], account_id="")
    sent[11] = replace(sent[11], prompt="half a pair \ud800")
    sent[12] = replace(sent[12], turn=2**40)
    sent[13] = replace(sent[13], prompt="x" * (LIMITS.message_bytes_max + 1))
    sent[29] = replace(sent[29], time_us=1)
    summary = use(address, lambda client: client.ingest(sent, batch=7))
    assert summary.stored == 25 == len(script.stored)
    assert summary.rejected == 5
    assert summary.reasons == {
        "missing_account_id": 1,
        "control_character": 1,
        "bad_number": 1,
        "too_long": 1,
        "bad_time": 1,
    }
    assert sorted(item.index for item in summary.rejections) == [3, 11, 12, 13, 29]
    assert {item.exchange_id for item in summary.rejections} == {f"x{place}" for place in (3, 11, 12, 13, 29)}


def test_the_list_of_rejections_is_bounded_and_the_count_is_not(use, address, exchanges):
    sent = [replace(exchange, account_id="") for exchange in exchanges(20)]
    summary = use(address, lambda client: client.ingest(sent, batch=6, rejections_kept=4))
    assert [item.index for item in summary.rejections] == [0, 1, 2, 3]
    assert summary.reasons == {"missing_account_id": 20}


def test_messages_stay_under_the_byte_limit(use, address, script, exchanges):
    long = exchanges(12, prompt="ä" * 399_000)
    long = [replace(exchange, response=exchange.prompt, system=exchange.prompt) for exchange in long]
    summary = use(address, lambda client: client.ingest(long))
    assert summary.stored == 12
    assert script.batch_sizes == [6, 6]  # 2.4 MB each, 16 MiB a message


def test_no_more_batches_in_flight_than_asked(exchanges):
    state = Ingest(1, 3, 10, RetryPolicy())
    requests = []
    source = iter(exchanges(10))
    while state.has_room:
        batch = state.push(next(source))
        if batch is not None:
            requests.append(state.sending(batch))
    assert [request.batch_number for request in requests] == [1, 2, 3]
    state.accept(ingest_service_pb2.IngestResponse(batch_number=1))
    assert state.has_room


def test_after_a_break_batches_go_one_by_one_until_all_are_answered(exchanges):
    state = Ingest(1, 3, 10, RetryPolicy())
    for exchange in exchanges(4):
        batch = state.push(exchange)
        if batch is not None:
            state.sending(batch)
    state.accept(ingest_service_pb2.IngestResponse(batch_number=1))
    state.failed(UnavailableError("away"))
    for number in (2, 3):
        assert state.has_room
        request = state.again()
        assert request is not None
        assert request.batch_number == number
        assert not state.has_room
        state.accept(ingest_service_pb2.IngestResponse(batch_number=number))
    assert state.again() is None
    assert state.idle
    assert state.has_room


def test_an_answer_to_another_batch_is_a_defect_and_not_counted(exchanges):
    state = Ingest(1, 3, 10, RetryPolicy())
    state.push(exchanges(1)[0])
    last = state.flush()
    assert last is not None
    state.sending(last)
    with pytest.raises(CoterieError, match="answered batch 7"):
        state.accept(ingest_service_pb2.IngestResponse(batch_number=7))
    assert not state.idle


@pytest.mark.parametrize(("batch", "in_flight"), [(0, 1), (LIMITS.batch_exchanges_max + 1, 1), (5, 0)])
def test_sizes_out_of_range_are_refused(use, address, exchanges, batch, in_flight):
    with pytest.raises(InvalidError):
        use(address, lambda client: client.ingest(exchanges(3), batch=batch, in_flight=in_flight))


def test_an_error_of_the_callers_own_iterable_reaches_the_caller(use, address, script, exchanges):
    def source():
        yield from exchanges(7)
        raise RuntimeError("the disk went away")

    with pytest.raises(RuntimeError, match="the disk went away"):
        use(address, lambda client: client.ingest(source(), batch=2))
    assert script.streams <= 1


async def test_async_sources_are_read_too(address, script, exchanges):
    async def source():
        for exchange in exchanges(9):
            yield exchange

    async with AsyncClient.connect(address) as client:
        summary = await client.ingest(source(), batch=2)
    assert summary.stored == 9 == len(script.stored)
