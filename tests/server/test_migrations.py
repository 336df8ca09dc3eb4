"""Folders of every earlier schema version, filled by plain SQL, come up to date and can be read by every verb."""

import json
import os
import signal
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coterie.domain import UnavailableError
from coterie.server.cli import main
from coterie.store import migrations, open_store

START_US = 1_767_225_600_000_000
DIM = 256
RUN = {"run_id": "r1", "state": "done", "created_us": START_US, "trigger": "manual", "since_us": START_US}
RUN |= {"until_us": START_US + 9, "started_us": START_US, "finished_us": START_US, "stage": "", "progress": 1.0}
RUN |= {"error": "", "measures": {"texts": 4.0}, "parameters": {"min_samples": 5.0}}
ACCOUNT = {"account_id": "a1", "exchanges": 2, "distinct_texts": 2, "share_of_traffic": 1.0}
ACCOUNT |= {"first_seen_us": START_US, "last_seen_us": START_US + 1}
EVIDENCE = {"name": "exchangeability", "statistic": "C/W", "value": 0.9, "null": "shuffled", "summary": "they agree"}
FINDING = {"finding_id": "f1", "kind": "campaign", "severity": "high", "confidence": 0.9, "title": "2 accounts"}
FINDING |= {"accounts": [ACCOUNT, ACCOUNT | {"account_id": "a2"}], "benchmarks": [], "first_seen_us": START_US}
FINDING |= {"families": [{"family_id": "F1", "texts": 2, "accounts": 2}], "last_seen_us": START_US + 1}
FINDING |= {"evidence": [EVIDENCE | {"p_value": 0.001}], "counter_evidence": [EVIDENCE | {"p_value": None}]}
FINDING |= {"exemplars": ["e1"], "lineage": "new", "lineage_of": [], "review": "open", "run_id": "r1"}
FINDING |= {"text_ids": [1, 2]}
STANDING = {"account_id": "a1", "exchanges": 2, "findings": ["f1"], "nearest_candidate": "", "nearest_p_value": None}
STANDING |= {"reason": ""}
FAMILY = {"family_id": "F1", "texts": 2, "exchanges": 2, "accounts": 2, "lineage": "born", "gate_distance": 0.5}
FAMILY |= {"exemplar": "e1", "first_seen_us": START_US, "last_seen_us": START_US + 1, "lineage_of": [], "run_id": "r1"}
POOL = {"pool_id": "p1", "text_ids": [3], "account_ids": ["a1"], "p_value": 0.01, "reason": "too little"}


def vector(axis: int) -> bytes:
    return struct.pack(f"<{DIM}e", *(float(item == axis) for item in range(DIM)))


def rows_of_version_1(connection: sqlite3.Connection) -> None:
    counters = {"sequence": 4, "text": 5, "vector": 4, "attribute_set": 1, "review": 1, "event": 1, "audit": 1}
    many(connection, "counter", list((counters | {"erasure": 1, "view_vector": 1}).items()))
    many(connection, "setting", [("model_id", "hash-256"), ("dim", str(DIM))])
    texts = ["what is one", "what is two", "what is three", "an answer", "a benchmark item"]
    uses = [1, 1, 1, 2, 8]
    many(
        connection,
        "text",
        [
            (n + 1, bytes([n]) * 16, use, 0 if n == 4 else None, text)
            for n, (use, text) in enumerate(zip(uses, texts, strict=True))
        ],
    )
    many(connection, "vector", [(n, n if n < 4 else None, 4 if n == 4 else None, vector(n)) for n in range(1, 5)])
    many(connection, "view_vector", [(1, "hash-256", b"d" * 16, vector(9))])
    many(connection, "attribute_set", [(1, '{"asn":"AS1"}')])
    many(connection, "attribute", [("asn", "AS1", 1)])
    for n in range(1, 5):
        start = (n, f"e{n}", f"a{2 - n % 2}", START_US + n, min(n, 3), 4 if n == 1 else None, None)
        many(connection, "exchange", [(*start, "c", 0, "m", 3, 4, 0.1, 1)])
    cut_off = RUN | {"run_id": "r2", "state": "running", "created_us": START_US + 5, "finished_us": 0}
    many(connection, "run", [(r["run_id"], r["state"], r["created_us"], json.dumps(r)) for r in (RUN, cut_off)])
    many(connection, "finding", [("r1", "f1", json.dumps(FINDING))])
    many(connection, "finding_account", [("a1", "r1", "f1"), ("a2", "r1", "f1")])
    many(connection, "finding_exemplar", [("e1", "r1", "f1")])
    many(connection, "standing", [("r1", "a1", json.dumps(STANDING))])
    many(connection, "review", [(1, "f1", "escalated", "looks odd", "ann", START_US)])
    many(connection, "event", [(1, "r1", "f1")])
    many(connection, "benchmark", [("bench", START_US)])
    many(connection, "benchmark_item", [("bench", 0, "i1", 5, "")])
    many(connection, "erasure", [(1, 99, START_US)])
    many(connection, "audit", [(1, START_US, "ann", "search", "")])


def rows_of_version_2(connection: sqlite3.Connection) -> None:
    many(connection, "family_run", [("r1", 1, "", 3)])
    many(connection, "family", [("r1", "F1", 0, "born", json.dumps(FAMILY))])
    many(connection, "family_exemplar", [("e1", "r1", "F1")])
    text_ids, family, exchanges = struct.pack("<2q", 1, 2), struct.pack("<2i", 0, 0), struct.pack("<2i", 1, 1)
    arrays = (text_ids, family, struct.pack("<2f", 0.1, 0.1), exchanges)
    many(connection, "family_labels", [("r1", '["F1"]', struct.pack("<f", 0.5), *arrays)])
    many(connection, "family_join", [(3, "r1", "F1", 0.2)])


def rows_of_version_3(connection: sqlite3.Connection) -> None:
    many(connection, "watch", [("r1", 2, 2, 2)])
    many(connection, "watched_pool", [("p1", json.dumps({key: POOL[key] for key in POOL if key != "pool_id"}))])
    many(connection, "near_prompt", [("p1", "a1", 3, START_US)])
    many(connection, "joined_account", [("f1", "a3", "r1", START_US, 3, 0.001)])


def rows_of_version_4(connection: sqlite3.Connection) -> None:
    many(connection, "access_token", [("0" * 12, b"d" * 32, "old", "analyst", START_US, 0, START_US, 0)])


def rows_of_version_5(connection: sqlite3.Connection) -> None:
    many(connection, "counter", [("account_erasure", 1)])
    many(connection, "account_erasure", [(1, b"d" * 16, "", START_US, START_US)])


def many(connection: sqlite3.Connection, table: str, rows: list[Any]) -> None:
    columns = {row[1]: row for row in connection.execute(f"PRAGMA table_info({table})")}
    # Columns that later scripts add at the end have defaults.
    names = list(columns)[: len(rows[0])]
    marks = ", ".join("?" for _ in names)
    connection.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", rows)


ROWS: dict[int, Callable[[sqlite3.Connection], None]] = {
    1: rows_of_version_1,
    2: rows_of_version_2,
    3: rows_of_version_3,
    4: rows_of_version_4,
    5: rows_of_version_5,
}


def made(data_dir: Path, version: int) -> Path:
    """A folder of an earlier version: its scripts, and rows as that version wrote them."""
    data_dir.mkdir(mode=0o700)
    connection = sqlite3.connect(data_dir / "coterie.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA application_id = {0x636F7465}")
    for number, script in migrations()[:version]:
        connection.executescript(f"BEGIN;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;")
        if number in ROWS:
            # As soon as the version is reached: what a later script does, it does to rows.
            ROWS[number](connection)
    connection.close()
    return data_dir


EARLIER = range(1, len(migrations()) + 1)
VERBS = (
    ["stats"],
    ["findings"],
    ["findings", "--run", "r1", "--account", "a1"],
    ["finding", "f1"],
    ["families"],
    ["account", "a1"],
    ["account", "a2"],
    ["search", "what is two"],
    ["search", "--exchange", "e1", "--response"],
    ["runs"],
    ["benchmark", "list"],
    ["benchmark", "match", "a benchmark item"],
)


@pytest.mark.parametrize("version", EARLIER)
def test_every_reading_verb_works_on_a_folder_of_an_earlier_version(
    version: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COTERIE_MODEL", "hash")
    monkeypatch.setenv("COTERIE_MONOLINGUAL", "true")
    data_dir = made(tmp_path / "data", version)
    answers = {}
    for verb in VERBS:
        code = main(["--data-dir", str(data_dir), *verb, "--json"])
        out, err = capsys.readouterr()
        assert code == 0, (verb, err)
        answers[" ".join(verb)] = json.loads(out)
    stats = answers["stats"]
    assert (stats["exchanges"], stats["accounts"], stats["texts"], stats["last_sequence"]) == (4, 2, 5, 4)
    assert (stats["findings"], stats["runs"], stats["benchmarks"]) == (1, 2, 1)
    finding = answers["finding f1"]
    assert (finding["review"], [item["reason"] for item in finding["reviews"]]) == ("escalated", ["looks odd"])
    assert [item["exchange_id"] for item in finding["exchanges"]] == ["e1"]
    assert {run["run_id"]: run["state"] for run in answers["runs"]["runs"]} == {"r1": "done", "r2": "failed"}
    assert answers["search what is two"]["hits"][0]["exchange"]["attributes"] == {"asn": "AS1"}
    assert [item["finding_id"] for item in answers["account a1"]["findings"]] == ["f1"]
    assert len(answers["families"]["families"]) == (version >= 2)


@pytest.mark.parametrize("version", EARLIER)
def test_every_writing_verb_works_there_too(
    version: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COTERIE_MODEL", "hash")
    data_dir = made(tmp_path / "data", version)
    line = {"exchange_id": "e9", "account_id": "a9", "time": "2026-01-31T08:00:00Z", "prompt": "what is nine"}
    (tmp_path / "events.jsonl").write_text(json.dumps(line) + "\n")
    for verb in (
        ["ingest", str(tmp_path / "events.jsonl")],
        ["review", "f1", "dismissed", "--reason", "an exam"],
        ["erase", "a2", "--yes"],
        ["backup", str(tmp_path / "backup")],
    ):
        assert main(["--data-dir", str(data_dir), *verb]) == 0, (verb, capsys.readouterr().err)
    with open_store(data_dir, create=False) as store:
        assert store.stats().exchanges == 3
        assert store.stats().last_sequence == 5
        assert [account.account_id for account in store.finding("f1").accounts] == ["a1"]  # type: ignore[arg-type]


def test_what_all_the_scripts_give_is_the_same_from_every_version(tmp_path: Path) -> None:
    def schema(folder: Path) -> list[tuple[str, ...]]:
        connection = sqlite3.connect(folder / "coterie.db")
        found = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2").fetchall()
        connection.close()
        return found

    open_store(tmp_path / "new").close()
    for version in EARLIER:
        folder = made(tmp_path / f"v{version}", version)
        open_store(folder).close()
        assert schema(folder) == schema(tmp_path / "new")


KILLED = """
import os, signal, sys
from pathlib import Path
from coterie.store import database, open_store

left = int(sys.argv[2])

def run(connection, script):
    def trace(statement):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
    connection.set_trace_callback(trace)
    connection.executescript(script)
    connection.set_trace_callback(None)

database._run_script = run
open_store(Path(sys.argv[1])).close()
print("whole")
"""


def test_a_kill_between_any_two_statements_leaves_a_folder_that_opens(tmp_path: Path) -> None:
    statements, kills = 0, 0
    while True:
        folder = made(tmp_path / f"k{statements}", 1)
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(folder), str(statements)],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
            check=False,
        )
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        kills += 1
        connection = sqlite3.connect(folder / "coterie.db")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        connection.close()
        assert 1 <= version <= len(migrations())
        with open_store(folder, create=False) as store:
            assert store.stats().exchanges == 4
            assert store.finding("f1").title == "2 accounts"  # type: ignore[arg-type]
        statements += 5  # every fifth: a start takes a fifth of a second
    assert kills >= 4


def test_a_newer_version_is_refused_by_every_verb_with_the_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COTERIE_MODEL", "hash")
    data_dir = made(tmp_path / "data", len(migrations()))
    connection = sqlite3.connect(data_dir / "coterie.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = (data_dir / "coterie.db").read_bytes()
    for verb in (["stats"], ["serve"], ["backup", str(tmp_path / "b")], ["erase", "a1", "--yes"]):
        assert main(["--data-dir", str(data_dir), *verb]) == 1
        err = capsys.readouterr().err
        assert "is of version 99" in err
        assert "use the coterie that wrote it, or a newer one, or another data folder" in err
    with pytest.raises(UnavailableError, match="version 99"):
        open_store(data_dir)
    assert (data_dir / "coterie.db").read_bytes() == before
    assert not (tmp_path / "b").exists()
