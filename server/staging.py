"""A folder that is filled under another name and given its own in one step, when it is whole and on the disk."""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coterie.domain import ConflictError, UnavailableError

_SUFFIX = ".coterie-partial"


@contextmanager
def staged(destination: Path) -> Iterator[Path]:
    """A private folder beside `destination`, empty at first and gone afterwards, whatever happens in the context.

    What a killed process left beside the destination is cleared up first.

    Raises:
        ConflictError: another process is at work on this destination.
        UnavailableError: it cannot be made.
    """
    stage = destination.with_name(f".{destination.name}{_SUFFIX}")
    try:
        make_private(destination.parent)
        for left in destination.parent.glob(f".*{_SUFFIX}"):
            _clear_up(left)
        stage.mkdir(mode=0o700)
        descriptor = os.open(stage, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileExistsError:
        raise ConflictError(f"{destination} is being written by another process: wait for its end") from None
    except OSError as error:
        raise UnavailableError(f"cannot write beside {destination}: {error.strerror}; choose another place") from error
    try:
        # Held to the end: it tells a folder that is being filled from one that was left by a killed process.
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield stage
    except OSError as error:
        raise UnavailableError(
            f"writing {destination} failed: {error.strerror}; nothing of it was kept, mend that and try again"
        ) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        os.close(descriptor)


def publish(made: Path, destination: Path) -> None:
    """Give what was made its name, once it is on the disk.

    Raises:
        ConflictError: something has that name already.
        OSError: it cannot be synced or renamed.
    """
    sync_tree(made)
    if destination.exists() or destination.is_symlink():
        raise ConflictError(f"{destination} is there already: choose another name")
    os.rename(made, destination)
    _sync(destination.parent, os.O_DIRECTORY)


def publish_into(made: Path, folder: Path, last: str) -> None:
    """Move what is in a folder into an empty one that cannot be replaced itself, such as a mounted volume.

    Args:
        last: the file that makes it whole, moved when the others are there.

    Raises:
        OSError: it cannot be synced or renamed.
    """
    sync_tree(made)
    for path in sorted(made.iterdir(), key=lambda path: path.name == last):
        if path.name == last:
            _sync(folder, os.O_DIRECTORY)
        os.rename(path, folder / path.name)
    _sync(folder, os.O_DIRECTORY)


def is_free(folder: Path) -> bool:
    """Whether nothing is there, or an empty folder; what a killed process left in it does not count."""
    if not folder.exists():
        return not folder.is_symlink()
    return folder.is_dir() and all(path.match(f".*{_SUFFIX}") for path in folder.iterdir())


def make_private(folder: Path) -> None:
    """Make a folder that is its owner's alone, and so each above it that is missing."""
    if not folder.is_dir():
        make_private(folder.parent)  # mkdir gives its mode to the last one only
        folder.mkdir(mode=0o700)


def sync_tree(path: Path) -> None:
    """Wait until a file, or a folder with all that is in it, is on the disk."""
    if not path.is_dir():
        _sync(path, 0)
        return
    for folder, _, names in os.walk(path):
        for name in names:
            _sync(Path(folder) / name, 0)
        _sync(Path(folder), os.O_DIRECTORY)


def _clear_up(left: Path) -> None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        descriptor = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left)
        except BlockingIOError:
            pass  # somebody is filling it
        finally:
            os.close(descriptor)


def _sync(path: Path, kind: int) -> None:
    descriptor = os.open(path, os.O_RDONLY | kind | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
