"""What an erasure leaves: its proof, and the tombstones by which it is done again on an older copy of the data."""

from dataclasses import dataclass
from enum import StrEnum

from coterie.domain.ids import AccountId


class TextMode(StrEnum):
    """What is stored of prompts, responses, system prompts and attributes."""

    KEEP = "keep"
    ENCRYPT = "encrypt"
    DROP = "drop"
    """Texts are let go of when they are embedded; attributes and registered benchmarks stay."""


@dataclass(frozen=True, slots=True)
class TextPolicy:
    """How a data folder keeps its texts.

    Attributes:
        key: 32 bytes of a key file; needed to encrypt, and otherwise keys the digests by which equal texts are one.
    """

    mode: TextMode = TextMode.KEEP
    key: bytes | None = None


@dataclass(frozen=True, slots=True)
class Residue:
    """Something of an erased account that is still there.

    Attributes:
        place: `table NAME.COLUMN`, or `file PATH` relative to the data folder.
        kind: `account id`, `text`, `vector` or `text number`.
        count: how often.
    """

    place: str
    kind: str
    count: int


@dataclass(frozen=True, slots=True)
class ErasureProof:
    """What was looked at for an erased account after its erasure, and what was found.

    Every row of every table and every byte of every file of the data folder is read. A find that is part of something
    other accounts hold too (an id that begins with the erased one, a sentence that others also sent) is no residue.

    Attributes:
        tables, rows: looked at column by column.
        files, bytes_read: looked at byte by byte.
        texts, vectors: of the account alone, looked for by pieces of their bytes.
        texts_skipped: of the account alone, too short or too uniform to be told from chance in raw bytes; that their
            rows are gone is checked like everything else in the tables.
        id_in_bytes: whether the account id is long enough to be looked for in raw bytes, too.
        mentions: texts of others in which the id stands; they are theirs, and stay.
        returned: exchanges of the account that came after it was erased; they and what they name are no residue.
        compacted: whether the database was written anew because the first look found bytes in unused parts of it.
        residues: what is left, nothing where the erasure is proved.
    """

    tables: int
    rows: int
    files: int
    bytes_read: int
    texts: int
    vectors: int
    texts_skipped: int = 0
    id_in_bytes: bool = True
    mentions: int = 0
    returned: int = 0
    compacted: bool = False
    residues: tuple[Residue, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether nothing is left."""
        return not self.residues


@dataclass(frozen=True, slots=True)
class Retained:
    """What a sweep of retention let go of.

    Attributes:
        before_us, texts_before_us: exchanges, and contents of texts, before these times, microseconds since the epoch;
            0 where everything is kept.
        exchanges: how many; of an outlook, how many it would be.
        texts: that no other exchange had.
        contents: of texts whose exchanges stay.
        waiting: nothing went, because the clock is not believed yet.
    """

    before_us: int
    texts_before_us: int
    exchanges: int = 0
    texts: int = 0
    contents: int = 0
    waiting: bool = False


@dataclass(frozen=True, slots=True)
class PendingErasure:
    """An erasure that was asked for and is not finished: a crash came between."""

    erasure_id: int
    account_id: AccountId
    requested_us: int


@dataclass(frozen=True, slots=True)
class Tombstone:
    """That an account was erased, without its name.

    Attributes:
        digest: 16 bytes, BLAKE2b of the account id under the ledger's key.
        requested_us: when, microseconds since the epoch.
    """

    digest: bytes
    requested_us: int


@dataclass(frozen=True, slots=True)
class ErasureLedger:
    """Every erasure of a data folder, so that they can be done again on an older copy of it.

    Attributes:
        key: 32 bytes, made with the folder and part of every copy of it.
        tombstones: oldest first.
    """

    key: bytes
    tombstones: tuple[Tombstone, ...] = ()
