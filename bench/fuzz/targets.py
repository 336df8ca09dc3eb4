"""What is fuzzed: each target takes bytes, and lets nothing out but what is a defect.

An error of `domain/errors.py` is an answer; any other exception, and any broken promise (a round trip that gives
something else), is a find.
"""

import contextlib
import functools
import gzip
import hashlib
import inspect
import io
import json
import struct
import tempfile
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from bench.fuzz.cursor import Cursor
from coterie.client import wire
from coterie.domain import (
    AccountId,
    CoterieError,
    Exchange,
    ExchangeId,
    TextField,
    check_exchange,
    exchange_from_json,
    exchange_to_json,
    parse_time,
)
from coterie.index import LivingGraph, SegmentedIndex, VectorIndex, snapshot_files
from coterie.index.snapshot import open_snapshot
from coterie.server.backup import verify_backup
from coterie.server.backup_form import Manifest
from coterie.server.checks import check_filter, check_slice
from coterie.server.cli_files import Exchanges, Lines, read_benchmark
from coterie.server.config import Config, load_config
from coterie.server.paging import page_key, page_size
from coterie.server.schedule import parse_schedule
from coterie.server.services import _query
from coterie.store import SqliteStore, open_store
from coterie.v1 import run_service_pb2, search_service_pb2, types_pb2

Target = Callable[[bytes], None]

LINE: dict[str, Any] = {
    "exchange_id": "x-1",
    "account_id": "a-7",
    "time": "2026-01-31T08:00:00Z",
    "prompt": "What is the capital of Peru?",
    "response": "Lima.",
    "system": "",
    "conversation_id": "c-3",
    "turn": 0,
    "model": "m-1",
    "input_tokens": 9,
    "output_tokens": 3,
    "cost_usd": 0.0001,
    "attributes": {"organisation": "acme", "payment": "card-9"},
}


def jsonl(data: bytes) -> None:
    """One line: it is refused, or comes back the same through JSON and through the wire."""
    cursor = Cursor(data)
    if cursor.byte() % 2:
        line: str | bytes = json.dumps(cursor.altered(LINE, list(LINE)), ensure_ascii=cursor.byte() % 2 == 1)
    else:
        line = cursor.rest()
    try:
        exchange = exchange_from_json(line)
    except CoterieError:
        return
    assert exchange_from_json(exchange_to_json(exchange)) == exchange
    assert wire.exchange_from_wire(wire.exchange_to_wire(exchange)) == exchange


def files(data: bytes) -> None:
    """A file of lines, gzipped or not, and a benchmark file: each line is taken or counted."""
    cursor = Cursor(data)
    kind = cursor.byte() % 3
    content = cursor.rest()
    if kind == 1:
        content = gzip.compress(content, 1)
    elif kind == 2 and len(content) > 2:
        packed = bytearray(gzip.compress(content[2:], 1))
        packed[content[0] % len(packed)] ^= 1 + content[1] % 255
        content = bytes(packed)
    lines = Lines(io.BufferedReader(io.BytesIO(content)))  # type: ignore[arg-type]
    exchanges = Exchanges(lines)
    taken = sum(1 for _ in exchanges)
    assert taken + exchanges.reasons.total() == lines.count
    path = _scratch() / "benchmark.jsonl"
    path.write_bytes(content)
    with contextlib.suppress(CoterieError):
        assert read_benchmark(str(path))


def proto(data: bytes) -> None:
    """Any message through its conversion to the domain."""
    cursor = Cursor(data)
    convert, kind = cursor.one_of(_conversions())
    message = cursor.message(kind)
    with contextlib.suppress(CoterieError):
        value = convert(message)
        if isinstance(value, Exchange):
            check_exchange(value)
            assert wire.exchange_from_wire(wire.exchange_to_wire(value)) == value


def filters(data: bytes) -> None:
    """Filters, slices, queries and pages as a service takes them, down to the database."""
    cursor = Cursor(data)
    kind = cursor.byte() % 4
    with contextlib.suppress(CoterieError):
        if kind == 0:
            wanted = wire.filter_from_wire(_typed(cursor, search_service_pb2.SearchFilter))
            check_filter(wanted)
            field = cursor.one_of(list(TextField))
            found = _store().candidate_texts(field, wanted, limit=10)
            if found is not None and len(found):
                _store().exchanges_of_texts(field, found, wanted, limit_per_text=3)
        elif kind == 1:
            check_slice(wire.slice_from_wire(_typed(cursor, run_service_pb2.Slice)))
            wire.sets_from_wire([_typed(cursor, run_service_pb2.ParameterSet)])
        elif kind == 2:
            _query(_typed(cursor, search_service_pb2.SearchRequest))
        else:
            page = _typed(cursor, types_pb2.PageRequest)
            page_size(page)
            page_key(page, cursor.one_of(("runs", "benchmarks")), cursor.one_of(([int, str], [str], [int])))


def snapshots(data: bytes) -> None:
    """Snapshots: any bytes, and any header or list of segments under a checksum that is right."""
    cursor = Cursor(data)
    kind = cursor.byte() % 6
    folder = _scratch() / "index"
    folder.mkdir(exist_ok=True)
    path = folder / "manifest"
    if kind == 0:
        path.write_bytes(cursor.rest())
    else:
        header = cursor.altered(_HEADERS[kind % len(_HEADERS)], _HEADER_KEYS)
        encoded = json.dumps(header).encode() if cursor.byte() < 240 else cursor.bytes(40)
        entries = [cursor.altered(_ENTRY, list(_ENTRY)) for _ in range(cursor.byte() % 3)]
        payload = json.dumps(entries).encode() if cursor.byte() < 200 else cursor.rest()
        body = b"coterie\x01" + struct.pack("<I", len(encoded)) + encoded + payload
        path.write_bytes(body + hashlib.sha256(body).digest())
    for load in (
        lambda: SegmentedIndex.load(folder, 4),
        lambda: snapshot_files(folder),
        lambda: LivingGraph.load(path, 4, 2, slack=1),
        lambda: _read(path),
    ):
        with contextlib.suppress(CoterieError):
            load()
    if kind == 0:  # FAISS itself is given only what has its checksum: it does not check what it reads
        with contextlib.suppress(CoterieError):
            VectorIndex.load(path, 4)


def manifests(data: bytes) -> None:
    """Manifests of backups, and archives that are cut, changed or made up."""
    cursor = Cursor(data)
    kind = cursor.byte() % 3
    source = _scratch() / "b.tar.zst"
    with contextlib.suppress(CoterieError):
        if kind == 0:
            record = cursor.altered(json.loads(_manifest().encode()), _MANIFEST_KEYS)
            record.pop("sha256", None)
            digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
            read = Manifest.decode(json.dumps({**record, "sha256": digest}).encode(), source)
            assert Manifest.decode(read.encode(), source) == read
        elif kind == 1:
            Manifest.decode(cursor.rest(), source)
        else:
            packed = bytearray(_archive(cursor.byte() % 2))
            for _ in range(cursor.byte() % 4):
                at = int.from_bytes(cursor.bytes(2), "little") % len(packed)
                packed[at] ^= cursor.byte()
            source.write_bytes(bytes(packed[: len(packed) - cursor.byte()]) + cursor.bytes(8))
            changed = source.read_bytes() != _archive(0) and source.read_bytes() != _archive(1)
            verify_backup(source)
            assert not changed or _harmless(source), "a changed archive passed for a whole one"


def configuration(data: bytes) -> None:
    """Settings from a file, the environment and flags; times and schedules."""
    cursor = Cursor(data)
    kind = cursor.byte() % 4
    names = _settings()
    with contextlib.suppress(CoterieError):
        if kind == 0:
            path = _scratch() / "c.toml"
            path.write_bytes(cursor.rest())
            load_config(path, environment={})
        elif kind == 1:
            lines = (f"{cursor.one_of(names)} = {json.dumps(cursor.json(names))}" for _ in range(cursor.byte() % 4))
            path = _scratch() / "c.toml"
            path.write_text("\n".join(lines), encoding="utf-8", errors="replace")
            load_config(path, environment={})
        elif kind == 2:
            given = {f"COTERIE_{cursor.one_of(names).upper()}": cursor.text() for _ in range(cursor.byte() % 4)}
            load_config(environment=given, overrides={cursor.one_of(names): cursor.json(names)})
        else:
            text = cursor.text() if cursor.byte() % 2 else cursor.rest().decode("utf-8", "replace")
            with contextlib.suppress(CoterieError):
                parse_time(text)
            schedule = parse_schedule(text)
            if schedule is not None:
                assert schedule.next_after(1_767_225_600_000_000) > 1_767_225_600_000_000


TARGETS: dict[str, Target] = {
    "jsonl": jsonl,
    "files": files,
    "proto": proto,
    "filters": filters,
    "snapshots": snapshots,
    "manifests": manifests,
    "configuration": configuration,
}


def seeds(name: str) -> Iterator[bytes]:
    """Inputs to begin with."""
    yield b""
    line = json.dumps(LINE).encode()
    if name == "jsonl":
        yield from (b"\x00" + line, b"\x00" + line.replace(b"Lima", "é🤖".encode()), b"\x01\x00\x00", bytes(range(256)))
    elif name == "files":
        item = b'{"item_id":"i","text":"t","answer":"a"}\n'
        yield from (bytes([kind]) + line + b"\n" + line + b"\n\n" + item for kind in range(3))
    elif name == "configuration":
        toml = b'\x00listen = "127.0.0.1:1"\nwindow_days = 3\nschedule = "6h"\n'
        yield from (toml, b"\x030 3 * * *", b"\x03\x002026-01-31T08:00:00.5+02:00", bytes(range(1, 200)))
    for first in range(16):
        yield bytes((first * 37 + item * 11) % 256 for item in range(200))


def words(name: str) -> list[str]:
    """Words that a fuzzer may put in."""
    more = {"configuration": _settings(), "snapshots": _HEADER_KEYS, "manifests": _MANIFEST_KEYS}
    return [
        *LINE,
        "organisation",
        "item_id",
        "text",
        "null",
        "true",
        "1e999",
        "\\ud800",
        "T24:00:00Z",
        *more.get(name, []),
    ]


# What the targets share


_HEADERS: tuple[dict[str, Any], ...] = (
    {"kind": "segments", "dim": 4, "last_vector": 3, "last_erasure": 0},
    {"kind": "graph", "dim": 4, "k": 2, "slack": 1, "seed": 0, "rows": 0, "cells": None, "last_vector": 0}
    | {"last_erasure": 0},
    {"kind": "graph", "dim": 4, "k": 2, "slack": 1, "seed": 0, "rows": 2, "cells": [1, 1, 1], "last_vector": 0}
    | {"last_erasure": 0},
)
_HEADER_KEYS = ["kind", "dim", "last_vector", "last_erasure", "k", "slack", "seed", "rows", "cells"]
_ENTRY = {"file": "segment-0.faiss", "sha256": "00", "rows": 1, "first_day": 1, "last_day": 2}
_MANIFEST_KEYS = [
    "format",
    "created",
    "coterie",
    "schema_version",
    "exchanges",
    "last_sequence",
    "last_erasure",
    "files",
]


@functools.cache
def _scratch() -> Path:
    shared = Path("/dev/shm")
    made = tempfile.TemporaryDirectory(prefix="coterie-fuzz-", dir=shared if shared.is_dir() else None)
    _KEPT.append(made)
    return Path(made.name)


_KEPT: list[Any] = []


@functools.cache
def _store() -> SqliteStore:
    store = open_store(_scratch() / "data")
    words_of = ("one", "two", "three")
    store.append(
        [
            Exchange(
                ExchangeId(f"x-{n}"), AccountId(f"a-{n % 3}"), 1_767_225_600_000_000 + n, f"ask {words_of[n % 3]} {n}"
            )
            for n in range(30)
        ]
    )
    return store


@functools.cache
def _manifest() -> Manifest:
    with _opened_backup() as source:
        return Manifest.decode((source / "manifest.json").read_bytes(), source)


@contextlib.contextmanager
def _opened_backup() -> Iterator[Path]:
    from coterie.server.backup import create_backup

    source = _scratch() / "backup"
    if not source.exists():
        create_backup(_store(), source)
    yield source


@functools.cache
def _archive(kind: int) -> bytes:
    from coterie.server.backup import create_backup

    path = _scratch() / ("a.tar.gz" if kind else "a.tar.zst")
    create_backup(_store(), path)
    return path.read_bytes()


def _harmless(source: Path) -> bool:
    """Whether a changed archive unpacks to what it was: gzip and tar have bits that mean nothing."""
    from coterie.server.backup_form import opened

    with opened(source) as found, opened(_scratch() / "a.tar.gz") as one, opened(_scratch() / "a.tar.zst") as two:
        contents = [[(name, stream.read()) for name, stream in each] for each in (found, one, two)]
    return contents[0] in contents[1:]


def _read(path: Path) -> None:
    with open_snapshot(path) as (_, payload):
        payload.finish()


M = typing.TypeVar("M", bound=Message)


def _typed(cursor: Cursor, kind: type[M]) -> M:
    made = cursor.message(kind)
    assert isinstance(made, kind)
    return made


@functools.cache
def _settings() -> list[str]:
    return [str(name) for name in Config.__dataclass_fields__]


@functools.cache
def _conversions() -> list[tuple[Callable[[Any], Any], type[Message]]]:
    """Every conversion of one message in `client.wire`."""
    found = []
    for name, function in inspect.getmembers(wire, inspect.isfunction):
        if not name.endswith("_from_wire") or function.__module__ != wire.__name__:
            continue
        hints = typing.get_type_hints(function)
        hints.pop("return", None)
        kinds = list(hints.values())
        if kinds and isinstance(kinds[0], type) and issubclass(kinds[0], Message):
            more = ["a"] * (len(kinds) - 1)
            found.append((lambda message, function=function, more=more: function(message, *more), kinds[0]))
    return found
