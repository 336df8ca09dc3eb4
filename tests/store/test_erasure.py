"""An erased account leaves nothing behind, and nothing of others goes with it."""

import dataclasses
import random
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from coterie.domain import (
    AuditEntry,
    BenchmarkItem,
    ConflictError,
    Erasure,
    ErasureProof,
    Evidence,
    Exchange,
    Finding,
    NotFoundError,
    Review,
    ReviewAction,
    ReviewState,
    Rule,
    RuleKind,
    Run,
    RunState,
    SearchFilter,
    Slice,
    Standing,
    TextField,
    text_digest,
)
from coterie.store import Belongings, SqliteStore, open_store

Make = Callable[..., Exchange]
Embed = Callable[[SqliteStore], list[int]]
CANARY = "canary-7f3a"
START_US = 1_767_225_600_000_000  # of the exchanges made here


def found_in(data_dir: Path, *needles: str) -> list[tuple[str, str]]:
    """Which needles occur in the bytes of which file."""
    contents = {path.name: path.read_bytes() for path in data_dir.iterdir()}
    return [(name, needle) for name, content in contents.items() for needle in needles if needle.encode() in content]


def finish(store: SqliteStore, run: Run, findings: list[Finding], standings: list[Standing]) -> None:
    store.create_run(run)
    store.finish_run(dataclasses.replace(run, state=RunState.DONE), findings, standings)


def test_texts_that_only_it_sent_go_and_shared_ones_stay(store: SqliteStore, exchange: Make, embed: Embed) -> None:
    store.append(
        [
            exchange(1, prompt="own", response="own answer", system="own system"),
            exchange(2, prompt="shared", response="shared answer"),
            exchange(3, prompt="item", response="echo"),
            exchange(4, account_id="b", prompt="shared", response="shared answer", system="own"),
            exchange(5, account_id="b", prompt="echo"),
        ]
    )
    store.register_benchmark("b", [BenchmarkItem("i", "item")], 1)
    embed(store)
    own = store.exchange_text("e1", TextField.PROMPT)
    answer = store.exchange_text("e1", TextField.RESPONSE)
    system = store.window().system[0]
    assert store.erase_account("a", 1) == Erasure("a", exchanges=3, texts=2, findings_changed=0)
    assert [item.exchange_id for item in store.exchanges([f"e{n}" for n in range(6)])] == ["e4", "e5"]
    assert store.exchange("e4") == exchange(4, account_id="b", prompt="shared", response="shared answer", system="own")
    for text_id in (answer, system):
        with pytest.raises(NotFoundError):
            store.texts(np.array([text_id]))
    last, erased = store.erased_since(0)
    assert sorted(erased.tolist()) == sorted([answer, system])
    assert (last, store.erased_since(last)[1].size) == (2, 0)
    assert store.erased_since(1)[1].tolist() == erased[1:].tolist()
    # "own" is now only a system prompt, "echo" only a prompt, "item" only an item.
    prompts = store.texts(store.vectors_since(TextField.PROMPT, 0, 10)[1])
    assert sorted(prompts) == ["echo", "shared"]
    assert store.texts(store.vectors_since(TextField.RESPONSE, 0, 10)[1]) == ["shared answer"]
    assert store.texts(np.array([own])) == ["own"]
    assert store.account_exchanges("a") == 0
    assert store.pending_count() == 0


def test_what_comes_back_after_an_erasure_is_new(store: SqliteStore, exchange: Make, embed: Embed) -> None:
    """Ids are never given twice, so an index that replays late cannot remove the wrong text."""
    store.append([exchange(1, response="answer")])
    embed(store)
    old = set(store.window().prompt.tolist())
    vectors = store.vectors_since(TextField.PROMPT, 0, 10)[0]
    store.erase_account("a", 1)
    result = store.append([exchange(1, response="answer")])
    assert (result.stored, result.last_sequence) == (1, 2)
    assert not old & set(store.window().prompt.tolist())
    assert store.pending_count() == 2
    embed(store)
    assert store.vectors_since(TextField.PROMPT, int(vectors[-1]), 10)[0].size == 1


def test_a_pending_text_that_stays_as_a_response_moves_back(store: SqliteStore, exchange: Make) -> None:
    store.append([exchange(1, prompt="echo"), exchange(2, account_id="b", response="echo")])
    store.erase_account("a", 1)
    assert [text for _, text in store.pending_texts(10)] == ["prompt 2", "echo"]


def test_attributes_that_nobody_else_has_go(store: SqliteStore, exchange: Make, data_dir: Path) -> None:
    store.append([exchange(1, attributes={"organisation": CANARY, "asn": "1"})])
    store.append([exchange(n, account_id="b", attributes={"asn": "1"}) for n in (2, 3)])
    store.erase_account("a", 1)
    assert store.candidate_texts(TextField.PROMPT, SearchFilter(attributes={"asn": "1"}), limit=9).size == 2
    assert store.candidate_texts(TextField.PROMPT, SearchFilter(attributes={"organisation": CANARY}), limit=9).size == 0
    assert found_in(data_dir, CANARY) == []


def test_erasing_nobody_changes_nothing(store: SqliteStore, exchange: Make) -> None:
    store.append([exchange(1)])
    before = store.stats()
    assert store.erase_account("nobody", 1) == Erasure("nobody", 0, 0, 0)
    after = dataclasses.replace(store.stats(), database_bytes=before.database_bytes)
    assert after == before
    assert store.erased_since(0)[0] == 0


def test_findings_of_every_run_are_rewritten(
    store: SqliteStore, exchange: Make, run: Callable[..., Run], finding: Callable[..., Finding]
) -> None:
    store.append([exchange(1, prompt="own"), exchange(2, account_id="ab", prompt="theirs")])
    own, theirs = store.exchange_text("e1", TextField.PROMPT), store.exchange_text("e2", TextField.PROMPT)
    evidence = (Evidence("name", "s", 1.0, "null of a", "a and ab share texts, says a.", None),)
    for number in (1, 2):
        both = finding(
            "f",
            ("a", "ab"),
            title="a leads ab",
            exemplars=("e1", "e2"),
            text_ids=(own, theirs),
            evidence=evidence,
            counter_evidence=evidence,
        )
        findings = [both, finding("alone", ("a",)), finding("others", ("ab", "c"), exemplars=("e2",))]
        standings = [
            Standing("a", 1, ("f",)),
            Standing("ab", 1, ("f",), "a pool with a and a-b", 0.5, "beside a", 2),
        ]
        finish(store, run(f"r{number}", number), findings, standings)
    store.add_review(Review("f", ReviewState.CONFIRMED, "a is the source", "ann", 1))
    store.add_review(Review("alone", ReviewState.CONFIRMED, "it is a", "ann", 2))
    untouched = store.finding("others")

    assert store.erase_account("a", 1).findings_changed == 4

    for run_id in ("r1", "r2"):
        found = {item.finding_id: item for item in store.findings(run_id)[1]}
        assert found.keys() == {"f", "others"}
        rest = found["f"]
        assert [account.account_id for account in rest.accounts] == ["ab"]
        assert (rest.exemplars, rest.text_ids) == (("e2",), (theirs,))
        assert rest.title == "(erased) leads ab"
        for item in (*rest.evidence, *rest.counter_evidence):
            assert item.summary == "(erased) and ab share texts, says (erased)."
            assert item.null == "null of (erased)"
        assert rest.review is ReviewState.CONFIRMED
    assert store.finding("others") == untouched
    assert [item.reason for item in store.reviews("f")] == ["(erased) is the source"]
    assert store.reviews("alone") == []
    with pytest.raises(NotFoundError):
        store.finding("alone")
    assert {item.finding_id for _, item in store.events(0, 100)} == {"f", "others"}
    assert store.standing("a") == ("r2", None)
    remaining = store.standing("ab")[1]
    assert remaining is not None
    assert (remaining.nearest_candidate, remaining.reason) == ("(erased) pool with (erased) and a-b", "beside (erased)")


def test_the_slices_of_runs_lose_its_name_and_stay_slices(
    store: SqliteStore, exchange: Make, run: Callable[..., Run], data_dir: Path
) -> None:
    store.append([exchange(1, account_id=CANARY), exchange(2, account_id="b")])
    finish(store, run("alone", 1, slice=Slice(accounts=(CANARY,))), [], [])
    finish(store, run("among", 2, slice=Slice(models=("m",), accounts=("b", CANARY))), [], [])
    finish(store, run("without", 3, slice=Slice(accounts=("b",))), [], [])
    store.erase_account(CANARY, 5)
    assert [store.run(name).slice.accounts for name in ("alone", "among", "without")] == [
        ("(erased)",),
        ("(erased)", "b"),
        ("b",),
    ]
    assert store.findings() == ("", [])
    assert store.last_done(Slice(accounts=("b",))) == "without"
    assert found_in(data_dir, CANARY) == []


def test_an_exemplar_goes_from_a_finding_that_does_not_name_the_account(
    store: SqliteStore, exchange: Make, run: Callable[..., Run], finding: Callable[..., Finding]
) -> None:
    store.append([exchange(1), exchange(2, account_id="b")])
    finish(store, run("r1"), [finding("f", ("b", "c"), exemplars=("e1", "e2"))], [])
    assert store.erase_account("a", 1).findings_changed == 1
    assert store.finding("f").exemplars == ("e2",)


def test_the_bytes_are_gone(
    store: SqliteStore,
    data_dir: Path,
    exchange: Make,
    embed: Embed,
    run: Callable[..., Run],
    finding: Callable[..., Finding],
) -> None:
    """Over many pages, among neighbours that are erased before and after, and with texts longer than a page."""
    rng = random.Random(3)
    needles = {}
    for account in range(12):
        needles[account] = f"{CANARY}-{account}-"
        mark = needles[account]
        for number in range(30):
            filler = "x" * rng.choice([0, 50, 700, 9_000])
            store.append(
                [
                    exchange(
                        1,
                        exchange_id=f"{mark}id{number}",
                        account_id=f"{mark}account",
                        prompt=f"{mark}prompt {number} {filler}",
                        response=f"{mark}response {number} {filler}",
                        system=f"{mark}system",
                        conversation_id=f"{mark}conversation",
                        model=f"{mark}model",
                        attributes={"organisation": f"{mark}organisation", f"{mark}key": "v"},
                    )
                ]
            )
    embed(store)
    store.append([exchange(2, account_id="asks", prompt=f"{needles[0]}response 0 ")])
    accounts = tuple(f"{mark}account" for mark in needles.values())
    exemplars = tuple(f"{mark}id1" for mark in needles.values())
    title = f"led by {accounts[3]}"
    finish(
        store,
        run("r1"),
        [finding("f", accounts, exemplars=exemplars, title=title)],
        [Standing(account, 1, ("f",), f"pool with {accounts[3]}") for account in accounts],
    )
    assert len(found_in(data_dir, *needles.values())) >= len(needles)
    for account in (3, 4, 11, 2, 7):
        belongings = Belongings()
        erasure = store.erase_account(f"{needles[account]}account", 1, belongings)
        assert (erasure.exchanges, erasure.texts) == (30, 61)
        assert (data_dir / "coterie.db-wal").stat().st_size == 0
        # Where SQLite left a copy in an unused part of a page, this finds it and writes the database anew.
        assert store.prove_erasure(f"{needles[account]}account", belongings).complete
        gone = needles.pop(account)
        assert found_in(data_dir, gone) == []
    assert all(found_in(data_dir, mark) for mark in needles.values())
    assert store.stats().exchanges == 7 * 30 + 1


def test_a_reader_delays_the_emptying_of_the_log_and_no_more(
    store: SqliteStore, data_dir: Path, exchange: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coterie.store.writer._TRUNCATE_RETRY_S", 0.05)
    store._writer._connection.execute("PRAGMA busy_timeout = 10")
    store.append([exchange(1, prompt=CANARY)])
    with store._readers.snapshot() as connection:
        assert connection.execute("SELECT count(*) FROM exchange").fetchone() == (1,)
        assert store.erase_account("a", 1).texts == 1
        assert found_in(data_dir, CANARY)
    deadline = time.monotonic() + 30
    while found_in(data_dir, CANARY):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert store.append([exchange(2)]).stored == 1


def test_the_cache_of_derived_texts_is_emptied(store: SqliteStore, unit: Callable[..., np.ndarray]) -> None:
    digests = [text_digest("view")]
    store.put_view_vectors("m", digests, unit(1))
    store.erase_account("a", 1)
    assert store.view_vectors("m", digests) == {}


# The proof


def proved(store: SqliteStore, account_id: str) -> ErasureProof:
    belongings = Belongings()
    pending = store.begin_erasure(account_id, 10)
    store.erase_account(account_id, 10, belongings)
    store.finish_erasure(pending, 11)
    return store.prove_erasure(account_id, belongings)


def test_the_proof_tells_what_was_looked_at(store: SqliteStore, data_dir: Path, exchange: Make, embed: Embed) -> None:
    store.append([exchange(1, account_id="account-1", prompt="a prompt of some length", response="ok")])
    store.append([exchange(2, account_id="account-12"), exchange(3, account_id="x", prompt="I am account-1, or 12?")])
    store.audit(AuditEntry(1, "somebody", "erase_account", "account-1")).result()
    embed(store)
    proof = proved(store, "account-1")
    assert proof.complete
    assert (proof.texts, proof.texts_skipped, proof.vectors) == (1, 1, 2)
    assert (proof.mentions, proof.returned, proof.id_in_bytes, proof.compacted) == (1, 0, True, False)
    assert proof.tables >= 25
    assert proof.rows > 10
    assert proof.files >= 3  # database, its log and the lock
    assert proof.bytes_read >= (data_dir / "coterie.db").stat().st_size


@pytest.mark.parametrize(
    ("statement", "place", "kind"),
    [
        ("INSERT INTO setting VALUES ('note', 'account-1')", "table setting.value", "account id"),
        (
            "INSERT INTO benchmark_item VALUES ('b', 0, 'i', 9, 'so account-1', NULL)",
            "table benchmark_item.answer",
            "account id",
        ),
        (
            "INSERT INTO audit (audit_id, time_us, actor, action, subject) VALUES (9, 1, 'account-1', 'a', '')",
            "table audit.actor",
            "account id",
        ),
        ("INSERT INTO near_prompt VALUES ('p', 'b', 1, 1)", "table near_prompt.text_id", "text number"),
    ],
)
def test_a_row_that_was_overlooked_is_found(
    store: SqliteStore, exchange: Make, statement: str, place: str, kind: str
) -> None:
    store.append([exchange(1, account_id="account-1")])
    store._writer.run(lambda transaction: transaction.connection.execute(statement))
    found = {(item.place, item.kind) for item in proved(store, "account-1").residues}
    assert (place, kind) in found


@pytest.mark.parametrize("kind", ["account id", "text", "vector"])
def test_a_file_that_was_overlooked_is_found(
    store: SqliteStore, data_dir: Path, exchange: Make, embed: Embed, kind: str
) -> None:
    prompt = "a prompt that nobody else would ever send"
    store.append([exchange(1, account_id="account-1", prompt=prompt), exchange(2, account_id="b")])
    embed(store)
    own = store.exchange_text("e1", TextField.PROMPT)
    vector = store.vectors(np.array([own]))
    left = {"account id": b"account-1", "text": prompt.encode()[5:30], "vector": vector.astype("<f4").tobytes()}[kind]
    (data_dir / "index").mkdir()
    # Of a text any stretch of both ends would do; this one holds neither, so it takes the whole.
    (data_dir / "index" / "old-snapshot").write_bytes(b"\x01" * 999 + (prompt.encode() if kind == "text" else left))
    proof = proved(store, "account-1")
    assert {(item.place, item.kind) for item in proof.residues} == {("file index/old-snapshot", kind)}
    assert not proof.complete


def test_what_sqlite_left_in_an_unused_part_is_found_and_written_over(
    store: SqliteStore, data_dir: Path, exchange: Make
) -> None:
    store.append([exchange(n, account_id="account-1", prompt=f"{CANARY} is a text of its own, {n}") for n in range(40)])
    store._writer.run(lambda t: t.connection.execute("PRAGMA secure_delete").fetchone())
    store._writer._run_alone(lambda connection: connection.execute("PRAGMA secure_delete = OFF").fetchone())
    proof = proved(store, "account-1")
    assert (proof.compacted, proof.complete) == (True, True)
    assert found_in(data_dir, CANARY, "account-1") == []


def test_what_others_share_is_no_residue(store: SqliteStore, exchange: Make, embed: Embed) -> None:
    """The beginning of a template, an id inside of another, and a vector that two texts have in common."""
    template = "You are a helpful assistant. Translate what follows into French: "
    mine = [exchange(n, account_id="account-1", prompt=f"{template}{n} apples") for n in range(30)]
    theirs = [exchange(100 + n, account_id=f"account-1{n}", prompt=f"{template}{n} pears") for n in range(30)]
    store.append([*mine, *theirs])
    store.bind_model("test", 16)
    pending = [text_id for text_id, _ in store.pending_texts(100)]
    same = np.tile(np.random.default_rng(1).standard_normal(16), (len(pending), 1)).astype(np.float32)
    store.put_vectors(pending, same / np.linalg.norm(same, axis=1, keepdims=True))
    proof = proved(store, "account-1")
    assert proof.residues == ()
    assert (proof.texts, proof.vectors, proof.compacted) == (30, 30, False)


def test_a_short_id_is_looked_for_in_tables_alone(store: SqliteStore, exchange: Make) -> None:
    store.append([exchange(1), exchange(2, account_id="b", prompt="a")])
    proof = proved(store, "a")
    assert (proof.id_in_bytes, proof.complete) == (False, True)


def test_an_account_that_comes_back_is_told(store: SqliteStore, exchange: Make) -> None:
    store.append([exchange(1, account_id="account-1")])
    pending = store.begin_erasure("account-1", 10)
    belongings = Belongings()
    store.erase_account("account-1", 10, belongings)
    store.append([exchange(1, account_id="account-1")])
    store.finish_erasure(pending, 11)
    proof = store.prove_erasure("account-1", belongings)
    assert (proof.returned, proof.complete) == (1, True)


def test_a_history_that_names_the_account_anywhere_forgets_it(
    store: SqliteStore, exchange: Make, run: Callable[..., Run], finding: Callable[..., Finding]
) -> None:
    store.append([exchange(1, account_id="account-1"), exchange(2, account_id="b"), exchange(3, account_id="c")])
    finish(store, run("r1"), [finding("f", ("account-1", "b", "c")), finding("g", ("b", "c"))], [])
    store.add_review(Review("f", ReviewState.OPEN, "not them", "ann", 1, ReviewAction.SPLIT, accounts=("account-1",)))
    store.add_review(Review("g", ReviewState.OPEN, "as account-1 did", "ann", 2, ReviewAction.COMMENT))
    proof = proved(store, "account-1")
    assert proof.residues == ()
    assert [item.reason for item in store.reviews("g")] == ["as (erased) did"]


def test_a_rule_forgets_the_account_in_its_reason_too(store: SqliteStore, exchange: Make) -> None:
    store.append([exchange(1, account_id="account-1"), exchange(2, account_id="b")])
    listed = ("account-1", "b")
    made = store.add_rule(Rule("", RuleKind.ACCOUNTS, listed, "account-1 is the course of b", "ann", 1), "", {})
    proof = proved(store, "account-1")
    assert proof.residues == ()
    (rule,) = store.rules()
    assert (rule.rule_id, rule.values, rule.reason) == (made.rule_id, ("b",), "(erased) is the course of b")


def test_an_account_that_only_a_rule_names_is_named(store: SqliteStore) -> None:
    assert not store.is_named("account-1")
    store.add_rule(Rule("", RuleKind.ACCOUNTS, ("account-1",), "ours", "ann", 1), "", {})
    store.add_rule(Rule("", RuleKind.ORGANISATION, ("acme",), "ours", "ann", 1), "", {})
    assert store.is_named("account-1")
    assert not store.is_named("acme")


# What was asked for stands


def test_what_was_before_an_erasure_stays_out(store: SqliteStore, exchange: Make) -> None:
    old, new = exchange(1), exchange(2, time_us=2 * START_US)
    store.append([old])
    pending = store.begin_erasure("a", START_US + 5)
    again = store.append([old, exchange(3), exchange(4, account_id="b")])
    assert (again.stored, again.duplicates) == (1, 1)  # not yet erased: the same is still the same
    assert [(item.index, item.reason) for item in again.rejections] == [(1, "erased")]
    store.erase_account("a", START_US + 5)
    store.finish_erasure(pending, START_US + 6)
    late = store.append([old, new])
    assert (late.stored, [item.reason for item in late.rejections]) == (1, ["erased"])
    assert [item.exchange_id for item in store.exchanges(["e1", "e2"])] == ["e2"]


def test_an_erasure_is_pending_until_it_is_finished_and_then_nameless(
    store: SqliteStore, data_dir: Path, exchange: Make
) -> None:
    store.append([exchange(1, account_id=CANARY)])
    store.audit(AuditEntry(1, "somebody", "erase_account", CANARY)).result()
    assert store.erased_at(CANARY) is None
    first = store.begin_erasure(CANARY, 5)
    assert store.begin_erasure(CANARY, 6) == first
    assert store.pending_erasures() == [first]
    assert store.erased_at(CANARY) == 5
    store.erase_account(CANARY, 5)
    tombstone = store.finish_erasure(first, 7)
    assert store.pending_erasures() == []
    assert found_in(data_dir, CANARY) == []
    assert tombstone == f"erased:{store.erasure_ledger().tombstones[0].digest.hex()}"
    with sqlite3.connect(data_dir / "coterie.db") as connection:
        assert connection.execute("SELECT subject FROM audit").fetchall() == [(tombstone,)]
    connection.close()
    second = store.begin_erasure(CANARY, 8)
    assert (second.erasure_id, store.erased_at(CANARY)) == (first.erasure_id + 1, 8)


def test_an_older_copy_is_told_what_was_erased_since(data_dir: Path, tmp_path: Path, exchange: Make) -> None:
    with open_store(data_dir) as store:
        store.append([exchange(n, account_id=f"account-{n}") for n in range(4)])
    shutil.copytree(data_dir, tmp_path / "copy")
    with open_store(data_dir) as store:
        for number in (1, 2):
            proved(store, f"account-{number}")
        ledger = store.erasure_ledger()
    assert len(ledger.tombstones) == 2
    with open_store(tmp_path / "copy") as copy:
        assert copy.pending_erasures() == []
        assert copy.adopt_erasures(ledger, 20) == 2
        assert [item.account_id for item in copy.pending_erasures()] == ["account-1", "account-2"]
        assert copy.adopt_erasures(ledger, 21) == 0
        assert copy.erasure_ledger() == ledger
        with pytest.raises(ConflictError, match="another data folder"):
            copy.adopt_erasures(dataclasses.replace(ledger, key=bytes(32)), 22)
    with open_store(data_dir) as store:
        assert store.adopt_erasures(ledger, 23) == 0


def test_an_older_copy_forgets_also_who_only_its_audit_record_and_its_rules_name(
    data_dir: Path, tmp_path: Path, exchange: Make
) -> None:
    with open_store(data_dir):
        pass
    shutil.copytree(data_dir, tmp_path / "copy")
    with open_store(data_dir) as store:
        store.append([exchange(n, account_id=name) for n, name in enumerate((CANARY, "account-1"))])
        proved(store, CANARY)
        proved(store, "account-1")
        ledger = store.erasure_ledger()
    with open_store(tmp_path / "copy") as copy:
        copy.audit(AuditEntry(1, "ann", "read_account", CANARY)).result()
        copy.add_rule(Rule("", RuleKind.ACCOUNTS, ("account-1",), "ours", "ann", 1), "", {})
        assert copy.adopt_erasures(ledger, 20) == 2
        assert [item.account_id for item in copy.pending_erasures()] == [CANARY, "account-1"]
