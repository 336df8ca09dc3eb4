"""Threads that share a loop over rows."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache
from typing import Any

import torch
from threadpoolctl import ThreadpoolController

_ROWS_MIN = 64
"""Rows below which handing over costs more than it saves."""


def share(loop: Callable[..., None], count: int, before: tuple[Any, ...], after: tuple[Any, ...]) -> None:
    """Run `loop(*before, low, high, *after)` over [0, count) in as many parts as there are cores.

    The loop must release the interpreter where it works, write only what belongs to its part, and share nothing out
    itself: all parts wait for one pool. Of many rows each part runs on one core, as far as products of torch go by
    OpenMP (those of eight-bit codes do).
    """
    if count < _ROWS_MIN:
        loop(*before, 0, count, *after)
        return
    parts = cores()
    bounds = [count * part // parts for part in range(parts + 1)]
    waiting = [_pool().submit(loop, *before, bounds[p], bounds[p + 1], *after) for p in range(parts)]
    wait(waiting)  # all of them, so that none still writes when one has failed
    for part in waiting:
        part.result()


@lru_cache(maxsize=1)
def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cores(), thread_name_prefix="coterie-graph", initializer=_keep_to_one_core)


def _keep_to_one_core() -> None:
    """OpenMP's number of threads is each calling thread's own; torch sets it when it is first asked, so ask first."""
    torch.get_num_threads()
    _libraries().limit(limits=1, user_api="openmp")


@lru_cache(maxsize=1)
def _libraries() -> ThreadpoolController:
    return ThreadpoolController()
