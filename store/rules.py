"""Rules that suppress findings: every statement that reads or changes them."""

import json
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from coterie.domain import (
    AccountId,
    ConflictError,
    Finding,
    FindingId,
    Lineage,
    NotFoundError,
    Rule,
    RuleKind,
    RunId,
    Suppression,
)
from coterie.store import queries
from coterie.store.records import to_json

if TYPE_CHECKING:
    from coterie.store.changes import Transaction

Matches = Mapping[FindingId, str]
"""Why a rule explains findings, by their ids."""

_PREFIX = "rule-"


def rules(connection: sqlite3.Connection) -> list[Rule]:
    """Every rule ever made, newest first, each with how many findings of the newest whole run it suppresses."""
    rows = connection.execute("SELECT rule_number, record FROM rule ORDER BY rule_number DESC").fetchall()
    counts = dict(
        connection.execute(
            "SELECT m.rule_number, count(*) FROM rule_match m JOIN finding f ON f.run_id = m.run_id"
            " AND f.finding_id = m.finding_id WHERE m.run_id = ? GROUP BY m.rule_number",
            (queries.newest_done_run(connection),),
        ).fetchall()
    )
    now_us = _now_us()
    found = [_rule(number, record) for number, record in rows]
    return [
        replace(rule, findings=counts.get(number, 0) if rule.in_force(now_us) else 0)
        for rule, (number, _) in zip(found, rows, strict=True)
    ]


def add(transaction: "Transaction", rule: Rule, run_id: str, matches: Matches) -> Rule:
    """Record a rule and which findings of a run it explains; it gets its id here."""
    number = transaction.take("rule")
    made = replace(rule, rule_id=f"{_PREFIX}{number}")
    transaction.connection.execute(
        "INSERT INTO rule (rule_number, record) VALUES (?, ?)", (number, to_json(_values(made)))
    )
    put_matches(transaction.connection, run_id, {made.rule_id: matches})
    return made


def put_matches(connection: sqlite3.Connection, run_id: str, matches: Mapping[str, Matches]) -> None:
    """Record which findings of a run rules explain."""
    connection.executemany(
        "INSERT OR REPLACE INTO rule_match (run_id, finding_id, rule_number, summary) VALUES (?, ?, ?, ?)",
        (
            (run_id, finding_id, _number(rule_id), summary)
            for rule_id, its in matches.items()
            for finding_id, summary in its.items()
        ),
    )


def revoke(connection: sqlite3.Connection, rule_id: str, reviewer: str, time_us: int) -> Rule:
    """Take a rule back."""
    row = connection.execute("SELECT record FROM rule WHERE rule_number = ?", (_number(rule_id),)).fetchone()
    if row is None:
        raise NotFoundError(f"there is no rule {rule_id}: list the rules to see their ids")
    rule = _rule(_number(rule_id), row[0])
    if rule.revoked_us:
        raise ConflictError(f"{rule_id} was revoked already, by {rule.revoked_by or 'somebody'}")
    revoked = replace(rule, revoked_us=time_us, revoked_by=reviewer)
    _save(connection, revoked)
    return revoked


def suppressed(
    connection: sqlite3.Connection, reported: Sequence[Finding]
) -> dict[tuple[RunId, FindingId], Suppression]:
    """Which rule in force explains which of some findings; of several the oldest."""
    runs = {item.run_id for item in reported}
    now_us = _now_us()
    found: dict[tuple[RunId, FindingId], Suppression] = {}
    for run_id in runs:
        rows = connection.execute(
            "SELECT m.finding_id, m.summary, r.rule_number, r.record FROM rule_match m"
            " JOIN rule r ON r.rule_number = m.rule_number WHERE m.run_id = ? ORDER BY r.rule_number",
            (run_id,),
        )
        for finding_id, summary, number, record in rows:
            rule = _rule(number, record)
            if rule.in_force(now_us):
                told = Suppression(rule.rule_id, rule.kind.value, summary, rule.reason, rule.creator, rule.expires_us)
                found.setdefault((run_id, finding_id), told)
    return found


def of_parts(parts: Sequence[Finding], found: Mapping[tuple[RunId, FindingId], Suppression]) -> Suppression | None:
    """What suppresses the finding that some findings are together: a rule for the first, where each part has one."""
    standing = [part for part in parts if part.lineage is not Lineage.GONE] or list(parts)
    each = [found.get((part.run_id, part.finding_id)) for part in standing]
    return each[0] if all(each) else None


def erase_account(connection: sqlite3.Connection, account_id: AccountId, scrubbed: Callable[[str], str]) -> None:
    """Take an account out of the rules, and by `scrubbed` out of the reasons that people gave for them."""
    rows = connection.execute("SELECT rule_number, record FROM rule").fetchall()
    for number, record in rows:
        rule = _rule(number, record)
        values = rule.values if rule.kind is not RuleKind.ACCOUNTS else tuple(x for x in rule.values if x != account_id)
        accounts = tuple(x for x in rule.accounts if x != account_id)
        rest = replace(rule, values=values, accounts=accounts, reason=scrubbed(rule.reason))
        if rest != rule:
            _save(connection, rest)


def _save(connection: sqlite3.Connection, rule: Rule) -> None:
    connection.execute(
        "UPDATE rule SET record = ? WHERE rule_number = ?", (to_json(_values(rule)), _number(rule.rule_id))
    )


def _values(rule: Rule) -> dict[str, object]:
    values = asdict(rule)
    for name in ("rule_id", "findings"):
        values.pop(name)
    return values


def _rule(number: int, record: str) -> Rule:
    values = json.loads(record)
    lists = {name: tuple(values[name]) for name in ("values", "accounts", "template")}
    return Rule(**{**values, **lists, "rule_id": f"{_PREFIX}{number}", "kind": RuleKind(values["kind"])})


def _number(rule_id: str) -> int:
    number = rule_id.removeprefix(_PREFIX)
    if not rule_id.startswith(_PREFIX) or not number.isdecimal() or len(number) > 18:
        raise NotFoundError(f"there is no rule {rule_id}: list the rules to see their ids")
    return int(number)


def _now_us() -> int:
    return time.time_ns() // 1_000
