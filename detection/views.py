"""Views: other readings of a prompt, in which a dealt-out list is still one pool.

The `stripped` view removes what carries no question: the template that many accounts share, and the prefix or persona
that one account puts before everything. The `multilingual` view reads what is left of it with a multilingual encoder,
and takes out what texts of one language have in common, so that a list dealt out in many languages lies in one place.
All of it is learned from the window itself.
"""

import re
from array import array
from collections import defaultdict
from collections.abc import Sequence
from itertools import count

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
    word, starts = _words(texts)
    shingle, owner, first_word = _shingles(word, starts)
    accounts = int(account_of_row.max(initial=-1)) + 1
    pair = np.unique(text_of_row.astype(np.int64) * max(accounts, 1) + account_of_row)
    common = _boilerplate(shingle, owner, pair // max(accounts, 1), pair % max(accounts, 1), len(texts))
    covered = np.zeros(len(word), bool)
    for offset in range(SHINGLE_WORDS):
        covered[first_word[common] + offset] = True
    kept = list(texts)
    for text in np.unique(owner[common]).tolist():
        kept[text] = _kept(texts[text], covered[starts[text] : starts[text + 1]])
    return kept


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


def _words(texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The words of all texts one after the other, numbered without regard to case, and where each text's begin."""
    spelling: dict[str, int] = defaultdict(count().__next__)
    found, sizes = array("q"), np.zeros(len(texts) + 1, np.int64)
    for number, text in enumerate(texts, start=1):
        words = _WORD.findall(text)
        found.extend(map(spelling.__getitem__, words))
        sizes[number] = len(words)
    vocabulary: dict[str, int] = defaultdict(count().__next__)
    folded = np.fromiter((vocabulary[word.casefold()] for word in spelling), np.int64, len(spelling))
    return folded[np.frombuffer(found, np.int64)], np.cumsum(sizes)


def _shingles(
    word: NDArray[np.int64], starts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Hash, text and first word of every run of `SHINGLE_WORDS` words; the hash is polynomial over word hashes."""
    value = np.random.default_rng(0).integers(1, 2**62, int(word.max(initial=0)) + 1, dtype=np.int64)
    runs = np.maximum(np.diff(starts) - SHINGLE_WORDS + 1, 0)
    owner = np.repeat(np.arange(len(runs)), runs)
    first = np.repeat(starts[:-1] - np.cumsum(runs) + runs, runs) + np.arange(len(owner))
    rolled = np.zeros(len(owner), np.int64)
    for offset in range(SHINGLE_WORDS):
        rolled = rolled * np.int64(1_000_003) + value[word[first + offset]]
    return rolled, owner, first


def _boilerplate(
    shingle: NDArray[np.int64],
    owner: NDArray[np.int64],
    pair_text: NDArray[np.int64],
    pair_account: NDArray[np.int64],
    texts: int,
) -> NDArray[np.bool_]:
    """Which shingle occurrences are boilerplate, given the distinct pairs of text and account, sorted."""
    if not len(shingle):
        return np.zeros(0, bool)
    distinct, number = np.unique(shingle, return_inverse=True)
    occurrence = np.unique(number * np.int64(texts) + owner)
    in_shingle, in_text = occurrence // texts, occurrence % texts
    frequent = np.bincount(in_shingle, minlength=len(distinct)) >= SHARED_TEXTS_MIN
    keep = frequent[in_shingle]
    in_shingle, in_text = in_shingle[keep], in_text[keep]
    # Join the surviving (shingle, text) with (text, account), and count texts by (shingle, account).
    low = np.searchsorted(pair_text, in_text, "left")
    counts = np.searchsorted(pair_text, in_text, "right") - low
    offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    account = pair_account[np.repeat(low, counts) + offsets]
    accounts = pair_account.max(initial=0) + 1
    joined = np.repeat(in_shingle, counts) * np.int64(accounts) + account
    key, uses = np.unique(joined, return_counts=True)
    texts_of = np.bincount(pair_account, minlength=accounts)
    constant = (uses >= 3) & (uses >= ACCOUNT_SHARE_MIN * texts_of[key % accounts])
    boilerplate = np.zeros(len(distinct), bool)
    boilerplate[key[constant] // accounts] = True
    return boilerplate[number]


def _kept(text: str, covered: NDArray[np.bool_]) -> str:
    """The words of a text that are not covered, with the punctuation and spacing between neighbours that are kept."""
    spans = [match.span() for match in _WORD.finditer(text)]
    pieces: list[str] = []
    start = end = -2
    for index in np.flatnonzero(~covered).tolist():
        a, b = spans[index]
        if index == end + 1:
            end = index
            pieces[-1] = text[spans[start][0] : b]
        else:
            start = end = index
            pieces.append(text[a:b])
    kept = " ".join(pieces)
    return kept if any(character.isalnum() for character in kept) else ""
