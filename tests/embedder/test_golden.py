"""The self-test passes a sound model and fails every kind of broken one."""

import numpy as np
import pytest

from coterie.domain import UnavailableError
from coterie.embedder import self_test
from coterie.embedder.golden import GOLDEN_TEXTS


class Changed:
    """An encoder whose vectors are passed through a function; calls for one text are not, if asked."""

    def __init__(self, encoder, change, *, model_id=None, in_batches_only=False):
        self.model_id = model_id or encoder.model_id
        self.dim, self.device = encoder.dim, encoder.device
        self._encoder, self._change, self._in_batches_only = encoder, change, in_batches_only

    def encode(self, texts, **_):
        vectors = self._encoder.encode(texts)
        return vectors if self._in_batches_only and len(texts) == 1 else self._change(vectors)


def pulled_together(vectors):
    added = vectors + np.float32(0.02)
    return added / np.linalg.norm(added, axis=1, keepdims=True)


def random_rows(vectors):
    rows = np.random.default_rng(0).normal(size=vectors.shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def with_nan(vectors):
    broken = vectors.copy()
    broken[2, 3] = np.nan
    return broken


@pytest.fixture(params=["minilm", "multilingual"])
def packaged(request):
    return request.getfixturevalue(request.param)


def test_a_sound_model_passes(packaged):
    self_test(packaged)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda vectors: vectors.astype(np.float64), "float64"),
        (lambda vectors: vectors[:, :-1], "expected float32"),
        (with_nan, "not finite"),
        (lambda vectors: vectors * np.float32(1.1), "length 1"),
        (random_rows, "paraphrase"),
        (lambda vectors: np.abs(vectors[:1]).repeat(len(vectors), axis=0), "paraphrase|length"),
    ],
)
def test_any_broken_model_fails(minilm, change, what):
    with pytest.raises(UnavailableError, match=what):
        self_test(Changed(minilm, change, model_id="some-model"))


def test_vectors_that_depend_on_the_batch_fail(minilm):
    with pytest.raises(UnavailableError, match="alone"):
        self_test(Changed(minilm, lambda vectors: np.roll(vectors, 1, axis=1), in_batches_only=True))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (pulled_together, "cosines"),
        (lambda vectors: np.roll(vectors, 1, axis=1), "projections"),
        (lambda vectors: -vectors, "projections"),
    ],
)
def test_a_packaged_model_that_drifts_fails(packaged, change, what):
    with pytest.raises(UnavailableError, match=what):
        self_test(Changed(packaged, change))


def test_messages_hold_no_text(minilm):
    with pytest.raises(UnavailableError) as caught:
        self_test(Changed(minilm, random_rows))
    assert not any(text[:20] in str(caught.value) for text in GOLDEN_TEXTS)
