"""Rules that suppress findings a reviewer has explained, and when a rule explains a finding."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from coterie.domain.exchange import format_time
from coterie.domain.findings import Finding
from coterie.domain.ids import AccountId, FindingId, TextId
from coterie.domain.text import normalise

EXPLAINED_MIN = 0.8
"""Share of a finding's exchanges, or of its prompts, that a rule must explain to suppress it."""

SAME_ACCOUNTS_MIN = 0.5
"""Share of a finding's accounts that must have been in the finding that a rule was made on, unless it is for anyone."""

TEMPLATE_WORDS = 4
"""Words of a run of words that prompts of one template share."""

TEMPLATE_SHARE_MIN = 0.5
"""Share of a pool's prompts that hold a run of words for it to be part of their template; and share of the template's
runs of words that a prompt must hold to follow it."""


class RuleKind(StrEnum):
    """What a rule explains a finding by."""

    TEMPLATE = "template"
    """The wording that most of its prompts share."""
    ORGANISATION = "organisation"
    """Organisations that its accounts name as theirs."""
    ACCOUNTS = "accounts"
    """A set of accounts."""
    FAMILY = "family"
    """Families that its prompts fall into, such as those of a course."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A pattern that is known to be innocent: findings that it explains are shown as suppressed, under its name.

    Attributes:
        values: organisations, accounts or families; of a template none.
        finding_id: the finding that was dismissed; "" for an allow-list, made on none.
        accounts: those of that finding.
        anyone: of templates and families: also where most accounts were not in that finding.
        template: digests of the runs of words that make a template; the words are not kept.
        expires_us: from when on it no longer holds, microseconds since the epoch; 0 is never.
        revoked_us: when it was taken back; 0 while it was not.
        findings: how many of the newest whole run's findings it suppresses; filled in when it is read.
    """

    rule_id: str
    kind: RuleKind
    values: tuple[str, ...]
    reason: str
    creator: str
    created_us: int
    finding_id: FindingId = FindingId("")
    accounts: tuple[AccountId, ...] = ()
    anyone: bool = False
    template: tuple[str, ...] = ()
    expires_us: int = 0
    revoked_us: int = 0
    revoked_by: str = ""
    findings: int = 0

    def in_force(self, now_us: int) -> bool:
        """Whether it holds at a time."""
        return not self.revoked_us and (not self.expires_us or now_us < self.expires_us)


@dataclass(frozen=True, slots=True)
class NewRule:
    """What a reviewer asks to be suppressed from here on; the attributes are those of `Rule`.

    Attributes:
        values: empty takes those of the finding.
    """

    kind: RuleKind
    values: tuple[str, ...] = ()
    anyone: bool = False
    expires_us: int = 0


@dataclass(frozen=True, slots=True)
class Ground:
    """What is known of a finding's pool to hold a rule against.

    Attributes:
        texts: its distinct prompts; empty where no rule is about wording.
        homes: the organisation of each account that names one.
        families: the family of each prompt that is in one.
        customers_min, texts_min: what the run takes for a campaign at least: customers, distinct prompts.
    """

    texts: Sequence[str] = ()
    homes: Mapping[AccountId, str] = field(default_factory=dict)
    families: Mapping[TextId, str] = field(default_factory=dict)
    customers_min: int = 3
    texts_min: int = 20


def explained(rule: Rule, finding: Finding, ground: Ground) -> str:
    """Why a rule explains a finding, in one sentence; empty where it does not.

    It does where it covers at least `EXPLAINED_MIN` of the pool and what it leaves is too little to be a campaign of
    its own: fewer customers, or fewer prompts, than detection ever tests. So no rule hides a campaign that only touches
    it.
    """
    if rule.kind in (RuleKind.ORGANISATION, RuleKind.ACCOUNTS):
        return _by_accounts(rule, finding, ground)
    if not rule.anyone:
        known = sum(account.account_id in rule.accounts for account in finding.accounts)
        if known < SAME_ACCOUNTS_MIN * len(finding.accounts):
            return ""
    if rule.kind is RuleKind.TEMPLATE:
        return _by_texts(
            sum(follows(rule.template, text) for text in ground.texts), len(ground.texts), ground, "follow"
        )
    inside = sum(ground.families.get(text_id, "") in rule.values for text_id in finding.text_ids)
    return _by_texts(inside, len(finding.text_ids), ground, "are in")


def _by_accounts(rule: Rule, finding: Finding, ground: Ground) -> str:
    named = rule.values
    mine = [
        account
        for account in finding.accounts
        if (account.account_id if rule.kind is RuleKind.ACCOUNTS else ground.homes.get(account.account_id)) in named
    ]
    inside = {account.account_id for account in mine}
    exchanges, all_exchanges = (sum(item.exchanges for item in group) for group in (mine, finding.accounts))
    left = {ground.homes.get(item.account_id, item.account_id) for item in finding.accounts} - {
        ground.homes.get(account_id, account_id) for account_id in inside
    }
    if not exchanges or exchanges < EXPLAINED_MIN * all_exchanges or len(left) >= ground.customers_min:
        return ""
    return (
        f"{len(mine)} of its {len(finding.accounts)} accounts, with {exchanges:,} of {all_exchanges:,} exchanges, are "
        f"of it; the {len(left)} customers left are fewer than the {ground.customers_min} that make a campaign."
    )


def _by_texts(inside: int, everything: int, ground: Ground, verb: str) -> str:
    left = everything - inside
    if not inside or inside < EXPLAINED_MIN * everything or left >= ground.texts_min:
        return ""
    return (
        f"{inside:,} of its {everything:,} prompts {verb} it; the {left:,} left are fewer than the {ground.texts_min} "
        "that make a pool."
    )


def template_of(texts: Sequence[str]) -> tuple[str, ...]:
    """The template of some prompts: digests of the runs of words that at least half of them hold, sorted.

    Empty where there are none.
    """
    counts = Counter(digest for text in texts for digest in _runs(text))
    least = max(2, TEMPLATE_SHARE_MIN * len(texts))
    return tuple(sorted(digest for digest, count in counts.items() if count >= least))


def follows(template: Sequence[str], text: str) -> bool:
    """Whether a prompt holds at least half of a template's runs of words."""
    return bool(template) and len(_runs(text) & set(template)) >= TEMPLATE_SHARE_MIN * len(template)


def _runs(text: str) -> Set[str]:
    words = normalise(text).lower().split()
    return {
        hashlib.blake2b(" ".join(words[place : place + TEMPLATE_WORDS]).encode(), digest_size=8).hexdigest()
        for place in range(len(words) - TEMPLATE_WORDS + 1)
    }


def rule_to_json(rule: Rule) -> dict[str, Any]:
    """The JSON form of a rule."""
    return {
        "rule_id": rule.rule_id,
        "kind": rule.kind.value,
        "values": list(rule.values),
        "reason": rule.reason,
        "creator": rule.creator,
        "created": format_time(rule.created_us),
        "finding_id": rule.finding_id,
        "anyone": rule.anyone,
        "expires": format_time(rule.expires_us) if rule.expires_us else None,
        "revoked": format_time(rule.revoked_us) if rule.revoked_us else None,
        "revoked_by": rule.revoked_by,
        "findings": rule.findings,
    }
