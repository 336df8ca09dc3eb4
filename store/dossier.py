"""What a dossier asks of the past: a finding in every run, and how much accounts sent on each day."""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Collection

from coterie.domain import DAY_US, AccountId, FindingId, Lineage, LineageStep, RunId, Severity
from coterie.store.queries import chunks, marks


def lineage(connection: sqlite3.Connection, finding_id: FindingId, run_id: RunId, limit: int) -> list[LineageStep]:
    """A finding and those it came from, run by run up to one run, oldest first; the newest `limit` of them."""
    earlier = connection.execute(
        "SELECT json_extract(record, '$.lineage_of') FROM finding WHERE finding_id = ?", (finding_id,)
    )
    ids = {finding_id, *(name for (names,) in earlier for name in json.loads(names or "[]"))}
    rows = connection.execute(
        "SELECT f.finding_id, f.run_id, r.created_us, coalesce(json_extract(r.record, '$.trigger'), ''),"
        " json_extract(f.record, '$.lineage'), json_extract(f.record, '$.severity'),"
        " json_extract(f.record, '$.confidence'), json_array_length(f.record, '$.accounts'),"
        " json_array_length(f.record, '$.text_ids'),"
        " (SELECT coalesce(sum(json_extract(value, '$.exchanges')), 0) FROM json_each(f.record, '$.accounts'))"
        " FROM finding f JOIN run r ON r.run_id = f.run_id"
        f" WHERE f.finding_id IN ({marks(ids)}) AND r.created_us <= (SELECT created_us FROM run WHERE run_id = ?)"
        " ORDER BY r.created_us DESC, r.run_id DESC, f.finding_id DESC LIMIT ?",
        (*ids, run_id, limit),
    ).fetchall()
    return [_step(*row) for row in reversed(rows)]


def _step(
    finding_id: str,
    run_id: str,
    created_us: int,
    trigger: str,
    kind: str,
    severity: str,
    confidence: float,
    accounts: int,
    texts: int,
    exchanges: int,
) -> LineageStep:
    return LineageStep(
        finding_id=FindingId(finding_id),
        run_id=RunId(run_id),
        created_us=created_us,
        trigger=trigger,
        lineage=Lineage(kind),
        severity=Severity(severity),
        confidence=confidence,
        accounts=accounts,
        texts=texts,
        exchanges=exchanges,
    )


def daily_exchanges(
    connection: sqlite3.Connection, account_ids: Collection[AccountId], since_us: int, until_us: int
) -> dict[AccountId, dict[int, int]]:
    """Exchanges of each account by day (UTC), in [since, until); a day is named by where it begins, in microseconds."""
    found: dict[AccountId, dict[int, int]] = defaultdict(dict)
    for chunk in chunks(account_ids):
        rows = connection.execute(
            f"SELECT account_id, time_us / {DAY_US}, count(*) FROM exchange WHERE account_id IN ({marks(chunk)})"
            " AND time_us >= ? AND time_us < ? GROUP BY 1, 2",
            (*chunk, since_us, until_us),
        )
        for account_id, day, count in rows:
            found[account_id][day * DAY_US] = count
    return dict(found)
