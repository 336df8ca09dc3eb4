"""Texts a second on mixed lengths: coterie, sentence-transformers as it comes and in arrival order, infinity_emb.

Each in a process of its own with as many threads as there are cores, on the same texts, after a warm-up.
infinity_emb stands in an environment of its own (`build/bench/infinity`), with the versions that it asks for.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from coterie.embedder import DEFAULT_MODEL
from coterie.embedder.loading import _packaged_folder
from coterie.embedder.transformer import has_bfloat16

_ENGINES = ("coterie", "sentence-transformers", "sentence-transformers, arrival order", "infinity_emb")
_TOKENS = 254
_WORKER = Path(__file__).with_name("embedding_worker.py")
_INFINITY = ("infinity_emb[torch]==0.0.77", "transformers<4.49", "optimum<2", "click<8.2")


def measure(texts: list[str], cache: Path, rounds: int) -> dict[str, Any]:
    """Each engine in each precision that it has, `rounds` times in turns; the median counts."""
    folder = cache / "embedding"
    folder.mkdir(parents=True, exist_ok=True)
    texts = _as_far_as_all_read(texts)
    (folder / "texts.json").write_text(json.dumps(texts))
    infinity, why_not = _infinity_python(cache)
    precisions = ("float32", "bfloat16") if has_bfloat16("cpu") else ("float32",)
    results: dict[str, dict[str, list[dict[str, float]]]] = {}
    for _ in range(rounds):
        for engine in _ENGINES:
            python = infinity if engine == "infinity_emb" else sys.executable
            for precision in precisions:
                if python:
                    done = _run(python, engine, precision, folder)
                    results.setdefault(engine, {}).setdefault(precision, []).append(done)
    report: dict[str, Any] = {"texts": len(texts), "rounds": rounds, "threads": os.cpu_count()}
    if why_not:
        report["infinity_emb_left_out"] = why_not
    for engine, by_precision in results.items():
        report[engine] = {
            precision: {name: round(float(np.median([run[name] for run in runs])), 4) for name in runs[0]}
            for precision, runs in by_precision.items()
        }
    _add_agreement(report, results, folder)
    return report


def _as_far_as_all_read(texts: list[str]) -> list[str]:
    """Texts cut behind the tokens that the model takes at once: coterie would read on, the others stop there."""
    tokenizer = Tokenizer.from_file(str(_packaged_folder(DEFAULT_MODEL) / "tokenizer.json"))
    tokenizer.no_truncation()
    cut = []
    for text in texts:
        offsets = tokenizer.encode(text, add_special_tokens=False).offsets
        cut.append(text if len(offsets) <= _TOKENS else text[: offsets[_TOKENS - 1][1]])
    return cut


def _run(python: str, engine: str, precision: str, folder: Path) -> dict[str, float]:
    answer = subprocess.run(
        [python, str(_WORKER), engine, precision, str(folder)],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ
        | {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "BENCH_MODEL_FOLDER": str(_packaged_folder(DEFAULT_MODEL))},
    )
    result: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return result


def _add_agreement(report: dict[str, Any], results: dict[str, Any], folder: Path) -> None:
    """The mean cosine of each engine's vectors with those of sentence-transformers in float32."""
    truth = np.load(folder / "sentence-transformers-float32.npy")
    for engine, by_precision in results.items():
        for precision in by_precision:
            vectors = np.load(folder / f"{engine}-{precision}.npy")
            report[engine][precision]["cosine"] = round(float((vectors * truth).sum(axis=1).mean()), 5)


def _infinity_python(cache: Path) -> tuple[str, str]:
    """The interpreter of infinity_emb's environment, made if it is not there; or why there is none."""
    folder = cache / "infinity"
    python = folder / "bin" / "python"
    if (folder / "ready").exists():
        return str(python), ""
    shutil.rmtree(folder, ignore_errors=True)
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
        for packages in (("torch==2.13.0",), _INFINITY):
            subprocess.run(
                [str(python), "-m", "pip", "install", "--quiet", *packages], check=True, capture_output=True, text=True
            )
        subprocess.run([str(python), "-c", "import infinity_emb"], check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        return "", f"its environment cannot be made: {str(error.stderr or error).strip()[-300:]}"
    (folder / "ready").touch()
    return str(python), ""
