"""The test at the heart: closed forms against all pairs, and its behaviour on both sides."""

import numpy as np
import pytest
from scipy import stats
from worlds import World

from coterie.detection.decision import content_p_value
from coterie.detection.exchangeability import exchangeability, permutation_z
from coterie.detection.mixing import Mixing
from coterie.detection.parameters import Parameters


def pool(world: World, accounts: int, each: int, *, own: float) -> tuple[np.ndarray, np.ndarray]:
    """Accounts around one subject, each with a subject of its own at distance `own` from it."""
    common = world.subject()
    vectors, account = [], []
    for number in range(accounts):
        subject = world.subject(around=common, spread=own) if own else common
        for _ in range(each):
            vectors.append(world.vectors[world.text(subject, spread=1.2)])
            account.append(number)
    return np.array(vectors), np.array(account)


def test_closed_forms_equal_all_pairs() -> None:
    vectors, account = pool(World(0), 5, 7, own=0.8)
    similarity = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    same = account[:, None] == account[None, :]
    apart = ~np.eye(len(vectors), dtype=bool)
    result = exchangeability(vectors, account)
    assert result is not None
    assert result.within == pytest.approx(similarity[same & apart].mean(), rel=1e-5)
    assert result.across == pytest.approx(similarity[~same].mean(), rel=1e-5)


def test_jackknife_equals_leaving_each_account_out() -> None:
    vectors, account = pool(World(1), 6, 5, own=0.5)
    whole = exchangeability(vectors, account)
    assert whole is not None
    ratios = []
    for left in range(6):
        keep = account != left
        part = exchangeability(vectors[keep], np.unique(account[keep], return_inverse=True)[1])
        assert part is not None
        ratios.append(part.ratio)
    error = np.sqrt(5 / 6 * ((np.array(ratios) - np.mean(ratios)) ** 2).sum())
    assert whole.ratio_low == pytest.approx(whole.ratio - 1.645 * error, abs=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_dealt_slices_are_interchangeable_and_subjects_are_not(seed: int) -> None:
    dealt = exchangeability(*pool(World(seed), 12, 30, own=0.0))
    subjects = exchangeability(*pool(World(seed), 12, 30, own=0.7))
    assert dealt is not None
    assert subjects is not None
    assert dealt.ratio_low > 0.9
    assert subjects.ratio < 0.86
    assert dealt.ratio_low > subjects.ratio


def test_permutation_z_equals_drawn_permutations() -> None:
    vectors, account = pool(World(3), 6, 9, own=0.5)
    rng = np.random.default_rng(0)

    def within(labels: np.ndarray) -> float:
        similarity = vectors @ vectors.T
        return float(similarity[(labels[:, None] == labels[None, :]) & ~np.eye(len(labels), dtype=bool)].sum())

    drawn = np.array([within(rng.permutation(account)) for _ in range(4000)])
    z = (within(account) - drawn.mean()) / drawn.std()
    assert permutation_z(vectors, account) == pytest.approx(z, rel=0.05)


def test_permutation_z_is_standard_under_exchangeability() -> None:
    z = [permutation_z(*pool(World(seed), 8, 12, own=0.0)) for seed in range(60)]
    assert stats.kstest(z, "norm").pvalue > 0.01
    assert permutation_z(*pool(World(99), 8, 12, own=0.7)) > 5
    assert permutation_z(np.zeros((3, 4), np.float32), np.array([0, 1, 2])) == 0.0
    assert permutation_z(np.ones((8, 4), np.float32), np.repeat([0, 1], 4)) == 0.0


def test_p_value_is_conservative_at_the_floor() -> None:
    """Pools whose true C/W and mixing lie at their floors are accepted at most as often as the p-value says."""
    p_values = []
    rng = np.random.default_rng(0)
    limits = Parameters(ratio_floor=0.86)
    for seed in range(60):
        vectors, account = pool(World(1000 + seed), 10, 20, own=0.5)
        result = exchangeability(vectors, account)
        assert result is not None
        mixing = Mixing(limits.mixing_ceiling + 0.1 * rng.normal(), 0.1, 400)
        p_values.append(content_p_value(result, mixing, 10, limits))
    assert np.mean(np.array(p_values) < 0.05) <= 0.15


@pytest.mark.parametrize("accounts", [0, 1, 2])
def test_too_few_accounts_abstain(accounts: int) -> None:
    vectors, account = pool(World(0), accounts, 10, own=0.0) if accounts else (np.zeros((0, 64)), np.zeros(0, int))
    assert exchangeability(np.asarray(vectors, np.float32).reshape(-1, 64), account) is None


def test_one_query_an_account_abstains() -> None:
    vectors, account = pool(World(0), 10, 1, own=0.0)
    assert exchangeability(vectors, account) is None
