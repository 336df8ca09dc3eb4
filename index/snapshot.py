"""One file that is either whole or refused: magic, header, payload, and a sha256 over all of it.

A flipped bit in a FAISS file loads without a word, hence the checksum. It stands in the file itself, so that one
rename replaces both: with a second file a crash between two renames would condemn a good snapshot.
"""

import contextlib
import hashlib
import json
import math
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from coterie.domain import UnavailableError

_MAGIC = b"coterie\x01"
_LENGTH = struct.Struct("<I")
_HEADER_BYTES_MAX = 65_536
_DIGEST_BYTES = hashlib.sha256().digest_size
_BLOCK_BYTES = 1 << 20

_SENSELESS = (LookupError, TypeError, ValueError, ArithmeticError, RecursionError, struct.error)
"""What reading raises where a header or a list is not what it should be."""

Write = Callable[[bytes], int]
Read = Callable[[int], bytes]
Layout = dict[str, tuple[DTypeLike, tuple[int, ...]]]
"""Arrays by name: dtype and shape, in the order in which they are written."""


def write_snapshot(path: Path, header: dict[str, Any], write_payload: Callable[[Write], None]) -> None:
    """Replace the file at `path` in one step; a crash leaves the old one.

    Raises:
        UnavailableError: the file cannot be written; the old one is still there.
    """
    # One fixed name: what a killed process left behind is overwritten by the next one.
    temporary = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb", opener=_private) as file:
            _write_hashed(file, header, write_payload)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _fsync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):  # why it cannot be written is what counts
            temporary.unlink(missing_ok=True)
        raise UnavailableError(f"index snapshot {path} cannot be written: {error}") from error


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class Payload:
    """What a snapshot holds after its header: read once and checked on the way. Only its end tells that it is whole.

    Raises:
        UnavailableError: the file is too short to be a snapshot.
    """

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self._left = os.fstat(file.fileno()).st_size - _DIGEST_BYTES
        self._digest = hashlib.sha256()
        self._whole = False
        if self._left < len(_MAGIC) + _LENGTH.size:
            raise damaged(path, "too short")

    def read(self, size: int) -> bytes:
        """The next bytes; fewer at the end.

        Raises:
            UnavailableError: the end is reached, and the checksum of all that was read is wrong.
        """
        block = self._file.read(max(0, min(size, self._left)))
        self._take(block)
        if len(block) < size:
            self._check()
        return block

    def fill(self, array: NDArray[Any]) -> None:
        """Read an array's bytes into it.

        Raises:
            UnavailableError: there are not as many.
        """
        octets = array.reshape(-1).view(np.uint8)
        for first in range(0, len(octets), _BLOCK_BYTES):
            block = octets[first : first + _BLOCK_BYTES].data
            if len(block) > self._left or self._file.readinto(block) < len(block):  # type: ignore[attr-defined]
                raise damaged(self._path, "it is shorter than its header says")
            self._take(block)

    def finish(self) -> None:
        """Read what is left, so that all of it is checked."""
        while self.read(_BLOCK_BYTES):
            pass

    def _take(self, block: bytes | memoryview) -> None:
        self._digest.update(block)
        self._left -= len(block)

    def _check(self) -> None:
        if not self._whole:
            if self._left:
                raise damaged(self._path, "it shrank while it was read")
            if self._file.read() != self._digest.digest():
                raise damaged(self._path, "its sha256 does not match")
            self._whole = True


@contextlib.contextmanager
def open_snapshot(path: Path) -> Iterator[tuple[dict[str, Any], Payload]]:
    """Give the header and the payload of a snapshot, which is read once and is known to be whole at its end.

    Read all of it inside the context, and make use of nothing before: what is not read is read and checked at the end.

    Raises:
        UnavailableError: missing, truncated, changed, or of another format; build the index anew.
    """
    try:
        with path.open("rb") as file:
            payload = Payload(file, path)
            yield _read_header(payload.read, path), payload
            payload.finish()
    except OSError as error:
        raise UnavailableError(f"index snapshot {path} cannot be read: {error}") from error
    except _SENSELESS as error:
        raise damaged(path, f"what it says of itself makes no sense: {type(error).__name__}") from error


def snapshot_digest(path: Path) -> str:
    """The sha256 that a snapshot ends with, in hex; `open_snapshot` says whether it is right.

    Raises:
        UnavailableError: missing or unreadable.
    """
    try:
        with path.open("rb") as file:
            file.seek(-min(_DIGEST_BYTES, os.fstat(file.fileno()).st_size), os.SEEK_END)
            return file.read().hex()
    except OSError as error:
        raise UnavailableError(f"index snapshot {path} cannot be read: {error}") from error


def snapshot_header(path: Path) -> dict[str, Any]:
    """The header of a snapshot, without checking what follows it.

    Raises:
        UnavailableError: missing, unreadable, or of another format.
    """
    try:
        with path.open("rb") as file:
            return _read_header(file.read, path)
    except OSError as error:
        raise UnavailableError(f"index snapshot {path} cannot be read: {error}") from error
    except _SENSELESS as error:
        raise damaged(path, f"what it says of itself makes no sense: {type(error).__name__}") from error


def write_arrays(write: Write, arrays: Iterable[NDArray[Any]]) -> None:
    """Write the bytes of arrays, one after another."""
    for array in arrays:
        octets = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        for first in range(0, len(octets), _BLOCK_BYTES):
            write(octets[first : first + _BLOCK_BYTES].tobytes())


def read_arrays(payload: Payload, layout: Layout, path: Path) -> dict[str, NDArray[Any]]:
    """Read arrays of these dtypes and shapes, which must be the rest of the payload; with that it is checked.

    Raises:
        UnavailableError: the payload is longer or shorter, or not whole.
    """
    size = sum(np.dtype(dtype).itemsize * math.prod(shape) for dtype, shape in layout.values())
    if size > path.stat().st_size:
        raise damaged(path, "it is shorter than its header says")
    arrays = {name: np.empty(shape, dtype) for name, (dtype, shape) in layout.items()}
    for array in arrays.values():
        payload.fill(array)
    if payload.read(1):
        raise damaged(path, "it is longer than its header says")
    return arrays


def damaged(path: Path, what: str) -> UnavailableError:
    """The error for a snapshot that must not be used."""
    return UnavailableError(
        f"index snapshot {path} is damaged ({what}): delete it, the index is built anew from the store"
    )


def _write_hashed(file: BinaryIO, header: dict[str, Any], write_payload: Callable[[Write], None]) -> None:
    digest = hashlib.sha256()

    def write(block: bytes) -> int:
        digest.update(block)
        return file.write(block)

    encoded = json.dumps(header, sort_keys=True).encode()
    assert len(encoded) <= _HEADER_BYTES_MAX, "the header is a handful of numbers"
    write(_MAGIC + _LENGTH.pack(len(encoded)) + encoded)
    write_payload(write)
    file.write(digest.digest())


def _read_header(read: Read, path: Path) -> dict[str, Any]:
    magic = read(len(_MAGIC))
    if magic != _MAGIC:
        raise damaged(path, "it is of another format")
    (length,) = _LENGTH.unpack(read(_LENGTH.size))
    if length > _HEADER_BYTES_MAX:
        raise damaged(path, "its header is too long")
    header = json.loads(read(length))
    if not isinstance(header, dict):
        raise damaged(path, "its header is not an object")
    return header


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
