"""Questions to the service and their answers, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from coterie.domain.exchange import Exchange
from coterie.domain.families import AccountFamily
from coterie.domain.findings import Finding, Standing
from coterie.domain.ids import AccountId, RunId, Sequence
from coterie.domain.privacy import ErasureProof


class TextField(StrEnum):
    """Which side of an exchange."""

    PROMPT = "prompt"
    RESPONSE = "response"


@dataclass(frozen=True, slots=True)
class SearchFilter:
    """Which exchanges may be hits; an empty field does not filter, the fields are combined with AND.

    Attributes:
        accounts, models: any of these.
        since_us, until_us: [since, until) in microseconds since the epoch; None is open.
        attributes: every one of these keys with its value.
    """

    accounts: tuple[AccountId, ...] = ()
    models: tuple[str, ...] = ()
    since_us: int | None = None
    until_us: int | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether every exchange passes."""
        return self == SearchFilter()


@dataclass(frozen=True, slots=True)
class SharedTexts:
    """Which texts of an exchange enough accounts sent or were given, each in the same place."""

    prompt: bool = False
    response: bool = False
    system: bool = False


@dataclass(frozen=True, slots=True)
class Hit:
    """One exchange found, and the cosine of its text with the query."""

    exchange: Exchange
    similarity: float


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why one exchange of a batch was refused; `index` is its place in the batch."""

    index: int
    exchange_id: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class StreamPart:
    """Which part of a named stream a batch is: exchanges [start, stop) of its input, counted from 0.

    `principal` is who sends it, "" for whoever is known by nothing: another's stream is not moved by it.
    """

    stream_id: str
    start: int
    stop: int
    principal: str = ""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits to be embedded.

    Attributes:
        texts: how many. `tokens`: about how many.
        oldest_s: since when the first of them waits, at least since the service was started.
        tokens_per_s: how fast they were embedded lately; 0 when that is not known.
    """

    texts: int
    tokens: int
    oldest_s: float = 0.0
    tokens_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class SegmentState:
    """How one segment of the search index is searched.

    Attributes:
        rows: all of them. `tail_rows`: those among them that are searched exactly.
        lists: 0 while everything is searched exactly. `probes`: how many of them a search looks at.
        recall: recall@10 measured on rows of its own with these probes; 1.0 without lists, None before it was measured.
    """

    field: TextField
    rows: int
    tail_rows: int
    lists: int
    probes: int
    recall: float | None


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What became of a batch.

    Attributes:
        stored: exchanges written now.
        duplicates: exchanges that were already there with the same content.
        rejections: the rest.
        last_sequence: the last durable sequence of the store when this batch was durable.
        position: how far the stream of the batch is durable; 0 where it has no name.
        queued_texts, queued_tokens: what now waits to be embedded because of this batch; the tokens are estimated.
    """

    stored: int
    duplicates: int
    rejections: tuple[Rejection, ...]
    last_sequence: Sequence
    position: int = 0
    queued_texts: int = 0
    queued_tokens: int = 0


@dataclass(frozen=True, slots=True)
class BenchmarkItem:
    """One entry of a reference corpus."""

    item_id: str
    text: str
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A registered reference corpus."""

    name: str
    items: int
    registered_us: int


@dataclass(frozen=True, slots=True)
class BenchmarkMatch:
    """A text recognised as an item of a benchmark.

    `method` is `verbatim`, `altered` (its numbers), `rephrased`, `translated` or `ported`; `similarity` is the cosine
    in the multilingual space.
    """

    benchmark: str
    item_id: str
    method: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Stats:
    """What the service holds.

    Attributes:
        unclean_start: whether the process before this one died without closing the data folder.
        runs_cut_off: runs that it left unfinished, which are recorded as failed.
        snapshots_refused: snapshots of an index or a graph that this process found damaged and makes anew.
    """

    exchanges: int
    accounts: int
    texts: int
    pending_texts: int
    runs: int
    findings: int
    benchmarks: int
    last_sequence: Sequence
    database_bytes: int
    model_id: str
    dim: int
    first_seen_us: int = 0
    last_seen_us: int = 0
    unclean_start: bool = False
    runs_cut_off: int = 0
    snapshots_refused: int = 0
    backlog: Backlog = Backlog(0, 0)
    segments: tuple[SegmentState, ...] = ()


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup that is whole and on the disk.

    Attributes:
        path: the folder or archive, on the machine that wrote it.
        created_us: microseconds since the epoch.
        schema_version: of its database.
        last_sequence: the last durable sequence in it: what came later has to be sent again after a restore.
        size_bytes: of its files, uncompressed.
    """

    path: str
    created_us: int
    schema_version: int
    exchanges: int
    last_sequence: int
    files: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Erasure:
    """What erasing an account removed; texts that other accounts also sent stay.

    Attributes:
        tombstone: what stands for the account in the ledger of erasures and in the audit record; empty in a reply of
            an older server.
        proof: what was looked at afterwards; None where nobody looked.
    """

    account_id: AccountId
    exchanges: int
    texts: int
    findings_changed: int
    tombstone: str = ""
    proof: ErasureProof | None = None


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The hits of a search, nearest first, and what it cost, nanoseconds.

    Attributes:
        embed_time_ns: what the query text waited for and spent in the model; 0 when none was embedded.
        queue_time_ns: the part of it that was spent waiting for other texts.
    """

    hits: tuple[Hit, ...]
    embed_time_ns: int = 0
    search_time_ns: int = 0
    queue_time_ns: int = 0


@dataclass(frozen=True, slots=True)
class AccountReport:
    """Where an account stands in the newest whole run that is done.

    Attributes:
        exchanges_total: its exchanges in the whole store.
        run_id: empty when no whole run is done yet; runs on a slice do not count.
        standing: its place in that run; `standing.exchanges` is 0 when it is not in the window.
        findings: those that hold it, whole; `standing.findings` are their ids.
        families: those its prompts are in, as of the newest run of everything in the default window, most first.
    """

    exchanges_total: int
    run_id: RunId
    standing: Standing
    findings: tuple[Finding, ...] = ()
    families: tuple[AccountFamily, ...] = ()
