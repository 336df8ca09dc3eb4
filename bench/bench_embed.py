"""Texts per second of coterie's encoder beside sentence-transformers', on mixed lengths, with the quality of each.

    python bench/bench_embed.py [--texts 600] [--device auto] [--model all-MiniLM-L6-v2]

Writes one JSON object to stdout. Texts come from the corpus (COTERIE_CORPUS, else ../shared/data) if it is there,
else they are built. Each method runs once, after a warm-up, over the same texts in the same process.
"""

import argparse
import gzip
import json
import os
import platform
import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import sentence_transformers
import torch
from numpy.typing import NDArray

from coterie.embedder import DEFAULT_MODEL, load_encoder
from coterie.embedder.transformer import SentenceTransformerEncoder

_SOURCES = ("A_gsm8k_train", "A_bbh", "B_alpaca_en_demo", "C_banking77", "C_bright_stackexchange_posts", "E_")
_ST_BATCH = 32
_NEIGHBOURS = 10
_WORDS = ("the", "river", "bank", "holds", "seven", "stones", "and", "each", "tells", "how", "often", "it", "rained")


def corpus_texts(folder: Path, n: int, seed: int) -> list[str]:
    """n texts, a like number from each of a few sources, so that short and long ones are mixed."""
    pool: list[str] = []
    paths = [path for source in _SOURCES for path in sorted(folder.glob(f"{source}*.jsonl.gz"))[:1]]
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            records = [json.loads(line) for line, _ in zip(lines, range(5_000), strict=False)]
        texts = [record.get("response") or record["text"] for record in records]
        texts = sorted({text for text in texts if text.strip()})
        pool += random.Random(seed).sample(texts, min(len(texts), -(-n // len(paths))))
    random.Random(seed).shuffle(pool)
    return pool[:n]


def built_texts(n: int, seed: int) -> list[str]:
    """n texts of log-normal length."""
    draw = random.Random(seed)
    return [" ".join(draw.choices(_WORDS, k=max(3, int(draw.lognormvariate(4, 1))))) for _ in range(n)]


def timed(encode: Callable[[list[str]], NDArray[np.float32]], texts: list[str]) -> tuple[float, NDArray[np.float32]]:
    """Seconds and vectors of one pass, after a warm-up."""
    encode(texts[:_ST_BATCH])
    start = time.perf_counter()
    vectors = encode(texts)
    return time.perf_counter() - start, vectors


def fidelity(
    vectors: NDArray[np.float32], reference: NDArray[np.float32], short: NDArray[np.bool_]
) -> dict[str, float]:
    """Likeness to the reference, over the texts that both embed whole: cosine, and shared nearest neighbours."""
    vectors, reference = vectors[short], reference[short]
    near, reference_near = (
        np.argsort(-(rows @ rows.T) + 3 * np.eye(len(rows)), axis=1)[:, :_NEIGHBOURS] for rows in (vectors, reference)
    )
    overlap = [len(np.intersect1d(one, other)) / _NEIGHBOURS for one, other in zip(near, reference_near, strict=True)]
    cosine = (vectors * reference).sum(axis=1)
    return {
        "cosine_mean": round(float(cosine.mean()), 6),
        "cosine_min": round(float(cosine.min()), 6),
        "top10_overlap": round(float(np.mean(overlap)), 4),
    }


def main() -> None:
    """Run, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--model", default=DEFAULT_MODEL)
    options = parser.parse_args()
    folder = Path(os.environ.get("COTERIE_CORPUS") or Path(__file__).parents[2] / "shared" / "data")
    texts = (corpus_texts if folder.is_dir() else lambda _, n, seed: built_texts(n, seed))(
        folder, options.texts, options.seed
    )
    encoder = load_encoder(options.model, device=options.device)
    assert isinstance(encoder, SentenceTransformerEncoder), "the peer is sentence-transformers: choose such a model"
    peer = encoder._model

    def peer_default(batch: list[str]) -> NDArray[np.float32]:
        return np.asarray(peer.encode(batch, batch_size=_ST_BATCH, normalize_embeddings=True))

    def peer_in_arrival_order(batch: list[str]) -> NDArray[np.float32]:
        return np.vstack([peer_default(batch[start : start + _ST_BATCH]) for start in range(0, len(batch), _ST_BATCH)])

    methods: dict[str, Callable[[list[str]], NDArray[np.float32]]] = {
        "coterie": encoder.encode,
        "sentence_transformers_default": peer_default,
        "sentence_transformers_arrival_order": peer_in_arrival_order,
    }
    runs = {name: timed(encode, texts) for name, encode in methods.items()}
    reference = runs["sentence_transformers_default"][1]
    tokens = np.array([len(ids) for ids in encoder._tokenise(texts)])
    whole = tokens <= encoder._capacity
    report = {
        "benchmark": "embed",
        "machine": {
            "cpu": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "device": encoder.device,
        },
        "threads": torch.get_num_threads(),
        "versions": {"torch": torch.__version__, "sentence_transformers": sentence_transformers.__version__},
        "model": encoder.model_id,
        "dtype": str(encoder.dtype),
        "seed": options.seed,
        "n": len(texts),
        "texts_from": "corpus" if folder.is_dir() else "built",
        "tokens": {str(q): int(np.percentile(tokens, q)) for q in (10, 50, 90, 100)},
        "longer_than_the_model": int((~whole).sum()),
        "methods": {
            name: {
                "seconds": round(seconds, 3),
                "texts_per_s": round(len(texts) / seconds, 1),
                **fidelity(vectors, reference, whole),
            }
            for name, (seconds, vectors) in runs.items()
        },
        "note": "coterie embeds up to 8 windows of a text longer than the model; the peers cut it off. "
        "Fidelity is over the texts that all embed whole.",
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
