"""The second vector space: vectors are made once, kept in the store, and the same ever after."""

import numpy as np
import pytest

from coterie.domain import CancelledRunError, UnavailableError
from coterie.embedder import MULTILINGUAL_MODEL, load_encoder
from coterie.server import Engine
from coterie.server.multilingual import Multilingual


@pytest.fixture
def multilingual(engine: Engine) -> Multilingual:
    try:
        load_encoder(MULTILINGUAL_MODEL)
    except UnavailableError as error:
        pytest.skip(str(error))
    return Multilingual(engine.store)


def test_vectors_are_made_once_and_stay_the_same(multilingual: Multilingual, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["Where is the station?", "¿Dónde está la estación?", "Bake a cake.", "Where is  the station?"]
    shares: list[float] = []
    first = multilingual.vectors(texts, lambda: False, shares.append)
    assert first.shape == (4, 512)
    assert shares[-1] == 1.0
    np.testing.assert_array_equal(first[0], first[3])  # one text, but for its spaces
    assert first[0] @ first[1] > first[0] @ first[2] + 0.2

    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("a text was embedded again")

    monkeypatch.setattr(multilingual.encoder(), "encode", refuse)
    np.testing.assert_array_equal(multilingual.vectors(texts[::-1], lambda: False), first[::-1])


def test_a_cancelled_call_says_so(multilingual: Multilingual) -> None:
    with pytest.raises(CancelledRunError):
        multilingual.vectors(["a text nobody has embedded"], lambda: True)


def test_no_texts_give_no_rows(multilingual: Multilingual) -> None:
    assert multilingual.vectors([], lambda: False).shape == (0, 512)
