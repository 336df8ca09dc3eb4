"""Texts at rest: kept as they are, encrypted, or let go of when they are embedded.

Encryption is AES-256-GCM. Its key, and the one under which texts are digested, come from a data key that is made with
the folder and lies in it wrapped by the key file: a rotation wraps it anew and touches no text.
"""

import base64
import hashlib
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from coterie.domain import ConflictError, TextMode, TextPolicy, UnavailableError, normalise, text_digest

NONCE_BYTES = 12
_DATA_KEY_BYTES = 32
_DIGEST_BYTES = 16
_MODE_SETTING, _KEY_SETTING = "texts", "text_key"
_WRAPPED = b"coterie text key"

CONTENT = "CASE WHEN {0}.sealed IS NULL THEN {0}.content ELSE unseal({0}.sealed, {0}.digest) END"
"""SQL: the content of a text; empty where it was let go of."""

SHOWN = (
    "CASE WHEN {0}.sealed IS NOT NULL THEN unseal({0}.sealed, {0}.digest)"
    " WHEN {0}.chars IS NOT NULL THEN '(not kept: ' || {0}.chars || ' characters)' ELSE {0}.content END"
)
"""SQL: a text for people, who are told how long it was where it was let go of."""

LABELS = "CASE WHEN {0}.sealed IS NULL THEN {0}.content ELSE unseal({0}.sealed, {0}.content) END"
"""SQL: the JSON of an attribute set."""

ANSWER = "CASE WHEN i.sealed IS NULL THEN i.answer ELSE unseal(i.sealed, i.item_id) END"
"""SQL: the answer of a benchmark item."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What is stored of a text: its content, or that sealed."""

    content: str
    sealed: bytes | None
    chars: int


class Vault:
    """Seals, unseals and digests what callers sent, as the folder's policy says."""

    def __init__(self, mode: TextMode, data_key: bytes | None, *, locked: bool = False) -> None:
        """`locked`: the folder's texts are sealed and its key was not given; whoever needs it is told."""
        self.mode = mode
        self._locked = locked
        self._digest_key: bytes | None = None
        self._cipher: Callable[[bytes, bytes, bytes], bytes] | None = None
        if data_key is None:
            return
        self._digest_key = _derived(data_key, b"digest")
        if mode is TextMode.ENCRYPT:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM

            cipher = AESGCM(_derived(data_key, b"cipher"))
            self._cipher, self._decipher = cipher.encrypt, cipher.decrypt

    def register(self, connection: sqlite3.Connection) -> None:
        """Give a connection the functions that `CONTENT`, `SHOWN`, `LABELS` and filters use."""
        connection.create_function("unseal", 2, self.unseal, deterministic=True)
        connection.create_function("label_key", 2, self.label_key, deterministic=True)

    def digest(self, normalised: str) -> bytes:
        """16 bytes by which equal texts are one; keyed, where there is a key, so that nobody can try texts out."""
        self._check_open()
        if self._digest_key is None:
            return text_digest(normalised)
        return self._keyed(normalised.encode("utf-8"))

    def derived_digest(self, digest: bytes) -> bytes:
        """Likewise of a derived text, whose plain digest is known."""
        self._check_open()
        return digest if self._digest_key is None else self._keyed(b"derived" + digest)

    def keep(self, text: str, digest: bytes) -> Kept:
        """What to store of a text."""
        sealed = self.seal(text, digest)
        return Kept("" if sealed is not None else text, sealed, len(text))

    def seal(self, text: str, bound: bytes | str) -> bytes | None:
        """The text encrypted and bound to the row that holds it; None where texts are not encrypted."""
        self._check_open()
        if self._cipher is None:
            return None
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher(nonce, text.encode("utf-8"), _as_bytes(bound))

    def unseal(self, sealed: bytes, bound: bytes | str) -> str:
        """The text that was sealed."""
        self._check_open()
        assert self._cipher is not None, "only encrypted folders hold sealed texts"
        clear = self._decipher(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _as_bytes(bound))
        return clear.decode("utf-8")

    def labels_key(self, labels: str) -> str:
        """By what equal attribute sets are one: their JSON itself, or a keyed digest of it."""
        if self._cipher is None:
            return labels
        return self._keyed(b"labels" + labels.encode("utf-8")).hex()

    def label_key(self, name: str, value: str) -> str:
        """As what the value of an attribute is filtered by: itself, or a keyed digest."""
        if self.mode is not TextMode.ENCRYPT:
            return value
        self._check_open()
        return self._keyed(f"label{name}\0{value}".encode()).hex()

    def _keyed(self, content: bytes) -> bytes:
        assert self._digest_key is not None, "a keyed digest needs a key"
        return hashlib.blake2b(content, digest_size=_DIGEST_BYTES, key=self._digest_key).digest()

    def _check_open(self) -> None:
        if self._locked:
            raise UnavailableError("the texts of this data folder are encrypted: name its key file in text_key_file")


def open_vault(connection: sqlite3.Connection, policy: TextPolicy | None) -> Vault:
    """The vault of a folder, which keeps to the mode that it began with; in a transaction of its own.

    Args:
        policy: None for whatever the folder has, without a key.

    Raises:
        ConflictError: the folder began in another mode.
        UnavailableError: the key is not the one of this folder.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        vault = _opened(connection, policy)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    vault.register(connection)
    return vault


def rewrap(connection: sqlite3.Connection, old_key: bytes, new_key: bytes) -> None:
    """Wrap the data key by another key, in the transaction that is open.

    Raises:
        ConflictError: the folder has no data key.
        UnavailableError: the old key is not the one of this folder.
    """
    wrapped = _setting(connection, _KEY_SETTING)
    if not wrapped:
        raise ConflictError("the texts of this data folder have no key: there is nothing to rotate")
    _put(connection, _KEY_SETTING, _wrapped(_unwrapped(wrapped, old_key), new_key))


def _opened(connection: sqlite3.Connection, policy: TextPolicy | None) -> Vault:
    bound = _setting(connection, _MODE_SETTING)
    empty = connection.execute("SELECT NOT EXISTS (SELECT 1 FROM text)").fetchone()[0]
    if policy is None:
        mode = TextMode(bound or TextMode.KEEP)
        return Vault(mode, None, locked=bool(_setting(connection, _KEY_SETTING)))
    wrapped = _setting(connection, _KEY_SETTING) or ""
    if empty:  # nothing is stored yet, so that nothing was begun
        fits = bound == policy.mode and bool(wrapped) == (policy.key is not None)
        if not fits or not _opens(wrapped, policy.key):
            wrapped = _wrapped(os.urandom(_DATA_KEY_BYTES), policy.key) if policy.key else ""
            _put(connection, _MODE_SETTING, policy.mode)
            _put(connection, _KEY_SETTING, wrapped)
    elif bound is None:
        bound = TextMode.KEEP  # from before there were modes
        _put(connection, _MODE_SETTING, bound)
    if not empty and bound != policy.mode:
        raise ConflictError(
            f"this data folder began with texts = {bound}, and keeps to it: set that, or ingest again into a new folder"
        )
    if wrapped and policy.key is None:
        raise ConflictError("this data folder began with a key for its texts: name its file in text_key_file")
    if policy.key is not None and not wrapped:
        raise ConflictError(
            "this data folder began without a key for its texts: leave text_key_file out, or ingest again into a new "
            "folder"
        )
    return Vault(policy.mode, _unwrapped(wrapped, policy.key) if wrapped and policy.key else None)


def _opens(wrapped: str, key: bytes | None) -> bool:
    try:
        return not wrapped or key is None or bool(_unwrapped(wrapped, key))
    except UnavailableError:
        return False


def _wrapped(data_key: bytes, key: bytes) -> str:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = os.urandom(NONCE_BYTES)
    return base64.b64encode(nonce + AESGCM(key).encrypt(nonce, data_key, _WRAPPED)).decode()


def _unwrapped(wrapped: str, key: bytes) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    content = base64.b64decode(wrapped)
    try:
        return AESGCM(key).decrypt(content[:NONCE_BYTES], content[NONCE_BYTES:], _WRAPPED)
    except InvalidTag:
        raise UnavailableError(
            "text_key_file is not the key by which this data folder's texts are encrypted: name that one"
        ) from None


def _derived(data_key: bytes, purpose: bytes) -> bytes:
    """32 bytes for one purpose, by BLAKE2b as a key derivation function."""
    return hashlib.blake2b(b"", digest_size=32, key=data_key, person=purpose).digest()


def _setting(connection: sqlite3.Connection, name: str) -> str | None:
    row = connection.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
    return row[0] if row else None


def _put(connection: sqlite3.Connection, name: str, value: str) -> None:
    connection.execute(
        "INSERT INTO setting (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, value),
    )


def _as_bytes(bound: bytes | str) -> bytes:
    return bound.encode("utf-8") if isinstance(bound, str) else bound


def digested(text: str, vault: Vault) -> bytes | None:
    """The digest of a text in its normalised form; None where nothing is left of it."""
    normalised = normalise(text)
    return vault.digest(normalised) if normalised else None
