"""The verbs with which people decide: `review`, and what follows from decisions."""

import os
import pwd
from typing import Any

from rich.text import Text

from coterie.client import Client
from coterie.domain import LIMITS, Finding, ReviewAction, ReviewState
from coterie.server.cli_commands import Session, UsageError
from coterie.server.cli_files import read_names
from coterie.server.cli_terminal import shown

DECISIONS: dict[str, ReviewState | ReviewAction] = {
    "confirm": ReviewState.CONFIRMED,
    "dismiss": ReviewState.DISMISSED,
    "watch": ReviewState.WATCHED,
    "escalate": ReviewState.ESCALATED,
    "reopen": ReviewState.OPEN,
    **{state.value: state for state in ReviewState},
    "comment": ReviewAction.COMMENT,
    "assign": ReviewAction.ASSIGN,
    "merge": ReviewAction.MERGE,
    "split": ReviewAction.SPLIT,
}
"""What `review ID DECISION` takes: what to do, or the state that it leads to."""


def review(session: Session) -> int:
    """Record a decision, or what else is done to a finding."""
    options = session.options
    _check(options)
    accounts = list(options.account)
    if options.accounts_from is not None:
        accounts += read_names(options.accounts_from, LIMITS.run_accounts_max)
    with session.client() as client:
        found = _record(client, options, accounts)
    value = {
        "finding_id": found.finding_id,
        "review": found.review.value,
        "version": found.version,
        "assignee": found.assignee,
        "accounts": len(found.accounts),
        "excluded": [item.account_id for item in found.excluded],
        "merged": list(found.merged),
    }
    session.terminal.data(value, Text(_done(options.decision, found)))
    return 0


def _check(options: Any) -> None:
    """Raise UsageError where an option does not go with the decision, or one is missing."""
    decision = options.decision
    for name, given, of in (
        ("--to", options.to is not None, (ReviewAction.ASSIGN,)),
        ("--with", bool(options.other), (ReviewAction.MERGE,)),
        ("--account or --accounts-from", bool(options.account or options.accounts_from), (ReviewAction.SPLIT,)),
    ):
        if given and decision not in of:
            raise UsageError(f"{name} goes with {of[0].value} only")
        if not given and decision in of:
            raise UsageError(f"{decision.value} takes {name}")
    if options.undo and decision not in (ReviewAction.MERGE, ReviewAction.SPLIT):
        raise UsageError("--undo goes with merge and split only")
    if options.reason is None and decision is not ReviewAction.ASSIGN:
        raise UsageError("say why: --reason TEXT")


def _record(client: Client, options: Any, accounts: list[str]) -> Finding:
    common = {"reviewer": options.reviewer or _login_name(), "version": options.seen}
    finding_id, reason = options.id, options.reason or ""
    match options.decision:
        case ReviewAction.COMMENT:
            return client.comment_finding(finding_id, reason, **common)
        case ReviewAction.ASSIGN:
            return client.assign_finding(finding_id, options.to, reason=reason, **common)
        case ReviewAction.MERGE:
            return client.merge_findings(finding_id, options.other, reason, undo=options.undo, **common)
        case ReviewAction.SPLIT:
            return client.split_finding(finding_id, accounts, reason, undo=options.undo, **common)
    return client.review_finding(finding_id, options.decision, reason, **common)


def _done(decision: ReviewState | ReviewAction, found: Finding) -> str:
    name = shown(found.finding_id)
    match decision:
        case ReviewAction.COMMENT:
            return f"comment on {name} recorded; it is {found.review.value}"
        case ReviewAction.ASSIGN:
            return f"{name} is {shown(found.assignee)}'s to look at" if found.assignee else f"{name} is nobody's"
        case ReviewAction.MERGE:
            others = ", ".join(shown(item) for item in found.merged)
            return f"{name} holds {others} too now" if others else f"{name} is one finding of the newest run now"
        case ReviewAction.SPLIT:
            return f"{name} has {len(found.accounts):,} accounts now; excluded by review: {len(found.excluded):,}"
    return f"{name} is now {found.review.value}"


def _login_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return ""
