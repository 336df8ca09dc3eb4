"""A model-free encoder: feature hashing of character n-grams and words.

Signed feature hashing after Weinberger et al. 2009 (arXiv:0902.2206), with sublinear term frequency 1 + ln(tf).
"""

import sys
from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from coterie.domain import LIMITS, InvalidError
from coterie.embedder.encoder import Cancelled, Progress, Waited, check_cancelled, check_texts, unit_rows
from coterie.embedder.hashing_kernel import add_features

_DIM_MIN = 16
_WORD_WEIGHT = 2.0
"""A shared word says more than one shared n-gram."""

_CHUNK_TEXTS = 8_192
_CHUNK_CHARS = 1_000_000
_START, _END = 2, 3
"""Code points set around every text, so that its first and last characters count as such."""


class HashEncoder:
    """A deterministic encoder without a model: texts that share words and spelling are near. Thread-safe.

    It knows nothing of meaning: a paraphrase in other words is far. For tests, demonstrations, and machines without
    torch. Case is ignored.

    Args:
        dim: length of the vectors, 16 to `LIMITS.vector_dim_max`.
    """

    device = "cpu"

    def __init__(self, dim: int = 256) -> None:
        if not _DIM_MIN <= dim <= LIMITS.vector_dim_max:
            raise InvalidError(f"hash dim {dim}: use {_DIM_MIN} to {LIMITS.vector_dim_max}", field="model")
        self.dim = dim
        self.model_id = f"hash-{dim}"

    def encode(
        self,
        texts: Sequence[str],
        *,
        progress: Progress | None = None,
        cancelled: Cancelled | None = None,
        urgent: bool = False,
        waited: Waited | None = None,
    ) -> NDArray[np.float32]:
        """Embed n texts, in their order: float32[n, dim], unit rows. See `Encoder.encode`."""
        check_texts(texts)
        vectors = np.empty((len(texts), self.dim), dtype=np.float32)
        for start, stop in _chunks(texts):
            check_cancelled(cancelled)
            vectors[start:stop] = self._encode_chunk(texts[start:stop])
            if progress is not None:
                progress(stop)
        return vectors

    def _encode_chunk(self, texts: Sequence[str]) -> NDArray[np.float32]:
        framed = [f"{chr(_START)}{text.lower()}{chr(_END)}" for text in texts]
        codes = np.frombuffer("".join(framed).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
        starts = np.cumsum([0, *map(len, framed)], dtype=np.int64)
        sums = np.zeros((len(texts), self.dim))
        add_features(codes, starts, _in_word(), _WORD_WEIGHT, sums)
        vectors = sums.astype(np.float32)
        # The signs of a tiny text can cancel out; it still needs a direction of its own.
        for row in np.flatnonzero(~vectors.any(axis=1)).tolist():
            vectors[row, sum(ord(character) for character in texts[row]) % self.dim] = 1.0
        return unit_rows(vectors)


def _chunks(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Consecutive ranges of texts that bound the memory of one pass."""
    start, chars = 0, 0
    for number, text in enumerate(texts):
        if number > start and (chars + len(text) > _CHUNK_CHARS or number - start >= _CHUNK_TEXTS):
            yield start, number
            start, chars = number, 0
        chars += len(text)
    if start < len(texts):
        yield start, len(texts)


@cache
def _in_word() -> NDArray[np.bool_]:
    """By code point, whether it is a letter or a digit."""
    return np.fromiter((chr(code).isalnum() for code in range(sys.maxunicode + 1)), np.bool_, sys.maxunicode + 1)
