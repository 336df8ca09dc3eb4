import numpy as np
import pytest

from coterie.detection.exchangeability import exchangeability, permutation_z
from coterie.detection.shuffling import alikeness, shuffled_ratios


def pool(subjects: float, accounts: int = 6, each: int = 20, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Queries around one common direction; `subjects` is how far each account has one of its own."""
    rng = np.random.default_rng(seed)
    own = rng.standard_normal((accounts, 32)) * subjects
    common = rng.standard_normal(32)
    account = np.repeat(np.arange(accounts), each)
    vectors = common + own[account] + rng.standard_normal((accounts * each, 32))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), account


def test_the_null_has_the_moments_that_the_closed_form_has():
    vectors, account = pool(0.3)
    ratios = shuffled_ratios(vectors, account, 2_000, seed=1)
    observed = exchangeability(vectors, account)
    assert observed is not None
    # C falls as W rises, so z of C/W is that of W with its sign turned, but for the curvature of a ratio.
    z = -(observed.ratio - ratios.mean()) / ratios.std()
    assert z == pytest.approx(permutation_z(vectors, account), rel=0.1)


def test_each_shuffling_is_what_exchangeability_measures_on_shuffled_labels():
    vectors, account = pool(0.5)
    ratios = shuffled_ratios(vectors, account, 3, seed=5)
    rng = np.random.default_rng(5)
    for ratio in ratios:
        again = exchangeability(vectors[rng.permutation(len(vectors))], account)
        assert again is not None
        assert ratio == pytest.approx(again.ratio, abs=1e-6)


def test_dealt_slices_lie_in_the_middle_and_subjects_far_below():
    dealt, subjects = pool(0.0), pool(0.7)
    for (vectors, account), inside in ((dealt, True), (subjects, False)):
        ratios = shuffled_ratios(vectors, account, 200, seed=0)
        measured = exchangeability(vectors, account)
        assert measured is not None
        assert bool(ratios.min() <= measured.ratio <= ratios.max()) is inside
        assert ratios.mean() == pytest.approx(1.0, abs=0.02)


def test_alikeness_against_all_pairs():
    vectors, account = pool(0.5, accounts=3, each=4)
    own, others = alikeness(vectors, account, 4)
    similarity = (vectors @ vectors.T).astype(np.float64)
    np.fill_diagonal(similarity, np.nan)
    for number in range(3):
        mine = account == number
        assert own[number] == pytest.approx(np.nanmean(similarity[np.ix_(mine, mine)]), abs=1e-5)
        assert others[number] == pytest.approx(np.nanmean(similarity[np.ix_(mine, ~mine)]), abs=1e-5)
    assert np.isnan([own[3], others[3]]).all()
