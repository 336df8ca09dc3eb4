"""Files that people hand in: JSON lines, gzipped or not, read as a stream, every bad line told by its number."""

import contextlib
import gzip
import io
import json
import os
import sys
import zlib
from array import array
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from coterie.domain import BenchmarkItem, Exchange, InvalidError, exchange_from_json, printable

LINE_BYTES_MAX = 32 * 1024 * 1024
"""Longest line read: three texts at their limit, written with JSON escapes."""

PROBLEMS_KEPT = 10

_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a line; `reason` is a stable word to count by."""

    line: int
    reason: str
    message: str


class Lines:
    """The lines of a file or of stdin (`-`), with their numbers from 1; blank lines are skipped.

    A gzip that ends early or is damaged gives the whole lines before that, and `broken` says so.
    """

    def __init__(self, stream: io.BufferedReader) -> None:
        self.broken = ""
        self.count = 0
        self._raw = stream
        self._size_bytes = _size_bytes(stream)
        compressed = stream.peek(2)[:2] == _GZIP_MAGIC
        self._stream: BinaryIO = gzip.GzipFile(fileobj=stream) if compressed else stream  # type: ignore[assignment]

    def done(self) -> float | None:
        """Share of the file read; None when its size is not known."""
        return self._raw.tell() / self._size_bytes if self._size_bytes else None

    def __iter__(self) -> Iterator[tuple[int, bytes | None]]:
        """Line number and line; None in place of a line over `LINE_BYTES_MAX`."""
        number = 0
        try:
            while line := self._stream.readline(LINE_BYTES_MAX + 1):
                number += 1
                whole: bytes | None = line
                if len(line) > LINE_BYTES_MAX:
                    self._skip_rest()
                    whole = None
                if whole is None or whole.strip():
                    self.count += 1
                    yield number, whole
        except EOFError:
            self.broken = f"the gzip file ends early, after line {number}: send it again from there"
        except (gzip.BadGzipFile, zlib.error):
            self.broken = f"the gzip file is damaged after line {number}: send it again from there"

    def _skip_rest(self) -> None:
        while (part := self._stream.readline(LINE_BYTES_MAX)) and not part.endswith(b"\n"):
            pass


@contextmanager
def open_lines(path: str) -> Iterator[Lines]:
    """The lines of a file; `-` is stdin.

    Raises:
        InvalidError: it cannot be read.
    """
    if path == "-":
        yield Lines(sys.stdin.buffer)  # type: ignore[arg-type]
        return
    with contextlib.ExitStack() as stack:
        try:
            stream = stack.enter_context(open(path, "rb"))
        except OSError as error:
            raise InvalidError(f"cannot read {printable(path)}: {error.strerror}", field="file") from error
        yield Lines(stream)


class Exchanges:
    """The exchanges of a stream of lines; lines that are none are counted in `reasons` and listed in `problems`."""

    def __init__(self, lines: Lines) -> None:
        self.problems: list[Problem] = []
        self.reasons: Counter[str] = Counter()
        self._lines = lines
        self._line_of = array("q")

    def __iter__(self) -> Iterator[Exchange]:
        for number, line in self._lines:
            try:
                exchange = exchange_from_json(_not_too_long(line))
            except InvalidError as error:
                self.reject(Problem(number, error.reason, str(error)))
                continue
            self._line_of.append(number)
            yield exchange

    def line_of(self, position: int) -> int:
        """The line of an exchange, given its place among those yielded."""
        return self._line_of[position]

    def reject(self, problem: Problem) -> None:
        """Count a problem, and keep it if it is one of the first."""
        self.reasons[problem.reason] += 1
        if len(self.problems) < PROBLEMS_KEPT:
            self.problems.append(problem)


def read_benchmark(path: str) -> list[BenchmarkItem]:
    """The items of a benchmark file: lines of `{"item_id","text","answer"?}`.

    Raises:
        InvalidError: a line that is no item, a damaged file or an empty one; benchmarks are all or nothing.
    """
    with open_lines(path) as lines:
        items = [_benchmark_item(number, _not_too_long(line)) for number, line in lines]
        if lines.broken:
            raise InvalidError(lines.broken, field="file")
    if not items:
        raise InvalidError(
            f'{printable(path)} holds no item: expected lines of {{"item_id","text","answer"?}}', field="file"
        )
    return items


def read_names(path: str, names_max: int) -> list[str]:
    """The names in a file, one a line, without the blanks around them.

    Raises:
        InvalidError: a line that is not UTF-8, more than `names_max` lines, a damaged file, or an empty one, which
            does not mean everybody.
    """
    names: list[str] = []
    with open_lines(path) as lines:
        for number, line in lines:
            if len(names) == names_max:
                raise InvalidError(f"{printable(path)} names more than {names_max} accounts", field="file")
            try:
                names.append(_not_too_long(line).decode("utf-8-sig").strip())
            except UnicodeDecodeError as error:
                raise InvalidError(f"line {number}: not UTF-8 text", field="file") from error
        if lines.broken:
            raise InvalidError(lines.broken, field="file")
    if not names:
        raise InvalidError(f"{printable(path)} names no account: expected one a line", field="file")
    return names


def _benchmark_item(number: int, line: bytes) -> BenchmarkItem:
    where = f"line {number}: "
    try:
        record: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidError(f"{where}not a JSON object on one line", field="items", reason="bad_json") from error
    if not isinstance(record, dict):
        raise InvalidError(f"{where}not a JSON object", field="items", reason="bad_json")
    unknown = sorted(set(record) - {"item_id", "text", "answer"})
    if unknown:
        raise InvalidError(
            f"{where}unknown field {printable(unknown[0][:64])!r}: an item has item_id, text and answer",
            field="items",
            reason="unknown_field",
        )
    for name in ("item_id", "text"):
        if record.get(name) in (None, ""):
            raise InvalidError(f"{where}{name} is missing", field="items", reason=f"missing_{name}")
    if any(not isinstance(value, str) for value in record.values() if value is not None):
        raise InvalidError(f"{where}item_id, text and answer must be strings", field="items", reason="bad_type")
    return BenchmarkItem(record["item_id"], record["text"], record.get("answer") or "")


def _not_too_long(line: bytes | None) -> bytes:
    if line is None:
        raise InvalidError(f"the line is longer than {LINE_BYTES_MAX} bytes", reason="too_long")
    return line


def _size_bytes(stream: io.BufferedReader) -> int:
    try:
        return os.fstat(stream.fileno()).st_size if stream.seekable() else 0
    except OSError:
        return 0
