"""Registered benchmarks."""

from collections.abc import Callable

import numpy as np
import pytest

from coterie.domain import LIMITS, Benchmark, BenchmarkItem, ConflictError, Exchange, InvalidError, NotFoundError
from coterie.store import SqliteStore

ITEMS = [BenchmarkItem("i2", "second  item", "2"), BenchmarkItem("i1", "first item"), BenchmarkItem("i3", "first item")]


def test_a_benchmark_keeps_its_order_and_shares_texts(store: SqliteStore, exchange: Callable[..., Exchange]) -> None:
    store.append([exchange(1, prompt="first item")])
    assert store.register_benchmark("b", ITEMS, 7) == Benchmark("b", 3, 7)
    items, text_ids = store.benchmark_items("b")
    assert items == ITEMS
    assert text_ids.dtype == np.int64
    assert store.texts(text_ids) == [item.text for item in ITEMS]
    assert text_ids[1] == text_ids[2] == store.window().prompt[0]
    assert store.pending_count() == 1  # the prompt alone


def test_the_same_items_again_change_nothing(store: SqliteStore) -> None:
    first = store.register_benchmark("b", ITEMS, 7)
    assert store.register_benchmark("b", ITEMS, 8) == first
    store.register_benchmark("a", ITEMS[:1], 9)
    assert store.benchmarks() == [Benchmark("a", 1, 9), first]
    assert store.stats().benchmarks == 2


@pytest.mark.parametrize(
    "items",
    [
        ITEMS[:2],
        ITEMS[::-1],
        [*ITEMS[:2], BenchmarkItem("i3", "a text that is new")],
        [*ITEMS[:2], BenchmarkItem("i3", "first item", "an answer")],
        [*ITEMS[:2], BenchmarkItem("i4", "first item")],
    ],
)
def test_other_items_under_the_name_are_a_conflict(store: SqliteStore, items: list[BenchmarkItem]) -> None:
    store.register_benchmark("b", ITEMS, 7)
    with pytest.raises(ConflictError, match="another name"):
        store.register_benchmark("b", items, 8)
    assert store.benchmark_items("b")[0] == ITEMS
    assert store.stats().texts == 2


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "1 to 100000 items, not 0"),
        ([ITEMS[0], ITEMS[0]], "i2 appears twice"),
        ([BenchmarkItem("i", " \n ")], "item i has no text"),
        ([BenchmarkItem(str(n), "t") for n in range(LIMITS.benchmark_items_max + 1)], "not 100001"),
    ],
)
def test_items_that_cannot_be_are_refused(store: SqliteStore, items: list[BenchmarkItem], message: str) -> None:
    with pytest.raises(InvalidError, match=message):
        store.register_benchmark("b", items, 7)
    assert store.benchmarks() == []


def test_an_unknown_benchmark_is_not_found(store: SqliteStore) -> None:
    with pytest.raises(NotFoundError, match="no benchmark b"):
        store.benchmark_items("b")
