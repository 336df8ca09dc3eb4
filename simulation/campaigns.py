"""The guilty: one work list dealt out over many accounts, by kind of list and by how they hide."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from random import Random

from coterie.domain import InvalidError
from coterie.simulation import phrases
from coterie.simulation.clock import Span, active_part, batch_times, draw_zone, human_times, machine_times
from coterie.simulation.config import KINDS, Config
from coterie.simulation.library import Item, Source
from coterie.simulation.people import Actor, Ask, World, draw_volume, person
from coterie.simulation.rewording import change_numbers, has_options, paraphrase, rotate_options

_COVERS = {"cover50": 0.5, "cover80": 0.8, "cover95": 0.95}
HARD_EVASIONS = (
    "contiguous", "persona", "language", "cover50", "cover80", "cover95", "small", "slow", "paraphrase",
    "padding", "partial", "churn", "none", "large", "rotate", "port", "fast",
)  # fmt: skip
"""How the campaigns of the hard mix hide; the other evasions only by name."""
# A sweep over every list takes from all others, so it is dealt only by name.
_MIXED_KINDS = tuple(kind for kind in KINDS if kind != "diverse_sweep")
_MEMBERS_MIN = 3
_WORK_MIN = 8
_REPEATED_SHARE = 0.04
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
    def ways(self) -> frozenset[str]:
        """The single ways of hiding that `evasion` joins."""
        return frozenset(self.evasion.split("+"))

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
    kinds = _draw_kinds(rng, config.kinds or _MIXED_KINDS, _kinds_possible(world), count)
    evasions = _cycle(rng, list(config.evasions or (("none",) if config.mix == "easy" else HARD_EVASIONS)), count)
    sizes = _sizes(rng, evasions, config.guilty_count)
    if config.members is not None:
        sizes = [config.members] * count
    plans = []
    for number in range(count):
        kind, evasion = kinds[number], evasions[number]
        ways = frozenset(evasion.split("+"))
        if config.kinds is None and "language" in ways and _parallel_sources(world):
            kind = "multilingual"
        elif config.kinds is None and ways & {"rotate", "port"} and world.library.group("A"):
            kind = "benchmark"
        elif config.kinds is None and "specialise" in ways:
            kind = "diverse_sweep"
        cover = max(config.cover, *(_COVERS.get(way, 0.0) for way in ways))
        plans.append(
            Plan(
                name=f"campaign-{number + 1:02d}-{kind}-{evasion}",
                kind=kind,
                evasion=evasion,
                size=sizes[number],
                work=_work(rng, config, ways, cover),
                cover=cover,
            )
        )
    return plans


def _work(rng: Random, config: Config, ways: frozenset[str], cover: float) -> int:
    """Requests from the list that each account is meant to send in the window."""
    drawn: float = draw_volume(rng, 36, 0.35, least=18, most=100)
    if config.requests_per_day is not None:
        return max(_MEMBERS_MIN, round(config.requests_per_day * config.days * config.rate))
    if "slow" in ways:
        drawn = max(_WORK_MIN, 2 * config.days)
    elif "fast" in ways:
        drawn = 26 * config.days
    work = max(_MEMBERS_MIN, round(drawn * config.rate))
    # Those who hide behind cover send less of the list, so that the account does not grow with its cover.
    return max(_WORK_MIN, round(work * (1 - cover) ** 0.5)) if cover else work


def campaign(world: World, rng: Random, plan: Plan) -> list[Actor]:
    """The accounts of one campaign, each with its slice of the list and its cover."""
    shares = [max(3, round(plan.work * rng.uniform(0.8, 1.2))) for _ in range(plan.size)]
    slices = _slices(world, rng, plan, shares)
    rhythm = _rhythm(rng, plan)
    actors = []
    for number, items in enumerate(slices):
        span = active_part(rng, world.span, 1, 3) if "churn" in plan.ways else world.span
        disguises = _disguises(rng, plan.ways, number, translated=plan.kind == "multilingual")
        times = rhythm(rng, span, len(items))
        asks = [Ask(time_us, item.text, item.response) for time_us, item in zip(times, items, strict=True)]
        for disguise in disguises:
            asks = [disguise(rng, ask) for ask in asks]
        cover = round(len(items) * plan.cover / (1 - plan.cover))
        if cover:
            asks += person(world, rng, count=cover, span=span)
        actors.append(Actor(plan.name, plan.truth_kind, asks))
    return actors


def _cycle(rng: Random, options: list[str], count: int) -> list[str]:
    order = list(options)
    rng.shuffle(order)
    return [order[number % len(order)] for number in range(count)]


def _sizes(rng: Random, evasions: list[str], total: int) -> list[int]:
    """Accounts of each campaign: lognormal, `small` 3 to 5, `large` three times the mean, in all about `total`."""
    mean = total / len(evasions)
    weights = [rng.lognormvariate(0, 0.5) * (3 if "large" in evasion.split("+") else 1) for evasion in evasions]
    small = ["small" in evasion.split("+") for evasion in evasions]
    left = max(0, total - sum(4 for flag in small if flag))
    scale = left / max(1e-9, sum(weight for weight, flag in zip(weights, small, strict=True) if not flag))
    least = _MEMBERS_MIN if mean < 8 else 5
    return [
        rng.randint(3, 5) if flag else max(least, round(weight * scale))
        for weight, flag in zip(weights, small, strict=True)
    ]


def _draw_kinds(rng: Random, wanted: Sequence[str], lists: dict[str, int], count: int) -> list[str]:
    """Kinds in turn, each only as often as there are lists for it: two campaigns on one list would be one to see."""
    order = [kind for kind in wanted if lists[kind]]
    if not order:
        raise InvalidError(
            f"the corpus holds no list for campaigns of kind {', '.join(wanted)}: name other kinds, or another corpus",
            field="kinds",
            reason="bad_corpus",
        )
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
        "diverse_sweep": (len(library.group("A", "B", "D")) + 1) // 3,
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
    extra = 2.5 if "partial" in plan.ways else 1.0
    items = _work_list(world, rng, plan.kind, round(needed * extra), plan.ways)
    if plan.kind in ("benchmark", "unknown_benchmark") and len(items) < needed:
        # A list too short for so many accounts is joined by the next one.
        items += _blend(world, rng, "A", needed - len(items), lambda _: True)
    if "language" in plan.ways:
        slices = _slices_by(rng, items, shares, lambda item: item.language)
    elif "specialise" in plan.ways and len({item.subject for item in items}) > 1:
        slices = _slices_by(rng, items, shares, lambda item: item.subject)
    else:
        slices = _slices_in_order(_deal_order(rng, items, plan.ways, needed), shares)
    return _repeat_some(rng, slices) if "repeats" in plan.ways else slices


def _deal_order(rng: Random, items: list[Item], ways: frozenset[str], needed: int) -> list[Item]:
    if ways & {"contiguous", "specialise"}:
        return _by_subject(rng, items)
    if "partial" in ways:
        return rng.sample(items, min(len(items), needed))
    rng.shuffle(items)
    return items


def _slices_in_order(items: list[Item], shares: list[int]) -> list[list[Item]]:
    """One piece of the list after the other; all shrink where the list is too short."""
    shrink = min(1.0, len(items) / sum(shares))
    slices, start = [], 0
    for share in shares:
        size = max(1, int(share * shrink))
        slices.append(items[start : start + size])
        start += size
    return [part for part in slices if part]


def _repeat_some(rng: Random, slices: list[list[Item]]) -> list[list[Item]]:
    """A few percent of each slice replaced by what other accounts ask, as a crowd with a common source overlaps."""
    everything = [item for part in slices for item in part]
    return [[rng.choice(everything) if rng.random() < _REPEATED_SHARE else item for item in part] for part in slices]


def _work_list(world: World, rng: Random, kind: str, needed: int, ways: frozenset[str]) -> list[Item]:
    library = world.library
    if kind == "diverse_sweep":
        return _anything(world, rng, needed)
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
    source = library.pick(rng, "A", needed, lambda found: _suits(found, ways)) or library.pick(rng, "A", needed)
    assert source is not None, "a kind is planned only when its group is there"
    frame = rng.choice(phrases.BENCHMARK_FRAMES)
    found = library.deal(rng, source, min(needed, len(source.items)))
    return [replace(item, text=frame.replace("{}", item.text)) for item in found]


def _suits(source: Source, ways: frozenset[str]) -> bool:
    """Whether the evasion can do anything to the texts of a source: options to rotate, code to port."""
    tests: dict[str, Callable[[str], bool]] = {"rotate": has_options, "port": lambda text: bool(_CODE.search(text))}
    sample = source.items[:: max(1, len(source.items) // 40)]
    return all(
        sum(map(holds, (item.text for item in sample))) * 2 > len(sample) for way, holds in tests.items() if way in ways
    )


def _blend(world: World, rng: Random, letters: str, needed: int, wanted: Callable[[Source], bool]) -> list[Item]:
    """Items of one source, or of as many as it takes."""
    found: dict[str, Item] = {}
    for _ in range(max(6, len(world.library.group(*letters)))):
        source = world.library.pick(rng, letters, needed - len(found), wanted) or world.library.pick(rng, letters, 1)
        assert source is not None, "a kind is planned only when its group is there"
        take = min(needed - len(found), max(world.library.left(source), min(len(source.items), needed)))
        for item in world.library.deal(rng, source, min(take, len(source.items))):
            found.setdefault(item.text, item)
        if len(found) >= needed:
            break
    return list(found.values())


def _anything(world: World, rng: Random, needed: int) -> list[Item]:
    """Some of every list: each source is a capability, and nothing is dense."""
    sources = [source for source in world.library.group("A", "B", "D") if source.length_median < 1_000]
    rng.shuffle(sources)
    # Not so many that each is but a few texts, and not so few that one of them is dense.
    sources = sources[: max(6, min(len(sources), needed // 20))]
    per_source = -(-needed // len(sources))
    items = [
        replace(item, subject=source.name)
        for source in sources
        for item in world.library.deal(rng, source, min(per_source, len(source.items)))
    ]
    rng.shuffle(items)
    return items[:needed]


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


def _slices_by(rng: Random, items: list[Item], shares: list[int], key: Callable[[Item], Hashable]) -> list[list[Item]]:
    """A language (or capability) an account; of a text in many languages each account has another one."""
    pools: dict[Hashable, list[Item]] = defaultdict(list)
    for item in items:
        pools[key(item)].append(item)
    names = list(pools)
    rng.shuffle(names)
    slices = []
    for number, share in enumerate(shares):
        pool = pools[names[number % len(names)]]
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
    if "jitter" in plan.ways:
        return machine_times
    if plan.ways <= {"none", "contiguous", "fast", "churn"} and choice < 0.4:
        return machine_times
    if plan.ways <= {"none", "fast", "partial"} and choice < 0.6:
        runs = rng.randint(2, 8)
        return lambda draw, span, count: batch_times(draw, span, count, gap_s=25, runs=runs)
    zone_h = draw_zone(rng)
    return lambda draw, span, count: human_times(
        draw, span, count, zone_h=zone_h if draw.random() < 0.5 else draw_zone(draw), office=choice > 0.8
    )


def _disguises(
    rng: Random, ways: frozenset[str], number: int, *, translated: bool
) -> list[Callable[[Random, Ask], Ask]]:
    """What one account does to every prompt, one after the other."""
    made: list[Callable[[Random, Ask], Ask]] = []
    if "paraphrase" in ways:
        made.append(lambda draw, ask: replace(ask, prompt=paraphrase(draw, ask.prompt)))
    if "numbers" in ways:
        made.append(lambda draw, ask: replace(ask, prompt=change_numbers(draw, ask.prompt)))
    if "rotate" in ways:
        made.append(lambda draw, ask: replace(ask, prompt=rotate_options(draw, ask.prompt)))
    if "port" in ways:
        language = phrases.PORT_LANGUAGES[number % len(phrases.PORT_LANGUAGES)]
        made.append(lambda _, ask: replace(ask, prompt=f"{ask.prompt}\nGive the solution as a {language} program."))
    if "language" in ways and not translated:
        # Without translations to deal out, at least the answers are in another language for each account.
        request = phrases.LANGUAGE_REQUESTS[number % len(phrases.LANGUAGE_REQUESTS)]
        made.append(lambda _, ask: replace(ask, prompt=f"{ask.prompt}\n{request}"))
    if "padding" in ways:
        made.append(_pad)
    if "prefix" in ways:
        prefix = phrases.draw_prefix(rng)
        made.append(lambda _, ask: replace(ask, prompt=prefix + ask.prompt))
    if "persona" in ways:
        made.append(_persona(rng))
    return made


def _persona(rng: Random) -> Callable[[Random, Ask], Ask]:
    """A persona an account, so that everything it asks resembles itself more than the list."""
    persona = f"{rng.choice(phrases.PERSONAS)} {' '.join(rng.sample(phrases.PERSONA_DETAILS, rng.randint(1, 3)))}"
    if rng.random() < 0.3:
        return lambda _, ask: replace(ask, system=persona)
    return lambda _, ask: replace(ask, prompt=f"{persona}\n\n{ask.prompt}")


def _pad(rng: Random, ask: Ask) -> Ask:
    before = " ".join(rng.sample(phrases.PADDING, rng.randint(0, 2)))
    after = " ".join(rng.sample(phrases.PADDING, rng.randint(0, 2)))
    system = rng.choice(phrases.PERSONAS) if rng.random() < 0.5 else ""
    return replace(ask, prompt=f"{before}\n{ask.prompt}\n{after}".strip(), system=system)
