"""Innocent crowds that are in no mix and are asked for by name: trades, classes and tools whose accounts ask alike.

As in `crowds`, a function makes one crowd of `size` accounts, and its name is the class that the truth file reports.
"""

from random import Random

from coterie.simulation import phrases
from coterie.simulation.clock import DAY_US, HOUR_US, batch_times, burst_times, cron_times, draw_zone, human_times
from coterie.simulation.crowds import BENIGN, asks_of, job, own_texts, seats
from coterie.simulation.library import Item
from coterie.simulation.people import Actor, Ask, World, draw_interest, person


def enterprise_unmarked(world: World, rng: Random, size: int) -> list[Actor]:
    """One company's seats, as `enterprise`, but nothing says so: no organisation, and half of them pay on their own."""
    payment = {"payment": f"card-{rng.getrandbits(40):010x}"} if rng.random() < 0.5 else {}
    return [Actor(BENIGN, "enterprise_unmarked", asks, dict(payment)) for asks in seats(world, rng, size)]


def classroom(world: World, rng: Random, size: int) -> list[Actor]:
    """A class that explores one subject over a term, with questions of their own: no sheet and no deadline."""
    pool = _one_subject(world, rng, 30 * size)
    zone_h = draw_zone(rng)
    actors = []
    for number in range(size):
        # Dealt in turn, so that hardly anybody asks what another has asked.
        own = pool[number::size] or pool
        count = min(len(own), world.volume(rng, 18, 0.5))
        times = human_times(rng, world.span, count, zone_h=zone_h, office=rng.random() < 0.5)
        asks = asks_of(times, own[:count])
        actors.append(Actor(BENIGN, "classroom", asks + person(world, rng, count=world.volume(rng, 8))))
    return actors


def labellers(world: World, rng: Random, size: int) -> list[Actor]:
    """A company of people paid to write prompts: the same quota of task types, each on what he knows."""
    attributes = {"payment": f"card-{rng.getrandbits(40):010x}"}
    if rng.random() < 0.5:
        attributes["organisation"] = f"org-{rng.getrandbits(40):010x}"
    types = rng.sample(phrases.LABELLING_TYPES, 6)
    actors = []
    for _ in range(size):
        items = draw_interest(world, rng, world.volume(rng, 40, 0.3))
        times = human_times(rng, world.span, len(items), zone_h=draw_zone(rng), office=True)
        asks = [
            Ask(time_us, types[number % len(types)].replace("{}", item.text))
            for number, (time_us, item) in enumerate(zip(times, items, strict=True))
        ]
        actors.append(Actor(BENIGN, "labellers", asks, dict(attributes)))
    return actors


def hackathon(world: World, rng: Random, size: int) -> list[Actor]:
    """Teams that solve one task with the API in a weekend: one prompt of the organisers, data of their own."""
    template = phrases.draw_template(rng)
    noon_us = world.span.start_us + rng.randrange(world.span.days) * DAY_US + 12 * HOUR_US
    actors = []
    for _ in range(size):
        items = own_texts(world, rng, world.volume(rng, 40, 0.5))
        times = burst_times(rng, world.span, len(items), at_us=noon_us, width_h=8)
        # Half of the teams change the prompt in passing.
        frame = template if rng.random() < 0.5 else f"{template}\n{rng.choice(phrases.TEMPLATE_RULES)}"
        asks = [Ask(time_us, frame.replace("{}", item.text)) for time_us, item in zip(times, items, strict=True)]
        actors.append(Actor(BENIGN, "hackathon", asks))
    return actors


def marketplace(world: World, rng: Random, size: int) -> list[Actor]:
    """Customers of a prompt marketplace: they bought some of the same prompts, for subjects of their own."""
    shop = [phrases.draw_template(rng) for _ in range(5)] + rng.sample(phrases.ELICITATION_FRAMES, 2)
    actors = []
    for _ in range(size):
        bought = rng.sample(shop, rng.randint(1, 3))
        items = draw_interest(world, rng, world.volume(rng, 20))
        times = human_times(rng, world.span, len(items), zone_h=draw_zone(rng))
        asks = [
            Ask(time_us, rng.choice(bought).replace("{}", item.text) if rng.random() < 0.7 else item.text)
            for time_us, item in zip(times, items, strict=True)
        ]
        actors.append(Actor(BENIGN, "marketplace", asks))
    return actors


def code_assistant(world: World, rng: Random, size: int) -> list[Actor]:
    """Users of one editor plugin: its system prompt and format round code of their own."""
    system = phrases.draw_system(rng)
    language, ending = rng.choice(phrases.CODE_FILES)
    actors = []
    for _ in range(size):
        items = draw_interest(world, rng, world.volume(rng, 24))
        times = human_times(rng, world.span, len(items), zone_h=draw_zone(rng), office=rng.random() < 0.6)
        names = rng.sample(phrases.CODE_NAMES, 5)
        asks = [
            Ask(time_us, phrases.draw_code_request(rng, item.text, names, language, ending), "", system)
            for time_us, item in zip(times, items, strict=True)
        ]
        actors.append(Actor(BENIGN, "code_assistant", asks))
    return actors


def forum_community(world: World, rng: Random, size: int) -> list[Actor]:
    """Members of one community: one subject, threads that several take up, and a life besides."""
    pool = _one_subject(world, rng, 25 * size)
    threads = rng.sample(pool, min(len(pool), 12))
    actors = []
    for _ in range(size):
        count = world.volume(rng, 18)
        items = [rng.choice(threads) if rng.random() < 0.15 else rng.choice(pool) for _ in range(count)]
        asks = asks_of(human_times(rng, world.span, count, zone_h=draw_zone(rng)), items)
        actors.append(Actor(BENIGN, "forum_community", asks + person(world, rng, count=world.volume(rng, 6))))
    return actors


def seo_tool(world: World, rng: Random, size: int) -> list[Actor]:
    """Customers of one tool that asks the same of every keyword on its customer's list."""
    template = phrases.draw_template(rng)
    actors = []
    for _ in range(size):
        words = [word for item in own_texts(world, rng, world.volume(rng, 60, 0.6)) for word in _keywords(item)]
        texts = [template.replace("{}", word) for word in dict.fromkeys(words)]
        actors.append(Actor(BENIGN, "seo_tool", job(world, rng, texts)))
    return actors


def translation_agency(world: World, rng: Random, size: int) -> list[Actor]:
    """Translators of one agency: one style guide, each with customers and a language of his own."""
    style = f"{phrases.draw_system(rng)} {rng.choice(phrases.TEMPLATE_RULES)}"
    in_system = rng.random() < 0.5
    attributes = {"payment": f"card-{rng.getrandbits(40):010x}"} if rng.random() < 0.5 else {}
    actors = []
    for _ in range(size):
        language = rng.choice(phrases.TRANSLATION_LANGUAGES)
        items = own_texts(world, rng, world.volume(rng, 40, 0.5))
        times = human_times(rng, world.span, len(items), zone_h=draw_zone(rng), office=True)
        frame = f"Translate into {language}:\n{{}}" if in_system else f"{style}\nTranslate into {language}:\n{{}}"
        asks = [
            Ask(time_us, frame.replace("{}", item.text), "", style if in_system else "")
            for time_us, item in zip(times, items, strict=True)
        ]
        actors.append(Actor(BENIGN, "translation_agency", asks, dict(attributes)))
    return actors


def ci_tests(world: World, rng: Random, size: int) -> list[Actor]:
    """Companies whose automated tests of one open-source library send the same fixtures again and again."""
    fixtures = [world.query(rng).text for _ in range(rng.randint(12, 60))]
    actors = []
    for _ in range(size):
        runs = rng.randint(1, 5)
        chosen = rng.sample(fixtures, max(6, round(len(fixtures) * rng.uniform(0.5, 1))))
        starts = cron_times(rng, world.span, runs)
        asks = [
            Ask(min(start_us + number * rng.randrange(1, 3) * 1_000_000, world.span.end_us - 1), text)
            for start_us in starts
            for number, text in enumerate(chosen)
        ]
        extra = own_texts(world, rng, world.volume(rng, 10))
        asks += asks_of(batch_times(rng, world.span, len(extra)), extra)
        actors.append(Actor(BENIGN, "ci_tests", asks))
    return actors


def _one_subject(world: World, rng: Random, count: int) -> list[Item]:
    """Up to `count` texts of one subject: a forum, or a topic and those next to it."""
    source = rng.choice(world.forums or world.interests)
    if source.subjects:
        names = [name for name, items in source.subjects.items() if len(items) >= 100] or list(source.subjects)
        pool = source.subjects[rng.choice(names)]
        topic = source.subject_topics[pool[0].subject].draw(rng, count)
        # One narrow topic where there is enough of it, else the field.
        pool = topic if len(topic) >= count // 2 else pool
    else:
        pool = max((source.topics.draw(rng, count) for _ in range(8)), key=len) or source.items
    return rng.sample(pool, min(len(pool), count))


def _keywords(item: Item) -> list[str]:
    words = [word.strip("?.,:;!\"'()").lower() for word in item.text.split()]
    long = [word for word in words if len(word) > 4]
    return [" ".join(long[:3])] if len(long) >= 2 else []
