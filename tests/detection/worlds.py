"""Small worlds of vectors for detection tests: accounts with subjects, and accounts that share out one list."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from coterie.domain import AccountId, ExchangeId, NeighbourGraph, View, Window, WindowRows

DIM = 64


@dataclass
class World:
    """Collects exchanges of accounts and turns them into a window.

    Texts are named by their content; every name has one vector.
    """

    seed: int = 0
    vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    asked: list[tuple[str, str, int, dict[str, str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def subject(self, *, around: NDArray[np.float32] | None = None, spread: float = 0.5) -> NDArray[np.float32]:
        """A direction, anywhere or near another."""
        noise = self.rng.normal(size=DIM)
        noise /= np.linalg.norm(noise)
        return unit(noise if around is None else around + spread * noise)

    def text(self, subject: NDArray[np.float32], *, spread: float = 1.0) -> str:
        """A new text near a subject; its words are its own."""
        name = " ".join(f"w{number}" for number in self.rng.integers(0, 1_000_000, 12))
        noise = self.rng.normal(size=DIM)
        self.vectors[name] = unit(subject + spread * noise / np.linalg.norm(noise))
        return name

    def ask(self, account: str, texts: Sequence[str], **attributes: str) -> None:
        """The account sends the texts, at random times within a week."""
        for text in texts:
            self.asked.append((account, text, int(self.rng.integers(0, 7 * 86_400_000_000)), attributes))

    def people(self, count: int, *, texts: int = 30) -> None:
        """Accounts with one subject each."""
        for number in range(count):
            own = self.subject()
            self.ask(f"person-{number:03d}", [self.text(own) for _ in range(texts)])

    def campaign(self, name: str, accounts: int, *, each: int = 30, spread: float = 1.2) -> list[str]:
        """One list dealt out in disjoint slices; returns the accounts."""
        subject = self.subject()
        members = [f"{name}-{number:03d}" for number in range(accounts)]
        for member in members:
            self.ask(member, [self.text(subject, spread=spread) for _ in range(each)])
        return members

    def window(self, *, k: int = 20) -> Window:
        """What detection is given: the raw view only, under that name and as `stripped`."""
        asked = sorted(self.asked, key=lambda row: row[2])
        accounts = sorted({row[0] for row in asked})
        names = list(dict.fromkeys(row[1] for row in asked))
        number = {name: row for row, name in enumerate(names)}
        text = np.array([number[row[1]] for row in asked], np.int32)
        n = len(asked)
        organisations = sorted({row[3]["organisation"] for row in asked if "organisation" in row[3]})
        organisation = np.array(
            [organisations.index(row[3]["organisation"]) if "organisation" in row[3] else -1 for row in asked],
            np.int32,
        )
        nothing = np.full(n, -1, np.int64)
        rows = WindowRows(
            exchange_ids=tuple(ExchangeId(f"e{row}") for row in range(n)),
            account=np.array([accounts.index(row[0]) for row in asked], np.int32),
            account_ids=tuple(AccountId(account) for account in accounts),
            time_us=np.array([row[2] for row in asked], np.int64),
            prompt=text.astype(np.int64) + 1,
            response=nothing,
            system=nothing,
            conversation=np.full(n, -1, np.int32),
            turn=np.full(n, -1, np.int32),
            model=np.full(n, -1, np.int32),
            models=(),
            input_tokens=np.full(n, np.nan),
            output_tokens=np.full(n, np.nan),
            cost_usd=np.full(n, np.nan),
            attributes={"organisation": organisation},
            attribute_values={"organisation": tuple(organisations)},
        )
        vectors = np.array([self.vectors[name] for name in names], np.float32).reshape(len(names), DIM)
        view = View("raw", vectors, exact_graph(vectors, k), text)
        return Window(rows, np.arange(1, len(names) + 1), tuple(names), {"raw": view})


def unit(vector: NDArray[np.floating]) -> NDArray[np.float32]:
    """The vector at length one."""
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def exact_graph(vectors: NDArray[np.float32], k: int) -> NeighbourGraph:
    """All similarities, sorted: the oracle of a neighbour graph."""
    n = len(vectors)
    if k == 0:
        return NeighbourGraph(np.zeros((n, 0), np.int32), np.zeros((n, 0), np.float32))
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    k = max(0, min(k, n - 1))
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    return NeighbourGraph(order.astype(np.int32), np.take_along_axis(similarity, order, 1).astype(np.float32))
