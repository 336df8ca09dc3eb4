"""What texts have in common, word by word, so that a page can mark it."""

import re
from collections.abc import Sequence

from coterie.console.shown import TEXT_CHARS_SHOWN

_WORD = re.compile(r"\w+(?:['’]\w+)*")
RUN_WORDS = 3
"""Words in a row that must be the same before they are marked."""

Part = tuple[str, bool]
"""A piece of a text, and whether another text has it too."""


def shared_parts(texts: Sequence[str], run_words: int = RUN_WORDS) -> list[list[Part]]:
    """Each text cut into pieces, those that stand in another of them marked.

    A word is marked when it is part of `run_words` words in a row that stand, whatever their case, in another text. A
    text that is there twice is marked whole.

    Args:
        texts: compared by their first `TEXT_CHARS_SHOWN` characters.
    """
    shown = [text[:TEXT_CHARS_SHOWN] for text in texts]
    found = [list(_WORD.finditer(text)) for text in shown]
    runs = [_runs([match[0].casefold() for match in words], run_words) for words in found]
    parts = []
    for row, text in enumerate(shown):
        others = set().union(*(set(run) for place, run in enumerate(runs) if place != row))
        marked = [False] * len(found[row])
        for first, run in enumerate(runs[row]):
            if run in others:
                marked[first : first + run_words] = [True] * run_words
        parts.append(_cut(text, [match.span() for match in found[row]], marked))
    return parts


def _runs(words: list[str], run_words: int) -> list[tuple[str, ...]]:
    return [tuple(words[first : first + run_words]) for first in range(len(words) - run_words + 1)]


def _cut(text: str, spans: list[tuple[int, int]], marked: list[bool]) -> list[Part]:
    """The text in pieces; what lies between two marked words is marked with them."""
    parts: list[Part] = []
    at = 0
    row = 0
    while row < len(spans):
        last = row
        while last + 1 < len(spans) and marked[last + 1] == marked[row]:
            last += 1
        if marked[row]:
            first_char, end = spans[row][0], spans[last][1]
            parts += [(text[at:first_char], False), (text[first_char:end], True)]
            at = end
        row = last + 1
    parts.append((text[at:], False))
    return [part for part in parts if part[0]]
