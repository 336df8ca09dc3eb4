"""The verbs with which people decide: `review`, and what follows from decisions."""

import dataclasses
import os
import pwd
import time
from typing import Any

from rich.text import Text

from coterie.client import Client
from coterie.domain import (
    LIMITS,
    Finding,
    NewRule,
    ReviewAction,
    ReviewState,
    calibration_to_json,
    rule_to_json,
)
from coterie.server import cli_render as render
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
    if options.decision in (ReviewState.CONFIRMED, ReviewState.ESCALATED):
        session.terminal.suggest("report", found.finding_id)
    else:
        session.terminal.suggest("findings", "--review", ReviewState.OPEN.value)
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
    if options.suppress and decision is not ReviewState.DISMISSED:
        raise UsageError("--suppress goes with dismiss only")
    if (options.anyone or options.expires) and not options.suppress:
        raise UsageError("--anyone and --expires go with --suppress only")
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
    suppress = None
    if options.suppress is not None:
        suppress = NewRule(options.suppress, anyone=options.anyone, expires_us=options.expires or 0)
    return client.review_finding(finding_id, options.decision, reason, suppress=suppress, **common)


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
    suppressed = f"; {shown(found.suppressed.rule_id)} suppresses it" if found.suppressed else ""
    return f"{name} is now {found.review.value}{suppressed}"


def rules(session: Session) -> int:
    """Rules that suppress findings."""
    with session.client() as client:
        found = client.list_rules()
    now_us = time.time_ns() // 1_000
    listed = found if session.options.all else [rule for rule in found if rule.in_force(now_us)]
    session.terminal.data({"rules": [rule_to_json(rule) for rule in listed]}, render.rules_table(listed, now_us))
    if len(listed) < len(found):
        session.terminal.say(f"{len(found) - len(listed):,} that ended or were revoked; --all lists them")
    if not found:
        session.terminal.say("there is no rule")
        session.terminal.suggest("review", "ID", "dismiss", "--suppress", "template", "--reason", "why")
    return 0


def rules_allow(session: Session) -> int:
    """Put organisations or accounts on an allow-list."""
    options = session.options
    rule = NewRule(options.kind, tuple(options.name), expires_us=options.expires or 0)
    with session.client() as client:
        made = client.create_rule(rule, options.reason, reviewer=options.reviewer or _login_name())
    line = f"{shown(made.rule_id)} allows {len(made.values):,}; take it back with `rules revoke {shown(made.rule_id)}`"
    session.terminal.data(rule_to_json(made), Text(line))
    return 0


def rules_revoke(session: Session) -> int:
    """Take a rule back."""
    options = session.options
    with session.client() as client:
        rule = client.revoke_rule(options.id, reviewer=options.reviewer or _login_name())
    session.terminal.data(
        rule_to_json(rule), Text(f"{shown(rule.rule_id)} is revoked: what it suppressed no longer is")
    )
    return 0


def calibration(session: Session) -> int:
    """What reviewers decided against how sure the findings were."""
    with session.client() as client:
        found = client.get_calibration()
    session.terminal.data(calibration_to_json(found), render.calibration_page(found))
    return 0


def webhooks(session: Session) -> int:
    """How far webhook endpoints have been told."""
    with session.client() as client:
        found = client.list_webhooks()
    session.terminal.data({"webhooks": [dataclasses.asdict(item) for item in found]}, render.webhooks_table(found))
    if not found:
        session.terminal.say("there is no webhook endpoint: the setting webhooks_file names them")
    return 0


def webhooks_test(session: Session) -> int:
    """Send an endpoint a message."""
    name = session.options.name
    with session.client() as client:
        client.test_webhook(name)
    session.terminal.data({"name": name, "taken": True}, Text(f"{shown(name)} took it"))
    return 0


def webhooks_replay(session: Session) -> int:
    """Tell an endpoint again."""
    name = session.options.name
    with session.client() as client:
        after_event = client.replay_webhook(name, after_event=session.options.after)
    line = f"{shown(name)} is told again of what came after event {after_event:,}"
    session.terminal.data({"name": name, "after_event": after_event}, Text(line))
    return 0


def _login_name() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return ""
