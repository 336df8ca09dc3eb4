"""What makes the command line pleasant: tables that fit, marks, paging, completion, options wherever one puts them."""

import fcntl
import io
import os
import pty
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from coterie.domain import (
    AccountReport,
    Evidence,
    Exchange,
    Finding,
    FindingAccount,
    FindingKind,
    Hit,
    Run,
    RunState,
    Severity,
    Standing,
)
from coterie.server import cli, cli_terminal, config
from coterie.server import cli_render as render
from coterie.server.cli_completion import SHELLS, completion_script
from coterie.server.cli_highlight import MARK, marked, marked_shared, telling_words
from coterie.server.cli_terminal import Terminal

START_US = 1_767_225_600_000_000  # 2026-01-01
LONG = "acct_" + "0123456789abcdef" * 15
FINDING = Finding(
    finding_id="f-5e6106dd8e",
    kind=FindingKind.BENCHMARK_RUN,
    severity=Severity.CRITICAL,
    confidence=0.99,
    title="17 accounts share out 1,118 prompts " * 3,
    accounts=(FindingAccount(LONG, 123_456, 123_456, 1.0, START_US, START_US),) * 14,
    families=(),
    benchmarks=(),
    first_seen_us=START_US,
    last_seen_us=START_US,
    evidence=(Evidence("neighbour_mixing", "nearest " * 20, -123.456, "chance " * 20, "Alike. " * 30, 1e-300),),
    counter_evidence=(),
    exemplars=("x",),
)
EXCHANGE = Exchange(LONG, LONG, START_US, "家族のことを教えてください " * 40, response="はい")
RUN = Run("20261124T105810-1cd3a6", RunState.FAILED, START_US, error="why " * 40, since_us=START_US, until_us=START_US)
ACCOUNT = AccountReport(9, "r", Standing(LONG, 9, nearest_candidate="near " * 30, reason="because " * 30), (FINDING,))


@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize(
    "shown",
    [
        render.findings_table([FINDING]),
        render.finding_page(FINDING, [], [EXCHANGE, EXCHANGE]),
        render.hits_table([Hit(EXCHANGE, 0.123)], query="家族"),
        render.runs_table([RUN]),
        render.account_page(ACCOUNT),
    ],
    ids=["findings", "finding", "search", "runs", "account"],
)
def test_what_is_shown_fits_the_window(shown: RenderableType, width: int) -> None:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=True, color_system=None, highlight=False).print(shown)
    assert out.getvalue()
    assert [line for line in out.getvalue().splitlines() if cell_len(line) > width] == []


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize(
    ("shown", "name"),
    [
        (render.findings_table([FINDING]), FINDING.finding_id),
        (render.accounts_table(replace(FINDING, accounts=FINDING.accounts[:1])), LONG),
        (render.runs_table([replace(RUN, error="")]), RUN.run_id),
    ],
    ids=["findings", "accounts", "runs"],
)
def test_an_id_is_folded_and_never_cut_or_squeezed(shown: RenderableType, name: str, width: int) -> None:
    out = io.StringIO()
    Console(file=out, width=width).print(shown)
    pieces = [line.split(" ", maxsplit=1)[0] for line in out.getvalue().splitlines()]
    first = next(row for row, piece in enumerate(pieces) if piece and name.startswith(piece))
    assert len(pieces[first]) >= 12
    assert "".join(pieces[first:]).startswith(name)


# Marks


def spans(line: str, query: str) -> list[str]:
    made = marked(line, telling_words(query))
    assert made.plain == line
    return [line[span.start : span.end] for span in made.spans if span.style == MARK]


def test_words_of_the_query_are_marked_whatever_their_case() -> None:
    assert spans("Explain the TIDES, the tidesmen", "how do the tides work, explain") == ["Explain", "TIDES"]
    assert spans("GPT-4 and a 4", "gpt-4?") == ["4", "4"]
    assert spans("so it is", "is it so") == ["so", "it", "is"]
    assert spans("anything", "") == []


def test_what_exemplars_share_is_marked() -> None:
    first, second = marked_shared(["Name the capital of Peru.", "Please name the capital of Chad"])
    assert [first.plain[span.start : span.end] for span in first.spans if span.style] == ["Name the capital of"]
    assert second.plain == "Please name the capital of Chad"


def test_hits_mark_the_side_that_was_searched() -> None:
    hit = Hit(replace(EXCHANGE, prompt="about tides", response="tides rise"), 0.5)
    for responses, said in ((False, "about tides"), (True, "tides rise")):
        out = io.StringIO()
        table = render.hits_table([hit], responses=responses, query="tides")
        Console(file=out, width=100, force_terminal=True, color_system="standard").print(table)
        assert said.replace("tides", "\x1b[1;32mtides\x1b[0m") in out.getvalue()


def test_hits_of_an_exchange_mark_what_they_share() -> None:
    hits = [Hit(replace(EXCHANGE, prompt=f"{name} holds the red kite"), 0.5) for name in ("Ada", "Bob")]
    out = io.StringIO()
    Console(file=out, width=100, force_terminal=True, color_system="standard").print(render.hits_table(hits))
    assert out.getvalue().count("\x1b[1;32mholds the red kite\x1b[0m") == 2
    assert "Ada \x1b[1;32m" in out.getvalue()


# Paging


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Terminal, Tty, list[str]]]:
    """A terminal of five lines, where its output goes, and what was paged."""

    def make(**given: object) -> tuple[Terminal, Tty, list[str]]:
        out, paged = Tty(), []
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setenv("TERM", "xterm")
        terminal = Terminal(pager=("pager",), **given)  # type: ignore[arg-type]
        terminal.out = Console(file=out, force_terminal=True, width=40, height=5)
        monkeypatch.setattr(cli_terminal, "page", lambda text, command: paged.append(text) is None)
        return terminal, out, paged

    return make


def test_only_what_is_longer_than_the_window_is_paged(screen) -> None:
    terminal, out, paged = screen()
    terminal.data({}, "\n".join("abcd"))
    assert (out.getvalue(), paged) == ("a\nb\nc\nd\n", [])
    terminal.data({}, "\n".join("abcde"))
    assert (out.getvalue(), paged) == ("a\nb\nc\nd\n", ["a\nb\nc\nd\ne\n"])


def test_json_and_what_is_no_terminal_are_never_paged(screen) -> None:
    terminal, out, paged = screen(as_json=True)
    terminal.data(list(range(10)), "")
    assert len(out.getvalue().splitlines()) == 12
    terminal, out, paged = screen()
    terminal.out = Console(file=out, width=40, height=5)
    terminal.out._force_terminal = False
    terminal.data({}, "\n".join("abcdefgh"))
    assert paged == []
    assert out.getvalue().endswith("h\n")


def test_without_such_a_pager_it_is_printed(screen, monkeypatch) -> None:
    monkeypatch.undo()
    terminal, out, _ = screen()
    monkeypatch.undo()
    terminal._pager = ("/nowhere/pager",)
    terminal.data({}, "\n".join("abcdefgh"))
    assert out.getvalue() == "a\nb\nc\nd\ne\nf\ng\nh\n"


def test_a_pager_that_is_left_early_is_no_error() -> None:
    assert cli_terminal.page("line\n" * 200_000, ("head", "-n", "0"))


@pytest.mark.parametrize(
    ("environment", "command"),
    [
        ({}, ("less",)),
        ({"PAGER": "more -s"}, ("more", "-s")),
        ({"PAGER": ""}, ()),
        ({"PAGER": "cat"}, ()),
        ({"PAGER": "less 'open"}, ()),
    ],
)
def test_the_pager_is_that_of_the_environment(environment, command) -> None:
    assert config.pager_command(environment=environment) == command


@pytest.mark.parametrize(("flags", "paged"), [((), True), (("--no-pager",), False)])
def test_in_a_real_terminal(tmp_path: Path, flags: tuple[str, ...], paged: bool) -> None:
    pager = tmp_path / "pager"
    pager.write_text("#!/bin/sh\nexec sed 's/^/| /'\n")
    pager.chmod(0o700)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 3, 80, 0, 0))
    environment = {**os.environ, "PAGER": str(pager), "TERM": "xterm"}
    command = [sys.executable, "-m", "coterie.server", *flags, "--data-dir", str(tmp_path / "data")]
    # simulate says one long line, which takes more lines than this terminal has
    verb = ["simulate", "--out", str(tmp_path / ("deep/" * 30)), "--accounts", "20", "--days", "1"]
    process = subprocess.Popen(
        [*command, *verb], stdout=theirs, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, env=environment
    )
    os.close(theirs)
    said = b""
    try:
        while block := os.read(ours, 4096):
            said += block
    except OSError:  # Linux says so when the other side has closed
        pass
    assert process.wait(timeout=60) == 0
    os.close(ours)
    assert b"exchanges of 20 accounts" in said
    assert said.startswith(b"| ") is paged


# Completion


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "coterie.bash"
    path.write_text(completion_script(cli.make_parser(), "bash"))
    return path


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("coterie fin", {"findings", "finding"}),
        ("coterie benchmark ", {"register", "list", "match"}),
        ("coterie search --one", {"--one-per-account"}),
        ("coterie findings --review es", {"escalated"}),
        ("coterie findings --review=es", set()),
        ("coterie review f-1 dis", {"dismiss", "dismissed"}),
        ("coterie --json ru", {"rules", "runs"}),
        ("coterie completion ", set(SHELLS)),
        ("coterie ingest ev", {"events.jsonl"}),
        ("coterie simulate --out s", {"sim"}),
    ],
)
def test_bash_completes(script: Path, tmp_path: Path, line: str, expected: set[str]) -> None:
    (tmp_path / "events.jsonl").touch()
    (tmp_path / "sim").mkdir()
    (tmp_path / "some.file").touch()
    words = line.split(" ")
    complete = 'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shtab_coterie; printf "%s\\n" "${COMPREPLY[@]}"'
    code = f'source "$1"; shift; {complete}'
    done = subprocess.run(
        ["bash", "-c", code, "bash", script, *words], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert set(done.stdout.split()) == expected


@pytest.mark.parametrize("shell", SHELLS)
def test_the_verb_writes_the_script(capsys, shell: str) -> None:
    assert cli.main(["completion", shell]) == 0
    said = capsys.readouterr()
    assert said.out == completion_script(cli.make_parser(), shell)
    assert said.err == ""  # a shell that starts reads it


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh")
def test_zsh_takes_the_script(tmp_path: Path) -> None:
    (tmp_path / "_coterie").write_text(completion_script(cli.make_parser(), "zsh"))
    subprocess.run(["zsh", "-n", tmp_path / "_coterie"], check=True)


# Global options


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["--server", "h:1", "--json", "runs"], ["runs", "--server", "h:1", "--json"]),
        (["--data-dir", "d", "token", "list"], ["token", "list", "--data-dir", "d"]),
        (["--no-pager", "--debug", "findings"], ["findings", "--no-pager", "--debug"]),
        (["--model", "hash", "stats"], ["stats", "--model", "hash"]),
    ],
)
def test_global_options_may_follow_the_verb(before: list[str], after: list[str]) -> None:
    parser = cli.make_parser()
    assert vars(parser.parse_args(before)) == vars(parser.parse_args(after))


def test_an_option_of_the_verb_comes_first() -> None:
    options = cli.make_parser().parse_args(["--model", "hash", "search", "x", "--model", "m-1"])
    assert (options.model, options.answered_by) == ("hash", ["m-1"])


# Settings


def test_serve_says_what_a_setting_takes_and_what_it_is_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["serve", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "--monolingual [true|false]" in said
    assert "is not seen as one (default: false)" in said
    assert "0 keeps all. At least window_days (default: 0)" in said
    assert "cuda, cuda:1, ... (default: auto)" in said
    assert "empty is never (default: none)" in said


@pytest.mark.parametrize(
    ("words", "value"), [([], None), (["--lazy-model"], "true"), (["--lazy-model", "false"], "false")]
)
def test_a_switch_may_stand_alone(words: list[str], value: str | None) -> None:
    options = cli.make_parser().parse_args(["serve", *words, "--listen", "127.0.0.1:0"])
    assert (options.lazy_model, options.listen) == (value, "127.0.0.1:0")
