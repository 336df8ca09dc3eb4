"""What a reported pool holds, in the terms of the window: its exchanges, accounts, texts and registered items."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coterie.detection.benchmarks import match_items
from coterie.domain import Window


@dataclass(frozen=True, slots=True)
class Principals:
    """Who is one customer: an organisation with all its accounts, or an account that belongs to none.

    Attributes:
        of_account: int32[accounts].
        of_row: int32[n], the same for each exchange.
        count: how many there are.
    """

    of_account: NDArray[np.int32]
    of_row: NDArray[np.int32]
    count: int


def find_principals(window: Window) -> Principals:
    """Accounts by organisation. An account that names several counts as part of the one it names most."""
    rows = window.rows
    accounts = len(rows.account_ids)
    anchor = np.arange(accounts)
    codes = rows.attributes.get("organisation")
    if codes is not None and (codes >= 0).any():
        organisations = int(codes.max()) + 1
        held = codes >= 0
        key, uses = np.unique(rows.account[held].astype(np.int64) * organisations + codes[held], return_counts=True)
        order = np.lexsort((key, uses))
        named = np.full(accounts, -1, np.int64)
        named[key[order] // organisations] = key[order] % organisations
        members = np.flatnonzero(named >= 0)
        _, first = np.unique(named[members], return_index=True)
        anchor_of = np.full(organisations, -1, np.int64)
        anchor_of[named[members[first]]] = members[first]
        anchor[members] = anchor_of[named[members]]
    _, of_account = np.unique(anchor, return_inverse=True)
    numbers = np.asarray(of_account, np.int32)
    return Principals(numbers, numbers[rows.account], int(numbers.max(initial=-1)) + 1)


@dataclass(frozen=True, slots=True)
class BenchmarkHits:
    """Which registered item each distinct raw text is.

    Attributes:
        name: the benchmark.
        items: how many it has.
        item: int32[m], item number of each raw text, -1 for none.
    """

    name: str
    items: int
    item: NDArray[np.int32]


def match_benchmarks(window: Window) -> list[BenchmarkHits]:
    """The best item of every registered benchmark for every distinct text. Cost: linear in the candidate pairs."""
    hits = [np.full(len(window.texts), -1, np.int32) for _ in window.benchmarks]
    if window.benchmarks:
        views = window.benchmarks
        bounds = np.cumsum([0, *(len(view.items) for view in views)])
        text = np.concatenate([view.text for view in views])
        item = np.concatenate([view.item + first for view, first in zip(views, bounds[:-1].tolist(), strict=True)])
        similarity = np.concatenate([view.similarity for view in views])
        # All benchmarks' pairs of a text together, so that what is compared of it is looked for once.
        order = np.argsort(text, kind="stable")
        items = [one for view in views for one in view.items]
        for pair in match_items(window.texts, items, text[order], item[order], similarity[order]):
            of = int(np.searchsorted(bounds, pair.item, side="right")) - 1
            if hits[of][pair.text] < 0:  # best first
                hits[of][pair.text] = pair.item - bounds[of]
    return [BenchmarkHits(view.name, len(view.items), item) for view, item in zip(window.benchmarks, hits, strict=True)]


def pool_rows(
    view_text: NDArray[np.int32],
    principal_of_row: NDArray[np.int32],
    principal: NDArray[np.int32],
    text: NDArray[np.int32],
) -> NDArray[np.int64]:
    """Rows of the window whose (principal, text) is among the items given."""
    width = int(max(view_text.max(initial=0), text.max(initial=0))) + 1
    wanted = principal.astype(np.int64) * width + text
    key = np.where(view_text >= 0, principal_of_row.astype(np.int64) * width + view_text, -1)
    return np.flatnonzero(np.isin(key, wanted))
