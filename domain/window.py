"""What a run looks at: columns of exchanges, and the vectors and graph of each view of their prompts."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from coterie.domain.findings import Finding
from coterie.domain.graph import NeighbourGraph
from coterie.domain.ids import AccountId, ExchangeId, TextId
from coterie.domain.runs import Slice


@dataclass(frozen=True, slots=True)
class WindowRows:
    """The exchanges of a window as columns, n rows ordered by time, then sequence.

    Attributes:
        exchange_ids: n ids.
        account: int32[n], index into `account_ids`.
        account_ids: the accounts of the window by first appearance, so that no name decides a tie.
        time_us: int64[n], microseconds since the epoch.
        prompt: int64[n], text id of the prompt; of the response, where a run clusters responses.
        response: int64[n], text id of the response, -1 where there is none.
        system: int64[n], text id of the system prompt, -1 where there is none.
        conversation: int32[n], conversations numbered from 0, -1 where unknown.
        turn: int32[n], -1 where unknown.
        model: int32[n], index into `models`, -1 where unknown.
        output_tokens: float64[n], NaN where unknown. `input_tokens` and `cost_usd` likewise.
        attributes: reserved key -> int32[n], index into `attribute_values[key]`, -1 where absent.
    """

    exchange_ids: tuple[ExchangeId, ...]
    account: NDArray[np.int32]
    account_ids: tuple[AccountId, ...]
    time_us: NDArray[np.int64]
    prompt: NDArray[np.int64]
    response: NDArray[np.int64]
    system: NDArray[np.int64]
    conversation: NDArray[np.int32]
    turn: NDArray[np.int32]
    model: NDArray[np.int32]
    models: tuple[str, ...]
    input_tokens: NDArray[np.float64]
    output_tokens: NDArray[np.float64]
    cost_usd: NDArray[np.float64]
    attributes: Mapping[str, NDArray[np.int32]] = field(default_factory=dict)
    attribute_values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Number of exchanges, n."""
        return len(self.exchange_ids)


@dataclass(frozen=True, slots=True)
class View:
    """One way of looking at the prompts of a window.

    Attributes:
        name: `raw`, `stripped`, ...
        vectors: float32[m, dim], one unit row per distinct text of the view.
        graph: their neighbours.
        text: int32[n], each exchange's row in `vectors`; -1 where the view leaves nothing of its prompt.
    """

    name: str
    vectors: NDArray[np.float32]
    graph: NeighbourGraph
    text: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class BenchmarkView:
    """A registered benchmark, and the p pairs of the window's raw texts and its items that are worth comparing.

    Attributes:
        items: the item texts, in the benchmark's order.
        text: int32[p], row of the window's texts, ascending.
        item: int32[p], item number.
        similarity: float32[p], cosine of the two in the multilingual space.
    """

    name: str
    items: tuple[str, ...]
    text: NDArray[np.int32]
    item: NDArray[np.int32]
    similarity: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Window:
    """Everything detection is allowed to know.

    Attributes:
        rows: the exchanges.
        text_ids: int64[m], the distinct prompts, in the row order of the `raw` view.
        texts: their m contents; empty where a text is not kept.
        views: by name; `raw` is always there.
        earlier: findings of the last finished run of the same slice, for identity; and, with lineage `gone`, those
            that went before it, as they were when they went.
        slice: what the rows were picked by; where it names responses, `texts` are responses.
        releases: when models were released, by name, in microseconds since the epoch; others are unknown.
    """

    rows: WindowRows
    text_ids: NDArray[np.int64]
    texts: tuple[str, ...]
    views: Mapping[str, View]
    benchmarks: tuple[BenchmarkView, ...] = ()
    earlier: tuple[Finding, ...] = ()
    slice: Slice = Slice()
    releases: Mapping[str, int] = field(default_factory=dict)

    @property
    def raw(self) -> View:
        """The prompts as they were sent."""
        return self.views["raw"]

    def text_id(self, row: int) -> TextId:
        """The stored id of a raw view row."""
        return TextId(int(self.text_ids[row]))
