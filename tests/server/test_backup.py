"""A backup is whole or refused, taken while the service works, and comes back as the folder it was taken of."""

import gzip
import io
import json
import shutil
import sqlite3
import tarfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from coterie.client import Client
from coterie.domain import AccountId, ConflictError, Exchange, InvalidError, UnavailableError
from coterie.server import Config, Engine, local_server
from coterie.server.backup import create_backup, restore_backup, verify_backup
from coterie.server.backup_form import MANIFEST, Manifest
from coterie.server.cli import main
from coterie.server.search import Query
from coterie.store import migrations, open_store

Make = Callable[..., Exchange]
FORMS = ("backup", "backup.tar.zst", "backup.tar.gz")


@pytest.fixture
def filled(config: Config, exchange: Make) -> Iterator[Engine]:
    engine = Engine.open(config)
    try:
        engine.warm_up()
        engine.ingest([exchange(number, response=f"answer {number}") for number in range(60)]).result()
        engine.embed_pending(lambda _: None, lambda: False)
        indexes = engine._made_indexes()
        indexes.follow()
        indexes.save()
        yield engine
    finally:
        engine.close()


@pytest.fixture(params=FORMS)
def backup(request: pytest.FixtureRequest, filled: Engine, tmp_path: Path) -> Path:
    path = tmp_path / "backups" / str(request.param)
    create_backup(filled.store, path)
    return path


def unpacked(path: Path, octets: bytes) -> bytes | None:
    """What an archive holds, or the file itself; None where it is damaged."""
    try:
        if path.name.endswith(".gz"):
            return gzip.decompress(octets)
        if path.name.endswith(".zst"):
            packed = zstandard.ZstdDecompressor().decompressobj()
            content = packed.decompress(octets)
            return content if packed.eof else None
    except (OSError, EOFError, zlib.error, zstandard.ZstdError):
        return None
    return octets


def partials(folder: Path) -> list[Path]:
    return list(folder.rglob("*.coterie-partial"))


def test_it_comes_back_as_the_folder_it_was_taken_of(filled: Engine, backup: Path, tmp_path: Path) -> None:
    made = verify_backup(backup)
    assert (made.exchanges, made.last_sequence, made.schema_version) == (60, 60, migrations()[-1][0])
    restored = restore_backup(backup, tmp_path / "new" / "data")
    assert replace(restored, path="") == replace(made, path="")
    # It is ready to serve from: nothing is pending and no index is built anew.
    engine = Engine.open(replace(filled.config, data_dir=tmp_path / "new" / "data"))
    try:
        assert engine.stats().pending_texts == 0
        field = next(iter(engine._made_indexes().fields.values()))
        assert len(field) == 60
        assert field._saved == (field._last_vector, field._last_erasure)
        query = Query(text="please explain bread with rye flour to reader 2", k=3)
        assert engine.search(query).hits == filled.search(query).hits
        assert engine.store.window().exchange_ids == filled.store.window().exchange_ids
    finally:
        engine.close()
    assert partials(tmp_path) == []


def test_it_is_its_owners_alone(backup: Path, tmp_path: Path) -> None:
    restore_backup(backup, tmp_path / "new")
    for path in (backup, tmp_path / "new"):
        for entry in [path, *path.rglob("*")]:
            assert entry.stat().st_mode & 0o077 == 0, entry


def test_it_holds_what_was_acknowledged_before_it_and_nothing_torn_while_exchanges_stream_in(
    filled: Engine, exchange: Make, tmp_path: Path
) -> None:
    stop, acked = threading.Event(), [60]

    def stream() -> None:
        number = 60
        while not stop.is_set():
            filled.store.append([exchange(number + item) for item in range(20)])
            number += 20
            acked.append(number)

    thread = threading.Thread(target=stream)
    thread.start()
    try:
        for turn in range(5):
            before = acked[-1]
            made = create_backup(filled.store, tmp_path / f"b{turn}")
            assert before <= made.last_sequence <= acked[-1] + 20
            assert made.exchanges == made.last_sequence
            assert made.exchanges % 20 == 0
    finally:
        stop.set()
        thread.join()
    assert acked[-1] > 60 + 5 * 20, "nothing was written meanwhile"


def test_damage_behind_the_last_file_of_an_archive_is_refused(backup: Path) -> None:
    """It ends in padding and in a checksum, which its files do not need."""
    if backup.is_dir():
        pytest.skip("a folder has no end")
    whole = backup.read_bytes()
    for back in range(1, 5):
        changed = bytearray(whole)
        changed[-back] ^= 0xFF
        backup.write_bytes(changed)
        with pytest.raises(UnavailableError, match="not a whole backup"):
            verify_backup(backup)


@pytest.mark.parametrize("place", [0.0, 0.02, 0.3, 0.6, 0.9, 0.999])
def test_a_changed_byte_or_an_early_end_anywhere_is_refused(backup: Path, tmp_path: Path, place: float) -> None:
    files = [path for path in ([backup] if backup.is_file() else sorted(backup.rglob("*"))) if path.is_file()]
    for path in files:
        whole = path.read_bytes()
        at = int(place * len(whole))
        for changed in (whole[:at], whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]):
            if unpacked(path, changed) == unpacked(path, whole):
                continue  # an archive has bytes that mean nothing: codes of letters that it does not hold
            path.write_bytes(changed)
            with pytest.raises(UnavailableError, match=r"not a whole backup|cannot read the backup"):
                verify_backup(backup)
            with pytest.raises(UnavailableError):
                restore_backup(backup, tmp_path / "new")
            assert not (tmp_path / "new").exists()
        path.write_bytes(whole)
    assert verify_backup(backup).exchanges == 60
    assert partials(tmp_path) == []


def test_a_file_that_is_missing_or_unnamed_is_refused(filled: Engine, tmp_path: Path) -> None:
    made = tmp_path / "b"
    create_backup(filled.store, made)
    for path in [path for path in made.rglob("*") if path.is_file()]:
        path.rename(tmp_path / "aside")
        with pytest.raises(UnavailableError, match="is missing"):
            verify_backup(made)
        (tmp_path / "aside").rename(path)
    for name in ("../evil", "/evil", "index/../../evil", "lock"):
        with pytest.raises(UnavailableError, match="not a whole backup"):
            restore_backup(archive_with(tmp_path, made, name), tmp_path / "new")
        assert not (tmp_path / "evil").exists()


def archive_with(tmp_path: Path, made: Path, name: str) -> Path:
    """A .tar.gz of a backup, with one more file, which its manifest names."""
    record = json.loads((made / MANIFEST).read_bytes())
    manifest = Manifest.decode((made / MANIFEST).read_bytes(), made)
    added = replace(manifest.files[0], path=name)
    octets = replace(manifest, files=(*manifest.files, added)).encode()
    assert record["files"]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, content in ((MANIFEST, octets), (name, (made / "coterie.db").read_bytes())):
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    path = tmp_path / "evil.tar.gz"
    path.write_bytes(gzip.compress(packed.getvalue()))
    return path


def test_a_link_in_an_archive_is_refused(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        entry = tarfile.TarInfo(MANIFEST)
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
    path = tmp_path / "b.tar.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(packed.getvalue()))
    with pytest.raises(UnavailableError, match="not a whole backup"):
        verify_backup(path)


def test_a_backup_of_a_newer_version_is_refused_with_the_way_out(filled: Engine, tmp_path: Path) -> None:
    made = tmp_path / "b"
    create_backup(filled.store, made)
    connection = sqlite3.connect(made / "coterie.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    again(made)
    with pytest.raises(UnavailableError, match=r"version 99, this coterie knows .*: use the coterie that wrote it"):
        restore_backup(made, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def again(made: Path) -> None:
    """Write the manifest anew for a database that was changed: what is wrong is then found in the database itself."""
    import hashlib

    manifest = Manifest.decode((made / MANIFEST).read_bytes(), made)
    content = (made / "coterie.db").read_bytes()
    database = replace(manifest.files[0], size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    (made / MANIFEST).write_bytes(replace(manifest, files=(database, *manifest.files[1:])).encode())


def test_a_damaged_database_is_not_backed_up(config: Config, exchange: Make, tmp_path: Path) -> None:
    with open_store(config.data_dir) as store:
        store.append([exchange(number) for number in range(2_000)])
    damage(config.data_dir / "coterie.db")
    with open_store(config.data_dir) as store, pytest.raises(UnavailableError, match="is damaged: stop, and restore"):
        create_backup(store, tmp_path / "b")
    assert not (tmp_path / "b").exists()
    assert partials(tmp_path) == []


def damage(path: Path) -> None:
    """Overwrite the leaf pages in the middle of a database file with noise."""
    with path.open("r+b") as file:
        size = path.stat().st_size
        file.seek(size // 2 // 4096 * 4096)
        file.write(b"\xa5" * 4096 * 8)


def test_nothing_that_is_there_is_overwritten(filled: Engine, backup: Path, tmp_path: Path) -> None:
    with pytest.raises(ConflictError, match="is there already: choose another name"):
        create_backup(filled.store, backup)
    full = tmp_path / "full"
    full.mkdir()
    (full / "precious").touch()
    with pytest.raises(ConflictError, match="is not empty: restore into a new folder"):
        restore_backup(backup, full)
    (tmp_path / "file").touch()
    with pytest.raises(ConflictError, match="is not empty"):
        restore_backup(backup, tmp_path / "file")
    assert [path.name for path in full.iterdir()] == ["precious"]


def test_an_empty_folder_is_filled_in_place(backup: Path, tmp_path: Path) -> None:
    """As a mounted volume has to be: it cannot be renamed to."""
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / ".restored.coterie-partial").mkdir()  # left by a process that was killed
    inode = volume.stat().st_ino
    assert restore_backup(backup, volume).exchanges == 60
    assert volume.stat().st_ino == inode
    with open_store(volume, create=False) as store:
        assert store.stats().exchanges == 60
    assert partials(tmp_path) == []


def test_what_stops_it_leaves_nothing_and_what_was_killed_is_cleared_up(filled: Engine, tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop(_: float) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        create_backup(filled.store, tmp_path / "b.tar.zst", stop)
    assert partials(tmp_path) == []
    (tmp_path / ".b.coterie-partial" / "index").mkdir(parents=True)
    (tmp_path / ".another.coterie-partial").mkdir()
    create_backup(filled.store, tmp_path / "b.tar.zst")
    assert partials(tmp_path) == []


def test_a_snapshot_that_may_hold_what_was_erased_is_left_out(filled: Engine, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(filled.config.data_dir / "index", old)
    filled.erase_account(AccountId("account-3"))
    shutil.rmtree(filled.config.data_dir / "index")
    shutil.copytree(old, filled.config.data_dir / "index")
    made = create_backup(filled.store, tmp_path / "b")
    assert made.files == 1
    restore_backup(tmp_path / "b", tmp_path / "new")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["coterie.db"]


def test_a_save_in_the_middle_gives_the_snapshot_before_it_or_after(
    filled: Engine, exchange: Make, tmp_path: Path
) -> None:
    stop = threading.Event()

    def save() -> None:
        number = 1_000
        while not stop.is_set():
            filled.ingest([exchange(number)]).result()
            filled.embed_pending(lambda _: None, lambda: False)
            filled._made_indexes().follow()
            filled._made_indexes().save()
            number += 1

    thread = threading.Thread(target=save)
    thread.start()
    try:
        for turn in range(8):
            made = create_backup(filled.store, tmp_path / f"b{turn}")
            assert made.files >= 5, "database, and of each field a manifest and a segment"
            restore_backup(tmp_path / f"b{turn}", tmp_path / f"new{turn}")
            config = replace(filled.config, data_dir=tmp_path / f"new{turn}", lazy_model=True)
            engine = Engine.open(config)
            try:
                prompts = next(iter(engine._made_indexes().fields.values()))
                assert set(prompts.ids()) == set(engine.store.text_ids(prompts._field))
            finally:
                engine.close()
    finally:
        stop.set()
        thread.join()


# Over the wire and on the command line


def test_over_the_wire_it_goes_into_the_servers_folder_only(config: Config, exchange: Make, tmp_path: Path) -> None:
    config = replace(config, backup_dir=str(tmp_path / "backups"))
    with local_server(config) as address, Client.connect(address) as client:
        client.ingest([exchange(number) for number in range(5)])
        made = client.create_backup("one.tar.gz")
        assert Path(made.path) == tmp_path / "backups" / "one.tar.gz"
        assert verify_backup(Path(made.path)) == made
        assert client.create_backup().path.endswith(".tar.zst")
        for name in ("../out", "a/b", "/tmp/out", ".hidden", "a b", "x" * 257, "a\0b"):
            with pytest.raises(InvalidError, match="name"):
                client.create_backup(name)
        with pytest.raises(ConflictError, match="is there already"):
            client.create_backup("one.tar.gz")


def test_without_a_folder_for_backups_the_wire_is_refused(client: Client) -> None:
    with pytest.raises(ConflictError, match="no folder for backups: set backup_dir"):
        client.create_backup("one")


def test_one_backup_at_a_time(config: Config, exchange: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine.open(replace(config, backup_dir=str(tmp_path / "backups")))
    go, begun = threading.Event(), threading.Event()

    def wait(*_: object) -> None:
        begun.set()
        go.wait(10)

    monkeypatch.setattr(engine, "_check_open", wait)
    try:
        engine.ingest([exchange(1)]).result()
        thread = threading.Thread(target=engine.create_backup, args=("one",))
        thread.start()
        assert begun.wait(10)
        with pytest.raises(ConflictError, match="a backup is being written"):
            engine.create_backup("two")
        go.set()
        thread.join()
        assert engine.create_backup("two").exchanges == 1
    finally:
        go.set()
        engine.close()


def test_on_the_command_line(
    config: Config, exchange: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COTERIE_MODEL", "hash")
    with open_store(config.data_dir) as store:
        store.append([exchange(number) for number in range(5)])
    made, new = str(tmp_path / "b.tar.zst"), str(tmp_path / "new")
    before = time.time()
    assert main(["--data-dir", str(config.data_dir), "backup", made, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["exchanges"], record["last_sequence"], record["path"]) == (5, 5, made)
    assert record["created"] >= time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(before))
    assert main(["backup", "verify", made]) == 0
    assert main(["restore", made, "--data-dir", new]) == 0
    assert "acknowledged after" in capsys.readouterr().err
    assert main(["--data-dir", new, "stats", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["exchanges"] == 5
    assert main(["restore", made, "--data-dir", new]) == 1
    assert "is not empty" in capsys.readouterr().err
    Path(made).write_bytes(Path(made).read_bytes()[:-20])
    assert main(["backup", "verify", made]) == 1
    assert main(["backup", "verify", str(tmp_path / "nowhere")]) == 1
    assert main(["--data-dir", str(tmp_path / "empty"), "backup", str(tmp_path / "c")]) == 1
    for wrong in (["backup", "verify"], ["backup", made, "more"], ["restore", made], ["backup", "-"]):
        try:
            code = main(wrong)
        except SystemExit as end:
            code = int(end.code or 0)
        assert code == 2, wrong


def test_what_was_erased_since_is_erased_again(
    config: Config, exchange: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COTERIE_MODEL", "hash")
    engine = Engine.open(config)
    try:
        engine.warm_up()
        engine.ingest([exchange(number) for number in range(30)]).result()
        engine.embed_pending(lambda _: None, lambda: False)
        create_backup(engine.store, tmp_path / "b")
        engine.erase_account(AccountId("account-3"))
        left = engine.stats().exchanges
    finally:
        engine.close()
    new = tmp_path / "new"
    assert main(["restore", str(tmp_path / "b"), "--data-dir", str(new), "--erasures-of", str(config.data_dir)]) == 0
    assert "1 accounts were erased again" in capsys.readouterr().err
    with open_store(new, create=False) as store:
        assert store.stats().exchanges == left < 30
        assert store.account_exchanges(AccountId("account-3")) == 0
        assert store.pending_erasures() == []
    main(["restore", str(tmp_path / "b"), "--data-dir", str(tmp_path / "careless")])
    assert "accounts erased since the backup are back" in capsys.readouterr().err
