"""Registered benchmarks: which prompts are items of one, and by which way of hiding it."""

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from coterie.detection.languages import detect_languages
from coterie.detection.traits import Traits, agreement, find_traits, share_held

VERBATIM, ALTERED, REPHRASED, TRANSLATED, PORTED = METHODS = "verbatim", "altered", "rephrased", "translated", "ported"
"""The item itself, wrapped in whatever else; the item with other numbers; in other words; in another language; a
program in another programming language. Best first."""

CONTAINMENT_MIN = 0.8
"""Share of an item's character shingles that a text must hold to be the item itself, wrapped in whatever else."""

REORDERED_CONTAINMENT_MIN = 0.5
"""The same where all options are there, in whatever order: their borders are not held."""

ALTERED_LETTERS_MIN = 80
"""Letters of an item that must stay when its numbers are changed; shorter ones are forms that anybody fills in."""

SIMILARITY_MIN = 0.35
"""Cosine in the multilingual space below which a pair is not compared; a hidden item lies above .5."""

LOG_ODDS_MIN = -0.5
"""Log odds from which a compared pair is the same question: .4 % of the tuning half's ordinary prompts lie above it."""

SHORTEST_LETTERS = 24
"""Letters and digits of an item below which it counts as found only in a text that is nothing else."""


@dataclass(frozen=True, slots=True)
class _Weights:
    """Logistic regression on what a pair agrees in, for pairs that neither the wording nor a rule decides.

    Fitted by `bench/detection/benchmarks.py --fit` on the items whose hash is even, with each item's nearest others
    and ordinary prompts as negatives.
    """

    cosine: float
    numbers_held: float
    numbers_known: float
    number_pairs: float
    words_held: float
    words_together: float
    wording: float
    bias: float


_REPHRASED = _Weights(19.32, 6.85, 4.04, 2.12, 2.17, 2.44, 1.32, -25.38)
_TRANSLATED = _Weights(20.76, 0.07, 2.49, 4.34, 0.0, 0.0, 0.0, -18.11)  # words do not stay
_PORTED = _Weights(7.49, 0.71, 0.51, 4.55, 1.95, 7.65, 13.36, -11.25)


@dataclass(frozen=True, slots=True)
class Pair:
    """A text recognised as an item; `log_odds` says how surely, and is infinite where the wording is the item's."""

    text: int
    item: int
    method: str
    similarity: float
    log_odds: float


def match_items(
    texts: Sequence[str],
    items: Sequence[str],
    text: NDArray[np.int32],
    item: NDArray[np.int32],
    similarity: NDArray[np.float32],
) -> list[Pair]:
    """Which candidate pairs are the same question: by text, then best first.

    A similarity threshold alone confuses questions of one subject (Yang et al. 2023, LLM-decontaminator), so each pair
    is compared: wording, numbers, words that say something, options, and for programs what survives another language.
    Cost: linear in the pairs.

    Args:
        texts, items: what the pairs are of.
        text: int32[p], text of each candidate pair, ascending.
        item: int32[p], its item.
        similarity: float32[p], cosine in the multilingual space.
    """
    text_language = _languages(texts, text)
    item_language = _languages(items, item)
    of_item = lru_cache(maxsize=16_384)(lambda number: find_traits(items[number]))
    of_text = lru_cache(maxsize=1)(lambda row: find_traits(texts[row]))  # pairs come text by text
    found: list[Pair] = []
    for row, number, cosine in zip(text.tolist(), item.tolist(), similarity.tolist(), strict=True):
        same_language = text_language[row] == item_language[number]
        method, log_odds = judge_pair(of_text(row), of_item(number), cosine, same_language=same_language)
        if method:
            found.append(Pair(row, number, method, cosine, log_odds))
    found.sort(key=lambda pair: (pair.text, METHODS.index(pair.method), -pair.log_odds, -pair.similarity, pair.item))
    return found


def _languages(texts: Sequence[str], used: NDArray[np.int32]) -> dict[int, int]:
    numbers = np.unique(used).tolist()
    return dict(zip(numbers, detect_languages([texts[number] for number in numbers]).tolist(), strict=True))


def judge_pair(text: Traits, item: Traits, cosine: float, *, same_language: bool) -> tuple[str, float]:
    """By which method a text is an item, and how surely in log odds; no method where it is another question."""
    if wording := held_wording(text, item):
        return wording, math.inf
    if rules_out(text, item, cosine, same_language=same_language):
        return "", -math.inf
    method, weights = (REPHRASED, _REPHRASED) if same_language else (TRANSLATED, _TRANSLATED)
    if text.is_code and item.is_code:
        method, weights = PORTED, _PORTED
    log_odds = _log_odds(text, item, cosine, weights)
    return (method if log_odds >= LOG_ODDS_MIN else ""), log_odds


def rules_out(text: Traits, item: Traits, cosine: float, *, same_language: bool) -> bool:
    """Whether a pair is another question at first sight: far apart, or asked about none of the same numbers."""
    other_numbers = bool(text.numbers and item.asked_numbers) and not text.numbers & item.asked_numbers
    return cosine < SIMILARITY_MIN or (same_language and other_numbers)


def held_wording(text: Traits, item: Traits) -> str:
    """`verbatim` where the text holds the item, options in any order; `altered`, but for its numbers; else empty."""
    if item.length < SHORTEST_LETTERS and text.length != item.length:
        return ""
    held = share_held(text.shingles, item.shingles)
    if held < 1.0 and not item.numbers <= text.numbers:
        letters = len(item.letter_shingles)
        same_letters = share_held(text.letter_shingles, item.letter_shingles) >= CONTAINMENT_MIN
        return ALTERED if same_letters and letters >= ALTERED_LETTERS_MIN else ""
    reordered = len(item.options) > 1 and item.options <= text.options and held >= REORDERED_CONTAINMENT_MIN
    return VERBATIM if held >= CONTAINMENT_MIN or reordered else ""


def _log_odds(text: Traits, item: Traits, cosine: float, weights: _Weights) -> float:
    return float(np.dot(pair_features(text, item, cosine), astuple(weights)[:7])) + weights.bias


def pair_features(text: Traits, item: Traits, cosine: float) -> tuple[float, ...]:
    """What a pair agrees in, each 0 to 1 but for the cosine, in the order of the weights.

    The item's numbers that the text has; the text's numbers that the item has, those of its options included; numbers
    that follow each other in both; the item's words that the text has; words of either that both have; the item's
    wording that the text has. Where there is nothing to compare, .5: texts without numbers do not agree in them.
    """
    pairs = text.number_pairs | item.number_pairs
    return (
        cosine,
        _known_share(text.numbers, item.asked_numbers),
        _known_share(item.numbers, text.numbers),
        len(text.number_pairs & item.number_pairs) / len(pairs) if pairs else 0.5,
        _known_share(text.words, item.words),
        agreement(text.words, item.words) if text.words or item.words else 0.5,
        share_held(text.shingles, item.shingles),
    )


def _known_share(held: frozenset[str], of: frozenset[str]) -> float:
    return share_held(held, of) if of else 0.5
