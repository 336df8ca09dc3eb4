"""One process at a time on a data folder."""

import fcntl
import json
import os
import weakref
from pathlib import Path

from coterie.domain import ConflictError, UnavailableError


class FolderLock:
    """An exclusive `flock` on `data_dir/lock`; the kernel drops it when the process dies, however it dies.

    The file holds JSON `{"pid", "address"}` for whoever finds the folder taken.
    """

    def __init__(self, data_dir: Path) -> None:
        """Take the lock.

        Raises:
            ConflictError: another process, or another store in this one, has it.
            OSError: the file cannot be written.
        """
        self._descriptor = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            message = _taken(data_dir, os.pread(self._descriptor, 4096, 0))
            self._close()
            raise ConflictError(message) from None
        _HELD.add(self)
        self.left_behind = bool(os.pread(self._descriptor, 1, 0))
        """Whether the holder before this one died without giving the folder back."""
        self.write("")

    def write(self, address: str) -> None:
        """Say who holds the folder: this process, serving at `address`, or nowhere when that is empty."""
        if self._descriptor < 0:
            raise UnavailableError("the store is closed: open it again")
        content = json.dumps({"pid": os.getpid(), "address": address}).encode()
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, content, 0)

    def release(self) -> None:
        """Give the folder back; a second call does nothing."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            # Closing alone would leave it locked by a child that was forked and has not dropped its copy yet.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            self._close()

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def forget_in_child(self) -> None:
        """Drop a forked child's copy, which would keep the folder locked after this process died."""
        self._close()


_HELD: weakref.WeakSet[FolderLock] = weakref.WeakSet()


def _forget_all() -> None:
    for lock in list(_HELD):
        lock.forget_in_child()


os.register_at_fork(after_in_child=_forget_all)


def _taken(data_dir: Path, content: bytes) -> str:
    # The holder may be between taking the lock and writing its name.
    try:
        record = json.loads(content)
        pid, address = int(record["pid"]), str(record["address"])
    except (ValueError, KeyError, TypeError):
        return f"the data folder {data_dir} is in use by another process: try again when it has ended"
    if address:
        return (
            f"the data folder {data_dir} is served by process {pid} at {address}: "
            f"use --server {address} instead of --data-dir"
        )
    return f"the data folder {data_dir} is in use by process {pid}: wait for it to end, or stop it"
