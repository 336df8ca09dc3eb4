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
from datetime import datetime
from typing import Any, BinaryIO

from coterie.domain import BenchmarkItem, Exchange, InvalidError, exchange_from_json, exchange_from_record, printable

LINE_BYTES_MAX = 32 * 1024 * 1024
"""Longest line read: three texts at their limit, written with JSON escapes."""

PROBLEMS_KEPT = 10

_GZIP_MAGIC = b"\x1f\x8b"
_PARQUET_MAGIC = b"PAR1"
_PARQUET_ROWS = 1_000


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
        start = stream.peek(4)[:4]
        self.is_parquet = start == _PARQUET_MAGIC
        compressed = start[:2] == _GZIP_MAGIC
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


class ParquetRows:
    """The rows of a Parquet file as records, with their numbers from 1.

    Columns are named like the fields of an input line. A column of timestamps with a time zone does for `time`, a map
    or a struct for `attributes`; a null is a field that is not there. Few rows are in memory at a time.

    A file of which a part cannot be read gives the rows before that, and `broken` says so.

    Raises:
        InvalidError: not Parquet to its end, or without pyarrow.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.broken = ""
        self.count = 0
        try:
            from pyarrow import ArrowException
            from pyarrow.parquet import ParquetFile
        except ImportError as error:
            raise InvalidError("reading Parquet needs pyarrow: pip install 'coterie[server]'", field="file") from error
        self._errors = (ArrowException, OSError, ValueError)
        try:
            self._file = ParquetFile(stream)
        except self._errors as error:
            raise InvalidError(
                "the Parquet file cannot be read: it is damaged, or was not written to its end", field="file"
            ) from error

    def done(self) -> float | None:
        """Share of the rows read."""
        return self.count / self._file.metadata.num_rows if self._file.metadata.num_rows else None

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Row number and record."""
        try:
            for batch in self._file.iter_batches(_PARQUET_ROWS):
                for record in batch.to_pylist():
                    self.count += 1
                    yield self.count, {name: _plain(name, value) for name, value in record.items()}
        except self._errors:
            self.broken = f"the Parquet file is damaged after row {self.count}"


def _plain(name: str, value: Any) -> Any:
    """A Parquet value as it would stand in an input line; what fits no field is left as it is, to be refused."""
    if name == "time" and isinstance(value, datetime):
        return value.isoformat()
    if name == "attributes" and isinstance(value, list):  # a map
        with contextlib.suppress(TypeError, ValueError):
            return dict(value)
    if name == "attributes" and isinstance(value, dict):  # a struct has every key in every row
        return {key: label for key, label in value.items() if label is not None}
    return value


class Exchanges:
    """The exchanges among lines or rows; what is none is counted in `reasons` and listed in `problems`."""

    def __init__(self, lines: Lines | ParquetRows) -> None:
        self.problems: list[Problem] = []
        self.reasons: Counter[str] = Counter()
        self._lines = lines
        self._line_of = array("q")

    def __iter__(self) -> Iterator[Exchange]:
        for number, line in self._lines:
            try:
                if isinstance(line, dict):
                    exchange = exchange_from_record(line)
                else:
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


@contextmanager
def open_exchanges(path: str) -> Iterator[Lines | ParquetRows]:
    """The lines, or the rows, of a file of exchanges; `-` is stdin, which cannot be Parquet.

    Raises:
        InvalidError: it cannot be read.
    """
    with open_lines(path) as lines:
        if path != "-" and lines.is_parquet:
            with open(path, "rb") as stream:
                yield ParquetRows(stream)
        else:
            yield lines


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
