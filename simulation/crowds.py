"""The innocent: ordinary people and every crowd that looks coordinated and is not.

A crowd function makes one crowd of `size` accounts; its name is the class that the truth file reports.
"""

from collections.abc import Callable
from random import Random

from coterie.simulation import phrases
from coterie.simulation.clock import (
    DAY_US,
    HOUR_US,
    batch_times,
    burst_times,
    cron_times,
    draw_zone,
    human_times,
    machine_times,
)
from coterie.simulation.library import Item, Source
from coterie.simulation.people import Actor, Ask, World, draw_interest, person

BENIGN = "benign"
_WHOLE_LIST_MAX = 450

Crowd = Callable[[World, Random, int], list[Actor]]


def people(world: World, rng: Random, size: int) -> list[Actor]:
    """Individuals, each with subjects and a way of asking."""
    return [Actor(BENIGN, "person", person(world, rng)) for _ in range(size)]


def public(world: World, rng: Random, size: int) -> list[Actor]:
    """The general public: anything at all, so that one asker might be another; popular questions recur."""
    favourites = [world.query(rng) for _ in range(60)]
    popular_share = rng.choice((0.0, 0.0, 0.1, 0.2))
    actors = []
    for _ in range(size):
        count = world.volume(rng, 20)
        items = [
            favourites[int(len(favourites) * rng.random() ** 3)] if rng.random() < popular_share else world.query(rng)
            for _ in range(count)
        ]
        times = human_times(rng, world.span, count, zone_h=draw_zone(rng))
        actors.append(Actor(BENIGN, "public", asks_of(times, items)))
    return actors


def app_template(world: World, rng: Random, size: int) -> list[Actor]:
    """Users of one app: its template or system prompt round questions on subjects of their own."""
    template = rng.choice(phrases.APP_TEMPLATES) if rng.random() < 0.7 else "{}"
    system = rng.choice(phrases.APP_SYSTEMS) if template == "{}" or rng.random() < 0.4 else ""
    if template != "{}":
        template = world.own(template, phrases.draw_template)
    system = world.own(system, phrases.draw_system)
    actors = []
    for _ in range(size):
        count = world.volume(rng, 20)
        items = draw_interest(world, rng, count)
        times = human_times(rng, world.span, count, zone_h=draw_zone(rng))
        asks = [
            Ask(time_us, template.replace("{}", item.text), item.response, system)
            for time_us, item in zip(times, items, strict=True)
        ]
        actors.append(Actor(BENIGN, "app_template", asks))
    return actors


def support_app(world: World, rng: Random, size: int) -> list[Actor]:
    """Businesses that run the same narrow support app; each one's customers have their own few troubles."""
    source = rng.choice(world.support)
    system = world.own(rng.choice(phrases.SUPPORT_SYSTEMS) if rng.random() < 0.6 else "", phrases.draw_system)
    names = world.some(list(source.subjects), 14)
    actors = []
    for _ in range(size):
        count = world.volume(rng, 30)
        items = _intents(rng, source, names, count)
        times = human_times(rng, world.span, count, zone_h=draw_zone(rng), office=rng.random() < 0.5)
        actors.append(Actor(BENIGN, "support_app", asks_of(times, items, system)))
    return actors


def homework(world: World, rng: Random, size: int) -> list[Actor]:
    """A class with one sheet of a dozen exercises and one deadline; otherwise they are people."""
    source = world.library.pick(rng, "AB", 16) or rng.choice(world.interests)
    sheet = world.library.deal(rng, source, rng.randint(8, 16))
    deadline_us = world.span.start_us + int((0.3 + 0.6 * rng.random()) * world.span.days * DAY_US)
    actors = []
    for _ in range(size):
        picked = [item for item in sheet if rng.random() < 0.8] or sheet[:1]
        times = burst_times(rng, world.span, len(picked), at_us=deadline_us, width_h=5)
        asks = [
            Ask(time_us, _reworded(rng, item.text, 0.25), item.response)
            for time_us, item in zip(times, picked, strict=True)
        ]
        actors.append(Actor(BENIGN, "homework", asks + person(world, rng, count=world.volume(rng, 14))))
    return actors


def viral(world: World, rng: Random, size: int) -> list[Actor]:
    """People who paste what went round: library prompts, and now and then a well-known jailbreak."""
    library = [world.own(text, phrases.draw_viral) for text in phrases.VIRAL_PROMPTS]
    long_probes = [source for source in world.library.group("D") if source.length_median > 800]
    if long_probes and rng.random() < 0.5:
        library += [item.text for item in world.library.deal(rng, rng.choice(long_probes), 4)]
    peak_us = world.span.start_us + int(rng.random() * world.span.days * DAY_US)
    actors = []
    for _ in range(size):
        pasted = [rng.choice(library) for _ in range(rng.randint(1, 6))]
        times = burst_times(rng, world.span, len(pasted), at_us=peak_us, width_h=18)
        asks = [Ask(time_us, text) for time_us, text in zip(times, pasted, strict=True)]
        actors.append(Actor(BENIGN, "viral", asks + person(world, rng, count=world.volume(rng, 12))))
    return actors


def routine(world: World, rng: Random, size: int) -> list[Actor]:
    """Hello, health checks, cron jobs and clients that retry."""
    makers = (_hello, _cron, _retries)
    return [Actor(BENIGN, "routine", rng.choice(makers)(world, rng)) for _ in range(size)]


def researcher(world: World, rng: Random, size: int) -> list[Actor]:
    """People who each run one whole benchmark, openly and alone."""
    actors = []
    for _ in range(size):
        items = _whole_list(world, rng)
        template = rng.choice(phrases.BENCHMARK_FRAMES)
        times = batch_times(rng, world.span, len(items), gap_s=rng.uniform(2, 30), runs=rng.randint(1, 3))
        asks = [
            Ask(time_us, template.replace("{}", item.text), item.response)
            for time_us, item in zip(times, items, strict=True)
        ]
        actors.append(Actor(BENIGN, "researcher", asks + person(world, rng, count=world.volume(rng, 8))))
    return actors


def translation_job(world: World, rng: Random, size: int) -> list[Actor]:
    """Batch jobs that translate each owner's own texts, many with the same well-known prompt."""
    actors = []
    for _ in range(size):
        template = rng.choice(phrases.TRANSLATION_TEMPLATES)
        language = rng.choice(phrases.TRANSLATION_LANGUAGES)
        items = own_texts(world, rng, world.volume(rng, 80, 0.6, most=300))
        texts = [template.format(language=language, text=item.text) for item in items]
        actors.append(Actor(BENIGN, "translation_job", job(world, rng, texts)))
    return actors


def moderation_job(world: World, rng: Random, size: int) -> list[Actor]:
    """Batch jobs that label each site's own comments."""
    actors = []
    for _ in range(size):
        template = rng.choice(phrases.MODERATION_TEMPLATES)
        items = own_texts(world, rng, world.volume(rng, 80, 0.6, most=300))
        texts = [template.replace("{}", item.text) for item in items]
        actors.append(Actor(BENIGN, "moderation_job", job(world, rng, texts)))
    return actors


def agent_framework(world: World, rng: Random, size: int) -> list[Actor]:
    """Users of one agent framework: one system prompt and step format, goals of their own."""
    system = world.own(phrases.AGENT_SYSTEM, phrases.draw_system)
    goal_name = world.own("Goal", phrases.draw_goal_name)
    actors = []
    for _ in range(size):
        asks: list[Ask] = []
        goals = draw_interest(world, rng, rng.randint(3, 10))
        zone_h = draw_zone(rng)
        for number, goal in enumerate(goals):
            time_us = human_times(rng, world.span, 1, zone_h=zone_h)[0]
            for turn in range(rng.randint(2, 6)):
                step = phrases.AGENT_STEPS[0] if turn == 0 else rng.choice(phrases.AGENT_STEPS[1:])
                prompt = step.replace("Goal", goal_name).replace("{}", goal.text)
                asks.append(Ask(time_us, prompt, "", system, f"goal{number}", turn))
                time_us = min(time_us + int(rng.uniform(3, 40) * 1_000_000), world.span.end_us - 1)
        actors.append(Actor(BENIGN, "agent_framework", asks))
    return actors


def enterprise(world: World, rng: Random, size: int) -> list[Actor]:
    """One company's seats: one field of work, shared templates, interchangeable clerks, one organisation."""
    attributes = {"organisation": f"org-{rng.getrandbits(40):010x}", "payment": f"card-{rng.getrandbits(40):010x}"}
    return [Actor(BENIGN, "enterprise", asks, dict(attributes)) for asks in seats(world, rng, size)]


def seats(world: World, rng: Random, size: int) -> list[list[Ask]]:
    """What the seats of one company ask."""
    source = rng.choice(world.support + world.interests)
    subjects = list(source.subjects)
    pool = source.subjects[rng.choice(subjects)] if subjects else source.items
    if len(pool) < 300:
        pool = source.items
    work = rng.sample(pool, min(len(pool), 40 * size))
    templates = [world.own(text, phrases.draw_template) for text in rng.sample(phrases.ENTERPRISE_TEMPLATES, 2)]
    zone_h = draw_zone(rng)
    found = []
    for _ in range(size):
        count = world.volume(rng, 28, 0.5)
        times = human_times(rng, world.span, count, zone_h=zone_h, office=True)
        asks = []
        for time_us in times:
            item = rng.choice(work)
            prompt = rng.choice(templates).replace("{}", item.text) if rng.random() < 0.6 else item.text
            asks.append(Ask(time_us, prompt, item.response))
        found.append(asks)
    return found


def lab(world: World, rng: Random, size: int) -> list[Actor]:
    """Separate labs that each run the same whole benchmark."""
    items = _whole_list(world, rng)
    actors = []
    for _ in range(size):
        template = rng.choice(phrases.BENCHMARK_FRAMES)
        run = list(items)
        if rng.random() < 0.3:
            rng.shuffle(run)
        times = batch_times(rng, world.span, len(run), gap_s=rng.uniform(2, 30), runs=rng.randint(1, 2))
        asks = [
            Ask(time_us, template.replace("{}", item.text), item.response)
            for time_us, item in zip(times, run, strict=True)
        ]
        organisation = {"organisation": f"org-{rng.getrandbits(40):010x}"}
        actors.append(Actor(BENIGN, "lab", asks, organisation if rng.random() < 0.7 else {}))
    return actors


def exam_bank(world: World, rng: Random, size: int) -> list[Actor]:
    """Learners who practise from one public question bank, each where he likes: they overlap as chance has it."""
    bank = _bank(world, rng, max(60, 12 * size))
    actors = []
    for _ in range(size):
        picked = rng.sample(bank, min(len(bank), world.volume(rng, 24, 0.5)))
        times = human_times(rng, world.span, len(picked), zone_h=draw_zone(rng))
        asks = [
            Ask(time_us, _reworded(rng, item.text, 0.1), item.response)
            for time_us, item in zip(times, picked, strict=True)
        ]
        actors.append(Actor(BENIGN, "exam_bank", asks + person(world, rng, count=world.volume(rng, 8))))
    return actors


def exam_prep(world: World, rng: Random, size: int) -> list[Actor]:
    """Users of an exam-prep site: its template over its exercises, early chapters more than late ones."""
    bank = _bank(world, rng, max(80, 10 * size))
    template = world.own(rng.choice(phrases.EXAM_PREP_TEMPLATES), phrases.draw_template)
    actors = []
    for _ in range(size):
        count = world.volume(rng, 22, 0.6)
        chapter = rng.random()
        items = [bank[int(len(bank) * min(0.999, abs(rng.gauss(chapter * 0.5, 0.25)) % 1))] for _ in range(count)]
        times = human_times(rng, world.span, count, zone_h=draw_zone(rng))
        asks = [
            Ask(time_us, template.replace("{}", item.text), item.response)
            for time_us, item in zip(times, items, strict=True)
        ]
        actors.append(Actor(BENIGN, "exam_prep", asks))
    return actors


def reseller(world: World, rng: Random, size: int) -> list[Actor]:
    """A reseller's keys: each carries the traffic of its own dozen of end users, and all are paid by one card."""
    attributes = {"payment": f"card-{rng.getrandbits(40):010x}"}
    if rng.random() < 0.5:
        attributes["organisation"] = f"org-{rng.getrandbits(40):010x}"
    actors = []
    for _ in range(size):
        asks: list[Ask] = []
        for number in range(rng.randint(5, 14)):
            for ask in person(world, rng, count=world.volume(rng, 9, most=40)):
                ask.conversation = ask.conversation and f"user{number}-{ask.conversation}"
                asks.append(ask)
        actors.append(Actor(BENIGN, "reseller", asks, dict(attributes)))
    return actors


def shared_passage(world: World, rng: Random, size: int) -> list[Actor]:
    """People who all ask about one long text that fills most of every prompt."""
    long_texts = [source for source in world.library.group("A") if 400 < source.length_median < 1_200]
    passage = phrases.PASSAGE
    if long_texts and rng.random() < 0.6:
        passage = world.library.deal(rng, rng.choice(long_texts), 1)[0].text
    passage = world.own(passage, lambda draw: " ".join(world.query(draw).text for _ in range(24)))
    actors = []
    for _ in range(size):
        frame = rng.choice(phrases.PASSAGE_FRAMES)
        questions = rng.sample(phrases.PASSAGE_QUESTIONS, rng.randint(4, 14))
        times = human_times(rng, world.span, len(questions), zone_h=draw_zone(rng))
        asks = [
            Ask(time_us, frame.format(passage=passage, question=question))
            for time_us, question in zip(times, questions, strict=True)
        ]
        actors.append(Actor(BENIGN, "shared_passage", asks + person(world, rng, count=world.volume(rng, 10))))
    return actors


def launch(world: World, rng: Random, size: int) -> list[Actor]:
    """People who try a new model on the day it is released."""
    prompts = [world.own(text, phrases.draw_viral) for text in phrases.LAUNCH_PROMPTS]
    actors = []
    for _ in range(size):
        tried = rng.sample(prompts, rng.randint(3, 8))
        times = burst_times(rng, world.span, len(tried), at_us=release_us(world) + 7 * HOUR_US, width_h=4)
        asks = [Ask(time_us, _reworded(rng, text, 0.2)) for time_us, text in zip(times, tried, strict=True)]
        actors.append(Actor(BENIGN, "launch", asks + person(world, rng, count=world.volume(rng, 14)), model="new"))
    return actors


def rare_language(world: World, rng: Random, size: int) -> list[Actor]:
    """Speakers of a language that few others here speak, asking general questions in it."""
    source = rng.choice(world.multilingual or world.queries)
    languages = source.languages or {"": source.items}
    by_speakers = sorted(languages, key=lambda name: (-len(languages[name]), name))
    # Not the most spoken: one of the others that has enough to ask.
    pool = languages[rng.choice([name for name in by_speakers[1:] if len(languages[name]) >= 40] or by_speakers)]
    actors = []
    for _ in range(size):
        count = world.volume(rng, 18)
        times = human_times(rng, world.span, count, zone_h=draw_zone(rng))
        actors.append(Actor(BENIGN, "rare_language", asks_of(times, [rng.choice(pool) for _ in range(count)])))
    return actors


def breaking_news(world: World, rng: Random, size: int) -> list[Actor]:
    """People who ask about one event within hours of it, in their own words, and otherwise about their own things."""
    story: list[Item] = []
    for _ in range(20):
        drawn = rng.choice(world.queries).topics.draw(rng, 80)
        story = max(story, drawn, key=len)
    story = story or [world.query(rng) for _ in range(60)]
    event_us = world.span.start_us + int(rng.uniform(0.1, 0.9) * world.span.days * DAY_US)
    actors = []
    for _ in range(size):
        items = [rng.choice(story) for _ in range(rng.randint(2, 8))]
        times = burst_times(rng, world.span, len(items), at_us=event_us + 3 * HOUR_US, width_h=3)
        asks = asks_of(times, items)
        actors.append(Actor(BENIGN, "breaking_news", asks + person(world, rng, count=world.volume(rng, 14))))
    return actors


def release_us(world: World) -> int:
    """When the window's new model is released: the start of the working day half-way through."""
    return world.span.start_us + (world.span.days // 2) * DAY_US + 9 * HOUR_US


def asks_of(times: list[int], items: list[Item], system: str = "") -> list[Ask]:
    """One request for each time and item."""
    return [Ask(time_us, item.text, item.response, system) for time_us, item in zip(times, items, strict=True)]


def _intents(rng: Random, source: Source, names: list[str], count: int) -> list[Item]:
    """Customers of one business: half a dozen intents make up most of what they ask."""
    if not names:
        return [rng.choice(source.items) for _ in range(count)]
    favourites = rng.sample(names, min(len(names), rng.randint(3, 8)))
    weights = [rng.lognormvariate(0, 0.8) for _ in favourites]
    return [
        rng.choice(source.subjects[rng.choices(favourites, weights)[0] if rng.random() < 0.9 else rng.choice(names)])
        for _ in range(count)
    ]


def _reworded(rng: Random, text: str, share: float) -> str:
    if rng.random() >= share:
        return text
    return rng.choice((rng.choice(phrases.GREETINGS) + text, text + rng.choice(phrases.CLOSINGS)))


def _hello(world: World, rng: Random) -> list[Ask]:
    count = world.volume(rng, 8, most=40)
    times = human_times(rng, world.span, count, zone_h=draw_zone(rng))
    return [Ask(time_us, rng.choice(phrases.HELLO)) for time_us in times]


def _cron(world: World, rng: Random) -> list[Ask]:
    prompt = rng.choice(phrases.CRON_PROMPTS)
    return [Ask(time_us, prompt) for time_us in cron_times(rng, world.span, rng.choice((7, 14, 42, 84)))]


def _retries(world: World, rng: Random) -> list[Ask]:
    asks = []
    for ask in person(world, rng, count=world.volume(rng, 12)):
        asks.append(ask)
        while rng.random() < 0.45:
            again_us = min(asks[-1].time_us + rng.randrange(1_000_000, 20_000_000), world.span.end_us - 1)
            asks.append(Ask(again_us, ask.prompt, ask.response))
    return asks


def _whole_list(world: World, rng: Random) -> list[Item]:
    """A whole list in its own order, of those that one person would run in a week; nobody else is dealt from it."""
    source = world.library.pick(rng, "AD", 1, lambda found: 60 <= len(found.items) <= 2 * _WHOLE_LIST_MAX)
    if source is not None and not world.library.left(source):
        # Every short list is taken: a part of a long one, as suites come in parts.
        source = world.library.pick(rng, "AB", _WHOLE_LIST_MAX)
        if source is not None:
            return world.library.deal(rng, source, min(rng.randint(120, _WHOLE_LIST_MAX), len(source.items)))
    if source is None:
        source = world.library.pick(rng, "ABDF", 1) or rng.choice(world.interests)
    world.library.spend(source)
    return source.items[:_WHOLE_LIST_MAX]


def _bank(world: World, rng: Random, count: int) -> list[Item]:
    source = world.library.pick(rng, "A", count) or world.library.pick(rng, "BDF", count) or rng.choice(world.interests)
    return world.library.deal(rng, source, min(count, len(source.items)))


def own_texts(world: World, rng: Random, count: int) -> list[Item]:
    """Up to `count` different texts on one account's own subjects."""
    return list(dict.fromkeys(draw_interest(world, rng, count)))


def job(world: World, rng: Random, texts: list[str]) -> list[Ask]:
    """A batch job over the texts: spread over the window, or in a few runs."""
    if rng.random() < 0.5:
        times = machine_times(rng, world.span, len(texts))
    else:
        times = batch_times(rng, world.span, len(texts), gap_s=rng.uniform(2, 20), runs=rng.randint(1, 6))
    return [Ask(time_us, text) for time_us, text in zip(times, texts, strict=True)]
