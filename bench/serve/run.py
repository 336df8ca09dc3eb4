"""The service's bars, each beside its baseline in the same run: `make bench-serve`.

    python -m bench.serve.run [--parts embedding,ingest,overload,search] [--size 1000000] [--exchanges 1000000]

Prints and writes bench/results/serve.json: machine, versions, sizes, seed, every figure, and which bars are reached.
Parts that are left out stay in the file as they were, with the machine and the time that they were measured at.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import random
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.serve import data, embedding, ingest, search

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench" / "results" / "serve.json"
PARTS = ("embedding", "ingest", "model", "overload", "search")
_PACKAGES = ("torch", "sentence-transformers", "transformers", "faiss-cpu", "grpcio", "numpy")
_SOURCES = ("A_gsm8k_train", "A_bbh", "B_alpaca_en_demo", "C_banking77", "C_bright_stackexchange_posts", "E_")


def main() -> int:
    """Measure what is asked for; 0 whatever comes out of it."""
    options = _parsed()
    cache = ROOT / "build" / "bench"
    cache.mkdir(parents=True, exist_ok=True)
    corpus = Path(os.environ.get("COTERIE_CORPUS") or ROOT / ".." / "shared" / "data")
    report = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"benchmark": "serve", "parts": {}}
    measures: dict[str, Callable[[], dict[str, Any]]] = {
        "embedding": lambda: embedding.measure(_texts(corpus, options.texts, options.seed), cache, options.rounds),
        "ingest": lambda: _ingest(cache, options),
        "model": lambda: ingest.with_model(
            cache / "serve-model", _texts(corpus, 5 * options.texts, options.seed), options.seed
        ),
        "overload": lambda: ingest.overload(cache / "serve-overload", options.overload_s, options.seed),
        "search": lambda: _search(corpus, cache, options),
    }
    for part in options.parts:
        print(f"--- {part}", flush=True)
        started = time.time()
        result = measures[part]()
        report["parts"][part] = {
            "measured": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
            "took_s": round(time.time() - started),
            "load_average_at_start": round(os.getloadavg()[0], 1),
            "seed": options.seed,
            "machine": _machine(),
            "result": result,
        }
        report["bars"] = bars(report["parts"])
        RESULTS.write_text(json.dumps(report, indent=2) + "\n")
        print(json.dumps(result, indent=2), flush=True)
    for bar in report["bars"]:
        print(f"{'reached' if bar['reached'] else 'MISSED '}  {bar['bar']}: {bar['value']} (bar {bar['wanted']})")
    return 0


def _ingest(cache: Path, options: argparse.Namespace) -> dict[str, Any]:
    raw_before = ingest.raw_sqlite(cache / "serve-raw", options.exchanges, options.seed)
    durable = ingest.durable(cache / "serve-ingest", options.exchanges, options.seed)
    raw_after = ingest.raw_sqlite(cache / "serve-raw", options.exchanges, options.seed)
    for name in ("serve-raw", "serve-ingest"):
        shutil.rmtree(cache / name)
    raw = (raw_before["exchanges_per_s"] + raw_after["exchanges_per_s"]) / 2
    return {
        "raw_sqlite": {"before": raw_before, "after": raw_after},
        "durable": durable,
        "share_of_raw": round(durable["exchanges_per_s"] / raw, 3),
    }


def _search(corpus: Path, cache: Path, options: argparse.Namespace) -> dict[str, Any]:
    folder = data.folder(corpus, options.size, cache, options.seed)
    vectors = data.world(corpus, options.size, cache, options.seed)
    questions = data.questions(corpus, options.size, 500, cache, options.seed)
    texts = _texts(corpus, 2_000, options.seed)
    return search.measure(folder, questions, vectors, texts, options.search_s, options.rate)


def bars(parts: dict[str, Any]) -> list[dict[str, Any]]:
    """The bars whose parts are there: what was wanted, what came out."""
    made: list[dict[str, Any]] = []

    def bar(name: str, value: float, wanted: float, *, least: bool) -> None:
        reached = value >= wanted if least else value <= wanted
        made.append({"bar": name, "value": value, "wanted": f"{'>=' if least else '<='} {wanted}", "reached": reached})

    results = {name: part["result"] for name, part in parts.items()}
    if "ingest" in results:
        found = results["ingest"]
        bar("durable ingest over raw SQLite", found["share_of_raw"], 0.5, least=True)
        bar("durable exchanges/s", found["durable"]["exchanges_per_s"], 10_000, least=True)
        early, late = (found["durable"][f"memory_mb_at_{when}"] for when in ("a_fifth", "the_end"))
        bar("memory at the end over memory at a fifth", round(late / early, 3), 1.1, least=False)
    if "model" in results:
        bar("ingest with the model over the bare encoder", results["model"]["share_of_bare"], 0.9, least=True)
    if "embedding" in results:
        _embedding_bars(results["embedding"], bar)
    if "overload" in results:
        found = results["overload"]
        bar("goodput at three times peak, over peak", found["goodput_of_peak"], 0.9, least=True)
        bar("refusals p99, ms", found["refusal_ms"].get("p99", 0.0), 50, least=False)
        early, late = found["memory_mb_first_quarter"], found["memory_mb_last_quarter"]
        bar("memory in the last quarter over the first", round(late / early, 3), 1.1, least=False)
        bar("recovered after, s", found["recovered_after_s"], 5, least=False)
    if "search" in results:
        found = results["search"]
        bar("recall@10", found["recall_at_10"], 0.98, least=True)
        bar("vector search p99, ms", found["by_vector"]["ms"]["p99"], 50, least=False)
        flat = found["flat"]["by_vector"]["ms"]["p50"]
        bar("median over flat search's", round(found["by_vector"]["ms"]["p50"] / flat, 4), 0.1, least=False)
        bar("text search p99, ms", found["by_text"]["ms"]["p99"], 250, least=False)
        bar("restart over build", round(found["restart_s"] / found["build"]["s"], 3), 0.1, least=False)
    return made


def _embedding_bars(found: dict[str, Any], bar: Callable[..., None]) -> None:
    for precision, ours in found["coterie"].items():
        for other, wanted in (("infinity_emb", 1.5), ("sentence-transformers, arrival order", 2.5)):
            theirs = found.get(other, {}).get(precision)
            if theirs:
                ratio = round(ours["texts_per_s"] / theirs["texts_per_s"], 2)
                bar(f"texts/s over {other}, {precision}", ratio, wanted, least=True)


def _texts(corpus: Path, count: int, seed: int) -> list[str]:
    """Distinct real texts of mixed length, like numbers from six kinds of source."""
    import gzip

    pool: list[str] = []
    paths = [path for source in _SOURCES for path in sorted(corpus.glob(f"{source}*.jsonl.gz"))[:1]]
    if not paths:
        raise SystemExit(f"no corpus at {corpus}: set COTERIE_CORPUS to a folder of *.jsonl.gz")
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            records = [json.loads(line) for line, _ in zip(lines, range(5_000), strict=False)]
        texts = sorted({text for record in records if (text := record.get("response") or record["text"]).strip()})
        pool += random.Random(seed).sample(texts, min(len(texts), -(-count // len(paths))))
    random.Random(seed).shuffle(pool)
    return pool[:count]


def _machine() -> dict[str, Any]:
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    return {
        "platform": platform.platform(),
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=lambda names: names.split(","), default=list(PARTS))
    parser.add_argument("--size", type=int, default=1_000_000, help="texts that are searched")
    parser.add_argument("--exchanges", type=int, default=1_000_000, help="exchanges that are ingested")
    parser.add_argument("--texts", type=int, default=400, help="texts that are embedded by each engine")
    parser.add_argument("--rounds", type=int, default=2, help="times that each engine embeds them")
    parser.add_argument("--rate", type=float, default=20.0, help="searches a second of all clients together")
    parser.add_argument("--search-s", type=float, default=60.0, help="length of a search phase")
    parser.add_argument("--overload-s", type=float, default=60.0, help="length of the overload")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"unknown parts {', '.join(sorted(unknown))}: there are {', '.join(PARTS)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
