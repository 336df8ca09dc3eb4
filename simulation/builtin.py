"""Built-in text: grows every group of sources from word banks, so that coterie can be tried without any corpus.

People's text, work lists and crowds share words, subjects and frames; what tells a campaign apart is not its wording.
"""

from collections.abc import Callable
from itertools import pairwise
from random import Random

from coterie.simulation import wordbanks as bank
from coterie.simulation.library import Item, Source
from coterie.simulation.rewording import paraphrase, rotate_options

_TRIES_PER_ITEM = 12

Maker = Callable[[Random], Item]


def builtin_sources(seed: int, accounts: int) -> list[Source]:
    """Sources of every group A, B, C, D and F, grown for one seed and large enough for `accounts`."""
    scale = max(1.0, (accounts / 400) ** 0.8)
    sources = []
    for name, group, count, maker in _RECIPES:
        rng = Random(f"{seed}/{name}")
        items = _distinct(rng, maker, round(count * scale))
        sources.append(Source(name, group, items))
    sources.append(Source("builtin_chats", "C", _chats(Random(f"{seed}/chats"), round(350 * scale))))
    sources.append(Source("builtin_parallel_maths", "F", _parallel(Random(f"{seed}/maths"), round(350 * scale))))
    sources.append(Source("builtin_parallel_daily", "F", _daily(Random(f"{seed}/daily"), round(250 * scale))))
    return sorted(sources, key=lambda source: (source.group, source.name))


def _distinct(rng: Random, maker: Maker, count: int) -> list[Item]:
    """Up to `count` items of distinct text; fewer when the words run out."""
    found: dict[str, Item] = {}
    for _ in range(count * _TRIES_PER_ITEM):
        if len(found) >= count:
            break
        item = maker(rng)
        found.setdefault(item.text, item)
    return list(found.values())


class _Words:
    """One draw of subject words; `format_map` reads the slots of a frame from it."""

    def __init__(self, rng: Random, subject: str = "") -> None:
        self.subject = subject or rng.choice(list(bank.SUBJECTS))
        things, states, doings = (part.split(", ") for part in bank.SUBJECTS[self.subject])
        thing, thing2 = rng.sample(things, 2)
        city, city2 = rng.sample(list(bank.COUNTRIES.values()), 2)
        self.slots = {
            "subject": self.subject,
            "thing": thing,
            "thing2": thing2,
            "state": rng.choice(states),
            "do": rng.choice(doings),
            "city": city,
            "city2": city2,
            "country": rng.choice(list(bank.COUNTRIES)),
            "month": rng.choice(bank.MONTHS),
            "animal": rng.choice(bank.ANIMALS),
            "element": rng.choice(list(bank.ELEMENTS)),
            "food": rng.choice(bank.FOODS),
        }

    def fill(self, frame: str) -> str:
        """The frame with its slots filled and its first letter as written."""
        return frame.format_map(self.slots)


def _numbers(rng: Random) -> dict[str, object]:
    name, name2 = rng.sample(bank.NAMES, 2)
    good, good2 = rng.sample(bank.GOODS, 2)
    city, city2 = rng.sample(list(bank.COUNTRIES.values()), 2)
    return {
        "name": name,
        "name2": name2,
        "good": good,
        "good2": good2,
        "city": city,
        "city2": city2,
        "a": rng.randint(2, 19),
        "b": rng.randint(3, 24),
        "p": rng.randint(2, 30),
        "q": rng.randint(3, 40),
        "v": rng.randint(30, 95),
        "w": rng.randint(96, 180),
        "pct": rng.choice((5, 10, 12, 15, 20, 25, 30, 40, 60)),
        "hour": rng.randint(5, 21),
        "big": rng.randint(100, 900),
    }


def _maths(frames: tuple[str, ...]) -> Maker:
    def make(rng: Random) -> Item:
        row = rng.randrange(len(frames))
        return Item(frames[row].format_map(_numbers(rng)), str(rng.randint(2, 900)), "en")

    return make


def _choice(rng: Random, question: str, right: str, others: list[str], subject: str) -> Item:
    options = [right, *rng.sample([other for other in others if other != right], 3)]
    rng.shuffle(options)
    lines = [f"{letter}. {option}" for letter, option in zip("ABCD", options, strict=True)]
    return Item("\n".join([question, *lines]), "ABCD"[options.index(right)], "en", subject)


def _geography(rng: Random) -> Item:
    country, capital = rng.choice(list(bank.COUNTRIES.items()))
    if rng.random() < 0.5:
        stem = rng.choice(("Which city is the capital of {}?", "The government of {} sits in", "{}: name its capital."))
        return _choice(rng, stem.format(country), capital, list(bank.COUNTRIES.values()), "capitals")
    stem = rng.choice(("{} is the capital of which country?", "Someone who lands in {} is now in", "Where is {}?"))
    return _choice(rng, stem.format(capital), country, list(bank.COUNTRIES), "countries")


def _science(rng: Random) -> Item:
    if rng.random() < 0.5:
        name, symbol = rng.choice(list(bank.ELEMENTS.items()))
        stem = rng.choice(("What is the chemical symbol of {}?", "In a formula, {} is written as"))
        return _choice(rng, stem.format(name), symbol, list(bank.ELEMENTS.values()), "symbols")
    first, second = rng.randint(2, 40), rng.randint(2, 30)
    unit, formula = rng.choice((("N", "force"), ("J", "work"), ("W", "power"), ("Pa", "pressure")))
    question = {
        "force": f"A mass of {first} kg is accelerated at {second} m/s². What force acts?",
        "work": f"A force of {first} N moves a body by {second} m. What work is done?",
        "power": f"{first * second} J are spent in {second} s. What is the power?",
        "pressure": f"A force of {first * second} N acts on {second} m². What is the pressure?",
    }[formula]
    value = first * second if formula in ("force", "work") else first
    others = [f"{value + step} {unit}" for step in (-1, 1, 2, 5, 10)]
    return _choice(rng, question, f"{value} {unit}", others, formula)


def _usage(rng: Random) -> Item:
    subject = rng.choice(list(bank.SUBJECTS))
    things = bank.SUBJECTS[subject][0].split(", ")
    foreign = rng.choice([name for name in bank.SUBJECTS if name != subject])
    odd = rng.choice(bank.SUBJECTS[foreign][0].split(", "))
    stem = rng.choice(("Which of these does not belong to {}?", "Somebody interested in {} has no use for a"))
    options = [odd, *rng.sample(things, 3)]
    return _choice(rng, stem.format(subject), odd, options[1:], subject)


def _code(rng: Random) -> Item:
    action = rng.choice(bank.CODE_ACTIONS).replace("{k}", str(rng.randint(2, 9)))
    limit = rng.choice(bank.CODE_LIMITS)
    opening = rng.choice(("Write a Python function that", "Implement a function that", "Write code that"))
    return Item(f"{opening} {action} {rng.choice(bank.CODE_THINGS)}. {limit}", "", "en", "functions")


def _sql(rng: Random) -> Item:
    table, columns = rng.choice(list(bank.SQL_TABLES.items()))
    group, value, date = columns.split(", ")
    slots = {"g": group, "c": value, "d": date, "a": rng.randint(2, 60), "m": rng.choice(bank.MONTHS)}
    task = rng.choice(bank.SQL_TASKS).format_map(slots)
    return Item(f"Table {table}({columns}). Write one SQL query that gives {task}.", "", "en", table)


def _ordering(rng: Random) -> Item:
    names = rng.sample(bank.NAMES, rng.choice((4, 5)))
    trait = rng.choice(("taller", "older", "faster", "richer", "calmer"))
    clues = [f"{left} is {trait} than {right}." for left, right in pairwise(names)]
    rng.shuffle(clues)
    asked = rng.choice(
        (f"Who is the {trait[:-2]}est?", f"Is {names[1]} {trait} than {names[-1]}?", "List them in order.")
    )
    return Item(" ".join([*clues, asked]), names[0], "en", "ordering")


def _tracking(rng: Random) -> Item:
    names = rng.sample(bank.NAMES, 3)
    goods = rng.sample(bank.GOODS, 3)
    start = " ".join(f"{name} holds the {good}." for name, good in zip(names, goods, strict=True))
    swaps = []
    for _ in range(rng.randint(2, 4)):
        left, right = rng.sample(names, 2)
        swaps.append(f"Then {left} and {right} swap.")
    return Item(f"{start} {' '.join(swaps)} What does {rng.choice(names)} hold?", rng.choice(goods), "en", "tracking")


def _logic(rng: Random) -> Item:
    return rng.choice((_ordering, _tracking, _dates))(rng)


def _dates(rng: Random) -> Item:
    day, month, step = rng.randint(1, 28), rng.choice(bank.MONTHS), rng.randint(2, 400)
    way = rng.choice(("after", "before"))
    year = rng.randint(1950, 2025)
    return Item(f"Which date lies {step} days {way} {day} {month} {year}? Answer as DD/MM/YYYY.", "", "en", "dates")


def _instruction(rng: Random) -> Item:
    words = _Words(rng)
    topic = rng.choice(
        (words.slots["subject"], f"a {words.slots['thing']}", words.slots["animal"], words.slots["food"])
    )
    city = f" in {words.slots['city']}" if rng.random() < 0.2 else ""
    text = f"{rng.choice(bank.INSTRUCTION_VERBS)} {topic}{city}. {rng.choice(bank.INSTRUCTION_LIMITS)}"
    return Item(text.strip(), "", "en")


def _roleplay(rng: Random) -> Item:
    task = _Words(rng).fill(rng.choice(bank.ROLE_TASKS))
    opening = rng.choice(("You are {}. In that voice, {}.", "Speaking as {}, {}.", "Be {} and {}."))
    return Item(opening.format(rng.choice(bank.ROLES), task), "", "en")


def _security(rng: Random) -> Item:
    slots = {
        "technique": rng.choice(bank.TECHNIQUES),
        "target": rng.choice(bank.TARGETS),
        "language": rng.choice(("Python", "Go", "PowerShell", "C", "Bash")),
    }
    return Item(rng.choice(bank.SECURITY_ASKS).format_map(slots), "", "en", slots["technique"])


def _risky(rng: Random) -> Item:
    deed = rng.choice(bank.DEEDS)
    place = f" in {rng.choice(list(bank.COUNTRIES))}" if rng.random() < 0.5 else ""
    return Item(rng.choice(bank.RISKY_ASKS).format(deed=deed + place), "", "en", deed)


def _forum(rng: Random) -> Item:
    words = _Words(rng)
    text = words.fill(rng.choice(bank.FORUM_FRAMES))
    return Item(text[0].upper() + text[1:] if rng.random() < 0.7 else text, "", "en", words.subject)


def _query(rng: Random) -> Item:
    frame = rng.choice(bank.QUERY_FRAMES if rng.random() < 0.5 else bank.FACT_FRAMES)
    return Item(_Words(rng).fill(frame), "", "en")


def _support(intents: dict[str, tuple[str, str, str]]) -> Maker:
    def make(rng: Random) -> Item:
        intent, (thing, state, detail) = rng.choice(list(intents.items()))
        slots = {"thing": thing, "state": state, "detail": detail, "when": rng.choice(bank.WHENS)}
        frame = rng.choice(bank.SUPPORT_FRAMES)
        tail = rng.choice(("", "", "", " please", " asap", f" ({rng.choice(bank.WHENS)})", " Thank you."))
        return Item(frame.format_map(slots) + tail, "", "en", intent)

    return make


def _foreign(rng: Random) -> Item:
    language = rng.choices(list(bank.LANGUAGE_FRAMES), (30, 20, 20, 12, 10, 8))[0]
    noun = rng.choice(bank.LANGUAGE_NOUNS[language].split(", "))
    frame = rng.choice(bank.LANGUAGE_FRAMES[language])
    return Item(frame.format(n=noun, c=rng.choice(list(bank.COUNTRIES.values()))), "", language)


def _reworded(rng: Random) -> Item:
    frames = rng.choice((bank.SHOP_MATHS, bank.JOURNEY_MATHS, bank.GEOMETRY_MATHS))
    return Item(paraphrase(rng, rng.choice(frames).format_map(_numbers(rng))), "", "en")


def _reworded_choice(rng: Random) -> Item:
    item = rng.choice((_geography, _science, _usage))(rng)
    return Item(paraphrase(rng, rotate_options(rng, item.text)), "", "en", item.subject)


def _chats(rng: Random, count: int) -> list[Item]:
    items = []
    for number in range(count):
        words = _Words(rng)
        frames = [rng.choice(bank.CHAT_OPENINGS)]
        frames += rng.sample(bank.CHAT_TURNS, min(len(bank.CHAT_TURNS), 1 + int(rng.expovariate(0.25))))
        for turn, frame in enumerate(frames):
            items.append(Item(words.fill(frame), "", "en", "", f"chat{number}", turn))
            # The talk drifts within its subject.
            words = _Words(rng, words.subject) if rng.random() < 0.3 else words
    return items


def _parallel(rng: Random, count: int) -> list[Item]:
    items = []
    for number in range(count):
        versions = rng.choice(bank.PARALLEL_MATHS)
        slots = _numbers(rng)
        for language, frame in versions.items():
            items.append(Item(frame.format_map(slots), "", language, "", "", 0, f"parallel{number}"))
    return items


def _daily(rng: Random, count: int) -> list[Item]:
    """Everyday questions in six languages; the frames of all languages are in the same order."""
    items = []
    for number in range(count):
        row = rng.randrange(len(next(iter(bank.LANGUAGE_FRAMES.values()))))
        slots = {"n": rng.choice(bank.WORLD_NOUNS), "c": rng.choice(list(bank.COUNTRIES.values()))}
        for language, frames in bank.LANGUAGE_FRAMES.items():
            items.append(Item(frames[row].format_map(slots), "", language, "", "", 0, f"daily{number}"))
    return list({item.text: item for item in items}.values())


_RECIPES: tuple[tuple[str, str, int, Maker], ...] = (
    ("builtin_shop_maths", "A", 1_400, _maths(bank.SHOP_MATHS)),
    ("builtin_journey_maths", "A", 1_000, _maths(bank.JOURNEY_MATHS)),
    ("builtin_geometry", "A", 400, _maths(bank.GEOMETRY_MATHS)),
    ("builtin_geography_choice", "A", 900, _geography),
    ("builtin_science_choice", "A", 800, _science),
    ("builtin_odd_one_out", "A", 1_200, _usage),
    ("builtin_functions", "A", 900, _code),
    ("builtin_sql", "A", 320, _sql),
    ("builtin_logic", "A", 1_200, _logic),
    ("builtin_dates", "A", 300, _dates),
    ("builtin_instructions", "B", 2_400, _instruction),
    ("builtin_roleplay", "B", 900, _roleplay),
    ("builtin_forums", "C", 9_000, _forum),
    ("builtin_queries", "C", 6_000, _query),
    ("builtin_bank_support", "C", 1_500, _support(bank.BANK_INTENTS)),
    ("builtin_shop_support", "C", 1_500, _support(bank.SHOP_INTENTS)),
    ("builtin_languages", "C", 1_600, _foreign),
    ("builtin_security_probing", "D", 900, _security),
    ("builtin_risky_requests", "D", 700, _risky),
    ("builtin_reworded_maths", "F", 700, _reworded),
    ("builtin_reworded_choice", "F", 700, _reworded_choice),
)
