"""When a rule explains a finding, and when it must not."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from coterie.domain import (
    Finding,
    FindingAccount,
    FindingKind,
    Ground,
    Rule,
    RuleKind,
    Severity,
    explained,
    follows,
    template_of,
)

FINDING = Finding(
    finding_id="f",  # type: ignore[arg-type]
    kind=FindingKind.CAMPAIGN,
    severity=Severity.HIGH,
    confidence=0.9,
    title="10 accounts",
    accounts=tuple(FindingAccount(f"a{number}", 10, 5, 1.0, 1, 2) for number in range(10)),  # type: ignore[arg-type]
    families=(),
    benchmarks=(),
    first_seen_us=1,
    last_seen_us=2,
    evidence=(),
    counter_evidence=(),
    exemplars=(),
    text_ids=tuple(range(200)),  # type: ignore[arg-type]
)
ACCOUNTS = tuple(account.account_id for account in FINDING.accounts)


def rule(kind: RuleKind, *values: str, **fields: object) -> Rule:
    made = Rule("rule-1", kind, values, "why", "ann", 1, accounts=ACCOUNTS)
    return replace(made, **fields)  # type: ignore[arg-type]


def test_accounts_explain_what_leaves_fewer_customers_than_a_campaign_has() -> None:
    why = explained(rule(RuleKind.ACCOUNTS, *ACCOUNTS[:8]), FINDING, Ground(customers_min=3))
    assert why == (
        "8 of its 10 accounts, with 80 of 100 exchanges, are of it; the 2 customers left are fewer than the 3 that "
        "make a campaign."
    )
    assert not explained(rule(RuleKind.ACCOUNTS, *ACCOUNTS[:7]), FINDING, Ground(customers_min=4))  # under four fifths
    assert not explained(rule(RuleKind.ACCOUNTS, *ACCOUNTS[:8]), FINDING, Ground(customers_min=2))
    assert not explained(rule(RuleKind.ACCOUNTS, "z"), FINDING, Ground())


def test_a_campaign_that_holds_a_few_seats_of_an_allowed_organisation_is_not_explained() -> None:
    homes = dict.fromkeys(ACCOUNTS[:3], "acme")
    assert not explained(rule(RuleKind.ORGANISATION, "acme"), FINDING, Ground(homes=homes))
    homes = dict.fromkeys(ACCOUNTS[:9], "acme")
    assert explained(rule(RuleKind.ORGANISATION, "acme"), FINDING, Ground(homes=homes))
    assert not explained(rule(RuleKind.ORGANISATION, "other"), FINDING, Ground(homes=homes))


def test_a_volume_that_hides_many_others_behind_one_account_is_not_explained() -> None:
    loud = replace(FINDING.accounts[0], exchanges=10_000)
    finding = replace(FINDING, accounts=(loud, *FINDING.accounts[1:]))
    assert not explained(rule(RuleKind.ACCOUNTS, ACCOUNTS[0]), finding, Ground())


def test_families_explain_what_leaves_fewer_prompts_than_a_pool_has() -> None:
    def ground(inside: int) -> Ground:
        return Ground(families=dict.fromkeys(range(inside), "course"), texts_min=20)  # type: ignore[misc]

    of = rule(RuleKind.FAMILY, "course")
    assert "181 of its 200 prompts are in it; the 19 left are fewer" in explained(of, FINDING, ground(181))
    assert not explained(of, FINDING, ground(180))
    assert not explained(rule(RuleKind.FAMILY, "another"), FINDING, ground(200))
    assert not explained(replace(of, accounts=ACCOUNTS[:4]), FINDING, ground(200))
    assert explained(replace(of, accounts=ACCOUNTS[:5]), FINDING, ground(200))
    assert explained(replace(of, accounts=(), anyone=True), FINDING, ground(200))


def test_a_template_is_the_wording_that_prompts_share_and_not_what_they_ask() -> None:
    texts = [f"You are the tutor of course seven. Mark this answer: {word * 3} end" for word in "abcdefghij"]
    template = template_of(texts)
    assert template
    assert all(follows(template, text) for text in texts)
    assert not follows(template, "Mark this answer: with other words about it")
    assert template_of([f"no{number} thing{number} is{number} shared{number}" for number in range(9)]) == ()
    assert not follows((), "anything at all here")
    of = rule(RuleKind.TEMPLATE, template=template)
    assert explained(of, FINDING, Ground(texts=texts * 10, texts_min=5))
    mixed = [*texts, "give me twenty proofs of the theorem please", "and now in another language please"]
    assert explained(of, FINDING, Ground(texts=mixed, texts_min=3))
    assert not explained(of, FINDING, Ground(texts=mixed, texts_min=2))
    assert not explained(of, FINDING, Ground(texts=()))


@given(st.integers(0, 10), st.integers(1, 12), st.integers(0, 10))
def test_what_a_rule_leaves_never_makes_a_campaign(inside: int, customers_min: int, seats: int) -> None:
    homes = dict.fromkeys(ACCOUNTS[-seats:], "acme") if seats else {}
    why = explained(rule(RuleKind.ACCOUNTS, *ACCOUNTS[:inside]), FINDING, Ground((), homes, {}, customers_min))
    customers = {homes.get(account_id, account_id) for account_id in ACCOUNTS[inside:]}
    known = {homes.get(account_id, account_id) for account_id in ACCOUNTS[:inside]}
    assert bool(why) == (inside >= 8 and len(customers - known) < customers_min)


def test_a_rule_holds_until_it_ends_or_is_revoked() -> None:
    made = rule(RuleKind.ACCOUNTS, "a")
    assert made.in_force(10**18)
    ending = replace(made, expires_us=5)
    assert (ending.in_force(4), ending.in_force(5)) == (True, False)
    assert not replace(made, revoked_us=3).in_force(2)
