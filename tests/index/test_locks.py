"""Readers side by side, writers alone, and no writer starves."""

import threading

from coterie.index.locks import ReadWriteLock


def test_readers_hold_it_together():
    lock, both = ReadWriteLock(), threading.Barrier(2, timeout=10)

    def read():
        with lock.read():
            both.wait()

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert not both.broken


def test_a_writer_waits_for_readers_and_goes_before_later_ones():
    lock, order = ReadWriteLock(), []

    def write():
        with lock.write():
            order.append("write")

    def read():
        with lock.read():
            order.append("read")

    with lock.read():
        writer = threading.Thread(target=write)
        writer.start()
        while not lock._writers_waiting:
            pass
        reader = threading.Thread(target=read)
        reader.start()
        reader.join(timeout=0.1)
        assert order == []
    writer.join(timeout=10)
    reader.join(timeout=10)
    assert order == ["write", "read"]


def test_it_is_free_after_an_error():
    lock = ReadWriteLock()
    for hold in (lock.read, lock.write):
        try:
            with hold():
                raise ValueError
        except ValueError:
            pass
    with lock.write():
        assert lock._writing
    assert not lock._writing
