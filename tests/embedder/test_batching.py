"""Windows cover what they promise, batches keep to their budget."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from coterie.embedder.batching import WINDOWS_MAX, padded, token_budget_batches, window_bounds


def test_a_text_that_fits_is_one_window():
    assert window_bounds(10, 10) == [(0, 10)]
    assert window_bounds(0, 10) == [(0, 0)]


def test_a_longer_text_is_cut_into_near_equal_parts():
    assert window_bounds(11, 10) == [(0, 5), (5, 11)]
    assert window_bounds(80, 10) == [(start, start + 10) for start in range(0, 80, 10)]


def test_a_very_long_text_is_sampled_evenly_from_first_to_last_token():
    windows = window_bounds(1_000, 10)
    assert len(windows) == WINDOWS_MAX
    assert windows[0] == (0, 10)
    assert windows[-1] == (990, 1_000)
    gaps = [later[0] - earlier[0] for earlier, later in itertools.pairwise(windows)]
    assert max(gaps) - min(gaps) <= 1


@given(st.integers(0, 5_000), st.integers(1, 300))
def test_windows_stay_within_capacity_and_text(tokens, capacity):
    windows = window_bounds(tokens, capacity)
    assert 1 <= len(windows) <= WINDOWS_MAX
    assert windows[0][0] == 0
    assert windows[-1][1] == tokens
    assert all(0 <= start <= stop <= tokens and stop - start <= capacity for start, stop in windows)
    if tokens <= capacity * WINDOWS_MAX:
        assert sum(stop - start for start, stop in windows) == tokens, "no gap, no overlap"
        assert all(earlier[1] == later[0] for earlier, later in itertools.pairwise(windows))


@given(st.lists(st.integers(0, 300), max_size=60), st.integers(1, 400))
def test_batches_hold_every_row_once_and_keep_to_the_budget(lengths, budget):
    batches = [batch.tolist() for batch in token_budget_batches(lengths, budget)]
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        tokens = len(batch) * padded(max(lengths[row] for row in batch))
        assert tokens <= budget or len(batch) == 1
    in_order = [lengths[row] for batch in batches for row in batch]
    assert in_order == sorted(in_order, reverse=True)


@given(st.integers(0, 4_096))
def test_padding_adds_less_than_eight_and_gives_few_lengths(length):
    assert length <= padded(length) <= max(8, length + 7)
    assert padded(length) % 8 == 0
