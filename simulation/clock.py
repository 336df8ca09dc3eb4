"""When people, machines and crowds send their requests. Times are microseconds since 1970-01-01 UTC."""

from dataclasses import dataclass
from random import Random

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
_SECOND_US = 1_000_000

# How active a person is in each local hour; shape after the usual double peak of working and evening hours.
_HOUR_WEIGHTS = (3, 2, 1, 1, 1, 1, 2, 4, 7, 10, 11, 10, 8, 9, 10, 10, 9, 8, 8, 9, 10, 9, 7, 5)
_OFFICE_WEIGHTS = (0, 0, 0, 0, 0, 0, 0, 2, 8, 12, 12, 11, 6, 10, 12, 12, 10, 6, 2, 1, 1, 0, 0, 0)
# Where people live, hours east of UTC with a weight.
_ZONES = {-8: 10, -7: 4, -6: 8, -5: 15, -3: 6, 0: 10, 1: 18, 2: 8, 3: 6, 5: 5, 8: 10, 9: 7, 10: 2}


@dataclass(frozen=True, slots=True)
class Span:
    """The simulated window."""

    start_us: int
    days: int

    @property
    def end_us(self) -> int:
        """The first microsecond after the window."""
        return self.start_us + self.days * DAY_US

    def hold(self, time_us: int) -> int:
        """The time, wrapped into the window, so that nothing is lost at its edges."""
        return self.start_us + (time_us - self.start_us) % (self.days * DAY_US)


def draw_zone(rng: Random) -> int:
    """Hours east of UTC where a person lives."""
    return rng.choices(list(_ZONES), list(_ZONES.values()))[0]


def human_times(rng: Random, span: Span, count: int, *, zone_h: int, office: bool = False) -> list[int]:
    """`count` sorted times in sessions: a few requests minutes apart, at the hours people are awake."""
    weights = _OFFICE_WEIGHTS if office else _HOUR_WEIGHTS
    day_weights = [rng.lognormvariate(0, 0.6) for _ in range(span.days)]
    times: list[int] = []
    while len(times) < count:
        day = rng.choices(range(span.days), day_weights)[0]
        hour = rng.choices(range(24), weights)[0] - zone_h
        time_us = span.start_us + day * DAY_US + int((hour + rng.random()) * HOUR_US)
        for _ in range(min(count - len(times), 1 + int(rng.expovariate(0.4)))):
            times.append(span.hold(time_us))
            time_us += int(rng.lognormvariate(4.6, 0.9) * _SECOND_US)
    return sorted(times)


def machine_times(rng: Random, span: Span, count: int) -> list[int]:
    """`count` sorted times spread evenly over the window with jitter: a job that works through a list."""
    step = span.days * DAY_US / max(count, 1)
    offset = rng.random() * step
    return sorted(span.hold(span.start_us + int(offset + n * step + rng.gauss(0, 0.3) * step)) for n in range(count))


def batch_times(rng: Random, span: Span, count: int, *, gap_s: float = 6.0, runs: int = 2) -> list[int]:
    """`count` sorted times in a few runs of requests seconds apart: a script that somebody starts."""
    times: list[int] = []
    starts = sorted(span.start_us + int(rng.random() * span.days * DAY_US) for _ in range(max(1, runs)))
    for number, start_us in enumerate(starts):
        time_us = start_us
        for _ in range(count // len(starts) + (number < count % len(starts))):
            times.append(span.hold(time_us))
            time_us += int(rng.expovariate(1 / gap_s) * _SECOND_US) + 200_000
    return sorted(times)


def burst_times(rng: Random, span: Span, count: int, *, at_us: int, width_h: float) -> list[int]:
    """`count` sorted times that pile up before and around `at_us`, as before a deadline or after an event."""
    return sorted(span.hold(at_us + int(rng.gauss(0, width_h) * HOUR_US)) for _ in range(count))


def cron_times(rng: Random, span: Span, count: int) -> list[int]:
    """`count` sorted times at a fixed period to within seconds."""
    step = span.days * DAY_US // max(count, 1)
    offset = rng.randrange(max(step, 1))
    return [span.hold(span.start_us + offset + n * step + rng.randrange(3 * _SECOND_US)) for n in range(count)]


def active_part(rng: Random, span: Span, days_min: int, days_max: int) -> Span:
    """Some successive whole days of the window: the life of an account that comes and goes."""
    days = min(span.days, rng.randint(days_min, days_max))
    return Span(span.start_us + rng.randrange(span.days - days + 1) * DAY_US, days)
