"""What was acked is there after SIGKILL, once."""

import subprocess
import sys
from pathlib import Path

from coterie.store import open_store

WRITER = """
import sys, threading
from pathlib import Path
from coterie.domain import Exchange
from coterie.store import open_store

store = open_store(Path(sys.argv[1]))
generation, output = int(sys.argv[2]), threading.Lock()

def call(caller):
    for number in range(1_000_000):
        ids = [f"{generation}-{caller}-{number}-{item}" for item in range(20)]
        store.append([Exchange(one, f"a{caller}", 1_767_225_600_000_000 + number, f"prompt {one}") for one in ids])
        with output:
            print("\\n".join(ids), flush=True)

for caller in range(3):
    threading.Thread(target=call, args=(caller,)).start()
"""

KILLS = 4
ACKS_BEFORE_KILL = 400


def test_every_acked_exchange_survives_sigkill_once(data_dir: Path) -> None:
    acked: list[str] = []
    for generation in range(KILLS):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(data_dir), str(generation)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        with child.stdout:
            acked += [child.stdout.readline().rstrip("\n") for _ in range(ACKS_BEFORE_KILL * (generation + 1))]
            child.kill()
            # What the child printed before it died was acked too; only the last line may be cut short.
            lines = child.stdout.read().split("\n")
        acked += lines[:-1]
        assert child.wait() == -9
    with open_store(data_dir) as store:
        rows = store.window()
        assert len(set(rows.exchange_ids)) == rows.size
        assert set(acked) <= set(rows.exchange_ids)
        assert len(acked) >= KILLS * ACKS_BEFORE_KILL
        assert store.texts(rows.prompt) == [f"prompt {exchange_id}" for exchange_id in rows.exchange_ids]
        assert store.pending_count() == rows.size
        assert store.stats().last_sequence == rows.size
        # Sending everything again is what a client does that missed its acks.
        assert store.append(store.exchanges(acked)).duplicates == len(acked)
