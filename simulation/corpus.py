"""Reads a corpus folder of `GROUP_name.jsonl[.gz]`, defensively: it was written by others."""

import gzip
import json
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from coterie.domain import InvalidError, normalise
from coterie.simulation.library import Item, Source

_FILE_NAME = re.compile(r"([ABCDF])_[A-Za-z0-9._-]+\.jsonl(\.gz)?")
# E, many models' answers to the same prompts, is half of the bytes and is not drawn from.
_LINE_BYTES_MAX = 4_000_000
_RECORDS_MAX = 200_000
_NOT_SUBJECTS = frozenset({"conv", "turn", "turns", "parallel_id", "prompt_id", "model", "id", "label"})
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def read_corpus(folder: Path, *, prompt_chars_max: int, response_chars_max: int) -> list[Source]:
    """The sources of a corpus folder in order of file name; files of another name or without usable records are
    skipped, and so are single bad records.

    Raises:
        InvalidError: the folder does not exist.
    """
    if not folder.is_dir():
        raise InvalidError(f"corpus {folder} is no folder: name one that exists", field="corpus", reason="bad_corpus")
    sources = []
    for path in sorted(folder.iterdir()):
        if not _FILE_NAME.fullmatch(path.name) or not path.is_file():
            continue
        items = _items(path, prompt_chars_max, response_chars_max)
        if items:
            sources.append(Source(path.name.split(".jsonl")[0], path.name[0], items))
    return sources


def clean(text: str, chars_max: int) -> str:
    """Text that an exchange can hold: unstorable characters removed, ends stripped, cut to `chars_max`."""
    return _UNSTORABLE.sub("", text).strip()[:chars_max].strip()


def _items(path: Path, prompt_chars_max: int, response_chars_max: int) -> list[Item]:
    records = list(_records(path))
    subject_key = _subject_key(records)
    items: dict[tuple[str, str], Item] = {}
    for record in records:
        text = clean(record["text"], prompt_chars_max)
        meta = record["meta"]
        conversation = _name(meta.get("conv"))
        if not normalise(text):
            continue
        turn = meta.get("turn")
        item = Item(
            text=text,
            response=clean(record["response"], response_chars_max),
            language=record["lang"],
            subject=_name(meta.get(subject_key)) if subject_key else "",
            conversation=conversation,
            turn=turn if isinstance(turn, int) else 0,
            parallel=_name(meta.get("parallel_id")),
        )
        # A text twice in one source is once an item, unless it is a turn of another conversation.
        items.setdefault((normalise(text), conversation), item)
    return list(items.values())


def _records(path: Path) -> Iterator[dict[str, Any]]:
    """Records with a text; a truncated or damaged file gives what can be read of it."""
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as lines:
            for number, line in enumerate(lines):
                if number >= _RECORDS_MAX:
                    return
                record = _record(line)
                if record is not None:
                    yield record
    except (OSError, EOFError, zlib.error):
        return


def _record(line: bytes) -> dict[str, Any] | None:
    if len(line) > _LINE_BYTES_MAX:
        return None
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        return None
    meta = record.get("meta")
    return {
        "text": record["text"],
        "response": record["response"] if isinstance(record.get("response"), str) else "",
        "lang": record["lang"] if isinstance(record.get("lang"), str) else "",
        "meta": meta if isinstance(meta, dict) else {},
    }


def _subject_key(records: list[dict[str, Any]]) -> str:
    """The meta key that groups the records best: most values, each with five records or more on average."""
    values: dict[str, Counter[str]] = {}
    for record in records:
        for key, value in record["meta"].items():
            if key not in _NOT_SUBJECTS and _name(value) and not isinstance(value, int):
                values.setdefault(key, Counter())[_name(value)] += 1
    usable = {
        key: len(counts)
        for key, counts in values.items()
        if len(counts) >= 2 and counts.total() >= max(5 * len(counts), len(records) // 2)
    }
    return max(usable, key=lambda key: (usable[key], key)) if usable else ""


def _name(value: object) -> str:
    if isinstance(value, list) and value:
        value = value[0]
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
