"""Runs, findings, reviews, standings and the outbox."""

import dataclasses
import json
from collections.abc import Callable

import pytest

from coterie.domain import (
    AccountId,
    ConflictError,
    CoterieError,
    Finding,
    InvalidError,
    Lineage,
    NotFoundError,
    ParameterSet,
    Review,
    ReviewBasis,
    ReviewState,
    Run,
    RunState,
    Severity,
    Slice,
    Standing,
    TextField,
)
from coterie.store import SqliteStore, changes, queries, records

MakeRun = Callable[..., Run]
MakeFinding = Callable[..., Finding]


def finish(store: SqliteStore, run: Run, findings: list[Finding], standings: list[Standing] | None = None) -> Run:
    done = dataclasses.replace(run, state=RunState.DONE, progress=1.0)
    store.create_run(run)
    store.finish_run(done, findings, standings or [])
    return done


def test_a_run_is_created_updated_and_read(store: SqliteStore, run: MakeRun) -> None:
    first = run("r1", parameters={"k": 30.0}, measures={"exchanges": 3.0})
    store.create_run(first)
    assert store.run("r1") == first
    running = dataclasses.replace(first, state=RunState.RUNNING, stage="cluster", progress=0.5)
    store.update_run(running)
    assert store.run("r1") == store.run("") == running
    with pytest.raises(ConflictError, match="there is a run r1 already"):
        store.create_run(first)
    assert store.run("r1") == running


SLICES = [
    Slice(models=("m1",)),
    Slice(accounts=("a1", "a2")),
    Slice(attributes={"organisation": "o1"}),
    Slice(field=TextField.RESPONSE),
]


@pytest.mark.parametrize("part", [Slice(), *SLICES])
def test_a_run_keeps_its_slice_and_its_parameter_sets(store: SqliteStore, run: MakeRun, part: Slice) -> None:
    made = run("r1", slice=part, sets=(ParameterSet(5, 10), ParameterSet(7)))
    store.create_run(made)
    assert store.run("r1") == made
    done = finish(store, run("r2", slice=part), [])
    assert store.runs(limit=1) == [done]


@pytest.mark.parametrize("part", SLICES)
def test_a_run_on_a_slice_leaves_the_standing_picture_alone(
    store: SqliteStore, run: MakeRun, finding: MakeFinding, part: Slice
) -> None:
    finish(store, run("on a slice", 1, slice=part), [finding("s")], [Standing("a", 7)])
    assert store.findings() == ("", [])
    assert store.standing("a") == ("", None)
    assert store.last_event() == store.stats().findings == 0
    finish(store, run("whole", 2), [finding("f")], [Standing("a", 1, ("f",))])
    standing, told = store.standing("a"), store.last_event()
    finish(store, run("later", 3, slice=part), [finding("s"), finding("t")], [Standing("a", 9), Standing("b", 9)])
    assert store.findings()[0] == "whole"
    assert store.standing("a") == standing == ("whole", Standing("a", 1, ("f",)))
    assert store.standing("b") == ("whole", None)
    assert (store.last_event(), store.stats().findings) == (told, 1)
    assert [item.finding_id for item in store.findings("later")[1]] == ["s", "t"]
    assert store.finding("s").run_id == "later"
    assert store.run("").run_id == "later"


def test_a_run_is_compared_with_the_newest_of_an_equal_slice(store: SqliteStore, run: MakeRun) -> None:
    for created_us, part in enumerate([*SLICES, Slice(), *SLICES, Slice()]):
        finish(store, run(f"r{created_us}", created_us, slice=part), [])
    store.create_run(run("unfinished", 99))
    assert [store.last_done(part) for part in [*SLICES, Slice()]] == ["r5", "r6", "r7", "r8", "r9"]
    assert store.last_done(Slice(accounts=("a2", "a1", "a2"))) == "r6"
    assert store.last_done(Slice(models=("m1",), field=TextField.RESPONSE)) == ""


def test_a_run_recorded_before_there_were_slices_was_whole(
    store: SqliteStore, run: MakeRun, finding: MakeFinding
) -> None:
    done = finish(store, run("r1"), [finding("f")])
    old = json.loads(records.to_record(done))
    for name in ("slice", "slice_key", "sets"):
        del old[name]
    store._writer.run(lambda made: made.connection.execute("UPDATE run SET record = ?", (json.dumps(old),)))
    assert store.run("r1") == done
    assert store.last_done(Slice()) == store.findings()[0] == "r1"


def test_a_review_of_a_slices_finding_is_announced(store: SqliteStore, run: MakeRun, finding: MakeFinding) -> None:
    finish(store, run("r1", slice=SLICES[0]), [finding("s")])
    store.add_review(Review("s", ReviewState.ESCALATED, "look at this", "ann", 10))
    assert [(item.finding_id, item.review.value) for _, item in store.events(0, 10)] == [("s", "escalated")]


def test_unknown_runs_are_not_found(store: SqliteStore, run: MakeRun) -> None:
    for call in (lambda: store.run(""), lambda: store.run("r9"), lambda: store.update_run(run("r9"))):
        with pytest.raises(NotFoundError):
            call()
    with pytest.raises(NotFoundError, match="no run r9"):
        store.finish_run(run("r9", state=RunState.DONE), [], [])
    with pytest.raises(NotFoundError, match="no run r9"):
        store.findings("r9")


def test_runs_are_listed_newest_first_page_by_page(store: SqliteStore, run: MakeRun) -> None:
    for name, created_us in (("b", 2), ("a", 2), ("d", 1), ("c", 3), ("e", 2)):
        store.create_run(run(name, created_us))
    seen: list[str] = []
    before = None
    while page := store.runs(limit=2, before=before):
        assert len(page) <= 2
        seen += [item.run_id for item in page]
        before = (page[-1].created_us, page[-1].run_id)
    assert seen == ["c", "e", "b", "a", "d"]
    assert store.run("").run_id == "c"


def test_findings_come_back_whole_and_in_order(store: SqliteStore, run: MakeRun, finding: MakeFinding) -> None:
    findings = [
        finding("low", severity=Severity.LOW, confidence=0.9),
        finding("b", severity=Severity.HIGH),
        finding("a", severity=Severity.HIGH, lineage=Lineage.MERGED, lineage_of=("x", "y")),
        finding("sure", severity=Severity.HIGH, confidence=0.75),
        finding("critical", severity=Severity.CRITICAL, confidence=0.1),
    ]
    done = finish(store, run("r1"), findings)
    run_id, found = store.findings()
    assert run_id == "r1"
    assert [item.finding_id for item in found] == ["critical", "sure", "a", "b", "low"]
    expected = {item.finding_id: dataclasses.replace(item, run_id="r1") for item in findings}
    assert {item.finding_id: item for item in found} == expected
    assert store.finding("a") == expected["a"]
    assert store.findings("r1") == (run_id, found)
    assert store.run("r1") == done
    assert store.stats().findings == 5


def test_before_any_run_there_are_no_findings(store: SqliteStore, run: MakeRun) -> None:
    store.create_run(run("r1"))
    assert store.findings() == ("", [])
    assert store.findings("r1") == ("r1", [])
    assert store.standing("a") == ("", None)
    assert store.events(0, 10) == []
    assert store.last_event() == 0
    with pytest.raises(NotFoundError, match="no finding f"):
        store.finding("f")


def test_the_newest_finished_run_speaks(store: SqliteStore, run: MakeRun, finding: MakeFinding) -> None:
    finish(store, run("r1", 1), [finding("f", title="old"), finding("gone")], [Standing("a", 1)])
    finish(store, run("r2", 2), [finding("f", title="new")], [Standing("a", 2, ("f",), "pool", 0.5, "too few", 3)])
    store.create_run(run("r3", 3))
    store.update_run(run("r3", 3, state=RunState.FAILED, error="broken"))
    assert store.findings()[0] == "r2"
    assert (store.finding("f").title, store.finding("f").run_id) == ("new", "r2")
    assert store.finding("gone").run_id == "r1"
    assert [item.title for item in store.findings("r1")[1] if item.finding_id == "f"] == ["old"]
    assert store.standing("a") == ("r2", Standing("a", 2, ("f",), "pool", 0.5, "too few", 3))
    assert store.standing("b") == ("r2", None)


@pytest.mark.parametrize("state", [RunState.DONE, RunState.FAILED, RunState.CANCELLED])
def test_a_finished_run_is_immutable(store: SqliteStore, run: MakeRun, finding: MakeFinding, state: RunState) -> None:
    if state is RunState.DONE:
        finish(store, run("r1"), [finding("f")])
    else:
        store.create_run(run("r1"))
        store.update_run(run("r1", state=state))
    before = (store.run("r1"), store.findings("r1"), store.last_event())
    with pytest.raises(ConflictError, match=f"run r1 is {state.value} and can no longer change"):
        store.update_run(run("r1", state=RunState.RUNNING))
    with pytest.raises(ConflictError, match="can no longer change"):
        store.finish_run(run("r1", state=RunState.DONE), [finding("g")], [])
    assert (store.run("r1"), store.findings("r1"), store.last_event()) == before


def test_done_needs_finish_run_and_finish_run_needs_done(store: SqliteStore, run: MakeRun) -> None:
    store.create_run(run("r1"))
    with pytest.raises(InvalidError, match="use finish_run"):
        store.update_run(run("r1", state=RunState.DONE))
    with pytest.raises(InvalidError, match="use update_run"):
        store.finish_run(run("r1", state=RunState.FAILED), [], [])
    assert store.run("r1").state is RunState.PENDING


@pytest.mark.parametrize("step", ["_insert_finding", "_insert_event", "to_record"])
def test_finishing_a_run_is_all_or_nothing(
    store: SqliteStore, run: MakeRun, finding: MakeFinding, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Fails at the second finding, or at the standings, after the run's row and the first finding are written."""
    store.create_run(run("r1"))
    original = getattr(changes, step)
    calls = 0

    def breaking(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == (4 if step == "to_record" else 2):
            raise OSError("on purpose")
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(changes, step, breaking)
        with pytest.raises(CoterieError):
            store.finish_run(run("r1", state=RunState.DONE), [finding("f"), finding("g")], [Standing("a", 1)])
    assert store.run("r1").state is RunState.PENDING
    assert store.findings() == ("", [])
    assert store.events(0, 10) == []
    store.finish_run(run("r1", state=RunState.DONE), [finding("f"), finding("g")], [Standing("a", 1)])
    assert [item.finding_id for item in store.findings()[1]] == ["f", "g"]
    assert len(store.events(0, 10)) == 2


def test_two_findings_with_one_id_are_refused(store: SqliteStore, run: MakeRun, finding: MakeFinding) -> None:
    store.create_run(run("r1"))
    with pytest.raises(InvalidError, match="one id"):
        store.finish_run(run("r1", state=RunState.DONE), [finding("f"), finding("f")], [])
    assert store.run("r1").state is RunState.PENDING


def test_a_review_follows_the_finding_from_run_to_run(store: SqliteStore, run: MakeRun, finding: MakeFinding) -> None:
    finish(store, run("r1", 1), [finding("f"), finding("g")])
    assert store.finding("f").review is ReviewState.OPEN
    decisions = [
        Review("f", ReviewState.WATCHED, "let us see", "ann", 10),
        Review("f", ReviewState.CONFIRMED, "seen", "bob", 5),
    ]
    for decision in decisions:
        assert store.add_review(decision).review is decision.decision
    assert [
        dataclasses.replace(item, version=0, run_id="", basis=ReviewBasis()) for item in store.reviews("f")
    ] == decisions
    assert [(item.version, item.run_id) for item in store.reviews("f")] == [(1, "r1"), (2, "r1")]
    assert store.reviews("g") == []
    finish(store, run("r2", 2), [finding("f"), finding("g")])
    for run_id in ("", "r1", "r2"):
        states = {item.finding_id: item.review for item in store.findings(run_id)[1]}
        assert states == {"f": ReviewState.CONFIRMED, "g": ReviewState.OPEN}
    with pytest.raises(NotFoundError, match="no finding h"):
        store.add_review(Review("h", ReviewState.DISMISSED, "", "ann", 1))


def test_the_outbox_tells_of_every_finding_and_review_in_order(
    store: SqliteStore, run: MakeRun, finding: MakeFinding
) -> None:
    finish(store, run("r1", 1), [finding("f"), finding("g")])
    store.add_review(Review("g", ReviewState.DISMISSED, "benign", "ann", 10))
    finish(store, run("r2", 2), [finding("g")])
    events = store.events(0, 10)
    assert [(item.finding_id, item.run_id, item.review.value) for _, item in events] == [
        ("f", "r1", "open"),
        ("g", "r1", "dismissed"),
        ("g", "r1", "dismissed"),
        ("g", "r2", "dismissed"),
    ]
    numbers = [number for number, _ in events]
    assert numbers == sorted(set(numbers))
    assert store.last_event() == numbers[-1]
    assert store.events(numbers[1], 1) == events[2:3]
    assert store.events(numbers[-1], 10) == []


def test_what_is_gone_is_what_was_last_said_to_be(store: SqliteStore, run: MakeRun, finding: MakeFinding) -> None:
    went, part = {"lineage": Lineage.GONE}, Slice(models=("m",))
    finish(store, run("r1", 1), [finding("back"), finding("early"), finding("late"), finding("merged")])
    finish(store, run("s1", 2, slice=part), [finding("slice", **went)])
    finish(store, run("r2", 3), [finding("back", **went), finding("early", ("c", "d"), **went), finding("late")])
    finish(store, run("r3", 4), [finding("back", returned=True), finding("late", **went)])
    finish(store, run("r4", 5), [finding("back")])
    gone = store.gone(Slice(), 9)
    assert [(item.finding_id, item.lineage, item.run_id) for item in gone] == [
        ("late", Lineage.GONE, "r3"),
        ("early", Lineage.GONE, "r2"),
    ]
    assert [account.account_id for account in gone[1].accounts] == ["c", "d"]
    assert [item.finding_id for item in store.gone(Slice(), 1)] == ["late"]
    assert [item.finding_id for item in store.gone(part, 9)] == ["slice"]
    for account_id in ("c", "d"):
        store.erase_account(AccountId(account_id), 6)
    assert [item.finding_id for item in store.gone(Slice(), 9)] == ["late"]


def test_what_is_gone_is_found_without_reading_every_record(store: SqliteStore) -> None:
    with store._readers.snapshot() as connection:
        seen: list[str] = []
        connection.set_trace_callback(seen.append)
        queries.gone(connection, Slice(), 5)
        connection.set_trace_callback(None)
        plan = connection.execute(f"EXPLAIN QUERY PLAN {seen[0]}").fetchall()
    assert any("finding_gone" in row[3] for row in plan)
    assert not any(row[3] == "SCAN f" for row in plan)
