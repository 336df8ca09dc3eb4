"""Values made of bytes, the same for the same bytes: how a fuzzer reaches what has a structure."""

import json
from collections.abc import Sequence
from typing import Any, TypeVar

from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

T = TypeVar("T")

_WORDS = (
    "",
    "a",
    "x-1",
    "\x00",
    "\x1b[31m",
    "é",
    "🤖",
    " ",
    "organisation",
    "2026-01-31T08:00:00Z",
    "../..",
    "A" * 300,
)
_INTEGERS = (0, 1, -1, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63), 10**12, 1_767_225_600_000_000)
_FLOATS = (0.0, -0.0, 1.0, -1.0, float("nan"), float("inf"), float("-inf"), 1e308, 5e-324)
_ITEMS_MAX = 6
_DEPTH_MAX = 4


class Cursor:
    """Takes values off a string of bytes; at its end everything is zero."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def byte(self) -> int:
        """0 to 255."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def bytes(self, size: int) -> bytes:
        """Up to so many bytes."""
        taken = self._data[self._at : self._at + size]
        self._at += size
        return taken

    def rest(self) -> bytes:
        """All that is left."""
        return self.bytes(max(0, len(self._data) - self._at))

    def one_of(self, values: Sequence[T]) -> T:
        """One of them."""
        return values[self.byte() % len(values)]

    def text(self) -> str:
        """A text without surrogates."""
        kind = self.byte()
        if kind < 128:
            return self.one_of(_WORDS)
        return self.bytes(kind - 128).decode("utf-8", "replace")

    def integer(self, bits: int = 64) -> int:
        """A signed number."""
        value = self.one_of(_INTEGERS) if self.byte() < 160 else int.from_bytes(self.bytes(8), "little", signed=True)
        half = 1 << (bits - 1)
        return (value + half) % (2 * half) - half

    def number(self) -> float:
        """Any float."""
        return self.one_of(_FLOATS) if self.byte() < 160 else float(self.integer(32)) / 7

    def json(self, keys: Sequence[str], depth: int = 0) -> Any:
        """A JSON value, whose objects mostly have these keys."""
        kind = self.byte() % 8
        if kind == 0 or depth > _DEPTH_MAX:
            return self.text()
        if kind == 1:
            return self.integer()
        if kind == 2:
            return self.number()
        if kind == 3:
            return self.one_of((None, True, False))
        if kind == 4:
            return [self.json(keys, depth + 1) for _ in range(self.byte() % _ITEMS_MAX)]
        names = [self.one_of(keys) if self.byte() < 224 else self.text() for _ in range(self.byte() % (len(keys) + 3))]
        return {name: self.json(keys, depth + 1) for name in names}

    def altered(self, record: dict[str, Any], keys: Sequence[str]) -> dict[str, Any]:
        """A right record with some of its values taken away or replaced."""
        changed = json.loads(json.dumps(record))
        for _ in range(self.byte() % 4):
            name = self.one_of([*keys, "more"])
            if self.byte() < 64:
                changed.pop(name, None)
            else:
                changed[name] = self.json(keys)
        return changed

    def message(self, kind: type[Message], depth: int = 0) -> Message:
        """A message with some of its fields filled."""
        made = kind()
        for field in kind.DESCRIPTOR.fields:
            if self.byte() % 3:
                self._fill(made, field, depth)
        return made

    def _fill(self, made: Message, field: FieldDescriptor, depth: int) -> None:
        if field.message_type is not None and depth > _DEPTH_MAX:
            return
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            value_field = field.message_type.fields_by_name["value"]
            for _ in range(self.byte() % _ITEMS_MAX):
                key = self.text()
                if value_field.message_type is None:
                    getattr(made, field.name)[key] = self._scalar(value_field)
        elif field.message_type is not None:
            inner = message_factory.GetMessageClass(field.message_type)
            for _ in range(self.byte() % _ITEMS_MAX if field.is_repeated else 1):
                value = self.message(inner, depth + 1)
                target = getattr(made, field.name)
                (target.add() if field.is_repeated else target).CopyFrom(value)
        elif field.is_repeated:
            getattr(made, field.name).extend(self._scalar(field) for _ in range(self.byte() % _ITEMS_MAX))
        else:
            setattr(made, field.name, self._scalar(field))

    def _scalar(self, field: FieldDescriptor) -> Any:
        kind = field.cpp_type
        if field.type == FieldDescriptor.TYPE_BYTES:
            return self.bytes(self.byte())
        if kind == FieldDescriptor.CPPTYPE_STRING:
            return self.text()
        if kind == FieldDescriptor.CPPTYPE_BOOL:
            return self.byte() % 2 == 1
        if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
            return self.number()
        if kind == FieldDescriptor.CPPTYPE_ENUM:
            return self.byte() % 16
        if kind in (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64):
            return abs(self.integer(32))
        return self.integer(32 if kind == FieldDescriptor.CPPTYPE_INT32 else 64)
