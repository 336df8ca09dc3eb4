"""What is counted and timed, as Prometheus metrics. Labels are words of ours: no account, no text, no id."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

import grpc
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from coterie.domain import Erasure, IngestResult, InvalidError, OverloadedError, Run, RunState, SearchResult
from coterie.domain.telemetry import Commit, EmbeddedBatch
from coterie.server.interception import AroundCalls, Context, status_name
from coterie.server.observer import Observer
from coterie.server.requests import current_request

if TYPE_CHECKING:
    from coterie.domain import CoterieError

LABEL_VALUES_MAX = 64
"""Different values of a label whose words come from elsewhere; any more are counted as `other`."""

_RPC_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
_COMMIT_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_COMMIT_REQUESTS = (1, 2, 4, 8, 16, 32, 64)
_BATCH_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BATCH_TOKENS = (256, 512, 1_024, 2_048, 4_096, 8_192, 16_384, 32_768, 65_536)
_SEARCH_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_STAGE_S = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0)
_REFUSALS = frozenset({"RESOURCE_EXHAUSTED", "UNAVAILABLE", "UNAUTHENTICATED", "PERMISSION_DENIED"})


class Words:
    """Bounds how many values a label takes."""

    def __init__(self, count_max: int = LABEL_VALUES_MAX) -> None:
        self._count_max = count_max
        self._known: set[str] = set()

    def of(self, word: str) -> str:
        """The word, or `other` once there are too many."""
        if word in self._known:
            return word
        if len(self._known) >= self._count_max:
            return "other"
        self._known.add(word)
        return word


class Metrics(Observer):
    """The service's metrics in a registry of their own. Thread-safe."""

    def __init__(self) -> None:
        # Half of all series otherwise, and in Prometheus's text format they look like gauges of ours.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no annotations
        self.registry = registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=registry)
        self._reasons, self._stages = Words(), Words()
        self._texts_seen, self._tokens_seen = 0, 0
        Info("coterie_build", "The version that runs.", registry=registry).info({"version": version("coterie")})
        self.rpc_s = Histogram(
            "coterie_rpc_duration_seconds",
            "Calls by method and status: their number, and how long they took; a stream counts when it ends.",
            ("method", "status"),
            buckets=_RPC_S,
            registry=registry,
        )
        self.rpc_open = Gauge(
            "coterie_rpc_open", "Calls being answered, streams left out.", ("method",), registry=registry
        )
        self.streams_open = Gauge("coterie_streams_open", "Streams being answered.", ("method",), registry=registry)
        self.refusals = Counter(
            "coterie_refusals",
            "Calls refused before anything was done for them, by reason.",
            ("reason",),
            registry=registry,
        )
        self.exchanges = Counter(
            "coterie_ingest_exchanges",
            "Exchanges answered: stored, duplicate or rejected.",
            ("outcome",),
            registry=registry,
        )
        for outcome in ("stored", "duplicate", "rejected"):
            self.exchanges.labels(outcome)
        self.rejections = Counter(
            "coterie_ingest_rejections", "Exchanges rejected, by reason.", ("reason",), registry=registry
        )
        self._make_store(registry)
        self._make_work(registry)

    def _make_store(self, registry: CollectorRegistry) -> None:
        self.commit_s = Histogram(
            "coterie_commit_duration_seconds",
            "Transactions of the store, from begin to the disk's answer.",
            buckets=_COMMIT_S,
            registry=registry,
        )
        self.commit_requests = Histogram(
            "coterie_commit_requests",
            "Requests that shared a transaction.",
            buckets=_COMMIT_REQUESTS,
            registry=registry,
        )
        self.commit_failures = Counter(
            "coterie_commit_failures",
            "Transactions that the disk refused; nothing of them was kept.",
            registry=registry,
        )
        self.erasures = Counter("coterie_erasures", "Accounts erased.", registry=registry)

    def _make_work(self, registry: CollectorRegistry) -> None:
        self.batch_s = Histogram(
            "coterie_embedding_batch_duration_seconds",
            "Passes of the embedding model.",
            buckets=_BATCH_S,
            registry=registry,
        )
        self.batch_tokens = Histogram(
            "coterie_embedding_batch_tokens",
            "Tokens in a pass, padding included.",
            buckets=_BATCH_TOKENS,
            registry=registry,
        )
        self.tokens = Counter("coterie_embedding_tokens", "Tokens of texts embedded.", registry=registry)
        self.padding = Counter(
            "coterie_embedding_padding_tokens", "Tokens computed only to fill batches up.", registry=registry
        )
        self.texts = Counter("coterie_embedding_texts", "Waiting texts that got their vector.", registry=registry)
        self.search_s = Histogram(
            "coterie_search_duration_seconds",
            "Searches: embedding the query (embed), and finding its neighbours (search).",
            ("part",),
            buckets=_SEARCH_S,
            registry=registry,
        )
        self.stage_s = Histogram(
            "coterie_run_stage_duration_seconds",
            "Stages of re-clustering runs.",
            ("stage",),
            buckets=_STAGE_S,
            registry=registry,
        )
        self.run_s = Histogram(
            "coterie_run_duration_seconds",
            "Runs by their end: done, failed or cancelled.",
            ("state",),
            buckets=_STAGE_S,
            registry=registry,
        )
        for state in (RunState.DONE, RunState.FAILED, RunState.CANCELLED):
            self.run_s.labels(state.value)

    def exposition(self, accept: str) -> tuple[str, bytes]:
        """Content type and body of a scrape, in the format that the header asks for."""
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self.registry)

    @property
    def tokens_per_text(self) -> float:
        """Mean tokens of the texts embedded so far; 0 before the first."""
        return self._tokens_seen / self._texts_seen if self._texts_seen else 0.0

    def add(self, collector: Collector) -> None:
        """Also expose what a collector reads when it is asked."""
        self.registry.register(collector)

    def committed(self, commit: Commit) -> None:
        """See `Observer`."""
        self.commit_s.observe(commit.duration_s)
        self.commit_requests.observe(commit.requests)
        if commit.failed:
            self.commit_failures.inc()

    def ingested(self, result: IngestResult) -> None:
        """See `Observer`."""
        for outcome, count in (
            ("stored", result.stored),
            ("duplicate", result.duplicates),
            ("rejected", len(result.rejections)),
        ):
            if count:
                self.exchanges.labels(outcome).inc(count)
        for rejection in result.rejections:
            self.rejections.labels(self._reasons.of(rejection.reason)).inc()

    def embedded(self, batch: EmbeddedBatch) -> None:
        """See `Observer`."""
        self.batch_s.observe(batch.duration_s)
        self.batch_tokens.observe(batch.padded_tokens)
        self.tokens.inc(batch.tokens)
        self._tokens_seen += batch.tokens
        self.padding.inc(batch.padded_tokens - batch.tokens)

    def texts_embedded(self, count: int) -> None:
        """See `Observer`."""
        self.texts.inc(count)
        self._texts_seen += count

    def searched(self, result: SearchResult) -> None:
        """See `Observer`."""
        if result.embed_time_ns:
            self.search_s.labels("embed").observe(result.embed_time_ns / 1e9)
        self.search_s.labels("search").observe(result.search_time_ns / 1e9)

    def stage_ended(self, stage: str, duration_s: float) -> None:
        """See `Observer`."""
        self.stage_s.labels(self._stages.of(stage)).observe(duration_s)

    def run_ended(self, run: Run) -> None:
        """See `Observer`."""
        self.run_s.labels(run.state.value).observe(max(0, run.finished_us - run.created_us) / 1e6)

    def erased(self, erasure: Erasure) -> None:
        """See `Observer`."""
        self.erasures.inc()

    def refused(self, status: str, error: "CoterieError | None") -> None:
        """A call ended with a status that says it was refused."""
        reason = status.lower()
        if isinstance(error, (OverloadedError, InvalidError)):
            reason = error.reason
        self.refusals.labels(self._reasons.of(reason)).inc()


class RpcMetrics(AroundCalls):
    """Counts and times calls."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float]) -> None:
        """`clock` gives seconds."""
        self._metrics = metrics
        self._clock = clock

    @contextmanager
    def around(self, details: grpc.HandlerCallDetails, context: Context, *, streaming: bool) -> Iterator[None]:
        """Count one call; only methods that exist get here, so the label is bounded."""
        metrics = self._metrics
        method = details.method.removeprefix("/coterie.v1.")
        being_answered = (metrics.streams_open if streaming else metrics.rpc_open).labels(method)
        started = self._clock()
        failure: BaseException | None = None
        being_answered.inc()
        try:
            yield
        except BaseException as error:
            failure = error
            raise
        finally:
            being_answered.dec()
            status = status_name(failure, context)
            metrics.rpc_s.labels(method, status).observe(self._clock() - started)
            if status in _REFUSALS:
                request = current_request()
                metrics.refused(status, None if request is None else request.error)
