"""Threads that share a compiled loop over rows."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

_ROWS_MIN = 64
"""Rows below which handing over costs more than it saves."""


def share(loop: Callable[..., None], count: int, before: tuple[Any, ...], after: tuple[Any, ...]) -> None:
    """Run `loop(*before, low, high, *after)` over [0, count) in as many parts as there are cores.

    The loop must release the interpreter and write only what belongs to its part.
    """
    parts = cores() if count >= _ROWS_MIN else 1
    bounds = [count * part // parts for part in range(parts + 1)]
    waiting = [_pool().submit(loop, *before, bounds[p], bounds[p + 1], *after) for p in range(1, parts)]
    loop(*before, bounds[0], bounds[1], *after)
    for part in waiting:
        part.result()


@lru_cache(maxsize=1)
def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max(1, cores() - 1), thread_name_prefix="coterie-graph")
