"""STIX 2.1: a finding as a campaign with its accounts, sightings, indicator and reasons, in one bundle.

Ids are name-based, so that a finding that is passed on again updates what was there instead of doubling it: `created`
is that of the first run that reported it, `modified` that of the run exported.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from coterie.domain import Dossier, Evidence, FindingAccount, FindingKind, Review, ReviewAction, ReviewState
from coterie.exports.content import PRODUCT, TECHNIQUES, Marking, need, refuse, summary, texts, uid
from coterie.exports.report import claim, entry, p_value

ACCOUNTS_IN_PATTERN_MAX = 200
"""Accounts of one indicator; a larger finding has several."""

EXTENSION_ID = f"extension-definition--{uid('stix', 'extension')}"
_MARKINGS = {Marking.CLEAR: "TLP_WHITE", Marking.GREEN: "TLP_GREEN", Marking.AMBER: "TLP_AMBER", Marking.RED: "TLP_RED"}
_OPINIONS = {
    ReviewState.CONFIRMED: "strongly-agree",
    ReviewState.ESCALATED: "agree",
    ReviewState.DISMISSED: "strongly-disagree",
}
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def write_stix(dossiers: Sequence[Dossier], marking: Marking) -> bytes:
    """The bundle of some findings. Raises InvalidError where the library is not installed."""
    stix2 = _library()
    level = getattr(stix2, _MARKINGS[marking])
    source = stix2.Identity(
        id=f"identity--{uid('stix', 'identity')}",
        created=_BEGAN,
        modified=_BEGAN,
        name=PRODUCT,
        identity_class="system",
        description="Finds accounts that act as one. A person decides.",
        object_marking_refs=[level.id],
    )
    objects: dict[str, Any] = {level.id: level, source.id: source}
    for item in (_extension(stix2, source, level), *_techniques(stix2, source, level)):
        objects[item.id] = item
    for dossier in dossiers:
        for item in _Writer(stix2, dossier, source, level).objects():
            objects.setdefault(item.id, item)
    names = [f"{dossier.finding.finding_id}@{dossier.finding.run_id}" for dossier in dossiers]
    bundle = stix2.Bundle(id=f"bundle--{uid('stix', 'bundle', *names)}", objects=list(objects.values()))
    text: str = bundle.serialize(indent=2, sort_keys=True)
    return text.encode()


def read_stix(content: bytes) -> list[dict[str, Any]]:
    """The findings of a bundle, each as it was passed on.

    Raises:
        InvalidError: it is no valid STIX 2.1, or holds no finding of coterie's.
    """
    stix2 = _library()
    try:
        bundle = stix2.parse(content.decode(), version="2.1")
    except (stix2.exceptions.STIXError, ValueError) as error:
        raise refuse("STIX bundle", type(error).__name__) from error
    held = {item.id for item in bundle.objects}
    found = []
    for item in bundle.objects:
        missing = [name for name in _references(item) if name not in held]
        if missing:
            raise refuse("STIX bundle", f"{item.id} refers to {missing[0]}, which is not in it")
        extension = getattr(item, "extensions", {}).get(EXTENSION_ID)
        if extension is not None:
            found.append(json.loads(json.dumps(dict(extension)["finding"])))
    if not found:
        raise refuse("STIX bundle", "it holds no finding")
    return found


class _Writer:
    """The objects of one finding."""

    def __init__(self, stix2: Any, dossier: Dossier, source: Any, level: Any) -> None:
        self._stix2 = stix2
        self._dossier = dossier
        self._finding = dossier.finding
        first_us = dossier.lineage[0].created_us if dossier.lineage else dossier.run.created_us
        self._common = {
            "created": _time(min(first_us, dossier.run.created_us)),
            "modified": _time(dossier.run.created_us),
            "created_by_ref": source.id,
            "object_marking_refs": [level.id],
        }
        self._source = source
        self._level = level

    def objects(self) -> list[Any]:
        """All of them, what is referred to first."""
        finding = self._finding
        accounts = [self._account(account) for account in finding.accounts]
        observed = [self._observed(account, user) for account, user in zip(finding.accounts, accounts, strict=True)]
        made = [*accounts, *observed]
        campaign = self._campaign() if finding.kind is FindingKind.CAMPAIGN else None
        if campaign is not None:
            made += [campaign, self._sighting(campaign, observed), *self._relations(campaign)]
        about = [campaign.id] if campaign is not None else [item.id for item in observed]
        made += [self._note(item, about, against=False) for item in finding.evidence]
        made += [self._note(item, about, against=True) for item in finding.counter_evidence]
        made += [self._review(number, review, about) for number, review in enumerate(self._dossier.reviews)]
        made += [self._text(name, line, about) for name, line in texts(self._dossier)]
        return [*made, self._grouping(made)]

    def _id(self, kind: str, *names: str) -> str:
        return f"{kind}--{uid('stix', kind, self._finding.finding_id, *names)}"

    def _account(self, account: FindingAccount) -> Any:
        # Its id follows from the user id alone, as the standard has it: one account is one object in every bundle.
        return self._stix2.UserAccount(user_id=account.account_id, object_marking_refs=[self._level.id])

    def _observed(self, account: FindingAccount, user: Any) -> Any:
        return self._stix2.ObservedData(
            id=self._id("observed-data", account.account_id),
            first_observed=_time(account.first_seen_us),
            last_observed=_time(account.last_seen_us),
            number_observed=max(1, min(account.exchanges, 999_999_999)),
            object_refs=[user.id],
            **self._common,
        )

    def _campaign(self) -> Any:
        return self._stix2.Campaign(
            id=self._id("campaign"),
            name=self._finding.title,
            description=claim(self._finding),
            first_seen=_time(self._finding.first_seen_us),
            last_seen=_time(self._finding.last_seen_us),
            confidence=round(100 * self._finding.confidence),
            labels=[f"severity-{self._finding.severity.value}", f"review-{self._finding.review.value}"],
            external_references=[_reference(item) for item in TECHNIQUES],
            **self._common,
        )

    def _sighting(self, campaign: Any, observed: Sequence[Any]) -> Any:
        return self._stix2.Sighting(
            id=self._id("sighting"),
            sighting_of_ref=campaign.id,
            observed_data_refs=[item.id for item in observed],
            where_sighted_refs=[self._source.id],
            first_seen=_time(self._finding.first_seen_us),
            last_seen=_time(self._finding.last_seen_us),
            count=min(sum(account.exchanges for account in self._finding.accounts), 999_999_999),
            **self._common,
        )

    def _relations(self, campaign: Any) -> list[Any]:
        indicators = [
            self._indicator(first) for first in range(0, len(self._finding.accounts), ACCOUNTS_IN_PATTERN_MAX)
        ]
        pairs = [(campaign.id, "uses", _technique_id(item.uid), item.why) for item in TECHNIQUES]
        pairs += [(item.id, "indicates", campaign.id, "Its accounts are those of the campaign.") for item in indicators]
        return indicators + [
            self._stix2.Relationship(
                id=self._id("relationship", source, kind, target),
                source_ref=source,
                relationship_type=kind,
                target_ref=target,
                description=why,
                **self._common,
            )
            for source, kind, target, why in pairs
        ]

    def _indicator(self, first: int) -> Any:
        names = [account.account_id for account in self._finding.accounts[first : first + ACCOUNTS_IN_PATTERN_MAX]]
        return self._stix2.Indicator(
            id=self._id("indicator", str(first)),
            name=f"Accounts of {self._finding.finding_id}",
            description="Accounts as this service names them; elsewhere they mean nothing.",
            indicator_types=["anomalous-activity"],
            pattern=f"[user-account:user_id IN ({', '.join(_quoted(name) for name in names)})]",
            pattern_type="stix",
            valid_from=_time(self._finding.first_seen_us),
            confidence=round(100 * self._finding.confidence),
            **self._common,
        )

    def _note(self, item: Evidence, about: Sequence[str], *, against: bool) -> Any:
        side = "against" if against else "for"
        return self._stix2.Note(
            id=self._id("note", side, item.name, item.statistic),
            abstract=f"Speaks {side} it: {item.name.replace('_', ' ')}",
            content=(
                f"{item.summary}\nMeasured: {item.statistic} = {item.value:.6g}. Held against: {item.null}. "
                f"{p_value(item.p_value)}."
            ),
            object_refs=list(about),
            labels=["counter-evidence" if against else "evidence"],
            **self._common,
        )

    def _review(self, number: int, review: Review, about: Sequence[str]) -> Any:
        """A decision as an opinion, any other entry of the history as a note."""
        common = {
            **self._common,
            "created": _time(review.time_us),
            "modified": _time(review.time_us),
            "authors": [review.reviewer] if review.reviewer else None,
            "object_refs": list(about),
        }
        if review.action is not ReviewAction.DECIDE:
            content = f"{entry(review)}. {review.reason}"
            name = self._id("note", "review", str(number))
            return self._stix2.Note(id=name, content=content, labels=["review"], **common)
        return self._stix2.Opinion(
            id=self._id("opinion", str(number)),
            opinion=_OPINIONS.get(review.decision, "neutral"),
            explanation=f"{review.decision.value}: {review.reason}",
            **common,
        )

    def _text(self, name: str, line: str, about: Sequence[str]) -> Any:
        return self._stix2.Note(
            id=self._id("note", "exchange", name),
            abstract=f"Exemplar {name}",
            content=line,
            object_refs=list(about),
            labels=["exemplar"],
            **self._common,
        )

    def _grouping(self, made: Sequence[Any]) -> Any:
        is_campaign = self._finding.kind is FindingKind.CAMPAIGN
        return self._stix2.Grouping(
            id=self._id("grouping"),
            name=self._finding.title,
            description=claim(self._finding),
            context="suspicious-activity" if is_campaign else "unspecified",
            object_refs=[item.id for item in made],
            extensions={EXTENSION_ID: {"extension_type": "property-extension", "finding": summary(self._finding)}},
            **self._common,
        )


def _library() -> Any:
    try:
        import stix2
    except ImportError as error:
        raise need("stix2", error) from error
    return stix2


def _extension(stix2: Any, source: Any, level: Any) -> Any:
    return stix2.ExtensionDefinition(
        id=EXTENSION_ID,
        created=_BEGAN,
        modified=_BEGAN,
        created_by_ref=source.id,
        name="coterie finding",
        description="The finding as JSON, as `coterie findings --json` prints it.",
        schema="https://json-schema.org/draft/2020-12/schema",
        version="1.0.0",
        extension_types=["property-extension"],
        object_marking_refs=[level.id],
    )


def _techniques(stix2: Any, source: Any, level: Any) -> list[Any]:
    return [
        stix2.AttackPattern(
            id=_technique_id(item.uid),
            created=_BEGAN,
            modified=_BEGAN,
            created_by_ref=source.id,
            name=item.name,
            external_references=[_reference(item)],
            object_marking_refs=[level.id],
        )
        for item in TECHNIQUES
    ]


def _technique_id(name: str) -> str:
    return f"attack-pattern--{uid('stix', 'attack-pattern', name)}"


def _reference(item: Any) -> dict[str, str]:
    return {"source_name": "mitre-atlas", "external_id": item.uid, "url": item.url}


def _references(item: Any) -> list[str]:
    """Every object that an object refers to."""
    named: list[str] = []
    for name in item:
        value = item[name]
        if name.endswith("_ref"):
            named.append(str(value))
        elif name.endswith("_refs"):
            named += [str(reference) for reference in value]
    return named


def _time(time_us: int) -> datetime:
    return datetime.fromtimestamp(time_us // 1_000_000, UTC).replace(microsecond=time_us % 1_000_000 // 1_000 * 1_000)


def _quoted(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
