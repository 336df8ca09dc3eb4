"""Views: other readings of a prompt, in which a dealt-out list is still one pool.

The `stripped` view removes what carries no question: the template that many accounts share, and the prefix or persona
that one account puts before everything. The `multilingual` view reads what is left of it with a multilingual encoder,
and takes out what texts of one language have in common, so that a list dealt out in many languages lies in one place.
All of it is learned from the window itself.
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SHINGLE_WORDS = 5
"""Words in a row that make a repeat of them no accident."""

SHARED_TEXTS_MIN = 8
"""Distinct texts a shingle must be found in to be a template rather than a quotation."""

ACCOUNT_SHARE_MIN = 0.3
"""Share of one account's distinct texts that its constant must appear in."""

SPEAKERS_HALF = 4
"""Accounts that speak a language for half of its mean to be taken for the language's rather than for theirs."""

# CJK text has no spaces: there a character is a word.
_WORD = re.compile(r"[぀-ヿ㐀-鿿가-힯]|[^\W_]+|[^\w\s]")


def stripped_texts(
    texts: Sequence[str], text_of_row: NDArray[np.int32], account_of_row: NDArray[np.int32]
) -> list[str]:
    """Every text without its boilerplate; "" where nothing is left.

    A word is boilerplate when a run of `SHINGLE_WORDS` words around it is found in at least `SHARED_TEXTS_MIN`
    distinct texts that make up at least `ACCOUNT_SHARE_MIN` of some account's texts. A benchmark's stem that is asked
    about again and again is a template too; a question never is. Cost: linear in words.

    Args:
        texts: m distinct texts.
        text_of_row: int32[n], the text of each exchange.
        account_of_row: int32[n], its account.
    """
    spans = [[match.span() for match in _WORD.finditer(text)] for text in texts]
    shingle, owner, position = _shingles(texts, spans)
    pairs = np.unique(np.column_stack((text_of_row, account_of_row)).astype(np.int64), axis=0)
    common = _boilerplate(shingle, owner, pairs, len(texts))
    covered = [np.zeros(len(span), bool) for span in spans]
    for text, start in zip(owner[common], position[common], strict=True):
        covered[text][start : start + SHINGLE_WORDS] = True
    return [
        text if not cover.any() else _kept(text, span, cover)
        for text, span, cover in zip(texts, spans, covered, strict=True)
    ]


def without_language(
    vectors: NDArray[np.float32],
    language: NDArray[np.int16],
    text_of_row: NDArray[np.int32],
    account_of_row: NDArray[np.int32],
) -> NDArray[np.float32]:
    """float32[m, dim]: unit rows, less what the texts of each language have in common.

    The mean of a language counts the less the fewer accounts speak it: of one that a single account speaks, the mean is
    what that account asks. Cost: linear in texts.

    Args:
        vectors: float32[m, dim], unit rows of a multilingual encoder.
        language: int16[m], the language of each text.
        text_of_row, account_of_row: int32[n], the text (-1 for none) and the account of each exchange.
    """
    languages = int(language.max(initial=-1)) + 1
    held = text_of_row >= 0
    speaks = np.unique(np.column_stack((language[text_of_row[held]], account_of_row[held])), axis=0)
    speakers = np.bincount(speaks[:, 0], minlength=languages)
    sums = np.zeros((languages, vectors.shape[1]))
    np.add.at(sums, language, vectors)
    means = sums / np.maximum(np.bincount(language, minlength=languages), 1)[:, None]
    share = speakers / (speakers + SPEAKERS_HALF)
    rest = vectors - (means * share[:, None]).astype(np.float32)[language]
    length = np.linalg.norm(rest, axis=1, keepdims=True)
    return np.where(length > 1e-6, rest / np.maximum(length, 1e-6), vectors).astype(np.float32)


def _shingles(
    texts: Sequence[str], spans: list[list[tuple[int, int]]]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Hash, text and first word of every run of `SHINGLE_WORDS` words; the hash is polynomial over word hashes."""
    vocabulary: dict[str, int] = {}
    words: list[NDArray[np.int64]] = []
    for text, span in zip(texts, spans, strict=True):
        lowered = (text[a:b].casefold() for a, b in span)
        words.append(np.fromiter((vocabulary.setdefault(w, len(vocabulary)) for w in lowered), np.int64, len(span)))
    value = np.random.default_rng(0).integers(1, 2**62, max(1, len(vocabulary)), dtype=np.int64)
    shingles, owners, positions = [], [], []
    for number, word in enumerate(words):
        count = len(word) - SHINGLE_WORDS + 1
        if count <= 0:
            continue
        rolled = np.zeros(count, np.int64)
        for offset in range(SHINGLE_WORDS):
            rolled = rolled * np.int64(1_000_003) + value[word[offset : offset + count]]
        shingles.append(rolled)
        owners.append(np.full(count, number, np.int64))
        positions.append(np.arange(count, dtype=np.int64))
    if not shingles:
        empty = np.zeros(0, np.int64)
        return empty, empty, empty
    return np.concatenate(shingles), np.concatenate(owners), np.concatenate(positions)


def _boilerplate(
    shingle: NDArray[np.int64], owner: NDArray[np.int64], pairs: NDArray[np.int64], texts: int
) -> NDArray[np.bool_]:
    """Which shingle occurrences are boilerplate."""
    if not len(shingle):
        return np.zeros(0, bool)
    distinct, number = np.unique(shingle, return_inverse=True)
    occurrence = np.unique(number * np.int64(texts) + owner)
    in_shingle, in_text = occurrence // texts, occurrence % texts
    frequent = np.bincount(in_shingle, minlength=len(distinct)) >= SHARED_TEXTS_MIN
    keep = frequent[in_shingle]
    in_shingle, in_text = in_shingle[keep], in_text[keep]
    # Join the surviving (shingle, text) with (text, account), and count texts by (shingle, account).
    order = np.argsort(pairs[:, 0], kind="stable")
    by_text, by_account = pairs[order, 0], pairs[order, 1]
    low = np.searchsorted(by_text, in_text, "left")
    counts = np.searchsorted(by_text, in_text, "right") - low
    offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    account = by_account[np.repeat(low, counts) + offsets]
    joined = np.repeat(in_shingle, counts) * np.int64(pairs[:, 1].max(initial=0) + 1) + account
    key, uses = np.unique(joined, return_counts=True)
    accounts = pairs[:, 1].max(initial=0) + 1
    texts_of = np.bincount(pairs[:, 1], minlength=accounts)
    constant = (uses >= 3) & (uses >= ACCOUNT_SHARE_MIN * texts_of[key % accounts])
    boilerplate = np.zeros(len(distinct), bool)
    boilerplate[key[constant] // accounts] = True
    return boilerplate[number]


def _kept(text: str, spans: list[tuple[int, int]], covered: NDArray[np.bool_]) -> str:
    """The words of a text that are not covered, with the punctuation and spacing between neighbours that are kept."""
    pieces: list[str] = []
    start = end = -2
    for index, (a, b) in enumerate(spans):
        if covered[index]:
            continue
        if index == end + 1:
            end = index
            pieces[-1] = text[spans[start][0] : b]
        else:
            start = end = index
            pieces.append(text[a:b])
    kept = " ".join(pieces)
    return kept if any(character.isalnum() for character in kept) else ""
