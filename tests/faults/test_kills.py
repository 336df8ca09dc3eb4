"""A short form of `make test-faults`: what was acknowledged outlives SIGKILL, once, whatever was going on."""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.faults import ledger
from bench.faults.rounds import ACTIVITIES, Rounds
from bench.faults.service import Service
from bench.faults.streams import Stream

pytestmark = pytest.mark.faults


def test_one_round_of_each_kind_loses_and_doubles_nothing(tmp_path: Path) -> None:
    tally = Rounds(tmp_path, seed=7, whole_every=0).run(len(ACTIVITIES))
    assert tally.faults() == dict.fromkeys(tally.faults(), 0)
    assert set(tally.killed_in) == set(ACTIVITIES)
    assert tally.acked > 0
    assert tally.clean_stops == 1


def test_the_look_sees_what_is_lost_doubled_invented_and_torn(start: Callable[..., Service], tmp_path: Path) -> None:
    """Or the rounds could not fail."""
    service, stream = start(), Stream(0, tmp_path / "acks.txt")
    stop = threading.Event()
    thread = threading.Thread(target=stream.run, args=(service.address, stop))
    thread.start()
    while stream.acked < 50:
        assert service.alive
        stop.wait(0.01)
    service.kill()
    thread.join()
    stream.close()
    database = tmp_path / "data" / "coterie.db"
    assert ledger.look(database, [stream], settled=True) == ledger.Found()
    connection = sqlite3.connect(database)
    with connection:
        connection.execute("DELETE FROM exchange WHERE exchange_id = 's0-3'")
        connection.execute("UPDATE text SET content = 'another' WHERE content = 'question s0-4'")
        connection.execute("DELETE FROM text WHERE content = 'question s0-5'")
        connection.execute(
            "INSERT INTO exchange SELECT 999999, 's0-999999', account_id, time_us, prompt, response, system,"
            " conversation_id, turn, model, input_tokens, output_tokens, cost_usd, attribute_set"
            " FROM exchange WHERE exchange_id = 's0-6'"
        )
        connection.execute("INSERT INTO run VALUES ('r', 'running', 1, '{}')")
    connection.close()
    found = ledger.look(database, [stream], settled=True)
    assert (found.lost, found.invented, found.torn, found.unfinished) == (3, 1, 1, 1)
    assert found.faults == 6
