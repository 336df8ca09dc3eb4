"""What is read off the distinct texts of a window: each fact of a text once, however many pools it is compared in."""

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from coterie.detection.elicitation import elicits
from coterie.detection.formats import FEATURES, raw_format_features
from coterie.detection.item_forms import FORMS, item_form
from coterie.domain import Window

AREAS = 64
AREA_SAMPLE = 4_000
AREA_ROUNDS = 10

_UNKNOWN = -2
_FORM = {"": -1} | {name: number for number, name in enumerate(FORMS)}


class TextFacts:
    """Facts of m distinct texts, found when they are first asked for.

    Args:
        window: where they were sent.
        cores: the texts without boilerplate, so that a template is not taken for a manner.
        seed: of the sample that subject areas are learned from.
    """

    def __init__(self, window: Window, cores: Sequence[str], *, seed: int) -> None:
        texts = len(window.texts)
        self.cores = cores
        self._texts = window.texts
        self._vectors = window.raw.vectors
        self._seed = seed
        self._elicits = np.full(texts, _UNKNOWN, np.int8)
        self._form = np.full(texts, _UNKNOWN, np.int8)
        self._format = np.full((texts, len(FEATURES)), np.nan, np.float32)

    @cached_property
    def has_core(self) -> NDArray[np.bool_]:
        """bool[m], whether anything is left without boilerplate."""
        return np.fromiter(map(bool, self.cores), bool, len(self.cores))

    @cached_property
    def area(self) -> NDArray[np.int64]:
        """int64[m], the subject area of each text."""
        return find_areas(self._vectors, seed=self._seed)

    def elicits(self, chosen: NDArray[np.int64]) -> NDArray[np.bool_]:
        """bool[n]: which of the chosen texts, as they were sent, ask for what models are trained on."""
        found = _filled(self._elicits, chosen, lambda row: int(elicits(self._texts[row])))
        return np.asarray(found == 1)

    def item_forms(self, chosen: NDArray[np.int64]) -> NDArray[np.int8]:
        """int8[n]: number in `FORMS` of the core of each chosen text, -1 for none."""
        return _filled(self._form, chosen, lambda row: _FORM[item_form(self.cores[row])])

    def formats(self, chosen: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32[n, f]: `raw_format_features` of the core of each chosen text."""
        rows = np.unique(chosen)
        missing = rows[np.isnan(self._format[rows, 0])]
        self._format[missing] = raw_format_features([self.cores[row] for row in missing.tolist()])
        return self._format[chosen]


def find_areas(vectors: NDArray[np.float32], *, seed: int) -> NDArray[np.int64]:
    """int64[m]: area of each text, by spherical k-means (Dhillon and Modha 2001) over a sample of them.

    Cost: linear in texts, and in `AREA_SAMPLE`.
    """
    if not len(vectors):
        return np.zeros(0, np.int64)
    rng = np.random.default_rng(seed)
    sample = vectors[rng.choice(len(vectors), min(AREA_SAMPLE, len(vectors)), replace=False)]
    # What all texts have in common says nothing of a subject.
    mean = sample.mean(axis=0)
    sample = sample - mean
    areas = min(AREAS, max(2, len(sample) // 20))
    centres = sample[rng.choice(len(sample), areas, replace=False)]
    for _ in range(AREA_ROUNDS):
        nearest = np.argmax(sample @ centres.T, axis=1)
        order = np.argsort(nearest, kind="stable")
        held, first = np.unique(nearest[order], return_index=True)
        sums = np.zeros_like(centres)
        sums[held] = np.add.reduceat(sample[order], first, axis=0)
        length = np.linalg.norm(sums, axis=1, keepdims=True)
        centres = np.where(length > 0, sums / np.maximum(length, 1e-12), centres)
    return np.asarray(np.argmax((vectors - mean) @ centres.T, axis=1), np.int64)


def _filled(known: NDArray[np.int8], chosen: NDArray[np.int64], read: Callable[[int], int]) -> NDArray[np.int8]:
    """The values of the chosen rows, those that nobody has asked for yet read now."""
    rows = np.unique(chosen)
    missing = rows[known[rows] == _UNKNOWN]
    known[missing] = [read(row) for row in missing.tolist()]
    return known[chosen]
