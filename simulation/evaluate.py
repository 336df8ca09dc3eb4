"""Scores findings against the truth of simulated traffic."""

import gzip
import json
import math
import zlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coterie.domain import InvalidError
from coterie.simulation.crowds import BENIGN

_Z_95 = 1.959964


@dataclass(frozen=True, slots=True)
class CampaignScore:
    """How much of one campaign was found: `found` of its `accounts` are in some finding of kind campaign."""

    name: str
    kind: str
    accounts: int
    found: int

    @property
    def recall(self) -> float:
        """Share of its accounts that were found."""
        return self.found / self.accounts


@dataclass(frozen=True, slots=True)
class HidingScore:
    """Campaigns that hide in one way: how many, and `found` of their `accounts`."""

    way: str
    campaigns: int
    accounts: int
    found: int

    @property
    def recall(self) -> float:
        """Share of their accounts that were found."""
        return self.found / self.accounts


@dataclass(frozen=True, slots=True)
class ClassScore:
    """How many of one innocent class were accused.

    Attributes:
        crowds: accounts and accused of each crowd; who belongs to none is a crowd of one.
    """

    kind: str
    crowds: tuple[tuple[int, int], ...]

    @property
    def accounts(self) -> int:
        """How many there are."""
        return sum(size for size, _ in self.crowds)

    @property
    def accused(self) -> int:
        """How many of them are in some finding."""
        return sum(accused for _, accused in self.crowds)

    @property
    def crowds_accused(self) -> int:
        """Crowds of which at least one is accused."""
        return sum(accused > 0 for _, accused in self.crowds)

    @property
    def false_positive_rate(self) -> float:
        """Share of its accounts that were accused."""
        return self.accused / self.accounts

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the false-positive rate, by crowd.

        Accounts of one crowd are accused together, so they count as fewer: Wilson's interval on the effective number
        of accounts, n over the design effect of cluster sampling (Korn & Graubard 1998). Where nobody or everybody is
        accused the design effect cannot be measured, and each crowd counts as one.
        """
        rate, accounts, crowds = self.false_positive_rate, self.accounts, len(self.crowds)
        effective = float(crowds)
        if 0 < rate < 1 and crowds > 1:
            residuals = sum((accused - rate * size) ** 2 for size, accused in self.crowds)
            variance = residuals * crowds / ((crowds - 1) * accounts**2)
            effective = min(float(accounts), rate * (1 - rate) / variance) if variance else float(accounts)
        return _wilson(rate, effective)


@dataclass(frozen=True, slots=True)
class Scores:
    """Findings of kind `campaign` against the truth.

    Attributes:
        accounts, guilty, accused, accused_guilty: counts of accounts that sent something; `accused` are in some
            finding, `accused_guilty` of them belong to a campaign.
        findings: findings of kind campaign.
        pairs_true, pairs_found, pairs_both: unordered pairs of accounts that share a campaign, a finding, both.
        campaigns: by name.
        classes: the innocent, by class.
        hiding: the campaigns by way of hiding; one that hides in several ways counts in each.
    """

    exchanges: int
    accounts: int
    guilty: int
    accused: int
    accused_guilty: int
    findings: int
    pairs_true: int
    pairs_found: int
    pairs_both: int
    campaigns: tuple[CampaignScore, ...]
    classes: tuple[ClassScore, ...]
    hiding: tuple[HidingScore, ...]

    @property
    def precision(self) -> float:
        """Share of the accused that are guilty; 1.0 when nobody is accused, for then nobody is accused wrongly."""
        return self.accused_guilty / self.accused if self.accused else 1.0

    @property
    def recall(self) -> float:
        """Share of the guilty that are accused; 1.0 when nobody is guilty, for then nobody is missed."""
        return self.accused_guilty / self.guilty if self.guilty else 1.0

    @property
    def pairwise_f1(self) -> float:
        """F1 over pairs of accounts that were put together; 1.0 when there is no pair on either side."""
        pairs = self.pairs_true + self.pairs_found
        return 2 * self.pairs_both / pairs if pairs else 1.0

    def rows(self) -> list[tuple[str, str, str]]:
        """What a table shows: measure, value, detail; first the totals, then campaigns, then ways of hiding, then
        innocent classes."""
        rows = [
            ("account precision", f"{self.precision:.3f}", f"{self.accused_guilty} of {self.accused} accused"),
            ("account recall", f"{self.recall:.3f}", f"{self.accused_guilty} of {self.guilty} guilty"),
            ("pairwise F1", f"{self.pairwise_f1:.3f}", f"{self.pairs_both} of {self.pairs_true} pairs"),
            ("findings", str(self.findings), f"{self.accounts} accounts, {self.exchanges} exchanges"),
        ]
        for score in self.campaigns:
            detail = f"{score.found} of {score.accounts} accounts"
            rows.append((f"recall: {score.name}", f"{score.recall:.3f}", detail))
        for hidden in self.hiding:
            detail = f"{hidden.found} of {hidden.accounts} accounts, {hidden.campaigns} campaigns"
            rows.append((f"recall: hiding by {hidden.way}", f"{hidden.recall:.3f}", detail))
        for innocent in self.classes:
            low, high = innocent.interval
            detail = f"{innocent.accused} of {innocent.accounts} accounts, {innocent.crowds_accused} of "
            detail += f"{len(innocent.crowds)} crowds; 95 % {low:.3f} to {high:.3f}"
            rows.append((f"false positives: {innocent.kind}", f"{innocent.false_positive_rate:.3f}", detail))
        return rows

    def to_json(self) -> dict[str, Any]:
        """The scores as JSON values."""
        return {
            "account_precision": self.precision,
            "account_recall": self.recall,
            "pairwise_f1": self.pairwise_f1,
            "exchanges": self.exchanges,
            "accounts": self.accounts,
            "guilty": self.guilty,
            "accused": self.accused,
            "accused_guilty": self.accused_guilty,
            "findings": self.findings,
            "pairs_true": self.pairs_true,
            "pairs_found": self.pairs_found,
            "pairs_both": self.pairs_both,
            "campaigns": [
                {
                    "name": score.name,
                    "kind": score.kind,
                    "accounts": score.accounts,
                    "found": score.found,
                    "recall": score.recall,
                }
                for score in self.campaigns
            ],
            "classes": [
                {
                    "kind": score.kind,
                    "accounts": score.accounts,
                    "accused": score.accused,
                    "false_positive_rate": score.false_positive_rate,
                    "crowds": len(score.crowds),
                    "crowds_accused": score.crowds_accused,
                    "interval": list(score.interval),
                }
                for score in self.classes
            ],
            "hiding": [
                {
                    "way": score.way,
                    "campaigns": score.campaigns,
                    "accounts": score.accounts,
                    "found": score.found,
                    "recall": score.recall,
                }
                for score in self.hiding
            ],
        }


def evaluate(findings: Sequence[Mapping[str, Any]], events_path: Path, truth_path: Path) -> Scores:
    """Score findings, in the form of `coterie findings --json`, against simulated traffic.

    Only findings of kind `campaign` count, and only accounts that sent something in the events file. With nobody
    accused, precision is 1.0; with nobody guilty, recall is 1.0. An accused account that the truth does not know is
    an error: it would make any score meaningless.

    Args:
        findings: the `findings` list.
        events_path: the `events.jsonl` that `simulate` wrote.
        truth_path: the `truth.json` beside it.

    Raises:
        InvalidError: a file is missing or not of its form, or findings, events and truth name different accounts.
    """
    truth = _read_truth(truth_path)
    exchanges = _count_exchanges(events_path)
    unknown = len(exchanges.keys() - truth.keys())
    if unknown:
        raise InvalidError(
            f"{unknown} accounts of {events_path} are not in {truth_path}: name the two files of one simulation",
            field="truth",
            reason="bad_truth",
        )
    groups = [_accounts(finding) for finding in findings if finding.get("kind") == "campaign"]
    accused = set().union(*groups) if groups else set()
    if accused - exchanges.keys():
        raise InvalidError(
            f"{len(accused - exchanges.keys())} accused accounts are not in {events_path}: the data folder holds other "
            "traffic than this; ingest only these events into a fresh one",
            field="findings",
            reason="bad_findings",
        )
    present = {account: truth[account] for account in exchanges}
    return _score(present, groups, accused, exchanges.total())


def _score(truth: dict[str, dict[str, str]], groups: list[set[str]], accused: set[str], exchanges: int) -> Scores:
    campaigns: dict[str, set[str]] = defaultdict(set)
    classes: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    kinds: dict[str, str] = {}
    for account, entry in truth.items():
        if entry["label"] == BENIGN:
            crowd = classes[entry["kind"]][entry.get("crowd") or f"account {account}"]
            crowd[0] += 1
            crowd[1] += account in accused
        else:
            campaigns[entry["label"]].add(account)
            kinds[entry["label"]] = entry["kind"]
    guilty = set().union(*campaigns.values()) if campaigns else set()
    scored = tuple(
        CampaignScore(name, kinds[name], len(members), len(members & accused))
        for name, members in sorted(campaigns.items())
    )
    true_pairs = _pairs(list(campaigns.values()))
    found_pairs = _pairs(groups)
    return Scores(
        exchanges=exchanges,
        accounts=len(truth),
        guilty=len(guilty),
        accused=len(accused),
        accused_guilty=len(accused & guilty),
        findings=len(groups),
        pairs_true=len(true_pairs),
        pairs_found=len(found_pairs),
        pairs_both=len(true_pairs & found_pairs),
        campaigns=scored,
        classes=tuple(
            ClassScore(kind, tuple((size, hit) for size, hit in crowds.values()))
            for kind, crowds in sorted(classes.items())
        ),
        hiding=_by_way(scored),
    )


def _by_way(campaigns: Sequence[CampaignScore]) -> tuple[HidingScore, ...]:
    by_way: dict[str, list[CampaignScore]] = defaultdict(list)
    for score in campaigns:
        # A campaign's kind is what it deals out and, after a slash, how it hides: `benchmark/contiguous+cover50`.
        for way in (score.kind.partition("/")[2] or "none").split("+"):
            by_way[way].append(score)
    return tuple(
        HidingScore(way, len(found), sum(score.accounts for score in found), sum(score.found for score in found))
        for way, found in sorted(by_way.items())
    )


def _wilson(rate: float, count: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of `count`."""
    z2 = _Z_95**2
    middle = (rate + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z_95 / (1 + z2 / count) * math.sqrt(rate * (1 - rate) / count + z2 / (4 * count**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def _pairs(groups: Sequence[set[str]]) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for group in groups:
        members = sorted(group)
        found.update((left, right) for row, left in enumerate(members) for right in members[row + 1 :])
    return found


def _accounts(finding: Mapping[str, Any]) -> set[str]:
    try:
        return {str(account["account_id"]) for account in finding["accounts"]}
    except (KeyError, TypeError) as error:
        raise InvalidError(
            "a finding has no accounts with an account_id: pass the output of `coterie findings --json`",
            field="findings",
            reason="bad_findings",
        ) from error


def _count_exchanges(path: Path) -> Counter[str]:
    """Exchanges by account."""
    counts: Counter[str] = Counter()
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    counts[_account(path, number, line)] += 1
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable("events", path, error) from error
    if not counts:
        raise InvalidError(
            f"{path} holds no exchange: name the events.jsonl of a simulation", field="events", reason="bad_events"
        )
    return counts


def _account(path: Path, number: int, line: bytes) -> str:
    try:
        account = json.loads(line)["account_id"]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise _no_events(path, number) from error
    if not isinstance(account, str):
        raise _no_events(path, number)
    return account


def _no_events(path: Path, number: int) -> InvalidError:
    return InvalidError(
        f"{path} line {number} is no exchange with an account_id: name the events.jsonl of a simulation",
        field="events",
        reason="bad_events",
    )


def _read_truth(path: Path) -> dict[str, dict[str, str]]:
    try:
        truth = json.loads(path.read_bytes())
    except OSError as error:
        raise _unreadable("truth", path, error) from error
    except (ValueError, RecursionError) as error:
        raise _no_truth(path, "it is not JSON") from error
    if not isinstance(truth, dict):
        raise _no_truth(path, "it is not a JSON object")
    for entry in truth.values():
        if not (isinstance(entry, dict) and isinstance(entry.get("label"), str) and isinstance(entry.get("kind"), str)):
            raise _no_truth(path, "an account lacks its label or its kind")
    return truth


def _unreadable(name: str, path: Path, error: Exception) -> InvalidError:
    reason = (isinstance(error, OSError) and error.strerror) or type(error).__name__
    return InvalidError(f"{path} cannot be read ({reason}): check the path", field=name, reason="unreadable_file")


def _no_truth(path: Path, why: str) -> InvalidError:
    return InvalidError(
        f'{path} is no truth file, {why}: it must map each account to {{"label", "kind"}}',
        field="truth",
        reason="bad_truth",
    )
