"""Built-in text."""

from coterie.simulation.library import Source


def builtin_sources(seed: int, accounts: int) -> list[Source]:
    return []
