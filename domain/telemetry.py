"""What the rooms tell about their work: sizes and durations."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Commit:
    """One transaction of the store.

    Attributes:
        requests: how many callers shared it.
        chars: length of the new texts among it, in characters.
        duration_s: from its begin to the answer of the disk, seconds.
        failed: whether nothing of it was kept.
    """

    requests: int
    chars: int
    duration_s: float
    failed: bool = False


@dataclass(frozen=True, slots=True)
class EmbeddedBatch:
    """One pass of the model.

    Attributes:
        windows: rows of the batch; a long text makes several.
        tokens: of the texts, and of what the model wants around them.
        padded_tokens: what was computed: rows times the longest row.
        duration_s: seconds.
    """

    windows: int
    tokens: int
    padded_tokens: int
    duration_s: float


OnCommit = Callable[[Commit], None]
OnBatch = Callable[[EmbeddedBatch], None]
