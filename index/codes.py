"""Unit vectors in eight bits, to find candidates with: four times the products a second of float32, and a quarter of
the memory. What is found is scored again with the vectors themselves.

A code is the vector scaled so that its largest value is 127, rounded; the products of two codes, times both scales,
is their cosine within about .001.
"""

import threading
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from coterie.index.kernels import widen

_CODE_MAX = 127
_ROWS_AT_ONCE = 16_384
ROWS_STEP, COLUMNS_STEP, _COLUMNS_STEP_MIN = 128, 64, 16
"""Blocks are padded to multiples of these: every new shape makes the library compile another product."""


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
        self.rounded = bool(getattr(torch.cpu, "_is_amx_tile_supported", bool)())

    def block(self, asking: NDArray[np.int8], held: NDArray[np.int8]) -> NDArray[Any]:
        """int32 or float32[>= len(asking), >= len(held)], of every asking code with every held one."""
        step = _COLUMNS_STEP_MIN if len(held) < ROWS_STEP else COLUMNS_STEP
        left, right = _padded(asking, ROWS_STEP), _padded(held, step)
        product = torch._int_mm(left, right.T) if self._int8 else left.float() @ right.float().T
        block: NDArray[Any] = product.numpy()
        return block


class Room(threading.local):
    """Memory that a thread uses again and again: the pages of new memory cost as much as what is put there."""

    def __init__(self) -> None:
        self._kept: dict[str, torch.Tensor] = {}

    def of(self, name: str, rows: int, columns: int) -> torch.Tensor:
        """bfloat16[rows, columns], holding anything; what was given out under this name before is overwritten."""
        kept = self._kept.get(name)
        if kept is None or len(kept) < rows * columns:
            kept = self._kept[name] = torch.empty(rows * columns, dtype=torch.bfloat16)
        return kept[: rows * columns].view(rows, columns)


def wide(
    codes: NDArray[np.int8], rows: NDArray[np.int32], factor: NDArray[np.float32], step: int, room: Room | None = None
) -> torch.Tensor:
    """bfloat16[>= len(rows), dim]: codes of some rows, each times its factor; zeros up to a multiple of step."""
    made = (room or Room()).of("wide", len(rows) + -len(rows) % step, codes.shape[1])
    widen(codes, rows, factor, made.view(torch.uint16).numpy())
    return made


def rounded_block(asking: torch.Tensor, held: torch.Tensor, room: Room | None = None) -> NDArray[np.int16]:
    """The bits of bfloat16[asking, held], the products of what `wide` made of some rows and of others."""
    made = (room or Room()).of("block", len(asking), len(held))
    torch.mm(asking, held.T, out=made)
    block: NDArray[np.int16] = made.view(torch.int16).numpy()
    return block


def _padded(codes: NDArray[np.int8], step: int) -> torch.Tensor:
    missing = -len(codes) % step
    if missing:
        codes = np.concatenate((codes, np.zeros((missing, codes.shape[1]), np.int8)))
    return torch.from_numpy(codes)
