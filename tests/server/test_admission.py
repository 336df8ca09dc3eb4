"""What cannot be taken soon is refused at once, with a delay that comes from what was measured."""

import asyncio

import pytest

from coterie.domain import Backlog, OverloadedError
from coterie.server.admission import EmbeddingQueue, Rate, Room


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_rate_is_what_was_done_in_a_second_and_what_is_old_counts_for_little() -> None:
    rate = Rate()
    assert rate.delay_s(10) == 1.0, "nothing is known yet"
    rate.done(1_000, 2.0)
    assert rate.per_s == pytest.approx(500)
    for _ in range(20):
        rate.done(100, 5.0)
    assert rate.per_s == pytest.approx(20, rel=0.05)
    assert rate.delay_s(40) == pytest.approx(2.0, rel=0.05)
    assert rate.delay_s(1e9) == 60.0
    assert rate.delay_s(0) == 0.05


def test_a_full_queue_refuses_with_the_time_it_takes_to_make_room() -> None:
    clock = Clock()
    queue = EmbeddingQueue(1_000, clock)
    queue.check(5_000)  # an empty queue takes anything, or it could never be sent
    queue.arrived(50, 900)
    queue.check(100)
    with pytest.raises(OverloadedError) as refused:
        queue.check(101)
    assert refused.value.retry_after_s == 1.0, "no rate is known yet"
    queue.embedded(10, 200, seconds=2.0)  # 100 tokens a second
    with pytest.raises(OverloadedError) as refused:
        queue.check(800)
    assert refused.value.retry_after_s == pytest.approx(5.0)
    assert refused.value.reason == "embedding_queue"
    queue.check(300)


def test_the_oldest_that_waits_is_told() -> None:
    clock = Clock()
    queue = EmbeddingQueue(1_000, clock)
    queue.counted(Backlog(3, 30))
    clock.now_s += 10
    queue.arrived(5, 50)
    clock.now_s += 2
    assert queue.state() == Backlog(8, 80, 12.0, 0.0)
    queue.embedded(3, 30, 1.0)
    assert queue.state() == Backlog(5, 50, 2.0, 30.0)
    queue.embedded(6, 70, 1.0)  # more than was counted: never below nothing
    assert (queue.state().texts, queue.state().oldest_s) == (0, 0.0)
    queue.arrived(1, 7)
    queue.emptied()
    assert queue.state().tokens == 0


async def test_room_is_bounded_and_waiters_go_in_their_order() -> None:
    clock = Clock()
    room = Room(100, clock)
    room.take(150)  # larger than all of it, but alone
    with pytest.raises(OverloadedError) as refused:
        room.take(10)
    assert refused.value.reason == "write_queue"
    order: list[int] = []

    async def wait(size: int) -> None:
        await room.wait(size)
        order.append(size)

    tasks = [asyncio.create_task(wait(size)) for size in (60, 50, 30)]
    await asyncio.sleep(0)
    gone = asyncio.create_task(room.wait(20))
    await asyncio.sleep(0)
    clock.now_s += 1.5
    room.give(150, durable=True)
    await asyncio.sleep(0)
    assert order == [60], "the small one does not slip in before the one that waits longer"
    with pytest.raises(OverloadedError) as refused:
        room.take(1)
    assert refused.value.retry_after_s == pytest.approx((60 + 50 + 30 + 20 + 1 - 100) / 100)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    room.give(60, durable=True)
    await asyncio.gather(*tasks)
    assert order == [60, 50, 30]
    assert room.taken_bytes == 80
    for size in (50, 30):
        room.give(size, durable=False)
    assert room.taken_bytes == 0
    room.take(100)


async def test_whoever_is_cancelled_as_he_is_let_in_gives_his_room_back() -> None:
    room = Room(10)
    room.take(10)
    waiter = asyncio.create_task(room.wait(5))
    await asyncio.sleep(0)
    room.give(10, durable=True)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    assert room.taken_bytes == 0
