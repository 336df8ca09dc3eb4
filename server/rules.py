"""Which rules explain which findings: what a rule is made of, and what it is held against."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from coterie.domain import (
    AccountId,
    FamilyLabels,
    Finding,
    FindingId,
    Ground,
    InvalidError,
    Lineage,
    NewRule,
    Rule,
    RuleKind,
    Run,
    RunId,
    TextId,
    explained,
    template_of,
)
from coterie.server.logs import emit
from coterie.store import Store

Matches = Mapping[FindingId, str]
"""Why a rule explains findings, by their ids."""

_LOGGER = logging.getLogger(__name__)


class Rules:
    """Makes rules, and holds findings against them. All that it learns is in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def made_on(
        self, finding_id: FindingId, asked: NewRule, reason: str, creator: str, now_us: int
    ) -> tuple[Rule, RunId, Matches]:
        """The rule that suppresses what a finding is an example of, and what it explains in the finding's run.

        Raises:
            NotFoundError: no such finding.
            InvalidError: the finding has nothing of that kind, or the rule would not explain the finding itself.
        """
        _check_expiry(asked, now_us)
        finding = self._store.finding(finding_id)
        accounts = tuple(account.account_id for account in finding.accounts)
        values, template = self._pattern(finding, asked, accounts)
        if not values and not template:
            raise InvalidError(
                f"{finding_id} has no {asked.kind.value} in common that a rule could be made of", field="suppress.kind"
            )
        rule = Rule(
            "", asked.kind, values, reason, creator, now_us, finding.finding_id, accounts, asked.anyone, template,
            asked.expires_us,
        )  # fmt: skip
        run_id, matches = self.match(rule, finding.run_id)
        parts = {finding.finding_id, *finding.merged} & {item.finding_id for item in self._standing(run_id)}
        if not parts <= matches.keys():
            raise InvalidError(
                f"{asked.kind.value} does not explain {finding_id}: a rule must cover four fifths of its pool, and "
                "leave less than makes a campaign",
                field="suppress.kind",
            )
        return rule, run_id, matches

    def _pattern(
        self, finding: Finding, asked: NewRule, accounts: Sequence[AccountId]
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Values and template of the rule that is asked for."""
        match asked.kind:
            case RuleKind.ACCOUNTS:
                return asked.values or tuple(accounts), ()
            case RuleKind.ORGANISATION:
                return asked.values or tuple(sorted(set(self._store.organisations(accounts).values()))), ()
            case RuleKind.FAMILY:
                return asked.values or tuple(family.family_id for family in finding.families), ()
            case RuleKind.TEMPLATE:
                return (), template_of(self._texts(finding))

    def allowed(self, asked: NewRule, reason: str, creator: str, now_us: int) -> Rule:
        """The rule of an allow-list, which is made on no finding.

        Raises:
            InvalidError: it is not of organisations or accounts, or names none.
        """
        _check_expiry(asked, now_us)
        if asked.kind not in (RuleKind.ORGANISATION, RuleKind.ACCOUNTS) or not asked.values:
            raise InvalidError(
                "an allow-list names organisations or accounts; other rules are made by dismissing a finding",
                field="rule.kind",
            )
        return Rule("", asked.kind, asked.values, reason, creator, now_us, expires_us=asked.expires_us)

    def match(self, rule: Rule, run_id: str = "") -> tuple[RunId, Matches]:
        """Which findings of a stored run a rule explains; without an id, of the newest whole run."""
        run_id, findings = self._store.reported(run_id)
        if not run_id:
            return RunId(""), {}
        labels = self._store.run_family_labels(run_id)
        return RunId(run_id), self.explained([rule], self._store.run(run_id), findings, labels)[rule.rule_id]

    def explained(
        self, rules: Sequence[Rule], run: Run, findings: Sequence[Finding], labels: FamilyLabels | None
    ) -> dict[str, dict[FindingId, str]]:
        """Which findings of a run rules explain, and why, by the rules' ids.

        Args:
            labels: which family each text of the run is in; None for nothing known.
        """
        matches: dict[str, dict[FindingId, str]] = {rule.rule_id: {} for rule in rules}
        families = _families(labels) if any(rule.kind is RuleKind.FAMILY for rule in rules) else {}
        wording = any(rule.kind is RuleKind.TEMPLATE for rule in rules)
        for finding in findings:
            if finding.lineage is Lineage.GONE:
                continue
            ground = Ground(
                self._texts(finding) if wording else (),
                self._store.organisations([account.account_id for account in finding.accounts]),
                {text_id: families[text_id] for text_id in finding.text_ids if text_id in families},
                int(run.parameters.get("principals_min", Ground().customers_min)),
                int(run.parameters.get("texts_min", Ground().texts_min)),
            )
            for rule in rules:
                why = explained(rule, finding, ground)
                if why:
                    matches[rule.rule_id][finding.finding_id] = why
        return matches

    def follow(self, run: Run, findings: Sequence[Finding], labels: FamilyLabels | None) -> None:
        """Record which findings of a run that is about to be recorded the rules explain."""
        rules = [rule for rule in self._store.rules() if not rule.revoked_us]
        if not rules:
            return
        matches = self.explained(rules, run, findings, labels)
        self._store.put_rule_matches(run.run_id, matches)
        count = len({finding_id for its in matches.values() for finding_id in its})
        emit(_LOGGER, logging.INFO, "rules_followed", run=run.run_id, rules=len(rules), findings=count)

    def _texts(self, finding: Finding) -> list[str]:
        return self._store.texts(np.array(finding.text_ids, np.int64)) if finding.text_ids else []

    def _standing(self, run_id: str) -> list[Finding]:
        return [finding for finding in self._store.reported(run_id)[1] if finding.lineage is not Lineage.GONE]


def _families(labels: FamilyLabels | None) -> Mapping[TextId, str]:
    if labels is None:
        return {}
    held = labels.family >= 0
    return {
        TextId(text_id): labels.family_ids[number]
        for text_id, number in zip(labels.text_ids[held].tolist(), labels.family[held].tolist(), strict=True)
    }


def _check_expiry(asked: NewRule, now_us: int) -> None:
    if asked.expires_us and asked.expires_us <= now_us:
        raise InvalidError("expires_us lies in the past: name a later time, or 0 for never", field="expires_us")
