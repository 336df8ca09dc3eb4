"""The verbs that hand findings on, on a data folder, and what is recorded of the texts that were read for them."""

import io
import json
import os
import sqlite3
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coterie.domain import (
    Evidence,
    Exchange,
    Finding,
    FindingAccount,
    FindingKind,
    Lineage,
    Run,
    RunState,
    Severity,
)
from coterie.exports import check_report
from coterie.server import cli
from coterie.store import open_store

START_US = 1_767_225_600_000_000
CANARY = "canary-c0de"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with two findings of one run and one that is gone."""
    exchanges = [
        Exchange(
            f"e{number:03}", f"a{number % 4}", START_US + number * 60_000_000, f"ask {number} {CANARY}",
            f"answer {number} {CANARY}", model="m", attributes={"client": "<b>sdk</b>"},
        )
        for number in range(60)
    ]  # fmt: skip
    with open_store(tmp_path / "data") as store:
        store.submit(exchanges).result()
        store.bind_model("hash", 16)
        ids = [text_id for text_id, _ in store.pending_texts(1_000)]
        vectors = np.random.default_rng(0).standard_normal((len(ids), 16)).astype(np.float32)
        store.put_vectors(ids, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
        run = Run("r1", RunState.RUNNING, 5, since_us=START_US, until_us=START_US + 86_400_000_000)  # type: ignore[arg-type]
        store.create_run(run)
        findings = [
            _finding("f1", ids[:40:2], ("a0", "a1", "a2", "a3")),
            replace(_finding("f2", ids[1:9:2], ("a1",)), kind=FindingKind.BENCHMARK_RUN, severity=Severity.LOW),
            replace(_finding("f3", ids[1:9:2], ("a3",)), lineage=Lineage.GONE),
        ]
        store.finish_run(replace(run, state=RunState.DONE), findings, [])
    return tmp_path / "data"


def _finding(name: str, text_ids: list[Any], accounts: tuple[str, ...]) -> Finding:
    return Finding(
        finding_id=name,
        kind=FindingKind.CAMPAIGN,
        severity=Severity.HIGH,
        confidence=0.9,
        title=f"{name} of {len(accounts)} accounts",
        accounts=tuple(FindingAccount(account, 5, 5, 0.5, START_US, START_US + 9) for account in accounts),
        families=(),
        benchmarks=(),
        first_seen_us=START_US,
        last_seen_us=START_US + 9,
        evidence=(Evidence("harvest", "prompts", 20.0, "none", "Twenty prompts."),),
        counter_evidence=(),
        exemplars=("e000", "e001"),
        text_ids=tuple(text_ids),
        run_id="r1",
    )  # type: ignore[arg-type]


@pytest.fixture
def coterie(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> Callable[..., tuple[int, str, str]]:
    """`coterie(*words)`: a command line on the folder, in an empty working folder; its exit code, stdout and stderr."""
    for name in [name for name in os.environ if name.startswith("COTERIE_")]:
        monkeypatch.delenv(name)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(*words: object) -> tuple[int, str, str]:
        capfdbinary.readouterr()
        out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        try:
            code = cli.main(["--data-dir", str(folder), *map(str, words)])
        except SystemExit as error:
            code = int(error.code or 0)
        out.flush()
        return code, out.buffer.getvalue().decode(), err.getvalue()  # type: ignore[attr-defined]

    return run


def audited(folder: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(folder / "coterie.db") as database:
        rows = database.execute("SELECT action, subject FROM audit WHERE action LIKE 'read_dossier%'").fetchall()
    return [(str(action), str(subject)) for action, subject in rows]


def test_a_report_of_a_finding_holds_no_text_by_default(coterie: Any, folder: Path) -> None:
    code, out, err = coterie("report", "f1")
    assert code == 0, err
    html = Path("coterie-report-f1.html").read_text()
    assert CANARY not in html
    assert "f1 of 4 accounts" in html
    assert "&lt;b&gt;sdk&lt;/b&gt;" in html
    assert check_report(html) in out.replace("\n", "")
    assert f"written to {Path.cwd()}/coterie-report-f1.html" in out.replace("\n", "")
    assert stat.S_IMODE(Path("coterie-report-f1.html").stat().st_mode) == 0o600
    assert audited(folder) == [("read_dossier", "f1")]


def test_a_full_report_reads_texts_and_that_is_recorded(coterie: Any, folder: Path) -> None:
    code, out, _ = coterie("report", "f1", "--redact", "full", "--out", "-")
    assert code == 0
    assert f"ask 0 {CANARY}" in out
    check_report(out)
    assert audited(folder) == [("read_dossier_text", "f1")]


@pytest.mark.parametrize("words", [(), ("r1",)], ids=["newest", "named"])
def test_a_report_of_a_run_holds_its_findings_and_lists_what_is_gone(coterie: Any, words: tuple[str, ...]) -> None:
    code, out, _ = coterie("report", *words, "--out", "-")
    assert code == 0
    assert 'id="f1"' in out
    assert 'id="f2"' in out
    assert 'id="f3"' not in out
    assert out.count("f3 of 1 accounts") == 1
    assert "Report of run <code>r1</code>" in out


def test_a_report_is_checked(coterie: Any) -> None:
    coterie("report", "f1", "--out", "one.html")
    assert coterie("report", "--check", "one.html", "--json")[0] == 0
    path = Path("one.html")
    path.write_text(path.read_text().replace("Twenty prompts", "Two prompts"))
    code, _, err = coterie("report", "--check", "one.html")
    assert code == 1
    assert "changed since" in err
    assert coterie("report", "f1", "--check", "one.html")[0] == 2


def test_what_cannot_be_reported_is_said(coterie: Any) -> None:
    code, _, err = coterie("report", "f9")
    assert code == 1
    assert "no finding and no run f9" in err
    assert coterie("report", "f1", "--redact", "some")[0] == 2
    code, _, err = coterie("report", "f1", "--out", "no/such/folder.html")
    assert code == 1
    assert "cannot write" in err


@pytest.mark.parametrize("kind", ["stix", "misp", "ocsf", "csv", "parquet"])
def test_findings_are_exported_without_text_and_checked(coterie: Any, folder: Path, kind: str) -> None:
    code, out, err = coterie("export", "f1", "f2", "--format", kind, "--out", "out", "--json")
    assert code == 0, err
    assert json.loads(out)["findings"] == ["f1", "f2"]
    assert CANARY.encode() not in Path("out").read_bytes()
    assert audited(folder) == [("read_dossier", "f1"), ("read_dossier", "f2")]
    code, out, err = coterie("export", "--check", "out", "--json")
    assert code == 0, err
    checked = json.loads(out)
    assert checked["format"] == kind
    listed = json.loads(coterie("findings", "--json")[1])
    by_id = {item["finding_id"]: item | {"run_id": listed["run_id"]} for item in listed["findings"]}
    assert checked["findings"] == [by_id["f1"], by_id["f2"]]


def test_texts_are_exported_when_asked_for_and_that_is_recorded(coterie: Any, folder: Path) -> None:
    code, out, _ = coterie("export", "f1", "--format", "stix", "--with-text", "--tlp", "red", "--out", "-")
    assert code == 0
    assert CANARY in out
    assert audited(folder) == [("read_dossier_text", "f1")]


def test_all_that_a_run_claims_is_exported(coterie: Any) -> None:
    code, out, err = coterie("export", "--run", "r1", "--format", "csv")
    assert code == 0, err
    assert f"{Path.cwd()}/coterie-export-r1.csv: 2 findings" in out.replace("\n", "")
    assert "export --check coterie-export-r1.csv" in err.replace("\n", "")
    code, out, _ = coterie("export", "--check", "coterie-export-r1.csv")
    assert code == 0
    assert "f1" in out
    assert "f3" not in out


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("export",), 2, "takes findings"),
        (("export", "f1"), 2, "needs --format"),
        (("export", "f1", "--run", "r1", "--format", "csv"), 2, "takes findings"),
        (("export", "f1", "--check", "x"), 2, "takes no finding"),
        (("export", "f9", "--format", "csv"), 1, "no finding f9"),
        (("export", "--check", "nowhere"), 1, "cannot read"),
        (("export", "--run", "r9", "--format", "csv"), 1, "no run r9"),
    ],
)
def test_what_cannot_be_exported_is_said(coterie: Any, words: tuple[str, ...], code: int, says: str) -> None:
    found, _, err = coterie(*words)
    assert found == code
    assert says in err
