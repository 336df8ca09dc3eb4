"""Durable ingest beside raw SQLite, memory over a million, embedding behind it, and three times overload."""

import asyncio
import itertools
import resource
import shutil
import sqlite3
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import numpy as np

from bench.serve import data
from bench.serve.process import Service
from coterie.embedder import load_encoder
from coterie.v1 import ingest_service_pb2

BATCH = 500
_STREAMS, _IN_FLIGHT = 2, 4
_METHOD = "/coterie.v1.IngestService"


def raw_sqlite(folder: Path, exchanges: int, seed: int) -> dict[str, float]:
    """One table with one index, a commit for every 500 exchanges, one thread, WAL and FULL; nothing is checked.

    As many exchanges as the service takes: with random ids, each commit writes more pages the larger the table is.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    connection = sqlite3.connect(folder / "raw.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE e (id TEXT UNIQUE, account TEXT, time INTEGER, prompt TEXT, response TEXT)")
    cpu_s = elapsed_s = 0.0
    for rows in data.rows(BATCH, exchanges // BATCH, seed):
        cpu_before, started = time.process_time(), time.perf_counter()
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO e VALUES (?, ?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
        elapsed_s += time.perf_counter() - started
        cpu_s += time.process_time() - cpu_before
    connection.close()
    return {"exchanges_per_s": round(exchanges / elapsed_s), "cpu_us_per_exchange": round(1e6 * cpu_s / exchanges, 1)}


def durable(folder: Path, exchanges: int, seed: int) -> dict[str, Any]:
    """Streams of ready-made batches into a service with the model-free encoder: rate, CPU and memory.

    The encoder has 16 dimensions, so that the index, which grows with every text, does not hide what ingest holds.
    """
    shutil.rmtree(folder, ignore_errors=True)
    with Service(data_dir=folder, model="hash-16", queued_tokens_max=10**12) as service:
        service.wait_until_warm()
        mould, numbers = data.mould(BATCH, seed), itertools.count()
        asyncio.run(_stream_all(service.address, mould, numbers, 4 * _STREAMS))  # warm
        cpu_s, started = service.cpu_s(), time.perf_counter()
        with service.watched() as memory_mb:
            asyncio.run(_stream_all(service.address, mould, numbers, exchanges // BATCH))
        elapsed_s, cpu_s = time.perf_counter() - started, service.cpu_s() - cpu_s
        with service.client() as client:
            stats = client.stats()
    early, late = memory_mb[len(memory_mb) // 5 :][:5], memory_mb[-5:]
    return {
        "exchanges": exchanges,
        "exchanges_per_s": round(exchanges / elapsed_s),
        "service_cpu_us_per_exchange": round(1e6 * cpu_s / exchanges, 1),
        "embedded_meanwhile": stats.texts - stats.pending_texts,
        "waiting_at_the_end": stats.pending_texts,
        "memory_mb_at_a_fifth": round(statistics.median(early)),
        "memory_mb_at_the_end": round(statistics.median(late)),
    }


async def _stream_all(address: str, mould: data.Mould, numbers: "itertools.count[int]", batches: int) -> None:
    left = iter([next(numbers) for _ in range(batches)])
    async with grpc.aio.insecure_channel(address, options=[("grpc.max_send_message_length", 1 << 26)]) as channel:
        await asyncio.gather(*(_stream(channel, mould, left) for _ in range(_STREAMS)))


async def _stream(channel: grpc.aio.Channel, mould: data.Mould, numbers: Any) -> None:
    """One stream that keeps a few batches ahead of their answers."""
    open_ = channel.stream_stream(
        f"{_METHOD}/Ingest",
        request_serializer=lambda ready: ready,
        response_deserializer=ingest_service_pb2.IngestResponse.FromString,
    )
    call = open_()
    ahead = 0
    for number in numbers:
        await call.write(mould.stream_request(number))
        ahead += 1
        if ahead >= _IN_FLIGHT:
            _check((await call.read()).report, mould)
            ahead -= 1
    await call.done_writing()
    for _ in range(ahead):
        _check((await call.read()).report, mould)


def _check(report: ingest_service_pb2.IngestReport, mould: data.Mould) -> None:
    if report.stored != mould.exchanges:
        raise RuntimeError(f"{report.stored} of {mould.exchanges} stored, {len(report.rejections)} rejected")


def with_model(folder: Path, texts: list[str], seed: int) -> dict[str, Any]:
    """Exchanges through the service until all are embedded, beside the bare encoder on the same texts."""
    encoder = load_encoder()
    encoder.encode(texts[:64])
    cpu_s, started = _cpu_s(), time.perf_counter()
    encoder.encode(texts)
    bare = {"texts_per_s": round(len(texts) / (time.perf_counter() - started), 1), "cpu_s": round(_cpu_s() - cpu_s, 2)}
    shutil.rmtree(folder, ignore_errors=True)
    exchanges = [data.with_prompt(number, text) for number, text in enumerate(texts)]
    with Service(data_dir=folder) as service, service.client() as client:
        service.wait_until_warm()
        cpu_s, started = service.cpu_s(), time.perf_counter()
        client.ingest(exchanges)
        while client.stats().pending_texts:
            time.sleep(0.05)
        elapsed_s = time.perf_counter() - started
        cpu_s = service.cpu_s() - cpu_s
    return {
        "texts": len(texts),
        "bare_encoder": bare,
        "texts_per_s": round(len(texts) / elapsed_s, 1),
        "cpu_s": round(cpu_s, 2),
        "share_of_bare": round(len(texts) / elapsed_s / bare["texts_per_s"], 3),
    }


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@dataclass
class _Tally:
    """What became of the calls of a phase; times in seconds from its start."""

    taken: list[float] = field(default_factory=list)
    took_s: list[float] = field(default_factory=list)
    refused_s: list[float] = field(default_factory=list)
    refused_at: list[float] = field(default_factory=list)
    delays_s: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    health_s: list[float] = field(default_factory=list)


def overload(folder: Path, seconds: float, seed: int) -> dict[str, Any]:
    """Peak rate of single batches, then three times that, whatever is answered, and half of it again.

    Peak: callers that wait for their answer and as long as a refusal says. The queue of the encoder (model-free) takes
    a few seconds' worth: what is taken is embedded soon.
    """
    shutil.rmtree(folder, ignore_errors=True)
    tokens_max = 2_000_000
    with Service(data_dir=folder, model="hash-16", queued_tokens_max=tokens_max) as service:
        service.wait_until_warm()
        mould, numbers = data.mould(100, seed), itertools.count(1)
        asyncio.run(_closed(service.address, mould, numbers, seconds / 3))  # until the queue is full
        peak = asyncio.run(_closed(service.address, mould, numbers, seconds / 2))
        per_s = len(peak.taken) / (seconds / 2)
        memory_before = service.memory_mb()
        with service.watched() as memory_mb:
            over = asyncio.run(_open(service.address, mould, numbers, 3 * per_s, seconds))
        after = asyncio.run(_open(service.address, mould, numbers, per_s / 2, 15.0))
    goodput = len(over.taken) / seconds
    quarter = max(1, len(memory_mb) // 4)
    return {
        "exchanges_per_batch": mould.exchanges,
        "peak_exchanges_per_s": round(per_s * mould.exchanges),
        "offered": 3,
        "goodput_of_peak": round(goodput / per_s, 3),
        "refused": len(over.refused_s),
        "refusal_ms": _quantiles(over.refused_s),
        "retry_delay_s": _quantiles(over.delays_s, 1.0),
        "health_ms": _quantiles(over.health_s),
        "errors": dict(over.errors),
        "memory_mb_before": round(memory_before),
        "memory_mb_first_quarter": round(statistics.median(memory_mb[:quarter])),
        "memory_mb_last_quarter": round(statistics.median(memory_mb[-quarter:])),
        "recovered_after_s": round(max(after.refused_at, default=0.0), 2),
    }


def _quantiles(seconds: list[float], scale: float = 1e3) -> dict[str, float]:
    if not seconds:
        return {}
    return {name: round(float(np.quantile(seconds, q)) * scale, 2) for name, q in (("p50", 0.5), ("p99", 0.99))}


async def _closed(address: str, mould: data.Mould, numbers: "itertools.count[int]", seconds: float) -> _Tally:
    """Eight callers, each with one batch under way."""
    tally, started = _Tally(), time.perf_counter()
    async with grpc.aio.insecure_channel(address) as channel:
        send = _sender(channel)

        async def call() -> None:
            while time.perf_counter() - started < seconds:
                await asyncio.sleep(await _once(send, mould.unary_request(next(numbers)), tally, started))

        await asyncio.gather(*(call() for _ in range(8)))
    tally.taken = [at for at in tally.taken if at <= seconds]
    return tally


async def _open(
    address: str, mould: data.Mould, numbers: "itertools.count[int]", per_s: float, seconds: float
) -> _Tally:
    """Batches at a fixed rate, come what may; health is asked five times a second beside them."""
    tally, started = _Tally(), time.perf_counter()
    async with grpc.aio.insecure_channel(address) as channel:
        send, calls = _sender(channel), set[asyncio.Task[float]]()
        asking = asyncio.create_task(_ask_health(channel, tally))
        for number in itertools.count():
            due = started + number / per_s
            if due - started >= seconds:
                break
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            call = asyncio.create_task(_once(send, mould.unary_request(next(numbers)), tally, started))
            calls.add(call)
            call.add_done_callback(calls.discard)
        await asyncio.gather(*calls)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    tally.taken = [at for at in tally.taken if at <= seconds]
    return tally


def _sender(channel: grpc.aio.Channel) -> Any:
    return channel.unary_unary(
        f"{_METHOD}/IngestBatch",
        request_serializer=lambda ready: ready,
        response_deserializer=ingest_service_pb2.IngestBatchResponse.FromString,
    )


async def _once(send: Any, request: bytes, tally: _Tally, started: float) -> float:
    """Send a batch once; how long to wait before the next."""
    sent = time.perf_counter()
    try:
        answer = await send(request, timeout=30)
    except grpc.aio.AioRpcError as error:
        ended = time.perf_counter()
        if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            tally.errors[error.code().name] += 1
            return 0.1
        delays = [value for key, value in error.trailing_metadata() or () if key == "retry-after-ms"]
        delay_s = int(delays[0]) / 1e3 if delays else 1.0
        tally.refused_s.append(ended - sent)
        tally.refused_at.append(ended - started)
        tally.delays_s.append(delay_s)
        return delay_s
    assert answer.report.stored
    tally.taken.append(time.perf_counter() - started)
    tally.took_s.append(time.perf_counter() - sent)
    return 0.0


async def _ask_health(channel: grpc.aio.Channel, tally: _Tally) -> None:
    ask = channel.unary_unary("/grpc.health.v1.Health/Check", request_serializer=lambda ready: ready)
    while True:
        sent = time.perf_counter()
        await ask(b"", timeout=30)
        tally.health_s.append(time.perf_counter() - sent)
        await asyncio.sleep(0.2)
