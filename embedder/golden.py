"""The golden set: texts whose vectors are known, embedded at start-up to catch a model that came up wrong."""

import numpy as np
from numpy.typing import NDArray

from coterie.domain import UnavailableError
from coterie.embedder.encoder import Encoder

GOLDEN_TEXTS = (
    "How do I return a pair of shoes that does not fit?",
    "How can I return shoes that do not fit me?",
    "Write a function that reverses a linked list in place.",
    "Please write a function to reverse a linked list.",
    "The glacier carved a deep valley during the last ice age.",
    "What is 17 times 23? Show each step.",
    "¿Cuál es la capital de Australia?",
    "Tide tables list the predicted height of the sea for each hour of a day. " * 40,
)
"""Two paraphrase pairs, three texts apart from them, and one longer than a window."""

_PARAPHRASES = ((0, 1), (2, 3))
_UNRELATED = (4, 5)


def self_test(encoder: Encoder) -> None:
    """Embed the golden set and compare.

    Every model: finite unit vectors, a paraphrase nearer than an unrelated text, and the same vector alone as in a
    batch. A packaged model also: its known cosines and projections.

    Raises:
        UnavailableError: the encoder does not do what it should; nothing it makes may be stored.
    """
    vectors = encoder.encode(GOLDEN_TEXTS)
    _check_shape(encoder, vectors)
    _check_meaning(encoder, vectors)
    _check_batching(encoder, vectors)


def _check_shape(encoder: Encoder, vectors: NDArray[np.float32]) -> None:
    expected = (len(GOLDEN_TEXTS), encoder.dim)
    if vectors.shape != expected or vectors.dtype != np.float32:
        _drift(encoder, f"vectors are {vectors.dtype}{list(vectors.shape)}, expected float32{list(expected)}")
    if not np.isfinite(vectors).all():
        _drift(encoder, "vectors hold values that are not finite")
    if np.abs(np.linalg.norm(vectors, axis=1) - 1.0).max() > 1e-3:
        _drift(encoder, "vectors are not of length 1")


def _check_meaning(encoder: Encoder, vectors: NDArray[np.float32]) -> None:
    cosines = vectors @ vectors.T
    for one, other in _PARAPHRASES:
        for unrelated in _UNRELATED:
            if cosines[one, other] <= cosines[one, unrelated] + 0.05:
                _drift(encoder, f"golden text {one} is no nearer to its paraphrase than to text {unrelated}")


def _check_batching(encoder: Encoder, vectors: NDArray[np.float32]) -> None:
    for row in (0, len(GOLDEN_TEXTS) - 1):
        alone = encoder.encode([GOLDEN_TEXTS[row]])[0]
        if float(alone @ vectors[row]) < 0.999:
            _drift(encoder, f"golden text {row} has one vector alone and another in a batch")


def _drift(encoder: Encoder, what: str) -> None:
    raise UnavailableError(
        f"model {encoder.model_id!r} on {encoder.device} failed its self-test: {what}. "
        "Reinstall the model and torch, or try another device; vectors made now would be wrong"
    )
