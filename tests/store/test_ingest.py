"""Append: idempotent, conflicts told, nothing lost, nothing merged."""

import dataclasses
import string
import threading
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie.domain import Exchange, IngestResult, NotFoundError, normalise
from coterie.store import SqliteStore, open_store

Make = Callable[..., Exchange]
START_US = 1_767_225_600_000_000

OTHER = {
    "account_id": "b",
    "time_us": START_US + 99,
    "prompt": "quite a secret question",
    "response": "another response",
    "system": "another system prompt",
    "conversation_id": "c9",
    "turn": 9,
    "model": "m9",
    "input_tokens": 9,
    "output_tokens": 9,
    "cost_usd": 0.9,
    "attributes": {"organisation": "o9"},
}


def full(make: Make) -> Exchange:
    return make(
        1,
        response="r",
        system="s",
        conversation_id="c",
        turn=0,
        model="m",
        input_tokens=1,
        output_tokens=2,
        cost_usd=0.25,
        attributes={"organisation": "o", "own label": 'a "quoted" \u00e9'},
    )


def test_a_full_exchange_comes_back_as_it_was_sent(store: SqliteStore, exchange: Make) -> None:
    sent = full(exchange)
    result = store.append([sent])
    assert (result.stored, result.duplicates, result.rejections, result.last_sequence) == (1, 0, (), 1)
    assert result.queued_texts == store.pending_count() == 2
    assert result.queued_tokens == store.backlog().tokens
    assert store.exchange(sent.exchange_id) == sent


def test_a_bare_exchange_comes_back_with_its_absences(store: SqliteStore, exchange: Make) -> None:
    sent = exchange(1)
    store.append([sent])
    assert store.exchange(sent.exchange_id) == sent
    zero = exchange(2, turn=0, input_tokens=0, output_tokens=0, cost_usd=0.0)
    store.append([zero])
    assert store.exchange(zero.exchange_id) == zero


def test_other_covers_every_field() -> None:
    assert {field.name for field in dataclasses.fields(Exchange)} == OTHER.keys() | {"exchange_id"}


@pytest.mark.parametrize("name", OTHER)
@pytest.mark.parametrize("where", ["batch", "group", "later", "absent"])
def test_other_content_under_the_same_id_is_a_conflict(
    store: SqliteStore, exchange: Make, name: str, where: str
) -> None:
    first = exchange(1) if where == "absent" else full(exchange)
    second = dataclasses.replace(first, **{name: OTHER[name]})
    if where == "batch":
        result = store.append([first, second])
        assert (result.stored, result.rejections[0].index) == (1, 1)
    elif where == "group":
        store.submit([first])
        result = store.submit([second]).result(timeout=30)
    else:
        store.append([first])
        result = store.append([second])
    assert [(item.exchange_id, item.reason) for item in result.rejections] == [("e1", "conflict")]
    message = result.rejections[0].message
    assert f"another {name.removesuffix('_us')}:" in message
    assert "under an exchange_id of its own" in message
    assert "secret" not in message
    assert store.exchange(first.exchange_id) == first
    assert store.stats().texts == len({first.prompt, first.response, first.system} - {""})


@pytest.mark.parametrize("where", ["batch", "group", "later"])
def test_the_same_exchange_again_is_a_duplicate(store: SqliteStore, exchange: Make, where: str) -> None:
    sent = full(exchange)
    reordered = dataclasses.replace(sent, attributes=MappingProxyType(dict(reversed(list(sent.attributes.items())))))
    if where == "batch":
        results = [store.append([sent, reordered, sent])]
    elif where == "group":
        results = [future.result(timeout=30) for future in [store.submit([sent]), store.submit([reordered, sent])]]
    else:
        results = [store.append([sent]), store.append([reordered, sent])]
    assert sum(result.stored for result in results) == 1
    assert sum(result.duplicates for result in results) == 2
    assert not any(result.rejections for result in results)
    assert {result.last_sequence for result in results} == {1}


def test_occurrences_are_never_merged_and_texts_always(store: SqliteStore, exchange: Make) -> None:
    store.append([exchange(n, account_id=f"a{n}", prompt="one  question", response="one answer") for n in range(5)])
    store.append([exchange(5, prompt=" one\nquestion ", response="one question")])
    assert store.stats().exchanges == 6
    assert store.stats().texts == 2
    assert store.exchange("e5").prompt == "one  question"


def test_a_spelling_that_normalises_alike_is_the_same_content(store: SqliteStore, exchange: Make) -> None:
    store.append([exchange(1, prompt="cafe\u0301 au  lait")])
    result = store.append([exchange(1, prompt="caf\u00e9 au lait")])
    assert (result.duplicates, result.rejections) == (1, ())


def test_the_rest_of_a_batch_is_kept(store: SqliteStore, exchange: Make) -> None:
    store.append([exchange(2)])
    result = store.append([exchange(1), exchange(2, prompt="changed"), exchange(3), exchange(2)])
    assert (result.stored, result.duplicates, [item.index for item in result.rejections]) == (2, 1, [1])
    assert [item.exchange_id for item in store.exchanges(["e3", "missing", "e1"])] == ["e3", "e1"]


def test_an_empty_batch_is_no_error(store: SqliteStore) -> None:
    assert store.append([]) == IngestResult(0, 0, (), 0)


def test_more_ids_than_one_statement_takes(store: SqliteStore, exchange: Make) -> None:
    batch = [exchange(number) for number in range(2_500)]
    assert store.append(batch).stored == 2_500
    assert store.append(batch).duplicates == 2_500
    assert store.exchanges([item.exchange_id for item in batch]) == batch


def test_an_unknown_exchange_is_not_found(store: SqliteStore) -> None:
    with pytest.raises(NotFoundError, match="no exchange e1"):
        store.exchange("e1")


def test_many_callers_lose_nothing(store: SqliteStore, exchange: Make) -> None:
    """Ids overlap between callers, so every one is stored once and a duplicate for the rest."""
    results: list[IngestResult] = []

    def call(first: int) -> None:
        for start in range(first, first + 300, 10):
            batch = [exchange(number) for number in range(start, start + 10)]
            results.append(store.append(batch))

    threads = [threading.Thread(target=call, args=(first,)) for first in (0, 100, 200, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(result.stored for result in results) == 600
    assert sum(result.duplicates for result in results) == 4 * 300 - 600
    assert store.stats().exchanges == 600
    assert store.stats().last_sequence == max(result.last_sequence for result in results) == 600


IDS = st.sampled_from(["x", "y", "z"])
TEXTS = st.text(string.ascii_lowercase + " \n", min_size=1, max_size=3).filter(normalise)
EXCHANGES = st.builds(
    Exchange,
    exchange_id=IDS,
    account_id=st.sampled_from(["a", "b"]),
    time_us=st.just(START_US),
    prompt=TEXTS,
    response=st.one_of(st.just(""), TEXTS),
    turn=st.one_of(st.none(), st.just(0)),
    cost_usd=st.one_of(st.none(), st.sampled_from([0, 1, 0.1])),
    attributes=st.dictionaries(st.sampled_from(["k", "organisation"]), st.sampled_from(["", "v"])),
)


def content(item: Exchange) -> tuple[object, ...]:
    """What must be equal for two exchanges to be one, by the contract."""
    return (
        item.account_id,
        normalise(item.prompt),
        normalise(item.response),
        item.turn,
        item.cost_usd,
        dict(item.attributes),
    )


@settings(max_examples=60, deadline=None)
@given(batches=st.lists(st.lists(EXCHANGES, max_size=6), max_size=4))
def test_ingest_agrees_with_a_dictionary(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[Exchange]]
) -> None:
    folder: Path = tmp_path_factory.mktemp("oracle")
    oracle: dict[str, tuple[object, ...]] = {}
    with open_store(folder) as store:
        futures = [store.submit(batch) for batch in batches]
        for batch, future in zip(batches, futures, strict=True):
            stored = duplicates = 0
            conflicts = []
            for index, item in enumerate(batch):
                if item.exchange_id not in oracle:
                    oracle[item.exchange_id] = content(item)
                    stored += 1
                elif oracle[item.exchange_id] == content(item):
                    duplicates += 1
                else:
                    conflicts.append((index, item.exchange_id))
            result = future.result(timeout=30)
            assert (result.stored, result.duplicates) == (stored, duplicates)
            assert [(item.index, item.exchange_id) for item in result.rejections] == conflicts
        assert {item.exchange_id: content(item) for item in store.exchanges(["x", "y", "z"])} == oracle
        spelled = {normalise(text) for found in oracle.values() for text in (str(found[1]), str(found[2]))} - {""}
        assert store.stats().texts == len(spelled)
