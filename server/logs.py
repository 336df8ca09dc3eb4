"""Log lines as one JSON object each, on stderr. They carry ids, counts and lengths, never prompts or responses."""

import json
import logging
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any


@contextmanager
def logging_to_stderr(level: str) -> Iterator[None]:
    """While the context is open, send what coterie logs from `level` up to stderr, a JSON object a line."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter())
    logger = logging.getLogger("coterie")
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    logger.propagate = False
    try:
        yield
    finally:
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


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        values: Mapping[str, Any] = getattr(record, "values", {})
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": getattr(record, "event", record.getMessage()),
            **values,
        }
        return json.dumps(line, ensure_ascii=False, default=str)
