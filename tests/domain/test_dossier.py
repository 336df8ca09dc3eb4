from dataclasses import replace

import numpy as np
import pytest
from dossiers import made_dossier

from coterie.domain import Dossier


def test_a_dossier_equals_what_holds_the_same_and_nothing_else() -> None:
    dossier = made_dossier()
    assert dossier == made_dossier()
    assert dossier != made_dossier(seed=2)
    assert dossier != replace(dossier, volume=replace(dossier.volume, in_pool=dossier.volume.in_pool + 1))
    assert dossier != dossier.finding
    with pytest.raises(TypeError, match="unhashable"):
        hash(dossier)


def test_unknown_likeness_is_equal_to_itself() -> None:
    dossier = made_dossier()
    assert dossier.shuffled is not None
    unknown = replace(dossier.shuffled, alike_own=np.full(8, np.nan))
    assert unknown == replace(dossier.shuffled, alike_own=np.full(8, np.nan))
    assert unknown != dossier.shuffled


def test_shares_are_of_the_window() -> None:
    dossier = made_dossier(texts=24)
    assert dossier.pool_exchanges.tolist() == [24] * 8
    assert dossier.outside_share == pytest.approx(np.full(8, 0.25))


def test_it_says_when_something_was_left_out() -> None:
    dossier = made_dossier()
    assert not dossier.is_sampled
    assert replace(dossier, asked=replace(dossier.asked, total=dossier.asked.total + 1)).is_sampled
    more: Dossier = replace(dossier, finding=replace(dossier.finding, accounts=2 * dossier.finding.accounts))
    assert more.is_sampled
