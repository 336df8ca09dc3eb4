"""What people decide about findings: every statement that reads or changes it.

Runs are stored as they reported. Decisions, merges and splits are applied when findings are read, so that they hold at
once, for every run, and can be taken back.
"""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from coterie.domain import (
    CARRIED_MIN,
    SERVICE_REVIEWER,
    AccountId,
    ConflictError,
    Decision,
    EventCause,
    ExcludedAccount,
    Finding,
    FindingId,
    FindingKind,
    InvalidError,
    Lineage,
    NotFoundError,
    OutboxEvent,
    Review,
    ReviewAction,
    ReviewBasis,
    ReviewState,
    RunId,
    format_time,
    merged_finding,
    review_basis,
    without_excluded,
)
from coterie.store import queries, rules
from coterie.store.queries import chunks, marks
from coterie.store.records import finding_from, finding_order, to_json
from coterie.store.watching import with_joined

if TYPE_CHECKING:
    from coterie.store.changes import Transaction

MERGED_MAX = 1_000
"""Findings that can be one."""

_COLUMNS = "review_id, finding_id, decision, reason, reviewer, time_us, action, run_id, detail"


# --- reading --------------------------------------------------------------------------------------------------


def findings(connection: sqlite3.Connection, run_id: str) -> tuple[str, list[Finding]]:
    """A run's findings, or the newest finished whole run's, under what was decided."""
    chosen, found = queries.findings(connection, run_id)
    return chosen, under_review(connection, with_joined(connection, found))


def finding(connection: sqlite3.Connection, finding_id: FindingId, run_id: str = "") -> Finding:
    """A finding, with those merged into it, as one run reports it, under its decisions.

    Without an id, the newest run that has it or any of those.
    """
    group = _group(_merges(connection), finding_id)
    row = connection.execute(
        f"SELECT f.run_id FROM finding f JOIN run r ON r.run_id = f.run_id WHERE f.finding_id IN ({marks(group)})"
        " AND (? = '' OR f.run_id = ?) ORDER BY r.created_us DESC, r.run_id DESC LIMIT 1",
        (*group, run_id, run_id),
    ).fetchone()
    if row is None and run_id:
        raise NotFoundError(f"run {run_id} reports no finding {finding_id}: list its findings to see their ids")
    if row is None:
        raise NotFoundError(f"there is no finding {finding_id}: list the findings to see their ids")
    return under_review(connection, with_joined(connection, _reported(connection, row[0], group)))[0]


def outbox(connection: sqlite3.Connection, after: int, limit: int) -> list[OutboxEvent]:
    """The outbox after an event, each finding under what was decided by now."""
    rows = connection.execute(
        "SELECT event_id, run_id, finding_id, cause FROM event WHERE event_id > ? ORDER BY event_id LIMIT ?",
        (after, limit),
    ).fetchall()
    merges = _merges(connection)
    wanted: dict[str, set[FindingId]] = defaultdict(set)
    for _, run_id, finding_id, _ in rows:
        wanted[run_id].update(_group(merges, finding_id))
    reported = [item for run_id, ids in wanted.items() for item in _reported(connection, run_id, sorted(ids))]
    shown = {
        (item.run_id, item.finding_id): item for item in under_review(connection, with_joined(connection, reported))
    }
    events = []
    for event_id, run_id, finding_id, cause in rows:
        item = shown.get((run_id, _root(merges, finding_id)))
        if item is not None:
            events.append(OutboxEvent(event_id, EventCause(cause) if cause else None, item))
    return events


def history(connection: sqlite3.Connection, finding_id: FindingId) -> list[Review]:
    """The entries on a finding, on those merged into it, and merges that name it; oldest first."""
    group = _group(_merges(connection), finding_id)
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM review WHERE finding_id IN ({marks(group)})"
        " OR action IN ('merge', 'unmerge')"
        f" AND EXISTS (SELECT 1 FROM json_each(detail, '$.findings') WHERE value IN ({marks(group)}))"
        " ORDER BY review_id",
        (*group, *group),
    )
    return [_review(row) for row in rows]


def decisions(connection: sqlite3.Connection) -> tuple[list[Decision], int]:
    """The last decision on each finding that is confirmed or dismissed, and how many more tell of no basis."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM review WHERE review_id IN"
        " (SELECT max(review_id) FROM review WHERE action = 'decide' GROUP BY finding_id)"
        " AND decision IN ('confirmed', 'dismissed') ORDER BY review_id"
    )
    entries = [_review(row) for row in rows]
    known = [
        Decision(
            entry.finding_id,
            entry.basis.kind,
            entry.basis.confidence,
            entry.decision is ReviewState.CONFIRMED,
            entry.basis.evidence,
        )
        for entry in entries
        if entry.basis.kind
    ]
    return known, len(entries) - len(known)


def under_review(connection: sqlite3.Connection, reported: Sequence[Finding]) -> list[Finding]:
    """Findings as runs report them under what was decided: merged, without excluded accounts, in their state.

    Args:
        reported: of every run they are of, all that are merged with one of them.
    """
    merges = _merges(connection)
    parts: dict[tuple[RunId, FindingId], list[Finding]] = defaultdict(list)
    for item in reported:
        parts[item.run_id, _root(merges, item.finding_id)].append(item)
    roots = {root for _, root in parts}
    states = _states(connection, roots)
    excluded = _excluded(connection, merges)
    assignees = _assignees(connection, roots)
    suppressed = rules.suppressed(connection, reported)
    shown = []
    for (_, root), items in parts.items():
        whole = without_excluded(merged_finding(root, items), excluded.get(root, ()))
        state, version = states.get(root, (whole.review, 0))
        whole = replace(whole, review=state, version=version, assignee=assignees.get(root, ""))
        shown.append(replace(whole, suppressed=rules.of_parts(items, suppressed)))
    return sorted(shown, key=finding_order)


def _reported(connection: sqlite3.Connection, run_id: str, finding_ids: Sequence[FindingId]) -> list[Finding]:
    return [
        finding_from(record)
        for chunk in chunks(finding_ids)
        for (record,) in connection.execute(
            f"SELECT record FROM finding WHERE run_id = ? AND finding_id IN ({marks(chunk)})", (run_id, *chunk)
        )
    ]


def _merges(connection: sqlite3.Connection) -> dict[FindingId, FindingId]:
    return dict(connection.execute("SELECT finding_id, into_id FROM merged_finding").fetchall())


def _root(merges: dict[FindingId, FindingId], finding_id: FindingId) -> FindingId:
    while finding_id in merges:
        finding_id = merges[finding_id]
    return finding_id


def _group(merges: dict[FindingId, FindingId], finding_id: FindingId) -> list[FindingId]:
    """The ids of all findings that are one with this one; that whose id they have together comes first."""
    root = _root(merges, finding_id)
    return [root, *sorted(item for item in merges if _root(merges, item) == root)]


def _states(
    connection: sqlite3.Connection, finding_ids: Collection[FindingId]
) -> dict[FindingId, tuple[ReviewState, int]]:
    """The state and the version of those findings that have a history."""
    found = {}
    for chunk in chunks(finding_ids):
        rows = connection.execute(
            "SELECT finding_id, decision, review_id FROM review WHERE review_id IN"
            f" (SELECT max(review_id) FROM review WHERE finding_id IN ({marks(chunk)}) GROUP BY finding_id)",
            chunk,
        )
        found.update({row[0]: (ReviewState(row[1]), row[2]) for row in rows})
    return found


def _assignees(connection: sqlite3.Connection, finding_ids: Collection[FindingId]) -> dict[FindingId, str]:
    found = {}
    for chunk in chunks(finding_ids):
        rows = connection.execute(
            "SELECT finding_id, coalesce(json_extract(detail, '$.assignee'), '') FROM review WHERE review_id IN"
            f" (SELECT max(review_id) FROM review WHERE action = 'assign' AND finding_id IN ({marks(chunk)})"
            " GROUP BY finding_id)",
            chunk,
        )
        found.update(dict(rows.fetchall()))
    return found


def _excluded(
    connection: sqlite3.Connection, merges: dict[FindingId, FindingId]
) -> dict[FindingId, list[ExcludedAccount]]:
    """The accounts that are excluded from findings, by the id under which merged ones are one."""
    found: dict[FindingId, list[ExcludedAccount]] = defaultdict(list)
    rows = connection.execute(
        "SELECT x.finding_id, x.account_id, w.reviewer, w.reason, w.time_us FROM excluded_account x"
        " JOIN review w ON w.review_id = x.review_id ORDER BY x.account_id, x.finding_id"
    )
    for finding_id, account_id, reviewer, reason, time_us in rows:
        found[_root(merges, finding_id)].append(ExcludedAccount(account_id, 0, reviewer, reason, time_us))
    return found


def _review(row: tuple[int, str, str, str, str, int, str, str, str]) -> Review:
    review_id, finding_id, decision, reason, reviewer, time_us, action, run_id, detail = row
    values = json.loads(detail)
    return Review(
        FindingId(finding_id),
        ReviewState(decision),
        reason,
        reviewer,
        time_us,
        ReviewAction(action),
        assignee=values.get("assignee", ""),
        findings=tuple(values.get("findings", ())),
        accounts=tuple(values.get("accounts", ())),
        version=review_id,
        run_id=RunId(run_id),
        basis=ReviewBasis(**values.get("basis", {})),
    )


# --- deciding -------------------------------------------------------------------------------------------------


def add(transaction: "Transaction", review: Review, version: int | None) -> Finding:
    """Record an entry on a finding, do what it says, and return the finding as it is then; see `Store.add_review`."""
    connection = transaction.connection
    found = finding(connection, review.finding_id)
    if version is not None and version != found.version:
        raise _conflict(connection, found, version)
    entry = replace(
        review,
        finding_id=found.finding_id,
        decision=review.decision if review.action is ReviewAction.DECIDE else found.review,
        version=transaction.take("review"),
        run_id=found.run_id,
        basis=review_basis(found),
    )
    entry = _DOES[entry.action](connection, found, entry) if entry.action in _DOES else entry
    _insert(connection, entry)
    return finding(connection, found.finding_id)


def _conflict(connection: sqlite3.Connection, found: Finding, version: int) -> ConflictError:
    last = history(connection, found.finding_id)
    told = "it has no history"
    if last:
        told = f"{last[-1].reviewer or 'somebody'} at {format_time(last[-1].time_us)}: {last[-1].action.value}"
    return ConflictError(
        f"finding {found.finding_id} is at version {found.version}, not {version} (last, {told}; it is "
        f"{found.review.value}): look at it again, then decide"
    )


def _insert(connection: sqlite3.Connection, entry: Review) -> None:
    detail = {
        "assignee": entry.assignee,
        "findings": list(entry.findings),
        "accounts": list(entry.accounts),
        "basis": asdict(entry.basis),
    }
    connection.execute(
        f"INSERT INTO review ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            entry.version, entry.finding_id, entry.decision.value, entry.reason, entry.reviewer, entry.time_us,
            entry.action.value, entry.run_id, to_json({name: value for name, value in detail.items() if value}),
        ),
    )  # fmt: skip


def _merge(connection: sqlite3.Connection, found: Finding, entry: Review) -> Review:
    merges = _merges(connection)
    others = tuple(dict.fromkeys(finding(connection, item).finding_id for item in entry.findings))
    for other in others:
        if other == found.finding_id:
            raise ConflictError(f"{other} is one with {found.finding_id} already: leave it out")
        if finding(connection, other).kind is not found.kind:
            raise InvalidError(
                f"{other} and {found.finding_id} are of different kinds: only findings of one kind can be one",
                field="merged_finding_ids",
            )
    size = len(_group(merges, found.finding_id)) + sum(len(_group(merges, other)) for other in others)
    if size > MERGED_MAX:
        raise InvalidError(f"{size} findings would be one, the limit is {MERGED_MAX}", field="merged_finding_ids")
    connection.executemany(
        "INSERT INTO merged_finding (finding_id, into_id, review_id) VALUES (?, ?, ?)",
        ((other, found.finding_id, entry.version) for other in others),
    )
    return replace(entry, findings=others)


def _unmerge(connection: sqlite3.Connection, found: Finding, entry: Review) -> Review:
    merges = _merges(connection)
    for other in entry.findings:
        if other not in merges or _root(merges, other) != found.finding_id:
            raise InvalidError(f"{other} is not merged into {found.finding_id}", field="merged_finding_ids")
        connection.execute("DELETE FROM merged_finding WHERE finding_id = ?", (other,))
    return entry


def _split(connection: sqlite3.Connection, found: Finding, entry: Review) -> Review:
    held = {account.account_id for account in found.accounts}
    outside = set(entry.accounts) - held - {joined.account_id for joined in found.joined_since}
    if outside:
        raise InvalidError(
            f"{len(outside)} of the accounts are not in {found.finding_id}, such as {min(outside)}: they never were, "
            "or are excluded already",
            field="account_ids",
        )
    least = 2 if found.kind is FindingKind.CAMPAIGN else 1
    if len(held - set(entry.accounts)) < least:
        raise InvalidError(
            f"fewer than {least} accounts would be left of {found.finding_id}: dismiss it instead", field="account_ids"
        )
    _exclude(connection, found.finding_id, entry.accounts, entry.version)
    return entry


def _exclude(
    connection: sqlite3.Connection, finding_id: FindingId, accounts: Iterable[AccountId], review_id: int
) -> None:
    connection.executemany(
        "INSERT OR IGNORE INTO excluded_account (finding_id, account_id, review_id) VALUES (?, ?, ?)",
        ((finding_id, account_id, review_id) for account_id in accounts),
    )


def _restore(connection: sqlite3.Connection, found: Finding, entry: Review) -> Review:
    group = _group(_merges(connection), found.finding_id)
    for account_id in entry.accounts:
        done = connection.execute(
            f"DELETE FROM excluded_account WHERE account_id = ? AND finding_id IN ({marks(group)})",
            (account_id, *group),
        )
        if not done.rowcount:
            raise InvalidError(f"{account_id} is not excluded from {found.finding_id}", field="account_ids")
    return entry


_DOES = {
    ReviewAction.MERGE: _merge,
    ReviewAction.UNMERGE: _unmerge,
    ReviewAction.SPLIT: _split,
    ReviewAction.RESTORE: _restore,
}


# --- later runs -----------------------------------------------------------------------------------------------


def carry(transaction: "Transaction", reported: Sequence[Finding], time_us: int) -> None:
    """Hold what was decided against what a run reports, and record an entry where the two meet.

    A finding keeps its history under its id. Here goes what follows from its lineage: an account that was excluded
    stays so in whatever its finding became part of; a decision on a finding that went into another, or of which this is
    a part, is told; that a finding was gone and came back is told; and a dismissal that was made on less than half of
    the accounts is taken back.
    """
    connection = transaction.connection
    merges = _merges(connection)
    for item in under_review(connection, reported):
        if item.lineage is Lineage.GONE:
            continue
        sources = sorted({_root(merges, source) for source in item.lineage_of} - {item.finding_id})
        states = _states(connection, sources)
        notes = [
            f"{source}, {'which it was part of' if item.lineage is Lineage.SPLIT else 'which went into it'}, "
            f"is {states[source][0].value}."
            for source in sources
            if source in states and states[source][0] is not ReviewState.OPEN
        ]
        if item.returned and item.version:
            notes.append(_came_back(connection, item))
        carried = _carry_excluded(transaction, merges, item, sources)
        if carried:
            notes.append(f"Accounts excluded by review from {', '.join(sources)} stay excluded: {len(carried)}.")
        reopened = _uncovered(connection, merges, item, sources, states)
        if notes or reopened:
            entry = Review(
                item.finding_id,
                ReviewState.OPEN if reopened else item.review,
                " ".join([*notes, *([reopened] if reopened else [])]),
                SERVICE_REVIEWER,
                time_us,
                ReviewAction.CARRY,
                accounts=tuple(carried),
                version=transaction.take("review"),
                run_id=item.run_id,
                basis=review_basis(item),
            )
            _insert(connection, entry)


def _came_back(connection: sqlite3.Connection, item: Finding) -> str:
    run_id, created_us = connection.execute(
        "SELECT f.run_id, r.created_us FROM finding f JOIN run r ON r.run_id = f.run_id WHERE f.finding_id = ?"
        " AND json_extract(f.record, '$.lineage') = 'gone' ORDER BY r.created_us DESC, r.run_id DESC LIMIT 1",
        (item.finding_id,),
    ).fetchone() or ("", 0)
    return f"It came back: it was gone from run {run_id} ({format_time(created_us)}) on." if run_id else "It came back."


def _carry_excluded(
    transaction: "Transaction", merges: dict[FindingId, FindingId], item: Finding, sources: Sequence[FindingId]
) -> list[AccountId]:
    connection = transaction.connection
    held = {account.account_id for account in item.accounts}
    carried = []
    for source in sources:
        group = _group(merges, source)
        rows = connection.execute(
            f"SELECT account_id, review_id FROM excluded_account WHERE finding_id IN ({marks(group)})"
            " ORDER BY account_id",
            group,
        ).fetchall()
        for account_id, review_id in rows:
            if account_id in held:
                _exclude(connection, item.finding_id, [account_id], review_id)
                carried.append(AccountId(account_id))
    return carried


def _uncovered(
    connection: sqlite3.Connection,
    merges: dict[FindingId, FindingId],
    item: Finding,
    sources: Sequence[FindingId],
    states: dict[FindingId, tuple[ReviewState, int]],
) -> str:
    """Why a dismissal no longer holds for what a run reports; empty where it does, or there is none."""
    if item.review is not ReviewState.DISMISSED:
        return ""
    if item.lineage is Lineage.MERGED:
        undecided = [
            source for source in sources if states.get(source, (ReviewState.OPEN, 0))[0] is not ReviewState.DISMISSED
        ]
        if undecided:
            return f"Reopened: {', '.join(undecided)}, which is not dismissed, went into it."
    seen = _accounts_seen(connection, _group(merges, item.finding_id))
    if not seen:
        return ""  # its run is no longer kept: there is nothing to compare with
    known = sum(account.account_id in seen for account in item.accounts)
    if known >= CARRIED_MIN * len(item.accounts):
        return ""
    return f"Reopened: it was dismissed on {known} of the {len(item.accounts)} accounts that it has now."


def _accounts_seen(connection: sqlite3.Connection, group: Sequence[FindingId]) -> set[str]:
    """The accounts of a finding in the report that the last decision was made on."""
    rows = connection.execute(
        f"SELECT account_id FROM finding_account WHERE finding_id IN ({marks(group)}) AND run_id ="
        " (SELECT run_id FROM review WHERE action = 'decide' AND finding_id = ? ORDER BY review_id DESC LIMIT 1)",
        (*group, group[0]),
    )
    return {account_id for (account_id,) in rows}


# --- erasure --------------------------------------------------------------------------------------------------


def erase_account(connection: sqlite3.Connection, account_id: AccountId, scrubbed: Callable[[str], str]) -> None:
    """Take an account out of what was excluded, out of the lists of accounts in histories, and out of rules."""
    connection.execute("DELETE FROM excluded_account WHERE account_id = ?", (account_id,))
    rules.erase_account(connection, account_id, scrubbed)
    rows = connection.execute(
        "SELECT review_id, detail FROM review"
        " WHERE EXISTS (SELECT 1 FROM json_each(detail, '$.accounts') WHERE value = ?)",
        (account_id,),
    ).fetchall()
    for review_id, detail in rows:
        values = json.loads(detail)
        values["accounts"] = [name for name in values["accounts"] if name != account_id]
        connection.execute("UPDATE review SET detail = ? WHERE review_id = ?", (to_json(values), review_id))


def erase_finding(connection: sqlite3.Connection, finding_id: str) -> None:
    """Forget the history of a finding that no account is left in."""
    connection.execute("DELETE FROM review WHERE finding_id = ?", (finding_id,))
    connection.execute("DELETE FROM excluded_account WHERE finding_id = ?", (finding_id,))
    connection.execute("DELETE FROM merged_finding WHERE finding_id = ? OR into_id = ?", (finding_id, finding_id))
