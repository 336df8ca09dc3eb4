"""The formats by name: how each is written, read back, and what its files are called."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from coterie.domain import Dossier, InvalidError
from coterie.exports.content import Marking
from coterie.exports.misp import read_misp, write_misp
from coterie.exports.ocsf import read_ocsf, write_ocsf
from coterie.exports.stix import read_stix, write_stix
from coterie.exports.tables import read_csv, read_parquet, write_csv, write_parquet


class Format(StrEnum):
    """What findings can be passed on as."""

    STIX = "stix"
    MISP = "misp"
    OCSF = "ocsf"
    CSV = "csv"
    PARQUET = "parquet"

    @property
    def suffix(self) -> str:
        """What its files end in."""
        return _WAYS[self].suffix


@dataclass(frozen=True, slots=True)
class _Way:
    suffix: str
    write: Callable[[Sequence[Dossier], Marking], bytes]
    read: Callable[[bytes], list[dict[str, Any]]]


_WAYS = {
    Format.STIX: _Way(".stix.json", write_stix, read_stix),
    Format.MISP: _Way(".misp.json", write_misp, read_misp),
    Format.OCSF: _Way(".ocsf.jsonl", write_ocsf, read_ocsf),
    Format.CSV: _Way(".csv", write_csv, read_csv),
    Format.PARQUET: _Way(".parquet", write_parquet, read_parquet),
}


def write_export(dossiers: Sequence[Dossier], kind: Format, marking: Marking = Marking.AMBER) -> bytes:
    """Findings in a format; with the texts of exemplars where the dossiers were asked for with them.

    The same findings give the same bytes.

    Raises:
        InvalidError: no finding, or the format's library is not installed.
    """
    if not dossiers:
        raise InvalidError("there is no finding to export", field="findings")
    return _WAYS[kind].write(dossiers, marking)


def read_export(content: bytes, kind: Format) -> list[dict[str, Any]]:
    """The findings of an export of ours, each as `coterie findings --json` prints it, with its run.

    The file is held against the format's own library or schema.

    Raises:
        InvalidError: it is not valid, or holds no finding of coterie's.
    """
    return _WAYS[kind].read(content)


def format_of(name: str, content: bytes) -> Format:
    """The format of a file, by its name, else by how it begins.

    Raises:
        InvalidError: neither tells.
    """
    for kind in Format:
        if name.endswith(kind.suffix):
            return kind
    head = content[:4096].lstrip()
    for kind, signs in (
        (Format.PARQUET, (b"PAR1",)),
        (Format.CSV, (b"tlp,",)),
        (Format.STIX, (b'"type": "bundle"', b'"bundle--')),
        (Format.MISP, (b'"Event"',)),
        (Format.OCSF, (b'"activity_id"', b'"category_uid"')),
    ):
        if any(sign in head if kind not in (Format.PARQUET, Format.CSV) else head.startswith(sign) for sign in signs):
            return kind
    raise InvalidError("the file is none of coterie's formats: name it with --format", field="format")
