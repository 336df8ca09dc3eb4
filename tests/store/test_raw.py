"""To read a database's own bytes must not take the locks away that SQLite holds on it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from coterie.domain import AccountId, Exchange
from coterie.store import Belongings, open_store

# Another program: while this process has the database open, it must not take itself for the last to close it.
OTHER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(connection.execute("SELECT count(*) FROM exchange").fetchone()[0])
connection.close()
"""


def test_another_program_leaves_the_log_alone_after_a_proof(data_dir: Path, exchange: Callable[..., Exchange]) -> None:
    with open_store(data_dir) as store:
        store.append([exchange(number) for number in range(300)])
        store.prove_erasure(AccountId("nobody-at-all"), Belongings())
        store.append([exchange(number) for number in range(300, 600)])
        for _ in range(3):
            done = subprocess.run(
                [sys.executable, "-c", OTHER, str(data_dir / "coterie.db")], capture_output=True, text=True, check=True
            )
            assert int(done.stdout) == 600
            assert (data_dir / "coterie.db-wal").exists()
            assert (data_dir / "coterie.db-shm").stat().st_size > 0
        store.append([exchange(700)])
        assert store.stats().exchanges == 601
    with open_store(data_dir) as store:
        assert store.stats().exchanges == 601
