"""How much of what makes a pool's prompts alike is the language that they are in?

An encoder that hardly knows a language sees the language before it sees the question: whoever writes it seems to ask
the same. Then there is no telling a list from people who happen to write that language.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from coterie.detection.items import Items


@dataclass(frozen=True, slots=True)
class Tongues:
    """The languages of a view's texts, and what the encoder makes of each.

    Attributes:
        of_text: int16[m], the language of each text.
        means: float64[languages, dim], the mean of the items in each language; 0 where there are none.
    """

    of_text: NDArray[np.int16]
    means: NDArray[np.float64]

    def alike(self, text: NDArray[np.int32]) -> float:
        """Mean similarity that texts would have, were each the mean of its language."""
        shares = np.bincount(self.of_text[text], minlength=len(self.means)) / max(1, len(text))
        mixed = shares @ self.means
        return float(mixed @ mixed)


def make_tongues(items: Items, of_text: NDArray[np.int16]) -> Tongues:
    """The languages of a view. Cost: linear in items.

    Args:
        of_text: int16[m], the language of each of its texts, numbered from 0.
    """
    spoken = of_text[items.text]
    count = np.bincount(spoken, minlength=int(of_text.max(initial=0)) + 1)
    means = np.zeros((len(count), items.vectors.shape[1]))
    for language in np.flatnonzero(count).tolist():
        means[language] = items.vectors[items.text[spoken == language]].mean(axis=0)
    return Tongues(of_text, means)
