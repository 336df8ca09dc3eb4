"""A window of exchanges as columns."""

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coterie.domain import RESERVED_ATTRIBUTES, AccountId, SearchFilter, TextField, WindowRows
from coterie.store.queries import attribute_sets, window_cursor

_FETCH_ROWS = 50_000


def window_rows(connection: sqlite3.Connection, search_filter: SearchFilter, field: TextField) -> WindowRows:
    """The exchanges that pass as columns; with the responses as field, those that have one, it in the prompt's place.

    A conversation is an account's: the same conversation id under two accounts gives two numbers. A reserved
    attribute with an empty value counts as absent.
    """
    columns = _Columns()
    cursor = window_cursor(connection, search_filter, field)
    while rows := cursor.fetchmany(_FETCH_ROWS):
        columns.add(list(zip(*rows, strict=True)))
    account, account_ids = columns.accounts.by_appearance()
    model, models = columns.models.by_appearance()
    conversation, _ = columns.conversations.by_appearance()
    attributes, attribute_values = _attribute_columns(connection, columns.array("attribute_set", np.int64))
    return WindowRows(
        exchange_ids=tuple(columns.exchange_ids),
        account=account,
        account_ids=tuple(AccountId(name) for name in account_ids),
        time_us=columns.array("time_us", np.int64),
        prompt=columns.array("prompt", np.int64),
        response=columns.array("response", np.int64),
        system=columns.array("system", np.int64),
        conversation=conversation,
        turn=columns.array("turn", np.int32),
        model=model,
        models=models,
        input_tokens=columns.array("input_tokens", np.float64),
        output_tokens=columns.array("output_tokens", np.float64),
        cost_usd=columns.array("cost_usd", np.float64),
        attributes=attributes,
        attribute_values=attribute_values,
    )


class _Codes:
    """A column of strings as numbers, given in order of appearance; -1 where there is nothing."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}
        self._parts: list[NDArray[np.int32]] = [np.empty(0, np.int32)]

    def add(self, values: Iterable[Any]) -> None:
        numbers = self._numbers
        codes = [numbers.setdefault(value, len(numbers)) if value else -1 for value in values]
        self._parts.append(np.array(codes, dtype=np.int32))

    def by_appearance(self) -> tuple[NDArray[np.int32], tuple[Any, ...]]:
        """The column as it was numbered, and what the numbers stand for.

        Not in the order of the strings: where a number breaks a tie, an account's name must not decide.
        """
        return np.concatenate(self._parts), tuple(self._numbers)


class _Columns:
    """Columns gathered block by block, so that the rows of a large window never exist all at once."""

    _NUMBERS = (
        ("time_us", 2, np.int64),
        ("prompt", 3, np.int64),
        ("response", 4, np.int64),
        ("system", 5, np.int64),
        ("turn", 7, np.int32),
        ("input_tokens", 9, np.float64),
        ("output_tokens", 10, np.float64),
        ("cost_usd", 11, np.float64),
        ("attribute_set", 12, np.int64),
    )

    def __init__(self) -> None:
        self.exchange_ids: list[Any] = []
        self.accounts = _Codes()
        self.models = _Codes()
        self.conversations = _Codes()
        self._numbers: dict[str, list[NDArray[Any]]] = {name: [] for name, _, _ in self._NUMBERS}

    def add(self, block: Sequence[tuple[Any, ...]]) -> None:
        """Append a block of the columns of `queries.window_cursor`."""
        account, conversation = block[1], block[6]
        self.exchange_ids.extend(block[0])
        self.accounts.add(account)
        self.models.add(block[8])
        self.conversations.add(
            (owner, name) if name else None for owner, name in zip(account, conversation, strict=True)
        )
        for name, place, dtype in self._NUMBERS:
            # numpy reads None as NaN in a float column.
            self._numbers[name].append(np.array(block[place], dtype=dtype))

    def array(self, name: str, dtype: type) -> NDArray[Any]:
        """A column of numbers."""
        parts = self._numbers[name]
        return np.concatenate(parts) if parts else np.empty(0, dtype)


def _attribute_columns(
    connection: sqlite3.Connection, attribute_set: NDArray[np.int64]
) -> tuple[Mapping[str, NDArray[np.int32]], Mapping[str, tuple[str, ...]]]:
    set_ids, first, place = np.unique(attribute_set, return_index=True, return_inverse=True)
    contents = attribute_sets(connection, set_ids.tolist())
    order = np.argsort(first)
    labels = [json.loads(contents[set_id]) for set_id in set_ids[order].tolist()]
    place = np.argsort(order)[place]
    columns: dict[str, NDArray[np.int32]] = {}
    values: dict[str, tuple[str, ...]] = {}
    for name in RESERVED_ATTRIBUTES:
        codes = _Codes()
        codes.add(label.get(name) for label in labels)
        of_set, values[name] = codes.by_appearance()
        columns[name] = of_set[place]
    return columns, values
