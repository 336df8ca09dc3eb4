"""An erasure of the whole service: everywhere at once, proved, beside runs and ingest, and through a crash."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coterie.domain import AccountId, ExchangeId, NotFoundError, RunState
from coterie.server import Config, Engine
from coterie.server.erasure import Eraser

ACCOUNT = AccountId("canary-account")
TEXT = "canary words that nobody else has ever sent, number"


class CrashError(BaseException):
    """Stands for the end of the process: nothing catches it."""


@pytest.fixture
def filled(config: Config, engine: Engine, exchange: Any) -> Engine:
    fill(engine, exchange)
    engine.embed_pending(lambda _: None, lambda: False)
    return engine


def fill(engine: Engine, exchange: Any) -> None:
    mine = [
        exchange(900 + n, account=ACCOUNT, prompt=f"{TEXT} {n}", response=f"answers to {TEXT} {n}") for n in range(20)
    ]
    engine.ingest([exchange(n) for n in range(60)] + mine).result()


def left_in(config: Config) -> list[str]:
    """Files that hold the account's name or one of its texts."""
    needles = (ACCOUNT.encode(), TEXT.encode())
    paths = [path for path in config.data_dir.rglob("*") if path.is_file()]
    return [str(path.relative_to(config.data_dir)) for path in paths if any(n in path.read_bytes() for n in needles)]


def test_nothing_is_left_in_any_file_and_the_proof_says_so(
    config: Config, filled: Engine, finished: Callable[..., Any]
) -> None:
    run = finished(filled, filled.start_run(None, None).run_id)
    assert run.state is RunState.DONE
    assert "coterie.db" in " ".join(left_in(config))
    erasure = filled.erase_account(ACCOUNT)
    assert erasure.proof is not None
    assert erasure.proof.complete
    assert (erasure.exchanges, erasure.texts, erasure.proof.texts, erasure.proof.vectors) == (20, 40, 40, 40)
    assert left_in(config) == []
    assert erasure.proof.files >= len([path for path in config.data_dir.rglob("*") if path.is_file()]) - 1
    assert filled.store.pending_erasures() == []


def test_erasing_twice_looks_twice(filled: Engine) -> None:
    first, second = filled.erase_account(ACCOUNT), filled.erase_account(ACCOUNT)
    assert (second.exchanges, second.texts, second.tombstone) == (0, 0, first.tombstone)
    assert second.proof is not None
    assert second.proof.complete
    with pytest.raises(NotFoundError):
        filled.erase_account(AccountId("nobody"))


def test_while_a_run_is_at_work_the_erasure_waits_for_its_end(
    config: Config, filled: Engine, finished: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run may have read the texts, and be about to write what it derived from them."""
    derived, go = threading.Event(), threading.Event()
    put = filled.store.put_view_vectors

    def put_late(*arguments: Any) -> None:
        derived.set()
        go.wait(30)
        put(*arguments)

    monkeypatch.setattr(filled.store, "put_view_vectors", put_late)
    run = filled.start_run(None, None)
    if not derived.wait(30):
        pytest.fail("the run derived no text")
    threading.Timer(0.3, go.set).start()
    erasure = filled.erase_account(ACCOUNT)
    assert go.is_set()
    assert finished(filled, run.run_id).state is RunState.FAILED
    assert erasure.proof is not None
    assert erasure.proof.complete
    assert left_in(config) == []
    with filled.store._readers.snapshot() as connection:  # type: ignore[attr-defined]
        assert connection.execute("SELECT count(*) FROM view_vector").fetchone() == (0,)


def test_beside_ingest_what_came_before_goes_and_nothing_of_others(
    config: Config, filled: Engine, exchange: Any
) -> None:
    stop = threading.Event()
    stored = []

    def stream() -> None:
        number = 1_000
        while not stop.is_set():
            batch = [exchange(number + n, prompt=f"other words {number + n}") for n in range(8)]
            batch.append(exchange(number + 8, account=ACCOUNT, prompt=f"{TEXT} {number}"))
            result = filled.ingest(batch).result()
            stored.append(result.stored)
            number += 9

    thread = threading.Thread(target=stream)
    thread.start()
    try:
        while len(stored) < 5:
            pass
        erasure = filled.erase_account(ACCOUNT)
    finally:
        stop.set()
        thread.join()
    assert erasure.proof is not None
    assert erasure.proof.complete
    assert stored[0] == 9
    assert stored[-1] == 8  # what it sends late is of before its erasure
    assert left_in(config) == []
    others = sum(min(count, 8) for count in stored)
    assert filled.stats().exchanges == 60 + others


@pytest.mark.parametrize("point", ["erase_account", "purge", "finish_erasure", "prove_erasure"])
def test_after_a_crash_the_next_start_goes_on(
    config: Config, exchange: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, point: str
) -> None:
    engine = Engine.open(config)
    engine.warm_up()
    fill(engine, exchange)
    engine.embed_pending(lambda _: None, lambda: False)
    engine._made_indexes().save()

    def crash(*_: Any, **__: Any) -> None:
        raise CrashError

    if point == "purge":
        monkeypatch.setattr(engine._eraser, "_purge", crash)
    else:
        monkeypatch.setattr(engine.store, point, crash)
    with pytest.raises(CrashError):
        engine.erase_account(ACCOUNT)
    pending = [item.account_id for item in engine.store.pending_erasures()]
    assert pending == ([] if point == "prove_erasure" else [ACCOUNT])
    monkeypatch.undo()
    # As a killed process leaves them: no snapshot is written.
    engine.stop_jobs()
    engine._loop.close()
    engine.store.close()

    engine = Engine.open(config)
    try:
        assert engine.store.pending_erasures() == []
        assert left_in(config) == []
        again = engine.erase_account(ACCOUNT).proof
        assert again is not None
        assert again.complete
        assert engine.stats().exchanges == 60
    finally:
        engine.close()
    assert ACCOUNT not in caplog.text


def test_a_snapshot_that_still_names_a_text_is_told(filled: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where an index does not forget, the proof must not say that nothing is left."""
    indexes = filled._made_indexes()
    indexes.follow()
    for index in indexes.fields.values():
        monkeypatch.setattr(index, "follow", lambda: None)
        monkeypatch.setattr(index, "save", lambda: None)
    proof = filled.erase_account(ACCOUNT).proof
    assert proof is not None
    assert not proof.complete
    assert {(item.place, item.count) for item in proof.residues} == {
        ("index of prompts", 20),
        ("index of responses", 20),
    }


def test_an_erasure_that_fails_leaves_its_intent(filled: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filled._eraser, "_purge", lambda _: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        filled.erase_account(ACCOUNT)
    assert [item.account_id for item in filled.store.pending_erasures()] == [ACCOUNT]
    monkeypatch.undo()
    filled._eraser.resume()
    assert filled.store.pending_erasures() == []
    assert isinstance(filled._eraser, Eraser)


def test_only_the_erased_exchanges_are_refused(filled: Engine, exchange: Any) -> None:
    filled.erase_account(ACCOUNT)
    result = filled.ingest([exchange(900, account=ACCOUNT, prompt=f"{TEXT} 0"), exchange(70)]).result()
    assert (result.stored, [item.reason for item in result.rejections]) == (1, ["erased"])
    assert filled.store.exchanges([ExchangeId("e00900")]) == []


def test_the_snapshots_of_another_model_are_looked_at_too(config: Config, filled: Engine) -> None:
    stray: Path = config.data_dir / "index" / "left-behind.bin"
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"header" + f"{TEXT} 3".encode())
    proof = filled.erase_account(ACCOUNT).proof
    assert proof is not None
    assert [(item.place, item.kind) for item in proof.residues] == [("file index/left-behind.bin", "text")]
