"""Exact neighbour lists on a GPU: matrix products in half precision propose, float32 decides. torch alone is needed.

For every block of queries: one product with all rows in float16, the maximum over every 64 rows, the groups with the
largest maxima (each of the k best rows lies in one of the k groups with the largest maxima), the best k + 16 of their
rows, and the similarity of these in float32. A list is then *proved*: what was left out scored at most as much as the
last of the k + 16, and rounding can have hidden at most a known amount. Lists for which this does not suffice (many
rows within .0007 of each other around the k-th) are searched again with products in float32. So the result is exact to
float32 whatever the vectors; the margin only decides how often the slow way is taken.

float16 and not bfloat16: the components of unit vectors lie in [-1, 1], where float16 has three bits more at the same
rate. On 9,970 vectors of which half lie in planted families (384 dimensions, k = 30), the best k + margin by each held:

| margin | float16: recall | unproved | bfloat16: recall | unproved |
|---|---|---|---|---|
| 0 | .99692 | 1.000 | .97893 | 1.000 |
| 4 | .99998 | .044 | .99643 | .705 |
| 8 | 1 | .002 | .99906 | .353 |
| 16 | 1 | 0 | .99997 | .115 |
| 32 | 1 | 0 | 1 | .023 |

With output in float32 (`out_dtype`) float16 needs half the margin, and twice the memory traffic, which is what bounds
this: rejected.

Cost: 2 n^2 dim operations (0.77e15 for a million rows of 384), and n^2 products written and read once, 4 n^2 bytes.
Memory on the device: 6 bytes a component of the vectors (float32 and float16; 2.3 GB for a million of 384), and for the
work half of what is then free, at most 8 GiB. What does not fit is refused by `fits`.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MARGIN = 16
"""Candidates beyond k (table above)."""

_GROUP = 64
_COLUMNS_MAX = 1 << 20
"""Rows that a block of queries is multiplied with at once."""

_PRODUCTS_MAX = 2**31 - 1
"""In one block: beyond it kernels need 64-bit offsets, and not all have been right about them."""

_QUERIES_MAX = 16_384
_QUERIES_MIN = 128
"""Below this many at once a product is bound by reading the rows, and not by arithmetic."""

_WORK_BYTES_MAX = 8 << 30
_WORK_BYTES_CPU = 256 << 20
_ROWS_AT_ONCE = 65_536
_SEARCH_SHARE = 0.9
"""Of the progress: the rest is for what is searched again."""

_one_at_a_time = threading.Lock()


def gpu_device() -> torch.device | None:
    """The first CUDA device that torch sees, if there is one."""
    return torch.device("cuda", 0) if torch.cuda.is_available() else None


def fits(device: torch.device, n: int, dim: int, k: int) -> bool:
    """Whether the device has the memory for `exact_lists` of n vectors, as it is used now."""
    if device.type != "cuda":
        return True
    work = _QUERIES_MIN * _bytes_per_query(n, dim, k + MARGIN, torch.float32)
    return _vector_bytes(n, dim) + 2 * work <= _free_bytes(device)


def exact_lists(
    vectors: NDArray[np.float32], k: int, device: torch.device, tick: Callable[[float], None]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k nearest rows of every row by inner product, without the row itself; one call at a time in a process.

    Args:
        vectors: float32[n, dim], finite unit rows.
        k: neighbours a row, 1 or more.
        device: a CUDA device, or the CPU, which works the same way and slowly (for tests).
        tick: told the finished share, 0 to 1, before each block; may raise.

    Returns:
        Rows int64[n, k], -1 where there are no more, and similarities float32[n, k], there -1; nearest first, equal
        similarities by row, on the last place too.

    Raises:
        torch.OutOfMemoryError: something else took the device's memory after `fits` was asked.
    """
    n, dim = vectors.shape
    rows, similarities = np.full((n, k), -1, np.int64), np.full((n, k), -1.0, np.float32)
    if n < 2:
        return rows, similarities
    with _one_at_a_time, _prepared(device), torch.inference_mode():
        base = _upload(vectors, device)
        keep = k + MARGIN
        work_bytes = _work_bytes(device)
        fast, slow = (_block_size(n, dim, keep, work_bytes, dtype) for dtype in (torch.float16, torch.float32))
        unproved = []
        for own in _blocks(torch.arange(n, device=device), fast):
            tick(_SEARCH_SHARE * float(own[0]) / n)
            lists = _candidates(base, base.half, own, keep)
            found, likeness = _decided(base, own, lists, k)
            _store(rows, similarities, own, found, likeness)
            unproved.append(own[~_proved(base, own, lists, likeness)])
        again = torch.cat(unproved)
        done = 0
        for own in _blocks(again, slow):
            tick(_SEARCH_SHARE + (1 - _SEARCH_SHARE) * done / len(again))
            lists = _candidates(base, base.full, own, keep)
            _store(rows, similarities, own, *_decided(base, own, lists, k))
            done += len(own)
    return rows, similarities


@dataclass(frozen=True, slots=True)
class _Base:
    """Vectors on the device, padded with zero rows to whole groups.

    Attributes:
        full: float32[padded, dim].
        half: float16[padded, dim].
        rounding: float32[padded], length of what each row lost in float16.
        count: rows that are not padding.
    """

    full: Tensor
    half: Tensor
    rounding: Tensor
    count: int


@dataclass(frozen=True, slots=True)
class _Lists:
    """The best rows by product, for each of b queries, in order of row.

    Attributes:
        rows: int64[b, held].
        products: float16 or float32[b, held]; -inf where there is no such row, or it is the query itself.
    """

    rows: Tensor
    products: Tensor


def _upload(vectors: NDArray[np.float32], device: torch.device) -> _Base:
    n, dim = vectors.shape
    full = torch.zeros((_padded(n), dim), device=device)
    half = torch.empty_like(full, dtype=torch.float16)
    rounding = torch.empty(len(full), device=device)
    for start in range(0, len(full), _ROWS_AT_ONCE):
        some = slice(start, start + _ROWS_AT_ONCE)
        piece = np.require(vectors[some], np.float32, ("C", "W"))
        full[start : start + len(piece)].copy_(torch.from_numpy(piece))
        half[some].copy_(full[some])
        rounding[some] = torch.linalg.vector_norm(full[some] - half[some], dim=1)
    return _Base(full, half, rounding, n)


def _candidates(base: _Base, matrix: Tensor, own: Tensor, keep: int) -> _Lists:
    """The best `keep` rows of a matrix (`base.half` or `base.full`) for the queries `own`, by its own products."""
    queries = matrix[own]
    best: _Lists | None = None
    for first in range(0, base.count, _COLUMNS_MAX):
        products = _products(matrix[first : first + _COLUMNS_MAX], queries)
        products[max(0, base.count - first) :] = -torch.inf
        here = torch.nonzero((own >= first) & (own < first + len(products)))[:, 0]
        products[own[here] - first, here] = -torch.inf
        found = _best_rows(products, keep)
        # Freed before the next product is made: it is nearly all of the work's memory.
        del products
        found = _Lists(found.rows + first, found.products)
        best = found if best is None else _merged(best, found, keep)
    assert best is not None
    return best


def _products(matrix: Tensor, queries: Tensor) -> Tensor:
    """[rows of the matrix, queries]: a query is a column, so that maxima over rows are read along memory."""
    if matrix.device.type == "cpu" and matrix.dtype == torch.float16:
        # What a GPU does: products of halves summed in float32, and the sum rounded.
        return (matrix.float() @ queries.float().T).half()
    return matrix @ queries.T


def _best_rows(products: Tensor, keep: int) -> _Lists:
    queries = products.shape[1]
    groups = products.view(-1, _GROUP, queries)
    chosen = _largest(groups.amax(1).T.contiguous(), keep)
    members = groups.gather(0, chosen.T[:, None, :].expand(-1, _GROUP, -1)).flatten(0, 1).T.contiguous()
    places = _largest(members, keep)
    rows = chosen.gather(1, places // _GROUP) * _GROUP + places % _GROUP
    return _Lists(rows, members.gather(1, places))


def _merged(one: _Lists, other: _Lists, keep: int) -> _Lists:
    rows, products = torch.cat((one.rows, other.rows), 1), torch.cat((one.products, other.products), 1)
    places = _largest(products, keep)
    return _Lists(rows.gather(1, places), products.gather(1, places))


def _largest(values: Tensor, keep: int) -> Tensor:
    """Where the largest values of each row are, at most `keep`, in order of place: int64[b, held].

    In float32 the first of equal values are taken, so that ties go by row (groups are in the order of rows too); in
    float16 any of them, which is faster, and what it decides is proved afterwards.
    """
    held = min(keep, values.shape[1])
    if values.dtype == torch.float32:
        places = values.sort(dim=1, descending=True, stable=True).indices[:, :held]
    else:
        places = values.topk(held, dim=1, sorted=False).indices
    return places.sort(dim=1).values


def _decided(base: _Base, own: Tensor, lists: _Lists, k: int) -> tuple[Tensor, Tensor]:
    """The best k of the candidates by similarity in float32: int64 and float32[b, <= k], -1 and -inf where missing.

    Multiplied and summed row by row, and not by a matrix product: the same for both directions of a pair, for equal
    vectors wherever they lie, and never in TF32.
    """
    likeness = base.full[lists.rows].mul_(base.full[own][:, None, :]).sum(2)
    missing = torch.isinf(lists.products)
    likeness.masked_fill_(missing, -torch.inf)
    likeness, order = likeness.sort(dim=1, descending=True, stable=True)
    return lists.rows.masked_fill(missing, -1).gather(1, order)[:, :k], likeness[:, :k]


def _proved(base: _Base, own: Tensor, lists: _Lists, likeness: Tensor) -> Tensor:
    """bool[b]: nothing that was left out can be as near as the last that was taken.

    What was left out has a product of at most p, the least one kept. Its similarity is at most p and the sum of
    - |p| 2^-11, the rounding of the product to float16;
    - |q - q'| |b'| + |q| |b - b'|, by Cauchy and Schwarz, q' and b' being the rounded vectors, of length 1.02 at most;
    - dim 2^-22, the rounding of both sums in float32, truncated at worst.
    """
    least = lists.products.amin(1).float()
    hidden = least.abs() * 2**-11 + 1.02 * (base.rounding[own] + base.rounding.max()) + base.full.shape[1] * 2**-22
    return torch.isinf(least) | (likeness[:, -1] > least + hidden)


def _store(
    rows: NDArray[np.int64], similarities: NDArray[np.float32], own: Tensor, found: Tensor, likeness: Tensor
) -> None:
    at, held = own.cpu().numpy(), found.shape[1]
    rows[at, :held] = found.cpu().numpy()
    similarities[at, :held] = likeness.masked_fill(found < 0, -1.0).cpu().numpy()


def _blocks(queries: Tensor, size: int) -> Iterator[Tensor]:
    for start in range(0, len(queries), size):
        yield queries[start : start + size]


def _block_size(n: int, dim: int, keep: int, work_bytes: int, dtype: torch.dtype) -> int:
    """Queries at once: whole groups of them, where there is the memory for one."""
    fitting = work_bytes // _bytes_per_query(n, dim, keep, dtype)
    size = min(_QUERIES_MAX, _PRODUCTS_MAX // min(_padded(n), _COLUMNS_MAX), fitting)
    return max(1, size - size % _GROUP if size > _GROUP else size)


def _padded(n: int) -> int:
    return -(-n // _GROUP) * _GROUP


def _vector_bytes(n: int, dim: int) -> int:
    return _padded(n) * (dim * (4 + 2) + 4)


def _bytes_per_query(n: int, dim: int, keep: int, dtype: torch.dtype) -> int:
    """Memory that one query of a block takes at the most: its products, what is selected from, what is scored."""
    width = dtype.itemsize
    columns = min(_padded(n), _COLUMNS_MAX)
    selected_from = columns // _GROUP + min(keep * _GROUP, columns)
    # Twice the values, and what sorting them stably needs: values and positions, old and new.
    return columns * width + selected_from * (2 * width + 2 * (4 + 8)) + keep * (dim * 4 + 128)


def _work_bytes(device: torch.device) -> int:
    if device.type != "cuda":
        return _WORK_BYTES_CPU
    return min(_WORK_BYTES_MAX, _free_bytes(device) // 2)


def _free_bytes(device: torch.device) -> int:
    """Free on the device, or held by this process and unused."""
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + unused


@contextmanager
def _prepared(device: torch.device) -> Iterator[None]:
    """Products as exact as the proof takes them to be, and the device's memory given back afterwards."""
    if device.type != "cuda":
        yield
        return
    matmul = torch.backends.cuda.matmul
    exactly = {"fp32_precision": "ieee", "allow_fp16_reduced_precision_reduction": False}
    exactly["allow_fp16_accumulation"] = False
    before = {name: getattr(matmul, name) for name in exactly}
    torch.cuda.empty_cache()
    try:
        for name, value in exactly.items():
            setattr(matmul, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(matmul, name, value)
        torch.cuda.empty_cache()
