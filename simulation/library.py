"""The text that traffic is composed of: sources, their subjects, and what has been used up.

A corpus folder and the built-in text both become a `Library`; nothing past it knows where a text came from.
"""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from random import Random

from coterie.domain import InvalidError, normalise
from coterie.simulation.wordbanks import STOPWORDS

_WORD = re.compile(r"[^\W\d_]{4,24}")
_RELATED_MAX = 4


@dataclass(frozen=True, slots=True)
class Item:
    """One text of a source.

    Attributes:
        subject: what it is about where the source says so (a forum, an intent, a task); else empty.
        conversation: names the conversation it is a turn of; else empty.
        parallel: the same in every language version of one text; else empty.
    """

    text: str
    response: str = ""
    language: str = ""
    subject: str = ""
    conversation: str = ""
    turn: int = 0
    parallel: str = ""


@dataclass(eq=False)
class Source:
    """The texts of one origin, and what they are for: A benchmarks, B instructions, C people and apps, D probing,
    F other wordings and languages."""

    name: str
    group: str
    items: list[Item]

    @cached_property
    def subjects(self) -> dict[str, list[Item]]:
        """The items by subject, in order of first appearance; empty when the source names none."""
        found: dict[str, list[Item]] = defaultdict(list)
        for item in self.items:
            if item.subject:
                found[item.subject].append(item)
        return dict(found)

    @cached_property
    def conversations(self) -> list[list[Item]]:
        """Whole conversations, turns in order."""
        found: dict[str, list[Item]] = defaultdict(list)
        for item in self.items:
            if item.conversation:
                found[item.conversation].append(item)
        return [sorted(turns, key=lambda turn: turn.turn) for turns in found.values()]

    @cached_property
    def languages(self) -> dict[str, list[Item]]:
        """The items by language; the empty language is left out."""
        found: dict[str, list[Item]] = defaultdict(list)
        for item in self.items:
            if item.language:
                found[item.language].append(item)
        return dict(found)

    @cached_property
    def length_median(self) -> int:
        """Median length in characters."""
        return sorted(len(item.text) for item in self.items)[len(self.items) // 2]

    @cached_property
    def topics(self) -> "Topics":
        """Topics mined from the words of all items."""
        return Topics(self.items)

    @cached_property
    def subject_topics(self) -> dict[str, "Topics"]:
        """Topics mined inside each subject."""
        return {name: Topics(items) for name, items in self.subjects.items()}


class Topics:
    """Groups of texts that share an uncommon word: what a person goes on about, when nobody labelled it."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._items = items
        self._words = [tuple(sorted(set(_WORD.findall(item.text.lower())))) for item in items]
        counts = Counter(word for words in self._words for word in words)
        df_min, df_max = 6, max(30, len(items) // 250)
        self._kept = {word for word, count in counts.items() if df_min <= count <= df_max and word not in STOPWORDS}
        self._rows: dict[str, list[int]] = defaultdict(list)
        for row, words in enumerate(self._words):
            for word in words:
                if word in self._kept:
                    self._rows[word].append(row)
        self.words = sorted(self._kept)

    def draw(self, rng: Random, size: int) -> list[Item]:
        """Up to `size` items about one topic and those next to it; empty when no topic was found."""
        if not self.words:
            return []
        word = rng.choice(self.words)
        rows = list(self._rows[word])
        near = Counter(other for row in rows for other in self._words[row] if other in self._kept and other != word)
        for other, _ in sorted(near.items(), key=lambda pair: (-pair[1], pair[0]))[:_RELATED_MAX]:
            if len(rows) >= size:
                break
            rows += self._rows[other]
        return [self._items[row] for row in dict.fromkeys(rows)][: max(size, 1)]


@dataclass(eq=False)
class Library:
    """All sources, with the bookkeeping that keeps dealt-out work apart.

    Attributes:
        sources: by group, in order of name.
    """

    sources: list[Source]
    _spent: dict[str, int] = field(default_factory=dict)
    _order: dict[str, list[Item]] = field(default_factory=dict)

    def group(self, *letters: str) -> list[Source]:
        """The sources of these groups."""
        return [source for source in self.sources if source.group in letters]

    def deal(self, rng: Random, source: Source, count: int) -> list[Item]:
        """The next `count` items of a source in an order fixed at first use, so that no two work lists share one.

        A source that runs out starts over: lists are finite, and two campaigns may harvest the same one.
        """
        order = self._order.get(source.name)
        if order is None:
            order = list(source.items)
            rng.shuffle(order)
            self._order[source.name] = order
        start = self._spent.get(source.name, 0)
        if start + count > len(order):
            start = 0
        self._spent[source.name] = start + count
        return order[start : start + count]

    def left(self, source: Source) -> int:
        """How many items of a source have not been dealt."""
        return len(source.items) - self._spent.get(source.name, 0)

    def spend(self, source: Source) -> None:
        """Mark a whole source as dealt."""
        self._spent[source.name] = len(source.items)

    def pick(
        self, rng: Random, letters: Iterable[str], count: int, wanted: Callable[[Source], bool] = lambda _: True
    ) -> Source | None:
        """A source of these groups with `count` undealt items, untouched ones first; else the one with most."""
        groups = tuple(letters)
        options = [source for source in self.group(*groups) if source.items and wanted(source)]
        if not options:
            return None
        fresh = [source for source in options if source.name not in self._spent and len(source.items) >= count]
        enough = fresh or [source for source in options if self.left(source) >= count]
        return rng.choice(enough) if enough else max(options, key=lambda source: (self.left(source), source.name))


def check_library(library: Library, *, campaigns: int) -> None:
    """Check that there is text to compose from.

    Raises:
        InvalidError: no people's text (group C), or no work list (A, B, D, F) for campaigns.
    """
    if not library.group("C"):
        raise InvalidError(
            "the corpus holds no usable C_*.jsonl[.gz] file (what people ask): name a folder that does, "
            "or leave --corpus out to use the built-in text",
            field="corpus",
            reason="bad_corpus",
        )
    if campaigns and not library.group("A", "B", "D", "F"):
        raise InvalidError(
            "the corpus holds no usable A_, B_, D_ or F_ file to deal out: add one, or ask for --campaigns 0",
            field="corpus",
            reason="bad_corpus",
        )


def split_sources(sources: Sequence[Source], split: str) -> list[Source]:
    """The half of the text that belongs to `split`; the same text is on the same side in every source.

    Conversations and language versions stay together, by the side of their name. The splits of sources put a whole
    source on one side where there is another of its kind for the other.
    """
    if split == "all":
        return list(sources)
    side_wanted = split.startswith("test")
    side_of_source = _sides(sources) if split.endswith("-sources") else {}
    side_of_text: dict[str, bool] = {}
    kept = []
    for source in sources:
        items = []
        for item in source.items:
            text = normalise(item.text)
            key = item.conversation or item.parallel or text
            own_side = side_of_source.get(source.name, _is_test(key))
            side = side_of_text.setdefault(text, own_side)
            # A text that another conversation or source took to the other side is dropped from this one.
            if side == side_wanted and side == own_side:
                items.append(item)
        if items:
            kept.append(Source(source.name, source.group, items))
    return kept


def _sides(sources: Sequence[Source]) -> dict[str, bool]:
    """Whether each source is on the test side; a source without a second of its kind is left out and cut in two.

    Sources that begin with the same word are parts or versions of one (`gsm8k_test`, `gsm8k_train`) and stay together.
    """
    kinds: dict[tuple[Hashable, ...], dict[str, list[Source]]] = defaultdict(lambda: defaultdict(list))
    for source in sources:
        parallel = any(item.parallel for item in source.items)
        texts_a_subject = len(source.items) / max(1, len(source.subjects))
        kind = (
            source.group,
            bool(source.conversations),
            parallel,
            len(source.languages) >= 4,
            bool(source.subjects) and source.group == "C" and (texts_a_subject < 500, source.length_median < 120),
        )
        kinds[kind][_stem(source.name)].append(source)
    sides = {}
    for stems in kinds.values():
        if len(stems) < 2:
            continue
        texts = {False: 0, True: 0}
        for stem in sorted(stems, key=_digest):
            side = texts[True] <= texts[False]
            for source in stems[stem]:
                texts[side] += len(source.items)
                sides[source.name] = side
    return sides


def _stem(name: str) -> str:
    words = [word for word in name.split("_")[1:] if word] or [name]
    return words[0][:5] if not name.startswith("builtin") else name


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode("utf-8"), digest_size=8).digest()


def _is_test(key: str) -> bool:
    return hashlib.blake2b(key.encode("utf-8"), digest_size=1).digest()[0] % 2 == 1
