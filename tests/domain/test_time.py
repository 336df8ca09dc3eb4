"""Times: RFC 3339 outside, microseconds since the epoch inside."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.domain import InvalidError, format_time, parse_time

OFFSETS = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
MOMENTS = st.datetimes(datetime(2000, 1, 2), datetime(2099, 12, 30), timezones=OFFSETS)


@pytest.mark.parametrize(
    ("text", "time_us"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59.999999Z", -1),
        ("2026-01-31T08:00:00Z", 1_769_846_400_000_000),
        ("2026-01-31T08:00:00.5Z", 1_769_846_400_500_000),
        ("2026-01-31T08:00:00.123456789Z", 1_769_846_400_123_456),  # a nanosecond clock: cut, not rounded
        ("2026-01-31T09:30:00+01:30", 1_769_846_400_000_000),
        ("2026-01-31T00:00:00-08:00", 1_769_846_400_000_000),
        ("2026-01-31t08:00:00z", 1_769_846_400_000_000),
        ("2026-01-31 08:00:00Z", 1_769_846_400_000_000),
    ],
)
def test_rfc_3339_is_read(text: str, time_us: int) -> None:
    assert parse_time(text) == time_us


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "1769846400",
        "2026-01-31",
        "2026-01-31T08:00:00",  # no offset: whose morning?
        "2026-01-31T08:00Z",
        "2026-01-31T08:00+00:00",
        "2026-01-31T08:00:00+00",
        "2026-01-31T08:00:00+00:00:30",
        "2026-01-31T08:00:00,5Z",
        "2026-01-31T08:00:00.Z",
        "2026-01-31x08:00:00Z",
        "2026-W05-6T08:00:00Z",
        "20260131T080000.000Z",
        "2026-02-30T08:00:00Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T08:00:00+24:00",
        "2026-01-31T08:00:00Z\n",
        "٢٠٢٦-01-31T08:00:00Z",
    ],
)
def test_anything_else_is_refused_with_an_example_of_what_is_meant(text: str) -> None:
    with pytest.raises(InvalidError, match="such as 2026-01-31T08:00:00Z") as caught:
        parse_time(text)
    assert (caught.value.field, caught.value.reason) == ("time", "bad_time")


@pytest.mark.parametrize(
    ("time_us", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (-1, "1969-12-31T23:59:59.999999Z"),
        (1_769_846_400_000_000, "2026-01-31T08:00:00Z"),
        (1_769_846_400_000_001, "2026-01-31T08:00:00.000001Z"),
    ],
)
def test_times_are_written_in_utc_and_no_finer_than_they_are(time_us: int, text: str) -> None:
    assert format_time(time_us) == text


@given(st.integers(-2_000_000_000_000_000, 4_102_444_800_000_000))
def test_what_is_written_is_read_back_to_the_microsecond(time_us: int) -> None:
    assert parse_time(format_time(time_us)) == time_us


@given(MOMENTS)
def test_the_offset_changes_the_spelling_and_not_the_time(moment: datetime) -> None:
    assert parse_time(moment.isoformat()) == parse_time(moment.astimezone(UTC).isoformat())
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=parse_time(moment.isoformat())) == moment


@given(
    st.from_regex(
        r"2\d{3}-[01]\d-[0-3]\dT[0-2]\d:[0-6]\d:[0-6]\dZ", fullmatch=True, alphabet=st.characters(codec="ascii")
    )
)
def test_what_looks_like_a_time_is_read_as_it_stands_or_refused(text: str) -> None:
    assert spelled_again(text) in (text, "bad_time")


def spelled_again(text: str) -> str:
    try:
        return format_time(parse_time(text))
    except InvalidError as error:
        return error.reason
