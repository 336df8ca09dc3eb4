"""What the service is given: exchanges by the million made from a mould, and a data folder of a million vectors."""

import json
import random
import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.cluster import data as cluster_data
from coterie.client import wire
from coterie.domain import AccountId, Exchange, ExchangeId, IngestResult, normalise
from coterie.store import open_store
from coterie.v1 import ingest_service_pb2

REAL_TEXTS = 60_000
START_US = 1_767_225_600_000_000
_MODEL, _DIM = "all-MiniLM-L6-v2", 384
_MARK = "@@@@@@@@"
"""Stands in a mould where each batch has its number, eight hex digits: ids and texts of all batches differ."""
_ADDED_AT_ONCE = 1_000
_UNDER_WAY_MAX = 64
_VECTORS_AT_ONCE = 32_768


@dataclass(frozen=True, slots=True)
class Mould:
    """Serialised batches to be, each of so many exchanges of about 1.2 KB, in which every prompt and answer is new."""

    batch: bytes
    unary: bytes
    exchanges: int

    def stream_request(self, number: int) -> bytes:
        """An `IngestRequest`."""
        return self.batch.replace(_MARK.encode(), f"{number:08x}".encode())

    def unary_request(self, number: int) -> bytes:
        """An `IngestBatchRequest`."""
        return self.unary.replace(_MARK.encode(), f"{number:08x}".encode())


def mould(exchanges: int, seed: int) -> Mould:
    """A mould from random words, as in bench_store.py: prompts of 60 words, answers of 120."""
    made = [_exchange(number, _MARK, random.Random(f"{seed}/{number}")) for number in range(exchanges)]
    messages = [wire.exchange_to_wire(exchange) for exchange in made]
    return Mould(
        ingest_service_pb2.IngestRequest(batch_number=1, exchanges=messages).SerializeToString(),
        ingest_service_pb2.IngestBatchRequest(exchanges=messages).SerializeToString(),
        exchanges,
    )


def rows(exchanges: int, batches: int, seed: int) -> Iterator[list[tuple[str, str, int, str, str]]]:
    """What the first batches of a mould hold: id, account, time, prompt and response of each exchange."""
    made = [_exchange(number, _MARK, random.Random(f"{seed}/{number}")) for number in range(exchanges)]
    for batch in range(batches):
        mark = f"{batch:08x}"
        yield [
            (
                e.exchange_id.replace(_MARK, mark),
                e.account_id,
                e.time_us,
                e.prompt.replace(_MARK, mark),
                e.response.replace(_MARK, mark),
            )
            for e in made
        ]


def _exchange(number: int, mark: str, draw: random.Random) -> Exchange:
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(180)]
    account = draw.randrange(2_000)
    return Exchange(
        exchange_id=ExchangeId(f"{draw.getrandbits(64):016x}-{mark}"),
        account_id=AccountId(f"acct-{account:06d}"),
        time_us=START_US + number * 100_000,
        prompt=f"{mark} {' '.join(words[:60])}",
        response=f"{mark} {' '.join(words[60:])}",
        system=f"You are assistant {account % 50}.",
        conversation_id=f"c{account}",
        turn=number % 7,
        model=f"model-{account % 3}",
        input_tokens=draw.randrange(500),
        output_tokens=draw.randrange(1_000),
        attributes={"organisation": f"org-{account % 300}", "client": "sdk"},
    )


@dataclass(frozen=True, slots=True)
class Questions:
    """Real prompts that are not in the world: vectors float32[q, dim], and their texts."""

    vectors: NDArray[np.float32]
    texts: list[str]


def world(corpus: Path, n: int, cache: Path, seed: int) -> NDArray[np.float32]:
    """float32[n, 384]: real prompts and what is grown from them, see `bench.cluster.data`; cached as float16."""
    path = cache / f"serve-world-{n}-{seed}.npy"
    if not path.exists():
        real = cluster_data.real_vectors(corpus, REAL_TEXTS, cache, 0)
        np.save(path, cluster_data.grow(real, n, seed).vectors.astype(np.float16))
    vectors = np.load(path).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def questions(corpus: Path, n: int, count: int, cache: Path, seed: int) -> Questions:
    """Real prompts that `world` took for centres of families only, so that they are in no row of it."""
    real = cluster_data.real_vectors(corpus, REAL_TEXTS, cache, 0)
    texts = cluster_data._texts(sorted(corpus.glob("*.jsonl.gz")), REAL_TEXTS, 0)
    left_out = np.random.default_rng([seed, n]).permutation(len(real))[:count]
    return Questions(real[left_out], [normalise(texts[row]) for row in left_out])


def folder(corpus: Path, n: int, cache: Path, seed: int) -> Path:
    """A data folder of n exchanges with a prompt each, whose vectors are `world`'s rows in order; made once.

    The texts are placeholders: what is searched is the vectors. There is no index in it.
    """
    path = cache / f"serve-folder-{n}-{seed}"
    done = path / "complete.json"
    if done.exists():
        return path
    shutil.rmtree(path, ignore_errors=True)
    vectors = world(corpus, n, cache, seed)
    with open_store(path) as store:
        store.bind_model(_MODEL, _DIM)
        under_way: deque[Future[IngestResult]] = deque()
        for first in range(0, n, _ADDED_AT_ONCE):
            numbers = range(first, min(n, first + _ADDED_AT_ONCE))
            exchanges = [with_prompt(number, f"grown text {number:08d}", "grown") for number in numbers]
            under_way.append(store.submit(exchanges))
            if len(under_way) == _UNDER_WAY_MAX:
                under_way.popleft().result()
        for future in under_way:
            future.result()
        for first in range(0, n, _VECTORS_AT_ONCE):
            rows = vectors[first : first + _VECTORS_AT_ONCE]
            waiting = store.pending_texts(len(rows))
            store.put_vectors(np.array([text_id for text_id, _ in waiting], np.int64), rows)
            if first % (4 * _VECTORS_AT_ONCE) == 0:
                print(f"data folder: {first:,} of {n:,} vectors", flush=True)
    done.write_text(json.dumps({"exchanges": n}))
    return path


def with_prompt(number: int, prompt: str, prefix: str = "asked") -> Exchange:
    """An exchange with nothing but a prompt, of one of 5,000 accounts."""
    return Exchange(
        exchange_id=ExchangeId(f"{prefix}-{number:08d}"),
        account_id=AccountId(f"acct-{number % 5_000:06d}"),
        time_us=START_US + number * 100_000,
        prompt=prompt,
        model=f"model-{number % 3}",
        attributes={"organisation": f"org-{number % 300}"},
    )
