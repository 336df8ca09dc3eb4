"""What traffic to compose, checked before anything is read."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from coterie.domain import InvalidError

Mix = Literal["easy", "hard", "null"]
Split = Literal["all", "tune", "test", "tune-sources", "test-sources"]

EVASIONS = (
    "none",
    "contiguous",
    "persona",
    "language",
    "cover50",
    "cover80",
    "cover95",
    "small",
    "large",
    "slow",
    "fast",
    "paraphrase",
    "padding",
    "partial",
    "rotate",
    "port",
    "churn",
    "prefix",
    "numbers",
    "specialise",
    "repeats",
    "jitter",
    "diurnal",
)
"""How a campaign hides; `none` is a campaign that does nothing about it. `a+b` hides in both ways."""

KINDS = (
    "benchmark",
    "instruction_sweep",
    "unknown_benchmark",
    "reasoning_elicitation",
    "probing",
    "multilingual",
    "rephrased_benchmark",
    "diverse_sweep",
)
"""What is dealt out by a campaign."""

CROWDS = (
    "public",
    "app_template",
    "support_app",
    "homework",
    "viral",
    "routine",
    "researcher",
    "translation_job",
    "moderation_job",
    "agent_framework",
    "enterprise",
    "lab",
    "exam_bank",
    "exam_prep",
    "reseller",
    "shared_passage",
    "launch",
    "rare_language",
    "breaking_news",
    "enterprise_unmarked",
    "classroom",
    "labellers",
    "hackathon",
    "marketplace",
    "code_assistant",
    "forum_community",
    "seo_tool",
    "translation_agency",
    "ci_tests",
)
"""Innocent classes besides ordinary people."""

_ACCOUNTS_MIN, _ACCOUNTS_MAX = 20, 100_000
_CAMPAIGNS_MAX = 1_000
_GUILTY_SHARE = {"easy": 0.27, "hard": 0.28}
_MEMBERS_MIN = 3


@dataclass(frozen=True, slots=True)
class Config:
    """What to simulate.

    Attributes:
        corpus: folder of `GROUP_name.jsonl[.gz]`; None composes from the built-in text.
        accounts: how many accounts there are at `background` 1.
        mix: `easy` holds the commoner crowds and campaigns that do not hide, `hard` every crowd and every
            evasion, `null` every crowd and no campaign.
        campaigns: how many campaigns; None scales with `accounts` (8 at 400 for easy, 14 for hard).
        cover: share, 0 to below 1, of a campaign account's traffic that is ordinary.
        background: multiplies the innocent population.
        rate: multiplies every campaign's requests an account.
        days: length of the window in days.
        responses: share of exchanges that carry a response.
        evasions: ways to hide that campaigns take in turn, `a+b` for both at once; None lets the mix decide.
        kinds: kinds of work list that campaigns take in turn; None takes all that the text allows.
        members: accounts of each campaign; None draws sizes.
        requests_per_day: mean requests from its list that each account of a campaign sends in a day, cover not
            counted; None draws volumes. `rate` multiplies it.
        crowds: innocent classes; `accounts` are then shared equally among them, in crowds of about ten. None lets
            the mix decide.
        volume: multiplies the innocent accounts' median numbers of requests.
        spread: multiplies the standard deviation of their logarithm: at 2 most accounts are small and a few huge.
        people: with `crowds`, ordinary people that come on top, as a share of all the innocent.
        split: `tune` and `test` use halves of the text that never meet; `tune-sources` and `test-sources` also take
            them from different sources wherever there are two of a kind.
        prompt_chars_max: longer prompts are cut here.
        response_chars_max: longer responses are cut here.
    """

    corpus: Path | None = None
    accounts: int = 400
    mix: Mix = "easy"
    campaigns: int | None = None
    cover: float = 0.0
    background: float = 1.0
    seed: int = 0
    rate: float = 1.0
    days: int = 7
    responses: float = 0.35
    evasions: tuple[str, ...] | None = None
    kinds: tuple[str, ...] | None = None
    members: int | None = None
    requests_per_day: float | None = None
    crowds: tuple[str, ...] | None = None
    people: float = 0.5
    volume: float = 1.0
    spread: float = 1.0
    split: Split = "all"
    prompt_chars_max: int = 1_600
    response_chars_max: int = 400

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            InvalidError: naming the value and its range.
        """
        _check(self.mix in ("easy", "hard", "null"), "mix", "must be easy, hard or null")
        splits = get_args(Split)
        _check(self.split in splits, "split", f"must be among {', '.join(splits)}")
        _check_range("accounts", self.accounts, _ACCOUNTS_MIN, _ACCOUNTS_MAX)
        _check_range("cover", self.cover, 0.0, 0.98)
        _check_range("background", self.background, 0.1, 100.0)
        _check_range("rate", self.rate, 0.05, 20.0)
        _check_range("days", self.days, 1, 90)
        _check_range("responses", self.responses, 0.0, 1.0)
        _check_range("prompt_chars_max", self.prompt_chars_max, 50, 100_000)
        _check_range("response_chars_max", self.response_chars_max, 1, 100_000)
        if self.campaigns is not None:
            _check_range("campaigns", self.campaigns, 0, _CAMPAIGNS_MAX)
            _check(self.mix != "null" or self.campaigns == 0, "campaigns", "must be 0 in the null mix")
        _check_range("volume", self.volume, 0.05, 50.0)
        _check_range("spread", self.spread, 0.0, 3.0)
        _check_range("people", self.people, 0.0, 0.98)
        hidden = self.evasions and tuple(part for evasion in self.evasions for part in evasion.split("+"))
        _check_names("evasions", hidden, EVASIONS)
        _check_names("kinds", self.kinds, KINDS)
        _check_names("crowds", self.crowds, CROWDS)
        if self.members is not None:
            _check_range("members", self.members, _MEMBERS_MIN, _ACCOUNTS_MAX)
        if self.requests_per_day is not None:
            _check_range("requests_per_day", self.requests_per_day, 0.1, 10_000)
        name = "campaigns" if self.members is None else "members"
        _check(
            self.campaign_count * (self.members or _MEMBERS_MIN) <= self.accounts * 0.6,
            name,
            f"need at least {_MEMBERS_MIN} accounts each, and at most 0.6 of all: ask for fewer, or for more accounts",
        )

    @property
    def campaign_count(self) -> int:
        """How many campaigns there will be."""
        if self.mix == "null":
            return 0
        if self.campaigns is not None:
            return self.campaigns
        # Fewer and larger as traffic grows: work lists are finite, and so are those who deal them out.
        at_400 = 8 if self.mix == "easy" else 14
        count = max(1, round(at_400 * math.pow(self.accounts / 400, 1.0 if self.accounts < 400 else 0.6)))
        return count if self.members is None else max(1, min(count, int(self.accounts * 0.3) // self.members))

    @property
    def guilty_count(self) -> int:
        """How many accounts belong to a campaign."""
        if self.campaign_count == 0:
            return 0
        if self.members is not None:
            return self.campaign_count * self.members
        small = min(self.accounts, 400)
        share = _GUILTY_SHARE[self.mix] * small * math.pow(self.accounts / small, 0.7)
        count = max(round(share), self.campaign_count * _MEMBERS_MIN)
        return min(count, self.campaign_count * max(40, self.accounts // 10))


def _check(holds: bool, name: str, message: str) -> None:
    if not holds:
        raise InvalidError(f"{name} {message}", field=name, reason="bad_option")


def _check_names(field: str, given: tuple[str, ...] | None, known: tuple[str, ...]) -> None:
    _check(given != (), field, "must name at least one, or be left out")
    _check(set(given or ()) <= set(known), field, f"must be among {', '.join(known)}")


def _check_range(name: str, value: float, minimum: float, maximum: float) -> None:
    _check(math.isfinite(value) and minimum <= value <= maximum, name, f"must lie between {minimum} and {maximum}")
