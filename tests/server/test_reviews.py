"""Decisions on findings over the wire."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from coterie.client import AsyncClient, Client
from coterie.domain import (
    LIMITS,
    ConflictError,
    Exchange,
    InvalidError,
    NotFoundError,
    ReviewAction,
    ReviewState,
)


@pytest.fixture
def filled(script: Any, client: Client, exchange: Callable[..., Exchange]) -> Client:  # the script comes first
    """A service whose runs find `f-big` of accounts 1 and 2, and `f-small` of 3 and 4."""
    client.ingest([exchange(number) for number in range(7)])
    list(client.watch_run(client.start_run().run_id))
    return client


def test_what_is_done_to_a_finding_is_told_with_it(filled: Client) -> None:
    filled.comment_finding("f-big", "who pays?", reviewer="ana")
    filled.assign_finding("f-big", "bo", reviewer="ana", reason="knows the payer")
    filled.review_finding("f-big", ReviewState.ESCALATED, "one card", reviewer="bo", version=2)
    finding, history, _ = filled.get_finding("f-big")
    assert (finding.review, finding.assignee, finding.version) == (ReviewState.ESCALATED, "bo", 3)
    assert [(item.action, item.reviewer, item.reason, item.assignee, item.version) for item in history] == [
        (ReviewAction.COMMENT, "ana", "who pays?", "", 1),
        (ReviewAction.ASSIGN, "ana", "knows the payer", "bo", 2),
        (ReviewAction.DECIDE, "bo", "one card", "", 3),
    ]
    assert {(item.run_id, item.basis.accounts, item.basis.confidence) for item in history} == {(finding.run_id, 2, 0.9)}
    with pytest.raises(ConflictError, match="version 3, not 0"):
        filled.comment_finding("f-big", "late", version=0)


def test_findings_are_merged_and_an_account_is_told_of_the_one_they_are(filled: Client) -> None:
    one = filled.merge_findings("f-small", ["f-big"], "one list")
    assert (one.finding_id, one.merged, len(one.accounts)) == ("f-small", ("f-big",), 4)
    assert [item.finding_id for item in filled.list_findings()[1]] == ["f-small"]
    assert [item.finding_id for item in filled.list_findings(account_id="account-1")[1]] == ["f-small"]
    assert filled.get_account("account-1").findings == (one,)
    filled.merge_findings("f-small", ["f-big"], "no, two", undo=True)
    assert [item.finding_id for item in filled.list_findings()[1]] == ["f-big", "f-small"]


def test_an_excluded_account_is_accused_by_nothing(filled: Client, script: Any) -> None:
    big, small = script.findings
    script.findings[0] = replace(big, accounts=(*big.accounts, *small.accounts))
    list(filled.watch_run(filled.start_run().run_id))
    split = filled.split_finding("f-big", ["account-1"], "one office", reviewer="ana")
    assert [item.account_id for item in split.excluded] == ["account-1"]
    list(filled.watch_run(filled.start_run().run_id))
    (told,) = [item for item in filled.list_findings()[1] if item.finding_id == "f-big"]
    assert [item.account_id for item in told.excluded] == ["account-1"]
    report = filled.get_account("account-1")
    assert report.findings == ()
    assert report.standing.reason == "excluded by review from f-big"
    assert filled.list_findings(account_id="account-1")[1] == []
    filled.split_finding("f-big", ["account-1"], "not one office", undo=True)
    assert [item.finding_id for item in filled.get_account("account-1").findings] == ["f-big"]


def test_entries_are_checked(filled: Client) -> None:
    long = "x" * (LIMITS.reason_chars_max + 1)
    for wrong, field in (
        (lambda: filled.comment_finding("f-big", " "), "text"),
        (lambda: filled.comment_finding("f-big", long), "text"),
        (lambda: filled.assign_finding("f-big", "a\x00b"), "assignee"),
        (lambda: filled.assign_finding("f-big", "bo", reason=long), "reason"),
        (lambda: filled.merge_findings("f-big", [], "why"), "merged_finding_ids"),
        (lambda: filled.merge_findings("f-big", ["f"] * 101, "why"), "merged_finding_ids"),
        (lambda: filled.merge_findings("f-big", ["f-small"], ""), "reason"),
        (lambda: filled.split_finding("f-big", [], "why"), "account_ids"),
        (lambda: filled.split_finding("f-big", ["nobody"], "why"), "account_ids"),
    ):
        with pytest.raises((InvalidError, NotFoundError)) as caught:
            wrong()
        if field != "merged_finding_ids" or isinstance(caught.value, InvalidError):
            assert caught.value.field == field  # type: ignore[union-attr]
    assert filled.get_finding("f-big")[1] == []


def test_the_async_client_does_the_same(filled: Client, address: str) -> None:
    async def work() -> list[str]:
        async with AsyncClient.connect(address) as client:
            await client.comment_finding("f-big", "hm", version=0)
            await client.assign_finding("f-big", "bo")
            await client.merge_findings("f-big", ["f-small"], "one")
            await client.split_finding("f-big", ["account-3"], "not this one")
            await client.review_finding("f-big", ReviewState.CONFIRMED, "yes", version=4)
            return [item.action.value for item in (await client.get_finding("f-big"))[1]]

    assert asyncio.run(work()) == ["comment", "assign", "merge", "split", "decide"]
