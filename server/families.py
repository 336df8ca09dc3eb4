"""The families that stand between runs: who is in them, and which new texts joined."""

import logging
import threading
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from coterie.domain import (
    AccountFamily,
    AccountId,
    CoterieError,
    FamilyHistory,
    FamilyLabels,
    Run,
    SearchFilter,
    TextField,
)
from coterie.server.logs import emit, origin
from coterie.store import Store

if TYPE_CHECKING:
    from coterie.detection import Parameters
    from coterie.server.indexes import FieldIndex

NEIGHBOURS = 30
"""Nearest texts that a new one is held against; as many as a run's graph has by default."""

_LOGGER = logging.getLogger(__name__)
_TEXTS_AT_ONCE = 512  # one search of the index, which writers of the index wait for
_ACCOUNT_TEXTS_MAX = 100_000


def slice_name(run: Run, parameters: "Parameters") -> str:
    """By which rule a run, as it was asked for, makes its families: runs of one name are compared by them.

    Empty for everything in the default window, with the default parameters. That window moves on from run to run, and
    what it leaves behind is gone. A window that was asked for is part of the rule, because what lies outside of it is
    not gone; so are parameters, because other ones make finer or coarser families of the same texts.
    """
    from coterie.detection import Parameters

    window = f"window {run.since_us}-{run.until_us}" if run.since_us or run.until_us else ""
    turned = f"samples {parameters.min_samples}-{parameters.min_cluster_size}" if parameters != Parameters() else ""
    return " ".join(part for part in (run.slice.key, window, turned) if part)


def family_history(store: Store, run: Run, parameters: "Parameters") -> FamilyHistory:
    """What the families of a run, as it was asked for, are compared with.

    The last run by the same rule; where there is none, and it is about prompts, the last of everything in the default
    window, from which ids are taken over and nothing else.
    """
    return store.family_history(slice_name(run, parameters), "" if run.slice.field is TextField.PROMPT else None)


class StandingFamilies:
    """The families of the newest run of everything in the default window, in memory. Thread-safe."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._following = threading.Lock()
        self._labels: FamilyLabels | None = None

    def labels(self) -> FamilyLabels | None:
        """Which family each text is in, as of the newest such run; read again when another has finished."""
        run_id, _ = self._store.joining()
        with self._lock:
            if self._labels is None or self._labels.run_id != run_id:
                self._labels = self._store.family_labels() if run_id else None
            return self._labels

    def forget(self) -> None:
        """Read the labels again at the next use: some were erased."""
        with self._lock:
            self._labels = None

    def of_account(self, account_id: AccountId) -> tuple[AccountFamily, ...]:
        """The families an account's prompts are in, most first; none for an account of more than 100,000 prompts."""
        labels = self.labels()
        wanted = SearchFilter(accounts=(account_id,))
        texts = self._store.candidate_texts(TextField.PROMPT, wanted, limit=_ACCOUNT_TEXTS_MAX)
        if labels is None or texts is None:
            return ()
        place = labels.place(texts)
        number = labels.family[place[place >= 0]]
        inside = Counter(labels.family_ids[family] for family in number[number >= 0].tolist())
        joined = Counter(self._store.joined(labels.run_id, texts[place < 0]).values())
        found = [AccountFamily(name, count, joined[name]) for name, count in (inside + joined).items()]
        return tuple(sorted(found, key=lambda item: (-item.texts, item.family_id)))

    def follow(self, index: "FieldIndex", stopping: Callable[[], bool]) -> int:
        """Put the prompts that became searchable since the run into families, and say how many joined.

        A failure is logged and leaves the rest for the next call: what waits for it must not suffer from it.

        Args:
            index: of prompts, caught up with the store.
            stopping: asked between batches.
        """
        count = 0
        with self._following:
            try:
                while not stopping():
                    joined = self._follow_batch(index)
                    if joined is None:
                        break
                    count += joined
            except Exception as error:  # noqa: BLE001 - embedding and its thread go on
                run_id = self._labels.run_id if self._labels is not None else ""
                reason = str(error) if isinstance(error, CoterieError) else origin(error)
                emit(_LOGGER, logging.ERROR, "joining_failed", run=run_id, reason=reason)
        if count:
            emit(_LOGGER, logging.INFO, "texts_joined", texts=count)
        return count

    def _follow_batch(self, index: "FieldIndex") -> int | None:
        """How many of the next texts joined; None when there are no more."""
        labels = self.labels()
        run_id, position = self._store.joining()
        if labels is None or labels.run_id != run_id:
            return None  # a run has finished at this moment: the next call finds its labels
        sequences, text_ids, vectors = self._store.vectors_since(TextField.PROMPT, position, _TEXTS_AT_ONCE)
        if not len(sequences):
            return None
        new = labels.place(text_ids) < 0
        text_ids, vectors = text_ids[new], vectors[new]
        family, distance = self._joined(labels, index, text_ids, vectors)
        joins = family >= 0
        names = [labels.family_ids[number] for number in family[joins].tolist()]
        self._store.put_joins(run_id, text_ids[joins], names, distance[joins], int(sequences[-1]))
        return int(joins.sum())

    def _joined(
        self, labels: FamilyLabels, index: "FieldIndex", text_ids: NDArray[np.int64], vectors: NDArray[np.float32]
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The family number of each new text, -1 for none, and how far it is.

        A text older than the run and not of it, such as one that its window left behind, is no company; one that came
        after it counts as one exchange.
        """
        from coterie.detection import Parameters, join_families

        if not len(text_ids) or not len(labels.text_ids):
            return np.full(len(text_ids), -1, np.int32), np.full(len(text_ids), np.inf, np.float32)
        found, similarities = index.search_batch(vectors, NEIGHBOURS + 1)
        place = labels.place(found)
        held = place >= 0
        exchanges = np.where(held, labels.exchanges[place], found > labels.text_ids[-1])
        min_samples = self._store.run(labels.run_id).parameters.get("min_samples", Parameters().min_samples)
        return join_families(
            similarities,
            np.where(found == text_ids[:, None], 0, exchanges).astype(np.int64),
            np.where(held, labels.family[place], -1).astype(np.int32),
            np.where(held, labels.core_distance[place], np.inf).astype(np.float32),
            labels.gate_distance,
            int(min_samples),
        )
