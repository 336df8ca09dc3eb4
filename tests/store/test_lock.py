"""One store on a data folder."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from coterie.domain import ConflictError, UnavailableError
from coterie.store import SqliteStore, open_store

HOLDER = """
import sys, time
from pathlib import Path
from coterie.store import open_store
store = open_store(Path(sys.argv[1]))
store.announce("localhost:7777")
print("ready", flush=True)
time.sleep(600)
"""


def hold(data_dir: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen([sys.executable, "-c", HOLDER, str(data_dir)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == "ready\n"
    return child


def test_the_second_opener_in_a_process_is_told_who(store: SqliteStore, data_dir: Path) -> None:
    with pytest.raises(ConflictError, match=rf"in use by process {os.getpid()}"):
        open_store(data_dir)
    assert json.loads((data_dir / "lock").read_text()) == {"pid": os.getpid(), "address": ""}


def test_another_process_is_told_the_servers_address_and_death_frees_the_folder(data_dir: Path) -> None:
    child = hold(data_dir)
    try:
        with pytest.raises(ConflictError, match=rf"process {child.pid} at localhost:7777.*--server localhost:7777"):
            open_store(data_dir)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    with open_store(data_dir) as store:
        assert store.stats().exchanges == 0


def test_a_shorter_address_leaves_nothing_of_the_longer(store: SqliteStore, data_dir: Path) -> None:
    store.announce("a-host-with-a-long-name.example:50051")
    store.announce("h:1")
    assert json.loads((data_dir / "lock").read_text())["address"] == "h:1"


def test_closing_frees_the_folder(data_dir: Path) -> None:
    first = open_store(data_dir)
    first.close()
    first.close()
    with open_store(data_dir), pytest.raises(UnavailableError, match="closed"):
        first.announce("h:1")


# Python 3.12 and later warn of forking with threads, which is what a process with a store does.
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_does_not_keep_the_folder(data_dir: Path) -> None:
    store = open_store(data_dir)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    os.close(reader)
    try:
        store.close()
        # The child is still alive; were its copy of the lock open, this would be refused.
        open_store(data_dir).close()
    finally:
        os.close(writer)
        assert os.waitpid(pid, 0) == (pid, 0)


def test_a_failed_opening_frees_the_folder(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "coterie.db").write_bytes(b"not a database" * 1_000)
    for _ in range(2):
        with pytest.raises(UnavailableError, match="not a coterie database"):
            open_store(data_dir)
