"""Decisions on findings: their history, merges and splits, and what becomes of them in later runs."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from coterie.domain import (
    SERVICE_REVIEWER,
    ConflictError,
    Finding,
    FindingKind,
    InvalidError,
    JoinedAccount,
    Lineage,
    NotFoundError,
    Review,
    ReviewAction,
    ReviewState,
    Run,
    RunState,
    Severity,
    Watch,
)
from coterie.store import SqliteStore

MakeRun = Callable[..., Run]
MakeFinding = Callable[..., Finding]


@pytest.fixture
def report(store: SqliteStore, run: MakeRun) -> Callable[..., None]:
    """`report(run_id, findings...)`: a run that is done, each newer than the one before."""
    times = iter(range(1, 1000))

    def make(run_id: str, *findings: Finding) -> None:
        begun = run(run_id, next(times))
        store.create_run(begun)
        store.finish_run(dataclasses.replace(begun, state=RunState.DONE), findings, [], watch=Watch(0, 0, ()))

    return make


def entry(finding_id: str, action: ReviewAction = ReviewAction.DECIDE, **fields: Any) -> Review:
    values: dict[str, Any] = {"decision": ReviewState.OPEN, "reason": "why", "reviewer": "ann", "time_us": 5, **fields}
    return Review(finding_id, action=action, **values)


def decide(store: SqliteStore, finding_id: str, state: ReviewState, **options: Any) -> Finding:
    return store.add_review(entry(finding_id, decision=state), **options)


def accounts(finding: Finding) -> list[str]:
    return [account.account_id for account in finding.accounts]


def test_every_action_is_an_entry_and_only_decisions_change_the_state(
    store: SqliteStore, finding: MakeFinding, report: Callable[..., None]
) -> None:
    report("r1", finding("f", ("a", "b", "c")))
    decide(store, "f", ReviewState.ESCALATED)
    commented = store.add_review(entry("f", ReviewAction.COMMENT, reason="look at the cards"))
    assert (commented.review, commented.version) == (ReviewState.ESCALATED, 2)
    assert store.add_review(entry("f", ReviewAction.ASSIGN, assignee="bob")).assignee == "bob"
    assert store.findings()[1][0].assignee == "bob"
    assert store.add_review(entry("f", ReviewAction.ASSIGN, assignee="")).assignee == ""
    history = store.reviews("f")
    assert [(item.version, item.action, item.decision) for item in history] == [
        (1, ReviewAction.DECIDE, ReviewState.ESCALATED),
        (2, ReviewAction.COMMENT, ReviewState.ESCALATED),
        (3, ReviewAction.ASSIGN, ReviewState.ESCALATED),
        (4, ReviewAction.ASSIGN, ReviewState.ESCALATED),
    ]
    assert {item.run_id for item in history} == {"r1"}
    basis = history[0].basis
    assert (basis.kind, basis.confidence, basis.accounts) == ("campaign", 0.5, 3)
    assert basis.evidence == {"overlap": 0.01}
    assert store.last_event() == 1 + 4  # one of the run, one of each entry


def test_a_decision_on_a_version_that_has_passed_is_a_conflict_and_changes_nothing(
    store: SqliteStore, finding: MakeFinding, report: Callable[..., None]
) -> None:
    report("r1", finding("f"), finding("g"))
    seen = store.finding("f").version
    assert seen == 0
    decide(store, "f", ReviewState.CONFIRMED, version=seen)
    with pytest.raises(ConflictError, match=r"at version 1, not 0 \(last, ann at .*: decide; it is confirmed\)"):
        decide(store, "f", ReviewState.DISMISSED, version=seen)
    assert store.finding("f").review is ReviewState.CONFIRMED
    assert len(store.reviews("f")) == 1
    decide(store, "g", ReviewState.DISMISSED, version=0)  # what is done to one leaves the other's version alone
    assert decide(store, "f", ReviewState.DISMISSED, version=1).version == 3


def test_merged_findings_are_one_wherever_they_are_read(
    store: SqliteStore, finding: MakeFinding, report: Callable[..., None]
) -> None:
    weak = finding("f", ("a", "b"), text_ids=(1, 2), exemplars=("e1",))
    strong = finding("g", ("b", "c"), text_ids=(3,), exemplars=("e2",), severity=Severity.CRITICAL, first_seen_us=0)
    report("r1", weak, strong, finding("h", ("d", "e")))
    decide(store, "g", ReviewState.DISMISSED)
    one = store.add_review(entry("f", ReviewAction.MERGE, findings=("g",)))
    assert (one.finding_id, one.merged, one.review) == ("f", ("g",), ReviewState.OPEN)
    assert {item.account_id: item.exchanges for item in one.accounts} == {"a": 3, "b": 6, "c": 3}
    assert (one.severity, one.text_ids, one.exemplars, one.first_seen_us) == (
        Severity.CRITICAL,
        (1, 2, 3),
        ("e2", "e1"),
        0,
    )
    assert [item.summary for item in one.evidence] == ["they share 7 texts", "Of f: they share 7 texts"]
    assert "3 accounts in 2 findings" in one.title
    assert [item.finding_id for item in store.findings()[1]] == ["f", "h"]
    assert store.finding("g") == store.finding("f") == one
    events = [(item.finding_id, item.merged) for _, item in store.events(0, 10)]
    assert events[:2] == [("f", ("g",))] * 2
    assert [item.finding_id for item in store.reported("r1")[1]] == ["g", "f", "h"]
    assert [(item.finding_id, item.action.value) for item in store.reviews("g")] == [("g", "decide"), ("f", "merge")]


def test_merged_findings_stay_one_in_later_runs_under_whichever_id_they_come(
    store: SqliteStore, finding: MakeFinding, report: Callable[..., None]
) -> None:
    report("r1", finding("f", ("a", "b")), finding("g", ("c", "d")))
    store.add_review(entry("f", ReviewAction.MERGE, findings=("g",)))
    report("r2", finding("f", ("a", "b")), finding("g", ("c", "d", "e")))
    (both,) = store.findings()[1]
    assert (both.finding_id, sorted(accounts(both)), both.run_id) == ("f", ["a", "b", "c", "d", "e"], "r2")
    report("r3", finding("f", ("a", "b"), lineage=Lineage.GONE), finding("g", ("c", "d")))
    (rest,) = store.findings()[1]
    assert (rest.finding_id, accounts(rest), rest.lineage, rest.merged) == ("f", ["c", "d"], Lineage.NEW, ())
    report("r4", finding("g", ("c", "d")))
    assert [item.finding_id for item in store.findings()[1]] == ["f"]
    assert decide(store, "g", ReviewState.CONFIRMED).finding_id == "f"
    assert [item.finding_id for _, item in store.events(0, 100)][-1] == "f"


def test_a_merge_can_be_taken_back(store: SqliteStore, finding: MakeFinding, report: Callable[..., None]) -> None:
    report("r1", finding("f"), finding("g", ("c", "d")), finding("h", ("e", "i")))
    store.add_review(entry("g", ReviewAction.MERGE, findings=("h",)))
    store.add_review(entry("f", ReviewAction.MERGE, findings=("h",)))  # by the id of a merged one: all of them
    assert store.finding("f").merged == ("g", "h")
    with pytest.raises(ConflictError, match="one with f already"):
        store.add_review(entry("h", ReviewAction.MERGE, findings=("g",)))
    store.add_review(entry("f", ReviewAction.UNMERGE, findings=("g",)))
    assert [(item.finding_id, item.merged) for item in store.findings()[1]] == [("f", ()), ("g", ("h",))]
    with pytest.raises(InvalidError, match="h is not merged into f"):
        store.add_review(entry("f", ReviewAction.UNMERGE, findings=("h",)))
    assert [item.action.value for item in store.reviews("g")] == ["merge", "merge", "unmerge"]


def test_only_findings_of_one_kind_that_exist_are_merged(
    store: SqliteStore, finding: MakeFinding, report: Callable[..., None]
) -> None:
    report("r1", finding("f"), finding("g", ("c",), kind=FindingKind.BENCHMARK_RUN))
    for others, error in ((("g",), InvalidError), (("nothing",), NotFoundError), (("f",), ConflictError)):
        with pytest.raises(error):
            store.add_review(entry("f", ReviewAction.MERGE, findings=others))
    assert store.reviews("f") == []
    assert len(store.findings()[1]) == 2


def test_excluded_accounts_are_told_apart_in_every_run_and_can_be_put_back(
    store: SqliteStore, finding: MakeFinding, report: Callable[..., None]
) -> None:
    report("r1", finding("f", ("a", "b", "c")))
    split = store.add_review(entry("f", ReviewAction.SPLIT, accounts=("b",), reason="a shared office"))
    report("r2", finding("f", ("a", "b", "c", "d")))
    for shown, of in ((split, 3), (store.findings()[1][0], 4), (store.finding("f"), 4)):
        assert "b" not in accounts(shown)
        (told,) = shown.excluded
        assert (told.account_id, told.exchanges, told.reviewer, told.reason) == ("b", 3, "ann", "a shared office")
        evidence = shown.counter_evidence[0]
        assert evidence.name == "excluded_by_review"
        assert f"Accounts excluded by review: 1. The run put 1 of its {of} accounts" in evidence.summary
    report("r3", finding("f", ("a", "c")))
    assert store.finding("f").excluded == ()
    report("r4", finding("f", ("a", "b", "c")))
    back = store.add_review(entry("f", ReviewAction.RESTORE, accounts=("b",)))
    assert (accounts(back), back.excluded) == (["a", "b", "c"], ())
    assert [item.action.value for item in store.reviews("f")] == ["split", "restore"]
    with pytest.raises(InvalidError, match="b is not excluded from f"):
        store.add_review(entry("f", ReviewAction.RESTORE, accounts=("b",)))


def test_accounts_outside_of_a_finding_or_all_of_it_are_not_excluded(
    store: SqliteStore, finding: MakeFinding, report: Callable[..., None]
) -> None:
    report("r1", finding("f", ("a", "b", "c")), finding("run", ("x",), kind=FindingKind.BENCHMARK_RUN))
    with pytest.raises(InvalidError, match="such as z"):
        store.add_review(entry("f", ReviewAction.SPLIT, accounts=("a", "z")))
    with pytest.raises(InvalidError, match="fewer than 2 accounts would be left of f: dismiss it"):
        store.add_review(entry("f", ReviewAction.SPLIT, accounts=("a", "b")))
    with pytest.raises(InvalidError, match="fewer than 1"):
        store.add_review(entry("run", ReviewAction.SPLIT, accounts=("x",)))
    assert store.reviews("f") == store.reviews("run") == []
    assert accounts(store.finding("f")) == ["a", "b", "c"]


def test_an_excluded_account_that_comes_again_between_runs_is_not_accused(
    store: SqliteStore, finding: MakeFinding, report: Callable[..., None], exchange: Callable[..., Any]
) -> None:
    store.append([exchange(1, account_id="b"), exchange(2, account_id="d")])
    report("r1", finding("f", ("a", "b", "c")))
    store.add_review(entry("f", ReviewAction.SPLIT, accounts=("b",)))
    report("r2", finding("f", ("a", "c")))
    store.put_joined("r2", {"f": [JoinedAccount("b", 9, 3, 1e-4), JoinedAccount("d", 9, 3, 1e-4)]})
    shown = store.finding("f")
    assert [item.account_id for item in shown.joined_since] == ["d"]
    assert [(item.account_id, item.exchanges) for item in shown.excluded] == [("b", 0)]


def test_an_exclusion_follows_its_account_into_what_the_finding_becomes(
    store: SqliteStore, finding: MakeFinding, report: Callable[..., None]
) -> None:
    report("r1", finding("f", ("a", "b", "c", "d")))
    decide(store, "f", ReviewState.CONFIRMED)
    store.add_review(entry("f", ReviewAction.SPLIT, accounts=("b",)))
    part = finding("part", ("b", "c", "e"), lineage=Lineage.SPLIT, lineage_of=("f",))
    report("r2", finding("f", ("a", "d"), lineage=Lineage.SPLIT, lineage_of=("f",)), part)
    shown = store.finding("part")
    assert (accounts(shown), [item.account_id for item in shown.excluded]) == (["c", "e"], ["b"])
    assert shown.review is ReviewState.OPEN
    (carried,) = store.reviews("part")
    assert (carried.reviewer, carried.action, carried.accounts) == (SERVICE_REVIEWER, ReviewAction.CARRY, ("b",))
    assert carried.reason == (
        "f, which it was part of, is confirmed. Accounts excluded by review from f stay excluded: 1."
    )
    assert store.finding("f").review is ReviewState.CONFIRMED
    assert [item.action.value for item in store.reviews("f")] == ["decide", "split"]


def test_a_dismissal_holds_while_the_accounts_it_was_made_on_are_at_least_half(
    store: SqliteStore, finding: MakeFinding, report: Callable[..., None]
) -> None:
    report("r1", finding("f", ("a", "b")))
    decide(store, "f", ReviewState.DISMISSED)
    report("r2", finding("f", ("a", "b", "c", "d"), lineage=Lineage.GROWING))
    assert store.finding("f").review is ReviewState.DISMISSED
    report("r3", finding("f", ("a", "b", "c", "d", "e"), lineage=Lineage.GROWING))
    assert store.finding("f").review is ReviewState.OPEN
    last = store.reviews("f")[-1]
    assert (last.reviewer, last.action) == (SERVICE_REVIEWER, ReviewAction.CARRY)
    assert last.reason == "Reopened: it was dismissed on 2 of the 5 accounts that it has now."
    report("r4", finding("f", ("a", "b", "c", "d", "e")))
    assert len(store.reviews("f")) == 2  # told once


def test_a_dismissed_finding_that_takes_another_in_is_reopened(
    store: SqliteStore, finding: MakeFinding, report: Callable[..., None]
) -> None:
    report("r1", finding("f", ("a", "b", "c")), finding("g", ("d", "e")), finding("h", ("i", "j")))
    decide(store, "f", ReviewState.DISMISSED)
    decide(store, "h", ReviewState.DISMISSED)
    report("r2", finding("f", ("a", "b", "c", "i"), lineage=Lineage.MERGED, lineage_of=("f", "h")), finding("g"))
    assert store.finding("f").review is ReviewState.DISMISSED
    report("r3", finding("f", ("a", "b", "c", "d", "e"), lineage=Lineage.MERGED, lineage_of=("f", "g")))
    assert store.finding("f").review is ReviewState.OPEN
    assert store.reviews("f")[-1].reason == "Reopened: g, which is not dismissed, went into it."


def test_what_was_decided_follows_a_finding_that_was_gone(
    store: SqliteStore, finding: MakeFinding, report: Callable[..., None]
) -> None:
    report("r1", finding("f", ("a", "b")), finding("quiet", ("c", "d")))
    decide(store, "f", ReviewState.DISMISSED)
    report("r2", finding("f", ("a", "b"), lineage=Lineage.GONE), finding("quiet", ("c", "d"), lineage=Lineage.GONE))
    report("r3")
    report(
        "r4",
        finding("f", ("a", "b", "c"), lineage=Lineage.GROWING, returned=True),
        finding("quiet", ("c", "d"), lineage=Lineage.STEADY, returned=True),
    )
    shown = store.finding("f")
    assert (shown.review, shown.run_id, shown.returned) == (ReviewState.DISMISSED, "r4", True)
    assert [item.action for item in store.reviews("f")] == [ReviewAction.DECIDE, ReviewAction.CARRY]
    assert store.reviews("f")[-1].reason == "It came back: it was gone from run r2 (1970-01-01T00:00:00.000002Z) on."
    assert store.reviews("quiet") == []  # nothing was decided: what the run reports says it
    report("r5", finding("f", ("a", "b", "c")))
    assert len(store.reviews("f")) == 2
    report("r6", finding("f", ("a", "b", "c"), lineage=Lineage.GONE))
    report("r7", finding("f", ("a", "b", "c", "x", "y"), lineage=Lineage.GROWING, returned=True))
    assert store.finding("f").review is ReviewState.OPEN
    assert store.reviews("f")[-1].reason.endswith("on 2 of the 5 accounts that it has now.")


def test_erasing_an_account_takes_it_out_of_decisions(
    store: SqliteStore, finding: MakeFinding, report: Callable[..., None], exchange: Callable[..., Any]
) -> None:
    store.append([exchange(1, account_id="b"), exchange(2, account_id="x"), exchange(3, account_id="y")])
    report("r1", finding("f", ("a", "b", "c", "d")), finding("only", ("x", "y"), exemplars=()))
    store.add_review(entry("f", ReviewAction.SPLIT, accounts=("b", "d"), reason="b and d are one office"))
    store.add_review(entry("f", ReviewAction.MERGE, findings=("only",)))
    for account_id in ("b", "x", "y"):
        store.erase_account(account_id, 9)
    rest = store.finding("f")
    assert [item.account_id for item in rest.excluded] == ["d"]
    assert rest.merged == ()
    split = store.reviews("f")[0]
    assert (split.accounts, split.reason) == (("d",), "(erased) and d are one office")
