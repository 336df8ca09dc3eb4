import io
import json
import time

import pytest
from rich.console import Console

from coterie.server.cli_render import number, p_value
from coterie.server.cli_terminal import PlainMeter, Terminal, shown, styled


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain text", "plain text"),
        ("two\n lines\tand  gaps ", "two lines and gaps"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("bell\x07 and c1 \x9b31m", "bell\\x07 and c1 \\x9b31m"),
        ("[red]not markup[/red]", "[red]not markup[/red]"),
        ("user\u202egpj.exe", "user\\u202egpj.exe"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("família 家族 👩\u200d👧", "família 家族 👩\u200d👧"),
    ],
)
def test_callers_text_reaches_the_terminal_as_text(text, expected):
    assert shown(text) == expected
    out = io.StringIO()
    Console(file=out, width=200, force_terminal=True, highlight=False).print(styled(text, "bold"))
    printed = out.getvalue().replace("\x1b[1m", "").replace("\x1b[0m", "").rstrip("\n")
    assert printed == expected


def test_long_text_is_cut_visibly():
    assert shown("word " * 100, 12) == "word word w…"
    assert shown("short", 12) == "short"


def test_json_is_valid_whatever_it_holds(capsys):
    Terminal(as_json=True).data({"value": float("nan"), "rows": [1.5, float("inf")], "text": "\x9b31m \x1b 家"})
    out = capsys.readouterr().out
    assert json.loads(out) == {"value": None, "rows": [1.5, None], "text": "\x9b31m \x1b 家"}
    assert all(character == "\n" or 32 <= ord(character) < 127 for character in out)


def test_suggested_commands_can_be_pasted(capsys):
    terminal = Terminal(prefix=["coterie", "--data-dir", "my data"])
    terminal.suggest("finding", "f 1; rm")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "next: coterie --data-dir 'my data' finding 'f 1; rm'\n"


def test_progress_in_a_log_is_a_line_now_and_then(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    meter = PlainMeter(Terminal(), "ingesting")
    for tick in range(26):
        clock[0] = tick * 1.0
        meter.update(tick / 25, f"{tick} exchanges")
    assert capsys.readouterr().err.splitlines() == ["ingesting: 40%, 10 exchanges", "ingesting: 80%, 20 exchanges"]


def test_numbers_for_reading():
    assert [number(value) for value in (12345, 0.5, 2.0, 1e-9)] == ["12,345", "0.5", "2", "1e-09"]
    assert number(float("inf")) == "inf"
    assert [p_value(value) for value in (None, 0.0, 0.00012345, 1.0)] == ["-", "<1e-300", "0.00012", "1"]
