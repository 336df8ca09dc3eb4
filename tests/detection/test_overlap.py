"""Repeats: the level of the test for one question in wrappings of several accounts, and its power."""

import numpy as np
from scipy import sparse

from coterie.detection.overlap import overlap


def dealt(seed: int, accounts: int, each: int, pairs: int) -> float:
    """p of a list dealt at random in which `pairs` pairs of texts are one question."""
    rng = np.random.default_rng(seed)
    texts = accounts * each
    order = rng.permutation(texts)
    first, second = order[: 2 * pairs].reshape(2, -1)
    rows, columns = np.concatenate((first, second)), np.concatenate((second, first))
    same = sparse.csr_matrix((np.ones(2 * pairs), (rows, columns)), shape=(texts, texts))
    owner = rng.permutation(np.repeat(np.arange(accounts, dtype=np.int32), each))
    return overlap(owner, np.arange(texts, dtype=np.int32), same).rewrapped_p_value


def test_lists_dealt_at_random_are_called_a_crowd_no_more_often_than_the_level_says() -> None:
    for accounts, each, pairs in ((20, 45, 50), (10, 45, 25), (5, 40, 30)):
        p = np.array([dealt(seed, accounts, each, pairs) for seed in range(300)])
        for level in (0.01, 0.05):
            assert np.mean(p <= level) <= level + 3 * np.sqrt(level * (1 - level) / len(p)), (accounts, level)


def test_labs_that_each_ask_every_question_in_their_own_words_are_told() -> None:
    labs, items = 4, 120
    texts = np.arange(labs * items, dtype=np.int32)
    question = texts % items
    same = sparse.csr_matrix((question[:, None] == question[None, :]) & (texts[:, None] != texts[None, :]), dtype=float)
    found = overlap((texts // items).astype(np.int32), texts, same)
    assert found.repeated == 0
    assert found.rewrapped == 1.0
    assert found.rewrapped_p_value < 1e-6
