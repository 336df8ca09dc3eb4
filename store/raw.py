"""The bytes of files that SQLite has open in this process.

POSIX locks belong to a process and a file: to close any descriptor of a file drops the locks that SQLite holds on it
through another. The next program that opens the database then takes itself for the only one, and on its way out removes
the log and cuts the shared memory short under this process, which dies of SIGBUS or damages the database
(https://www.sqlite.org/howtocorrupt.html, 2.2). So what is opened here stays open until SQLite has let go.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_KEPT: dict[Path, list[int]] = {}
_ONE = threading.Lock()


@contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """A file of an open database from its beginning, one reader at a time; its descriptor outlives the context.

    Raises:
        FileNotFoundError: it is not there.
    """
    with _ONE, open(_descriptor(path), "rb", closefd=False) as file:
        file.seek(0)
        yield file


def let_go(folder: Path) -> None:
    """Close what was read in a folder, after every connection to its database is closed."""
    with _ONE:
        for path in [path for path in _KEPT if path.parent == folder]:
            for descriptor in _KEPT.pop(path):
                os.close(descriptor)


def _descriptor(path: Path) -> int:
    kept = _KEPT.setdefault(path, [])
    there = path.stat()
    for descriptor in kept:
        if os.path.samestat(os.fstat(descriptor), there):
            return descriptor
    kept.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
    return kept[-1]
