"""Suppression: a dismissed pattern, later findings under it, and allow-lists."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from coterie.client import Client, wire
from coterie.domain import (
    ConflictError,
    Exchange,
    ExchangeId,
    Finding,
    FindingAccount,
    FindingId,
    InvalidError,
    NewRule,
    NotFoundError,
    Review,
    ReviewState,
    RuleKind,
    Run,
    RunId,
    RunState,
    TextField,
)
from coterie.server import Engine


@pytest.fixture
def filled(script: Any, client: Client, exchange: Callable[..., Exchange]) -> Client:  # the script comes first
    """A service whose runs find `f-big` of accounts 1 and 2, of one organisation, and `f-small` of 3 and 4."""
    client.ingest(
        [exchange(number, attributes={"organisation": "acme"} if number % 7 in (1, 2) else {}) for number in range(21)]
    )
    rerun(client)
    return client


def rerun(client: Client) -> None:
    list(client.watch_run(client.start_run().run_id))


def suppressed(client: Client) -> dict[str, str]:
    return {
        item.finding_id: item.suppressed.rule_id for item in client.list_findings()[1] if item.suppressed is not None
    }


@pytest.mark.parametrize("kind", [RuleKind.ACCOUNTS, RuleKind.ORGANISATION])
def test_a_dismissed_pattern_is_suppressed_now_and_later_until_it_is_revoked(filled: Client, kind: RuleKind) -> None:
    done = filled.review_finding("f-big", ReviewState.DISMISSED, "one lab", reviewer="ana", suppress=NewRule(kind))
    assert done.suppressed is not None
    assert (done.suppressed.kind, done.suppressed.reason, done.suppressed.creator) == (kind.value, "one lab", "ana")
    assert "2 of its 2 accounts" in done.suppressed.summary
    assert suppressed(filled) == {"f-big": "rule-1"}
    rerun(filled)
    assert suppressed(filled) == {"f-big": "rule-1"}
    assert [item.finding_id for item in filled.list_findings()[1]] == ["f-big", "f-small"]  # hidden from nobody
    (rule,) = filled.list_rules()
    assert (rule.kind, rule.findings, rule.finding_id, rule.revoked_us) == (kind, 1, "f-big", 0)
    revoked = filled.revoke_rule("rule-1", reviewer="bo")
    assert revoked.revoked_by == "bo"
    assert suppressed(filled) == {}
    assert filled.get_finding("f-big")[0].review is ReviewState.DISMISSED
    rerun(filled)
    assert suppressed(filled) == {}
    assert filled.list_rules() == [revoked]
    with pytest.raises(ConflictError, match="revoked already, by bo"):
        filled.revoke_rule("rule-1")


def test_a_rule_does_not_hide_a_campaign_that_its_accounts_are_a_part_of(filled: Client, script: Any) -> None:
    filled.review_finding("f-big", ReviewState.DISMISSED, "one lab", suppress=NewRule(RuleKind.ACCOUNTS))
    big = script.findings[0]
    others = tuple(FindingAccount(f"stranger-{number}", 1, 1, 1.0, 1, 2) for number in range(3))  # type: ignore[arg-type]
    loud = tuple(replace(account, exchanges=500) for account in big.accounts)
    script.findings[0] = replace(big, accounts=(*loud, *others))
    rerun(filled)
    assert suppressed(filled) == {}
    script.findings[0] = replace(big, accounts=(*loud, *others[:2]))
    rerun(filled)
    assert suppressed(filled) == {"f-big": "rule-1"}


def test_a_rule_ends_by_itself(filled: Client) -> None:
    soon_us = time.time_ns() // 1_000 + 700_000
    filled.review_finding(
        "f-big", ReviewState.DISMISSED, "this week", suppress=NewRule(RuleKind.ACCOUNTS, expires_us=soon_us)
    )
    assert suppressed(filled) == {"f-big": "rule-1"}
    time.sleep(0.8)
    assert suppressed(filled) == {}
    with pytest.raises(InvalidError, match="in the past"):
        filled.review_finding("f-big", ReviewState.DISMISSED, "x", suppress=NewRule(RuleKind.ACCOUNTS, expires_us=1))


def test_a_template_is_learnt_from_the_prompts_and_its_wording_is_not_given_away(script: Any, engine: Engine) -> None:
    template = "You are the marker of course seven, mark this answer:"
    engine.ingest(
        [
            Exchange(f"m{number}", f"account-{number % 2}", 1_767_225_600_000_000, f"{template} {number} apples")  # type: ignore[arg-type]
            for number in range(6)
        ]
    ).result()
    engine.ingest([Exchange("other", "account-3", 1_767_225_600_000_000, "no wording is shared with that")]).result()  # type: ignore[arg-type]
    of = {
        name: tuple(engine.store.exchange_text(ExchangeId(item), TextField.PROMPT) for item in ids)
        for name, ids in (("f-big", [f"m{number}" for number in range(6)]), ("f-small", ["m0", "other"]))
    }
    rule = NewRule(RuleKind.TEMPLATE)
    with pytest.raises(InvalidError, match="no template in common"):
        review(engine, script.findings, "f-small", of, rule)
    done = review(engine, script.findings, "f-big", of, rule)
    assert done.suppressed is not None
    assert "6 of its 6 prompts follow it" in done.suppressed.summary
    (made,) = engine.rules()
    assert made.template
    assert "marker" not in repr(made)
    assert wire.rule_to_wire(made).ByteSize() < 200


def review(engine: Engine, findings: Any, finding_id: str, text_ids: dict[str, Any], rule: NewRule) -> Finding:
    """Dismiss a finding, as the newest run reports it on these texts, and suppress its pattern."""
    done = Run(RunId(f"r-{finding_id}"), RunState.DONE, time.time_ns() // 1_000)
    engine.store.create_run(replace(done, state=RunState.PENDING))
    found = [replace(item, text_ids=text_ids[item.finding_id]) for item in findings]
    engine.store.finish_run(done, found, [])
    asked = Review(FindingId(finding_id), ReviewState.DISMISSED, "a course", "ana", 0)
    return engine.review(asked, suppress=rule)


def test_evaluators_are_allowed_before_they_are_found(filled: Client) -> None:
    rule = filled.create_rule(NewRule(RuleKind.ORGANISATION, ("acme",)), "evaluates with permission", reviewer="ana")
    assert (rule.rule_id, rule.creator, rule.values) == ("rule-1", "ana", ("acme",))
    assert suppressed(filled) == {"f-big": "rule-1"}
    assert filled.get_finding("f-big")[0].review is ReviewState.OPEN
    rerun(filled)
    assert suppressed(filled) == {"f-big": "rule-1"}
    for wrong in (NewRule(RuleKind.ACCOUNTS), NewRule(RuleKind.TEMPLATE, ("x",)), NewRule(RuleKind.FAMILY, ("x",))):
        with pytest.raises(InvalidError, match="allow-list names organisations or accounts"):
            filled.create_rule(wrong, "why")


def test_what_is_suppressed_is_dismissed_by_a_rule_that_explains_it(filled: Client) -> None:
    with pytest.raises(InvalidError, match="only what is dismissed"):
        filled.review_finding("f-big", ReviewState.WATCHED, "x", suppress=NewRule(RuleKind.ACCOUNTS))
    with pytest.raises(InvalidError, match="has no organisation in common"):
        filled.review_finding("f-small", ReviewState.DISMISSED, "x", suppress=NewRule(RuleKind.ORGANISATION))
    with pytest.raises(InvalidError, match="does not explain f-big"):
        filled.review_finding("f-big", ReviewState.DISMISSED, "x", suppress=NewRule(RuleKind.ACCOUNTS, ("account-3",)))
    with pytest.raises(ConflictError):
        filled.review_finding("f-big", ReviewState.DISMISSED, "x", version=7, suppress=NewRule(RuleKind.ACCOUNTS))
    with pytest.raises(NotFoundError):
        filled.revoke_rule("rule-9")
    assert filled.list_rules() == []
    assert filled.get_finding("f-big")[1] == []


def test_a_merged_finding_is_suppressed_only_where_each_part_is(filled: Client) -> None:
    filled.create_rule(NewRule(RuleKind.ORGANISATION, ("acme",)), "evaluates")
    filled.merge_findings("f-big", ["f-small"], "one list")
    assert suppressed(filled) == {}
    filled.create_rule(NewRule(RuleKind.ACCOUNTS, ("account-3", "account-4")), "evaluate")
    assert suppressed(filled) == {"f-big": "rule-1"}
