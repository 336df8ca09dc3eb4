"""What is followed between runs: every statement that reads or changes it."""

import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from coterie.domain import AccountId, Arrival, Finding, FindingId, JoinedAccount, RunId, TextId, Watch, WatchedPool
from coterie.domain import Sequence as LogSequence
from coterie.store.queries import chunks, marks
from coterie.store.records import to_json

if TYPE_CHECKING:
    from coterie.store.changes import Transaction

NEAR_PROMPTS_MAX = 500_000
"""Prompts near pools that are kept between two runs; later ones are looked at and let go."""

_TABLES = ("watch", "watched_pool", "near_prompt", "joined_account")


def begin(connection: sqlite3.Connection, run_id: RunId, watch: Watch | None) -> None:
    """Follow what a whole run left from here on, and forget what the run before did."""
    for table in _TABLES:
        connection.execute(f"DELETE FROM {table}")
    if watch is None:
        return
    connection.execute(
        "INSERT INTO watch (run_id, last_sequence, last_text, looked_sequence) VALUES (?, ?, ?, ?)",
        (run_id, watch.last_sequence, watch.last_text, watch.last_sequence),
    )
    connection.executemany(
        "INSERT INTO watched_pool (pool_id, record) VALUES (?, ?)",
        ((f"watched-{number}", to_json(asdict(pool))) for number, pool in enumerate(watch.pools, start=1)),
    )


def watching(connection: sqlite3.Connection) -> tuple[RunId, int, int, int]:
    """The run that is followed, its last sequence and text, and up to which sequence was looked."""
    row = connection.execute("SELECT run_id, last_sequence, last_text, looked_sequence FROM watch").fetchone()
    return row or (RunId(""), 0, 0, 0)


def watched_pools(connection: sqlite3.Connection) -> dict[str, WatchedPool]:
    """The pools that the run left, by id."""
    rows = connection.execute("SELECT pool_id, record FROM watched_pool ORDER BY pool_id")
    return {pool_id: _pool_from(record) for pool_id, record in rows}


def _pool_from(record: str) -> WatchedPool:
    values = json.loads(record)
    return WatchedPool(**{**values, "text_ids": tuple(values["text_ids"]), "account_ids": tuple(values["account_ids"])})


def arrivals(connection: sqlite3.Connection, after: int, limit: int) -> list[Arrival]:
    """The exchanges after a place of the log, up to the first whose prompt has no vector yet."""
    rows = connection.execute(
        "SELECT e.sequence, e.account_id, e.prompt, e.time_us, v.text_id IS NOT NULL FROM exchange e"
        " LEFT JOIN vector v ON v.text_id = e.prompt WHERE e.sequence > ? ORDER BY e.sequence LIMIT ?",
        (after, limit),
    )
    found = []
    for sequence, account_id, prompt, time_us, embedded in rows:
        if not embedded:
            break
        found.append(Arrival(LogSequence(sequence), AccountId(account_id), TextId(prompt), time_us))
    return found


def put_near(
    transaction: "Transaction",
    run_id: RunId,
    near: Sequence[tuple[str, AccountId, TextId, int]],
    looked_sequence: int,
) -> bool:
    """Record prompts near pools, and up to where was looked; False where another run has taken over."""
    connection = transaction.connection
    if watching(connection)[0] != run_id:
        return False
    (kept,) = connection.execute("SELECT count(*) FROM near_prompt").fetchone()
    connection.executemany(
        "INSERT OR IGNORE INTO near_prompt (pool_id, account_id, text_id, time_us)"
        " SELECT ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM exchange WHERE account_id = ? AND prompt = ?)",  # not erased
        ((*row, row[1], row[2]) for row in near[: max(0, NEAR_PROMPTS_MAX - kept)]),
    )
    connection.execute("UPDATE watch SET looked_sequence = ?", (looked_sequence,))
    return True


def near(connection: sqlite3.Connection) -> dict[str, dict[AccountId, dict[TextId, int]]]:
    """The prompts near each pool by account, with the time of the first exchange."""
    found: dict[str, dict[AccountId, dict[TextId, int]]] = defaultdict(lambda: defaultdict(dict))
    for pool_id, account_id, text_id, time_us in connection.execute(
        "SELECT pool_id, account_id, text_id, time_us FROM near_prompt"
    ):
        found[pool_id][account_id][text_id] = time_us
    return found


def prompts_since(connection: sqlite3.Connection, after: int, until: int) -> dict[AccountId, int]:
    """Distinct prompts of each account after one place of the log, up to another."""
    rows = connection.execute(
        "SELECT account_id, count(DISTINCT prompt) FROM exchange WHERE sequence > ? AND sequence <= ?"
        " GROUP BY account_id",
        (after, until),
    )
    return dict(rows.fetchall())


def organisations(connection: sqlite3.Connection, account_ids: Collection[AccountId]) -> dict[AccountId, str]:
    """The organisation that each account names most; accounts that name none are left out."""
    named: dict[AccountId, Counter[str]] = defaultdict(Counter)
    for chunk in chunks(account_ids):
        rows = connection.execute(
            # By attribute set first: a sealed one is opened once for an account.
            "SELECT g.account_id, CASE WHEN s.sealed IS NULL THEN a.value"
            " ELSE json_extract(unseal(s.sealed, s.content), '$.organisation') END, sum(g.count) FROM"
            " (SELECT account_id, attribute_set, count(*) AS count FROM exchange"
            f" WHERE account_id IN ({marks(chunk)}) GROUP BY 1, 2) g JOIN attribute_set s ON s.set_id = g.attribute_set"
            " JOIN attribute a ON a.set_id = s.set_id AND a.name = 'organisation' GROUP BY 1, 2",
            chunk,
        )
        for account_id, organisation, count in rows:
            named[account_id][organisation] = count
    return {account_id: max(counts, key=lambda name: (counts[name], name)) for account_id, counts in named.items()}


def put_joined(
    transaction: "Transaction", run_id: RunId, joined: Mapping[FindingId, Sequence[JoinedAccount]]
) -> list[tuple[FindingId, AccountId]]:
    """Record accounts that joined findings, each once; returns those that are new, in the order given."""
    connection = transaction.connection
    if watching(connection)[0] != run_id:
        return []
    added = []
    for finding_id, accounts in joined.items():
        for item in accounts:
            done = connection.execute(
                "INSERT OR IGNORE INTO joined_account (finding_id, account_id, run_id, time_us, prompts, p_value)"
                " SELECT ?, ?, ?, ?, ?, ? WHERE EXISTS (SELECT 1 FROM exchange WHERE account_id = ?)"  # not erased
                " AND EXISTS (SELECT 1 FROM finding WHERE finding_id = ? AND run_id = ?)",
                (
                    finding_id, item.account_id, run_id, item.time_us, item.prompts, item.p_value,
                    item.account_id, finding_id, run_id,
                ),
            )  # fmt: skip
            if done.rowcount:
                added.append((finding_id, item.account_id))
    return added


def with_joined(connection: sqlite3.Connection, findings: Sequence[Finding]) -> list[Finding]:
    """The findings with the accounts that joined them since their run, first come first."""
    joined: dict[tuple[str, str], list[JoinedAccount]] = defaultdict(list)
    rows = connection.execute(
        "SELECT run_id, finding_id, account_id, time_us, prompts, p_value FROM joined_account"
        " ORDER BY time_us, account_id"
    )
    for run_id, finding_id, *values in rows:
        joined[run_id, finding_id].append(JoinedAccount(*values))
    return [replace(item, joined_since=tuple(joined.get((item.run_id, item.finding_id), ()))) for item in findings]


def erase(connection: sqlite3.Connection, account_id: AccountId, text_ids: Collection[int]) -> None:
    """Take an account and the texts only it sent out of all of it."""
    connection.execute("DELETE FROM joined_account WHERE account_id = ?", (account_id,))
    connection.execute("DELETE FROM near_prompt WHERE account_id = ?", (account_id,))
    connection.execute(
        "DELETE FROM joined_account WHERE NOT EXISTS (SELECT 1 FROM finding f"
        " WHERE f.run_id = joined_account.run_id AND f.finding_id = joined_account.finding_id)"
    )
    gone = set(text_ids)
    for pool_id, pool in watched_pools(connection).items():
        rest = replace(
            pool,
            text_ids=tuple(item for item in pool.text_ids if item not in gone),
            account_ids=tuple(item for item in pool.account_ids if item != account_id),
        )
        if not rest.account_ids or not rest.text_ids:
            connection.execute("DELETE FROM watched_pool WHERE pool_id = ?", (pool_id,))
            connection.execute("DELETE FROM near_prompt WHERE pool_id = ?", (pool_id,))
        elif rest != pool:
            connection.execute("UPDATE watched_pool SET record = ? WHERE pool_id = ?", (to_json(asdict(rest)), pool_id))
