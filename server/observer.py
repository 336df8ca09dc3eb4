"""What the service tells whoever watches it: counts and durations, never texts and never who sent them."""

from coterie.domain import Erasure, IngestResult, Run, SearchResult
from coterie.domain.telemetry import Commit, EmbeddedBatch


class Observer:
    """Told what happens, on the thread on which it happens; as it is, it does nothing.

    A method must be quick and must not raise: its caller has other things to do.
    """

    def committed(self, commit: Commit) -> None:
        """A group of write requests was committed, or failed to be."""

    def ingested(self, result: IngestResult) -> None:
        """A batch of exchanges became durable."""

    def embedded(self, batch: EmbeddedBatch) -> None:
        """A batch of texts went through the model."""

    def texts_embedded(self, count: int) -> None:
        """So many waiting texts got their vector."""

    def searched(self, result: SearchResult) -> None:
        """A search was answered."""

    def stage_ended(self, stage: str, duration_s: float) -> None:
        """A run left a stage."""

    def run_ended(self, run: Run) -> None:
        """A run came to its end, whatever that was."""

    def erased(self, erasure: Erasure) -> None:
        """An account was erased."""
