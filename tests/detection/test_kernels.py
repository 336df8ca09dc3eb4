"""The compiled loops against plain Python."""

import numpy as np
import pytest
from scipy import sparse

from coterie.detection.items import Items, items_of, neighbours_inside
from coterie.detection.kernels import have_in_common


@pytest.mark.parametrize("seed", range(4))
def test_neighbours_inside_a_pool_are_counted_once_for_each_owner_that_has_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    texts, owners = 40, 5
    near = sparse.random(texts, texts, density=0.2, random_state=seed, format="csr")
    near.data[:] = 1.0
    keys = np.sort(rng.choice(owners * texts, 60, replace=False))
    owner, text = keys // texts, (keys % texts).astype(np.int32)
    chosen = rng.permutation(60)[:45]
    own, anybody = neighbours_inside(near, text[chosen], owner[chosen])
    linked = near.toarray() > 0
    for place, item in enumerate(chosen):
        others = [other for other in chosen if linked[text[item], text[other]] and text[other] != text[item]]
        assert anybody[place] == len(others)
        assert own[place] == sum(owner[other] == owner[item] for other in others)


@pytest.mark.parametrize("seed", range(4))
def test_pairs_share_words_as_sets_do(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sets = [set(rng.integers(0, 12, rng.integers(0, 8)).tolist()) for _ in range(30)]
    starts = np.concatenate(([0], np.cumsum([len(one) for one in sets])))
    words = np.array([word for one in sets for word in sorted(one)], np.int64)
    first, second = rng.integers(0, 30, (2, 200))
    found = have_in_common(starts, words, first, second, 2, 0.6)
    for a, b, same in zip(first, second, found, strict=True):
        shorter = min(len(sets[a]), len(sets[b]))
        assert same == (shorter >= 2 and len(sets[a] & sets[b]) >= 0.6 * shorter)


def test_items_of_principals_are_all_of_theirs() -> None:
    principal = np.sort(np.random.default_rng(0).integers(0, 20, 100)).astype(np.int32)
    items = Items(principal, np.arange(100, dtype=np.int32), np.zeros((100, 2), np.float32), sparse.eye_array(100), 25)
    for wanted in ([], [3], [0, 7, 19], [21], list(range(25))):
        chosen = items_of(items, np.array(wanted, np.int32))
        assert chosen.tolist() == np.flatnonzero(np.isin(principal, wanted)).tolist()
