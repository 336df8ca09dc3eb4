"""The exchange: what platforms send, checked once at the door."""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any

from coterie.domain.errors import InvalidError
from coterie.domain.ids import AccountId, ExchangeId
from coterie.domain.limits import LIMITS

RESERVED_ATTRIBUTES = ("organisation", "payment", "asn", "client")
"""Attribute keys with a meaning in detection; `organisation` is one principal with many accounts."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt ]([01]\d|2[0-3]):\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_TIME_US_MIN = 946_684_800_000_000  # 2000-01-01
_TIME_US_MAX = 4_102_444_800_000_000  # 2100-01-01


@dataclass(frozen=True, slots=True)
class Exchange:
    """One prompt and its response, by one account, at one time.

    Attributes:
        time_us: microseconds since 1970-01-01 UTC.
        turn: 0-based position in the conversation, None when unknown.
        cost_usd: US dollars.
        attributes: free labels; the keys in `RESERVED_ATTRIBUTES` have a meaning.
    """

    exchange_id: ExchangeId
    account_id: AccountId
    time_us: int
    prompt: str
    response: str = ""
    system: str = ""
    conversation_id: str = ""
    turn: int | None = None
    model: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


def check_exchange(exchange: Exchange) -> None:
    """Check every field against `LIMITS`.

    Raises:
        InvalidError: with `field` and `reason` set; the message never holds the text.
    """
    _check_id("exchange_id", exchange.exchange_id, required=True)
    _check_id("account_id", exchange.account_id, required=True)
    _check_id("conversation_id", exchange.conversation_id)
    _check_id("model", exchange.model)
    if not _TIME_US_MIN <= exchange.time_us < _TIME_US_MAX:
        raise InvalidError(
            "time must lie between 2000-01-01 and 2100-01-01; check its unit and its year",
            field="time",
            reason="bad_time",
        )
    for name in ("prompt", "response", "system"):
        _check_text(name, getattr(exchange, name))
    if not exchange.prompt or exchange.prompt.isspace():
        raise InvalidError("prompt is empty: send the text that was asked", field="prompt", reason="empty_prompt")
    _check_number("turn", exchange.turn, LIMITS.turn_max)
    _check_number("input_tokens", exchange.input_tokens, LIMITS.tokens_max)
    _check_number("output_tokens", exchange.output_tokens, LIMITS.tokens_max)
    # Also False for NaN, infinity and a whole number too large for a float, on which math.isfinite raises.
    if exchange.cost_usd is not None and not 0 <= exchange.cost_usd <= sys.float_info.max:
        raise InvalidError("cost_usd must be finite and not negative", field="cost_usd", reason="bad_number")
    _check_attributes(exchange.attributes)


def parse_time(value: str) -> int:
    """Microseconds since the epoch of an RFC 3339 time, which must carry its offset.

    Raises:
        InvalidError: not RFC 3339, or without an offset.
    """
    try:
        # fromisoformat alone also takes week dates, missing seconds and any separator.
        moment = datetime.fromisoformat(value.upper()) if _RFC_3339.fullmatch(value) else None
    except ValueError:
        moment = None
    if moment is None:
        raise InvalidError(
            "time must be RFC 3339 with an offset, such as 2026-01-31T08:00:00Z", field="time", reason="bad_time"
        )
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def format_time(time_us: int) -> str:
    """RFC 3339 in UTC, to the microsecond only where there are any."""
    seconds, micros = divmod(time_us, 1_000_000)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros)
    return moment.isoformat().replace("+00:00", "Z")


def exchange_from_json(line: str | bytes) -> Exchange:
    """One line of the input contract as a checked `Exchange`.

    Raises:
        InvalidError: not JSON, an unknown or missing field, a wrong type, or a value out of its limits.
    """
    try:
        record = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidError("not a JSON object on one line", reason="bad_json") from error
    if not isinstance(record, dict):
        raise InvalidError("not a JSON object", reason="bad_json")
    return exchange_from_record(record)


def exchange_from_record(record: Mapping[str, Any]) -> Exchange:
    """The fields of an input line, under their names, as a checked `Exchange`.

    Raises:
        InvalidError: an unknown or missing field, a wrong type, or a value out of its limits.
    """
    unknown = sorted(set(record) - _JSON_FIELDS.keys())
    if unknown:
        name = printable(unknown[0][:64])
        raise InvalidError(
            f"unknown field {name!r}: put your own labels under attributes", field=name, reason="unknown_field"
        )
    for name in ("exchange_id", "account_id", "time", "prompt"):
        if record.get(name) is None:
            raise InvalidError(f"{name} is missing", field=name, reason=f"missing_{name}")
    values: dict[str, Any] = {}
    for name, value in record.items():
        if value is not None:
            values[name] = _checked_type(name, value)
    values["time_us"] = parse_time(values.pop("time"))
    exchange = Exchange(**values)
    check_exchange(exchange)
    if exchange.cost_usd is not None:  # in JSON it may be whole, and larger than a float can tell from its neighbours
        exchange = replace(exchange, cost_usd=float(exchange.cost_usd))
    return exchange


def exchange_to_json(exchange: Exchange) -> str:
    """The input line of an exchange; absent optional fields are left out."""
    record: dict[str, Any] = {}
    for item in fields(Exchange):
        value = getattr(exchange, item.name)
        if item.name == "time_us":
            record["time"] = format_time(value)
        elif value not in ("", None) and not (item.name == "attributes" and not value):
            record[item.name] = dict(value) if item.name == "attributes" else value
    return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


def printable(text: str) -> str:
    """The text with control characters escaped, fit for a terminal or a log line."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match.group()):02x}", text).encode("utf-8", "replace").decode()


_JSON_FIELDS: dict[str, type | tuple[type, ...]] = {
    "exchange_id": str,
    "account_id": str,
    "time": str,
    "prompt": str,
    "response": str,
    "system": str,
    "conversation_id": str,
    "turn": int,
    "model": str,
    "input_tokens": int,
    "output_tokens": int,
    "cost_usd": (int, float),
    "attributes": dict,
}


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _checked_type(name: str, value: Any) -> Any:
    expected = _JSON_FIELDS[name]
    if not isinstance(value, expected) or isinstance(value, bool):
        kinds = expected if isinstance(expected, tuple) else (expected,)
        wanted = {str: "a string", int: "a whole number", float: "a number", dict: "an object of strings"}[kinds[-1]]
        raise InvalidError(f"{name} must be {wanted}", field=name, reason="bad_type")
    return value


def _check_id(name: str, value: str, *, required: bool = False) -> None:
    if required and not value.strip():
        raise InvalidError(f"{name} is missing", field=name, reason=f"missing_{name}")
    if len(value) > LIMITS.id_chars_max:
        raise InvalidError(
            f"{name} has {len(value)} characters, the limit is {LIMITS.id_chars_max}", field=name, reason="too_long"
        )
    _check_printable(name, value)


def _check_printable(name: str, value: str) -> None:
    if value.isprintable():  # stricter than what is asked, and a tenth of the time
        return
    found = _CONTROL.search(value) or _UNSTORABLE.search(value)
    if found:
        raise InvalidError(
            f"{name} holds the control character U+{ord(found.group()):04X} at {found.start()}: remove it",
            field=name,
            reason="control_character",
        )


def _check_text(name: str, value: str) -> None:
    # Other control characters are kept: one real text in 10,000 holds one, and refusing them would let a
    # campaign hide by adding them.
    if len(value) > LIMITS.text_chars_max:
        raise InvalidError(
            f"{name} has {len(value)} characters, the limit is {LIMITS.text_chars_max}: send its beginning",
            field=name,
            reason="too_long",
        )
    found = _UNSTORABLE.search(value) if not value.isascii() or "\0" in value else None
    if found:
        raise InvalidError(
            f"{name} holds U+{ord(found.group()):04X} at {found.start()}, which is no storable text: remove it",
            field=name,
            reason="control_character",
        )


def _check_number(name: str, value: int | None, maximum: int) -> None:
    if value is not None and not 0 <= value <= maximum:
        raise InvalidError(f"{name} must lie between 0 and {maximum}", field=name, reason="bad_number")


def _check_attributes(attributes: Mapping[str, str]) -> None:
    if len(attributes) > LIMITS.attributes_max:
        raise InvalidError(
            f"attributes has {len(attributes)} keys, the limit is {LIMITS.attributes_max}",
            field="attributes",
            reason="too_many",
        )
    for key, value in attributes.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise InvalidError("attributes must map strings to strings", field="attributes", reason="bad_type")
        if not key or len(key) > LIMITS.attribute_key_chars_max or len(value) > LIMITS.attribute_value_chars_max:
            raise InvalidError(
                f"attributes: keys have 1 to {LIMITS.attribute_key_chars_max} characters, "
                f"values up to {LIMITS.attribute_value_chars_max}",
                field="attributes",
                reason="too_long",
            )
        _check_printable("attributes", key)
        _check_printable("attributes", value)
