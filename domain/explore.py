"""Answers for a person who looks around: a map of texts, and accounts that ask alike."""

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from coterie.domain.ids import AccountId, FamilyId, FindingId, RunId


class MapState(StrEnum):
    """`making` is drawn in the background; `failed` says why, and is tried again by the next call."""

    NONE = "none"
    MAKING = "making"
    READY = "ready"
    FAILED = "failed"


def _no_ids() -> NDArray[np.int64]:
    return np.zeros(0, np.int64)


def _no_numbers() -> NDArray[np.int32]:
    return np.zeros(0, np.int32)


def _no_positions() -> NDArray[np.float32]:
    return np.zeros((0, 2), np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class TextMap:
    """The distinct prompts of a run as n points of a plane, near each other where they are alike.

    Attributes:
        texts: distinct prompts of the run; more than n where only some are drawn.
        text_ids: int64[n], rising.
        positions: float32[n, 2], between -1 and 1.
        family: int32[n], number in `family_ids`, -1 for none.
        finding: int32[n], number in `finding_ids`, -1 for none: the most severe whose pool the text is in.
        error: why it could not be drawn; empty otherwise.
    """

    state: MapState
    run_id: RunId = RunId("")
    texts: int = 0
    text_ids: NDArray[np.int64] = field(default_factory=_no_ids)
    positions: NDArray[np.float32] = field(default_factory=_no_positions)
    family: NDArray[np.int32] = field(default_factory=_no_numbers)
    finding: NDArray[np.int32] = field(default_factory=_no_numbers)
    family_ids: tuple[FamilyId, ...] = ()
    finding_ids: tuple[FindingId, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Twin:
    """An account that asks like another.

    Attributes:
        near_prompts: how many of the other's prompts have one of its among their nearest of other accounts.
        expected_prompts: how many would by chance; above 0.
        similarity: mean cosine of those that have, with the nearest of its.
    """

    account_id: AccountId
    near_prompts: int
    expected_prompts: float
    similarity: float


@dataclass(frozen=True, slots=True)
class Twins:
    """The accounts most alike, those furthest beyond chance first; `prompts` were looked at."""

    twins: tuple[Twin, ...]
    prompts: int
