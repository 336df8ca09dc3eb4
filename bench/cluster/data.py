"""Unit vectors to cluster, of any number: real texts, planted families and background without structure.

Real texts are embedded once and cached (`build/bench`). What is grown from them stays inside their covariance, so that
distances behave as they do among real prompts, and every grown row knows what it is.

- Families: a real text's vector as centre, members scattered around it so that two of them lie at a cosine drawn for
  the family: loose (.64 to .72), medium (.72 to .82) or tight (.82 to .95). Sizes are log-normal, 12 to 600.
- Background: draws from the normal distribution with the mean and covariance of the real vectors: as crowded as real
  text on the whole, and no more alike anywhere than chance makes it.
"""

import gzip
import hashlib
import json
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coterie.embedder import load_encoder

REAL, BACKGROUND = -2, -1
"""Labels of rows that belong to no planted family: real texts, whose families nobody knows, and background."""

BANDS = {"loose": (0.64, 0.72), "medium": (0.72, 0.82), "tight": (0.82, 0.95)}
_REAL_SHARE = 0.4
"""Or as much as there is; of the rest one half is planted and one half background."""
_CENTRES_SHARE = 0.25
_TEXT_CHARS_MAX = 400
_ENCODE_AT_ONCE = 4_096
_ROWS_AT_ONCE = 65_536


@dataclass(frozen=True, slots=True)
class World:
    """What is clustered, and what was planted in it.

    Attributes:
        vectors: float32[n, dim], unit rows, shuffled.
        label: int32[n], number of the planted family, `REAL` or `BACKGROUND`.
        band: int8[families], 0 loose, 1 medium, 2 tight.
    """

    vectors: NDArray[np.float32]
    label: NDArray[np.int32]
    band: NDArray[np.int8]


def real_vectors(corpus: Path, n: int, cache: Path, seed: int = 0) -> NDArray[np.float32]:
    """float32[<= n, 384]: vectors of distinct corpus texts, from the cache if they are there.

    Raises:
        FileNotFoundError: the corpus is not there.
    """
    paths = sorted(corpus.glob("*.jsonl.gz"))
    if not paths:
        raise FileNotFoundError(f"no corpus at {corpus}: set COTERIE_CORPUS to a folder of *.jsonl.gz")
    encoder = load_encoder()
    name = hashlib.sha256(f"{encoder.model_id}/{n}/{seed}/{[path.name for path in paths]}".encode()).hexdigest()[:12]
    path = cache / f"real-{name}.npy"
    if not path.exists():
        texts = _texts(paths, n, seed)
        parts = []
        for first in range(0, len(texts), _ENCODE_AT_ONCE):
            parts.append(encoder.encode(texts[first : first + _ENCODE_AT_ONCE]))
            print(f"embedded {first + len(parts[-1]):,} of {len(texts):,} real texts", flush=True)
        cache.mkdir(parents=True, exist_ok=True)
        np.save(path, np.concatenate(parts).astype(np.float16))
    return _unit(np.load(path).astype(np.float32))


def grow(real: NDArray[np.float32], n: int, seed: int = 0) -> World:
    """A world of n rows: at most 40 % real, of the rest one half planted and one half background."""
    draw = np.random.default_rng([seed, n])
    order = draw.permutation(len(real))
    centres, rest = np.split(order, [int(_CENTRES_SHARE * len(real))])
    kept = real[rest[: int(_REAL_SHARE * n)]]
    mean = real.mean(axis=0)
    shape = _square_root(np.cov(real.T)).astype(np.float32)
    vectors = np.empty((n, real.shape[1]), np.float32)
    label = np.empty(n, np.int32)
    vectors[: len(kept)], label[: len(kept)] = kept, REAL
    at = len(kept)
    band: list[int] = []
    stop = at + (n - at) // 2
    while at < stop:
        size = min(int(np.clip(draw.lognormal(3.7, 0.9), 12, 600)), max(12, stop - at), n - at)
        kind = int(draw.integers(len(BANDS)))
        cosine = draw.uniform(*list(BANDS.values())[kind])
        centre = real[centres[len(band) % len(centres)]]
        vectors[at : at + size] = _around(centre, size, cosine, shape, draw)
        label[at : at + size] = len(band)
        band.append(kind)
        at += size
    for first in range(at, n, _ROWS_AT_ONCE):
        rows = vectors[first : first + _ROWS_AT_ONCE]
        rows[:] = _unit(mean + draw.standard_normal(rows.shape, np.float32) @ shape)
    label[at:] = BACKGROUND
    shuffled = draw.permutation(n)
    return World(vectors[shuffled], label[shuffled], np.array(band, np.int8))


def _around(
    centre: NDArray[np.float32], size: int, cosine: float, shape: NDArray[np.float32], draw: np.random.Generator
) -> NDArray[np.float32]:
    """Unit rows around a centre, two of which lie at this cosine on average: 1 / (1 + s²) for noise of length s."""
    noise = draw.standard_normal((size, len(centre)), np.float32) @ shape
    noise -= np.outer(noise @ centre, centre)
    noise /= np.sqrt((noise**2).sum(axis=1).mean())
    return _unit(centre + np.sqrt(1.0 / cosine - 1.0) * noise)


def _square_root(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    values, axes = np.linalg.eigh(covariance)
    root: NDArray[np.float64] = (axes * np.sqrt(np.maximum(values, 0.0))) @ axes.T
    return root


def _unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def _texts(paths: list[Path], n: int, seed: int) -> list[str]:
    texts: set[str] = set()
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            texts.update(json.loads(line)["text"].strip()[:_TEXT_CHARS_MAX] for line in lines)
    texts.discard("")
    ordered = sorted(texts)
    random.Random(seed).shuffle(ordered)
    return ordered[:n]
