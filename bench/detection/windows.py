"""From composed traffic to the window that detection is handed, without a store: what a service would make of it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bench.detection.vectors import VectorCache
from coterie.detection import detect_languages, stripped_texts, with_format, without_language
from coterie.domain import RESERVED_ATTRIBUTES, Exchange, View, Window, WindowRows, normalise
from coterie.index import neighbour_graph

GRAPH_K = 30


def make_window(events: Sequence[Exchange], cache: VectorCache) -> Window:
    """The window of some exchanges, every view of it embedded and its graph made."""
    texts: dict[str, int] = {}
    rows = _rows(events, texts)
    contents = list(texts)
    text_ids, text = np.unique(rows.prompt, return_inverse=True)
    names = [contents[number - 1] for number in text_ids.tolist()]
    text = text.astype(np.int32)
    vectors = cache.vectors(names)
    views = {"raw": _view("raw", vectors, text), "format": _view("format", with_format(vectors, names), text)}
    kept = [normalise(stripped) for stripped in stripped_texts(names, text, rows.account)]
    numbers: dict[str, int] = {}
    of_text = np.array([numbers.setdefault(bare, len(numbers)) if bare else -1 for bare in kept], np.int32)
    if numbers:
        views["stripped"] = _view("stripped", cache.vectors(list(numbers)), of_text[text])
        if cache.multilingual is not None:
            views["multilingual"] = multilingual_view(list(numbers), of_text[text], rows.account, cache.multilingual)
    return Window(rows=rows, text_ids=text_ids, texts=tuple(names), views=views)


def multilingual_view(
    texts: Sequence[str], text: NDArray[np.int32], account: NDArray[np.int32], cache: VectorCache
) -> View:
    """What is left of the prompts, whatever language it is in."""
    vectors = without_language(cache.vectors(texts), detect_languages(texts), text, account)
    return _view("multilingual", vectors, text)


def _view(name: str, vectors: NDArray[np.float32], text: NDArray[np.int32]) -> View:
    return View(name, vectors, neighbour_graph(vectors, GRAPH_K), text)


def _rows(events: Sequence[Exchange], texts: dict[str, int]) -> WindowRows:
    """The columns; `texts` is filled with the normalised prompts, numbered from 1 in order of appearance."""

    def number(text: str) -> int:
        return texts.setdefault(normalise(text), len(texts) + 1) if text.strip() else -1

    prompt = np.array([number(event.prompt) for event in events], np.int64)
    account_ids, account = _codes([event.account_id for event in events])
    models, model = _codes([event.model for event in events])
    _, conversation = _codes([f"{e.account_id}/{e.conversation_id}" if e.conversation_id else "" for e in events])
    attributes, values = {}, {}
    for key in RESERVED_ATTRIBUTES:
        values[key], attributes[key] = _codes([event.attributes.get(key, "") for event in events])
    nothing = np.full(len(events), -1, np.int64)
    return WindowRows(
        exchange_ids=tuple(event.exchange_id for event in events),
        account=account,
        account_ids=account_ids,
        time_us=np.array([event.time_us for event in events], np.int64),
        prompt=prompt,
        response=nothing,
        system=nothing,
        conversation=conversation,
        turn=np.array([-1 if event.turn is None else event.turn for event in events], np.int32),
        model=model,
        models=models,
        input_tokens=_numbers([event.input_tokens for event in events]),
        output_tokens=_numbers([event.output_tokens for event in events]),
        cost_usd=_numbers([event.cost_usd for event in events]),
        attributes=attributes,
        attribute_values=values,
    )


def _codes(names: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    place: dict[str, int] = {}
    codes = [place.setdefault(name, len(place)) if name else -1 for name in names]
    return tuple(place), np.array(codes, np.int32)


def _numbers(values: Sequence[float | None]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else value for value in values], np.float64)
