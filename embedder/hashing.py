"""A model-free encoder: feature hashing of character n-grams and words.

Signed feature hashing after Weinberger et al. 2009 (arXiv:0902.2206), with sublinear term frequency 1 + ln(tf).
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from coterie.domain import LIMITS, InvalidError
from coterie.embedder.encoder import Cancelled, Progress, Waited, check_cancelled, check_texts, unit_rows

_DIM_MIN = 16
_NGRAMS = (3, 4, 5)
_WORD_WEIGHT = 2.0
"""A shared word says more than one shared n-gram."""

_CHUNK_TEXTS = 8_192
_CHUNK_CHARS = 1_000_000
_START, _END = 2, 3
"""Code points set around every text, so that its first and last characters count as such."""

_BASE = np.uint64(0x9E3779B97F4A7C15)
_BASE_INVERSE = np.uint64(pow(0x9E3779B97F4A7C15, -1, 2**64))
_HASH_BITS = np.uint64(48)
_HASH_MASK = np.uint64(2**48 - 1)


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
        codes, owners = _code_points(texts)
        sums = np.zeros(len(texts) * self.dim)
        for hashes, feature_owners, weight in _features(codes, owners):
            # Owner and hash in one integer: sorting it counts each feature of each text.
            packed = (feature_owners.astype(np.uint64) << _HASH_BITS) | (hashes & _HASH_MASK)
            distinct, counts = np.unique(packed, return_counts=True)
            hashed = distinct & _HASH_MASK
            cells = (distinct >> _HASH_BITS) * np.uint64(self.dim) + (hashed >> np.uint64(1)) % np.uint64(self.dim)
            signs = 1.0 - 2.0 * (hashed & np.uint64(1)).astype(np.float64)
            values = weight * signs * (1.0 + np.log(counts))
            sums += np.bincount(cells.astype(np.int64), weights=values, minlength=sums.size)
        vectors = sums.reshape(len(texts), self.dim).astype(np.float32)
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


def _code_points(texts: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """All texts one after the other as code points, and the text each one belongs to."""
    framed = [f"{chr(_START)}{text.lower()}{chr(_END)}" for text in texts]
    codes = np.frombuffer("".join(framed).encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    return codes, np.repeat(np.arange(len(texts)), [len(text) for text in framed])


def _features(
    codes: NDArray[np.uint32], owners: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.int64], float]]:
    """Yield (hashes, owners, weight) of the n-grams of each length, then of the words."""
    # hash(i, j) = sum of c[m] * base^(m - i) over [i, j), from prefix sums, modulo 2^64.
    powers = _powers(_BASE, len(codes) + 1)
    inverses = _powers(_BASE_INVERSE, len(codes) + 1)
    prefix = np.zeros(len(codes) + 1, dtype=np.uint64)
    np.cumsum((codes.astype(np.uint64) + np.uint64(1)) * powers[:-1], out=prefix[1:])

    def spans(starts: NDArray[np.int64], stops: NDArray[np.int64], salt: int) -> NDArray[np.uint64]:
        return _mix((prefix[stops] - prefix[starts]) * inverses[starts] + np.uint64(salt))

    for length in _NGRAMS:
        starts = np.flatnonzero(owners[: max(0, len(owners) - length + 1)] == owners[length - 1 :])
        yield spans(starts, starts + length, length), owners[starts], 1.0
    edges = np.flatnonzero(np.diff(_in_word(codes).astype(np.int8), prepend=0, append=0))
    starts, stops = edges[::2], edges[1::2]
    yield spans(starts, stops, 0), owners[starts], _WORD_WEIGHT


def _in_word(codes: NDArray[np.uint32]) -> NDArray[np.bool_]:
    distinct, inverse = np.unique(codes, return_inverse=True)
    return np.array([chr(code).isalnum() for code in distinct])[inverse]


def _powers(base: np.uint64, count: int) -> NDArray[np.uint64]:
    factors = np.full(count, base, dtype=np.uint64)
    factors[0] = 1
    return np.cumprod(factors, dtype=np.uint64)


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64: every input bit reaches every output bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
