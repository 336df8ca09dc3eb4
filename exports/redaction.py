"""How much of what people wrote is shown to whoever gets a report."""

from dataclasses import replace
from enum import StrEnum

from coterie.domain import Exchange


class Redaction(StrEnum):
    """`statistics`: no text at all. `masked`: its form, no word of it. `full`: as it was written."""

    STATISTICS = "statistics"
    MASKED = "masked"
    FULL = "full"

    @property
    def needs_text(self) -> bool:
        """Whether texts must be read for it, which is recorded."""
        return self is not Redaction.STATISTICS


def masked(text: str) -> str:
    """The form of a text without a word of it: every letter an x, every digit a 0; punctuation and layout stay."""
    return "".join("0" if sign.isnumeric() else "x" if sign.isalpha() else sign for sign in text)


def redacted(exchange: Exchange, redaction: Redaction) -> Exchange:
    """The exchange as a report of that level may show it."""
    if redaction is Redaction.FULL:
        return exchange
    shown = masked if redaction is Redaction.MASKED else _nothing
    return replace(
        exchange, prompt=shown(exchange.prompt), response=shown(exchange.response), system=shown(exchange.system)
    )


def _nothing(_: str) -> str:
    return ""
