"""Search against a plain reading of what was ingested."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from coterie.domain import LIMITS, AccountId, Exchange, ExchangeId, InvalidError, NotFoundError, SearchFilter, TextField
from coterie.embedder import load_encoder
from coterie.server import Config, Engine, Query

ENCODER = load_encoder("hash")


@pytest.fixture
def exchanges(exchange: Callable[..., Exchange]) -> list[Exchange]:
    made = [
        exchange(
            number,
            response=f"reply number {number % 40} about {('ships', 'proofs', 'bread')[number % 3]}",
            model=("small", "large", "")[number % 3],
            attributes={"client": ("web", "api")[number % 2], "team": f"t{number % 4}"},
        )
        for number in range(200)
    ]
    return [*made, *(replace(item, exchange_id=ExchangeId(f"copy-{item.exchange_id}")) for item in made[:30])]


@pytest.fixture(params=[50_000, 1], ids=["inside the index", "on its results"])
def engine(request: pytest.FixtureRequest, config: Config, exchanges: list[Exchange]) -> Iterator[Engine]:
    engine = Engine.open(replace(config, search_candidates_max=request.param))
    engine.warm_up()
    engine.ingest(exchanges).result(10)
    engine.embed_pending(lambda _: None, lambda: False)
    engine._follow()
    yield engine
    engine.close()


def passes(item: Exchange, wanted: SearchFilter) -> bool:
    return (
        (not wanted.accounts or item.account_id in wanted.accounts)
        and (not wanted.models or item.model in wanted.models)
        and (wanted.since_us is None or item.time_us >= wanted.since_us)
        and (wanted.until_us is None or item.time_us < wanted.until_us)
        and all(item.attributes.get(key) == value for key, value in wanted.attributes.items())
    )


def expected(exchanges: list[Exchange], query: Query, vector: np.ndarray) -> list[float]:
    """The similarities of the right hits, nearest first: ids may differ where similarities are equal."""
    side = [item.prompt if query.field is TextField.PROMPT else item.response for item in exchanges]
    similarity = ENCODER.encode(side) @ vector
    found: list[float] = []
    accounts: set[str] = set()
    for row in np.argsort(-similarity, kind="stable"):
        item = exchanges[row]
        if not passes(item, query.filter) or item.exchange_id == query.exchange_id:
            continue
        if query.one_per_account and item.account_id in accounts:
            continue
        accounts.add(item.account_id)
        found.append(float(similarity[row]))
    return found[: query.k]


FILTERS = {
    "none": SearchFilter(),
    "account": SearchFilter(accounts=(AccountId("account-2"), AccountId("account-5"))),
    "model": SearchFilter(models=("large",)),
    "time": SearchFilter(
        since_us=1_767_225_600_000_000 + 3_000_000_000, until_us=1_767_225_600_000_000 + 9_000_000_000
    ),
    "attributes": SearchFilter(attributes={"client": "api", "team": "t1"}),
    "all": SearchFilter(
        accounts=(AccountId("account-1"),),
        models=("small",),
        since_us=1_767_225_600_000_000,
        attributes={"client": "web"},
    ),
    "nobody": SearchFilter(accounts=(AccountId("stranger"),)),
}


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("one_per_account", [False, True])
@pytest.mark.parametrize("field", list(TextField))
def test_hits_are_the_nearest_that_pass(
    engine: Engine, exchanges: list[Exchange], name: str, one_per_account: bool, field: TextField
) -> None:
    text = "explain the rules of bread about proofs to reader 7"
    query = Query(text=text, field=field, k=25, filter=FILTERS[name], one_per_account=one_per_account)
    result = engine.search(query)
    vector = ENCODER.encode([text])[0]
    by_id = {item.exchange_id: item for item in exchanges}
    assert np.allclose([hit.similarity for hit in result.hits], expected(exchanges, query, vector), atol=2e-3)
    assert all(hit.exchange == by_id[hit.exchange.exchange_id] for hit in result.hits)
    assert all(passes(hit.exchange, query.filter) for hit in result.hits)
    assert len({hit.exchange.exchange_id for hit in result.hits}) == len(result.hits)
    if one_per_account:
        assert len({hit.exchange.account_id for hit in result.hits}) == len(result.hits)
    assert (name == "nobody") == (not result.hits)
    assert result.embed_time_ns > 0
    assert result.search_time_ns > 0


def test_an_exchange_is_not_among_its_own_hits(engine: Engine, exchanges: list[Exchange]) -> None:
    own = exchanges[4]
    result = engine.search(Query(exchange_id=own.exchange_id, k=5))
    ids = [hit.exchange.exchange_id for hit in result.hits]
    assert ids[0] == "copy-e00004"
    assert own.exchange_id not in ids
    assert len(ids) == 5
    assert result.embed_time_ns == 0


def test_a_vector_of_any_length_finds_its_text(engine: Engine, exchanges: list[Exchange]) -> None:
    vector = 17.0 * ENCODER.encode([exchanges[50].prompt])[0]
    hit = engine.search(Query(vector=vector, k=1)).hits[0]
    assert hit.exchange.exchange_id == exchanges[50].exchange_id
    assert hit.similarity == pytest.approx(1.0, abs=1e-3)


def test_every_exchange_can_be_asked_for(engine: Engine, exchanges: list[Exchange]) -> None:
    hits = engine.search(Query(text="bread", k=LIMITS.search_k_max)).hits
    assert {hit.exchange.exchange_id for hit in hits} == {item.exchange_id for item in exchanges}
    similarities = [hit.similarity for hit in hits]
    assert similarities == sorted(similarities, reverse=True)


def test_one_accounts_repeats_do_not_hide_the_others(
    engine: Engine, exchange: Callable[..., Exchange], exchanges: list[Exchange]
) -> None:
    repeated = [exchange(1_000 + number, account="loud", prompt="the same words") for number in range(300)]
    quiet = [exchange(500 + number, account=f"quiet-{number}", prompt="the same words") for number in range(3)]
    engine.ingest([*repeated, *quiet]).result(10)
    engine.embed_pending(lambda _: None, lambda: False)
    engine._follow()
    hits = engine.search(Query(text="the same words", k=4, one_per_account=True)).hits
    assert {hit.exchange.account_id for hit in hits} == {"loud", "quiet-0", "quiet-1", "quiet-2"}
    assert all(hit.similarity == pytest.approx(1.0, abs=1e-3) for hit in hits)


def test_a_search_goes_beyond_one_answer_of_the_index(
    engine: Engine, exchanges: list[Exchange], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coterie.server.search._FETCH_MAX", 8)
    for wanted in (SearchFilter(), FILTERS["model"]):
        query = Query(text="bread", k=60, filter=wanted)
        vector = ENCODER.encode(["bread"])[0]
        similarities = [hit.similarity for hit in engine.search(query).hits]
        assert np.allclose(similarities, expected(exchanges, query, vector), atol=2e-3)
        assert len(similarities) == 60


def test_a_waiting_exchange_can_already_be_the_query(
    engine: Engine, exchange: Callable[..., Exchange], exchanges: list[Exchange], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine._embedding, "embed_pending", lambda *_: 0)
    waiting = exchange(900, prompt="bread is a theorem about the sea")
    engine.ingest([waiting]).result(10)
    query = Query(exchange_id=waiting.exchange_id, k=5)
    result = engine.search(query)
    right = expected(exchanges, query, ENCODER.encode([waiting.prompt])[0])
    assert np.allclose([hit.similarity for hit in result.hits], right, atol=2e-3)
    assert result.embed_time_ns > 0


@pytest.mark.parametrize(
    ("query", "field"),
    [
        (Query(), "query"),
        (Query(text="a", exchange_id=ExchangeId("e00001")), "query"),
        (Query(text="  "), "text"),
        (Query(text="x" * (LIMITS.text_chars_max + 1)), "text"),
        (Query(text="a", k=-1), "k"),
        (Query(text="a", k=LIMITS.search_k_max + 1), "k"),
        (Query(vector=np.ones(3, dtype=np.float32)), "vector"),
        (Query(vector=np.zeros(256, dtype=np.float32)), "vector"),
        (Query(vector=np.full(256, np.nan, dtype=np.float32)), "vector"),
        (Query(text="a", filter=SearchFilter(models=("m",) * (LIMITS.filter_values_max + 1))), "filter.models"),
        (Query(text="a", filter=SearchFilter(since_us=5, until_us=5)), "since_us"),
    ],
)
def test_a_bad_query_is_refused(engine: Engine, query: Query, field: str) -> None:
    with pytest.raises(InvalidError) as caught:
        engine.search(query)
    assert caught.value.field == field


def test_an_unknown_exchange_is_not_found(engine: Engine) -> None:
    with pytest.raises(NotFoundError):
        engine.search(Query(exchange_id=ExchangeId("nobody")))


def test_a_side_that_is_empty_is_said_to_be(engine: Engine, exchange: Callable[..., Exchange]) -> None:
    engine.ingest([exchange(901)]).result(10)
    with pytest.raises(InvalidError, match="has no response"):
        engine.search(Query(exchange_id=ExchangeId("e00901"), field=TextField.RESPONSE))
