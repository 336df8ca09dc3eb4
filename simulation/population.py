"""Who the innocent are: how much of them each class takes, in the mixes and when classes are asked for by name."""

from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random

from coterie.simulation import communities, crowds
from coterie.simulation.crowds import Crowd, people
from coterie.simulation.people import Actor, World

_CROWD_SIZE = 10


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of the innocents a class takes and how large its crowds are."""

    crowd: Crowd
    share: float
    size_min: int
    size_max: int


_COMMON = (
    Plan(crowds.public, 0.07, 8, 40),
    Plan(crowds.app_template, 0.08, 8, 30),
    Plan(crowds.support_app, 0.06, 6, 20),
    Plan(crowds.homework, 0.06, 10, 30),
    Plan(crowds.viral, 0.025, 5, 20),
    Plan(crowds.routine, 0.02, 2, 10),
    Plan(crowds.researcher, 0.006, 1, 2),
    Plan(crowds.translation_job, 0.008, 1, 4),
    Plan(crowds.moderation_job, 0.008, 1, 4),
)
_UNCOMMON = (
    Plan(crowds.agent_framework, 0.03, 6, 20),
    Plan(crowds.enterprise, 0.04, 8, 30),
    Plan(crowds.lab, 0.01, 3, 5),
    Plan(crowds.exam_bank, 0.04, 10, 30),
    Plan(crowds.exam_prep, 0.03, 8, 25),
    Plan(crowds.reseller, 0.012, 3, 6),
    Plan(crowds.shared_passage, 0.025, 6, 20),
    Plan(crowds.launch, 0.025, 6, 25),
    Plan(crowds.rare_language, 0.03, 6, 20),
    Plan(crowds.breaking_news, 0.03, 8, 30),
)
CLASSES: dict[str, Crowd] = {plan.crowd.__name__: plan.crowd for plan in _COMMON + _UNCOMMON} | {
    crowd.__name__: crowd
    for crowd in (
        communities.enterprise_unmarked,
        communities.classroom,
        communities.labellers,
        communities.hackathon,
        communities.marketplace,
        communities.code_assistant,
        communities.forum_community,
        communities.seo_tool,
        communities.translation_agency,
        communities.ci_tests,
    )
}
PLANS = {"easy": _COMMON, "hard": _COMMON + _UNCOMMON, "null": _COMMON + _UNCOMMON}


def innocents(world: World, rng: Random, count: int) -> list[Actor]:
    """`count` innocent accounts of the configured mix; what the crowds leave are people."""
    config = world.config
    if config.crowds is not None:
        actors = [
            actor
            for number, name in enumerate(config.crowds)
            for actor in _class_of(world, rng, name, _nth_part(count, number, len(config.crowds)))
        ]
        return actors + people(world, rng, round(count * config.people / (1 - config.people)))
    actors = []
    for plan in PLANS[config.mix]:
        left = max(1, round(plan.share * count))
        while left > 0:
            size = min(left, rng.randint(plan.size_min, plan.size_max))
            if left - size < plan.size_min:
                # A remainder too small to be a crowd of its own joins this one.
                size = left
            actors += _one_crowd(world, rng, plan.crowd, size)
            left -= size
    return actors[:count] + people(world, rng, max(0, count - len(actors)))


def _class_of(world: World, rng: Random, name: str, count: int) -> list[Actor]:
    """`count` accounts of one class in crowds of about ten."""
    parts = max(1, round(count / _CROWD_SIZE))
    ends = [round(count * (number + 1 + rng.uniform(-0.3, 0.3)) / parts) for number in range(parts - 1)] + [count]
    sizes = [end - start for start, end in pairwise([0, *ends])]
    return [actor for size in sizes if size for actor in _one_crowd(world, rng, CLASSES[name], size)]


def _one_crowd(world: World, rng: Random, crowd: Crowd, size: int) -> list[Actor]:
    name = world.next_crowd_name(crowd.__name__)
    return [replace(actor, crowd=name) for actor in crowd(world, rng, size)]


def _nth_part(total: int, number: int, parts: int) -> int:
    """The whole-numbered `number`-th of `parts` equal parts that add up to `total`."""
    return total * (number + 1) // parts - total * number // parts
