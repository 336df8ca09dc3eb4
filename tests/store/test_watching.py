"""What is followed between runs: arrivals, prompts near pools, accounts that joined, erasure, and the upgrade to it."""

import dataclasses
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from coterie.domain import (
    AccountId,
    Exchange,
    Finding,
    FindingId,
    JoinedAccount,
    Run,
    RunId,
    RunState,
    Sequence,
    Slice,
    TextField,
    TextId,
    Watch,
    WatchedPool,
)
from coterie.store import SqliteStore, database, open_store, watching
from coterie.store.records import to_record

MakeRun = Callable[..., Run]
Make = Callable[..., Exchange]
MakeFinding = Callable[..., Finding]
Embed = Callable[[SqliteStore], list[int]]
POOL = WatchedPool((TextId(1), TextId(2)), (AccountId("a"), AccountId("b")), 0.02, "too few texts")
OTHER = dataclasses.replace(POOL, account_ids=(AccountId("c"),), p_value=0.05)


def finish(store: SqliteStore, run: Run, watch: Watch | None, findings: list[Finding] | None = None) -> None:
    store.create_run(run)
    store.finish_run(dataclasses.replace(run, state=RunState.DONE), findings or [], [], None, watch)


def joined(account_id: str, time_us: int = 5) -> JoinedAccount:
    return JoinedAccount(AccountId(account_id), time_us, 4, 1e-5)


def test_the_next_whole_run_forgets_what_was_followed(
    store: SqliteStore, exchange: Make, run: MakeRun, finding: MakeFinding
) -> None:
    assert store.watching() == ("", 0, 0, 0)
    store.append([exchange(1, account_id="new")])
    assert store.log_position() == (1, 1)
    finish(store, run("r1", 1), Watch(Sequence(0), TextId(0), (POOL, OTHER)), [finding("f")])
    assert store.watching() == ("r1", 0, 0, 0)
    assert store.watched_pools() == {"watched-1": POOL, "watched-2": OTHER}
    assert store.put_near(RunId("r1"), [("f", AccountId("new"), TextId(1), 9)], 1)
    assert store.put_joined(RunId("r1"), {FindingId("f"): [joined("new")]}) == [("f", "new")]
    finish(store, run("r2", 2, slice=Slice(models=("m",))), Watch(Sequence(1), TextId(1)))
    assert store.watching() == ("r1", 0, 0, 1)
    assert store.findings()[1][0].joined_since == (joined("new"),)
    finish(store, run("r3", 3), Watch(Sequence(1), TextId(1)), [finding("f")])
    assert store.watching() == ("r3", 1, 1, 1)
    assert (store.watched_pools(), store.near(), store.finding(FindingId("f")).joined_since) == ({}, {}, ())
    assert store.findings("r1")[1][0].joined_since == ()
    assert not store.put_near(RunId("r1"), [("f", AccountId("new"), TextId(1), 9)], 5)
    assert store.put_joined(RunId("r1"), {FindingId("f"): [joined("new")]}) == []
    assert store.watching() == ("r3", 1, 1, 1)
    finish(store, run("r4", 4), None)
    assert store.watching() == ("", 0, 0, 0)


def test_arrivals_wait_for_their_vectors_in_the_order_of_the_log(
    store: SqliteStore, exchange: Make, embed: Embed
) -> None:
    store.append([exchange(1), exchange(2, account_id="b")])
    embed(store)
    store.append([exchange(3, prompt="prompt 1"), exchange(4), exchange(5, prompt="prompt 1")])
    found = store.arrivals(0, 9)
    assert [(item.sequence, item.account_id) for item in found] == [(1, "a"), (2, "b"), (3, "a")]
    assert found[0].text_id == found[2].text_id == store.exchange_text(exchange(1).exchange_id, TextField.PROMPT)
    assert found[2].time_us == exchange(3).time_us
    assert [item.sequence for item in store.arrivals(1, 1)] == [2]
    embed(store)
    assert [item.sequence for item in store.arrivals(3, 9)] == [4, 5]


def test_a_prompt_is_near_once_for_an_account_and_only_while_it_is_there(
    store: SqliteStore, exchange: Make, run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.append([exchange(1), exchange(2, account_id="b", prompt="prompt 1"), exchange(3)])
    finish(store, run("r1"), Watch(Sequence(0), TextId(0), (POOL,)))
    text = store.exchange_text(exchange(1).exchange_id, TextField.PROMPT)
    assert text is not None
    a, b, gone = AccountId("a"), AccountId("b"), AccountId("gone")
    rows = [("f", a, text, 7), ("f", a, text, 8), ("watched-1", a, text, 7), ("f", b, text, 9), ("f", gone, text, 9)]
    for _ in range(2):
        assert store.put_near(RunId("r1"), rows, 2)
    assert store.near() == {"f": {"a": {text: 7}, "b": {text: 9}}, "watched-1": {"a": {text: 7}}}
    monkeypatch.setattr(watching, "NEAR_PROMPTS_MAX", 3)
    other = store.exchange_text(exchange(3).exchange_id, TextField.PROMPT)
    assert other is not None
    assert store.put_near(RunId("r1"), [("f", a, other, 7)], 3)
    assert other not in store.near()["f"]["a"]
    assert store.watching()[3] == 3


def test_distinct_prompts_are_counted_between_two_places(store: SqliteStore, exchange: Make) -> None:
    store.append([exchange(1), exchange(2), exchange(3, prompt="prompt 2"), exchange(4, account_id="b"), exchange(5)])
    assert store.prompts_since(1, 4) == {"a": 1, "b": 1}
    assert store.prompts_since(5, 5) == {}


def test_an_account_belongs_to_the_organisation_it_names_most(store: SqliteStore, exchange: Make) -> None:
    named = ["x", "y", "y", None]
    store.append(
        [
            exchange(number, attributes={"organisation": name, "asn": "1"} if name else {"asn": "y"})
            for number, name in enumerate(named)
        ]
    )
    store.append([exchange(9, account_id="b")])
    assert store.organisations([AccountId("a"), AccountId("b"), AccountId("nobody")]) == {"a": "y"}


def test_who_joins_is_announced_once_and_told_with_the_finding(
    store: SqliteStore, exchange: Make, run: MakeRun, finding: MakeFinding
) -> None:
    store.append([exchange(1, account_id="new"), exchange(2, account_id="newer")])
    finish(store, run("r1"), Watch(Sequence(0), TextId(0)), [finding("f"), finding("g")])
    before = store.last_event()
    late, first = joined("new", 9), joined("newer", 8)
    wanted = {FindingId("f"): [late, first, joined("nobody")], FindingId("no-finding"): [late]}
    assert store.put_joined(RunId("r1"), wanted) == [("f", "new"), ("f", "newer")]
    assert store.put_joined(RunId("r1"), wanted) == []
    told = store.events(before, 9)
    assert [(item.finding_id, item.joined_since) for _, item in told] == [("f", (first, late))] * 2
    assert {item.finding_id: len(item.joined_since) for item in store.findings("r1")[1]} == {"f": 2, "g": 0}
    with sqlite3.connect(store.data_dir / "coterie.db") as connection:
        records = connection.execute("SELECT record FROM finding").fetchall()
    connection.close()
    assert all("joined_since" not in json.loads(record) for (record,) in records)


def test_an_erased_account_leaves_all_of_it(
    store: SqliteStore, exchange: Make, run: MakeRun, finding: MakeFinding, embed: Embed
) -> None:
    store.append([exchange(1), exchange(2, account_id="b"), exchange(3, account_id="c"), exchange(4, account_id="d")])
    embed(store)
    texts = {number: store.exchange_text(exchange(number).exchange_id, TextField.PROMPT) for number in (1, 2, 3, 4)}
    pools = (
        WatchedPool((texts[1], texts[2]), (AccountId("a"), AccountId("b")), 0.02, "too few texts"),  # type: ignore[arg-type]
        WatchedPool((texts[1],), (AccountId("a"),), 0.02, "too few texts"),  # type: ignore[arg-type]
    )
    finish(store, run("r1"), Watch(Sequence(0), TextId(0), pools), [finding("f", ("b", "c")), finding("g", ("a",))])
    near = [
        (pool, AccountId(name), texts[place], 1)
        for pool in ("f", "watched-1", "watched-2")
        for name, place in (("a", 1), ("d", 4))
    ]
    assert store.put_near(RunId("r1"), near, 4)  # type: ignore[arg-type]
    store.put_joined(RunId("r1"), {FindingId("f"): [joined("a"), joined("d")], FindingId("g"): [joined("d")]})

    store.erase_account(AccountId("a"), 1)

    assert store.watched_pools() == {
        "watched-1": dataclasses.replace(pools[0], text_ids=(texts[2],), account_ids=("b",))  # type: ignore[arg-type]
    }
    assert store.near() == {"f": {"d": {texts[4]: 1}}, "watched-1": {"d": {texts[4]: 1}}}
    assert [item.account_id for item in store.finding(FindingId("f")).joined_since] == ["d"]
    with sqlite3.connect(store.data_dir / "coterie.db") as connection:  # of a finding that is gone nothing is left
        assert connection.execute("SELECT finding_id, account_id FROM joined_account").fetchall() == [("f", "d")]
    connection.close()


def test_a_folder_of_the_version_before_keeps_its_findings_and_follows_from_its_next_run(
    data_dir: Path, exchange: Make, run: MakeRun, finding: MakeFinding, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = database.migrations()[:2]
    with monkeypatch.context() as patch:
        patch.setattr(database, "migrations", lambda: before)
        open_store(data_dir).close()
    old = finding("f", run_id="r1")
    record = json.loads(to_record(old))
    record.pop("provisional")
    with sqlite3.connect(data_dir / "coterie.db") as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
        done = run("r1", state=RunState.DONE)
        connection.execute("INSERT INTO run VALUES (?, 'done', ?, ?)", ("r1", done.created_us, to_record(done)))
        connection.execute("INSERT INTO finding VALUES ('r1', 'f', ?)", (json.dumps(record),))
    connection.close()
    with open_store(data_dir) as store:
        assert store.findings() == ("r1", [old])
        assert store.watching() == ("", 0, 0, 0)
        assert (store.watched_pools(), store.near()) == ({}, {})
        store.append([exchange(1)])
        finish(store, run("r2", done.created_us + 1), Watch(*store.log_position(), (POOL,)), [finding("f")])
        assert store.watching() == ("r2", 1, 1, 1)
