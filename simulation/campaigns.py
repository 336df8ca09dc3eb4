"""The guilty: one work list dealt out over many accounts, by kind of list and by how they hide."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from coterie.simulation import phrases
from coterie.simulation.clock import Span, active_part, batch_times, draw_zone, human_times, machine_times
from coterie.simulation.library import Item, Source
from coterie.simulation.people import Actor, Ask, World, draw_volume, person
from coterie.simulation.rewording import has_options, paraphrase, rotate_options

KINDS = (
    "benchmark",
    "instruction_sweep",
    "unknown_benchmark",
    "reasoning_elicitation",
    "probing",
    "multilingual",
    "rephrased_benchmark",
)
_COVERS = {"cover50": 0.5, "cover80": 0.8, "cover95": 0.95}
_MEMBERS_MIN = 3
_WORK_MIN = 8
_CHAIN_SAMPLE = 60
_CODE = re.compile(r"\b(function|def|program|query|script)\b")


@dataclass(frozen=True, slots=True)
class Plan:
    """One campaign before its texts are drawn.

    Attributes:
        size: accounts.
        work: requests from the list that each account is meant to send.
        cover: share of each account's traffic that is ordinary.
    """

    name: str
    kind: str
    evasion: str
    size: int
    work: int
    cover: float

    @property
    def truth_kind(self) -> str:
        """What the truth file calls it: the kind of list, and how it hides if it does."""
        return self.kind if self.evasion == "none" else f"{self.kind}/{self.evasion}"


def plan_campaigns(world: World, rng: Random) -> list[Plan]:
    """The configured number of campaigns with their kinds, ways of hiding, sizes and volumes."""
    config = world.config
    count = config.campaign_count
    if count == 0:
        return []
    kinds = _draw_kinds(rng, _kinds_possible(world), count)
    evasions = _cycle(rng, list(config.evasions or _default_evasions(config.mix)), count)
    sizes = _sizes(rng, evasions, config.guilty_count)
    plans = []
    for number in range(count):
        kind, evasion = kinds[number], evasions[number]
        if evasion == "language" and _parallel_sources(world):
            kind = "multilingual"
        elif evasion in ("rotate", "port") and world.library.group("A"):
            kind = "benchmark"
        work = draw_volume(rng, 36, 0.35, least=18, most=100)
        work = {"slow": max(_WORK_MIN, 2 * config.days), "fast": 26 * config.days}.get(evasion, work)
        plans.append(
            Plan(
                name=f"campaign-{number + 1:02d}-{kind}-{evasion}",
                kind=kind,
                evasion=evasion,
                size=sizes[number],
                work=max(_MEMBERS_MIN, round(work * config.rate)),
                cover=max(config.cover, _COVERS.get(evasion, 0.0)),
            )
        )
    return plans


def campaign(world: World, rng: Random, plan: Plan) -> list[Actor]:
    """The accounts of one campaign, each with its slice of the list and its cover."""
    covered_work = max(_WORK_MIN, round(plan.work * (1 - plan.cover) ** 0.5)) if plan.cover else plan.work
    shares = [max(3, round(covered_work * rng.uniform(0.8, 1.2))) for _ in range(plan.size)]
    slices = _slices(world, rng, plan, shares)
    rhythm = _rhythm(rng, plan)
    actors = []
    for number, items in enumerate(slices):
        span = active_part(rng, world.span, 1, 3) if plan.evasion == "churn" else world.span
        disguise = _disguise(rng, plan.evasion, number, translated=plan.kind == "multilingual")
        times = rhythm(rng, span, len(items))
        asks = [
            disguise(rng, Ask(time_us, item.text, item.response)) for time_us, item in zip(times, items, strict=True)
        ]
        cover = round(len(items) * plan.cover / (1 - plan.cover))
        if cover:
            asks += person(world, rng, count=cover, span=span)
        actors.append(Actor(plan.name, plan.truth_kind, asks))
    return actors


def _default_evasions(mix: str) -> tuple[str, ...]:
    if mix == "easy":
        return ("none",)
    return (
        "contiguous", "persona", "language", "cover50", "cover80", "cover95", "small", "slow", "paraphrase",
        "padding", "partial", "churn", "none", "large", "rotate", "port", "fast",
    )  # fmt: skip


def _cycle(rng: Random, options: list[str], count: int) -> list[str]:
    order = list(options)
    rng.shuffle(order)
    return [order[number % len(order)] for number in range(count)]


def _sizes(rng: Random, evasions: list[str], total: int) -> list[int]:
    """Accounts of each campaign: lognormal, `small` 3 to 5, `large` three times the mean, in all about `total`."""
    mean = total / len(evasions)
    weights = [rng.lognormvariate(0, 0.5) * (3 if evasion == "large" else 1) for evasion in evasions]
    small = [evasion == "small" for evasion in evasions]
    left = max(0, total - sum(4 for flag in small if flag))
    scale = left / max(1e-9, sum(weight for weight, flag in zip(weights, small, strict=True) if not flag))
    least = _MEMBERS_MIN if mean < 8 else 5
    return [
        rng.randint(3, 5) if flag else max(least, round(weight * scale))
        for weight, flag in zip(weights, small, strict=True)
    ]


def _draw_kinds(rng: Random, lists: dict[str, int], count: int) -> list[str]:
    """Kinds in turn, each only as often as there are lists for it: two campaigns on one list would be one to see."""
    order = [kind for kind in KINDS if lists[kind]]
    rng.shuffle(order)
    drawn: Counter[str] = Counter()
    kinds: list[str] = []
    for turn in range(count * len(order)):
        kind = order[turn % len(order)]
        # When no kind has a list left, lists are dealt from twice.
        if drawn[kind] < lists[kind] or all(drawn[other] >= lists[other] for other in order):
            drawn[kind] += 1
            kinds.append(kind)
        if len(kinds) == count:
            break
    return kinds


def _kinds_possible(world: World) -> dict[str, int]:
    """How many lists there are to deal out for each kind of campaign."""
    library = world.library
    parallel = _parallel_sources(world)
    benchmarks = library.group("A")
    return {
        "benchmark": (len(benchmarks) + 1) // 2,
        "unknown_benchmark": (sum(len(source.subjects) >= 4 for source in benchmarks) + 1) // 2,
        "instruction_sweep": len(library.group("B")),
        "reasoning_elicitation": (len(library.group("A", "B")) + 1) // 3,
        "probing": (sum(source.length_median < 800 for source in library.group("D")) + 1) // 2,
        "multilingual": len(parallel),
        "rephrased_benchmark": sum(source not in parallel for source in library.group("F")),
    }


def _parallel_sources(world: World) -> list[Source]:
    return [
        source
        for source in world.library.group("F")
        if len(source.languages) >= 2 and any(item.parallel for item in source.items)
    ]


def _slices(world: World, rng: Random, plan: Plan, shares: list[int]) -> list[list[Item]]:
    """Disjoint slices of one work list, one an account."""
    needed = sum(shares)
    extra = 2.5 if plan.evasion == "partial" else 1.0
    items = _work_list(world, rng, plan.kind, round(needed * extra), plan.evasion)
    if plan.kind in ("benchmark", "unknown_benchmark") and len(items) < needed:
        # A list too short for so many accounts is joined by the next one.
        items += _blend(world, rng, "A", needed - len(items), lambda _: True)
    if plan.evasion == "language":
        return _slices_by_language(rng, items, shares)
    if plan.evasion == "contiguous":
        items = _by_subject(rng, items)
    elif plan.evasion != "partial":
        rng.shuffle(items)
    else:
        items = rng.sample(items, min(len(items), needed))
    shrink = min(1.0, len(items) / needed)
    slices, start = [], 0
    for share in shares:
        size = max(1, int(share * shrink))
        slices.append(items[start : start + size])
        start += size
    return [part for part in slices if part]


def _work_list(world: World, rng: Random, kind: str, needed: int, evasion: str) -> list[Item]:
    library = world.library
    if kind == "unknown_benchmark":
        return _task_mix(world, rng, needed)
    if kind == "instruction_sweep":
        return _blend(world, rng, "B", needed, lambda _: True)
    if kind == "probing":
        return _blend(world, rng, "D", needed, lambda source: source.length_median < 800)
    if kind == "reasoning_elicitation":
        frames = rng.sample(phrases.ELICITATION_FRAMES, rng.randint(4, 8))
        found = _blend(world, rng, "AB", needed, lambda source: source.length_median < 300)
        return [replace(item, text=rng.choice(frames).replace("{}", item.text), response="") for item in found]
    parallel = _parallel_sources(world)
    if kind == "multilingual":
        return _blend(world, rng, "F", needed, lambda source: source in parallel)
    if kind == "rephrased_benchmark":
        return _blend(world, rng, "F", needed, lambda source: source not in parallel)
    source = library.pick(rng, "A", needed, lambda found: _suits(found, evasion)) or library.pick(rng, "A", needed)
    assert source is not None, "a kind is planned only when its group is there"
    frame = rng.choice(phrases.BENCHMARK_FRAMES)
    found = library.deal(rng, source, min(needed, len(source.items)))
    return [replace(item, text=frame.replace("{}", item.text)) for item in found]


def _suits(source: Source, evasion: str) -> bool:
    """Whether the evasion can do anything to the texts of a source: options to rotate, code to port."""
    tests = {"rotate": has_options, "port": lambda text: bool(_CODE.search(text))}
    if evasion not in tests:
        return True
    sample = source.items[:: max(1, len(source.items) // 40)]
    return sum(map(tests[evasion], (item.text for item in sample))) * 2 > len(sample)


def _blend(world: World, rng: Random, letters: str, needed: int, wanted: Callable[[Source], bool]) -> list[Item]:
    """Items of one source, or of as many as it takes."""
    found: dict[str, Item] = {}
    for _ in range(6):
        source = world.library.pick(rng, letters, needed - len(found), wanted) or world.library.pick(rng, letters, 1)
        assert source is not None, "a kind is planned only when its group is there"
        take = min(needed - len(found), max(world.library.left(source), min(len(source.items), needed)))
        for item in world.library.deal(rng, source, min(take, len(source.items))):
            found.setdefault(item.text, item)
        if len(found) >= needed:
            break
    return list(found.values())


def _task_mix(world: World, rng: Random, needed: int) -> list[Item]:
    """Some tasks of a many-task collection: a benchmark that nobody has registered."""
    source = world.library.pick(rng, "A", needed, lambda found: len(found.subjects) >= 4)
    assert source is not None, "a kind is planned only when its group is there"
    pool = world.library.deal(rng, source, world.library.left(source) or len(source.items))
    names = list(dict.fromkeys(item.subject for item in pool if item.subject))
    rng.shuffle(names)
    items: list[Item] = []
    for name in names:
        items += [item for item in pool if item.subject == name][: max(20, needed // 6)]
        if len(items) >= needed:
            break
    return items[:needed]


def _slices_by_language(rng: Random, items: list[Item], shares: list[int]) -> list[list[Item]]:
    """A language an account; of a text in many languages each account has another one."""
    by_language: dict[str, list[Item]] = {}
    for item in items:
        by_language.setdefault(item.language, []).append(item)
    names = list(by_language)
    rng.shuffle(names)
    slices = []
    for number, share in enumerate(shares):
        pool = by_language[names[number % len(names)]]
        slices.append([pool.pop() for _ in range(min(share, len(pool)))])
    return [part for part in slices if part]


def _by_subject(rng: Random, items: list[Item]) -> list[Item]:
    """The list sorted by subject; where none is named, by a chain of texts that share the most words."""
    if len({item.subject for item in items}) > 1:
        return sorted(items, key=lambda item: item.subject)
    words = [frozenset(re.findall(r"[^\W\d_]{5,}", item.text.lower())) for item in items]
    left = list(range(1, len(items)))
    order = [0]
    while left:
        # The likest of a sample will do: the likest of all is quadratic in the list.
        sample = rng.sample(range(len(left)), min(len(left), _CHAIN_SAMPLE))
        last = words[order[-1]]
        best = max(sample, key=lambda place: _jaccard(words[left[place]], last))
        left[best], left[-1] = left[-1], left[best]
        order.append(left.pop())
    return [items[row] for row in order]


def _jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    return len(left & right) / (len(left | right) or 1)


def _rhythm(rng: Random, plan: Plan) -> Callable[[Random, Span, int], list[int]]:
    """How the accounts of one campaign spread their requests; those that hide keep human hours."""
    choice = rng.random()
    if plan.evasion in ("none", "contiguous", "fast", "churn") and choice < 0.4:
        return machine_times
    if plan.evasion in ("none", "fast", "partial") and choice < 0.6:
        runs = rng.randint(2, 8)
        return lambda draw, span, count: batch_times(draw, span, count, gap_s=25, runs=runs)
    zone_h = draw_zone(rng)
    return lambda draw, span, count: human_times(
        draw, span, count, zone_h=zone_h if draw.random() < 0.5 else draw_zone(draw), office=choice > 0.8
    )


def _disguise(rng: Random, evasion: str, number: int, *, translated: bool) -> Callable[[Random, Ask], Ask]:
    """What one account does to every prompt."""
    if evasion == "persona":
        # A persona an account, so that everything it asks resembles itself more than the list.
        persona = f"{rng.choice(phrases.PERSONAS)} {' '.join(rng.sample(phrases.PERSONA_DETAILS, rng.randint(1, 3)))}"
        if rng.random() < 0.3:
            return lambda _, ask: replace(ask, system=persona)
        return lambda _, ask: replace(ask, prompt=f"{persona}\n\n{ask.prompt}")
    if evasion == "language" and not translated:
        # Without translations to deal out, at least the answers are in another language for each account.
        request = phrases.LANGUAGE_REQUESTS[number % len(phrases.LANGUAGE_REQUESTS)]
        return lambda _, ask: replace(ask, prompt=f"{ask.prompt}\n{request}")
    if evasion == "paraphrase":
        return lambda draw, ask: replace(ask, prompt=paraphrase(draw, ask.prompt))
    if evasion == "padding":
        return _pad
    if evasion == "rotate":
        return lambda draw, ask: replace(ask, prompt=rotate_options(draw, ask.prompt))
    if evasion == "port":
        language = phrases.PORT_LANGUAGES[number % len(phrases.PORT_LANGUAGES)]
        return lambda _, ask: replace(ask, prompt=f"{ask.prompt}\nGive the solution as a {language} program.")
    return lambda _, ask: ask


def _pad(rng: Random, ask: Ask) -> Ask:
    before = " ".join(rng.sample(phrases.PADDING, rng.randint(0, 2)))
    after = " ".join(rng.sample(phrases.PADDING, rng.randint(0, 2)))
    system = rng.choice(phrases.PERSONAS) if rng.random() < 0.5 else ""
    return replace(ask, prompt=f"{before}\n{ask.prompt}\n{after}".strip(), system=system)
