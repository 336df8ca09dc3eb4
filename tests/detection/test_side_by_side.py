"""Work on all cores comes back in order, and stops when its reader does."""

import threading
from time import sleep

import pytest

from coterie.detection.threads import cores, side_by_side


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_results_come_in_the_order_of_what_they_are_made_of(at_once: int) -> None:
    def late(number: int) -> int:
        sleep(0.001 * (number % 3))
        return number

    with side_by_side(late, range(20), at_once=at_once) as made:
        assert list(made) == list(range(20))


def test_what_goes_wrong_is_raised_where_it_is_read() -> None:
    with side_by_side(lambda number: 1 // number, [1, 0, 1]) as made:
        assert next(made) == 1
        with pytest.raises(ZeroDivisionError):
            next(made)


def test_a_reader_that_leaves_early_leaves_no_work_behind() -> None:
    begun = []
    go = threading.Event()

    def wait(number: int) -> None:
        begun.append(number)
        go.wait(10)

    with side_by_side(wait, range(50)):
        go.set()
    before = len(begun)
    assert before < 50 or cores() >= 50
    sleep(0.01)
    assert len(begun) == before
