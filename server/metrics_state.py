"""What is read when metrics are scraped, instead of counted as it happens: sizes, queues, lag, the standing picture."""

import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from coterie.domain import FindingKind, Lineage, RunState, Severity
from coterie.server.engine import Engine
from coterie.server.readiness import Readiness, State

_RUNS_LOOKED_AT = 100


class StateMetrics(Collector):
    """Reads an engine. A scrape costs some indexed queries; findings are counted anew only when they changed."""

    def __init__(self, engine: Engine, readiness: Readiness, tokens_per_text: Callable[[], float]) -> None:
        """`tokens_per_text`: the mean of what was embedded, to estimate what waits."""
        self._tokens_per_text = tokens_per_text
        self._engine = engine
        self._readiness = readiness
        self._lock = threading.Lock()
        self._event = -1
        self._run_id = ""
        self._findings: Counter[tuple[str, str]] = Counter()
        self._success_us = 0

    def describe(self) -> Iterable[Metric]:
        """Nothing: names are checked as they are collected, and the store need not be open to register."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Everything, as of now."""
        with self._lock:
            yield from self._readiness_now()
            yield from self._queues()
            yield from self._sizes()
            yield from self._picture()

    def _readiness_now(self) -> Iterator[Metric]:
        verdict = self._readiness.verdict
        yield _gauge("coterie_ready", "1 while calls should be sent here.", float(verdict.ready))
        checks = GaugeMetricFamily(
            "coterie_check_ok",
            "1 where a check of readiness is ok, .5 where degraded, 0 where failed.",
            labels=["check"],
        )
        for check in verdict.checks:
            checks.add_metric([check.name], {State.OK: 1.0, State.DEGRADED: 0.5, State.FAILED: 0.0}[check.state])
        yield checks

    def _queues(self) -> Iterator[Metric]:
        store = self._engine.store
        requests, chars = store.waiting_writes()
        yield _gauge("coterie_write_queue_requests", "Requests that wait to be written.", requests)
        yield _gauge("coterie_write_queue_characters", "Characters of text that wait to be written.", chars)
        texts = store.pending_count()
        tokens = texts * self._tokens_per_text()
        yield _gauge("coterie_embedding_queue_texts", "Texts that wait for their vector.", texts)
        yield _gauge("coterie_embedding_queue_tokens", "Tokens of these texts, by the mean of those embedded.", tokens)
        yield _gauge(
            "coterie_embedding_lag_seconds", "How long the oldest of these texts has waited.", self._readiness.lag_s
        )

    def _sizes(self) -> Iterator[Metric]:
        engine = self._engine
        index = GaugeMetricFamily("coterie_index_texts", "Texts that search finds, by field.", labels=["field"])
        for field, texts in engine.index_sizes().items():
            index.add_metric([field.value], texts)
        yield index
        database_bytes, log_bytes = engine.store.file_sizes()
        yield _gauge("coterie_store_database_bytes", "Size of the database file.", database_bytes)
        yield _gauge("coterie_store_wal_bytes", "Size of the write-ahead log.", log_bytes)
        yield _gauge(
            "coterie_store_last_sequence", "Number of the last exchange stored.", engine.store.log_position()[0]
        )
        disk = shutil.disk_usage(engine.store.data_dir)
        yield _gauge("coterie_disk_free_bytes", "Free where the data folder is.", disk.free)
        yield _gauge("coterie_disk_size_bytes", "Size of the file system of the data folder.", disk.total)

    def _picture(self) -> Iterator[Metric]:
        self._look()
        findings = GaugeMetricFamily(
            "coterie_findings",
            "Standing findings that accuse somebody, by kind and severity.",
            labels=["kind", "severity"],
        )
        for kind in FindingKind:
            for severity in Severity:
                findings.add_metric([kind.value, severity.value], self._findings[kind.value, severity.value])
        yield findings
        yield _gauge(
            "coterie_run_last_success_timestamp_seconds",
            "When the newest whole run that is done ended, 0 before the first.",
            self._success_us / 1e6,
        )

    def _look(self) -> None:
        store = self._engine.store
        event = store.last_event()
        newest = store.runs(limit=1)
        run_id = f"{newest[0].run_id} {newest[0].state}" if newest else ""
        if (event, run_id) == (self._event, self._run_id):
            return
        _, found = store.findings()
        self._findings = Counter(
            (finding.kind.value, finding.severity.value) for finding in found if finding.lineage is not Lineage.GONE
        )
        recent = store.runs(limit=_RUNS_LOOKED_AT)
        done = [run.finished_us for run in recent if run.state is RunState.DONE and run.slice.is_whole]
        self._success_us = max([self._success_us, *done])
        self._event, self._run_id = event, run_id


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value=value)
