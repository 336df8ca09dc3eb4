"""Clients that stream numbered exchanges, and note in a file which of them were acknowledged."""

import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from coterie.client import Client, IngestSummary, RetryPolicy
from coterie.domain import AccountId, CoterieError, Exchange, ExchangeId

START_US = 1_767_225_600_000_000
_BATCH = 10
_PAUSE_S = 0.08
_ONCE = RetryPolicy(attempts=1)


def made(stream: int, number: int, account: str = "") -> Exchange:
    """The numbered exchange of a stream: its id, its texts and its account follow from the number."""
    exchange_id = f"s{stream}-{number}"
    return Exchange(
        exchange_id=ExchangeId(exchange_id),
        account_id=AccountId(account or f"account-{stream}-{number % 20}"),
        time_us=START_US + number * 1_000_000,
        prompt=f"question {exchange_id}",
        response=f"answer {exchange_id}" if number % 3 == 0 else "",
    )


class Stream:
    """Sends its exchanges in order, from where the last round's acknowledgements ended.

    Attributes:
        acked: how many exchanges are acknowledged: those with numbers below it.
        sent: how many were handed to the client at least once.
        resent: how many were sent again after a kill without an acknowledgement.
        found: how many were answered as there already: what had been stored before its acknowledgement was lost.
    """

    def __init__(self, number: int, acks: Path) -> None:
        self.number = number
        self.acked = 0
        self.sent = 0
        self.resent = 0
        self.found = 0
        self._acks = acks.open("a", encoding="utf-8")

    def close(self) -> None:
        """Close the file of acknowledgements."""
        self._acks.close()

    def ids(self, first: int = 0) -> Iterator[tuple[str, str]]:
        """Id and prompt of each acknowledged exchange, from a number on."""
        for number in range(first, self.acked):
            exchange_id = f"s{self.number}-{number}"
            yield exchange_id, f"question {exchange_id}"

    def run(self, address: str, stop: threading.Event) -> None:
        """Stream until the server dies or `stop` is set."""
        base = self.acked
        found = self.found
        self.resent += self.sent - self.acked

        def exchanges() -> Iterator[Exchange]:
            number = base
            while not stop.is_set():
                self.sent = max(self.sent, number + 1)
                yield made(self.number, number)
                number += 1
                if number % _BATCH == 0:
                    time.sleep(_PAUSE_S * random.random())

        def on_progress(summary: IngestSummary) -> None:
            assert not summary.rejected, summary.reasons
            self.acked = base + summary.answered
            self._acks.write(f"{self.acked}\n")
            self._acks.flush()
            self.found = found + summary.duplicates

        try:
            with Client.connect(address, retry=_ONCE) as client:
                client.ingest(exchanges(), batch=_BATCH, on_progress=on_progress)
        except CoterieError:
            pass  # it was killed: what has no acknowledgement is sent again in the next round
