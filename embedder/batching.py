"""How token sequences become batches: windows for long texts, and a budget of padded tokens a batch."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

WINDOWS_MAX = 8
"""Windows embedded of one text; a longer text is sampled, evenly."""

_PADDED_TO = 8


def window_bounds(tokens: int, capacity: int, windows_max: int = WINDOWS_MAX) -> list[tuple[int, int]]:
    """Cut a text of `tokens` tokens into windows [start, stop) of at most `capacity` tokens.

    A text that fits into `windows_max` windows is cut into near-equal parts without gap or overlap; a longer one
    gets `windows_max` full windows spread evenly from its first token to its last.
    """
    if tokens <= capacity:
        return [(0, tokens)]
    count = -(-tokens // capacity)
    if count <= windows_max:
        edges = [tokens * part // count for part in range(count + 1)]
        return list(itertools.pairwise(edges))
    starts = [(tokens - capacity) * part // (windows_max - 1) for part in range(windows_max)]
    return [(start, start + capacity) for start in starts]


def token_budget_batches(lengths: Sequence[int], budget: int) -> Iterator[NDArray[np.int64]]:
    """Yield batches of row numbers, longest rows first, each of at most `budget` tokens when it is `padded`.

    A batch costs its number of rows times its longest row; a row longer than the budget travels alone. Sorting by
    length keeps padding small; equal lengths keep their order, so that the batches depend on the input only.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    start = 0
    while start < len(order):
        rows = max(1, budget // padded(lengths[order[start]]))
        yield order[start : start + rows]
        start += rows


def padded(length: int) -> int:
    """The length that a batch is padded to: a multiple of 8, so that the model meets few shapes, each prepared once."""
    return max(1, -(-length // _PADDED_TO)) * _PADDED_TO
