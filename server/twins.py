"""Who asks like an account: other accounts whose prompts lie nearest to its own."""

from typing import TYPE_CHECKING

import numpy as np

from coterie.domain import AccountId, SearchFilter, TextField, Twin, Twins
from coterie.store import Store

if TYPE_CHECKING:
    from coterie.server.indexes import FieldIndex

NEIGHBOURS = 15
"""Nearest prompts of others that are looked at for each prompt."""

_PROMPTS_MAX = 256
_ACCOUNT_TEXTS_MAX = 100_000
_FETCHED = 64
"""Nearest prompts fetched for each: the account's own are among them, and are passed over."""


def find_twins(store: Store, index: "FieldIndex", account_id: AccountId, limit: int) -> Twins:
    """The accounts whose prompts lie nearest to an account's, those furthest beyond chance first.

    A prompt counts once for an account, with its nearest. By chance it would be near with probability
    1 - (1 - t/n)^15, t of the n texts being the other account's; accounts are ordered by how many standard deviations
    of that binomial count they lie above its mean, and those that do not lie above it are left out.

    Args:
        index: of prompts.
    """
    wanted = SearchFilter(accounts=(account_id,))
    own = store.candidate_texts(TextField.PROMPT, wanted, limit=_ACCOUNT_TEXTS_MAX)
    own = index.ids() if own is None else np.intersect1d(own, index.ids())
    some = own[np.linspace(0, len(own) - 1, min(len(own), _PROMPTS_MAX)).astype(int)] if len(own) else own
    if not len(some):
        return Twins((), 0)
    found, similarities = index.search_batch(store.vectors(some), min(_FETCHED, len(index)))
    senders = store.accounts_of_prompts(np.unique(found[found >= 0]))
    best: dict[AccountId, list[float]] = {}
    for texts, near in zip(found.tolist(), similarities.tolist(), strict=True):
        nearest: dict[AccountId, float] = {}
        taken = 0
        for text_id, similarity in zip(texts, near, strict=True):
            others = [name for name in senders.get(text_id, ()) if name != account_id]
            if not others:
                continue
            for name in others:
                nearest.setdefault(name, similarity)
            taken += 1
            if taken == NEIGHBOURS:
                break
        for name, similarity in nearest.items():
            best.setdefault(name, []).append(similarity)
    texts_of = store.distinct_prompts(list(best))
    twins = [_twin(name, similar, len(some), texts_of.get(name, 1) / len(index)) for name, similar in best.items()]
    beyond = [twin for twin in twins if twin.near_prompts > twin.expected_prompts]
    beyond.sort(key=lambda twin: (-_deviations(twin, len(some)), twin.account_id))
    return Twins(tuple(beyond[:limit]), len(some))


def _twin(account_id: AccountId, similarities: list[float], prompts: int, share: float) -> Twin:
    by_chance = 1.0 - (1.0 - min(share, 1.0)) ** NEIGHBOURS
    return Twin(account_id, len(similarities), prompts * by_chance, float(np.mean(similarities)))


def _deviations(twin: Twin, prompts: int) -> float:
    variance = twin.expected_prompts * (1.0 - twin.expected_prompts / prompts)
    return float((twin.near_prompts - twin.expected_prompts) / np.sqrt(max(variance, 1e-9)))
