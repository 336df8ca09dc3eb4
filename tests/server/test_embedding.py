"""The queue of texts without a vector is emptied, and a query does not wait for it."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from coterie.domain import CancelledRunError, ConflictError, Exchange, TextField, UnavailableError
from coterie.embedder import load_encoder
from coterie.server import Config, Engine, Query


def test_what_is_ingested_is_embedded_in_the_background(
    engine: Engine, exchange: Callable[..., Exchange], until: Callable[..., None]
) -> None:
    engine.ingest([exchange(number, response=f"answer {number}") for number in range(300)]).result(10)
    until(lambda: engine.stats().pending_texts == 0)
    assert engine.stats().texts == 600
    exact = load_encoder("hash").encode(["answer 17"])[0]
    text_id = engine.store.exchange_text(exchange(17).exchange_id, TextField.RESPONSE)
    assert np.allclose(engine.store.vectors(np.array([text_id])) @ exact, 1.0, atol=1e-3)


def test_a_lazy_service_embeds_only_when_asked(config: Config, exchange: Callable[..., Exchange]) -> None:
    lazy = Config(data_dir=config.data_dir, model="hash", lazy_model=True)
    engine = Engine.open(lazy)
    try:
        engine.ingest([exchange(number) for number in range(10)]).result(10)
        assert engine.stats().pending_texts == 10
        assert not engine.ready
        shares: list[float] = []
        assert engine.embed_pending(shares.append, lambda: False) == 10
        assert shares[-1] == 1.0
        assert engine.stats().pending_texts == 0
    finally:
        engine.close()


def test_embedding_stops_when_cancelled_and_goes_on_later(config: Config, exchange: Callable[..., Exchange]) -> None:
    engine = Engine.open(Config(data_dir=config.data_dir, model="hash", lazy_model=True, embed_slice_texts=20))
    try:
        engine.ingest([exchange(number) for number in range(100)]).result(10)
        done: list[float] = []
        with pytest.raises(CancelledRunError):
            engine.embed_pending(done.append, lambda: bool(done))
        assert 0 < engine.stats().pending_texts < 100
        engine.embed_pending(done.append, lambda: False)
        assert engine.stats().pending_texts == 0
    finally:
        engine.close()


def test_another_model_is_refused_with_the_way_out(config: Config) -> None:
    first = Engine.open(config)
    first.warm_up()
    first.close()
    second = Engine.open(Config(data_dir=config.data_dir, model="hash-64"))
    try:
        for _ in range(2):
            with pytest.raises(ConflictError, match="hash-256"):
                second.warm_up()
        assert not second.ready
    finally:
        second.close()


def test_a_model_that_drifts_is_not_used(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def drift(_: Any) -> None:
        raise UnavailableError("the model drifted")

    monkeypatch.setattr("coterie.embedder.self_test", drift)
    engine = Engine.open(config)
    try:
        with pytest.raises(UnavailableError, match="drifted"):
            engine.warm_up()
        assert not engine.ready
        assert engine.store.model() is None
        with pytest.raises(UnavailableError, match="drifted"):
            engine.search(Query(text="anything"))
    finally:
        engine.close()


def test_the_loop_outlives_a_model_that_fails_for_a_moment(
    engine: Engine,
    exchange: Callable[..., Exchange],
    until: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoder = engine._embedding.encoder()
    encode = type(encoder).encode
    failures: list[int] = []

    def flaky(self: Any, texts: Any, **more: Any) -> Any:
        if not failures:
            failures.append(1)
            raise RuntimeError("out of memory")
        return encode(self, texts, **more)

    monkeypatch.setattr(type(encoder), "encode", flaky)
    engine.ingest([exchange(1)]).result(10)
    until(lambda: engine.stats().pending_texts == 0)
    assert failures == [1]


def test_a_run_sees_the_progress_of_the_background_and_can_be_cancelled_meanwhile(
    config: Config, exchange: Callable[..., Exchange]
) -> None:
    engine = Engine.open(Config(data_dir=config.data_dir, model="hash", lazy_model=True))
    try:
        engine.ingest([exchange(number) for number in range(50)]).result(10)
        embedding = engine._embedding
        background = threading.Thread(target=embedding.embed_pending, args=(lambda _: None, lambda: False))
        shares: list[float] = []
        with embedding._slice:
            with pytest.raises(CancelledRunError):
                embedding.embed_pending(shares.append, lambda: bool(shares))
            assert shares == [0.0]
            waiting = threading.Thread(target=embedding.embed_pending, args=(shares.append, lambda: False))
            waiting.start()
            background.start()
        waiting.join(10)
        background.join(10)
        assert shares[-1] == 1.0
        assert engine.stats().pending_texts == 0
    finally:
        engine.close()
