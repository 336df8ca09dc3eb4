"""Step 8 for families: which family of this run is which of the run before, and what became of the others.

Both runs are compared on the texts that both held, as member of a family or as noise: a text that came later, or that
the window left behind, tells nothing about identity. Overlap is Jaccard over those texts, the best first, one to one
(from 80 % to 100 % of the data a refit keeps three quarters of the families above .8). The contingency table is sparse
and has at most one entry a text, so the cost is O(m log m) for m texts, whatever the number of families.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coterie.domain import FamilyHistory, FamilyId, FamilyLineage

MATCH_MIN = 0.3
"""Overlap (Jaccard) from which two families may be one."""

CONTAINED_MIN = 0.5
"""Share of an earlier family's texts found in a later one for it to have gone into it, and of a later family's texts
found in an earlier one for it to be a part of it."""

PART_MIN = 0.1
"""Share of an earlier family that a part of it holds at least; what chips off below that is born, and the rest is no
split."""

GROWTH_MIN = 1.1


@dataclass(frozen=True, slots=True)
class FamilyIdentity:
    """Who the families of a run are.

    Attributes:
        family_ids: f ids, by number.
        lineage: f of them; likewise `lineage_of`.
        gone: earlier families without an heir, in the earlier run's order.
        last_number: the last number ever given to a family, this run's included.
    """

    family_ids: tuple[FamilyId, ...]
    lineage: tuple[FamilyLineage, ...]
    lineage_of: tuple[tuple[FamilyId, ...], ...]
    gone: tuple[FamilyId, ...]
    last_number: int


def identify_families(text_ids: NDArray[np.int64], label: NDArray[np.int32], history: FamilyHistory) -> FamilyIdentity:
    """Name the families of a run and say how they relate to the earlier run's.

    Ids are `family-<number>`: a family that is no other's heir takes the next number ever, in the order of the labels,
    so the same runs on the same data give the same ids, and an id is never given twice, not even after an erasure.

    An earlier family is *matched* when a family took its id, *merged* when most of it went into a family that holds
    most of another too, and *split* when several families consist mostly of it. What is none of these is gone. Against
    a run of another slice only ids are taken over (see `FamilyHistory`).

    Args:
        text_ids: int64[m], rising.
        label: int32[m], family numbers from 0, -1 for noise.
    """
    overlap = _overlap(text_ids, label, history)
    heir = _matched(overlap)
    count = len(overlap.texts_now)
    born = np.flatnonzero(heir < 0)
    number = np.zeros(count, np.int64)
    number[born] = history.last_number + 1 + np.arange(len(born))
    ids_then = history.labels.family_ids if history.labels is not None else ()
    family_ids = tuple(
        ids_then[then] if then >= 0 else FamilyId(f"family-{new}")
        for then, new in zip(heir.tolist(), number.tolist(), strict=True)
    )
    lineage, sources = _lineage(overlap, heir, history.same_slice)
    return FamilyIdentity(
        family_ids=family_ids,
        lineage=tuple(lineage),
        lineage_of=tuple(tuple(ids_then[then] for then in row) for row in sources),
        gone=tuple(ids_then[then] for then in _gone(overlap, heir, sources)) if history.same_slice else (),
        last_number=history.last_number + len(born),
    )


@dataclass(frozen=True, slots=True)
class _Overlap:
    """The contingency table of f families now and g then, as entries, and the margins.

    Attributes:
        now, then, common: int64[e], the families of an entry and how many texts they share; e at most the texts.
        texts_now, texts_then: int64[f], int64[g], all texts of a family.
        shared_now, shared_then: likewise, those texts that both runs held.
    """

    now: NDArray[np.int64]
    then: NDArray[np.int64]
    common: NDArray[np.int64]
    texts_now: NDArray[np.int64]
    texts_then: NDArray[np.int64]
    shared_now: NDArray[np.int64]
    shared_then: NDArray[np.int64]


def _overlap(text_ids: NDArray[np.int64], label: NDArray[np.int32], history: FamilyHistory) -> _Overlap:
    count_now = int(label.max(initial=-1)) + 1
    labels = history.labels
    ids_then = np.zeros(0, np.int64) if labels is None else labels.text_ids
    family_then = np.zeros(0, np.int32) if labels is None else labels.family
    count_then = 0 if labels is None else len(labels.family_ids)
    _, at_now, at_then = np.intersect1d(text_ids, ids_then, assume_unique=True, return_indices=True)
    now, then = label[at_now].astype(np.int64), family_then[at_then].astype(np.int64)
    both = (now >= 0) & (then >= 0)
    pair, common = np.unique(now[both] * max(1, count_then) + then[both], return_counts=True)
    return _Overlap(
        now=pair // max(1, count_then),
        then=pair % max(1, count_then),
        common=common.astype(np.int64),
        texts_now=_sizes(label, count_now),
        texts_then=_sizes(family_then, count_then),
        shared_now=_sizes(now, count_now),
        shared_then=_sizes(then, count_then),
    )


def _sizes(family: NDArray[np.integer], count: int) -> NDArray[np.int64]:
    return np.bincount(family[family >= 0], minlength=count).astype(np.int64)


def _matched(overlap: _Overlap) -> NDArray[np.int64]:
    """int64[f], the earlier family each one is, -1 for none: best overlap first, each at most once."""
    union = overlap.shared_now[overlap.now] + overlap.shared_then[overlap.then] - overlap.common
    jaccard = overlap.common / np.maximum(union, 1)
    order = np.lexsort((overlap.now, overlap.then, -overlap.common, -jaccard))
    heir = np.full(len(overlap.texts_now), -1, np.int64)
    taken = np.zeros(len(overlap.texts_then), bool)
    # At such an overlap a family has at most 1 / MATCH_MIN entries: this loop is linear in families.
    for entry in order[jaccard[order] >= MATCH_MIN].tolist():
        now, then = int(overlap.now[entry]), int(overlap.then[entry])
        if heir[now] < 0 and not taken[then]:
            heir[now] = then
            taken[then] = True
    return heir


def _lineage(
    overlap: _Overlap, heir: NDArray[np.int64], same_slice: bool
) -> tuple[list[FamilyLineage], list[list[int]]]:
    """Of each family, what it is to the run before, and from which earlier families it came where that is news."""
    count = len(heir)
    matched = heir >= 0
    grown = np.zeros(count, bool)
    grown[matched] = overlap.texts_now[matched] > GROWTH_MIN * overlap.texts_then[heir[matched]]
    plain = [
        FamilyLineage.BORN if not known else FamilyLineage.GROWN if more and same_slice else FamilyLineage.STEADY
        for known, more in zip(matched.tolist(), grown.tolist(), strict=True)
    ]
    nothing: list[list[int]] = [[] for _ in range(count)]
    if not same_slice:
        return plain, nothing
    # Measured on all of an earlier family: the few texts of it that the window still held would prove nothing.
    went_in = overlap.common >= CONTAINED_MIN * overlap.texts_then[overlap.then]
    merged = _grouped(overlap.now[went_in], overlap.then[went_in], count)
    is_part = (overlap.common >= CONTAINED_MIN * overlap.shared_now[overlap.now]) & (
        overlap.common >= PART_MIN * overlap.shared_then[overlap.then]
    )
    parts = np.bincount(overlap.then[is_part], minlength=len(overlap.texts_then))
    is_part &= parts[overlap.then] > 1
    split = _grouped(overlap.now[is_part], overlap.then[is_part], count)
    lineage, sources = plain, nothing
    for family in range(count):
        if len(merged[family]) > 1:
            lineage[family], sources[family] = FamilyLineage.MERGED, merged[family]
        elif split[family]:
            lineage[family], sources[family] = FamilyLineage.SPLIT, split[family]
    return lineage, sources


def _grouped(now: NDArray[np.int64], then: NDArray[np.int64], count: int) -> list[list[int]]:
    groups: list[list[int]] = [[] for _ in range(count)]
    for family, source in zip(now.tolist(), then.tolist(), strict=True):
        groups[family].append(source)
    return groups


def _gone(overlap: _Overlap, heir: NDArray[np.int64], sources: Sequence[Sequence[int]]) -> list[int]:
    """Earlier families, of which a text was left, that none is the heir of and that went into none."""
    gone = overlap.texts_then > 0
    gone[heir[heir >= 0]] = False
    gone[[then for row in sources for then in row]] = False
    return np.flatnonzero(gone).tolist()
