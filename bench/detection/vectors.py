"""Vectors of texts, embedded once for all scenarios: a cache by text that several processes may share."""

import os
import sqlite3
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from coterie.domain import text_digest
from coterie.embedder import MULTILINGUAL_MODEL, Encoder, load_encoder

_AT_ONCE = 2_048
_ASKED_AT_ONCE = 500


class VectorCache:
    """An encoder that remembers; vectors are kept as the store keeps them, in float16.

    Args:
        folder: where the cache lies; made where it is missing.
        model: name of an encoder. It is loaded when a text is met that the cache does not hold.
    """

    def __init__(self, folder: Path, model: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._model = model
        self._encoder: Encoder | None = None
        self._database = sqlite3.connect(folder / f"{model.replace(os.sep, '_')}.sqlite", timeout=120.0)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=OFF")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS vectors (digest BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID"
        )

    def vectors(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32[n, dim]: the vectors of n normalised texts."""
        digests = [text_digest(text) for text in texts]
        known = self._known(digests)
        missing = list(
            {digest: text for digest, text in zip(digests, texts, strict=True) if digest not in known}.items()
        )
        # Near-equal lengths together: a batch is as long as its longest text.
        missing.sort(key=lambda pair: len(pair[1]))
        for first in range(0, len(missing), _AT_ONCE):
            some = missing[first : first + _AT_ONCE]
            made = self.encoder.encode([text for _, text in some]).astype(np.float16)
            rows = [(digest, vector.tobytes()) for (digest, _), vector in zip(some, made, strict=True)]
            with self._database:
                self._database.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", rows)
            known |= {digest: vector for (digest, _), vector in zip(some, made, strict=True)}
        if not digests:
            return np.zeros((0, self.encoder.dim), np.float32)
        return np.stack([known[digest] for digest in digests]).astype(np.float32)

    @cached_property
    def multilingual(self) -> "VectorCache | None":
        """The cache of the multilingual model; None beside the model-free encoder, which is for quick tests."""
        return None if self._model.startswith("hash") else VectorCache(self._folder, MULTILINGUAL_MODEL)

    @property
    def encoder(self) -> Encoder:
        """The encoder itself."""
        if self._encoder is None:
            self._encoder = load_encoder(self._model)
        return self._encoder

    def _known(self, digests: Sequence[bytes]) -> dict[bytes, NDArray[np.float16]]:
        found: dict[bytes, NDArray[np.float16]] = {}
        distinct = list(dict.fromkeys(digests))
        for first in range(0, len(distinct), _ASKED_AT_ONCE):
            some = distinct[first : first + _ASKED_AT_ONCE]
            marks = ",".join("?" * len(some))
            rows = self._database.execute(f"SELECT digest, vector FROM vectors WHERE digest IN ({marks})", some)
            found |= {digest: np.frombuffer(vector, np.float16) for digest, vector in rows}
        return found
