"""Every verb on a real service: in this process on a data folder, and over a socket at a server process."""

import argparse
import gzip
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coterie.domain import (
    Evidence,
    Exchange,
    Family,
    FamilyId,
    FamilyLabels,
    FamilyLineage,
    FamilyRecord,
    Finding,
    FindingAccount,
    FindingBenchmark,
    FindingFamily,
    FindingKind,
    Lineage,
    Run,
    RunState,
    Severity,
    Standing,
    exchange_to_json,
    family_to_json,
    finding_to_json,
)
from coterie.server import cli, cli_commands
from coterie.server.cli_files import PROBLEMS_KEPT
from coterie.store import SqliteStore, open_store

START_US = 1_767_225_600_000_000  # 2026-01-01
NASTY = "[red]ignore[/red] \x1b[31mprevious"
VERBS = (
    "serve", "ingest", "recluster", "findings", "finding", "families", "account", "search", "review",
    "benchmark register", "benchmark list", "benchmark match", "runs", "simulate", "evaluate", "stats", "erase", "demo",
    "token mint", "token list", "token revoke", "whoami", "audit", "key new", "key rotate", "retain",
    "rules", "rules allow", "rules revoke", "webhooks list", "webhooks test", "webhooks replay",
    "calibration",
)  # fmt: skip


@dataclass(frozen=True)
class Done:
    """A command that ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def coterie(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """Run a command line in this process."""
    for variable in [name for name in os.environ if name.startswith("COTERIE_")]:
        monkeypatch.delenv(variable)

    def run(*argv: object, stdin: bytes = b"", tty: bool = False) -> Done:
        stream = io.TextIOWrapper(io.BufferedReader(io.BytesIO(stdin)), encoding="utf-8")
        monkeypatch.setattr(stream, "isatty", lambda: tty)
        monkeypatch.setattr(sys, "stdin", stream)
        capsys.readouterr()
        try:
            code = cli.main([str(word) for word in argv])
        except SystemExit as error:
            code = int(error.code or 0)
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return run


def made_exchange(number: int) -> Exchange:
    topic = ("the tides", "rye bread", "chess openings")[number % 3]
    return Exchange(
        exchange_id=f"x{number:03}",  # type: ignore[arg-type]
        account_id=f"a{number % 5}",  # type: ignore[arg-type]
        time_us=START_US + number * 3_600_000_000,
        prompt=NASTY if number == 0 else f"please explain {topic} to reader {number}",
        response=f"well, about {topic}, reader {number}",
        model="m1" if number % 2 else "m2",
        attributes={"asn": str(number % 2)},
    )


def made_finding(finding_id: str, accounts: tuple[str, ...], severity: Severity = Severity.HIGH) -> Finding:
    evidence = Evidence("pool_overlap", "shared pool", 0.83, "permuted: 0.04", f"One pool {NASTY}", 1.2e-9)
    return Finding(
        finding_id=finding_id,  # type: ignore[arg-type]
        kind=FindingKind.CAMPAIGN,
        severity=severity,
        confidence=0.97,
        title=f"{len(accounts)} accounts share one work list",
        accounts=tuple(
            FindingAccount(name, 4, 3, 0.75, START_US, START_US + 9_000_000)  # type: ignore[arg-type]
            for name in accounts
        ),
        families=(FindingFamily("fam-1", 12, 3),),  # type: ignore[arg-type]
        benchmarks=(FindingBenchmark("gsm", 7, 0.125),),
        first_seen_us=START_US,
        last_seen_us=START_US + 9_000_000,
        evidence=(evidence,),
        counter_evidence=(replace(evidence, name="shared_payment", summary="They pay apart.", p_value=None),),
        exemplars=("x000", "x003"),  # type: ignore[arg-type]
        lineage=Lineage.NEW,
        run_id="run-1",  # type: ignore[arg-type]
    )


FINDINGS = (made_finding("f-one", ("a0", "a1", "a2")), made_finding("f-two", ("a3", "a4"), Severity.LOW))


FAMILIES = tuple(
    Family(
        family_id=f"family-{number}",  # type: ignore[arg-type]
        texts=10 - number,
        exchanges=100 - number,
        accounts=3,
        lineage=lineage,
        gate_distance=0.5,
        exemplar=f"x00{number}",  # type: ignore[arg-type]
        first_seen_us=START_US,
        last_seen_us=START_US + number,
        lineage_of=("family-8", "family-9") if lineage is FamilyLineage.MERGED else (),  # type: ignore[arg-type]
        run_id="run-1",  # type: ignore[arg-type]
    )
    for number, lineage in enumerate((FamilyLineage.MERGED, FamilyLineage.STEADY, FamilyLineage.GONE), start=1)
)


def family_record(store: SqliteStore) -> FamilyRecord:
    """The prompts of account a1 are in family-1; nobody else's are in any."""
    rows = store.window()
    texts = np.unique(rows.prompt)
    of_a1 = np.isin(texts, rows.prompt[rows.account == rows.account_ids.index("a1")])
    labels = FamilyLabels(
        texts,
        np.where(of_a1, 0, -1).astype(np.int32),
        np.ones(len(texts), np.float32),
        np.ones(len(texts), np.int32),
        tuple(FamilyId(family.family_id) for family in FAMILIES[:2]),
        np.ones(2, np.float32),
    )
    return FamilyRecord(FAMILIES, labels, number_after=2)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with exchanges, a finished run and its findings."""
    folder = tmp_path_factory.mktemp("template") / "data"
    store = open_store(folder)
    try:
        store.append([made_exchange(number) for number in range(30)])
        run = Run("run-1", RunState.RUNNING, START_US, since_us=START_US, until_us=START_US + 10**12, started_us=5)  # type: ignore[arg-type]
        store.create_run(run)
        standings = [Standing(name, 6, (finding.finding_id,)) for finding in FINDINGS for name in _names(finding)]
        standings[0] = replace(standings[0], nearest_candidate="", pool_exchanges=4)
        done = replace(run, state=RunState.DONE, finished_us=9_000_005, measures={"exchanges": 30.0, "accounts": 5.0})
        store.finish_run(done, FINDINGS, standings, family_record(store))
    finally:
        store.close()
    return folder


def _names(finding: Finding) -> list[Any]:
    return [account.account_id for account in finding.accounts]


@pytest.fixture
def data(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "data"))


@contextmanager
def serving(data: Path, log: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """A server process on a data folder, and its address."""
    command = [sys.executable, "-m", "coterie.server.cli", "--data-dir", str(data), "--model", "hash", "serve"]
    with log.open("wb") as stream:
        process = subprocess.Popen([*command, "--listen", "127.0.0.1:0"], stdout=stream, stderr=stream)
    try:
        while not (found := re.search(r"listening on (\S+)", log.read_text())):
            assert process.poll() is None, log.read_text()
        yield found[1], process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def served(data: Path, tmp_path: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    with serving(data, tmp_path / "log") as server:
        yield server


# The parser


def parsers(parser: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    yield name, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, inner in action.choices.items():
                yield from parsers(inner, f"{name} {word}".strip())


def test_every_verb_and_option_has_its_help(coterie):
    made = dict(parsers(cli.make_parser()))
    assert set(VERBS) <= set(made)
    for name, parser in made.items():
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                assert {choice.dest for choice in action._choices_actions} == set(action.choices), name
                assert all(choice.help for choice in action._choices_actions), name
            else:
                assert action.help, f"{name}: {action.dest} has no help"
        assert coterie(*name.split(), "--help").code == 0  # the texts format, percent signs and all


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("frobnicate",),
        ("ingest",),
        ("search",),
        ("search", "x", "--exchange", "y"),
        ("search", "x", "-k", "0"),
        ("search", "x", "-k", "1001"),
        ("search", "x", "--attribute", "asn"),
        ("recluster", "--since", "yesterday"),
        ("recluster", "--no-wait"),
        ("recluster", "--field", "system"),
        ("recluster", "--also", "10"),
        ("recluster", "--also", "10/1"),
        ("recluster", "--also", "1/10"),
        ("recluster", "--min-samples", "101"),
        ("recluster", "--attribute", "organisation"),
        ("review", "f-one", "confirmed"),
        ("review", "f-one", "guilty", "--reason", "x"),
        ("findings", "--kind", "campaigns"),
        ("erase", "a0"),
        ("--server", "nowhere", "stats"),
        ("--server", "localhost:1", "--data-dir", "d", "stats"),
        ("--server", "localhost:1", "demo"),
        ("serve", "--graph-k", "many"),
        ("simulate", "--out", "o", "--mix", "medium"),
        ("demo", "--accounts", "1"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_usage(coterie, data, monkeypatch, argv):
    monkeypatch.chdir(data.parent)
    data.rename(data.parent / "coterie-data")
    done = coterie(*argv)
    assert done.code == 2
    assert done.out == ""
    assert "Traceback" not in done.err
    assert "coterie" in done.err.splitlines()[-1]


def test_settings_come_from_file_environment_and_flags(coterie, tmp_path, monkeypatch, data):
    settings = tmp_path / "settings.toml"
    settings.write_text(f'data_dir = "{data}"\nmodel = "hash"\n')
    assert coterie("--config", settings, "--json", "stats").json["exchanges"] == 30
    monkeypatch.setenv("COTERIE_DATA_DIR", str(tmp_path / "elsewhere"))
    assert coterie("--config", settings, "stats").code == 1
    assert coterie("--config", settings, "--data-dir", data, "stats").code == 0
    settings.write_text("colour = 1\n")
    done = coterie("--config", settings, "stats")
    assert (done.code, done.out) == (2, "")
    assert "unknown setting 'colour'" in done.err


# Ingest


def lines_of(exchanges: list[Exchange]) -> bytes:
    return "".join(exchange_to_json(exchange) + "\n" for exchange in exchanges).encode()


def test_ingest_from_a_file_from_gzip_and_from_stdin(coterie, tmp_path):
    exchanges = [made_exchange(number) for number in range(40)]
    data = tmp_path / "new"
    (tmp_path / "plain").write_bytes(lines_of(exchanges[:10]))
    (tmp_path / "packed").write_bytes(gzip.compress(lines_of(exchanges[5:20])))
    assert coterie("--data-dir", data, "ingest", tmp_path / "plain").code == 0
    done = coterie("--data-dir", data, "ingest", tmp_path / "packed", "--json")
    assert done.json == {"stored": 10, "duplicates": 5, "rejected": 0, "reasons": {}, "last_sequence": 20}
    done = coterie("--data-dir", data, "ingest", "-", "--batch", 7, stdin=lines_of(exchanges[20:]))
    assert done.out == "20 exchanges stored, 0 already there, 0 rejected\n"
    assert f"next: coterie --data-dir {data} recluster" in done.err
    assert coterie("--data-dir", data, "--json", "stats").json["exchanges"] == 40


def test_bad_lines_are_told_by_number_and_the_rest_is_kept(coterie, data, tmp_path):
    good = [made_exchange(number) for number in range(30, 40)]
    lines = lines_of(good).splitlines(keepends=True)
    lines[2:2] = [b"{nonsense\n", lines_of([made_exchange(0)]).replace(b"well", b"no")]  # x000 is there, otherwise
    lines[6:6] = [lines_of([good[0]]).replace(b'"account_id":"a0"', b'"account_id":" "')]
    lines.append(b'{"exchange_id": "y", "colour": "\\u001b[31mred"}\n')
    file = tmp_path / "events"
    file.write_bytes(b"".join(lines))
    done = coterie("--data-dir", data, "ingest", file, "--json")
    assert done.code == 1
    assert done.json["stored"] == 10
    assert done.json["rejected"] == 4
    assert done.json["reasons"] == {"bad_json": 1, "conflict": 1, "missing_account_id": 1, "unknown_field": 1}
    told = [line for line in done.err.splitlines() if line.startswith("line ")]
    assert [line.split(":")[0] for line in told] == ["line 3", "line 4", "line 7", "line 14"]
    assert "coterie: 4 lines rejected (" in done.err
    assert "\x1b" not in done.err
    assert coterie("--data-dir", data, "--json", "stats").json["exchanges"] == 40


def test_many_rejections_are_counted_and_few_are_shown(coterie, data, tmp_path):
    file = tmp_path / "events"
    same_ids = [replace(made_exchange(number), prompt="other content") for number in range(30)]
    file.write_bytes(lines_of(same_ids * 10) + b"nonsense\n" * 50)
    done = coterie("--data-dir", data, "ingest", file, "--json")
    assert done.json["reasons"] == {"bad_json": 50, "conflict": 300}
    assert len([line for line in done.err.splitlines() if line.startswith("line ")]) == PROBLEMS_KEPT
    assert "... and 340 more" in done.err
    assert "350 lines rejected (300 conflict, 50 bad_json)" in done.err


def test_a_truncated_gzip_is_kept_up_to_there_and_said(coterie, tmp_path):
    file = tmp_path / "events.gz"
    packed = gzip.compress(lines_of([made_exchange(number) for number in range(2000)]))
    file.write_bytes(packed[: len(packed) // 2])
    done = coterie("--data-dir", tmp_path / "new", "ingest", file, "--json")
    assert done.code == 1
    assert 500 < done.json["stored"] < 1500
    assert done.json["rejected"] == 0
    assert f"ends early, after line {done.json['stored']}" in done.err


@pytest.mark.parametrize("content", [b"", b"\n \n", gzip.compress(b"")])
def test_an_empty_file_is_an_error(coterie, tmp_path, content):
    file = tmp_path / "events"
    file.write_bytes(content)
    done = coterie("--data-dir", tmp_path / "new", "ingest", file)
    assert (done.code, done.out) == (1, "")
    assert done.err == "coterie: the file is empty: expected one exchange a line, as JSON\n"


def test_a_missing_file_is_an_error_before_a_folder_is_made(coterie, tmp_path):
    done = coterie("--data-dir", tmp_path / "new", "ingest", tmp_path / "nowhere")
    assert done.code == 1
    assert done.err.startswith("coterie: cannot read ")
    assert not (tmp_path / "new").exists()


# Reading


def test_findings_as_json_are_the_fixed_contract(coterie, data):
    value = coterie("--data-dir", data, "findings", "--json").json
    assert value == {
        "run_id": "run-1",
        "findings": [finding_to_json(finding) for finding in FINDINGS],
        "suppressed": 0,
    }
    assert value == coterie("--data-dir", data, "--json", "findings").json
    first = value["findings"][0]
    assert set(first) >= {
        "finding_id", "kind", "severity", "confidence", "lineage", "review", "title", "accounts", "families",
        "benchmarks", "first_seen", "last_seen", "evidence", "counter_evidence", "exemplars",
    }  # fmt: skip
    assert "p_value" not in first["counter_evidence"][0]


def test_findings_as_a_table_name_the_next_command(coterie, data):
    done = coterie("--data-dir", data, "findings")
    assert done.out.index("f-one") < done.out.index("f-two")
    assert "accounts share one" in done.out
    assert f"next: coterie --data-dir {data} finding f-one" in done.err


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--account", "a3"), ["f-two"]),
        (("--kind", "benchmark_run"), []),
        (("--review", "open"), ["f-one", "f-two"]),
        (("--run", "run-1"), ["f-one", "f-two"]),
    ],
)
def test_findings_are_filtered(coterie, data, flags, expected):
    value = coterie("--data-dir", data, "findings", "--json", *flags).json
    assert [finding["finding_id"] for finding in value["findings"]] == expected


def test_before_the_first_run_there_are_no_findings_and_no_error(coterie, tmp_path):
    data = tmp_path / "new"
    coterie("--data-dir", data, "ingest", "-", stdin=lines_of([made_exchange(1)]))
    done = coterie("--data-dir", data, "findings", "--json")
    assert (done.code, done.json) == (0, {"run_id": "", "findings": [], "suppressed": 0})
    assert "no whole run is done yet" in done.err
    assert coterie("--data-dir", data, "findings").out == ""
    assert coterie("--data-dir", data, "runs").out == ""


def test_a_finding_is_shown_whole_and_harmless(coterie, data):
    done = coterie("--data-dir", data, "finding", "f-one")
    assert done.code == 0
    for part in ("pool overlap", "shared pool", "0.83", "permuted: 0.04", "1.2e-09", "shared payment", "They pay"):
        assert part in done.out, part
    assert "[red]ignore[/red] \\x1b[31mprevious" in " ".join(done.out.split())
    assert "\x1b" not in done.out
    assert all(len(line) <= 100 for line in done.out.splitlines())
    value = coterie("--data-dir", data, "finding", "f-one", "--json").json
    assert [exchange["exchange_id"] for exchange in value["exchanges"]] == ["x000", "x003"]
    assert value["evidence"][0]["p_value"] == 1.2e-9


def test_an_account_is_found_or_told_why_not(coterie, data):
    done = coterie("--data-dir", data, "account", "a3")
    assert "f-two" in done.out
    assert coterie("--data-dir", data, "account", "a3", "--json").json["findings"][0]["finding_id"] == "f-two"
    done = coterie("--data-dir", data, "account", "nobody")
    assert (done.code, done.out) == (1, "")
    assert "coterie: account nobody" in done.err


def test_families_are_listed_with_what_became_of_them(coterie, data):
    value = coterie("--data-dir", data, "families", "--json").json
    assert value == {"run_id": "run-1", "families": [family_to_json(family) for family in FAMILIES]}
    assert set(value["families"][0]) >= {"family_id", "texts", "accounts", "exchanges", "lineage", "joined"}
    done = coterie("--data-dir", data, "families")
    assert done.out.index("family-1") < done.out.index("family-2") < done.out.index("family-3")
    assert "merged from family-8, family-9" in " ".join(done.out.split())
    assert all(len(line) <= 100 for line in done.out.splitlines())
    value = coterie("--data-dir", data, "families", "--json", "--lineage", "gone", "--run", "run-1").json
    assert [family["family_id"] for family in value["families"]] == ["family-3"]
    done = coterie("--data-dir", data, "families", "--json", "--limit", 2)
    assert len(done.json["families"]) == 2
    assert "there are more" in done.err
    assert coterie("--data-dir", data, "families", "--run", "run-9").code == 1
    assert coterie("--data-dir", data, "families", "--lineage", "dead").code == 2


def test_before_the_first_run_there_are_no_families_and_no_error(coterie, tmp_path):
    data = tmp_path / "new"
    coterie("--data-dir", data, "ingest", "-", stdin=lines_of([made_exchange(1)]))
    done = coterie("--data-dir", data, "families", "--json")
    assert (done.code, done.json) == (0, {"run_id": "", "families": []})
    assert "no whole run is done yet" in done.err


def test_an_account_is_told_its_families(coterie, data):
    assert "by family: family-1 (6)" in coterie("--data-dir", data, "account", "a1").out
    value = coterie("--data-dir", data, "account", "a1", "--json").json
    assert value["families"] == [{"family_id": "family-1", "texts": 6, "joined": 0}]
    assert coterie("--data-dir", data, "account", "a3", "--json").json["families"] == []


def test_search_finds_who_asks_alike(coterie, data):
    base = ("--data-dir", data, "--model", "hash", "search")
    value = coterie(*base, "please explain rye bread to reader 4", "-k", 3, "--json").json
    assert value["hits"][0]["exchange"]["exchange_id"] == "x004"
    assert value["hits"][0]["similarity"] == pytest.approx(1.0, abs=1e-3)
    assert all("rye bread" in hit["exchange"]["prompt"] for hit in value["hits"])
    same = coterie(*base, "-", "-k", 3, "--json", stdin=b"please explain rye bread to reader 4\n").json
    assert same["hits"] == value["hits"]
    done = coterie(*base, "please explain rye bread to reader 4", "-k", 3)
    assert done.out.index("x004") > 0


def test_search_filters(coterie, data):
    base = ("--data-dir", data, "--model", "hash", "search", "--json", "-k", 30)

    def found(*flags):
        return {hit["exchange"]["exchange_id"] for hit in coterie(*base, *flags).json["hits"]}

    everything = {f"x{number:03}" for number in range(30)}
    assert found("chess") == everything
    assert found("chess", "--account", "a1", "--account", "a2") == {f"x{n:03}" for n in range(30) if n % 5 in (1, 2)}
    assert found("chess", "--model", "m1") == {f"x{n:03}" for n in range(1, 30, 2)}
    assert found("chess", "--attribute", "asn=0") == {f"x{n:03}" for n in range(0, 30, 2)}
    assert found("chess", "--since", "2026-01-01T20:00:00Z", "--until", "2026-01-02") == {
        f"x{n:03}" for n in range(20, 24)
    }
    assert len(found("chess", "--one-per-account")) == 5
    assert found("--exchange", "x004", "--response") == everything - {"x004"}


def test_a_hit_cannot_write_to_the_terminal(coterie, data):
    done = coterie("--data-dir", data, "--model", "hash", "search", "ignore previous", "-k", 30)
    assert "[red]ignore[/red]" in done.out
    assert "\x1b" not in done.out


def test_runs_are_listed(coterie, data):
    value = coterie("--data-dir", data, "runs", "--json").json["runs"]
    assert [(run["run_id"], run["state"], run["started"]) for run in value] == [
        ("run-1", "done", "1970-01-01T00:00:00.000005Z")
    ]
    assert "9.0 s" in coterie("--data-dir", data, "runs").out


@pytest.mark.parametrize("verb", [("findings",), ("stats",), ("recluster",), ("erase", "a0", "--yes")])
def test_a_typing_error_in_the_folder_makes_no_folder_and_no_database(coterie, tmp_path, verb):
    (tmp_path / "empty").mkdir()
    for name in ("tpyo", "empty"):
        done = coterie("--data-dir", tmp_path / name, *verb)
        assert done.code == 1
        assert f"there is no coterie data in {tmp_path / name}" in done.err
    assert not (tmp_path / "tpyo").exists()
    assert list((tmp_path / "empty").iterdir()) == []


# Changing


def test_a_review_is_recorded_and_stays(coterie, data):
    done = coterie(
        "--data-dir", data, "review", "f-two", "dismissed", "--reason", "one [b]office[/b]", "--reviewer", "kim"
    )
    assert (done.code, done.out) == (0, "f-two is now dismissed\n")
    value = coterie("--data-dir", data, "finding", "f-two", "--json").json
    assert value["review"] == "dismissed"
    assert [(item["decision"], item["reason"], item["reviewer"]) for item in value["reviews"]] == [
        ("dismissed", "one [b]office[/b]", "kim")
    ]
    assert "one [b]office[/b]" in coterie("--data-dir", data, "finding", "f-two").out
    done = coterie("--data-dir", data, "review", "f-none", "dismissed", "--reason", "x")
    assert done.code == 1
    assert "f-none" in done.err


def test_a_finding_is_worked_on_from_the_command_line(coterie, data):
    def review(*argv: str) -> Any:
        return coterie("--data-dir", data, "review", *argv)

    assert review("f-one", "comment", "--reason", "who [b]pays[/b]?").out == "comment on f-one recorded; it is open\n"
    assert review("f-one", "assign", "--to", "kim").out == "f-one is kim's to look at\n"
    late = review("f-one", "confirm", "--seen", "0", "--reason", "sure")
    assert (late.code, "at version 2, not 0" in late.err) == (1, True)
    assert review("f-one", "confirm", "--seen", "2", "--reason", "sure").out == "f-one is now confirmed\n"
    gone = [item.account_id for item in FINDINGS[0].accounts][-1]
    assert "excluded by review: 1" in review("f-one", "split", "--account", gone, "--reason", "an office").out
    assert review("f-one", "merge", "--with", "f-two", "--reason", "one list").code == 0
    value = coterie("--data-dir", data, "finding", "f-two", "--json").json
    assert (value["finding_id"], value["version"], value["assignee"], value["merged"]) == ("f-one", 5, "kim", ["f-two"])
    assert [item["account_id"] for item in value["excluded"]] == [gone]
    assert [item["action"] for item in value["reviews"]] == ["comment", "assign", "decide", "split", "merge"]
    page = coterie("--data-dir", data, "finding", "f-one")
    assert "who [b]pays[/b]?" in page.out
    assert "Accounts excluded by review" in page.out
    assert "report f-one" in page.err
    assert review("f-one", "split", "--account", gone, "--undo", "--reason", "no office").code == 0
    assert review("f-one", "merge", "--with", "f-two", "--undo", "--reason", "two lists").code == 0
    assert len(coterie("--data-dir", data, "findings", "--json").json["findings"]) == 2


def test_calibration_says_that_decisions_are_too_few(coterie, data):
    coterie("--data-dir", data, "review", "f-one", "confirm", "--reason", "sure")
    done = coterie("--data-dir", data, "calibration")
    assert "Too few decisions to propose anything: 1 of at least 30" in done.out
    value = coterie("--data-dir", data, "calibration", "--json").json
    assert (value["decisions"], value["confirmed"], value["proposals"]) == (1, 1, [])


def test_a_suppressed_finding_is_counted_and_listed_on_demand(coterie, data):
    def run(*argv: str) -> Any:
        return coterie("--data-dir", data, *argv)

    done = run("review", "f-one", "dismiss", "--suppress", "accounts", "--expires", "2999-01-01", "--reason", "a lab")
    assert done.out == "f-one is now dismissed; rule-1 suppresses it\n"
    done = run("findings")
    assert "f-one" not in done.out
    assert "1 suppressed by rules; --suppressed lists them" in done.err
    value = run("findings", "--json").json
    assert ([item["finding_id"] for item in value["findings"]], value["suppressed"]) == (["f-two"], 1)
    value = run("findings", "--suppressed", "--json").json
    assert [(item["suppressed"] or {}).get("rule_id") for item in value["findings"]] == ["rule-1", None]
    assert "rule-1" in run("findings", "--suppressed").out
    assert "Suppressed by rule-1 (accounts, by" in run("finding", "f-one").out
    (rule,) = run("rules", "--json").json["rules"]
    assert (rule["rule_id"], rule["reason"], rule["findings"]) == ("rule-1", "a lab", 1)
    assert "until 2999-01-01" in run("rules").out
    assert run("rules", "revoke", "rule-1").out == "rule-1 is revoked: what it suppressed no longer is\n"
    assert "f-one" in run("findings").out
    assert run("rules", "--json").json == {"rules": []}
    assert "revoked by" in run("rules", "--all").out
    made = run("rules", "allow", "organisation", "acme", "--reason", "evaluates")
    assert made.out == "rule-2 allows 1; take it back with `rules revoke rule-2`\n"


@pytest.mark.parametrize(
    "argv",
    [
        ("comment",),
        ("merge", "--reason", "x"),
        ("split", "--reason", "x"),
        ("assign", "--reason", "x"),
        ("confirm", "--reason", "x", "--undo"),
        ("confirm", "--reason", "x", "--account", "a"),
        ("comment", "--reason", "x", "--to", "kim"),
    ],
)
def test_options_that_do_not_go_with_what_is_done_are_usage(coterie, data, argv):
    done = coterie("--data-dir", data, "review", "f-one", *argv)
    assert (done.code, done.out) == (2, "")


def test_benchmarks_are_registered_listed_and_matched(coterie, data, tmp_path):
    items = tmp_path / "items"
    items.write_text(
        "".join(json.dumps({"item_id": str(n), "text": f"how many eggs are {n} ducks"}) + "\n" for n in range(9))
    )
    base = ("--data-dir", data, "--model", "hash", "benchmark")
    assert coterie(*base, "register", "eggs", items).out == "eggs: 9 items registered\n"
    assert [item["name"] for item in coterie(*base, "list", "--json").json["benchmarks"]] == ["eggs"]
    assert "eggs" in coterie(*base, "list").out
    items.write_text('{"item_id": "1", "text": "something else"}\n')
    done = coterie(*base, "register", "eggs", items)
    assert done.code == 1
    assert "eggs" in done.err


def test_erasing_is_confirmed_and_complete(coterie, data):
    done = coterie("--data-dir", data, "erase", "a3", "--yes", "--json")
    assert (done.code, done.json["exchanges"]) == (0, 6)
    assert coterie("--data-dir", data, "--json", "stats").json["exchanges"] == 24
    assert coterie("--data-dir", data, "account", "a3").code == 1
    assert "a3" not in coterie("--data-dir", data, "findings", "--json").out
    assert done.json["proof"]["complete"] is True
    assert done.json["proof"]["residues"] == []
    again = coterie("--data-dir", data, "erase", "a3", "--yes")
    assert (again.code, "nothing is left of it" in again.out) == (0, True)
    assert coterie("--data-dir", data, "erase", "nobody", "--yes").code == 1


@pytest.mark.parametrize(("answer", "code", "left"), [(b"no\n", 1, 30), (b"", 1, 30), (b"yes\n", 0, 24)])
def test_at_a_terminal_erasing_is_asked_about(coterie, data, answer, code, left):
    done = coterie("--data-dir", data, "erase", "a3", stdin=answer, tty=True)
    assert done.code == code
    assert "Erase a3 with 6 exchanges?" in done.err
    assert coterie("--data-dir", data, "--json", "stats").json["exchanges"] == left


# Simulated traffic


def test_simulate_writes_traffic_and_evaluate_scores_it(coterie, tmp_path):
    out, data = tmp_path / "sim", tmp_path / "new"
    value = coterie("simulate", "--accounts", 60, "--seed", 3, "--responses", 0.1, "--out", out, "--json").json
    truth = json.loads((out / "truth.json").read_text())
    guilty = sorted(account for account, entry in truth.items() if entry["label"] != "benign")
    assert value["exchanges"] == len((out / "events.jsonl").read_text().splitlines())
    assert value["campaigns"] == len({truth[account]["label"] for account in guilty}) > 0
    assert coterie("--data-dir", data, "ingest", out / "events.jsonl").code == 0
    done = coterie("--data-dir", data, "evaluate", out / "events.jsonl", out / "truth.json")
    assert done.code == 1
    assert "no whole run is done yet" in done.err
    benign = next(account for account, entry in truth.items() if entry["label"] == "benign")
    _finish(data, [made_finding("f", (*guilty, benign)), replace(made_finding("g", (benign,)), lineage=Lineage.GONE)])
    scores = coterie("--data-dir", data, "evaluate", out / "events.jsonl", out / "truth.json", "--json").json
    assert scores["account_recall"] == 1.0
    assert scores["account_precision"] == pytest.approx(len(guilty) / (len(guilty) + 1))
    assert scores["findings"] == 1
    assert "account recall" in coterie("--data-dir", data, "evaluate", out / "events.jsonl", out / "truth.json").out


def _finish(data: Path, findings: list[Finding]) -> None:
    store = open_store(data)
    try:
        run = Run("run-1", RunState.RUNNING, START_US)  # type: ignore[arg-type]
        store.create_run(run)
        store.finish_run(replace(run, state=RunState.DONE), findings, [])
    finally:
        store.close()


@pytest.fixture
def traffic(coterie, tmp_path) -> Path:
    """A folder of simulated traffic, ingested into `new` beside it."""
    assert coterie("simulate", "--accounts", 60, "--responses", 0.1, "--out", tmp_path / "sim").code == 0
    assert coterie("--data-dir", tmp_path / "new", "ingest", tmp_path / "sim" / "events.jsonl").code == 0
    return tmp_path / "sim"


def test_recluster_embeds_runs_and_says_what_came_out(coterie, traffic):
    base = ("--data-dir", traffic.parent / "new", "--model", "hash")
    done = coterie(*base, "recluster")
    assert done.code == 0
    assert re.search(r"run \S+: [\d,]+ exchanges, 60 accounts from 20", done.out)
    assert "\nfound: " in done.out
    assert re.search(r"\nfamilies: \d+( \(\d+ born\))?\n", done.out)
    assert done.err.splitlines()[-1].startswith("next: coterie ")
    assert done.err.splitlines()[-1].endswith("findings")
    assert coterie(*base, "--json", "stats").json["pending_texts"] == 0
    done = coterie(*base, "recluster", "--since", "2026-03-03", "--until", "2026-03-04T00:00:00Z", "--json")
    run = done.json["run"]
    assert (run["state"], run["since"], run["until"]) == ("done", "2026-03-03T00:00:00Z", "2026-03-04T00:00:00Z")
    runs = coterie(*base, "runs", "--json").json["runs"]
    assert runs[0]["run_id"] == run["run_id"]
    assert len(runs) == 2


def test_recluster_on_a_slice_leaves_the_standing_findings(coterie, traffic, tmp_path):
    base = ("--data-dir", traffic.parent / "new", "--model", "hash")
    assert coterie(*base, "recluster").code == 0
    standing = coterie(*base, "findings", "--json").json
    events = [json.loads(line) for line in (traffic / "events.jsonl").read_text().splitlines()]
    names = sorted({event["account_id"] for event in events})[:30]
    (tmp_path / "names").write_text("\n".join(names[1:]))
    picked = ("--account", names[0], "--accounts-from", tmp_path / "names")
    done = coterie(*base, "recluster", *picked, "--also", "10/20", "--since", "2026-01-01")
    assert done.code == 0, done.err
    assert "only: 30 accounts; the standing findings stay as they are" in done.out
    assert re.search(r"^5/10: [\d,]+ families hold \d+% of the texts, the findings' set$", done.out, re.M)
    assert re.search(r"^10/20: [\d,]+ families .*, agreement with the first -?\d\.\d{3}$", done.out, re.M)
    runs = coterie(*base, "runs", "--json").json["runs"]
    assert runs[0]["slice"] == {
        "field": "prompt",
        "models": [],
        "accounts": names[:20],
        "accounts_total": 30,
        "attributes": {},
    }
    assert runs[0]["measures"]["accounts"] == 30
    assert runs[0]["sets"] == [
        {"min_samples": 5, "min_cluster_size": 10},
        {"min_samples": 10, "min_cluster_size": 20},
    ]
    assert runs[1]["slice"]["accounts_total"] == 0
    assert done.err.splitlines()[-1].endswith(f"findings --run {runs[0]['run_id']}")
    assert "30 accounts" in coterie(*base, "runs").out
    assert coterie(*base, "findings", "--json").json == standing
    assert coterie(*base, "findings", "--run", runs[0]["run_id"], "--json").json["run_id"] == runs[0]["run_id"]


def test_recluster_on_responses_and_by_model_and_label(coterie, tmp_path):
    data = tmp_path / "new"
    (tmp_path / "events").write_bytes(lines_of([made_exchange(number) for number in range(40)]))
    base = ("--data-dir", data, "--model", "hash")
    assert coterie(*base, "ingest", tmp_path / "events").code == 0
    by = ("--model", "m1", "--model", "m9", "--attribute", "asn=1", "--field", "response", "--min-samples", 3)
    done = coterie(*base, "recluster", *by, "--json")
    assert done.code == 0, done.err
    run = done.json["run"]
    assert (run["measures"]["exchanges"], run["parameters"]["min_samples"]) == (20, 3)
    assert run["slice"]["field"] == "response"
    assert "responses, model m1, model m9, asn=1" in " ".join(coterie(*base, "recluster", *by).out.split())
    assert coterie(*base, "findings").err.startswith("no whole run is done yet")
    done = coterie(*base, "recluster", "--model", "m7")
    assert done.code == 1
    assert "passes models" in done.err


def test_a_file_of_no_accounts_is_not_everybody(coterie, traffic, tmp_path):
    (tmp_path / "names").write_text("\n")
    done = coterie(
        "--data-dir", traffic.parent / "new", "--model", "hash", "recluster", "--accounts-from", tmp_path / "names"
    )
    assert done.code == 1
    assert "names no account" in done.err


def test_a_run_that_fails_is_a_failure(coterie, traffic):
    base = ("--data-dir", traffic.parent / "new")
    assert coterie(*base, "--model", "hash", "recluster", "--since", "2026-03-07").code == 0
    done = coterie(*base, "--model", "hash-64", "recluster")
    assert (done.code, done.out) == (1, "")
    assert "hash" in done.err.splitlines()[-1]
    assert "Traceback" not in done.err


def test_the_demo_shows_it_all_and_cleans_up(coterie, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    done = coterie("--model", "hash", "demo", "--accounts", 100)
    assert done.code == 0, done.err
    for part in ("✓ right", "Evidence for it", "Who else asks like this?", "the truth: ", "account recall", "Next"):
        assert part in done.out, part
    assert all(len(line) <= 100 for line in done.out.splitlines())
    assert list(tmp_path.iterdir()) == []


def test_the_demo_fails_with_the_servers_log_when_the_server_does(coterie):
    done = coterie("--model", "no/such/model", "demo", "--accounts", 60)
    assert done.code == 1
    assert "server: " in done.err
    assert "Traceback" not in done.err


# At a server


def test_a_server_and_a_folder_give_the_same_findings(coterie, traffic, tmp_path):
    def identities(*place: object) -> list[tuple[str, list[str]]]:
        assert coterie(*place, "recluster").code == 0
        found = coterie(*place, "findings", "--json").json["findings"]
        return sorted(
            (one["finding_id"], sorted(account["account_id"] for account in one["accounts"])) for one in found
        )

    here = identities("--data-dir", tmp_path / "new", "--model", "hash")
    with serving(tmp_path / "other", tmp_path / "log") as (address, _):
        assert coterie("--server", address, "ingest", traffic / "events.jsonl").code == 0
        there = identities("--server", address)
    assert here
    assert there == here


def test_at_a_server_everything_is_the_same(coterie, data, served):
    address, process = served
    remote = coterie("--server", address, "findings", "--json")
    assert remote.json["findings"] == [finding_to_json(finding) for finding in FINDINGS]
    while coterie("--server", address, "--json", "stats").json["pending_texts"]:
        assert process.poll() is None
    hits = coterie("--server", address, "search", "--exchange", "x004", "-k", 2, "--json").json["hits"]
    assert len(hits) == 2
    blocked = coterie("--data-dir", data, "findings")
    assert (blocked.code, blocked.out) == (1, "")
    assert f"--server {address}" in blocked.err
    assert len(blocked.err.splitlines()) == 1
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert coterie("--data-dir", data, "findings", "--json").json == remote.json


def test_ingest_at_a_server_is_durable_there(coterie, served, tmp_path):
    address, _ = served
    file = tmp_path / "events"
    file.write_bytes(lines_of([made_exchange(number) for number in range(25, 60)]))
    done = coterie("--server", address, "ingest", file, "--json")
    assert (done.json["stored"], done.json["duplicates"]) == (30, 5)
    assert coterie("--server", address, "--json", "stats").json["exchanges"] == 60


def test_no_server_is_one_line(coterie):
    done = coterie("--server", "127.0.0.1:9", "stats")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(
        "coterie: no answer from the server at 127.0.0.1:9, is it running, and does it speak TLS as you do? ("
    )
    assert len(done.err.splitlines()) == 1


# Failing


def test_a_defect_is_one_line_unless_debugging(coterie, monkeypatch):
    def broken(session):
        raise ZeroDivisionError("secret prompt text")

    monkeypatch.setattr(cli_commands, "stats", broken)
    done = coterie("stats")
    assert done.code == 1
    assert done.err == "coterie: unexpected ZeroDivisionError: run it again with --debug and report what it says\n"
    with pytest.raises(ZeroDivisionError):
        coterie("--debug", "stats")


def test_an_interrupt_is_a_failure_without_traceback(coterie, monkeypatch):
    def interrupted(session):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_commands, "stats", interrupted)
    assert coterie("stats") == Done(1, "", "coterie: interrupted\n")


def test_a_reader_that_goes_away_is_no_traceback(data):
    command = [sys.executable, "-m", "coterie.server.cli", "--data-dir", str(data), "findings", "--json"]
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(command, stdout=write_end, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(write_end)
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
    assert done.returncode == 1


def test_a_key_file_is_made_once(coterie, tmp_path):
    done = coterie("key", "new", tmp_path / "key", "--json")
    assert (done.code, done.json) == (0, {"file": str(tmp_path / "key")})
    again = coterie("key", "new", tmp_path / "key")
    assert (again.code, "never overwritten" in again.err) == (1, True)
    assert coterie("--server", "h:1", "key", "new", tmp_path / "other").code == 2
