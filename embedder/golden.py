"""The golden set: texts whose vectors are known, embedded at start-up to catch a model that came up wrong."""

from typing import NoReturn

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
_MARGIN_MIN = 0.05
_SAME_COSINE_MIN = 0.999
_NORM_TOLERANCE = 1e-3

_COSINES = {
    # Above the diagonal, row by row, in float32.
    "all-MiniLM-L6-v2": (
        *(0.903, 0.129, 0.144, 0.007, 0.086, -0.076, -0.064),
        *(0.091, 0.093, -0.003, 0.016, -0.074, -0.057),
        *(0.971, 0.031, 0.113, 0.040, 0.072),
        *(0.036, 0.164, 0.054, 0.085),
        *(0.032, 0.065, 0.013),
        *(0.115, 0.109),
        -0.050,
    ),
    "use-multilingual-v3": (
        *(0.932, 0.087, 0.103, -0.073, 0.129, 0.180, 0.013),
        *(0.048, 0.060, -0.063, 0.107, 0.156, -0.004),
        *(0.936, -0.032, 0.138, -0.002, 0.121),
        *(-0.056, 0.123, -0.024, 0.109),
        *(-0.000, 0.084, 0.027),
        *(0.147, 0.220),
        0.045,
    ),
}
_COSINE_TOLERANCE = 0.01
"""Ten times what bfloat16 changes."""

_PROJECTIONS = {
    # Cosines do not see a rotated space, which stored vectors would not match; these do. See `projections`.
    "all-MiniLM-L6-v2": (
        (0.0066, 0.0671, 0.0553),
        (-0.0444, 0.0757, 0.0539),
        (0.0975, -0.0539, -0.0348),
        (0.0961, -0.0537, -0.0408),
        (-0.0082, 0.0400, -0.0083),
        (0.0393, -0.0495, -0.0122),
        (-0.0297, -0.0372, 0.0039),
        (0.1153, -0.0905, 0.0081),
    ),
    "use-multilingual-v3": (
        (0.0586, 0.0089, -0.0734),
        (0.0454, 0.0105, -0.0501),
        (0.0539, 0.1099, 0.0042),
        (0.0385, 0.1209, -0.0112),
        (-0.0634, -0.0277, 0.0274),
        (0.0483, 0.0128, 0.0588),
        (0.0752, 0.0641, 0.0226),
        (0.0087, 0.0809, -0.0292),
    ),
}
_PROJECTION_TOLERANCE = 0.005


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
    if encoder.model_id in _COSINES:
        _check_reference(encoder, vectors)


def projections(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Components along three fixed directions, unit vectors along cos(j * (0, 1, 2, ...)): float32[n, 3]."""
    directions = np.cos(np.outer((1, 2, 3), np.arange(vectors.shape[1]))).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    components: NDArray[np.float32] = vectors @ directions.T
    return components


def _check_shape(encoder: Encoder, vectors: NDArray[np.float32]) -> None:
    expected = (len(GOLDEN_TEXTS), encoder.dim)
    if vectors.shape != expected or vectors.dtype != np.float32:
        _drift(encoder, f"vectors are {vectors.dtype}{list(vectors.shape)}, expected float32{list(expected)}")
    if not np.isfinite(vectors).all():
        _drift(encoder, "vectors hold values that are not finite")
    if np.abs(np.linalg.norm(vectors, axis=1) - 1.0).max() > _NORM_TOLERANCE:
        _drift(encoder, "vectors are not of length 1")


def _check_meaning(encoder: Encoder, vectors: NDArray[np.float32]) -> None:
    cosines = vectors @ vectors.T
    for one, other in _PARAPHRASES:
        for unrelated in _UNRELATED:
            if cosines[one, other] <= cosines[one, unrelated] + _MARGIN_MIN:
                _drift(encoder, f"golden text {one} is no nearer to its paraphrase than to text {unrelated}")


def _check_batching(encoder: Encoder, vectors: NDArray[np.float32]) -> None:
    for row in (0, len(GOLDEN_TEXTS) - 1):
        alone = encoder.encode([GOLDEN_TEXTS[row]])[0]
        if float(alone @ vectors[row]) < _SAME_COSINE_MIN:
            _drift(encoder, f"golden text {row} has one vector alone and another in a batch")


def _check_reference(encoder: Encoder, vectors: NDArray[np.float32]) -> None:
    above_diagonal = np.triu_indices(len(vectors), 1)
    cosine_error = np.abs((vectors @ vectors.T)[above_diagonal] - np.array(_COSINES[encoder.model_id])).max()
    if cosine_error > _COSINE_TOLERANCE:
        _drift(encoder, f"golden cosines are off by up to {cosine_error:.3f}")
    projection_error = np.abs(projections(vectors) - np.array(_PROJECTIONS[encoder.model_id])).max()
    if projection_error > _PROJECTION_TOLERANCE:
        _drift(encoder, f"golden projections are off by up to {projection_error:.3f}")


def _drift(encoder: Encoder, what: str) -> NoReturn:
    raise UnavailableError(
        f"model {encoder.model_id!r} on {encoder.device} failed its self-test: {what}. "
        "Reinstall the model and torch, or try another device; vectors made now would be wrong"
    )
