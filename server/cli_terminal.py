"""Where the command line writes: data on stdout, all else on stderr, and no caller's text unescaped."""

import contextlib
import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from coterie.domain import printable

_WIDTH_UNATTENDED = 100
_PLAIN_INTERVAL_S = 10.0
_WHITESPACE = re.compile(r"\s+")


def shown(text: str, chars_max: int | None = None) -> str:
    """A caller's text on one line, fit for a terminal.

    Whitespace becomes one space; control characters and those that reorder or hide text are escaped.

    Args:
        chars_max: longer text is cut and ends in an ellipsis.
    """
    line = _WHITESPACE.sub(" ", text).strip()
    if chars_max is not None and len(line) > chars_max:
        line = line[: chars_max - 1].rstrip() + "…"
    return "".join(_visible(character) for character in printable(line))


def styled(text: str, style: str = "", chars_max: int | None = None) -> Text:
    """`shown` text as a rich value: brackets in it are text, not markup."""
    return Text(shown(text, chars_max), style=style)


def _visible(character: str) -> str:
    # Format characters reorder or hide text; the zero-width joiner builds emoji and Indic script.
    if unicodedata.category(character) == "Cf" and character != "\u200d":
        return f"\\u{ord(character):04x}"
    return character


class Terminal:
    """Stdout for data, stderr for people.

    Args:
        as_json: whether data goes out as JSON.
        prefix: the words that start a command like this one, for suggesting the next.
        remote: whether what is done is done at a server that goes on without us.
        pager: the command that data goes through where it is longer than the terminal is high; nothing never pages.
    """

    def __init__(
        self,
        *,
        as_json: bool = False,
        prefix: Sequence[str] = ("coterie",),
        remote: bool = False,
        pager: Sequence[str] = (),
    ) -> None:
        self.as_json = as_json
        self.remote = remote
        self._prefix = prefix
        self._pager = pager
        self.out = _console(sys.stdout)
        self.err = _console(sys.stderr)

    def data(self, value: Any, *renderables: RenderableType) -> None:
        """Print the value as JSON, or the renderables, whichever is asked for; empty tables are left out."""
        if self.as_json:
            # ASCII keeps C1 control characters of prompts away from the terminal.
            sys.stdout.write(json.dumps(_finite(value), indent=2) + "\n")
        else:
            with self.out.capture() as captured:
                for renderable in renderables:
                    if not (isinstance(renderable, Table) and renderable.columns and not renderable.row_count):
                        self.out.print(renderable)
            self._show(captured.get())
        sys.stdout.flush()

    def _show(self, text: str) -> None:
        long = text.count("\n") >= self.out.height
        if not (long and self._pager and self.out.is_terminal and page(text, self._pager)):
            self.out.file.write(text)

    def say(self, line: str | Text) -> None:
        """One line for the person, on stderr; a plain string is not markup."""
        self.err.print(line, markup=False, highlight=False, soft_wrap=True)

    def suggest(self, *words: str) -> None:
        """The command that usually comes next."""
        self.say(Text.assemble(("next: ", "dim"), (self.command(*words), "cyan")))

    def command(self, *words: str) -> str:
        """A command with this one's global options, quoted for a shell; upper-case words are placeholders."""
        return " ".join(shlex.quote(word) for word in (*self._prefix, *words))

    @contextmanager
    def progress(self, description: str) -> Iterator["Meter"]:
        """A progress bar on a terminal; elsewhere a plain line now and then."""
        if not self.err.is_terminal:
            yield PlainMeter(self, description)
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
        )
        with Progress(*columns, console=self.err, transient=True) as progress:
            yield BarMeter(progress, description)


class Meter:
    """How far something is."""

    def update(self, done: float | None, note: str = "") -> None:
        """Say where it stands: a share from 0 to 1, or None when the whole is not known."""
        raise NotImplementedError


class BarMeter(Meter):
    """A bar that moves."""

    def __init__(self, progress: Progress, description: str) -> None:
        self._progress = progress
        self._task = progress.add_task(description, total=None, note="")

    def update(self, done: float | None, note: str = "") -> None:
        """Move the bar."""
        if done is None:
            self._progress.update(self._task, note=note)
        else:
            self._progress.update(self._task, total=1.0, completed=done, note=note)


class PlainMeter(Meter):
    """Lines, at most one in some seconds, for logs and pipes."""

    def __init__(self, terminal: Terminal, description: str) -> None:
        self._terminal = terminal
        self._description = description
        self._next_s = time.monotonic() + _PLAIN_INTERVAL_S

    def update(self, done: float | None, note: str = "") -> None:
        """Print a line if it is time for one."""
        now_s = time.monotonic()
        if now_s < self._next_s:
            return
        self._next_s = now_s + _PLAIN_INTERVAL_S
        share = "" if done is None else f"{done:.0%}"
        self._terminal.say(f"{self._description}: " + ", ".join(part for part in (share, note) if part))


def page(text: str, command: Sequence[str]) -> bool:
    """Show text through a pager until the person leaves it; False where there is no such command."""
    # As git does: colours pass, and what fits one screen after all is just printed.
    environment = {"LESS": "FRX", "LV": "-c", **os.environ}
    try:
        pager = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, text=True, encoding="utf-8")
    except OSError:
        return False
    # Ctrl-C is the pager's, which stops searching with it.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with contextlib.suppress(BrokenPipeError):  # left before the end
            pager.communicate(text)
        pager.wait()
    finally:
        signal.signal(signal.SIGINT, before)
    return True


def _console(stream: TextIO) -> Console:
    console = Console(file=stream, highlight=False, emoji=False)
    if not stream.isatty() and console.width == 80:
        console.width = _WIDTH_UNATTENDED
    return console


def _finite(value: Any) -> Any:
    # JSON has no NaN and no infinity.
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
