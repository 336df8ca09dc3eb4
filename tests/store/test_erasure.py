"""An erased account leaves nothing behind, and nothing of others goes with it."""

import dataclasses
import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from coterie.domain import (
    BenchmarkItem,
    Erasure,
    Evidence,
    Exchange,
    Finding,
    NotFoundError,
    Review,
    ReviewState,
    Run,
    RunState,
    SearchFilter,
    Slice,
    Standing,
    TextField,
    text_digest,
)
from coterie.store import SqliteStore

Make = Callable[..., Exchange]
Embed = Callable[[SqliteStore], list[int]]
CANARY = "canary-7f3a"


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
        erasure = store.erase_account(f"{needles[account]}account", 1)
        assert (erasure.exchanges, erasure.texts) == (30, 61)
        assert (data_dir / "coterie.db-wal").stat().st_size == 0
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
