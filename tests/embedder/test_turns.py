"""Urgent waiters go first."""

import threading
import time

from coterie.embedder.turns import Turns


def test_an_urgent_waiter_goes_before_those_that_wait_longer():
    turns = Turns()
    order = []
    waiting = threading.Semaphore(0)

    def take(name, *, urgent):
        waiting.release()
        with turns.turn(urgent=urgent):
            order.append(name)

    bulk = [threading.Thread(target=take, args=(f"bulk-{number}",), kwargs={"urgent": False}) for number in range(3)]
    query = threading.Thread(target=take, args=("query",), kwargs={"urgent": True})
    with turns.turn(urgent=False):
        for thread in (*bulk, query):
            thread.start()
            waiting.acquire()
            time.sleep(0.05)
    for thread in (*bulk, query):
        thread.join(10)
    assert order[0] == "query"
    assert len(order) == 4


def test_the_time_waited_is_told():
    turns = Turns()
    with turns.turn(urgent=False) as alone_ns:
        told = []
        thread = threading.Thread(target=lambda: told.append(_waited(turns)))
        thread.start()
        time.sleep(0.2)
    thread.join(10)
    assert alone_ns < 50_000_000
    assert told[0] >= 100_000_000


def _waited(turns):
    with turns.turn(urgent=True) as waited_ns:
        return waited_ns
