"""Nobody is dropped for what cannot be told apart."""

import numpy as np

from coterie.detection.exchangeability import account_sums
from coterie.detection.items import Items
from coterie.detection.trimming import drop_misfits, trim


def kept_of(vectors: np.ndarray, principals: int) -> tuple[bool, list[bool]]:
    counts = np.full(principals, len(vectors) // principals)
    sums, squares, _ = account_sums(vectors, np.repeat(np.arange(principals), counts), principals)
    kept = np.ones(principals, np.bool_)
    return drop_misfits(vectors, counts, sums, squares, 0.0, kept), kept.tolist()


def about_subjects(subjects: list[int], each: int) -> np.ndarray:
    draw = np.random.default_rng(0)
    vectors = np.repeat(np.eye(16)[subjects], each, axis=0) + 0.2 * draw.standard_normal((len(subjects) * each, 16))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_of_equal_texts_nobody_is_a_misfit():
    vectors = np.tile(np.float32([0.6, 0.8, 0.0]), (20, 1))
    assert kept_of(vectors, 4) == (True, [True] * 4)


def test_one_who_asks_of_something_else_is_dropped():
    assert kept_of(about_subjects([0, 0, 0, 1], 20), 4) == (True, [True, True, True, False])


def test_no_more_than_half_are_dropped_and_then_nothing_is_settled():
    settled, kept = kept_of(about_subjects(list(range(12)), 20), 12)
    assert not settled
    assert sum(kept) == 6


def test_what_is_left_is_what_the_test_is_of():
    vectors = about_subjects([0, 0, 0, 0, 1], 20)
    principal = np.repeat(np.arange(7, dtype=np.int32), [20, 20, 20, 20, 20, 4, 6])
    # The sixth has too little, the seventh only what others sent too.
    text = np.concatenate((np.arange(100), np.arange(4), np.arange(6))).astype(np.int32)
    items = Items(principal, text, vectors, None, 7)
    pool = trim(items, np.arange(110))
    assert pool.principals.tolist() == [0, 1, 2, 3]
    assert pool.items.tolist() == list(range(80))
    assert pool.counts.tolist() == [20] * 4
    assert pool.settled
    assert pool.result is not None
    assert pool.result.ratio > 0.9


def test_of_two_principals_nothing_is_tested():
    principal = np.repeat(np.arange(2, dtype=np.int32), 20)
    pool = trim(Items(principal, np.arange(40, dtype=np.int32), about_subjects([0, 0], 20), None, 2), np.arange(40))
    assert pool.result is None
    assert not pool.settled
