"""Taking the language out of multilingual vectors: one list in many languages becomes one place."""

import numpy as np

from coterie.detection import without_language


def spoken(accounts_a_language: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Vectors that are a subject of two and a language of three, each language spoken by so many accounts."""
    rng = np.random.default_rng(seed)
    languages, subjects = rng.normal(size=(3, 64)), rng.normal(size=(2, 64))
    language, account, vectors, subject = [], [], [], []
    for code in range(3):
        for person in range(accounts_a_language):
            for number in range(20):
                vectors.append(2 * languages[code] + subjects[number % 2] + 0.3 * rng.normal(size=64))
                language.append(code)
                account.append(code * accounts_a_language + person)
                subject.append(number % 2)
    rows = np.array(vectors, np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows, np.array(language, np.int16), np.array(account, np.int32), np.array(subject)


def neighbours_abroad(vectors: np.ndarray, language: np.ndarray, subject: np.ndarray) -> tuple[float, float]:
    """Of the 200 nearest texts of each, the share in another language, and the share on its subject."""
    near = np.argsort(-(vectors @ vectors.T), axis=1)[:, 1:201]
    return float((language[near] != language[:, None]).mean()), float((subject[near] == subject[:, None]).mean())


def test_texts_of_one_subject_meet_across_languages() -> None:
    vectors, language, account, subject = spoken(12)
    text = np.arange(len(vectors), dtype=np.int32)
    bare = without_language(vectors, language, text, account)
    assert np.allclose(np.linalg.norm(bare, axis=1), 1.0, atol=1e-5)
    assert neighbours_abroad(vectors, language, subject)[0] < 0.02
    abroad, on_subject = neighbours_abroad(bare, language, subject)
    assert abroad > 0.25
    assert on_subject > 0.95


def test_the_mean_of_a_language_that_one_account_speaks_is_mostly_left() -> None:
    vectors, language, account, _ = spoken(1)
    text = np.arange(len(vectors), dtype=np.int32)
    bare = without_language(vectors, language, text, account)
    assert (np.einsum("ij,ij->i", vectors, bare) > 0.9).all()


def test_texts_that_no_exchange_uses_are_no_error() -> None:
    vectors, language, account, _ = spoken(2)
    text = np.full(len(vectors), -1, np.int32)
    assert np.isfinite(without_language(vectors, language, text, account)).all()
