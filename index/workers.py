"""Threads that share a compiled loop over rows."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import torch
from threadpoolctl import threadpool_limits

_ROWS_MIN = 64
"""Rows below which handing over costs more than it saves."""


def share(loop: Callable[..., None], count: int, before: tuple[Any, ...], after: tuple[Any, ...]) -> None:
    """Run `loop(*before, low, high, *after)` over [0, count) in as many parts as there are cores.

    The loop must release the interpreter and write only what belongs to its part. Matrix products in it stay in its
    thread.
    """
    parts = cores() if count >= _ROWS_MIN else 1
    if parts == 1:
        loop(*before, 0, count, *after)
        return
    bounds = [count * part // parts for part in range(parts + 1)]
    waiting = [_pool().submit(loop, *before, bounds[p], bounds[p + 1], *after) for p in range(parts)]
    for part in waiting:
        part.result()


@lru_cache(maxsize=1)
def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores(), thread_name_prefix="coterie-graph", initializer=_stay_alone)


def _stay_alone() -> None:
    """Keep the matrix products of this thread to this thread: there is a part for every core already."""
    # torch sets a thread's number when the thread first asks for it, and would undo what was set before.
    torch.get_num_threads()
    threadpool_limits(1, user_api="openmp")
