"""What the tests need of the views of a window: items, wording, languages, and what a text is in another view."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from coterie.detection.items import Items, Neighbourhood, make_items, neighbourhood
from coterie.detection.languages import detect_languages
from coterie.detection.overlap import Words, same_questions
from coterie.detection.pools import Principals
from coterie.detection.tongues import Tongues, make_tongues
from coterie.detection.wording import wording_vectors
from coterie.domain import View, Window

FORMAT, MULTILINGUAL = "format", "multilingual"
"""The view in which it counts how a text is put, and the one in which a language does not."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The same texts in another view.

    Attributes:
        items: the items of the other view.
        of_text: int32[m], which text of the other view each text is; -1 for none.
        key: int64[n], ascending: principal and text of each item of the other view in one number.
    """

    items: Items
    of_text: NDArray[np.int32]
    key: NDArray[np.int64]

    def of(self, items: Items, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64[...]: the chosen items as items of the other view, sorted, each once."""
        texts = len(self.items.vectors)
        text = self.of_text[items.text[chosen]].astype(np.int64)
        wanted = np.unique(items.principal[chosen][text >= 0].astype(np.int64) * texts + text[text >= 0])
        return np.searchsorted(self.key, wanted)


@dataclass(frozen=True, slots=True)
class ViewData:
    """What the tests need of a view.

    Attributes:
        items: its items.
        around: their neighbourhood.
        same: float64 sparse [m, m], 1 where two of its texts are one question in different wrappings.
        wording: float32[m, d], what each text is written with.
        tongues: the languages of its texts.
        readings: of a view in which how a text is put counts, those in which only what it asks does.
        tongueless: of a view in which its language counts, the one in which it does not, where there is one.
    """

    items: Items
    around: Neighbourhood
    same: sparse.csr_matrix
    wording: NDArray[np.float32]
    tongues: Tongues
    readings: tuple[Reading, ...] = ()
    tongueless: Reading | None = None


def items_of_views(window: Window, principals: Principals) -> dict[str, Items]:
    """The items of all views by name."""
    return {view.name: make_items(view, principals.of_row, principals.count) for view in window.views.values()}


def read_views(window: Window, items: Mapping[str, Items], cores: Sequence[str]) -> dict[str, ViewData]:
    """All views by name. Cost: linear in items, their neighbours, and letters.

    Args:
        items: of the views by name.
        cores: the window's texts without boilerplate.
    """
    words, wording, language = Words(cores), wording_vectors(cores), detect_languages(cores)
    others = [view.name for view in window.views.values() if view.name != FORMAT]
    keys = {name: held.principal.astype(np.int64) * len(held.vectors) + held.text for name, held in items.items()}
    found = {}
    for name, view in window.views.items():
        raw = _raw_texts(view, window.raw)
        worded = np.where(raw[:, None] >= 0, wording[raw], 0.0)
        spoken = np.where(raw >= 0, language[raw], 0).astype(np.int16)
        readings = {other: Reading(items[other], _texts_in(view, window.views[other]), keys[other]) for other in others}
        found[name] = ViewData(
            items[name],
            neighbourhood(items[name]),
            same_questions(view.graph, words, np.maximum(raw, 0).astype(np.int64)),
            # A list dealt out in many languages, one an account, has the words of each in one account only.
            _without_means(worded, spoken) if name == MULTILINGUAL else worded,
            make_tongues(items[name], spoken),
            tuple(readings.values()) if name == FORMAT else (),
            readings.get(MULTILINGUAL) if name != MULTILINGUAL else None,
        )
    return found


def _texts_in(view: View, other: View) -> NDArray[np.int32]:
    """int32[m]: which text of the other view each text of a view is; -1 for none."""
    found = np.full(len(view.vectors), -1, np.int32)
    held = view.text >= 0
    found[view.text[held]] = other.text[held]
    return found


def _raw_texts(view: View, raw: View) -> NDArray[np.int32]:
    """int32[m]: a raw text that each text of a view stands for; -1 where nobody sent it."""
    found = np.full(len(view.vectors), -1, np.int32)
    held = view.text >= 0
    text, first = np.unique(view.text[held], return_index=True)
    found[text] = raw.text[held][first]
    return found


def _without_means(wording: NDArray[np.float32], language: NDArray[np.int16]) -> NDArray[np.float32]:
    """The wording of each text less that of its language."""
    rest = wording.copy()
    for one in np.unique(language).tolist():
        rest[language == one] -= wording[language == one].mean(axis=0)
    return rest
