"""When are two texts the same text? One answer, used by everything that counts or stores texts."""

import hashlib
import unicodedata


def normalise(text: str) -> str:
    """The form under which a text is stored once: Unicode NFC, runs of whitespace as one space, ends stripped.

    Case and punctuation are kept: they carry format, and format is evidence.
    """
    # The same as substituting r"\s+", at a fifth of the cost: this runs on every text that comes in.
    return " ".join(unicodedata.normalize("NFC", text).split())


def text_digest(normalised: str) -> bytes:
    """16 bytes that identify a normalised text (BLAKE2b-128)."""
    return hashlib.blake2b(normalised.encode("utf-8"), digest_size=16).digest()
