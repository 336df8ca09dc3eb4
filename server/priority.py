"""Background threads leave the processor to those that somebody waits for."""

import contextlib
import os
import threading

EMBEDDING_NICE = 3
"""Little: a query that waits for the model waits for this thread's batch."""

INDEXING_NICE = 10
"""Nobody waits for it."""


def yield_processor(nice: int) -> None:
    """Lower the priority of this thread, and of the threads that libraries start for it, where the system can.

    Linux keeps a priority for each thread; elsewhere it would be that of the whole process, so nothing is done.
    """
    if hasattr(os, "sched_getaffinity"):  # Linux
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
