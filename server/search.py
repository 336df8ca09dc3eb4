"""Who else asks like this: from a query to the exchanges nearest to it."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from coterie.domain import (
    LIMITS,
    AccountId,
    Exchange,
    ExchangeId,
    Hit,
    InvalidError,
    NotFoundError,
    SearchFilter,
    SearchResult,
    TextField,
    TextId,
    normalise,
)
from coterie.server.checks import check_filter, check_text
from coterie.server.embedding import Embedding
from coterie.store import Store

if TYPE_CHECKING:  # importing FAISS is left to the first search
    from coterie.server.indexes import FieldIndex, Indexes

_EVERYTHING = SearchFilter()
_TEXTS_FIRST_MIN = 32
_TEXTS_AT_ONCE_MAX = 32
_GROWTH = 4
_FETCH_MAX = 16_384
"""Texts that one search of the index gives at most."""
_TEXTS_SEEN_MAX = 100_000
"""Texts looked at for one query: it bounds a search that can never be filled, such as one hit for each of more
accounts than there are."""


@dataclass(frozen=True, slots=True)
class Query:
    """What to look for and among what; exactly one of `text`, `exchange_id` and `vector` is given.

    Attributes:
        vector: float32[dim], finite, not all zero; any length.
        exchange_id: its text on the searched side is the query; it is not among its own hits.
        k: hits wanted; 0 means `LIMITS.search_k_default`.
        one_per_account: at most one hit for each account, its nearest.
    """

    text: str = ""
    exchange_id: ExchangeId = ExchangeId("")
    vector: NDArray[np.float32] | None = None
    field: TextField = TextField.PROMPT
    k: int = 0
    filter: SearchFilter = _EVERYTHING
    one_per_account: bool = False


class Searcher:
    """Answers queries from the indexes and the store."""

    def __init__(
        self, store: Store, embedding: Embedding, indexes: "Callable[[], Indexes]", candidates_max: int
    ) -> None:
        """`candidates_max`: a filter that leaves at most this many texts is applied inside the index."""
        self._store = store
        self._embedding = embedding
        self._indexes = indexes
        self._candidates_max = candidates_max

    def search(self, query: Query) -> SearchResult:
        """The nearest exchanges, nearest first.

        Raises:
            InvalidError: a query, k or filter out of its limits.
            NotFoundError: no such exchange.
        """
        k = query.k or LIMITS.search_k_default
        if not 1 <= k <= LIMITS.search_k_max:
            raise InvalidError(f"k is {k}, it must lie between 1 and {LIMITS.search_k_max}", field="k")
        check_filter(query.filter)
        vector, queue_ns, embed_ns = self._vector(query)
        ready = time.perf_counter_ns()
        hits = self._hits(query, vector, k)
        return SearchResult(
            hits=tuple(hits),
            queue_time_ns=queue_ns,
            embed_time_ns=embed_ns,
            search_time_ns=time.perf_counter_ns() - ready,
        )

    def _vector(self, query: Query) -> tuple[NDArray[np.float32], int, int]:
        """The query's vector, and the nanoseconds it waited for the model, and those with what it spent in it."""
        if (bool(query.text), bool(query.exchange_id), query.vector is not None).count(True) != 1:
            raise InvalidError("one of text, exchange_id and vector is required", field="query")
        if query.vector is not None:
            return _unit(query.vector, self._embedding.encoder().dim), 0, 0
        if query.text:
            check_text(query.text, "text")
            return self._embedding.encode_now(normalise(query.text))
        text_id = self._store.exchange_text(query.exchange_id, query.field)
        if text_id is None:
            raise InvalidError(
                f"exchange {query.exchange_id} has no {query.field.value}: search the other side",
                field="exchange_id",
            )
        ids = np.array([text_id], dtype=np.int64)
        try:
            return self._store.vectors(ids)[0], 0, 0
        except NotFoundError:  # it waits in the queue; its turn may be far
            return self._embedding.encode_now(self._store.texts(ids)[0])

    def _hits(self, query: Query, vector: NDArray[np.float32], k: int) -> list[Hit]:
        index = self._indexes().fields[query.field]
        allowed = None
        if not query.filter.empty:
            allowed = self._store.candidate_texts(query.field, query.filter, limit=self._candidates_max)
        if allowed is not None and not len(allowed):
            return []
        collected = _Collected(self._store, query, k)
        fetch = max(2 * k, _TEXTS_FIRST_MIN)
        while True:
            available = len(index) if allowed is None else len(allowed)
            fetch = min(fetch, available, _FETCH_MAX)
            if not fetch:
                return collected.hits
            collected.add(*index.search(vector, fetch, allowed))
            if collected.full or fetch == available or collected.texts_seen >= _TEXTS_SEEN_MAX:
                return collected.hits
            if fetch == _FETCH_MAX:
                allowed = self._rest(query, index, allowed, collected)
            fetch *= _GROWTH

    def _rest(
        self, query: Query, index: "FieldIndex", allowed: NDArray[np.int64] | None, collected: "_Collected"
    ) -> NDArray[np.int64]:
        """The texts that pass the filter and were not looked at yet."""
        if allowed is None and not query.filter.empty:
            allowed = self._store.candidate_texts(query.field, query.filter, limit=len(index) + 1)
        if allowed is None:
            allowed = index.ids()
        return np.setdiff1d(allowed, np.fromiter(collected.texts, dtype=np.int64))


class _Collected:
    """The hits so far, nearest first; every text is looked at once however often the search is widened."""

    def __init__(self, store: Store, query: Query, k: int) -> None:
        self.hits: list[Hit] = []
        self._store = store
        self._query = query
        self._k = k
        self.texts: set[int] = set()
        self._accounts: set[AccountId] = set()

    @property
    def full(self) -> bool:
        """Whether there are as many hits as were wanted."""
        return len(self.hits) >= self._k

    @property
    def texts_seen(self) -> int:
        """How many texts were looked at."""
        return len(self.texts)

    def add(self, text_ids: NDArray[np.int64], similarities: NDArray[np.float32]) -> None:
        """Take the exchanges of the texts that are new, in order, until there are enough."""
        fresh = [row for row, text_id in enumerate(text_ids.tolist()) if text_id not in self.texts]
        # Most texts have an exchange that passes: as many as are wanted will do as a rule.
        count = min(_TEXTS_AT_ONCE_MAX, self._k + 1)
        while fresh and not self.full:
            rows, fresh, count = fresh[:count], fresh[count:], _TEXTS_AT_ONCE_MAX
            limit = self._k - len(self.hits) + 1  # one more: one may be the query itself
            by_text = self._exchanges(text_ids[rows], limit)
            for row in rows:
                text_id = int(text_ids[row])
                self.texts.add(text_id)
                self._take_text(text_id, by_text.get(TextId(text_id), ()), limit, float(similarities[row]))

    def _take_text(self, text_id: int, exchanges: Sequence[Exchange], limit: int, similarity: float) -> None:
        self._take(exchanges, similarity)
        while self._query.one_per_account and len(exchanges) >= limit and not self.full:
            limit *= _GROWTH  # one account's repeats hid the others
            exchanges = self._exchanges(np.array([text_id]), limit).get(TextId(text_id), ())
            self._take(exchanges, similarity)

    def _exchanges(self, text_ids: NDArray[np.int64], limit: int) -> dict[TextId, list[Exchange]]:
        return self._store.exchanges_of_texts(self._query.field, text_ids, self._query.filter, limit_per_text=limit)

    def _take(self, exchanges: Sequence[Exchange], similarity: float) -> None:
        for exchange in exchanges:
            if self.full:
                return
            if exchange.exchange_id == self._query.exchange_id:
                continue
            if self._query.one_per_account:
                if exchange.account_id in self._accounts:
                    continue
                self._accounts.add(exchange.account_id)
            self.hits.append(Hit(exchange, similarity))


def _unit(vector: NDArray[np.float32], dim: int) -> NDArray[np.float32]:
    if vector.shape != (dim,):
        raise InvalidError(f"vector has {vector.size} numbers, the model has {dim} dimensions", field="vector")
    length = float(np.linalg.norm(vector.astype(np.float64)))
    if not np.isfinite(length) or length == 0.0:
        raise InvalidError("vector must be finite and not all zero", field="vector")
    return (vector / length).astype(np.float32)
