"""Values as pages write them."""

import pytest

from coterie.console import shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (0.0123, "0.012"),
        (1e-4, "0.0001"),
        (4.95e-7, "5 × 10⁻⁷"),
        (9.9e-6, "1 × 10⁻⁵"),
        (1e-300, "under 10⁻³⁰⁰"),
        (0.0, "under 10⁻³⁰⁰"),
    ],
)
def test_probabilities(value: float | None, text: str) -> None:
    assert shown.p_value(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (894.0, "894"),
        (0.9642, "0.964"),
        (12_345.6, "12,346"),
        (float("nan"), "–"),
        (float("inf"), "–"),
        (-1.36, "-1.36"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert shown.number(value) == text


def test_times_and_lengths() -> None:
    assert shown.moment(1_767_225_600_000_000) == "1 Jan 2026, 00:00"
    assert shown.moment(0) == shown.day(0) == "–"
    assert [shown.duration(value) for value in (5, 300, 7_200, 300_000)] == ["5.0 s", "5 min", "2.0 h", "3 days"]


def test_sizes_and_shares() -> None:
    assert [shown.size(value) for value in (999, 1_000, 191_197_184)] == ["999 bytes", "1.0 KB", "191.2 MB"]
    assert [shown.share(value) for value in (0, 0.031, 0.5, 1)] == ["0 %", "3.1 %", "50 %", "100 %"]


def test_long_texts_are_cut_and_say_so() -> None:
    assert shown.cut("a" * 10, 10) == "a" * 10
    assert shown.cut("a" * 11, 10) == "a" * 10 + " …"
