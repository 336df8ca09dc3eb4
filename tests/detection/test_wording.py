"""What is read by the letter where an encoder reads nothing, and what a language makes alike."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from coterie.detection.items import Items
from coterie.detection.parameters import Parameters
from coterie.detection.tongues import make_tongues
from coterie.detection.wording import DIMENSIONS, OwnWords, own_words, wording_vectors

ACCOUNTS, EACH = 8, 15


def texts(rng: np.random.Generator, *, own: float, first: int) -> list[str]:
    """Ten words of a script for each text, a share `own` of them of the twenty that its account likes."""
    vocabulary = ["".join(chr(first + letter) for letter in rng.integers(0, 26, 6)) for _ in range(2_000)]
    found = []
    for _ in range(ACCOUNTS):
        liked = rng.choice(vocabulary, 20)
        for _ in range(EACH):
            words = np.where(rng.random(10) < own, rng.choice(liked, 10), rng.choice(vocabulary, 10))
            found.append(" ".join(words.tolist()))
    return found


def measured(asked: list[str]) -> OwnWords:
    return own_words(wording_vectors(asked), np.repeat(np.arange(ACCOUNTS), len(asked) // ACCOUNTS))


def test_own_words_are_seen_in_whatever_script() -> None:
    for first in (ord("a"), 0x0C15, 0x1260, 0x4E00, 0x1F600):
        rng = np.random.default_rng(first)
        found = measured(texts(rng, own=0.3, first=first))
        assert found.p_value < 1e-6
        assert found.excess > Parameters().own_words_excess


def test_an_ideograph_is_a_word() -> None:
    rng = np.random.default_rng(4)
    vocabulary = rng.permutation(np.arange(0x4E00, 0x9FFF))[:2_000]

    def asked(own: float) -> list[str]:
        found = []
        for _ in range(ACCOUNTS):
            liked = rng.choice(vocabulary, 60)
            for _ in range(EACH):
                words = np.where(rng.random(10) < own, rng.choice(liked, 10), rng.choice(vocabulary, 10))
                found.append("".join(map(chr, words.tolist())))
        return found

    assert measured(asked(own=0.5)).p_value < 1e-6
    assert measured(asked(own=0.0)).p_value > 0.02


def test_a_trace_of_own_words_is_significant_in_a_large_pool_and_stays_a_trace() -> None:
    rng = np.random.default_rng(3)
    parts = [texts(rng, own=share, first=0x10D0) for share in (0.5, 0.5, *[0.0] * 8)]
    # One query in five is ordinary traffic, the others are of a list.
    asked = [text for number in range(ACCOUNTS) for part in parts for text in part[number * EACH : (number + 1) * EACH]]
    found = measured(asked)
    assert found.p_value < Parameters().own_words_rate
    assert 0.0 < found.excess < Parameters().own_words_excess


def test_words_dealt_at_random_are_nobodys_own_as_often_as_the_p_value_says() -> None:
    rng = np.random.default_rng(0)
    p_values = np.array([measured(texts(rng, own=0.0, first=0x1260)).p_value for _ in range(60)])
    assert (p_values <= 0.1).mean() <= 0.2
    assert (p_values <= 0.02).mean() <= 0.1


def test_blank_texts_have_no_words() -> None:
    vectors = wording_vectors(["", "a", "", "some words"])
    assert vectors.shape == (4, DIMENSIONS)
    assert not vectors[0].any()
    assert vectors[1].any()
    assert own_words(vectors[[0, 2]], np.array([0, 1])) == OwnWords(0.0, 1.0)
    assert wording_vectors([]).shape == (0, DIMENSIONS)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=30), max_size=12))
def test_wording_is_a_unit_row_or_nothing_and_does_not_depend_on_order(asked: list[str]) -> None:
    vectors = wording_vectors(asked)
    length = np.linalg.norm(vectors, axis=1)
    assert (np.isclose(length, 1.0, atol=1e-5) | (length == 0.0)).all()
    assert np.allclose(wording_vectors(asked[::-1])[::-1], vectors, atol=1e-5)


def test_texts_of_one_language_are_as_alike_as_its_mean() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(60, 16)).astype(np.float32) / 4
    vectors[:20, 0] += 0.9
    vectors -= vectors.mean(axis=0)
    items = Items(np.zeros(60, np.int32), np.arange(60, dtype=np.int32), vectors, sparse.csr_matrix((60, 60)), 1)
    tongues = make_tongues(items, np.repeat([2, 0], [20, 40]).astype(np.int16))
    rare, common = np.arange(20, dtype=np.int32), np.arange(20, 60, dtype=np.int32)
    assert np.isclose(tongues.alike(rare), np.square(vectors[:20].mean(axis=0)).sum(), rtol=1e-4)
    assert tongues.alike(rare) > 3 * tongues.alike(common)
    assert tongues.alike(np.arange(60, dtype=np.int32)) < 1e-6
