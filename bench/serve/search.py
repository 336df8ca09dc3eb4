"""Search of a million texts by sixteen clients while texts come in; flat search under the same load; restart."""

import random
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from bench.serve import data
from bench.serve.process import Service
from coterie.client import Client, RetryPolicy
from coterie.domain import CoterieError, SearchResult

CLIENTS, K = 16, 10
_BUILT_S_MAX = 3_600.0
_INGEST_BATCH = 20


@dataclass
class _Answers:
    """What the clients saw: seconds of each call, parts of it as the service tells them, errors."""

    seconds: list[float] = field(default_factory=list)
    queue_s: list[float] = field(default_factory=list)
    embed_s: list[float] = field(default_factory=list)
    search_s: list[float] = field(default_factory=list)
    errors: int = 0
    found: dict[int, list[str]] = field(default_factory=dict)


def measure(
    root: Path, questions: data.Questions, vectors: NDArray[np.float32], texts: list[str], seconds: float, rate: float
) -> dict[str, Any]:
    """Everything at one size, on a copy of the prepared folder `root`.

    Args:
        rate: searches a second of all clients together where the service keeps up; each client waits between two of its
            searches, on average so long that they come to that.
    """
    folder = root.with_name(f"{root.name}-run")
    _fresh(root, folder)
    flat_settings = {"data_dir": folder, "index_exact_rows_max": 10**9}
    with Service(**flat_settings) as service:
        ready_flat_s = service.wait(_searchable(len(vectors)))
        flat = _under_load(service, questions, texts, seconds / 2, rate, by_text=False)
        alone = _alone(service, questions)
    _fresh(root, folder)
    with Service(data_dir=folder) as service:
        service.wait(_searchable(len(vectors)))
        building = _Answers()
        built_s, build_cpu_s = _searched_until_built(service, questions, building)
        with service.client() as client:
            (segment,) = [item for item in client.stats().segments if item.field == "prompt"]
        # No load yet: the truth is that of the folder as it was prepared.
        recall = _recall(service, questions, vectors)
        lists = _under_load(service, questions, texts, seconds, rate, by_text=False)
        by_text = _under_load(service, questions, texts, seconds, rate / 2, by_text=True)
        lists_alone = _alone(service, questions)
        memory_mb = service.memory_mb()
    with Service(data_dir=folder) as service:
        restart_s = service.wait(_searchable(len(vectors), lists=True))
    return {
        "texts": len(vectors),
        "clients": CLIENTS,
        "k": K,
        "offered_searches_per_s": rate,
        "offered_text_searches_per_s": rate / 2,
        "recall_at_10": recall,
        "index": {"lists": segment.lists, "probes": segment.probes, "recall_measured_by_service": segment.recall},
        "by_vector": lists,
        "by_text": by_text,
        "alone_ms": lists_alone,
        "flat": {"by_vector": flat, "alone_ms": alone},
        "while_lists_are_built": _summary(building),
        "memory_mb": round(memory_mb),
        "build": {"s": round(built_s, 1), "cpu_s": round(build_cpu_s, 1)},
        "first_start_searchable_exactly_s": round(ready_flat_s, 1),
        "restart_s": round(restart_s, 1),
    }


def _fresh(root: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(root, folder)


def _searchable(texts: int, *, lists: bool = False) -> Callable[[Client], bool]:
    """True once all texts are in the index, and in lists where that is asked for."""

    def true(client: Client) -> bool:
        segments = [item for item in client.stats().segments if item.field == "prompt"]
        return sum(item.rows for item in segments) >= texts and (not lists or all(item.lists for item in segments))

    return true


def _searched_until_built(service: Service, questions: data.Questions, answers: _Answers) -> tuple[float, float]:
    """Seconds from the start of the service until the lists are there and measured; one client searches meanwhile."""
    cpu_s = service.cpu_s()
    ended = threading.Event()

    def search() -> None:
        with service.client() as client:
            for number in _forever(0):
                if ended.is_set():
                    return
                _one(client, questions, number, answers, by_text=False)
                ended.wait(0.5)

    thread = threading.Thread(target=search)
    thread.start()
    try:

        def built(client: Client) -> bool:
            segments = [item for item in client.stats().segments if item.field == "prompt"]
            return all(item.lists and item.recall for item in segments)

        seconds = service.wait(built, _BUILT_S_MAX)
    finally:
        ended.set()
        thread.join()
    return seconds, service.cpu_s() - cpu_s


def _under_load(
    service: Service, questions: data.Questions, texts: list[str], seconds: float, rate: float, *, by_text: bool
) -> dict[str, Any]:
    """Sixteen clients that wait at random between their searches, while texts come in all the time."""
    ended = threading.Event()
    answers = [_Answers() for _ in range(CLIENTS)]
    ingested = [0]
    feeder = threading.Thread(target=_feed, args=(service, texts, ended, ingested))
    pause_s = CLIENTS / rate
    clients = [
        threading.Thread(target=_search_on, args=(service, questions, number, pause_s, ended, answers[number], by_text))
        for number in range(CLIENTS)
    ]
    with service.client() as client:
        before, cpu_s = client.stats(), service.cpu_s()
        feeder.start()
        time.sleep(2.0)  # so that the model is at work
        for thread in clients:
            thread.start()
        time.sleep(seconds)
        ended.set()
        for thread in (*clients, feeder):
            thread.join()
        after = client.stats()
    together = _Answers()
    for each in answers:
        together.seconds += each.seconds
        together.queue_s += each.queue_s
        together.embed_s += each.embed_s
        together.search_s += each.search_s
        together.errors += each.errors
    embedded = (after.texts - after.pending_texts) - (before.texts - before.pending_texts)
    return _summary(together) | {
        "searches_per_s": round(len(together.seconds) / seconds, 1),
        "exchanges_ingested": ingested[0],
        "texts_embedded": embedded,
        "service_cpu_s": round(service.cpu_s() - cpu_s, 1),
    }


def _feed(service: Service, texts: list[str], ended: threading.Event, ingested: list[int]) -> None:
    """Real texts of mixed length, a batch of 20 five times a second; each with a number, so that it is new."""
    start = time.time_ns()
    with service.client(attempts=100) as client:
        for number in _forever(0):
            if ended.is_set():
                return
            chosen = [texts[(number * _INGEST_BATCH + place) % len(texts)] for place in range(_INGEST_BATCH)]
            batch = [
                data.with_prompt(number * _INGEST_BATCH + place, f"{start} {number} {text}", f"fed-{start}")
                for place, text in enumerate(chosen)
            ]
            ingested[0] += client.ingest(batch).stored
            ended.wait(0.2)


def _search_on(
    service: Service,
    questions: data.Questions,
    number: int,
    pause_s: float,
    ended: threading.Event,
    answers: _Answers,
    by_text: bool,
) -> None:
    draw = random.Random(number)
    with Client.connect(service.address, retry=RetryPolicy(attempts=1), timeout_s=60) as client:
        ended.wait(draw.uniform(0, pause_s))
        for turn in _forever(number * 997):
            if ended.is_set():
                return
            started = time.perf_counter()
            _one(client, questions, turn, answers, by_text=by_text)
            ended.wait(max(0.0, draw.expovariate(1 / pause_s) - (time.perf_counter() - started)))


def _one(client: Client, questions: data.Questions, turn: int, answers: _Answers, *, by_text: bool) -> None:
    row = turn % len(questions.texts)
    started = time.perf_counter()
    try:
        result: SearchResult = (
            client.search(questions.texts[row], k=K) if by_text else client.search(vector=questions.vectors[row], k=K)
        )
    except CoterieError:
        answers.errors += 1
        return
    answers.seconds.append(time.perf_counter() - started)
    answers.queue_s.append(result.queue_time_ns / 1e9)
    answers.embed_s.append(result.embed_time_ns / 1e9)
    answers.search_s.append(result.search_time_ns / 1e9)
    answers.found[row] = [str(hit.exchange.exchange_id) for hit in result.hits]


def _alone(service: Service, questions: data.Questions, searches: int = 40) -> dict[str, float]:
    """One client, nothing else but what is left to embed."""
    answers = _Answers()
    with service.client() as client:
        for turn in range(searches):
            _one(client, questions, turn, answers, by_text=False)
    return _milliseconds(answers.seconds)


def _recall(service: Service, questions: data.Questions, vectors: NDArray[np.float32]) -> float:
    """The share of the true ten nearest rows among the hits; the folder has one exchange for each row."""
    answers = _Answers()
    with service.client() as client:
        for turn in range(len(questions.texts)):
            _one(client, questions, turn, answers, by_text=False)
    best_scores = np.full((len(questions.vectors), K), -2.0, np.float32)
    best = np.full((len(questions.vectors), K), -1, np.int64)
    for first in range(0, len(vectors), 100_000):
        scores, found = faiss.knn(
            questions.vectors, vectors[first : first + 100_000], K, metric=faiss.METRIC_INNER_PRODUCT
        )
        scores, found = np.hstack([best_scores, scores]), np.hstack([best, found + first])
        order = np.argsort(-scores, axis=1)[:, :K]
        best_scores, best = np.take_along_axis(scores, order, 1), np.take_along_axis(found, order, 1)
    right = [
        len({f"grown-{row:08d}" for row in best[number]} & set(answers.found[number]))
        for number in range(len(questions.texts))
    ]
    return round(sum(right) / (K * len(right)), 4)


def _summary(answers: _Answers) -> dict[str, Any]:
    return {
        "searches": len(answers.seconds),
        "errors": answers.errors,
        "ms": _milliseconds(answers.seconds),
        "in_service_search_ms": _milliseconds(answers.search_s),
        "in_service_queue_ms": _milliseconds(answers.queue_s),
        "in_service_embed_ms": _milliseconds(answers.embed_s),
    }


def _milliseconds(seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {}
    parts = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))
    return {name: round(float(np.quantile(seconds, share)) * 1e3, 2) for name, share in parts}


def _forever(start: int) -> Any:
    while True:
        yield start
        start += 1
