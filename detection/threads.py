"""Both cores at work: what holds no lock of the interpreter (compiled loops, Leiden, products) runs side by side."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from itertools import chain
from typing import TypeVar

from threadpoolctl import ThreadpoolController

_Thing = TypeVar("_Thing")
_Made = TypeVar("_Made")


@contextmanager
def side_by_side(
    make: Callable[[_Thing], _Made], things: Sequence[_Thing], *, at_once: int = 1
) -> Iterator[Iterator[_Made]]:
    """What is made of each thing, in their order, by as many threads as there are cores: begun now, given when done.

    Whoever leaves early leaves without the rest: what has not begun by then never does.

    Args:
        at_once: things that a thread takes before it hands over what it made of them: many where each takes so little
            time that handing over would take as much.
    """
    parts = [things[first : first + at_once] for first in range(0, len(things), at_once)]
    pool = ThreadPoolExecutor(cores(), thread_name_prefix="coterie-detect")
    try:
        yield chain.from_iterable(pool.map(lambda part: [make(thing) for thing in part], parts))
    finally:
        pool.shutdown(cancel_futures=True)


@lru_cache(maxsize=1)
def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def products_on_one_core() -> Iterator[None]:
    """Keep products of matrices from starting threads of their own, which would wait for each other."""
    with _libraries().select(internal_api="openblas", threading_layer="pthreads").limit(limits=1):
        yield


@lru_cache(maxsize=1)
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()
