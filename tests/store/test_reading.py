"""Filters and windows against plain Python on the same exchanges."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from coterie.domain import LIMITS, RESERVED_ATTRIBUTES, Exchange, NotFoundError, SearchFilter, TextField
from coterie.store import SqliteStore, open_store, window

Make = Callable[..., Exchange]
START_US = 1_767_225_600_000_000
EXCHANGES = 400

FILTERS = [
    SearchFilter(),
    SearchFilter(accounts=("a1",)),
    SearchFilter(accounts=("a1", "a3", "nobody")),
    SearchFilter(models=("m0", "m1")),
    SearchFilter(models=("",)),
    SearchFilter(since_us=START_US + 20),
    SearchFilter(until_us=START_US + 20),
    SearchFilter(since_us=START_US + 10, until_us=START_US + 30),
    SearchFilter(since_us=START_US + 30, until_us=START_US + 10),
    SearchFilter(attributes={"organisation": "o1"}),
    SearchFilter(attributes={"organisation": "o1", "own 'label\"": "x; y"}),
    SearchFilter(attributes={"client": ""}),
    SearchFilter(attributes={"organisation": "nobody's"}),
    SearchFilter(accounts=("a0", "a1"), models=("m0",), since_us=START_US + 5, attributes={"asn": "1"}),
]


def make_traffic() -> list[Exchange]:
    rng = random.Random(7)

    def pick(*values: str | None) -> str | None:
        return rng.choice(values)

    def make(number: int) -> Exchange:
        labels = {
            "organisation": pick("o0", "o1", None),
            "asn": pick("1", "2", None),
            "client": pick("", "sdk", None),
            "own 'label\"": pick("x; y", None),
        }
        return Exchange(
            exchange_id=f"e{number}",
            account_id=f"a{rng.randrange(5)}",
            time_us=START_US + rng.randrange(40),
            prompt=f"prompt {rng.randrange(60)}",
            response=pick("", f"answer {rng.randrange(30)}", f"prompt {rng.randrange(60)}") or "",
            system=pick("", "be kind", "be terse") or "",
            conversation_id=pick("", "c0", "c1") or "",
            turn=rng.choice([None, 0, 3]),
            model=pick("", "m0", "m1", "m2") or "",
            input_tokens=rng.choice([None, 0, 7]),
            output_tokens=rng.choice([None, 0, 9]),
            cost_usd=rng.choice([None, 0.0, 0.5]),
            attributes={key: value for key, value in labels.items() if value is not None},
        )

    return [make(number) for number in range(EXCHANGES)]


TRAFFIC = make_traffic()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> SqliteStore:
    folder: Path = tmp_path_factory.mktemp("reading")
    store = open_store(folder)
    assert store.append(TRAFFIC).stored == EXCHANGES
    yield store
    store.close()


def passes(item: Exchange, search: SearchFilter) -> bool:
    return (
        (not search.accounts or item.account_id in search.accounts)
        and (not search.models or item.model in search.models)
        and (search.since_us is None or item.time_us >= search.since_us)
        and (search.until_us is None or item.time_us < search.until_us)
        and all(item.attributes.get(key) == value for key, value in search.attributes.items())
    )


@pytest.mark.parametrize("field", TextField)
@pytest.mark.parametrize("search", FILTERS, ids=range(len(FILTERS)))
def test_candidates_are_the_texts_of_the_exchanges_that_pass(
    filled: SqliteStore, field: TextField, search: SearchFilter
) -> None:
    expected = {getattr(item, field.value) for item in TRAFFIC if passes(item, search)} - {""}
    found = filled.candidate_texts(field, search, limit=len(expected))
    assert found is not None
    assert found.dtype == np.int64
    assert np.all(np.diff(found) > 0)
    assert set(filled.texts(found)) == expected
    if expected:
        assert filled.candidate_texts(field, search, limit=len(expected) - 1) is None


@pytest.mark.parametrize("field", TextField)
@pytest.mark.parametrize("search", FILTERS, ids=range(len(FILTERS)))
@pytest.mark.parametrize("limit", [1, 3, EXCHANGES])
def test_the_newest_exchanges_of_each_text(
    filled: SqliteStore, field: TextField, search: SearchFilter, limit: int
) -> None:
    every = filled.candidate_texts(field, SearchFilter(), limit=EXCHANGES)
    assert every is not None
    names = filled.texts(every)
    expected: dict[str, list[Exchange]] = {}
    order = sorted(range(EXCHANGES), key=lambda place: (TRAFFIC[place].time_us, place), reverse=True)
    for item in (TRAFFIC[place] for place in order):
        if passes(item, search) and getattr(item, field.value):
            expected.setdefault(getattr(item, field.value), []).append(item)
    found = filled.exchanges_of_texts(field, every, search, limit_per_text=limit)
    by_name = dict(zip(every.tolist(), names, strict=True))
    assert {by_name[text_id]: items for text_id, items in found.items()} == {
        name: items[:limit] for name, items in expected.items()
    }


def test_both_filters_and_their_complements_occur() -> None:
    """Guards the two tests above: a filter that passes all or nothing would show little."""
    counts = [sum(passes(item, search) for item in TRAFFIC) for search in FILTERS]
    assert sum(0 < count < EXCHANGES for count in counts) >= len(FILTERS) - 3


def coded(values: list[str]) -> tuple[list[int], tuple[str, ...]]:
    names = list(dict.fromkeys(value for value in values if value))
    return [names.index(value) if value else -1 for value in values], tuple(names)


@pytest.mark.parametrize("field", TextField)
@pytest.mark.parametrize("search", FILTERS, ids=range(len(FILTERS)))
def test_a_window_holds_what_passes_and_has_a_text_in_the_field(
    filled: SqliteStore, search: SearchFilter, field: TextField
) -> None:
    rows = [item for item in TRAFFIC if passes(item, search) and getattr(item, field.value)]
    found = filled.window(search, field)
    expected = sorted(rows, key=lambda item: item.time_us)
    assert found.exchange_ids == tuple(item.exchange_id for item in expected)
    assert found.account_ids == tuple(dict.fromkeys(item.account_id for item in expected))
    assert filled.texts(found.prompt) == [getattr(item, field.value) for item in expected]


def test_a_window_of_ten_thousand_accounts_reads_them_all(filled: SqliteStore) -> None:
    crowd = tuple(f"nobody-{number}" for number in range(LIMITS.run_accounts_max - 2))
    wanted = SearchFilter(accounts=("a1", *crowd, "a3"), models=tuple(f"m{number}" for number in range(1_000)))
    found = filled.window(wanted)
    assert set(found.exchange_ids) == {item.exchange_id for item in TRAFFIC if passes(item, wanted)}
    assert found.account_ids == ("a1", "a3")


def number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


@pytest.mark.parametrize("block", [7, 50_000])
@pytest.mark.parametrize(
    ("since_us", "until_us"),
    [(None, None), (START_US + 10, START_US + 30), (None, START_US + 1), (START_US + 39, None), (1, 2)],
)
def test_window_columns(
    filled: SqliteStore, monkeypatch: pytest.MonkeyPatch, block: int, since_us: int | None, until_us: int | None
) -> None:
    monkeypatch.setattr(window, "_FETCH_ROWS", block)
    search = SearchFilter(since_us=since_us, until_us=until_us)
    rows = sorted((item for item in TRAFFIC if passes(item, search)), key=lambda item: item.time_us)
    found = filled.window(search)
    assert found.size == len(rows)
    assert found.exchange_ids == tuple(item.exchange_id for item in rows)
    codes, names = coded([item.account_id for item in rows])
    assert (found.account.tolist(), found.account_ids) == (codes, names)
    codes, names = coded([item.model for item in rows])
    assert (found.model.tolist(), found.models) == (codes, names)
    assert found.time_us.tolist() == [item.time_us for item in rows]
    for column, name in ((found.prompt, "prompt"), (found.response, "response"), (found.system, "system")):
        texts = [getattr(item, name) for item in rows]
        assert (column >= 0).tolist() == [bool(text) for text in texts]
        assert filled.texts(column[column >= 0]) == [text for text in texts if text]
    assert found.turn.tolist() == [-1 if item.turn is None else item.turn for item in rows]
    for name in ("input_tokens", "output_tokens", "cost_usd"):
        np.testing.assert_array_equal(getattr(found, name), [number(getattr(item, name)) for item in rows])
    assert found.attributes.keys() == found.attribute_values.keys() == set(RESERVED_ATTRIBUTES)
    for key in RESERVED_ATTRIBUTES:
        codes, names = coded([item.attributes.get(key, "") for item in rows])
        assert (found.attributes[key].tolist(), found.attribute_values[key]) == (codes, names)


def test_window_conversations_are_numbered_per_account(filled: SqliteStore) -> None:
    found = filled.window()
    seen: dict[tuple[str, str], int] = {}
    for row, exchange in enumerate(filled.exchanges(found.exchange_ids)):
        key = (exchange.account_id, exchange.conversation_id)
        expected = seen.setdefault(key, len(seen)) if exchange.conversation_id else -1
        assert found.conversation[row] == expected
    assert len(seen) == 10


def test_window_dtypes(filled: SqliteStore) -> None:
    for found in (filled.window(), filled.window(SearchFilter(since_us=1, until_us=2))):
        for name in ("account", "conversation", "turn", "model"):
            assert getattr(found, name).dtype == np.int32, name
        for name in ("time_us", "prompt", "response", "system"):
            assert getattr(found, name).dtype == np.int64, name
        for name in ("input_tokens", "output_tokens", "cost_usd"):
            assert getattr(found, name).dtype == np.float64, name
        assert all(column.dtype == np.int32 for column in found.attributes.values())


def test_the_text_of_a_side(filled: SqliteStore) -> None:
    for item in TRAFFIC[:50]:
        for field in TextField:
            text_id = filled.exchange_text(item.exchange_id, field)
            text = getattr(item, field.value)
            assert (text_id is not None) == bool(text)
            if text_id is not None:
                assert filled.texts(np.array([text_id])) == [text]
    with pytest.raises(NotFoundError, match="no exchange nowhere"):
        filled.exchange_text("nowhere", TextField.PROMPT)


def test_counts(filled: SqliteStore) -> None:
    times = [item.time_us for item in TRAFFIC]
    assert filled.time_range() == (min(times), max(times))
    for account in ("a0", "a4", "nobody"):
        assert filled.account_exchanges(account) == sum(item.account_id == account for item in TRAFFIC)
    stats = filled.stats()
    texts = {text for item in TRAFFIC for text in (item.prompt, item.response, item.system)} - {""}
    assert (stats.exchanges, stats.accounts, stats.texts) == (EXCHANGES, 5, len(texts))
    assert stats.pending_texts == len(texts - {"be kind", "be terse"}) == filled.pending_count()
    assert (stats.first_seen_us, stats.last_seen_us) == (min(times), max(times))
    assert (stats.model_id, stats.dim, stats.last_sequence) == ("", 0, EXCHANGES)
    assert stats.database_bytes > 50_000


def test_an_empty_store_has_no_range(store: SqliteStore) -> None:
    assert store.time_range() is None
    assert store.window().size == 0
    assert store.stats().exchanges == store.stats().first_seen_us == 0
