"""How one person asks: subjects, a way of putting things, volume and hours. Also what campaigns hide behind."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from coterie.simulation import phrases
from coterie.simulation.clock import Span, draw_zone, human_times
from coterie.simulation.config import Config
from coterie.simulation.library import Item, Library, Source, Topics
from coterie.simulation.rewording import in_own_words

_REWORDED_SHARE = 0.8
_FEW = 700


@dataclass(slots=True)
class Ask:
    """One request before ids, tokens and cost; `conversation` is a name within its account."""

    time_us: int
    prompt: str
    response: str = ""
    system: str = ""
    conversation: str = ""
    turn: int = 0


@dataclass(slots=True)
class Actor:
    """One account: what it asks and the truth about it.

    Attributes:
        attributes: what its class fixes; the rest is drawn like everybody's.
        model: the model it insists on; empty when it takes any.
        crowd: names the crowd of its class that it belongs to; empty for individuals and the guilty.
    """

    label: str
    kind: str
    asks: list[Ask]
    attributes: dict[str, str] = field(default_factory=dict)
    model: str = ""
    crowd: str = ""


@dataclass(frozen=True, slots=True)
class Style:
    """A person's way of putting things, applied to `share` of short prompts."""

    lower: bool = False
    unmarked: bool = False
    greeting: str = ""
    closing: str = ""
    share: float = 0.0

    def apply(self, rng: Random, text: str) -> str:
        """The text as this person would type it."""
        if len(text) > 300 or rng.random() >= self.share:
            return text
        if self.lower:
            text = text.lower()
        if self.unmarked:
            text = text.rstrip("?.! ") or text
        return self.greeting + text + self.closing


def draw_style(rng: Random) -> Style:
    """Most people have no manner to speak of; some type in lower case, greet or thank."""
    if rng.random() < 0.5:
        return Style()
    return Style(
        lower=rng.random() < 0.4,
        unmarked=rng.random() < 0.3,
        greeting=rng.choice(phrases.GREETINGS) if rng.random() < 0.25 else "",
        closing=rng.choice(phrases.CLOSINGS) if rng.random() < 0.25 else "",
        share=rng.uniform(0.2, 0.9),
    )


class World:
    """What every crowd and campaign draws on.

    Args:
        library: the text.
        config: what to compose.
        span: the window.
    """

    def __init__(self, library: Library, config: Config, span: Span) -> None:
        self.library = library
        self.config = config
        self.span = span
        people = library.group("C")
        self.chats = [turns for source in people for turns in source.conversations]
        plain = [source for source in people if not source.conversations]
        self.support = [source for source in plain if _is_support(source)]
        self.forums = [source for source in plain if source.subjects and source not in self.support]
        self.multilingual = [source for source in plain if len(source.languages) >= 4]
        rest = [source for source in plain if not source.subjects and source not in self.multilingual]
        self.interests = self.forums + [source for source in rest if len(source.items) >= 200]
        largest = max((len(source.items) for source in rest), default=0)
        self.queries = [source for source in rest if len(source.items) * 5 >= largest and source.length_median < 90]
        # A corpus may lack any of these; then people make do with what it has.
        self.interests = self.interests or plain or people
        self.queries = self.queries or self.interests
        self.support = self.support or self.forums or self.interests
        self._chat_order = list(range(len(self.chats)))
        Random(f"{config.seed}/chats").shuffle(self._chat_order)
        self._chats_used = 0
        self._crowds: Counter[str] = Counter()
        self._taken: Counter[str] = Counter()
        self._asked: Counter[str] = Counter()
        asks = config.accounts * config.background * config.volume * 20
        self._asks_each = asks / len(self.interests)
        # Few people take a small share of any text; many would all read the same small sources out.
        self._crowded = config.accounts * config.background * config.volume > _FEW

    def volume(self, rng: Random, median: float, sigma: float = 0.8, *, least: int = 3, most: int = 250) -> int:
        """A lognormal number of requests of an innocent account, by the configured volume and spread."""
        volume, spread = self.config.volume, self.config.spread
        return draw_volume(
            rng, median * volume, sigma * spread, least=least, most=max(least, round(most * volume * spread**2))
        )

    def interest(self, rng: Random) -> Source:
        """The source that one person's subjects come from; once people are many, small sources have few of them."""
        if not self._crowded:
            return rng.choice(self.interests)
        return rng.choices(self.interests, [min(len(source.items), self._asks_each) for source in self.interests])[0]

    def said(self, rng: Random, text: str) -> str:
        """The text as one more person says it: where people are many and it was asked before, mostly reworded."""
        if not self._crowded:
            return text
        before = self._asked[text]
        self._asked[text] += 1
        return in_own_words(rng, text) if before and rng.random() < _REWORDED_SHARE else text

    def own(self, text: str, draw: Callable[[Random], str]) -> str:
        """The text, or one drawn anew where crowds are to be independent and another crowd has it already."""
        if not text or self.config.crowds is None:
            return text
        self._taken[text] += 1
        return text if self._taken[text] == 1 else draw(Random(f"{self.config.seed}/own/{text}/{self._taken[text]}"))

    def some(self, names: list[str], count: int) -> list[str]:
        """All names, or `count` of them where crowds are to be independent."""
        if self.config.crowds is None or len(names) <= count:
            return names
        self._taken["some"] += 1
        return Random(f"{self.config.seed}/some/{self._taken['some']}").sample(names, count)

    def next_crowd_name(self, kind: str) -> str:
        """A name for the next crowd of a class."""
        self._crowds[kind] += 1
        return f"{kind}-{self._crowds[kind]:03d}"

    def next_chat(self) -> list[Item]:
        """The next whole conversation; each is used once before any is used again. Empty when there is none."""
        if not self.chats:
            return []
        turns = self.chats[self._chat_order[self._chats_used % len(self.chats)]]
        self._chats_used += 1
        return turns

    def query(self, rng: Random) -> Item:
        """Any question of the general public."""
        return rng.choice(rng.choice(self.queries).items)


def draw_volume(rng: Random, median: float, sigma: float = 0.8, *, least: int = 3, most: int = 250) -> int:
    """A lognormal number of requests."""
    return min(most, max(least, round(rng.lognormvariate(math.log(median), sigma))))


def draw_interest(world: World, rng: Random, count: int) -> list[Item]:
    """`count` items that one person asks: mostly one or two narrow subjects, some of the wider field, some of anything.

    One in six has no narrow subject and asks about a whole field.
    """
    source = world.interest(rng)
    topics, field_items = _field(rng, source)
    narrow: list[Item] = []
    if rng.random() > 1 / 6:
        for _ in range(rng.choice((1, 1, 2, 2, 3))):
            narrow += topics.draw(rng, max(12, count))
    wide_share = rng.uniform(0.02, 0.25)
    stray_share = rng.uniform(0.0, 0.2)
    rng.shuffle(narrow)
    picked: list[Item] = []
    for _ in range(count):
        chance = rng.random()
        if chance < stray_share:
            picked.append(world.query(rng))
        elif chance < stray_share + wide_share or not narrow:
            # A person whose subject is used up asks about the field; asking the same again is rare.
            picked.append(rng.choice(field_items))
        else:
            picked.append(narrow.pop())
    return picked


def person(world: World, rng: Random, *, count: int | None = None, span: Span | None = None) -> list[Ask]:
    """What one ordinary account asks: whole conversations, or questions on subjects of its own."""
    span = span or world.span
    count = world.volume(rng, 22) if count is None else count
    zone_h = draw_zone(rng)
    if world.chats and rng.random() < 0.3:
        return chat(world, rng, count=count, span=span, zone_h=zone_h)
    style = draw_style(rng)
    items = draw_interest(world, rng, count)
    times = human_times(rng, span, count, zone_h=zone_h, office=rng.random() < 0.3)
    return [
        Ask(time_us, style.apply(rng, world.said(rng, item.text)), item.response)
        for time_us, item in zip(times, items, strict=True)
    ]


def chat(world: World, rng: Random, *, count: int, span: Span, zone_h: int) -> list[Ask]:
    """Whole conversations, in order, minutes between turns; the last is cut at `count`."""
    asks: list[Ask] = []
    while len(asks) < count:
        turns = world.next_chat()
        time_us = human_times(rng, span, 1, zone_h=zone_h)[0]
        for turn, item in enumerate(turns[: count - len(asks)]):
            asks.append(Ask(time_us, item.text, item.response, "", f"chat{len(asks) - turn}", turn))
            time_us = min(time_us + int(rng.lognormvariate(4.4, 0.9) * 1_000_000), span.end_us - 1)
    return asks


def _field(rng: Random, source: Source) -> tuple[Topics, list[Item]]:
    if source.subjects:
        # Larger subjects have more people; a subject of a handful of texts is nobody's whole field.
        names = list(source.subjects)
        name = rng.choices(names, [len(source.subjects[name]) for name in names])[0]
        return source.subject_topics[name], source.subjects[name]
    return source.topics, source.items


def _is_support(source: Source) -> bool:
    """Intents of one service: many subjects, each of some dozens of short texts."""
    subjects = source.subjects
    return len(subjects) >= 15 and source.length_median < 120 and len(source.items) / len(subjects) < 500
