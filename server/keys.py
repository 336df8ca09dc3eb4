"""Key files: 32 random bytes, readable by their owner alone."""

import base64
import binascii
import os
import secrets
import stat
from pathlib import Path

from coterie.domain import ConflictError, UnavailableError

KEY_BYTES = 32

_PREFIX = "coterie-key-1:"
_FILE_BYTES_MAX = 4_096


def new_key_file(path: Path) -> None:
    """Make a key and write it to a new file of mode 0600, synced.

    Raises:
        ConflictError: there is such a file: a key that is overwritten is lost, and what it opened with it.
        UnavailableError: the file cannot be written.
    """
    line = f"{_PREFIX}{base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()}\n"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), 0o600)  # whatever the umask
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise ConflictError(f"{path} is there already: choose another name, a key is never overwritten") from None
    except OSError as error:
        raise UnavailableError(f"the key cannot be written to {path}: {error.strerror}") from error


def read_key_file(path: Path) -> bytes:
    """The 32 bytes of a key file.

    Raises:
        UnavailableError: there is no such file, others may read it, or it holds no key. The message never quotes it.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(_FILE_BYTES_MAX)
    except OSError as error:
        raise UnavailableError(f"the key file {path} cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise UnavailableError(f"the key file {path} has mode {mode:04o}, others may read it: chmod 600 it")
    try:
        line = content.decode("ascii").strip()
        key = base64.b64decode(line.removeprefix(_PREFIX), validate=True) if line.startswith(_PREFIX) else b""
    except (UnicodeDecodeError, binascii.Error):
        key = b""
    if len(key) != KEY_BYTES:
        raise UnavailableError(f"{path} holds no key: make one with `coterie key new FILE`")
    return key
