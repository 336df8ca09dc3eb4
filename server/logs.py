"""Log lines on stderr, as JSON objects or as text. They carry ids, counts and lengths, never prompts or responses."""

import json
import logging
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from coterie.server.requests import request_id

LOG_FORMATS = ("auto", "json", "text")
"""`auto` is text on a terminal, and JSON everywhere else."""

REPEATS_MAX = 20
"""Warnings and errors of one kind that are written in an interval; the rest is counted."""
REPEAT_INTERVAL_S = 60.0
_KINDS_MAX = 1_024
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:/+-@%")


@contextmanager
def logging_to_stderr(level: str, log_format: str = "auto") -> Iterator[None]:
    """While the context is open, send what coterie logs from `level` up to stderr, a line each.

    Args:
        log_format: one of `LOG_FORMATS`.
    """
    handler = logging.StreamHandler(sys.stderr)
    as_text = sys.stderr.isatty() if log_format == "auto" else log_format == "text"
    handler.setFormatter(_TextFormatter() if as_text else _JsonFormatter())

    def write(record: logging.LogRecord) -> None:
        with handler.lock or nullcontext():
            handler.emit(record)

    repeats = Repeats(write)
    handler.addFilter(repeats)
    logger = logging.getLogger("coterie")
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    logger.propagate = False
    try:
        yield
    finally:
        repeats.flush()
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


def emit(logger: logging.Logger, level: int, event: str, **values: Any) -> None:
    """Log one event with its values; values are ids, numbers and our own messages."""
    if logger.isEnabledFor(level):
        text = " ".join([event, *(f"{name}={value}" for name, value in values.items())])
        logger.log(level, "%s", text, extra={"event": event, "values": values})


def origin(error: BaseException) -> str:
    """Where an unexpected error came from: its type and its innermost frames, without its message.

    The message of an error that is not ours may quote what a caller sent.
    """
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    places = " < ".join(f"{frame.name} {frame.filename}:{frame.lineno}" for frame in reversed(frames))
    return f"{type(error).__module__}.{type(error).__qualname__} at {places}"


@dataclass(slots=True)
class _Seen:
    since_s: float
    count: int = 0
    held_back: int = 0


class Repeats(logging.Filter):
    """Holds back what is said too often: a full disk must not fill the next one with its log.

    Of warnings and errors of one kind (logger, event, method and status), and of failed calls, `REPEATS_MAX` pass in
    `REPEAT_INTERVAL_S`; how many more there were is said once the interval is over.
    """

    def __init__(self, write: Callable[[logging.LogRecord], None], clock: Callable[[], float] = time.monotonic) -> None:
        """`write` takes the line that says how many were held back; `clock` gives seconds."""
        super().__init__()
        self._write = write
        self._clock = clock
        self._seen: dict[tuple[str, ...], _Seen] = {}
        self._swept_at = clock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written; called under the handler's lock or not, a miscount by one is no harm."""
        now_s = self._clock()
        if now_s - self._swept_at >= REPEAT_INTERVAL_S:
            self._sweep(now_s)
        values: Mapping[str, Any] = getattr(record, "values", {})
        status = str(values.get("status", ""))
        if record.levelno < logging.WARNING and status in ("", "OK"):
            return True
        key = (record.name, str(getattr(record, "event", record.msg)), str(values.get("method", "")), status)
        seen = self._seen.get(key)
        if seen is None or now_s - seen.since_s >= REPEAT_INTERVAL_S:
            if seen is not None:
                self._tell(key, seen)
            elif len(self._seen) >= _KINDS_MAX:
                return True
            seen = self._seen[key] = _Seen(now_s)
        seen.count += 1
        if seen.count <= REPEATS_MAX:
            return True
        seen.held_back += 1
        return False

    def flush(self) -> None:
        """Say what was held back so far."""
        self._sweep(float("inf"))

    def _sweep(self, now_s: float) -> None:
        self._swept_at = min(now_s, self._clock())
        for key in [key for key, seen in list(self._seen.items()) if now_s - seen.since_s >= REPEAT_INTERVAL_S]:
            seen = self._seen.pop(key, None)
            if seen is not None:
                self._tell(key, seen)

    def _tell(self, key: tuple[str, ...], seen: _Seen) -> None:
        if not seen.held_back:
            return
        name, event, method, status = key
        record = logging.LogRecord(name, logging.WARNING, __file__, 0, "repeats_held_back", None, None)
        values = {"of": event, "count": seen.held_back, "interval_s": REPEAT_INTERVAL_S}
        record.__dict__["event"] = "repeats_held_back"
        record.__dict__["values"] = values | ({"method": method, "status": status} if method else {})
        self._write(record)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What a line says, in the order in which it says it."""
    values: Mapping[str, Any] = getattr(record, "values", {})
    line: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": getattr(record, "event", record.getMessage()),
    }
    # Formatted in the thread that logs, so the request is the one at work there.
    identity = request_id()
    return line | ({"request_id": identity} if identity else {}) | dict(values)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(_fields(record), ensure_ascii=False, default=str)


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = _fields(record)
        head = f"{line.pop('time')} {line.pop('level').upper():7} {line.pop('logger')}: {_one_line(line.pop('event'))}"
        return " ".join([head, *(f"{name}={_quoted(value)}" for name, value in line.items())])


def _one_line(text: str) -> str:
    return text if text.isprintable() else json.dumps(text)[1:-1]


def _quoted(value: Any) -> str:
    text = str(value)
    return text if text and _PLAIN.issuperset(text) else json.dumps(text)
