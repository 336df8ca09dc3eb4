"""Families as a run records them: what each is and was, and which texts it holds."""

from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coterie.domain.exchange import format_time
from coterie.domain.ids import ExchangeId, FamilyId, RunId


class FamilyLineage(StrEnum):
    """How a family relates to those of the run before, by the texts that both runs could hold.

    `split`: one of several parts of an earlier family. `merged`: several earlier families went into it. `gone`: it was
    there before and nothing of this run is its heir.
    """

    BORN = "born"
    GROWN = "grown"
    STEADY = "steady"
    SPLIT = "split"
    MERGED = "merged"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class Family:
    """One density cluster of prompts; keeps its id from run to run, and no other family ever gets that id.

    Attributes:
        texts, exchanges, accounts: what it holds in the run's window; of one that is gone, what it held last.
        lineage_of: earlier families it came from, when split or merged.
        gate_distance: 98th percentile of its texts' core distances, 0 to 2: what lies farther does not join it.
        exemplar: an exchange whose prompt lies deep in it; empty when that was erased.
        first_seen_us, last_seen_us: of its exchanges in the window, microseconds since the epoch.
        joined: texts that joined it since the run finished; counted when it is read.
    """

    family_id: FamilyId
    texts: int
    exchanges: int
    accounts: int
    lineage: FamilyLineage
    gate_distance: float
    exemplar: ExchangeId
    first_seen_us: int
    last_seen_us: int
    lineage_of: tuple[FamilyId, ...] = ()
    run_id: RunId = RunId("")
    joined: int = 0


def family_to_json(family: Family) -> dict[str, Any]:
    """The JSON form of a family: that of `coterie families --json`."""
    return {
        "family_id": family.family_id,
        "texts": family.texts,
        "accounts": family.accounts,
        "exchanges": family.exchanges,
        "lineage": family.lineage.value,
        "lineage_of": list(family.lineage_of),
        "joined": family.joined,
        "gate_distance": family.gate_distance,
        "exemplar": family.exemplar,
        "first_seen": format_time(family.first_seen_us),
        "last_seen": format_time(family.last_seen_us),
    }


@dataclass(frozen=True, slots=True, eq=False)
class FamilyLabels:
    """Which family every text of a run is in: m texts, f families.

    Attributes:
        text_ids: int64[m], the run's distinct prompts, rising.
        family: int32[m], number of each text's family, -1 for none.
        core_distance: float32[m], distance within which the run's `min_samples` other exchanges lie; inf for none.
        exchanges: int32[m], exchanges of each text in the window.
        family_ids: f ids, by number.
        gate_distance: float32[f], see `Family`.
    """

    text_ids: NDArray[np.int64]
    family: NDArray[np.int32]
    core_distance: NDArray[np.float32]
    exchanges: NDArray[np.int32]
    family_ids: tuple[FamilyId, ...]
    gate_distance: NDArray[np.float32]
    run_id: RunId = RunId("")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FamilyLabels):
            return NotImplemented
        return all(np.array_equal(getattr(self, item.name), getattr(other, item.name)) for item in fields(self))

    __hash__ = None  # type: ignore[assignment]  # of arrays there is none

    def without(self, text_ids: NDArray[np.int64]) -> "FamilyLabels":
        """The same without these texts; families keep their numbers, even when nothing of them is left."""
        kept = ~np.isin(self.text_ids, text_ids)
        return replace(
            self,
            text_ids=self.text_ids[kept],
            family=self.family[kept],
            core_distance=self.core_distance[kept],
            exchanges=self.exchanges[kept],
        )

    def place(self, text_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """int64, the row of each text id, of any shape; -1 for those the run did not hold."""
        if not len(self.text_ids):
            return np.full(text_ids.shape, -1, np.int64)
        row = np.minimum(np.searchsorted(self.text_ids, text_ids), len(self.text_ids) - 1)
        return np.where(self.text_ids[row] == text_ids, row, -1)


@dataclass(frozen=True, slots=True)
class FamilyHistory:
    """What a run is told of earlier families.

    Attributes:
        labels: of the run to compare with; None when there is none.
        families: that run's families, those excepted that were gone.
        same_slice: whether that run picked its exchanges by the same rule. Of another slice only the ids are taken
            over: what this run lacks may lie outside its slice, so nothing is gone, split, merged or grown.
        last_number: the last number ever given to a family; born ones get those after it.
    """

    labels: FamilyLabels | None = None
    families: tuple[Family, ...] = ()
    same_slice: bool = True
    last_number: int = 0


@dataclass(frozen=True, slots=True)
class FamilyRecord:
    """What a run records of its families.

    Attributes:
        families: in the order of a listing: by exchanges, most first, those that are gone at the end.
        slice: by which rule the run picked its exchanges; empty for everything in the default window.
        last_vector: the store's vector sequence before the window was read: what came later may join.
        number_before, number_after: the last family number given before the run and by it.
    """

    families: tuple[Family, ...]
    labels: FamilyLabels
    slice: str = ""
    last_vector: int = 0
    number_before: int = 0
    number_after: int = 0


@dataclass(frozen=True, slots=True)
class AccountFamily:
    """A family that an account's prompts are in.

    Attributes:
        texts: its distinct prompts in the family, those that joined since the run included.
        joined: how many of them joined since the run.
    """

    family_id: FamilyId
    texts: int
    joined: int = 0
