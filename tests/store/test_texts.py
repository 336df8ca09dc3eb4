"""Texts, the embedding queue, vectors, and the sequence an index follows."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from coterie.domain import BenchmarkItem, ConflictError, Exchange, InvalidError, NotFoundError, TextField, text_digest
from coterie.store import SqliteStore, changes

Make = Callable[..., Exchange]
Unit = Callable[..., NDArray[np.float32]]
Embed = Callable[[SqliteStore], list[int]]


def queue(store: SqliteStore, limit: int = 100) -> list[str]:
    return [text for _, text in store.pending_texts(limit)]


def searchable(store: SqliteStore, field: TextField, after: int = 0) -> list[str]:
    return store.texts(store.vectors_since(field, after, 100)[1])


def test_prompts_come_before_responses_oldest_first_and_items_not_at_all(store: SqliteStore, exchange: Make) -> None:
    store.append([exchange(1, response="answer 1", system="system 1"), exchange(2, response="answer 2")])
    store.register_benchmark("b", [BenchmarkItem("i", "item 1")], 1)
    store.append([exchange(3, response="answer 3")])
    expected = ["prompt 1", "prompt 2", "prompt 3", "answer 1", "answer 2", "answer 3"]
    assert queue(store) == expected
    assert queue(store, limit=2) == expected[:2]
    assert store.pending_count() == len(expected)


def test_the_oldest_that_waits_is_of_either_queue(store: SqliteStore, exchange: Make, unit: Unit) -> None:
    assert store.oldest_pending() == 0
    store.append([exchange(1, response="answer 1")])
    store.append([exchange(2)])
    store.bind_model("m", 16)
    ids = [text_id for text_id, _ in store.pending_texts(10)]  # prompts first
    for place in range(3):
        assert store.oldest_pending() == min(ids[place:])
        store.put_vectors(ids[place : place + 1], unit(1))
    assert store.oldest_pending() == 0


def test_a_waiting_response_that_is_asked_moves_ahead(store: SqliteStore, exchange: Make) -> None:
    store.append([exchange(1, response="first"), exchange(2, response="second")])
    store.append([exchange(3, prompt="second")])
    assert queue(store) == ["prompt 1", "prompt 2", "second", "first"]


def test_a_system_prompt_is_embedded_only_once_it_is_asked(store: SqliteStore, exchange: Make) -> None:
    store.append([exchange(1, system="be kind")])
    assert queue(store) == ["prompt 1"]
    store.append([exchange(2, prompt="be kind")])
    assert queue(store) == ["prompt 1", "be kind"]


def test_the_queue_is_exactly_the_texts_without_a_vector(store: SqliteStore, exchange: Make, unit: Unit) -> None:
    store.append([exchange(number, response=f"answer {number % 3}") for number in range(10)])
    store.bind_model("m", 16)
    done: set[int] = set()
    while pending := store.pending_texts(4):
        assert not done & {text_id for text_id, _ in pending}
        store.put_vectors([text_id for text_id, _ in pending], unit(len(pending)))
        done |= {text_id for text_id, _ in pending}
    assert len(done) == 13
    assert store.pending_count() == 0
    store.append([exchange(99, prompt="prompt 1")])
    assert store.pending_count() == 0


def test_vectors_come_back_of_unit_length_within_float16(store: SqliteStore, exchange: Make, unit: Unit) -> None:
    store.append([exchange(number) for number in range(1_500)])
    store.bind_model("m", 384)
    text_ids = np.array([text_id for text_id, _ in store.pending_texts(1_500)])
    vectors = unit(1_500, 384)
    store.put_vectors(text_ids, vectors)
    chosen = np.random.default_rng(1).integers(0, 1_500, 2_000)
    found = store.vectors(text_ids[chosen])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, vectors[chosen], atol=2e-4)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    assert np.abs(found - vectors[chosen]).max() > 0, "stored as float16, so something must be rounded"


def test_texts_come_in_the_order_asked(store: SqliteStore, exchange: Make) -> None:
    store.append([exchange(number) for number in range(3)])
    first, second, third = (text_id for text_id, _ in store.pending_texts(3))
    assert store.texts(np.array([third, first, third, second])) == ["prompt 2", "prompt 0", "prompt 2", "prompt 1"]
    assert store.texts(np.empty(0, np.int64)) == []


def test_missing_texts_and_vectors_are_not_found(store: SqliteStore, exchange: Make, embed: Embed) -> None:
    store.append([exchange(1)])
    embed(store)
    store.append([exchange(2)])
    with pytest.raises(NotFoundError, match="1 of 2 texts are not stored or not embedded, such as 2"):
        store.vectors(np.array([1, 2]))
    with pytest.raises(NotFoundError, match="such as 77"):
        store.texts(np.array([1, 77]))


def test_an_empty_store_has_no_vectors(store: SqliteStore) -> None:
    sequence, text_ids, vectors = store.vectors_since(TextField.PROMPT, 0, 10)
    assert (sequence.dtype, text_ids.dtype, vectors.dtype) == (np.int64, np.int64, np.float32)
    assert sequence.size == text_ids.size == vectors.size == 0
    assert store.vectors(np.empty(0, np.int64)).size == 0


def test_an_index_catches_up_page_by_page(store: SqliteStore, exchange: Make, unit: Unit) -> None:
    store.append([exchange(number, response=f"answer {number}") for number in range(25)])
    store.bind_model("m", 16)
    pending = np.array([text_id for text_id, _ in store.pending_texts(100)])
    place_of = {text_id: place for place, text_id in enumerate(pending.tolist())}
    vectors = unit(50)
    order = np.random.default_rng(2).permutation(50)
    store.put_vectors(pending[order[:30]], vectors[order[:30]])
    store.put_vectors(pending[order[30:]], vectors[order[30:]])
    for field, first in ((TextField.PROMPT, 0), (TextField.RESPONSE, 25)):
        after, seen = 0, []
        while True:
            sequence, text_ids, found = store.vectors_since(field, after, 7)
            if not sequence.size:
                break
            assert np.all(np.diff(np.concatenate([[after], sequence])) > 0)
            places = np.array([place_of[text_id] for text_id in text_ids.tolist()])
            np.testing.assert_allclose(found, vectors[places], atol=1e-3)
            after = int(sequence[-1])
            seen += places.tolist()
        assert seen == [place for place in order if first <= place < first + 25]
        np.testing.assert_array_equal(store.text_ids(field), pending[seen])
        np.testing.assert_array_equal(store.text_ids(field, after=after), [])


def test_a_response_that_is_later_asked_becomes_searchable_as_a_prompt(
    store: SqliteStore, exchange: Make, embed: Embed
) -> None:
    store.append([exchange(1, response="echo")])
    embed(store)
    before, _, _ = store.vectors_since(TextField.PROMPT, 0, 10)
    store.append([exchange(2, prompt="echo", response="prompt 1")])
    assert store.pending_count() == 0
    assert searchable(store, TextField.PROMPT, int(before[-1])) == ["echo"]
    assert searchable(store, TextField.PROMPT) == ["prompt 1", "echo"]
    assert searchable(store, TextField.RESPONSE) == ["echo", "prompt 1"]
    store.append([exchange(3, prompt="echo")])
    assert searchable(store, TextField.PROMPT) == ["prompt 1", "echo"]


def test_a_rejected_exchange_makes_nothing_searchable(store: SqliteStore, exchange: Make, embed: Embed) -> None:
    store.append([exchange(1, response="echo")])
    embed(store)
    assert store.append([exchange(1, prompt="echo")]).rejections
    assert searchable(store, TextField.PROMPT) == ["prompt 1"]


def test_a_benchmark_item_waits_and_is_searchable_only_once_it_is_asked(
    store: SqliteStore, exchange: Make, embed: Embed
) -> None:
    store.register_benchmark("b", [BenchmarkItem("i", "item"), BenchmarkItem("j", "another")], 1)
    assert queue(store) == []
    store.append([exchange(1, prompt="item", response="another")])
    assert queue(store) == ["item", "another"]
    embed(store)
    assert searchable(store, TextField.PROMPT) == ["item"]


def test_a_text_that_waits_goes_on_waiting_when_it_becomes_an_item(store: SqliteStore, exchange: Make) -> None:
    store.append([exchange(1, prompt="item")])
    store.register_benchmark("b", [BenchmarkItem("i", "item")], 1)
    assert queue(store) == ["item"]
    store.erase_account("a", 1)
    assert queue(store) == []


def test_a_vector_put_twice_stays_the_first(store: SqliteStore, exchange: Make, unit: Unit) -> None:
    store.append([exchange(1)])
    store.bind_model("m", 16)
    vectors = unit(2)
    store.put_vectors(np.array([1]), vectors[:1])
    store.put_vectors(np.array([1, 1]), vectors)
    np.testing.assert_allclose(store.vectors(np.array([1])), vectors[:1], atol=1e-3)
    assert store.vectors_since(TextField.PROMPT, 0, 10)[0].size == 1


def test_vectors_of_texts_erased_meanwhile_are_passed_over(store: SqliteStore, exchange: Make, unit: Unit) -> None:
    store.append([exchange(1), exchange(2, account_id="b")])
    store.bind_model("m", 16)
    pending = [text_id for text_id, _ in store.pending_texts(10)]
    store.erase_account("a", 1)
    store.put_vectors(pending, unit(2))
    assert searchable(store, TextField.PROMPT) == ["prompt 2"]
    assert store.pending_count() == 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.ones((1, 16), np.float32), "unit length"),
        (np.full((1, 16), np.nan, np.float32), "unit length"),
        (np.zeros((1, 16), np.float32), "unit length"),
        (np.eye(2, 16, dtype=np.float32), r"shape \(2, 16\), wanted is \[1, dim\]"),
        (np.ones(1, np.float32), "shape"),
    ],
)
def test_vectors_that_are_none_are_refused(
    store: SqliteStore, exchange: Make, rows: NDArray[np.float32], message: str
) -> None:
    store.append([exchange(1)])
    store.bind_model("m", 16)
    with pytest.raises(InvalidError, match=message):
        store.put_vectors(np.array([1]), rows)
    with pytest.raises(InvalidError, match=message):
        store.put_view_vectors("m", [b"1"], rows)
    assert store.pending_count() == 1


def test_the_folder_belongs_to_one_model(store: SqliteStore, exchange: Make, unit: Unit) -> None:
    assert store.model() is None
    store.append([exchange(1)])
    with pytest.raises(ConflictError, match="no embedding model yet"):
        store.put_vectors(np.array([1]), unit(1))
    store.bind_model("minilm", 16)
    store.bind_model("minilm", 16)
    assert store.model() == ("minilm", 16)
    for model_id, dim in (("other", 16), ("minilm", 8)):
        with pytest.raises(ConflictError, match="start with the model minilm, or use a new data folder"):
            store.bind_model(model_id, dim)
    with pytest.raises(ConflictError, match="8 dimensions"):
        store.put_vectors(np.array([1]), unit(1, 8))
    assert store.model() == ("minilm", 16)


def test_view_vectors_are_cached_by_model(store: SqliteStore, unit: Unit) -> None:
    digests = [text_digest(f"view {number}") for number in range(1_200)]
    vectors = unit(1_200, 8)
    store.put_view_vectors("m", digests, vectors)
    store.put_view_vectors("n", digests[:1], vectors[1:2])
    store.put_view_vectors("m", digests[:1], vectors[:1])
    found = store.view_vectors("m", [*digests, b"unknown"])
    assert found.keys() == set(digests)
    for digest, vector in zip(digests, vectors, strict=True):
        np.testing.assert_allclose(found[digest], vector, atol=1e-3)
    np.testing.assert_allclose(store.view_vectors("n", digests)[digests[0]], vectors[1], atol=1e-3)


def test_the_view_cache_drops_the_oldest(store: SqliteStore, unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "VIEW_VECTORS_MAX", 3)
    digests = [bytes([number]) for number in range(5)]
    for number, digest in enumerate(digests):
        store.put_view_vectors("m", [digest], unit(1, seed=number))
    assert store.view_vectors("m", digests).keys() == set(digests[2:])
