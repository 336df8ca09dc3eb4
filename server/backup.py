"""Backups: taken while the service serves, checked from end to end, and put back into a new data folder.

A backup is a folder or an archive with a manifest, the database as of one commit, and the snapshots of indexes and
graphs that were on the disk just before; a start replays what those lack, or builds anew what is not there.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import IO

from coterie.domain import Backup, ConflictError, UnavailableError
from coterie.server.backup_form import (
    DATABASE,
    MANIFEST,
    File,
    Manifest,
    copy_stream,
    is_archive,
    opened,
    read_manifest,
    torn,
    write_archive,
)
from coterie.server.logs import emit
from coterie.server.staging import is_free, make_private, publish, publish_into, staged
from coterie.store import Store, check_database

_LOGGER = logging.getLogger(__name__)
_OTHER_FILES = ("schedule-since",)
_SNAPSHOT_TRIES = 10
_DATABASE_SHARE = 0.8  # of the work, for progress

Progress = Callable[[float], None]


def create_backup(store: Store, destination: Path, progress: Progress = lambda _: None) -> Backup:
    """Write a backup of a store that is open, while it is read and written; returns when it is whole and on the disk.

    Args:
        destination: a name that is not taken; one that ends in .tar.zst or .tar.gz makes an archive.
        progress: told the finished share; may raise to stop.

    Raises:
        ConflictError: the destination is there, or another process is writing it.
        UnavailableError: it cannot be written, or the database is damaged; nothing is left behind.
    """
    if destination.exists() or destination.is_symlink():
        raise ConflictError(f"{destination} is there already: choose another name")
    started = time.perf_counter()
    with staged(destination) as stage:
        # Before the database: a snapshot that lacks something is caught up, one that is ahead would be wrong.
        files = _copy_snapshots(store.data_dir, stage)
        created_us = time.time_ns() // 1_000  # before the copy: what was acknowledged until now is in it
        store.copy_to(stage / DATABASE, lambda share: progress(share * _DATABASE_SHARE))
        (stage / DATABASE).chmod(0o600)
        facts = check_database(stage / DATABASE)
        files = _without_erased(stage, files, facts.last_erasure)
        files += [_copied_small(store.data_dir / name, stage) for name in _OTHER_FILES if _is_file(store, name)]
        manifest = Manifest(
            created_us=created_us,
            coterie=version("coterie"),
            schema_version=facts.schema_version,
            exchanges=facts.exchanges,
            last_sequence=facts.last_sequence,
            last_erasure=facts.last_erasure,
            files=(_described(stage, DATABASE), *files),
        )
        (stage / MANIFEST).write_bytes(manifest.encode())
        (stage / MANIFEST).chmod(0o600)
        progress(_DATABASE_SHARE)
        publish(_packed(stage, manifest, destination), destination)
    progress(1.0)
    backup = _backup(destination, manifest)
    emit(
        _LOGGER,
        logging.INFO,
        "backup_written",
        path=destination,
        files=backup.files,
        bytes=backup.size_bytes,
        last_sequence=backup.last_sequence,
        s=round(time.perf_counter() - started, 2),
    )
    return backup


def verify_backup(source: Path, progress: Progress = lambda _: None) -> Backup:
    """Check every byte of a backup against its manifest.

    Raises:
        UnavailableError: it is not whole.
    """
    with opened(source) as files:
        manifest = read_manifest(files, source)
        for _ in _checked(files, manifest, source, progress):
            pass
    return _backup(source, manifest)


def restore_backup(source: Path, data_dir: Path, progress: Progress = lambda _: None) -> Backup:
    """Make a data folder of a backup, once all of it is checked.

    Args:
        data_dir: a folder that is empty, or not there.

    Raises:
        ConflictError: the folder holds something.
        UnavailableError: the backup is not whole or from a newer version, or the folder cannot be written; nothing is
            left behind.
    """
    if not is_free(data_dir):
        raise ConflictError(f"{data_dir} is not empty: restore into a new folder, then start the service on that")
    # An empty folder may be a mounted volume, which nothing can be renamed to.
    inside = data_dir.exists()
    with staged(data_dir / "restored" if inside else data_dir) as stage:
        folder = stage / "data"
        folder.mkdir(mode=0o700)
        with opened(source) as files:
            manifest = read_manifest(files, source)
            _write_checked(files, manifest, source, folder, progress)
        facts = check_database(folder / DATABASE)
        if (facts.schema_version, facts.last_sequence) != (manifest.schema_version, manifest.last_sequence):
            raise torn(source, "its database is not the one its manifest tells of")
        if inside:
            publish_into(folder, data_dir, last=DATABASE)
        else:
            publish(folder, data_dir)
    emit(_LOGGER, logging.INFO, "backup_restored", source=source, data_dir=data_dir, exchanges=manifest.exchanges)
    return _backup(source, manifest)


def _write_checked(
    files: Iterator[tuple[str, IO[bytes]]], manifest: Manifest, source: Path, folder: Path, progress: Progress
) -> None:
    @contextmanager
    def target(name: str) -> Iterator[IO[bytes]]:
        path = folder / name
        make_private(path.parent)
        with path.open("xb") as stream:
            path.chmod(0o600)
            yield stream

    for _ in _checked(files, manifest, source, progress, target):
        pass


def _checked(
    files: Iterator[tuple[str, IO[bytes]]],
    manifest: Manifest,
    source: Path,
    progress: Progress,
    target: Callable[[str], AbstractContextManager[IO[bytes]]] | None = None,
) -> Iterator[File]:
    """Each file, after it was read, found right and written to its target."""
    wanted = {file.path: file for file in manifest.files}
    done = 0
    for name, stream in files:
        file = wanted.pop(name, None)
        if file is None:
            raise torn(source, "it holds a file that its manifest does not name, or one twice")
        with ExitStack() as stack:
            written = None if target is None else stack.enter_context(target(name))
            found = copy_stream(stream, written, size_max=file.size_bytes)
        if found != (file.size_bytes, file.sha256):
            raise torn(source, f"{file.path} has another size or checksum than its manifest says")
        done += file.size_bytes
        progress(done / max(1, manifest.size_bytes))
        yield file
    if wanted:
        raise torn(source, f"{min(wanted)} is missing")


def _copy_snapshots(data_dir: Path, stage: Path) -> list[File]:
    """Copy the snapshots on the disk as they are; each is whole, or was refused before and is refused again."""
    copied = []
    for name, stream in _open_snapshots(data_dir / "index"):
        with stream:
            copied.append(_copied(stream, f"index/{name}", stage))
    return copied


def _open_snapshots(folder: Path) -> list[tuple[str, IO[bytes]]]:
    """The files of every snapshot, opened: what a save replaces meanwhile can still be read to its end."""
    found = []
    for path in sorted(folder.glob("graph-*.coterie")):
        found += _open_files([path], folder)
    for path in sorted(folder.glob("*/manifest")):
        found += _open_segments(path.parent, folder)
    return found


def _open_segments(snapshot: Path, folder: Path) -> list[tuple[str, IO[bytes]]]:
    from coterie.index import snapshot_files

    for _ in range(_SNAPSHOT_TRIES):
        try:
            names = snapshot_files(snapshot)
        except UnavailableError as error:
            emit(_LOGGER, logging.WARNING, "snapshot_not_backed_up", path=snapshot, reason=error)
            return []
        files = _open_files(names, folder)
        if len(files) == len(names) and _same_manifest(snapshot, names):
            return files
        for _, stream in files:
            stream.close()
    emit(
        _LOGGER,
        logging.WARNING,
        "snapshot_not_backed_up",
        path=snapshot,
        reason="it is saved too often, or lacks a file",
    )
    return []


def _same_manifest(snapshot: Path, names: list[Path]) -> bool:
    """Whether the manifest that was opened last is of the segments that were opened before it."""
    from coterie.index import snapshot_files

    try:
        return snapshot_files(snapshot) == names
    except UnavailableError:
        return False


def _open_files(paths: list[Path], folder: Path) -> list[tuple[str, IO[bytes]]]:
    files: list[tuple[str, IO[bytes]]] = []
    for path in paths:
        try:
            files.append((path.relative_to(folder).as_posix(), path.open("rb")))
        except FileNotFoundError:  # replaced by a save between two looks
            break
    return files


def _without_erased(stage: Path, files: list[File], last_erasure: int) -> list[File]:
    """The snapshots without those that may hold vectors of what the database has already forgotten."""
    from coterie.index import snapshot_header

    stale = set()
    for file in files:
        name = Path(file.path).name
        if name == "manifest" or name.startswith("graph-"):
            header = snapshot_header(stage / file.path)
            if int(header.get("last_erasure", -1)) < last_erasure:
                stale.add(file.path.removesuffix("/manifest"))
    kept = []
    for file in files:
        if file.path in stale or file.path.rpartition("/")[0] in stale:
            (stage / file.path).unlink()
        else:
            kept.append(file)
    return kept


def _packed(stage: Path, manifest: Manifest, destination: Path) -> Path:
    """What gets the destination's name: the archive, or the folder as a whole."""
    if is_archive(destination):
        path = stage / destination.name
        write_archive(stage, [MANIFEST, *(file.path for file in manifest.files)], path)
        return path
    folder = stage / "backup"
    folder.mkdir(mode=0o700)
    for path in list(stage.iterdir()):
        if path != folder:
            path.rename(folder / path.name)
    return folder


def _copied(stream: IO[bytes], name: str, stage: Path) -> File:
    path = stage / name
    make_private(path.parent)
    with path.open("xb") as target:
        path.chmod(0o600)
        return File(name, *copy_stream(stream, target))


def _copied_small(path: Path, stage: Path) -> File:
    with path.open("rb") as stream:
        return _copied(stream, path.name, stage)


def _described(stage: Path, name: str) -> File:
    with (stage / name).open("rb") as stream:
        return File(name, *copy_stream(stream, None))


def _is_file(store: Store, name: str) -> bool:
    return (store.data_dir / name).is_file()


def _backup(path: Path, manifest: Manifest) -> Backup:
    return Backup(
        path=str(path),
        created_us=manifest.created_us,
        schema_version=manifest.schema_version,
        exchanges=manifest.exchanges,
        last_sequence=manifest.last_sequence,
        files=len(manifest.files),
        size_bytes=manifest.size_bytes,
    )
