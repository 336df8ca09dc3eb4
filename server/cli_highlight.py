"""What is marked in texts that people read: words they looked for, and what exemplars have in common."""

import re
from collections.abc import Sequence

from rich.text import Text

MARK = "bold green"
_WORD = re.compile(r"\w+")
_TELLING_CHARS = 4


def telling_words(query: str) -> frozenset[str]:
    """The words of a query worth marking, casefolded: of four characters and more, or with a digit in them.

    Shorter words are mostly articles and prepositions, which every text has. Where there are no others, all count.
    """
    words = {word.casefold() for word in _WORD.findall(query)}
    telling = {word for word in words if len(word) >= _TELLING_CHARS or any(map(str.isdigit, word))}
    return frozenset(telling or words)


def marked(line: str, words: frozenset[str]) -> Text:
    """A line that is fit to be shown, with these words marked, whatever their case."""
    made = Text(line)
    for match in _WORD.finditer(line):
        if match[0].casefold() in words:
            made.stylize(MARK, *match.span())
    return made


def marked_shared(lines: Sequence[str]) -> list[Text]:
    """Lines that are fit to be shown, with what stands in another of them marked, three words in a row and more."""
    from coterie.console.sharing import shared_parts  # brings the web framework, which few verbs need

    return [Text.assemble(*((part, MARK if both else "") for part, both in parts)) for parts in shared_parts(lines)]
