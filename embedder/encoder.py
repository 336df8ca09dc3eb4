"""What every encoder promises, and the checks that all of them share."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from coterie.domain import CancelledRunError, InvalidError
from coterie.domain.telemetry import OnBatch

Progress = Callable[[int], None]
"""Called with the number of texts finished so far in this call."""

Waited = Callable[[int], None]
"""Told each time how many nanoseconds the texts waited for others that were in the model."""

Cancelled = Callable[[], bool]
"""Asked between batches; True stops the call with CancelledRunError."""


class Encoder(Protocol):
    """Turns texts into unit vectors whose inner product is their likeness.

    Attributes:
        model_id: names the vector space; vectors of two ids must never be compared.
        dim: length of a vector.
        device: where it computes: `cpu`, `cuda`, `cuda:1`, ...
    """

    @property
    def model_id(self) -> str: ...

    @property
    def dim(self) -> int: ...

    @property
    def device(self) -> str: ...

    def encode(
        self,
        texts: Sequence[str],
        *,
        progress: Progress | None = None,
        cancelled: Cancelled | None = None,
        urgent: bool = False,
        waited: Waited | None = None,
    ) -> NDArray[np.float32]:
        """Embed n texts, in their order; urgent ones wait for one batch of others at most.

        Returns:
            float32[n, dim], unit rows.

        Raises:
            InvalidError: a text is blank.
            CancelledRunError: `cancelled` answered True.
        """
        ...


@runtime_checkable
class ObservedEncoder(Protocol):
    """An encoder that tells of its batches; `on_batch` is called on the thread that computed one."""

    on_batch: OnBatch | None


def check_texts(texts: Sequence[str]) -> None:
    """Refuse blank texts, which have no place in a vector space, and a lone string passed for a list."""
    if isinstance(texts, str):
        raise InvalidError("texts must be a sequence of strings, got one string", field="texts")
    for number, text in enumerate(texts):
        if not text or text.isspace():
            raise InvalidError(f"text {number} is blank: leave it out", field="texts", reason="blank_text")


def check_cancelled(cancelled: Cancelled | None) -> None:
    """Raise CancelledRunError when the caller no longer wants the result."""
    if cancelled is not None and cancelled():
        raise CancelledRunError("embedding was cancelled; texts without a vector stay in the queue")


def unit_rows(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale each row to length 1; rows must not be zero."""
    scaled: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return scaled
