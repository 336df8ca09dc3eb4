"""The state of one ingest, apart from any socket: batches in flight, answers, retries, and what became of it all.

A broken stream loses nothing: batches without an answer are sent again on the next one, and exchange ids make that
idempotent. The drivers in `sync.py` and `aio.py` only move messages.
"""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from coterie.client import wire
from coterie.client.retry import RetryPolicy
from coterie.domain import (
    LIMITS,
    CoterieError,
    Exchange,
    InvalidError,
    Rejection,
    Sequence,
    check_exchange,
)
from coterie.v1 import ingest_service_pb2, types_pb2

BATCH_DEFAULT = 500
IN_FLIGHT_DEFAULT = 4
REJECTIONS_KEPT_DEFAULT = 100

_BATCH_BYTES_MAX = LIMITS.message_bytes_max - 64 * 1024
_FRAME_BYTES = 8


@dataclass(frozen=True, slots=True)
class IngestSummary:
    """What became of the exchanges answered so far.

    Attributes:
        stored: written now. After a retry, some of these may count as `duplicates` instead.
        duplicates: already there with the same content.
        rejected: refused; `reasons` counts them by reason.
        rejections: the first of them; `index` is the exchange's place in what was passed to `ingest`, from 0.
        last_sequence: the last durable sequence of the store; 0 when nothing was answered.
        skipped: exchanges that were passed over, because they were durable under the name of the stream before.
        batches: batches answered. `retries`: how often a stream had to be opened again.
    """

    stored: int = 0
    duplicates: int = 0
    rejected: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    rejections: tuple[Rejection, ...] = ()
    last_sequence: Sequence = Sequence(0)
    batches: int = 0
    retries: int = 0
    skipped: int = 0

    @property
    def answered(self) -> int:
        """Exchanges whose fate is known."""
        return self.stored + self.duplicates + self.rejected


@dataclass(slots=True)
class Batch:
    """A request, and where its exchanges stood in the caller's order."""

    request: ingest_service_pb2.IngestRequest
    positions: list[int]


def check_stream_id(stream_id: str) -> None:
    """Raise InvalidError for a name that no stream can have; an empty one is none."""
    if len(stream_id) > LIMITS.id_chars_max:
        raise InvalidError(f"stream_id has more than {LIMITS.id_chars_max} characters", field="stream_id")


class Ingest:
    """One ingest.

    Args:
        batch: exchanges in a message, 1 to `LIMITS.batch_exchanges_max`; fewer where bytes run out first.
        in_flight: batches sent and not answered, at most.
        stream_id: the name under which the server keeps how far this ingest is; empty for none.
        start: how many exchanges are durable under that name already, and are not pushed.

    Raises:
        InvalidError: a size out of its range.
    """

    def __init__(
        self,
        batch: int,
        in_flight: int,
        rejections_kept: int,
        retry: RetryPolicy,
        stream_id: str = "",
        start: int = 0,
    ) -> None:
        if not 1 <= batch <= LIMITS.batch_exchanges_max:
            raise InvalidError(f"batch must lie between 1 and {LIMITS.batch_exchanges_max}", field="batch")
        if in_flight < 1:
            raise InvalidError("in_flight must be at least 1", field="in_flight")
        self.summary = IngestSummary(skipped=start)
        self._stream_id = stream_id
        self._start = start
        self._batch = batch
        self._in_flight = in_flight
        self._rejections_kept = rejections_kept
        self._retry = retry
        self._failures = 0
        self._seen = start
        self._next_number = 1
        self._messages: list[types_pb2.Exchange] = []
        self._positions: list[int] = []
        self._size_bytes = 0
        self._unanswered: deque[Batch] = deque()
        self._again: deque[Batch] = deque()
        self._recovering = False
        self._reasons: Counter[str] = Counter()

    def push(self, exchange: Exchange) -> Batch | None:
        """Take one exchange; a full batch when there is one to send."""
        position, self._seen = self._seen, self._seen + 1
        message = self._encode(position, exchange)
        if message is None:
            return None
        size_bytes = message.ByteSize() + _FRAME_BYTES
        full = None
        if len(self._messages) >= self._batch or self._size_bytes + size_bytes > _BATCH_BYTES_MAX:
            full = self._flush(position)
        self._messages.append(message)
        self._positions.append(position)
        self._size_bytes += size_bytes
        return full

    def flush(self) -> Batch | None:
        """What is left as a last, smaller batch; None when nothing is."""
        return self._flush(self._seen)

    def _flush(self, stop: int) -> Batch | None:
        if not self._messages:
            return None
        request = ingest_service_pb2.IngestRequest(
            batch_number=self._next_number,
            exchanges=self._messages,
            stream_id=self._stream_id,
            start=self._start if self._stream_id else 0,
            stop=stop if self._stream_id else 0,
        )
        self._start = stop
        batch = Batch(request, self._positions)
        self._next_number += 1
        self._messages, self._positions, self._size_bytes = [], [], 0
        return batch

    def sending(self, batch: Batch) -> ingest_service_pb2.IngestRequest:
        """Note that a batch goes out; its request."""
        assert self.has_room
        assert not self._again
        self._unanswered.append(batch)
        return batch.request

    @property
    def has_room(self) -> bool:
        """Whether another batch may be sent before an answer comes.

        After a broken stream the batches sent again go one by one: then a refusal is read before the next write, which
        would hide it, and meets the batch it is about.
        """
        window = 1 if self._recovering else self._in_flight
        return len(self._unanswered) - len(self._again) < window

    @property
    def idle(self) -> bool:
        """Whether every batch has its answer."""
        return not self._unanswered

    def again(self) -> ingest_service_pb2.IngestRequest | None:
        """The oldest request to be sent again; None when there is none left."""
        return self._again.popleft().request if self._again else None

    def accept(self, answer: ingest_service_pb2.IngestResponse) -> IngestSummary:
        """Count an answer; the summary so far.

        Raises:
            CoterieError: an answer to no batch in flight, or out of order: a defect in the server.
        """
        if not self._unanswered or answer.batch_number != self._unanswered[0].request.batch_number:
            raise CoterieError(f"the server answered batch {answer.batch_number}, which is not the next one")
        batch = self._unanswered.popleft()
        result = wire.ingest_result_from_wire(answer.report)
        for item in result.rejections:
            self._reject(replace(item, index=batch.positions[item.index]))
        self._failures = 0
        self._recovering = self._recovering and bool(self._again)
        self.summary = replace(
            self.summary,
            stored=self.summary.stored + result.stored,
            duplicates=self.summary.duplicates + result.duplicates,
            last_sequence=max(self.summary.last_sequence, result.last_sequence),
            batches=self.summary.batches + 1,
        )
        return self.summary

    def failed(self, error: CoterieError) -> float:
        """Note a broken stream; seconds to wait before the next one.

        Raises:
            CoterieError: the error itself, when trying again cannot help or has been tried often enough.
        """
        self._failures += 1
        delay_s = self._retry.delay_s(self._failures, error)
        self._again = deque(self._unanswered)
        self._recovering = True
        self.summary = replace(self.summary, retries=self.summary.retries + 1)
        return delay_s

    def _encode(self, position: int, exchange: Exchange) -> types_pb2.Exchange | None:
        # The server checks everything; here only what could not be sent at all is refused.
        try:
            message = wire.exchange_to_wire(exchange)
            if message.ByteSize() + _FRAME_BYTES <= _BATCH_BYTES_MAX:
                return message
            check_exchange(exchange)
        except InvalidError as error:
            self._reject_invalid(position, exchange, error)
            return None
        except (ValueError, TypeError) as error:
            try:
                check_exchange(exchange)
            except InvalidError as reason:
                self._reject_invalid(position, exchange, reason)
                return None
            raise InvalidError(f"exchange {position} has a field of the wrong type", reason="bad_type") from error
        raise CoterieError("an exchange within its limits is larger than a message: the limits contradict each other")

    def _reject_invalid(self, position: int, exchange: Exchange, error: InvalidError) -> None:
        exchange_id = str(exchange.exchange_id)[: LIMITS.id_chars_max]
        self._reject(Rejection(position, exchange_id, error.reason, str(error)))

    def _reject(self, rejection: Rejection) -> None:
        self._reasons[rejection.reason] += 1
        kept = self.summary.rejections
        if len(kept) < self._rejections_kept:
            kept = (*kept, rejection)
        self.summary = replace(
            self.summary, rejected=self.summary.rejected + 1, reasons=dict(self._reasons), rejections=kept
        )
