"""The exact neighbour graph on a GPU: seconds, recall, and the share of what the device can do.

Vectors are made on the fly: half of them in families of 50 whose members lie at distances .35, .5 or .65 from their
centre, half background without structure, all inside 60 directions and a little noise (sentence embeddings are far from
filling their space). Timed is `neighbour_graph` from vectors in host memory to the graph in host memory, checks and
grouping of equal rows included, and in it the search alone (`exact_lists`); on the CPU device, for a small trial, the
search alone. The limit is a plain product of large square matrices on the same device in the same run, the best of ten.

    python bench/bench_gpu_graph.py > bench/results/gpu_graph.json
    python bench/bench_gpu_graph.py --device cpu --rows 20000
"""

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from coterie.domain import NeighbourGraph
from coterie.index import gpu, graph_recall, neighbour_graph

BACKGROUND_RANK = 60
FAMILY_ROWS = 50
SPREADS = (0.35, 0.5, 0.65)
_ROWS_AT_ONCE = 50_000
Floats = NDArray[np.float32]
Result = TypeVar("Result")


def main() -> None:
    """Measure every repeat and write one JSON object to stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--k", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sample", type=int, default=1_000, help="rows whose lists are held against exact float32")
    parser.add_argument("--repeats", type=int, default=3, help="the first one starts the libraries")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    options = parser.parse_args()
    device = gpu.gpu_device() if options.device == "cuda" else torch.device("cpu")
    if device is None:
        parser.exit(1, "torch sees no GPU; --device cpu --rows 20000 tries the code without one\n")
    vectors = planted(options.rows, options.dim, options.seed)
    if not gpu.fits(device, options.rows, options.dim, options.k):
        parser.exit(1, f"{options.rows} vectors do not fit into the device's memory\n")
    limits = {str(dtype).removeprefix("torch."): limit_tflops(device, dtype) for dtype in (torch.bfloat16, torch.half)}
    runs = []
    for _ in range(options.repeats):
        runs.append(measure(vectors, options.k, device, options.sample, limits["bfloat16"]))
        print(runs[-1], file=sys.stderr)
    report = {
        "arguments": vars(options),
        "machine": {"device": device_name(device), "cpu": platform.processor() or platform.machine()}
        | {"cores": os.cpu_count()},
        "versions": {name: version(name) for name in ("numpy", "torch")} | {"cuda": torch.version.cuda},
        "limit_tflops": limits,
        "runs": runs,
    }
    json.dump(report, sys.stdout, indent=1)
    print()


def measure(vectors: Floats, k: int, device: torch.device, sample: int, limit: float) -> dict[str, Any]:
    """Seconds of the search and, on a GPU, of the whole graph; recall of the lists; share of the limit."""
    _reset_peak(device)
    (rows, similarities), search_s = timed(lambda: gpu.exact_lists(vectors, k, device, lambda _: None))
    peak = _peak_bytes(device)
    graph, graph_s = NeighbourGraph(rows.astype(np.int32), similarities), None
    if device.type == "cuda":
        graph, graph_s = timed(lambda: neighbour_graph(vectors, k))
    tflops = 2 * len(vectors) ** 2 * vectors.shape[1] / search_s / 1e12
    return {
        "graph_s": graph_s and round(graph_s, 3),
        "search_s": round(search_s, 3),
        "recall": graph_recall(graph, vectors, sample=sample),
        "search_tflops": round(tflops, 3),
        "share_of_bfloat16_limit": round(tflops / limit, 4),
        "device_memory_peak_gb": peak and round(peak / 1e9, 2),
    }


def limit_tflops(device: torch.device, dtype: torch.dtype) -> float:
    """What a plain product of large square matrices reaches, in 10^12 operations a second."""
    side = 8_192 if device.type == "cuda" else 1_024
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))

    def product() -> None:
        torch.mm(left, right)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    product()
    best_s = min(timed(product)[1] for _ in range(10))
    return round(2 * side**3 / best_s / 1e12, 3)


def planted(n: int, dim: int, seed: int) -> Floats:
    """float32[n, dim]: unit rows, every other one a member of a family, made a piece at a time."""
    random = np.random.default_rng(seed)
    directions = random.standard_normal((BACKGROUND_RANK, dim), np.float32) / np.sqrt(np.float32(dim))
    centres = _unit(random.standard_normal((-(-n // (2 * FAMILY_ROWS)), BACKGROUND_RANK), np.float32) @ directions)
    vectors = np.empty((n, dim), np.float32)
    for start in range(0, n, _ROWS_AT_ONCE):
        size = min(_ROWS_AT_ONCE, n - start)
        rows = _scattered(random, size, directions)
        members = np.arange(start % 2, size, 2)
        family = random.integers(0, len(centres), len(members))
        spread = np.array(SPREADS, np.float32)[family % len(SPREADS), None]
        rows[members] = np.sqrt(1 - spread**2) * centres[family] + spread * rows[members]
        vectors[start : start + size] = _unit(rows)
    return vectors


def _scattered(random: np.random.Generator, size: int, directions: Floats) -> Floats:
    rows = random.standard_normal((size, len(directions)), np.float32) @ directions
    noise = random.standard_normal((size, directions.shape[1]), np.float32)
    return _unit(rows + 0.1 * noise)


def _unit(rows: Floats) -> Floats:
    lengths: Floats = np.linalg.norm(rows, axis=1, keepdims=True).astype(np.float32)
    return rows / lengths


def timed(call: Callable[[], Result]) -> tuple[Result, float]:
    """Call it, and say how many seconds passed."""
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


def device_name(device: torch.device) -> str:
    """As its maker calls it, with its memory; `cpu` for the CPU."""
    if device.type != "cuda":
        return device.type
    return f"{torch.cuda.get_device_name(device)}, {torch.cuda.mem_get_info(device)[1] / 1e9:.0f} GB"


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak_bytes(device: torch.device) -> int | None:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


if __name__ == "__main__":
    main()
