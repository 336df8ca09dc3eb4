"""Ways to say the same in other words."""

import re
from random import Random

from coterie.simulation import phrases
from coterie.simulation.wordbanks import NAMES, STOPWORDS

_OPTION = re.compile(r"^([A-E])[.)] (.+)$", re.MULTILINE)
_NUMBER = re.compile(r"(?<![\w.,])([2-9]|[1-9]\d)(?![\w.,]*\d)")
_NAME = re.compile(r"\b[A-Z][a-z]{2,11}\b")
_NO_NAMES = STOPWORDS | frozenset((
    "all", "and", "answer", "are", "but", "can", "did", "does", "each", "for", "has", "her", "his", "how", "its", "let",
    "not", "one", "our", "out", "she", "the", "two", "was", "who", "why", "you",
))  # fmt: skip
_SWAPS = (
    ("how many", "what number of"), ("how much", "what amount of"), ("write a", "produce a"), ("what is", "tell me"),
    ("find the", "determine the"), ("which of the following", "which one of these"), ("explain", "describe"),
    ("create", "come up with"), ("each", "every"), ("total", "sum"), ("list", "name"), ("buys", "purchases"),
    ("using", "with"), ("there are", "you have"), ("does", "would"), ("must", "has to"),
)  # fmt: skip


def paraphrase(rng: Random, text: str) -> str:
    """The text in slightly other words: another opening, swapped phrases, changed small numbers."""
    for old, new in _SWAPS:
        if rng.random() < 0.7:
            text = re.sub(rf"\b{old}\b", new, text, flags=re.IGNORECASE)
    if rng.random() < 0.5:
        text = _NUMBER.sub(lambda found: str(max(2, int(found.group()) + rng.randint(-1, 3))), text)
    return rng.choice(phrases.PARAPHRASE_OPENINGS) + text


def in_own_words(rng: Random, text: str) -> str:
    """A question as one more person would ask it: some words changed, a circumstance added."""
    for old, new in _SWAPS:
        if rng.random() < 0.4:
            text = re.sub(rf"\b{old}\b", new, text, flags=re.IGNORECASE)
    if len(text) < 300:
        text = text.rstrip("?.! ") or text
        text += rng.choice(phrases.CIRCUMSTANCES) + rng.choice(("", "?", "?", "."))
    return text if rng.random() < 0.6 else text[:1].swapcase() + text[1:]


def change_numbers(rng: Random, text: str) -> str:
    """The text with other small numbers, and with other first names, each name the same throughout."""
    text = _NUMBER.sub(lambda found: str(max(2, int(found.group()) + rng.choice((-2, -1, 1, 2, 3, 5)))), text)
    words = _NAME.findall(text)
    known = set(NAMES)
    # A capitalised word that comes again is a name, or as good as one.
    names = [word for word in dict.fromkeys(words) if word in known or words.count(word) > 1]
    names = [word for word in names if word.lower() not in _NO_NAMES and not re.search(rf"\b{word.lower()}\b", text)]
    others = rng.sample([name for name in NAMES if name not in names], min(len(names), 12))
    renamed = dict(zip(names, others, strict=False))
    return _NAME.sub(lambda found: renamed.get(found.group(), found.group()), text)


def rotate_options(rng: Random, text: str) -> str:
    """The text with its lettered options in another order; unchanged when it has none."""
    found = list(_OPTION.finditer(text))
    if len(found) < 2:
        return text
    bodies = [match.group(2) for match in found]
    shift = rng.randrange(1, len(bodies))
    bodies = bodies[shift:] + bodies[:shift]
    for match, body in reversed(list(zip(found, bodies, strict=True))):
        text = f"{text[: match.start(2)]}{body}{text[match.end(2) :]}"
    return text


def has_options(text: str) -> bool:
    """Whether the text has lettered options to rotate."""
    return len(_OPTION.findall(text)) >= 2
