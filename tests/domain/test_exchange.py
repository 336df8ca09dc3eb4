"""The input line: what passes the door, and why each thing that does not is refused."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.domain import (
    LIMITS,
    AccountId,
    Exchange,
    ExchangeId,
    InvalidError,
    check_exchange,
    exchange_from_json,
    exchange_to_json,
    printable,
)

SECRET = "the words that must not leak"
RECORD: dict[str, Any] = {
    "exchange_id": "e-1",
    "account_id": "a-1",
    "time": "2026-01-31T08:00:00.25Z",
    "prompt": SECRET,
    "response": f"answer: {SECRET}",
    "system": f"system: {SECRET}",
    "conversation_id": "c-1",
    "turn": 2,
    "model": "m-1",
    "input_tokens": 10,
    "output_tokens": 20,
    "cost_usd": 0.5,
    "attributes": {"organisation": "o-1", "plan": "free"},
}
EXCHANGE = Exchange(
    exchange_id=ExchangeId("e-1"),
    account_id=AccountId("a-1"),
    time_us=1_769_846_400_250_000,
    prompt=SECRET,
    response=f"answer: {SECRET}",
    system=f"system: {SECRET}",
    conversation_id="c-1",
    turn=2,
    model="m-1",
    input_tokens=10,
    output_tokens=20,
    cost_usd=0.5,
    attributes={"organisation": "o-1", "plan": "free"},
)
ID_FIELDS = ("exchange_id", "account_id", "conversation_id", "model")
TEXT_FIELDS = ("prompt", "response", "system")


def line(**changes: Any) -> str:
    return json.dumps(RECORD | changes)


def refusal(text: str | bytes) -> InvalidError:
    with pytest.raises(InvalidError) as caught:
        exchange_from_json(text)
    return caught.value


def test_a_full_line_becomes_an_exchange_and_the_line_again() -> None:
    assert exchange_from_json(line()) == EXCHANGE
    assert exchange_from_json(line().encode()) == EXCHANGE
    assert json.loads(exchange_to_json(EXCHANGE)) == RECORD | {"time": "2026-01-31T08:00:00.250000Z"}


def test_the_optional_fields_may_be_absent_or_null() -> None:
    required = ("exchange_id", "account_id", "time", "prompt")
    short = {name: RECORD[name] for name in required}
    bare = Exchange(ExchangeId("e-1"), AccountId("a-1"), EXCHANGE.time_us, SECRET)
    assert exchange_from_json(json.dumps(short)) == bare
    assert exchange_from_json(json.dumps({name: RECORD[name] if name in required else None for name in RECORD})) == bare
    assert set(json.loads(exchange_to_json(bare))) == set(required)


def test_zero_is_a_value_and_not_an_absence() -> None:
    zeros = replace(EXCHANGE, turn=0, input_tokens=0, output_tokens=0, cost_usd=0.0)
    assert exchange_from_json(exchange_to_json(zeros)) == zeros


MALFORMED = [
    "",
    "{",
    "[]",
    '"text"',
    "null",
    "{} {}",
    b"\xff\xfe{}",
    '{"cost_usd": NaN}',
    '{"cost_usd": -Infinity}',
    "[" * 100_000,
    '{"turn": ' + "9" * 5_000 + "}",
]


@pytest.mark.parametrize("text", MALFORMED, ids=range(len(MALFORMED)))
def test_what_is_no_json_object_is_refused(text: str | bytes) -> None:
    assert refusal(text).reason == "bad_json"


@pytest.mark.parametrize("name", ["exchange_id", "account_id", "time", "prompt"])
def test_a_missing_field_is_named(name: str) -> None:
    gone = {key: value for key, value in RECORD.items() if key != name}
    for text in (json.dumps(gone), line(**{name: None})):
        assert told(refusal(text)) == (name, f"missing_{name}")


@pytest.mark.parametrize("name", ["exchange_id", "account_id"])
def test_a_blank_id_is_a_missing_one(name: str) -> None:
    for blank in ("", " \t"):
        assert told(refusal(line(**{name: blank}))) == (name, f"missing_{name}")


def test_an_unknown_field_is_named_and_the_way_out_too() -> None:
    error = refusal(line(organisation="o-1"))
    assert told(error) == ("organisation", "unknown_field")
    assert "attributes" in str(error)
    assert len(refusal(line(**{"x" * 10_000: 1})).field) == 64
    assert refusal(line(**{"\x1b[31m": 1})).field == "\\x1b[31m"


WRONG_TYPES = [(name, wrong) for name in (*ID_FIELDS, "time", *TEXT_FIELDS) for wrong in (1, True, ["x"], {})]
WRONG_TYPES += [(name, wrong) for name in ("turn", "input_tokens", "output_tokens") for wrong in ("1", 1.0, True, [])]
WRONG_TYPES += [("cost_usd", wrong) for wrong in ("1", True, [])]
WRONG_TYPES += [("attributes", wrong) for wrong in ("x", 1, ["x"], {"key": 1}, {"key": None})]


@pytest.mark.parametrize(("name", "wrong"), WRONG_TYPES)
def test_a_wrong_type_is_refused(name: str, wrong: object) -> None:
    assert told(refusal(line(**{name: wrong}))) == (name, "bad_type")


OUT_OF_RANGE = [(name, value) for name in ("input_tokens", "output_tokens") for value in (-1, LIMITS.tokens_max + 1)]
OUT_OF_RANGE += [("turn", -1), ("turn", LIMITS.turn_max + 1), ("turn", 10**400)]
OUT_OF_RANGE += [("cost_usd", -0.01), ("cost_usd", -1), ("cost_usd", 10**400)]


@pytest.mark.parametrize(("name", "value"), OUT_OF_RANGE, ids=str)
def test_a_number_out_of_range_is_refused(name: str, value: float) -> None:
    assert told(refusal(line(**{name: value}))) == (name, "bad_number")


def test_a_cost_that_is_no_finite_number_is_refused() -> None:
    assert told(refusal(line().replace("0.5", "1e999"))) == ("cost_usd", "bad_number")
    for value in (float("nan"), float("inf")):  # JSON cannot say these, the wire can
        with pytest.raises(InvalidError) as caught:
            check_exchange(replace(EXCHANGE, cost_usd=value))
        assert told(caught.value) == ("cost_usd", "bad_number")


def test_the_largest_numbers_pass() -> None:
    largest = {"turn": LIMITS.turn_max, "input_tokens": LIMITS.tokens_max, "output_tokens": LIMITS.tokens_max}
    exchange = exchange_from_json(line(**largest, cost_usd=1e300))
    assert (exchange.turn, exchange.output_tokens, exchange.cost_usd) == (LIMITS.turn_max, LIMITS.tokens_max, 1e300)


@pytest.mark.parametrize("time", ["1999-12-31T23:59:59.999999Z", "2100-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"])
def test_a_time_out_of_this_century_is_refused(time: str) -> None:
    assert told(refusal(line(time=time))) == ("time", "bad_time")


def test_a_time_that_is_none_is_refused() -> None:
    assert told(refusal(line(time="yesterday"))) == ("time", "bad_time")


@pytest.mark.parametrize("prompt", ["", " \n\t", "\u3000\xa0"])
def test_an_empty_prompt_is_refused_and_an_empty_response_is_not(prompt: str) -> None:
    assert told(refusal(line(prompt=prompt))) == ("prompt", "empty_prompt")
    assert exchange_from_json(line(response=prompt)).response == prompt


@pytest.mark.parametrize(
    ("name", "limit"),
    [(name, LIMITS.id_chars_max) for name in ID_FIELDS] + [(name, LIMITS.text_chars_max) for name in TEXT_FIELDS],
)
def test_the_longest_passes_and_one_more_does_not(name: str, limit: int) -> None:
    assert len(getattr(exchange_from_json(line(**{name: "ü" * limit})), name)) == limit
    error = refusal(line(**{name: "ü" * (limit + 1)}))
    assert told(error) == (name, "too_long")
    assert str(limit + 1) in str(error)
    assert str(limit) in str(error)


def test_attributes_are_bounded_in_number_and_length() -> None:
    key, value = "k" * LIMITS.attribute_key_chars_max, "v" * LIMITS.attribute_value_chars_max
    assert exchange_from_json(line(attributes={key: value})).attributes == {key: value}
    for wrong in ({"": "v"}, {key + "k": "v"}, {"k": value + "v"}):
        assert told(refusal(line(attributes=wrong))) == ("attributes", "too_long")
    many = {str(number): "" for number in range(LIMITS.attributes_max)}
    assert exchange_from_json(line(attributes=many)).attributes == many
    assert told(refusal(line(attributes=many | {"one": "more"}))) == ("attributes", "too_many")


@pytest.mark.parametrize("character", ["\x00", "\n", "\x1b", "\x7f", "\x9b", "\ud800"])
def test_control_characters_in_names_are_refused(character: str) -> None:
    for name in ID_FIELDS:
        error = refusal(line(**{name: f"ab{character}"}))
        assert told(error) == (name, "control_character")
        assert f"U+{ord(character):04X} at 2" in str(error)
    for attributes in ({f"ab{character}": "v"}, {"k": f"ab{character}"}):
        assert told(refusal(line(attributes=attributes))) == ("attributes", "control_character")


@pytest.mark.parametrize("name", TEXT_FIELDS)
def test_texts_keep_every_character_that_can_be_stored(name: str) -> None:
    odd = "bell \x07 escape \x1b[31m new\nline \u202e \U0001f600 \ufffe"
    assert getattr(exchange_from_json(line(**{name: odd})), name) == odd
    for unstorable in ("\x00", "\ud800", "\udfff"):
        error = refusal(line(**{name: f"{SECRET}{unstorable}"}))
        assert told(error) == (name, "control_character")
        assert f"U+{ord(unstorable):04X} at {len(SECRET)}" in str(error)


def told(error: InvalidError) -> tuple[str, str]:
    """The field and the reason, once the message is seen to name the one and to keep the texts to itself."""
    assert error.field in str(error)
    assert SECRET not in str(error)
    assert SECRET not in str(error.__cause__)
    assert 10 < len(str(error)) < 200
    return error.field, error.reason


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=60)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)
REQUIRED_NAMES = NAMES.filter(str.strip)
COUNTS = st.none() | st.integers(0, 1_000_000)
EXCHANGES = st.builds(
    Exchange,
    exchange_id=REQUIRED_NAMES,
    account_id=REQUIRED_NAMES,
    time_us=st.integers(946_684_800_000_000, 4_102_444_799_999_999),
    prompt=TEXTS.filter(str.strip),
    response=TEXTS,
    system=TEXTS,
    conversation_id=NAMES,
    turn=COUNTS,
    model=NAMES,
    input_tokens=COUNTS,
    output_tokens=COUNTS,
    cost_usd=st.none() | st.floats(0, 1e9, allow_nan=False),
    attributes=st.dictionaries(REQUIRED_NAMES, NAMES, max_size=5),
)


@given(EXCHANGES)
def test_what_is_written_as_a_line_is_read_back_the_same(exchange: Exchange) -> None:
    written = exchange_to_json(exchange)
    assert "\n" not in written
    assert exchange_from_json(written) == exchange


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(sorted(RECORD)), JSON, max_size=4))
def test_any_other_line_is_an_exchange_or_a_refusal_with_a_reason(changes: dict[str, Any]) -> None:
    outcome = exchange_or_refusal(json.dumps(RECORD | changes))
    if isinstance(outcome, InvalidError):
        assert outcome.reason != "invalid"
        assert SECRET not in str(outcome)
    else:
        check_exchange(outcome)


def exchange_or_refusal(text: str) -> Exchange | InvalidError:
    try:
        return exchange_from_json(text)
    except InvalidError as error:
        return error


@given(st.text())
def test_printable_text_holds_no_control_character(text: str) -> None:
    shown = printable(text)
    assert not any(ord(character) < 32 or 127 <= ord(character) < 160 for character in shown)
    shown.encode("utf-8")
