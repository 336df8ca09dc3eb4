"""How a prompt is built, whatever it is about: length, sentences, punctuation, lines, options, casing, its first word.

People and apps have a manner of their own; the items of one list have one manner over unrelated subjects. Everything
is counted over one array of characters, so that no prompt is looked at in Python but for its first word.
"""

import sys
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

DEVIATIONS_MAX = 4.0
"""Standard deviations at which a feature is cut, so that one odd prompt does not outweigh a hundred."""

SPREAD_MIN = 0.05
"""Least standard deviation a feature is divided by: what hardly any prompt has is not blown up."""

WHITENING_RIDGE = 0.05
"""Variance added to every principal component before it is brought to 1: the least of them are mostly noise."""

_CHUNK_CHARS = 2_000_000
_FIRST_WORD_CHARS = 24

(_OTHER, _LOWER, _UPPER, _LETTER, _DIGIT, _SPACE, _LINE, _COMMA, _STOP, _QUESTION, _EXCLAMATION, _COLON, _QUOTE,
 _ROUND, _CODE, _DASH, _END) = range(17)  # fmt: skip
_CLASSES = 17
_SIGNS = {
    _LINE: "\n",
    _SPACE: "\t\r\x0b\x0c",
    _COMMA: ",、，،",
    _STOP: ".。．…।",
    _QUESTION: "?？؟¿",
    _EXCLAMATION: "!！¡",
    _COLON: ":;：；",
    _QUOTE: "\"'“”‘’«»„「」『』",
    _ROUND: "()（）",
    _CODE: "{}[]<>=`_|\\/*#$%^&+~@",
    _DASH: "-–—",
    _END: "\0",
}

_FIRST_WORDS = {
    "question": "what which who whom whose when where why how qué cuál quién cuándo dónde cómo que quel quelle qui "
    "quand où pourquoi comment was welche welcher wer wann wo warum wie 什么 谁 哪",
    "auxiliary": "is are was were do does did can could will would should may might has have had am ist sind kann est",
    "request": "write explain give list describe translate solve find calculate compute create generate make show tell "
    "name prove determine evaluate identify classify complete answer choose select read rewrite summarize summarise "
    "compare design develop provide convert implement define discuss suggest analyze analyse extract correct edit "
    "add draw build help implement escribe explica crea écris explique schreibe erkläre übersetze",
    "condition": "if given let suppose consider assume imagine when while after before as in on at for to with from by",
    "article": "the a an this that these those each every all some one two three el la los las un una le les der die "
    "das ein eine",
    "person": "i i'm i've my me we our you your he she it they his her their im ich mein je j'ai mon yo mi",
    "greeting": "hi hello hey please thanks thank ok okay good dear hola bonjour hallo bitte",
}
_KIND_OF_WORD = {word: number for number, words in enumerate(_FIRST_WORDS.values()) for word in words.split()}

FEATURES = (
    "chars", "words", "sentences", "lines", "word_length", "sentence_length",
    "share_upper", "share_uncased", "share_digits", "share_other",
    "capitalised_words", "acronyms", "numbers", "commas", "stops", "questions", "exclamations", "colons", "quotes",
    "round_brackets", "code_signs", "dashes", "blank_lines", "options", "bullets", "indented", "gaps",
    "begins_upper", "begins_lower", "begins_digit", "ends_stop", "ends_question", "ends_colon", "ends_word",
    *(f"first_word_{kind}" for kind in _FIRST_WORDS),
)  # fmt: skip
"""Names of the columns of `format_features`."""


def format_features(texts: Sequence[str]) -> NDArray[np.float32]:
    """Structural features of every text, standardised over the texts given.

    Counts are taken as logarithms, rates per word; every column then has mean 0, standard deviation at most 1 and lies
    within `DEVIATIONS_MAX`. Cost: linear in characters.

    Returns:
        float32[n, f], one column for each of `FEATURES`.
    """
    return standardised(raw_format_features(texts))


def standardised(raw: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of `raw_format_features`, standardised over themselves."""
    if not len(raw):
        return raw
    spread = np.maximum(raw.std(axis=0), SPREAD_MIN)
    scaled = (raw - raw.mean(axis=0)) / spread
    return np.asarray(np.clip(scaled, -DEVIATIONS_MAX, DEVIATIONS_MAX), np.float32)


def with_format(vectors: NDArray[np.float32], texts: Sequence[str]) -> NDArray[np.float32]:
    """What a text says and how it is put, half and half: the `format` view.

    The features are whitened, so that a manner counts by how rare it is and not by how many features show it. A text
    that is not kept ("") has no manner. Cost: linear in characters and texts.

    Args:
        vectors: float32[n, dim], unit rows.
        texts: the n texts.

    Returns:
        float32[n, dim + f], unit rows.
    """
    kept = np.array([bool(text) for text in texts], bool)
    manner = np.zeros((len(texts), len(FEATURES)), np.float32)
    if kept.any():
        manner[kept] = _whitened(format_features([text for text in texts if text]).astype(np.float64))
    both = np.hstack((vectors, manner))
    return np.asarray(both / np.maximum(np.linalg.norm(both, axis=1, keepdims=True), 1e-9), np.float32)


def _whitened(features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit rows of uncorrelated columns, each of variance 1 but for the ridge."""
    centred = features - features.mean(axis=0)
    variance, axes = np.linalg.eigh(centred.T @ centred / len(centred))
    white = centred @ axes / np.sqrt(np.maximum(variance, 0.0) + WHITENING_RIDGE)
    length = np.linalg.norm(white, axis=1, keepdims=True)
    return np.where(length > 1e-6, white / np.maximum(length, 1e-6), 0.0)


def raw_format_features(texts: Sequence[str]) -> NDArray[np.float32]:
    """The same before standardising: comparable from one call to the next."""
    chunks: list[NDArray[np.float32]] = []
    start = size = 0
    for number, text in enumerate(texts):
        size += len(text)
        if size >= _CHUNK_CHARS:
            chunks.append(_chunk_features(texts[start : number + 1]))
            start, size = number + 1, 0
    if start < len(texts):
        chunks.append(_chunk_features(texts[start:]))
    return np.concatenate(chunks) if chunks else np.zeros((0, len(FEATURES)), np.float32)


def _chunk_features(texts: Sequence[str]) -> NDArray[np.float32]:
    stripped = [text.strip().replace("\0", " ") for text in texts]
    n = len(stripped)
    joined = "\0".join(stripped) + "\0"
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    kind = _class_of_character()[codes]
    sizes = np.fromiter(map(len, stripped), np.int64, n)
    ends = np.cumsum(sizes + 1) - 1
    starts = ends - sizes
    text_of = np.repeat(np.arange(n), sizes + 1)
    counts = np.bincount(text_of * _CLASSES + kind, minlength=n * _CLASSES).reshape(n, _CLASSES).astype(np.float64)
    # A text begins after the end of the one before it; the very first begins after nothing, which is the same.
    before = np.concatenate(([_END], kind[:-1]))
    after = np.concatenate((kind[1:], [_END]))

    def per_text(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.bincount(text_of[mask], minlength=n).astype(np.float64)

    word, word_before = _in_word(kind), _in_word(before)
    opens = word & ~word_before
    opens_line = (before == _LINE) | (before == _END)
    # Without spaces every character of an uncased script is about half a word.
    words = np.maximum(per_text(opens) + 0.5 * counts[:, _LETTER], 1.0)
    stop_before = (kind == _STOP) | (kind == _QUESTION) | (kind == _EXCLAMATION)
    sentences = per_text(stop_before & ((after == _SPACE) | (after == _LINE) | (after == _END)))
    marks = (kind == _STOP) | (kind == _COLON) | (codes == ord(")")) | (codes == ord("）"))
    lone = np.concatenate((~word_before[:1], word[:-1] & ~word_before[:-1]))
    listed = (before == _UPPER) | (before == _DIGIT) | (before == _LOWER)
    option = marks & lone & listed & ((after == _SPACE) | (after == _LINE))
    empty = sizes == 0
    first = np.where(empty, _END, kind[np.minimum(starts, len(kind) - 1)])
    last = np.where(empty, _END, kind[np.maximum(ends - 1, 0)])
    chars = np.maximum(sizes, 1).astype(np.float64)
    first_word = np.fromiter((_first_word(text) for text in stripped), np.int64, n)
    columns = [
        np.log1p(sizes),
        np.log(words),
        np.log1p(sentences),
        np.log1p(counts[:, _LINE]),
        np.log1p((counts[:, _LOWER] + counts[:, _UPPER] + counts[:, _DIGIT]) / words),
        np.log1p(words / (sentences + 1)),
        counts[:, _UPPER] / chars,
        counts[:, _LETTER] / chars,
        counts[:, _DIGIT] / chars,
        counts[:, _OTHER] / chars,
        per_text(opens & (kind == _UPPER)) / words,
        per_text((kind == _UPPER) & (before == _UPPER)) / words,
        per_text((kind == _DIGIT) & (before != _DIGIT)) / words,
        *(
            counts[:, sign] / words
            for sign in (_COMMA, _STOP, _QUESTION, _EXCLAMATION, _COLON, _QUOTE, _ROUND, _CODE, _DASH)
        ),
        np.log1p(per_text((kind == _LINE) & (before == _LINE))),
        np.log1p(per_text(option)),
        np.log1p(per_text(opens_line & ((kind == _DASH) | (codes == ord("*")) | (codes == ord("•"))))),
        np.log1p(per_text((before == _LINE) & (kind == _SPACE))),
        np.log1p(per_text((codes == ord("_")) & np.concatenate(([False], codes[:-1] == ord("_"))))),
        first == _UPPER,
        first == _LOWER,
        first == _DIGIT,
        last == _STOP,
        last == _QUESTION,
        last == _COLON,
        _in_word(last),
        *(first_word == number for number in range(len(_FIRST_WORDS))),
    ]
    return np.column_stack(columns).astype(np.float32)


def _in_word(kind: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return np.asarray((kind == _LOWER) | (kind == _UPPER) | (kind == _DIGIT))


def _first_word(text: str) -> int:
    """Number of the kind of its first word, -1 for a word of no kind."""
    words = text[:_FIRST_WORD_CHARS].split(None, 1)
    return _KIND_OF_WORD.get(words[0].strip(".,:;!?\"'()*#").lower(), -1) if words else -1


@lru_cache(maxsize=1)
def _class_of_character() -> NDArray[np.uint8]:
    """uint8[code points]: the class of every character."""
    table = np.full(sys.maxunicode + 1, _OTHER, np.uint8)
    # Beyond the basic plane there are pictures and rare ideographs.
    table[0x20000:0x40000] = _LETTER
    kinds = {"Ll": _LOWER, "Lu": _UPPER, "Lt": _UPPER, "Lo": _LETTER, "Nd": _DIGIT, "Zs": _SPACE}
    for code in range(0x10000):
        table[code] = kinds.get(unicodedata.category(chr(code)), _OTHER)
    for number, signs in _SIGNS.items():
        for sign in signs:
            table[ord(sign)] = number
    return table
