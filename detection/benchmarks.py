"""Registered benchmarks: which prompts are items of one, and what that says about the accounts that sent them."""

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

SHINGLE_CHARACTERS = 8
VERBATIM_CONTAINMENT_MIN = 0.8
"""Share of an item's character shingles that a text must hold to be the item itself, wrapped in whatever else."""

SIMILARITY_MIN = 0.75
"""Cosine below which two texts are not the same question in other words."""

WORDS_SHARED_MIN = 0.25
"""Share of content words a rephrased item keeps; fewer is the same subject, not the same question."""

_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_CONTENT_WORD = re.compile(r"[^\W\d_]{4,}|[぀-ヿ㐀-鿿가-힯]")


def match_items(
    texts: Sequence[str],
    items: Sequence[str],
    nearest: NDArray[np.int32],
    similarity: NDArray[np.float32],
) -> list[list[tuple[int, str, float]]]:
    """The benchmark items that texts are, best first, as (item number, method, cosine).

    `verbatim`: the text holds nearly all of the item. `embedding`: near in meaning, and the pair was compared: same
    numbers, and enough words in common (a similarity threshold alone confuses questions of one subject: Yang et al.
    2023, LLM-decontaminator).

    Args:
        texts: m texts.
        items: the benchmark's items.
        nearest: int32[m, c], candidate items of each text; -1 pads.
        similarity: float32[m, c], their cosines.
    """
    traits = lru_cache(maxsize=65_536)(lambda number: _Traits(items[number]))
    matches: list[list[tuple[int, str, float]]] = []
    for text, numbers, cosines in zip(texts, nearest.tolist(), similarity.tolist(), strict=True):
        # An item nearer than this can be neither wrapped nor rephrased beyond recognition.
        candidates = [(n, c) for n, c in zip(numbers, cosines, strict=True) if n >= 0 and c >= 0.4]
        own = _Traits(text) if candidates else None
        found = [
            (number, method, cosine)
            for number, cosine in candidates
            if own is not None and (method := _method(own, traits(number), cosine))
        ]
        matches.append(sorted(found, key=lambda match: (match[1] != "verbatim", -match[2], match[0])))
    return matches


class _Traits:
    """What of a text is compared."""

    def __init__(self, text: str) -> None:
        folded = text.casefold()
        letters = re.sub(r"[\W_]+", "", folded)
        width = min(SHINGLE_CHARACTERS, max(1, len(letters)))
        self.shingles = {letters[i : i + width] for i in range(len(letters) - width + 1)}
        self.length = len(letters)
        self.numbers = frozenset(_NUMBER.findall(folded))
        self.words = frozenset(_CONTENT_WORD.findall(folded))


def _method(text: _Traits, item: _Traits, cosine: float) -> str:
    if item.length >= 3 * SHINGLE_CHARACTERS or text.length == item.length:
        held = len(item.shingles & text.shingles) / max(1, len(item.shingles))
        if held >= VERBATIM_CONTAINMENT_MIN:
            return "verbatim"
    if cosine < SIMILARITY_MIN or not _same_numbers(text, item):
        return ""
    shared = len(text.words & item.words) / max(1, min(len(text.words), len(item.words)))
    return "embedding" if shared >= WORDS_SHARED_MIN else ""


def _same_numbers(text: _Traits, item: _Traits) -> bool:
    if not item.numbers:
        return len(text.numbers) <= 1
    return len(text.numbers & item.numbers) >= 0.6 * len(item.numbers | text.numbers)
