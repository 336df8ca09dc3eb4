"""What a run records of its families: how large each is, who it is, and which texts it holds."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from coterie.detection.families import Families
from coterie.detection.family_identity import FamilyIdentity, identify_families
from coterie.domain import (
    Family,
    FamilyHistory,
    FamilyLabels,
    FamilyLineage,
    FamilyRecord,
    Window,
)

GATE_PERCENTILE = 98.0
"""Percentile of its members' core distances up to which a family takes a new text."""

_GONE = FamilyLineage.GONE


@dataclass(frozen=True, slots=True)
class NamedFamilies:
    """The raw view's families with their names.

    Attributes:
        label: int32[m], family number of each distinct text, -1 for noise.
        of: the families by number.
    """

    label: NDArray[np.int32]
    of: tuple[Family, ...]


def record_families(
    window: Window, families: Families, history: FamilyHistory
) -> tuple[NamedFamilies, FamilyRecord, dict[str, float]]:
    """The raw view's families under the ids they had, what is recorded of them, and how many are what.

    Cost: O(n log n) for n exchanges. Everything but the ids is deterministic by window; the ids also by history.
    """
    identity = identify_families(window.text_ids, families.label, history)
    gates = gate_distances(families.label, families.core_distance, families.count)
    named = _described(window, families, identity, gates)
    before = {family.family_id: family for family in history.families}
    gone = [replace(before[name], lineage=_GONE, lineage_of=()) for name in identity.gone if name in before]
    record = FamilyRecord(
        families=tuple(sorted((*named, *gone), key=_order)),
        labels=FamilyLabels(
            text_ids=window.text_ids.astype(np.int64),
            family=families.label,
            core_distance=families.core_distance,
            exchanges=np.bincount(window.raw.text, minlength=len(window.text_ids)).astype(np.int32),
            family_ids=identity.family_ids,
            gate_distance=gates,
        ),
        number_before=history.last_number,
        number_after=identity.last_number,
    )
    counts = dict.fromkeys(FamilyLineage, 0)
    for family in record.families:
        counts[family.lineage] += 1
    measures = {f"families_{lineage.value}": float(count) for lineage, count in counts.items()}
    return NamedFamilies(families.label, named), record, measures


def _described(
    window: Window, families: Families, identity: FamilyIdentity, gates: NDArray[np.float32]
) -> tuple[Family, ...]:
    sizes = _sizes(window, families.label, families.count)
    exemplars = _exemplars(window, families)
    return tuple(
        Family(
            family_id=identity.family_ids[number],
            texts=int(sizes.texts[number]),
            exchanges=int(sizes.exchanges[number]),
            accounts=int(sizes.accounts[number]),
            lineage=identity.lineage[number],
            lineage_of=identity.lineage_of[number],
            gate_distance=float(gates[number]),
            exemplar=window.rows.exchange_ids[exemplars[number]],
            first_seen_us=int(sizes.first_us[number]),
            last_seen_us=int(sizes.last_us[number]),
        )
        for number in range(families.count)
    )


def gate_distances(label: NDArray[np.int32], core_distance: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """float32[count], the nearest-rank `GATE_PERCENTILE` of each family's finite core distances; 0 where there is none.

    A family without a finite core distance takes nobody.
    """
    member = np.flatnonzero((label >= 0) & np.isfinite(core_distance))
    order = member[np.lexsort((core_distance[member], label[member]))]
    size = np.bincount(label[order], minlength=count)
    end = np.cumsum(size)
    rank = np.maximum(np.ceil(size * GATE_PERCENTILE / 100).astype(np.int64), 1)
    gates = np.zeros(count, np.float32)
    some = size > 0
    gates[some] = core_distance[order[(end - size + rank - 1)[some]]]
    return gates


@dataclass(frozen=True, slots=True)
class _Sizes:
    texts: NDArray[np.int64]
    exchanges: NDArray[np.int64]
    accounts: NDArray[np.int64]
    first_us: NDArray[np.int64]
    last_us: NDArray[np.int64]


def _sizes(window: Window, label: NDArray[np.int32], count: int) -> _Sizes:
    rows = window.rows
    of_row = label[window.raw.text]
    member = np.flatnonzero(of_row >= 0)
    family = of_row[member].astype(np.int64)
    accounts = max(1, len(rows.account_ids))
    pairs = np.unique(family * accounts + rows.account[member])
    first = np.full(count, np.iinfo(np.int64).max)
    last = np.zeros(count, np.int64)
    np.minimum.at(first, family, rows.time_us[member])
    np.maximum.at(last, family, rows.time_us[member])
    return _Sizes(
        texts=np.bincount(label[label >= 0], minlength=count),
        exchanges=np.bincount(family, minlength=count),
        accounts=np.bincount(pairs // accounts, minlength=count),
        first_us=first,
        last_us=last,
    )


def _exemplars(window: Window, families: Families) -> NDArray[np.int64]:
    """int64[f], the first exchange of each family's densest text, the most copied of equals."""
    text = window.raw.text
    copies = np.bincount(text, minlength=len(families.label))
    order = np.lexsort((-copies, families.core_distance, families.label))
    order = order[families.label[order] >= 0]
    _, at = np.unique(families.label[order], return_index=True)
    seen, first_row = np.unique(text, return_index=True)
    return first_row[np.searchsorted(seen, order[at])]


def _order(family: Family) -> tuple[bool, int, str]:
    return (family.lineage is _GONE, -family.exchanges, family.family_id)
