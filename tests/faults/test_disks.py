"""A disk that is full, or cannot be written: told, survived, and gone on from without a start."""

import contextlib
import os
import re
import resource
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.faults.service import Service
from coterie.client import Client, RetryPolicy
from coterie.domain import AccountId, CoterieError, Exchange, ExchangeId, UnavailableError

pytestmark = pytest.mark.faults
Start = Callable[..., Service]

ONCE = RetryPolicy(attempts=1)


def large(number: int) -> Exchange:
    prompt = f"{number} " + "".join(chr(97 + (number * item) % 26) for item in range(20_000))
    return Exchange(ExchangeId(f"x{number}"), AccountId("a"), 1_767_225_600_000_000 + number, prompt)


def fill(service: Service, first: int = 0) -> tuple[list[str], UnavailableError]:
    """Send exchanges until one is refused: the ids acknowledged, and the refusal."""
    acked: list[str] = []
    with Client.connect(service.address, retry=ONCE) as client:
        for number in range(first, first + 20_000):
            try:
                client.ingest([large(number)])
            except UnavailableError as error:
                return acked, error
            acked.append(f"x{number}")
    raise AssertionError("the disk never filled")


def there(service: Service, acked: list[str]) -> bool:
    """Whether all of them are stored: sent again, they count as such."""
    with Client.connect(service.address) as client:
        summary = client.ingest([large(int(name[1:])) for name in acked])
    return (summary.stored, summary.duplicates) == (0, len(acked))


def said_at_start(start: Start) -> str:
    """What a service said that ended at its start; empty where it serves."""
    try:
        start().kill()
    except RuntimeError as error:
        return str(error)
    return ""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own of 12 MB, at `tmp_path / "data"`; needs the right to mount."""
    folder = tmp_path / "data"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m,mode=0700", "none", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here; the limit on file sizes is tested instead")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_refuses_and_goes_on_when_there_is_room(small_disk: Path, start: Start) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(4 << 20))
    service = start()
    service.wait_for("indexes_ready")
    acked, error = fill(service)
    assert acked
    assert "disk of" in str(error)
    assert "is full, nothing of this request was stored: free space, then send again" in str(error)
    with Client.connect(service.address) as client:
        assert client.stats().exchanges == len(acked), "reading goes on"
    assert service.alive
    filler.unlink()
    assert there(service, acked)
    with Client.connect(service.address) as client:
        assert client.ingest([large(50_000)]).stored == 1
    assert re.search(r"commit of \d+ requests failed", service.log.read_text())
    assert service.stop() == 0
    again = start()
    assert there(again, [*acked, "x50000"])


def test_a_start_on_a_full_disk_says_so_and_ends(small_disk: Path, start: Start) -> None:
    service = start()
    acked, _ = fill(service)
    service.kill()
    with contextlib.suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    # Where the log has room it serves what it has, otherwise it ends with the reason: never a traceback.
    said = said_at_start(start)
    if said:
        assert "exit code 1" in said
        assert "full" in said or "check the disk" in said
        assert "Traceback" not in said
    (small_disk / "filler").unlink(missing_ok=True)
    subprocess.run(["mount", "-o", "remount,size=24m", str(small_disk)], check=True)
    assert there(start(), acked)


def test_a_limit_on_file_sizes_is_survived_alike(tmp_path: Path, start: Start) -> None:
    """Where nothing can be mounted: the same paths, by the limit that the kernel sets on one process."""
    service = start()
    service.wait_for("indexes_ready")
    pid = service.pid
    unlimited = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (3 << 20, unlimited[1]))
    acked, error = fill(service)
    assert acked
    assert "coterie.db" in str(error)
    assert "nothing of this request is" in str(error)
    assert service.alive
    resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited)
    assert there(service, acked)
    with Client.connect(service.address) as client:
        assert client.ingest([large(50_000)]).stored == 1
    assert service.stop() == 0


def test_what_needs_no_snapshot_goes_on_where_none_can_be_written(tmp_path: Path, start: Start) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "index").write_bytes(b"in the way")  # no folder can be made of that name, by root either
    service = start(snapshot_interval_s=1)
    with Client.connect(service.address) as client:
        for number in range(3):
            client.ingest([large(number)])
            service.wait_for("indexes_ready")
            threading.Event().wait(1.2)
        service.wait_for("snapshot_not_saved")
        assert client.search(large(1).prompt, k=1).hits[0].exchange.exchange_id == "x1"
        assert client.stats().pending_texts == 0
        assert not service.logged("embedding_failed")
    assert service.alive


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Callable[[Path], Any]]:
    """Makes a data folder read-only: for root by a mount, for others by its mode."""
    undo: list[Callable[[], Any]] = []

    def make(folder: Path) -> None:
        if os.geteuid():
            folder.chmod(0o500)
            undo.append(lambda: folder.chmod(0o700))
            return
        for options in (["--bind"], ["-o", "remount,ro,bind"]):
            done = subprocess.run(["mount", *options, str(folder), str(folder)], capture_output=True, check=False)
            if done.returncode:
                pytest.skip("root may write everywhere, and nothing can be mounted here")
            if options == ["--bind"]:
                undo.append(lambda: subprocess.run(["umount", "--lazy", str(folder)], check=True))

    yield make
    for step in undo:
        step()


def test_a_read_only_folder_is_refused_with_the_way_out(
    tmp_path: Path, start: Start, read_only: Callable[[Path], Any]
) -> None:
    service = start()
    with Client.connect(service.address) as client:
        client.ingest([large(1)])
    assert service.stop() == 0
    read_only(tmp_path / "data")
    with pytest.raises(RuntimeError, match=r"exit code 1(.|\n)*mend its permissions or choose another data folder"):
        start()


def test_a_backup_onto_a_full_disk_leaves_nothing(small_disk: Path, tmp_path: Path, start: Start) -> None:
    (tmp_path / "elsewhere").mkdir()
    service = start(data_dir=tmp_path / "elsewhere" / "data", backup_dir=small_disk)
    with Client.connect(service.address) as client:
        for number in range(0, 900, 30):
            client.ingest([large(number + item) for item in range(30)])
        with pytest.raises(CoterieError, match=r"full|No space left"):
            client.create_backup("too-large")
        assert list(small_disk.iterdir()) == []
        assert client.ingest([large(5_000)]).stored == 1
    assert service.alive
