"""Dossiers from a store, against plain Python on the same exchanges; and over the wire, with what is recorded of it."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coterie.client import Client
from coterie.domain import (
    DAY_US,
    DOSSIER_ACCOUNTS_MAX,
    DOSSIER_EXCHANGES_MAX,
    BenchmarkItem,
    BenchmarkMatch,
    Evidence,
    Exchange,
    FamilyLabels,
    FamilyRecord,
    Finding,
    FindingAccount,
    FindingBenchmark,
    FindingFamily,
    FindingKind,
    NotFoundError,
    Run,
    RunState,
    SearchFilter,
    Severity,
    SharedAttribute,
    TextField,
)
from coterie.server.dossier import Dossiers
from coterie.store import SqliteStore, open_store

START_US = 1_767_225_600_000_000  # midnight
CANARY = "canary-77aa"
LISTED = 60
Make = Callable[..., Exchange]


def nothing_matches(texts: Any) -> list[list[BenchmarkMatch]]:
    return [[] for _ in texts]


def traffic(make: Make, *, accounts: int = 6, each: int = 10) -> list[Exchange]:
    """Each account asks its slice of a list in the window (days 10 to 12), and other things in it and before."""
    made = []
    for account in range(accounts):
        slice_ = (f"list {account * each + place} {CANARY}" for place in range(each))
        made += [(account, START_US + (10 + place % 3) * DAY_US + place, text) for place, text in enumerate(slice_)]
        made.append((account, START_US + 10 * DAY_US, f"other of {account}"))
        made += [(account, START_US + day * DAY_US, f"past {account} {day}") for day in range(account)]
    made.append((0, START_US + 11 * DAY_US, f"list {each} {CANARY}"))  # which account 1 asked too
    made.append((99, START_US + 11 * DAY_US, "somebody else"))
    return [
        make(number, account=f"a{account:03}", prompt=prompt, response=f"an answer {CANARY}", time_us=time_us,
             attributes={"client": "sdk" if account in (0, 1, 99) else f"c{account}"})
        for number, (account, time_us, prompt) in enumerate(made)
    ]  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with open_store(tmp_path / "store") as store:
        yield store


def fill(store: SqliteStore, exchanges: list[Exchange]) -> None:
    for first in range(0, len(exchanges), 1_000):
        store.submit(exchanges[first : first + 1_000]).result()
    store.bind_model("test", 16)
    pending = store.pending_texts(100_000)
    vectors = np.random.default_rng(0).standard_normal((len(pending), 16)).astype(np.float32) + 0.3
    store.put_vectors([text_id for text_id, _ in pending], vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def pool_ids(store: SqliteStore) -> dict[int, str]:
    """The texts of the list by id."""
    ids = store.candidate_texts(TextField.PROMPT, SearchFilter(), limit=100_000)
    assert ids is not None
    return {
        number: text for number, text in zip(ids.tolist(), store.texts(ids), strict=True) if text.startswith("list")
    }


def report(store: SqliteStore, *, accounts: int = 6, families: bool = True, **fields: Any) -> Finding:
    """Finish a run that finds the accounts that share the list out."""
    ids = sorted(pool_ids(store))
    finding = Finding(
        finding_id="f1",
        kind=FindingKind.CAMPAIGN,
        severity=Severity.HIGH,
        confidence=0.9,
        title="they share out a list",
        accounts=tuple(FindingAccount(f"a{number:03}", 10, 10, 0.9, START_US, START_US) for number in range(accounts)),
        families=(FindingFamily("family-2", 9, 3),),
        benchmarks=(),
        first_seen_us=START_US,
        last_seen_us=START_US,
        evidence=(Evidence("exchangeability", "C/W", 0.98, "innocent", "Nobody can tell."),),
        counter_evidence=(),
        exemplars=("e00000", "e00001"),
        text_ids=tuple(ids),
        run_id="r1",
    )  # type: ignore[arg-type]
    finding = replace(finding, **fields)
    run = Run("r1", RunState.RUNNING, 5, since_us=START_US + 10 * DAY_US, until_us=START_US + 13 * DAY_US)  # type: ignore[arg-type]
    run = replace(run, parameters={"seed": 3.0, "ratio_floor": 0.8}, measures={"accounts": 7.0})
    store.create_run(run)
    number = (np.arange(len(ids)) % 2).astype(np.int32)
    labels = FamilyLabels(
        np.array(ids), number, np.ones(len(ids), np.float32), np.ones(len(ids), np.int32),
        ("family-1", "family-2"), np.ones(2, np.float32),  # type: ignore[arg-type]
    )  # fmt: skip
    store.finish_run(replace(run, state=RunState.DONE), [finding], [], FamilyRecord((), labels) if families else None)
    return finding


def test_it_holds_who_asked_what_when(store: SqliteStore, exchange: Make) -> None:
    made = traffic(exchange)
    fill(store, made)
    finding = report(store)
    dossier = Dossiers(store, nothing_matches).get("f1", with_text=True)  # type: ignore[arg-type]
    assert dossier.finding == replace(finding, text_ids=())
    assert dossier.account_ids == tuple(account.account_id for account in finding.accounts)
    inside = [item for item in made if item.time_us >= START_US + 10 * DAY_US and item.account_id != "a099"]
    assert sorted(dossier.asked.exchange_ids) == sorted(item.exchange_id for item in inside)
    of = {item.exchange_id: item for item in made}
    for place, name in enumerate(dossier.asked.exchange_ids):
        assert dossier.account_ids[dossier.asked.account[place]] == of[name].account_id
        assert dossier.asked.time_us[place] == of[name].time_us
        assert dossier.asked.in_pool[place] == of[name].prompt.startswith("list")
    texts = [of[name].prompt for name in dossier.asked.exchange_ids]
    assert len(set(zip(texts, dossier.asked.text.tolist(), strict=True))) == len(set(texts))
    assert sorted(set(dossier.asked.text.tolist())) == list(range(len(set(texts))))
    assert dossier.window_exchanges.tolist() == [12, 11, 11, 11, 11, 11]
    assert dossier.pool_exchanges.tolist() == [11, 10, 10, 10, 10, 10]
    assert dossier.seed == 3
    assert dossier.accounts_in_window == 7


def test_volume_is_beside_the_own_past(store: SqliteStore, exchange: Make) -> None:
    made = traffic(exchange)
    fill(store, made)
    report(store)
    volume = Dossiers(store, nothing_matches).get("f1", with_text=False).volume  # type: ignore[arg-type]
    assert volume.day_us.tolist() == [START_US + day * DAY_US for day in range(13)]
    counted = Counter((item.account_id, item.time_us // DAY_US) for item in made)
    for account in range(6):
        expected = [counted[f"a{account:03}", (START_US // DAY_US) + day] for day in range(13)]
        assert volume.asked[account].tolist() == expected
    assert volume.in_pool[:, :10].sum() == 0
    assert volume.in_pool[2].tolist()[10:] == [4, 3, 3]


def test_families_are_counted_the_findings_own_first(store: SqliteStore, exchange: Make) -> None:
    fill(store, traffic(exchange))
    report(store)
    families = Dossiers(store, nothing_matches).get("f1", with_text=False).families  # type: ignore[arg-type]
    assert families.family_ids == ("family-2", "family-1")
    assert families.run_id == "r1"
    assert families.in_pool.sum(axis=1).tolist() == [11, 10, 10, 10, 10, 10]
    assert families.in_pool[2].tolist() == [5, 5, 0, 0]
    assert families.asked[2].tolist() == [5, 5, 0, 1]


def test_without_families_everything_is_in_none(store: SqliteStore, exchange: Make) -> None:
    fill(store, traffic(exchange))
    report(store, families=False)
    families = Dossiers(store, nothing_matches).get("f1", with_text=False).families  # type: ignore[arg-type]
    assert families.family_ids == ()
    assert families.asked.tolist() == [[0, 12], *([[0, 11]] * 5)]
    assert families.run_id == ""


def test_shared_questions_stand_beside_chance(store: SqliteStore, exchange: Make) -> None:
    fill(store, traffic(exchange))
    report(store)
    shared = Dossiers(store, nothing_matches).get("f1", with_text=False).shared  # type: ignore[arg-type]
    assert shared.texts == LISTED
    expected = np.diag([11, 10, 10, 10, 10, 10])
    expected[0, 1] = expected[1, 0] = 1
    assert shared.observed.tolist() == expected.tolist()
    assert shared.expected[0, 1] == pytest.approx(11 * 10 / LISTED)
    assert shared.expected[2, 2] == 0


def test_shuffling_leaves_the_findings_own_measure_beside_it(store: SqliteStore, exchange: Make) -> None:
    fill(store, traffic(exchange))
    report(store)
    shuffled = Dossiers(store, nothing_matches).get("f1", with_text=False).shuffled  # type: ignore[arg-type]
    assert shuffled is not None
    assert (shuffled.recorded, shuffled.recorded_z, shuffled.innocent_max) == (0.98, None, 0.8)
    assert (shuffled.items, shuffled.items_total, shuffled.customers) == (61, 61, 6)
    assert len(shuffled.alike_own) == 6
    assert np.isfinite(shuffled.alike_others).all()


def test_an_organisation_is_one_customer(store: SqliteStore, exchange: Make) -> None:
    seats = [replace(item, attributes={"organisation": "acme"}) if item.account_id < "a004" else item
             for item in traffic(exchange)]  # fmt: skip
    fill(store, seats)
    report(store)
    shuffled = Dossiers(store, nothing_matches).get("f1", with_text=False).shuffled  # type: ignore[arg-type]
    assert shuffled is not None
    assert shuffled.customers == 3


def test_shared_labels_say_who_else_has_them(store: SqliteStore, exchange: Make) -> None:
    fill(store, traffic(exchange))
    report(store)
    dossier = Dossiers(store, nothing_matches).get("f1", with_text=False)  # type: ignore[arg-type]
    assert dossier.attributes == (SharedAttribute("client", "sdk", 2, 1),)


def test_benchmark_items_are_placed_in_their_order(store: SqliteStore, exchange: Make) -> None:
    fill(store, traffic(exchange))
    items = [BenchmarkItem(f"i{number}", f"list {number} {CANARY}") for number in range(0, LISTED, 2)]
    store.register_benchmark("bench", items, 1)
    asked: list[int] = []

    def match(texts: Any) -> list[list[BenchmarkMatch]]:
        asked.append(len(texts))
        numbers = [int(text.split()[1]) for text in texts]
        return [[BenchmarkMatch("bench", f"i{n}", "verbatim", 1.0)] if n % 2 == 0 else [] for n in numbers]

    report(store, benchmarks=(FindingBenchmark("bench", 30, 1.0),))
    dossiers = Dossiers(store, match)
    (strip,) = dossiers.get("f1", with_text=False).benchmarks  # type: ignore[arg-type]
    assert (strip.name, strip.items, strip.texts, strip.texts_total) == ("bench", 30, 60, 60)
    pairs = set(zip(strip.account.tolist(), strip.item.tolist(), strict=True))
    assert pairs == {(number // 10, number // 2) for number in range(0, LISTED, 2)} | {(0, 5)}
    assert dossiers.get("f1", with_text=False).benchmarks == (strip,)  # type: ignore[arg-type]
    assert asked == [60]  # the second look did without
    dossiers.forget()
    dossiers.get("f1", with_text=False)  # type: ignore[arg-type]
    assert asked == [60, 60]


def test_of_a_large_finding_the_same_part_is_drawn_every_time(store: SqliteStore, exchange: Make) -> None:
    many = DOSSIER_ACCOUNTS_MAX + 5
    fill(store, traffic(exchange, accounts=many, each=110))
    finding = report(store, accounts=many)
    dossier = Dossiers(store, nothing_matches).get("f1", with_text=False)  # type: ignore[arg-type]
    assert dossier.is_sampled
    assert len(dossier.account_ids) == DOSSIER_ACCOUNTS_MAX
    order = [account.account_id for account in finding.accounts]
    assert sorted(dossier.account_ids, key=order.index) == list(dossier.account_ids)
    assert len(dossier.asked.exchange_ids) == DOSSIER_EXCHANGES_MAX < dossier.asked.total
    assert dossier.asked.total == dossier.window_exchanges.sum()
    assert np.all(np.diff(dossier.asked.time_us) >= 0)
    assert dossier == Dossiers(store, nothing_matches).get("f1", with_text=False)  # type: ignore[arg-type]


def test_two_accounts_are_too_few_to_shuffle(store: SqliteStore, exchange: Make) -> None:
    fill(store, traffic(exchange, accounts=2))
    report(store, accounts=2)
    assert Dossiers(store, nothing_matches).get("f1", with_text=False).shuffled is None  # type: ignore[arg-type]


def test_what_is_not_there_is_said(store: SqliteStore, exchange: Make) -> None:
    fill(store, traffic(exchange))
    report(store)
    dossiers = Dossiers(store, nothing_matches)
    assert dossiers.get("f1", "r1", with_text=False).run.run_id == "r1"  # type: ignore[arg-type]
    for finding_id, run_id in (("f9", ""), ("f1", "r9")):
        with pytest.raises(NotFoundError):
            dossiers.get(finding_id, run_id, with_text=False)  # type: ignore[arg-type]


def test_over_the_wire_texts_come_only_when_asked_for(script: Any, client: Client, exchange: Make, config: Any) -> None:
    client.ingest(
        [exchange(number, prompt=f"ask {number} {CANARY}", response=CANARY, system=CANARY) for number in range(60)]
    )
    list(client.watch_run(client.start_run().run_id))
    without = client.get_dossier("f-big")
    assert CANARY not in repr(without)
    assert [item.exchange_id for item in without.exemplars] == ["e00001", "e00002"]
    whole = client.get_dossier("f-big", run_id=without.finding.run_id, with_text=True)
    assert [CANARY in item.prompt and item.system == CANARY for item in whole.exemplars] == [True, True]
    assert replace(whole, exemplars=(), with_text=False) == replace(without, exemplars=())
    with sqlite3.connect(config.data_dir / "coterie.db") as database:
        rows = database.execute("SELECT action, subject FROM audit WHERE action LIKE 'read_dossier%' ORDER BY rowid")
        assert rows.fetchall() == [("read_dossier", "f-big"), ("read_dossier_text", "f-big")]
