"""When are two texts the same text? One answer, used by everything that counts or stores texts."""

import hashlib
import unicodedata


def normalise(text: str) -> str:
    """The form under which a text is stored once: Unicode NFC, runs of whitespace as one space, ends stripped.

    Case and punctuation are kept: they carry format, and format is evidence.
    """
    # This runs on every text that comes in, and most need nothing.
    if text.isascii():
        untidy = text[:1] == " " or text[-1:] == " " or any(space in text for space in _UNTIDY)
        return " ".join(text.split()) if untidy else text
    return " ".join(unicodedata.normalize("NFC", text).split())


_UNTIDY = ("  ", *"\t\n\v\f\r\x1c\x1d\x1e\x1f")
"""What makes whitespace in ASCII something else than single spaces."""

TOKENS_PER_TEXT_MAX = 2_048
"""Tokens of a text that are embedded at most: eight windows of 256."""


def estimated_tokens(chars: int) -> int:
    """About how many tokens a text of so many characters costs to embed: four characters each, and two around it."""
    return min(TOKENS_PER_TEXT_MAX, chars // 4 + 2)


def text_digest(normalised: str) -> bytes:
    """16 bytes that identify a normalised text (BLAKE2b-128)."""
    return hashlib.blake2b(normalised.encode("utf-8"), digest_size=16).digest()
