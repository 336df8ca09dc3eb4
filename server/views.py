"""From the rows of a window to what detection is handed: texts, vectors and graphs of each view of the prompts."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from coterie.detection import detect_languages, stripped_texts, with_format, without_language
from coterie.domain import (
    CancelledRunError,
    Finding,
    NeighbourGraph,
    Slice,
    TextField,
    View,
    Window,
    WindowRows,
    normalise,
    text_digest,
)
from coterie.index import graph_recall, neighbour_graph
from coterie.server.benchmarks import Benchmarks
from coterie.server.config import Config
from coterie.server.embedding import Embedding
from coterie.server.graphs import Graphs
from coterie.server.multilingual import Multilingual
from coterie.server.releases import parse_releases
from coterie.server.stages import Stages
from coterie.store import Store

_VIEW_TEXTS_AT_ONCE = 4_096


class WindowBuilder:
    """Makes the vectors and the graph of each view."""

    def __init__(
        self,
        store: Store,
        embedding: Embedding,
        multilingual: Multilingual,
        benchmarks: Benchmarks,
        graphs: Graphs,
        config: Config,
    ) -> None:
        self._store = store
        self._embedding = embedding
        self._multilingual = multilingual
        self._benchmarks = benchmarks
        self._graphs = graphs
        self._config = config

    def build(
        self, rows: WindowRows, part: Slice, earlier: Sequence[Finding], stages: Stages, *, whole: bool
    ) -> Window:
        """Everything detection is allowed to know about these rows, which are the slice `part` of their window.

        The graphs are the living ones, which hold the newest `whole` window; of any other they give what it needs.
        Benchmarks are of prompts: responses are not held against them.

        Raises:
            CancelledRunError: between two batches.
        """
        stages.enter("views")
        text_ids, row_text = np.unique(rows.prompt, return_inverse=True)
        text = row_text.astype(np.int32)
        vectors = self._embedding.vectors(text_ids, stages.cancelled)
        texts = self._store.texts(text_ids)
        stages.progress(0.2)
        stripped = self._stripped(texts, text, rows, vectors, stages)
        stages.enter("graph")
        kind = "" if part.field is TextField.PROMPT else "response-"
        progress = _cancellable(stages.part(0.0, 0.5), stages.cancelled)
        graph = self._graph(f"{kind}raw", text_ids, vectors, stages, progress, whole=whole)
        views = {"raw": View("raw", vectors, graph, text)}
        if stripped is not None:
            names, stripped_vectors, stripped_text = stripped
            # A derived text goes by the first text that it is derived from.
            first = np.full(len(stripped_vectors), np.iinfo(np.int64).max)
            held = stripped_text >= 0
            np.minimum.at(first, stripped_text[held], rows.prompt[held])
            progress = _cancellable(stages.part(0.5, 1.0), stages.cancelled)
            graph = self._graph(f"{kind}stripped", first, stripped_vectors, stages, progress, whole=whole)
            views["stripped"] = View("stripped", stripped_vectors, graph, stripped_text)
            if not self._config.monolingual:
                views["multilingual"] = self._multilingual_view(names, stripped_text, rows, stages)
        views["format"] = self._format_view(texts, vectors, text, stages)
        if "" in texts:
            stages.measures["texts_not_kept"] = texts.count("")
        self._measure(rows, views, stages)
        stages.enter("benchmarks")
        prompts = part.field is TextField.PROMPT
        return Window(
            rows=rows,
            text_ids=text_ids,
            texts=tuple(texts),
            views=views,
            benchmarks=self._benchmarks.views(texts, stages.cancelled, stages.progress) if prompts else (),
            earlier=tuple(earlier),
            slice=part,
            releases=parse_releases(self._config.releases),
        )

    def _stripped(
        self,
        texts: Sequence[str],
        text: NDArray[np.int32],
        rows: WindowRows,
        raw_vectors: NDArray[np.float32],
        stages: Stages,
    ) -> tuple[list[str], NDArray[np.float32], NDArray[np.int32]] | None:
        """The distinct stripped texts, their vectors, and each exchange's row in them; None when nothing is left."""
        kept = [normalise(stripped) for stripped in stripped_texts(texts, text, rows.account)]
        stages.progress(0.4)
        numbers: dict[str, int] = {}
        row_of_text = [numbers.setdefault(stripped, len(numbers)) if stripped else -1 for stripped in kept]
        if not numbers:
            return None
        known = {text_digest(normalise(raw)): row for row, raw in enumerate(texts)}
        vectors = self._derived(list(numbers), known, raw_vectors, stages)
        return list(numbers), vectors, np.array(row_of_text, dtype=np.int32)[text]

    def _format_view(
        self, texts: Sequence[str], vectors: NDArray[np.float32], text: NDArray[np.int32], stages: Stages
    ) -> View:
        """How the prompts are put beside what they say. Its graph is made anew: what is rare is learned."""
        stages.enter("format")
        k = max(1, min(self._config.graph_k, len(texts) - 1))
        both = with_format(vectors, texts)
        return View(
            "format", both, neighbour_graph(both, k, progress=_cancellable(stages.progress, stages.cancelled)), text
        )

    def _multilingual_view(
        self, texts: Sequence[str], text: NDArray[np.int32], rows: WindowRows, stages: Stages
    ) -> View:
        """The stripped texts in any language. Its graph is made anew: what a language has in common is learned."""
        stages.enter("multilingual")
        read = self._multilingual.vectors(texts, stages.cancelled, stages.part(0.0, 0.6))
        vectors = without_language(read, detect_languages(texts), text, rows.account)
        k = max(1, min(self._config.graph_k, len(texts) - 1))
        graph = neighbour_graph(vectors, k, progress=_cancellable(stages.part(0.6, 1.0), stages.cancelled))
        return View("multilingual", vectors, graph, text)

    def _derived(
        self,
        texts: Sequence[str],
        known: dict[bytes, int],
        raw_vectors: NDArray[np.float32],
        stages: Stages,
    ) -> NDArray[np.float32]:
        """Vectors of derived texts: the raw text's where it is unchanged, else from the cache, else from the model."""
        model_id = self._embedding.encoder().model_id
        vectors = np.empty((len(texts), raw_vectors.shape[1]), dtype=np.float32)
        digests = [text_digest(text) for text in texts]
        for row, digest in enumerate(digests):
            if digest in known:
                vectors[row] = raw_vectors[known[digest]]
        changed = [row for row, digest in enumerate(digests) if digest not in known]
        for first in range(0, len(changed), _VIEW_TEXTS_AT_ONCE):
            some = changed[first : first + _VIEW_TEXTS_AT_ONCE]
            found = self._store.view_vectors(model_id, [digests[row] for row in some])
            missing = [row for row in some if digests[row] not in found]
            if missing:
                made = self._embedding.encode_bulk([texts[row] for row in missing], lambda _: None, stages.cancelled)
                self._store.put_view_vectors(model_id, [digests[row] for row in missing], made)
                # Read back as stored (float16), so that the first run over some texts sees what every later one does.
                found = self._store.view_vectors(model_id, [digests[row] for row in some])
            for row in some:
                if digests[row] in found:
                    vectors[row] = found[digests[row]]
            stages.progress(0.4 + 0.6 * (first + len(some)) / len(changed))
        stages.measures["stripped_texts_changed"] = len(changed)
        return vectors

    def _graph(
        self,
        name: str,
        text_ids: NDArray[np.int64],
        vectors: NDArray[np.float32],
        stages: Stages,
        progress: Callable[[float], None],
        *,
        whole: bool,
    ) -> NeighbourGraph:
        graph, new = self._graphs.of(name, text_ids, vectors, whole=whole, progress=progress)
        stages.measures[f"{name}_graph_new_texts"] = new
        return graph

    def _measure(self, rows: WindowRows, views: dict[str, View], stages: Stages) -> None:
        stages.measures["exchanges"] = rows.size
        stages.measures["accounts"] = len(rows.account_ids)
        for name, view in views.items():
            stages.measures[f"{name}_texts"] = len(view.vectors)
            if self._config.recall_sample:
                recall = graph_recall(view.graph, view.vectors, sample=self._config.recall_sample)
                stages.measures[f"{name}_graph_recall"] = recall


def _cancellable(progress: Callable[[float], None], cancelled: Callable[[], bool]) -> Callable[[float], None]:
    """A progress function that stops its caller when the run was asked to stop."""

    def tell(share: float) -> None:
        if cancelled():
            raise CancelledRunError("cancelled while at graph")
        progress(share)

    return tell
