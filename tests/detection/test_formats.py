"""Format features: each counts what its name says, in any script, at speed."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie.detection.formats import DEVIATIONS_MAX, FEATURES, format_features, raw_format_features, with_format

EXAM = "What is the capital of Peru?\nA) Lima\nB) Quito\nC) La Paz\nD) Cuzco"


def feature(text: str, name: str) -> float:
    return float(raw_format_features([text])[0, FEATURES.index(name)])


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        (EXAM, "options", np.log1p(4)),
        (EXAM, "lines", np.log1p(4)),
        (EXAM, "first_word_question", 1),
        (EXAM, "begins_upper", 1),
        (EXAM, "ends_word", 1),
        (EXAM, "sentences", np.log1p(1)),
        ("The year 1984. It ended.", "sentences", np.log1p(2)),
        ("The year 1984. It ended.", "options", 0),
        ("- one\n- two", "bullets", np.log1p(2)),
        ("def f():\n    return 1", "indented", np.log1p(1)),
        ("Fill in: the ____ barks", "gaps", np.log1p(3)),
        ("为什么天是蓝的？", "ends_question", 1),
        ("为什么天是蓝的？", "share_uncased", 7 / 8),
        ("please help me", "first_word_greeting", 1),
        ("please help me", "begins_lower", 1),
        ("  Escribe un poema.  ", "first_word_request", 1),
        ("3 + 4 =", "begins_digit", 1),
        ("", "chars", 0),
    ],
)
def test_a_feature_counts_what_its_name_says(text: str, name: str, value: float) -> None:
    assert feature(text, name) == pytest.approx(value, rel=1e-5)


def test_columns_are_standardised_and_cut() -> None:
    rng = np.random.default_rng(0)
    texts = [" ".join("ab1?."[k] * 3 for k in rng.integers(0, 5, rng.integers(1, 30))) for _ in range(200)]
    features = format_features(texts)
    assert features.dtype == np.float32
    assert features.shape == (200, len(FEATURES))
    assert np.abs(features).max() <= DEVIATIONS_MAX
    assert np.abs(features.mean(axis=0)).max() < 0.2
    assert features.std(axis=0).max() < 1.01


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=40), max_size=8))
def test_any_texts_give_finite_rows_that_do_not_depend_on_their_neighbours(texts: list[str]) -> None:
    together = raw_format_features(texts)
    assert together.shape == (len(texts), len(FEATURES))
    assert np.isfinite(together).all()
    alone = [raw_format_features([text])[0] for text in texts]
    assert not texts or np.array_equal(together, np.array(alone))


def test_long_lists_are_read_in_parts_that_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [EXAM, "hello", "x" * 50, ""] * 5
    whole = raw_format_features(texts)
    monkeypatch.setattr("coterie.detection.formats._CHUNK_CHARS", 60)
    assert np.array_equal(raw_format_features(texts), whole)


def test_twenty_thousand_texts_take_less_than_a_second_of_cpu() -> None:
    texts = [f"{EXAM} number {row}?" * 2 for row in range(20_000)]
    raw_format_features(texts[:1])
    start = time.process_time()
    raw_format_features(texts)
    # Measured .5 s alone; the bound leaves room for a busy machine.
    assert time.process_time() - start < 2.0


def test_one_manner_over_unrelated_subjects_lies_together_in_the_format_view() -> None:
    rng = np.random.default_rng(0)
    listed = [
        f"{word.title()} is what, and why? Answer:" for word in rng.choice(list("abcdefghij"), (40, 6)).view("U6")[:, 0]
    ]
    people = [" ".join(rng.choice(list("klmnopqrst"), rng.integers(3, 30))) for _ in range(400)]
    vectors = rng.normal(size=(440, 32)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    def listed_among_neighbours(rows: np.ndarray) -> float:
        similarity = rows[:40] @ rows.T
        similarity[np.arange(40), np.arange(40)] = -1
        return float((np.argsort(-similarity, axis=1)[:, :10] < 40).mean())

    both = with_format(vectors, listed + people)
    assert np.allclose(np.linalg.norm(both, axis=1), 1, atol=1e-5)
    assert listed_among_neighbours(vectors) < 0.3
    assert listed_among_neighbours(both) > 0.9


def test_a_text_that_is_not_kept_has_no_manner() -> None:
    vectors = np.eye(4, dtype=np.float32)
    both = with_format(vectors, ["What is this?", "", "- one\n- two", ""])
    assert np.allclose(both[[1, 3], :4], vectors[[1, 3]])
    assert not both[[1, 3], 4:].any()
    assert np.array_equal(with_format(vectors[:2], ["", ""])[:, :4], vectors[:2])
