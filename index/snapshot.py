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


@contextlib.contextmanager
def open_snapshot(path: Path) -> Iterator[tuple[dict[str, Any], Read]]:
    """Check a snapshot from end to end, then give its header and a reader of its payload.

    Read all of it inside the context: a whole file of another version may say what this one cannot make sense of.

    Raises:
        UnavailableError: missing, truncated, changed, or of another format; build the index anew.
    """
    try:
        with path.open("rb") as file:
            payload_end = _check_digest(file, path)
            header = _read_header(file, path)

            def read(size: int) -> bytes:
                return file.read(max(0, min(size, payload_end - file.tell())))

            yield header, read
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
            return _read_header(file, path)
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


def read_arrays(read: Read, layout: Layout, path: Path) -> dict[str, NDArray[Any]]:
    """Read arrays of these dtypes and shapes, which must be the rest of the payload.

    Raises:
        UnavailableError: the payload is longer or shorter.
    """
    size = sum(np.dtype(dtype).itemsize * math.prod(shape) for dtype, shape in layout.values())
    if size > path.stat().st_size:
        raise damaged(path, "it is shorter than its header says")
    arrays = {name: np.empty(shape, dtype) for name, (dtype, shape) in layout.items()}
    for array in arrays.values():
        octets = array.reshape(-1).view(np.uint8)
        for first in range(0, len(octets), _BLOCK_BYTES):
            part = octets[first : first + _BLOCK_BYTES]
            block = read(len(part))
            if len(block) < len(part):
                raise damaged(path, "it is shorter than its header says")
            part[:] = np.frombuffer(block, np.uint8)
    if read(1):
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


def _check_digest(file: BinaryIO, path: Path) -> int:
    """Where the payload ends, when the file's checksum is right; leaves the file at its start."""
    payload_end = os.fstat(file.fileno()).st_size - _DIGEST_BYTES
    if payload_end < len(_MAGIC) + _LENGTH.size:
        raise damaged(path, "too short")
    digest = hashlib.sha256()
    left = payload_end
    while left:
        block = file.read(min(_BLOCK_BYTES, left))
        if not block:
            raise damaged(path, "it shrank while it was read")
        digest.update(block)
        left -= len(block)
    if file.read() != digest.digest():
        raise damaged(path, "its sha256 does not match")
    file.seek(0)
    return payload_end


def _read_header(file: BinaryIO, path: Path) -> dict[str, Any]:
    magic = file.read(len(_MAGIC))
    if magic != _MAGIC:
        raise damaged(path, "it is of another format")
    (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
    header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise damaged(path, "its header is not an object")
    return header


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
