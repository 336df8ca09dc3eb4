"""Unit vectors in eight bits, to find candidates with: four times the products a second of float32, and a quarter of
the memory. What is found is scored again with the vectors themselves.

A code is the vector scaled so that its largest value is 127, rounded; the products of two codes, times both scales,
is their cosine within about .001.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from coterie.index.lanes import LANES

_CODE_MAX = 127
_ROWS_AT_ONCE = 16_384
_ROWS_STEP = 64
"""Blocks are padded to a multiple of it: every new shape makes the library compile another product."""


def quantise(vectors: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Codes int8[n, dim] of the rows, and what a step of each is worth, float32[n]."""
    n = len(vectors)
    codes = np.empty((n, vectors.shape[1]), np.int8)
    scale = np.empty(n, np.float32)
    for first in range(0, n, _ROWS_AT_ONCE):
        some = slice(first, first + _ROWS_AT_ONCE)
        rows = torch.from_numpy(vectors[some])
        largest = rows.abs().amax(dim=1).clamp_min(1e-30)
        codes[some] = rows.mul((_CODE_MAX / largest)[:, None]).round_().to(torch.int8).numpy()
        scale[some] = (largest / _CODE_MAX).numpy()
    return codes, scale


class Products:
    """Products of codes with codes, in blocks."""

    def __init__(self) -> None:
        # Whole numbers up to 127 * 127 * dim are exact in float32 too, as long as dim is at most 1,040 (and above, as
        # good as exact): where the CPU has no int8 products the same results come more slowly.
        self._int8 = bool(getattr(torch.cpu, "_is_vnni_supported", bool)())
        self._memory = torch.empty(0, dtype=torch.int32)
        self._rooms: dict[tuple[int, int], torch.Tensor] = {}

    def block(self, asking: torch.Tensor, held: torch.Tensor) -> NDArray[Any]:
        """int32 or float32[len(asking), len(held)], of every asking code with every held one, both as `padded_codes`.

        It is overwritten by the next call.
        """
        if not self._int8:
            single: NDArray[Any] = (asking.float() @ held.float().T).numpy()
            return single
        product: NDArray[Any] = torch._int_mm(asking, held.T, out=self._room(len(asking), len(held))).numpy()
        return product

    def _room(self, height: int, width: int) -> torch.Tensor:
        """One memory for all blocks, so that it stays in the cache."""
        if height * width > len(self._memory):
            self._memory = torch.empty(height * width, dtype=torch.int32)
            self._rooms.clear()
        room = self._rooms.get((height, width))
        if room is None:
            room = self._rooms[height, width] = self._memory[: height * width].view(height, width)
        return room


def padded_scale(scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """A scale for the columns of a block: zeros up to a multiple of LANES."""
    return np.pad(scale, (0, -len(scale) % LANES))


def padded_codes(codes: NDArray[np.int8]) -> torch.Tensor:
    """Codes of as many rows as a block may have: zeros up to a multiple of LANES, or of _ROWS_STEP from there on."""
    missing = -len(codes) % (LANES if len(codes) < _ROWS_STEP else _ROWS_STEP)
    if missing:
        codes = np.concatenate((codes, np.zeros((missing, codes.shape[1]), np.int8)))
    return torch.from_numpy(codes)
