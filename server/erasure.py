"""The erasure of an account: asked for on record, done everywhere, proved, and gone on with after a crash."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from coterie.domain import AccountId, Erasure, ErasureProof, PendingErasure, Residue
from coterie.server.jobs import Runs
from coterie.server.logs import emit
from coterie.store import Belongings, Store

_LOGGER = logging.getLogger(__name__)

Purge = Callable[[NDArray[np.int64]], list[Residue]]
"""Takes erased texts out of what is kept beside the store, on disk as well; returns what it finds left of them."""


class Eraser:
    """Erases accounts, one at a time.

    What is asked for is recorded first; the name goes from that record only when store, indexes, graphs and snapshots
    have forgotten the account. A crash at any point between leaves an erasure that `resume` goes on with.
    """

    def __init__(self, store: Store, runs: Runs, purge: Purge) -> None:
        self._store = store
        self._runs = runs
        self._purge = purge
        self._one = threading.Lock()

    def erase(self, account_id: AccountId) -> Erasure:
        """Erase an account, and look for what is left of it; of one that is erased already, only look.

        A run that is at work fails, because it has seen the account, and the erasure waits for its end.
        """
        with self._one:
            return self._erase(self._store.begin_erasure(account_id, _now_us()))

    def resume(self) -> None:
        """Finish what a crash cut off, and what a restored copy has to do again."""
        for pending in self._store.pending_erasures():
            with self._one:
                erasure = self._erase(pending)
            emit(_LOGGER, logging.WARNING, "erasure_resumed", tombstone=erasure.tombstone)

    def _erase(self, pending: PendingErasure) -> Erasure:
        account_id = pending.account_id
        belongings = Belongings()
        with self._runs.erasing(account_id) as at_work:
            erasure = self._store.erase_account(account_id, _now_us(), belongings)
        if at_work is not None:
            at_work.join()
        left = self._purge(np.fromiter(belongings.text_ids, np.int64, len(belongings.text_ids)))
        tombstone = self._store.finish_erasure(pending, _now_us())
        proof = self._store.prove_erasure(account_id, belongings)
        proof = replace(proof, residues=(*proof.residues, *left))
        _report(tombstone, proof)
        return replace(erasure, tombstone=tombstone, proof=proof)


def _report(tombstone: str, proof: ErasureProof) -> None:
    level = logging.INFO if proof.complete else logging.ERROR
    emit(
        _LOGGER,
        level,
        "erasure_proved" if proof.complete else "erasure_incomplete",
        tombstone=tombstone,
        rows=proof.rows,
        bytes=proof.bytes_read,
        residues=sum(item.count for item in proof.residues),
        places=", ".join(sorted({item.place.split(" ")[0] for item in proof.residues})),
    )


def _now_us() -> int:
    return time.time_ns() // 1_000
