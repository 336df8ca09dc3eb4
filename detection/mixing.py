"""Step 4, close up: are a query's nearest neighbours in the pool its own account's more often than shuffling gives?

C/W compares means, and a template or a common field can make everything alike on the whole. Close up, people and the
customers of one app still follow their own trains of thought: the nearest question is mostly their own. In dealt slices
it is anybody's. (The nearest-neighbour two-sample statistic of Schilling 1986 and Henze 1988, read the other way round:
here it is mixing that is to be shown.)
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from coterie.detection.items import Items, neighbours_inside, runs
from coterie.detection.kernels import compiled


@dataclass(frozen=True, slots=True)
class Mixing:
    """How the nearest neighbours inside a pool are spread over its principals.

    Attributes:
        ratio: neighbours of a query that are its own principal's, over those that shuffled labels give; 1 where
            principals are interchangeable, above where they have trains of thought of their own.
        error: its standard error: delete-one-principal jackknife, and counting.
        pairs: neighbour pairs looked at.
    """

    ratio: float
    error: float
    pairs: int

    def p_value(self, ratio_min: float) -> float:
        """p of "own neighbours are at least `ratio_min` times as frequent as shuffling gives" (one-sided normal).

        A ratio below 1 earns no more than 1 does: it says how the pool was gathered, and not that it mixes better.
        """
        return float(special.ndtr((max(self.ratio, 1.0) - ratio_min) / self.error))


def neighbour_mixing(items: Items, chosen: NDArray[np.int64]) -> Mixing | None:
    """Measure a pool; None where its queries have no neighbours in it. Cost: linear in the pool's neighbours."""
    _, number, counts = runs(items.principal[chosen])
    own_of, of_all = neighbours_inside(items.adjacency, items.text[chosen], number)
    pairs = int(of_all.sum())
    if not pairs:
        return None
    ratio, error = _mixed(number, counts, own_of, of_all)
    return Mixing(ratio, error, pairs)


@compiled
def _mixed(
    number: NDArray[np.int64], counts: NDArray[np.int64], own_of: NDArray[np.int64], of_all: NDArray[np.int64]
) -> tuple[float, float]:
    """The ratio and its error, from the neighbours of each item."""
    n = len(counts)
    own, expected = np.zeros(n), np.zeros(n)
    for item in range(len(number)):
        own[number[item]] += own_of[item]
        expected[number[item]] += of_all[item] * (counts[number[item]] - 1) / max(1, len(number) - 1)
    ratio = own.sum() / max(expected.sum(), 1.0)
    left_out = (own.sum() - own) / np.maximum(expected.sum() - expected, 1.0)
    jackknife = (n - 1) / n * ((left_out - left_out.mean()) ** 2).sum()
    counting = max(ratio, 0.5) / max(expected.sum(), 1.0)
    return ratio, np.sqrt(jackknife + counting)
