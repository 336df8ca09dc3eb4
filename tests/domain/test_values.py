"""The small values: the neighbour graph, runs, filters, limits, errors."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from coterie.domain import (
    LIMITS,
    AccountId,
    InvalidError,
    NeighbourGraph,
    OverloadedError,
    RunState,
    SearchFilter,
    Slice,
    TextField,
)


def test_a_graph_knows_its_size_and_k() -> None:
    graph = NeighbourGraph(np.zeros((5, 3), np.int32), np.zeros((5, 3), np.float32))
    assert (graph.size, graph.k) == (5, 3)


def test_a_graph_may_be_empty() -> None:
    graph = NeighbourGraph(np.zeros((0, 3), np.int32), np.zeros((0, 3), np.float32))
    assert (graph.size, graph.k) == (0, 3)


@pytest.mark.parametrize(
    ("neighbours", "similarities"),
    [((5, 3), (5, 2)), ((5, 3), (4, 3)), ((5, 3), (3, 5)), ((15,), (15,)), ((5, 3, 1), (5, 3, 1)), ((5, 3), (15,))],
)
def test_a_graph_of_two_shapes_or_of_no_table_is_refused(
    neighbours: tuple[int, ...], similarities: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="share one shape") as caught:
        NeighbourGraph(np.zeros(neighbours, np.int32), np.zeros(similarities, np.float32))
    assert str(neighbours) in str(caught.value)
    assert str(similarities) in str(caught.value)


def test_only_done_failed_and_cancelled_runs_are_finished() -> None:
    assert {state for state in RunState if state.finished} == {RunState.DONE, RunState.FAILED, RunState.CANCELLED}


@pytest.mark.parametrize(
    "narrowed",
    [
        SearchFilter(accounts=(AccountId("a"),)),
        SearchFilter(models=("m",)),
        SearchFilter(since_us=0),
        SearchFilter(until_us=0),
        SearchFilter(attributes={"payment": "p"}),
    ],
)
def test_a_filter_is_empty_until_any_field_is_set(narrowed: SearchFilter) -> None:
    assert SearchFilter().empty
    assert not narrowed.empty


NARROWED = [
    Slice(models=("m",)),
    Slice(models=("m", "n")),
    Slice(accounts=(AccountId("a"),)),
    Slice(accounts=(AccountId("m"),)),
    Slice(attributes={"payment": "p"}),
    Slice(attributes={"payment": "q"}),
    Slice(field=TextField.RESPONSE),
    Slice(models=("m",), field=TextField.RESPONSE),
]


def test_a_slice_is_whole_until_it_leaves_something_out() -> None:
    assert Slice().is_whole
    assert Slice().key == ""
    assert not any(part.is_whole for part in NARROWED)


def test_slices_are_equal_when_their_keys_are() -> None:
    assert len({part.key for part in [Slice(), *NARROWED]}) == len(NARROWED) + 1
    one = Slice(models=("n", "m", "n"), attributes={"a": "1", "b": "2"})
    other = Slice(models=("m", "n"), attributes={"b": "2", "a": "1"})
    assert one == other
    assert one.key == other.key


def test_a_slice_is_a_filter_within_a_window() -> None:
    part = Slice(models=("m",), accounts=(AccountId("a"),), attributes={"asn": "1"})
    assert part.within(3, 5) == SearchFilter((AccountId("a"),), ("m",), 3, 5, {"asn": "1"})


def test_a_slice_listed_in_part_says_how_many_there_are() -> None:
    part = Slice(accounts=tuple(AccountId(name) for name in "dbca"))
    assert part.listed(9) == part
    assert (part.listed(2).accounts, part.listed(2).accounts_total) == (("a", "b"), 4)
    assert part.listed(3).listed(1).accounts_total == 4
    assert not part.listed(0).is_whole


def test_a_slice_without_its_only_account_is_not_the_whole() -> None:
    part = Slice(accounts=(AccountId("a"),)).without(AccountId("a"))
    assert part.accounts == ("(erased)",)
    assert not part.is_whole
    assert part.without(AccountId("b")) == part


def test_limits_cannot_be_moved_at_run_time() -> None:
    with pytest.raises(FrozenInstanceError):
        LIMITS.search_k_max = 1  # type: ignore[misc]


def test_errors_carry_what_the_caller_can_act_on() -> None:
    invalid = InvalidError("k must be at least 1", field="k", reason="bad_number")
    assert (str(invalid), invalid.field, invalid.reason) == ("k must be at least 1", "k", "bad_number")
    assert (InvalidError("no").field, InvalidError("no").reason) == ("", "invalid")
    assert OverloadedError("later", retry_after_s=2.5).retry_after_s == 2.5
