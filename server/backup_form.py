"""How a backup lies on the disk: its manifest, and its files as a folder or as a compressed archive."""

import gzip
import hashlib
import json
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import zstandard

from coterie.domain import InvalidError, UnavailableError, format_time, parse_time

MANIFEST = "manifest.json"
DATABASE = "coterie.db"

_FORMAT = 1
_NAME = re.compile(r"coterie\.db|schedule-since|index/[\w.-]{1,200}(/[\w.-]{1,200})?", re.ASCII)
_MANIFEST_BYTES_MAX = 16 * 1024 * 1024
_BLOCK_BYTES = 1 << 20
_ZSTD_LEVEL = 3
_DRAINED_BYTES = 65_536
_GZIP_LEVEL = 6
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class File:
    """One file of a backup; `path` is relative and uses slashes."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds.

    Attributes:
        created_us: microseconds since the epoch.
        schema_version: of the database.
        last_sequence: the last durable sequence in it: a client goes on behind it.
        last_erasure: number of the last tombstone in it.
    """

    created_us: int
    coterie: str
    schema_version: int
    exchanges: int
    last_sequence: int
    last_erasure: int
    files: tuple[File, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of all files, uncompressed."""
        return sum(file.size_bytes for file in self.files)

    def encode(self) -> bytes:
        """JSON, with a sha256 over all of it but that."""
        record: dict[str, Any] = {
            "format": _FORMAT,
            "created": format_time(self.created_us),
            "coterie": self.coterie,
            "schema_version": self.schema_version,
            "exchanges": self.exchanges,
            "last_sequence": self.last_sequence,
            "last_erasure": self.last_erasure,
            "files": [{"path": file.path, "bytes": file.size_bytes, "sha256": file.sha256} for file in self.files],
        }
        return json.dumps({**record, "sha256": _digest(record)}, indent=1).encode() + b"\n"

    @classmethod
    def decode(cls, octets: bytes, source: Path) -> "Manifest":
        """Read what `encode` gives.

        Raises:
            UnavailableError: changed, cut short, or of another format.
        """
        try:
            record = json.loads(octets)
            claimed = record.pop("sha256")
            if claimed != _digest(record):
                raise torn(source, "the checksum of its manifest does not match")
            if record["format"] != _FORMAT:
                raise torn(source, f"its format is {record['format']!r}, this coterie reads {_FORMAT}")
            return cls(
                created_us=parse_time(record["created"]),
                coterie=str(record["coterie"]),
                schema_version=_count(record["schema_version"]),
                exchanges=_count(record["exchanges"]),
                last_sequence=_count(record["last_sequence"]),
                last_erasure=_count(record["last_erasure"]),
                files=_files(record["files"], source),
            )
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, InvalidError) as error:
            raise torn(source, "its manifest is not one") from error


def torn(source: Path, what: str) -> UnavailableError:
    """The error for a backup that must not be used."""
    return UnavailableError(f"{source} is not a whole backup ({what}): use another one")


def is_archive(path: Path) -> bool:
    """Whether a backup of this name is an archive, rather than a folder."""
    return path.name.endswith((".tar.zst", ".tar.gz"))


def write_archive(stage: Path, names: Iterable[str], path: Path) -> None:
    """Write files of a folder, in this order, into a compressed archive.

    Raises:
        OSError: it cannot be written.
    """
    with path.open("xb") as file, ExitStack() as stack:
        path.chmod(0o600)
        if path.name.endswith(".gz"):
            packed: Any = stack.enter_context(gzip.GzipFile("", "wb", _GZIP_LEVEL, fileobj=file, mtime=0))
        else:
            made = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True)
            packed = stack.enter_context(made.stream_writer(file, closefd=False))
        with tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for name in names:
                archive.add(stage / name, name, recursive=False, filter=_anonymous)


@contextmanager
def opened(source: Path) -> Iterator[Iterator[tuple[str, IO[bytes]]]]:
    """The files of a backup as `(path, stream)`, the manifest first; each stream lasts until the next is asked for.

    Raises:
        UnavailableError: there is none, or it cannot be read.
    """
    try:
        if source.is_dir():
            yield _of_folder(source)
            return
        with ExitStack() as stack:
            file = stack.enter_context(source.open("rb"))
            yield _of_archive(*stack.enter_context(_unpacked(file, source)))
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, zstandard.ZstdError) as error:
        raise torn(source, "the archive is cut short or damaged") from error
    except FileNotFoundError as error:
        raise torn(source, f"{Path(str(error.filename)).name} is missing") from error
    except OSError as error:
        raise UnavailableError(f"cannot read the backup {source}: {error.strerror or 'it is damaged'}") from error


def read_manifest(files: Iterator[tuple[str, IO[bytes]]], source: Path) -> Manifest:
    """The manifest, which is the first file.

    Raises:
        UnavailableError: it is not, or is damaged.
    """
    name, stream = next(files, ("", None))
    if name != MANIFEST or stream is None:
        raise torn(source, "it does not begin with a manifest")
    return Manifest.decode(stream.read(_MANIFEST_BYTES_MAX), source)


def copy_stream(stream: IO[bytes], target: IO[bytes] | None, size_max: int | None = None) -> tuple[int, str]:
    """Copy to the end, or past `size_max`; the bytes read, and their sha256 in hex. Without a target only that."""
    digest = hashlib.sha256()
    size = 0
    while block := stream.read(_BLOCK_BYTES):
        digest.update(block)
        size += len(block)
        if size_max is not None and size > size_max:
            break
        if target is not None:
            _write(block, target)
    return size, digest.hexdigest()


def _write(block: bytes, target: IO[bytes]) -> None:
    try:
        target.write(block)
    except OSError as error:
        raise UnavailableError(f"cannot write {target.name}: {error.strerror}; nothing was kept") from error


def _digest(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError("not a count")
    return value


def _files(records: Any, source: Path) -> tuple[File, ...]:
    files = tuple(File(str(record["path"]), _count(record["bytes"]), str(record["sha256"])) for record in records)
    paths = [file.path for file in files]
    if DATABASE not in paths or len(set(paths)) < len(paths) or not all(_safe(path) for path in paths):
        raise torn(source, "its manifest names files that a backup does not have")
    return files


def _safe(path: str) -> bool:
    return _NAME.fullmatch(path) is not None and not {".", ".."} & set(path.split("/"))


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def _of_folder(folder: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with (folder / MANIFEST).open("rb") as stream:
        yield MANIFEST, stream
        stream.seek(0)
        manifest = Manifest.decode(stream.read(_MANIFEST_BYTES_MAX), folder)
    for file in manifest.files:
        with (folder / file.path).open("rb") as stream:
            yield file.path, stream


def _of_archive(archive: tarfile.TarFile, packed: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    for entry in archive:
        stream = archive.extractfile(entry) if entry.isreg() else None
        if stream is None:
            raise tarfile.TarError("it holds something that is not a file")
        yield entry.name, stream
    # The tar ends before the file does, whose checksum is behind everything.
    while packed.read(_DRAINED_BYTES):
        pass


@contextmanager
def _unpacked(file: IO[bytes], source: Path) -> Iterator[tuple[tarfile.TarFile, IO[bytes]]]:
    magic = file.read(4)
    file.seek(0)
    if magic == _ZSTD_MAGIC:
        packed: Any = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
    elif magic[:2] == _GZIP_MAGIC:
        packed = gzip.GzipFile(fileobj=file)
    else:
        raise torn(source, "it is neither a folder nor a .tar.zst or .tar.gz")
    with packed, tarfile.open(fileobj=packed, mode="r|") as archive:
        yield archive, packed
