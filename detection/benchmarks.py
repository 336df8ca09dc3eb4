"""Registered benchmarks: which prompts are items of one, and by which way of hiding it."""

import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from coterie.detection.languages import detect_languages
from coterie.detection.traits import Traits, agreement, find_traits, may_hold, share_held

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


class _Weights(NamedTuple):
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
    margin: float
    bias: float


_REPHRASED = _Weights(19.32, 6.85, 4.04, 2.12, 2.17, 2.44, 1.32, 0.0, -25.38)
_TRANSLATED = _Weights(15.13, 1.68, 2.12, 3.95, 0.0, 0.0, 0.0, 18.78, -17.54)
"""Words do not stay. Fitted with ordinary prompts counting 50 times, as they are the rule in traffic; the bias has .4
added, so that with the common limit as many of them are matched as without the margin."""

_PORTED = _Weights(7.49, 0.71, 0.51, 4.55, 1.95, 7.65, 13.36, 0.0, -11.25)

RIVALS_SIMILARITY_MIN = 0.4
"""Least mean cosine that a text's other candidates are taken to have. Among few registered items they are far away, and
every candidate would stand out."""


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
    margin = margins(text, similarity)
    of_language = lru_cache(maxsize=16_384)(lambda content: int(detect_languages([content])[0]))
    of_item = lru_cache(maxsize=16_384)(lambda number: find_traits(items[number]))
    of_text = lru_cache(maxsize=1)(lambda row: find_traits(texts[row]))  # pairs come text by text

    def same_language(one: str, other: str) -> bool:
        return of_language(one) == of_language(other)

    found: list[Pair] = []
    for row, number, cosine, ahead in zip(
        text.tolist(), item.tolist(), similarity.tolist(), margin.tolist(), strict=True
    ):
        alike = partial(same_language, texts[row], items[number])
        method, log_odds = judge_pair(of_text(row), of_item(number), cosine, ahead, alike)
        if method:
            found.append(Pair(row, number, method, cosine, log_odds))
    found.sort(key=lambda pair: (pair.text, METHODS.index(pair.method), -pair.log_odds, -pair.similarity, pair.item))
    return found


def margins(text: NDArray[np.int32], similarity: NDArray[np.float32]) -> NDArray[np.float64]:
    """float64[p]: how far each pair's cosine lies above the mean of the text's other candidates.

    Known from the mining of parallel text (Artetxe and Schwenk 2019): some texts are near to everything. An item that
    several benchmarks hold counts once.
    """
    _, first, number = np.unique(text.astype(np.float64) * 4 + similarity, return_index=True, return_inverse=True)
    width = int(text.max(initial=-1)) + 1
    count = np.bincount(text[first], minlength=width)[text]
    total = np.bincount(text[first], weights=similarity[first], minlength=width)[text]
    rivals = (total - similarity[first][number]) / np.maximum(count - 1, 1)
    return np.asarray(similarity - np.maximum(rivals, RIVALS_SIMILARITY_MIN))


def judge_pair(
    text: Traits, item: Traits, cosine: float, margin: float, same_language: Callable[[], bool]
) -> tuple[str, float]:
    """By which method a text is an item, and how surely in log odds; no method where it is another question.

    Args:
        margin: see `margins`.
        same_language: asked only where it decides, which is seldom: to tell a language takes as long as the rest.
    """
    if wording := held_wording(text, item):
        return wording, math.inf
    if cosine < SIMILARITY_MIN:
        return "", -math.inf
    is_code = text.is_code and item.is_code
    most = (cosine, *_number_agreement(text, item), 1.0, 1.0, 1.0, margin)
    if not is_code and max(_log_odds(most, _REPHRASED), _log_odds(most, _TRANSLATED)) < LOG_ODDS_MIN:
        return "", -math.inf  # whatever their words
    features = pair_features(text, item, cosine, margin)
    if is_code:
        of_one = of_two = (PORTED, _log_odds(features, _PORTED))
    else:
        of_one, of_two = (REPHRASED, _log_odds(features, _REPHRASED)), (TRANSLATED, _log_odds(features, _TRANSLATED))
    if max(of_one[1], of_two[1]) < LOG_ODDS_MIN:
        return "", -math.inf
    same = same_language()
    method, log_odds = of_one if same else of_two
    if log_odds < LOG_ODDS_MIN or rules_out(text, item, cosine, same_language=same):
        return "", -math.inf
    return method, log_odds


def rules_out(text: Traits, item: Traits, cosine: float, *, same_language: bool) -> bool:
    """Whether a pair is another question at first sight: far apart, or asked about none of the same numbers."""
    other_numbers = bool(text.numbers and item.asked_numbers) and not text.numbers & item.asked_numbers
    return cosine < SIMILARITY_MIN or (same_language and other_numbers)


def held_wording(text: Traits, item: Traits) -> str:
    """`verbatim` where the text holds the item, options in any order; `altered`, but for its numbers; else empty."""
    if item.length < SHORTEST_LETTERS and text.length != item.length:
        return ""
    reordered = len(item.options) > 1 and item.options <= text.options
    least = REORDERED_CONTAINMENT_MIN if reordered else CONTAINMENT_MIN
    held = share_held(text.shingles, item.shingles) if may_hold(text.shingles, item.signs, least) else 0.0
    if held < 1.0 and not item.numbers <= text.numbers:
        if not may_hold(text.letter_shingles, item.letters, CONTAINMENT_MIN):
            return ""
        same_letters = share_held(text.letter_shingles, item.letter_shingles) >= CONTAINMENT_MIN
        return ALTERED if same_letters and len(item.letter_shingles) >= ALTERED_LETTERS_MIN else ""
    return VERBATIM if held >= least else ""


def _log_odds(features: tuple[float, ...], weights: _Weights) -> float:
    return sum(map(operator.mul, features, weights), weights[-1])


def pair_features(text: Traits, item: Traits, cosine: float, margin: float) -> tuple[float, ...]:
    """What a pair agrees in, each 0 to 1 but for cosine and margin, in the order of the weights.

    The item's numbers that the text has; the text's numbers that the item has, those of its options included; numbers
    that follow each other in both; the item's words that the text has; words of either that both have; the item's
    wording that the text has. Where there is nothing to compare, .5: texts without numbers do not agree in them.
    """
    return (
        cosine,
        *_number_agreement(text, item),
        _known_share(text.words, item.words),
        agreement(text.words, item.words) if text.words or item.words else 0.5,
        share_held(text.shingles, item.shingles),
        margin,
    )


def _number_agreement(text: Traits, item: Traits) -> tuple[float, float, float]:
    pairs = text.number_pairs | item.number_pairs
    return (
        _known_share(text.numbers, item.asked_numbers),
        _known_share(item.numbers, text.numbers),
        len(text.number_pairs & item.number_pairs) / len(pairs) if pairs else 0.5,
    )


def _known_share(held: frozenset[str], of: frozenset[str]) -> float:
    return share_held(held, of) if of else 0.5
