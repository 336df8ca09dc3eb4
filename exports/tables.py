"""CSV for spreadsheets, one row an account; Parquet for analysis, one row a finding with nested lists."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

from coterie.domain import Dossier
from coterie.exports.content import Marking, need, refuse, summary, texts

_SCALARS = (
    "finding_id", "run_id", "kind", "severity", "confidence", "lineage", "review", "provisional", "title", "first_seen",
    "last_seen",
)  # fmt: skip
_ACCOUNT = ("account_id", "exchanges", "distinct_texts", "share_of_traffic", "first_seen", "last_seen")
_COLUMNS = ("tlp", *_SCALARS, *(name if name == "account_id" else f"account_{name}" for name in _ACCOUNT), "more")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")
"""What a spreadsheet may take for the beginning of a formula, and the sign that keeps it from that."""

_PARQUET = (
    *_SCALARS, "lineage_of", "accounts", "families", "benchmarks", "evidence", "counter_evidence", "exemplars",
    "joined_since",
)  # fmt: skip
"""What of a finding has a column of its own; the rest, such as what reviewers did, is JSON in `more`."""

_VERSION = b"1"


def write_csv(dossiers: Sequence[Dossier], marking: Marking) -> bytes:
    """One row for each account of each finding, UTF-8, RFC 4180.

    What the columns do not hold (evidence, families, benchmarks, exemplars, texts where asked for) stands as JSON in
    `more` of a finding's first row. A value that a spreadsheet could run as a formula begins with an apostrophe.
    """
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    for dossier in dossiers:
        record = summary(dossier.finding)
        more = {name: value for name, value in record.items() if name not in (*_SCALARS, "accounts")}
        if held := texts(dossier):
            more["exchanges"] = [json.loads(line) for _, line in held]
        for number, account in enumerate(record["accounts"]):
            values = [marking.value, *(record[name] for name in _SCALARS), *(account[name] for name in _ACCOUNT)]
            values.append("" if number else json.dumps(more, sort_keys=True, ensure_ascii=False))
            writer.writerow([_harmless(value) for value in values])
    return stream.getvalue().encode()


def read_csv(content: bytes) -> list[dict[str, Any]]:
    """The findings of a table, each as it was passed on.

    Raises:
        InvalidError: the columns are others, or a value is none of its column's.
    """
    rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig", "replace"), newline="")))
    if not rows or tuple(rows[0]) != _COLUMNS or any(len(row) != len(_COLUMNS) for row in rows):
        raise refuse("CSV", "its columns are others")
    found: dict[str, dict[str, Any]] = {}
    try:
        for row in rows[1:]:
            _take(found, dict(zip(_COLUMNS, map(_plain, row), strict=True)))
    except (ValueError, KeyError) as error:
        raise refuse("CSV", f"a value is none of its column's ({type(error).__name__})") from error
    if not found:
        raise refuse("CSV", "it holds no finding")
    return list(found.values())


def _take(found: dict[str, dict[str, Any]], row: dict[str, str]) -> None:
    name = row["finding_id"]
    if row["more"]:
        more = json.loads(row["more"])
        more.pop("exchanges", None)
        scalars = {column: row[column] for column in _SCALARS}
        found[name] = {
            **scalars,
            "confidence": float(row["confidence"]),
            "provisional": {"True": True, "False": False}[row["provisional"]],
            "accounts": [],
            **more,
        }
    found[name]["accounts"].append(
        {
            "account_id": row["account_id"],
            "exchanges": int(row["account_exchanges"]),
            "distinct_texts": int(row["account_distinct_texts"]),
            "share_of_traffic": float(row["account_share_of_traffic"]),
            "first_seen": row["account_first_seen"],
            "last_seen": row["account_last_seen"],
        }
    )


def _harmless(value: Any) -> str:
    text = str(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(_FORMULA) else text


def _plain(text: str) -> str:
    return text[1:] if text.startswith("'") else text


def write_parquet(dossiers: Sequence[Dossier], marking: Marking) -> bytes:
    """One row a finding; accounts, evidence, families and the like are lists of structs. Needs pyarrow."""
    pa, parquet = _library()
    schema = _schema(pa)
    records = [_row(dossier, marking) for dossier in dossiers]
    stream = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(records, schema=schema), stream, compression="zstd")
    return stream.getvalue()


def read_parquet(content: bytes) -> list[dict[str, Any]]:
    """The findings of a table, each as it was passed on.

    Raises:
        InvalidError: it is no Parquet, or of another schema.
    """
    pa, parquet = _library()
    try:
        table = parquet.read_table(io.BytesIO(content))
    except (pa.ArrowException, OSError) as error:
        raise refuse("Parquet table", type(error).__name__) from error
    if not table.schema.equals(_schema(pa)) or (table.schema.metadata or {}).get(b"coterie") != _VERSION:
        raise refuse("Parquet table", "its schema is another")
    if not table.num_rows:
        raise refuse("Parquet table", "it holds no finding")
    found = []
    for row in table.to_pylist():
        record = {name: value for name, value in row.items() if name not in ("tlp", "exchanges", "more")}
        record |= json.loads(row["more"])
        for side in ("evidence", "counter_evidence"):
            for item in record[side]:
                if item["p_value"] is None:
                    del item["p_value"]
        found.append(record)
    return found


def _row(dossier: Dossier, marking: Marking) -> dict[str, Any]:
    record = summary(dossier.finding)
    more = {name: value for name, value in record.items() if name not in _PARQUET}
    return {
        **record,
        "tlp": marking.value,
        "exchanges": [line for _, line in texts(dossier)],
        "more": json.dumps(more, sort_keys=True, ensure_ascii=False),
    }


def _schema(pa: Any) -> Any:
    text, real, whole = pa.string(), pa.float64(), pa.int64()

    def rows(**columns: Any) -> Any:
        return several(pa.struct(list(columns.items())))

    def several(of: Any) -> Any:
        return pa.list_(pa.field("element", of))  # as Parquet names it, or it reads back as another schema

    reasons = rows(name=text, statistic=text, value=real, null=text, summary=text, p_value=real)
    columns: dict[str, Any] = dict.fromkeys(("tlp", *_SCALARS), text)
    columns |= {"confidence": real, "provisional": pa.bool_(), "lineage_of": several(text)}
    columns |= {
        "accounts": rows(
            account_id=text,
            exchanges=whole,
            distinct_texts=whole,
            share_of_traffic=real,
            first_seen=text,
            last_seen=text,
        ),
        "families": rows(family_id=text, texts=whole, accounts=whole),
        "benchmarks": rows(name=text, items_matched=whole, coverage=real),
        "evidence": reasons,
        "counter_evidence": reasons,
        "exemplars": several(text),
        "joined_since": rows(account_id=text, first_seen=text, prompts=whole, p_value=real),
        "exchanges": several(text),
        "more": text,
    }
    return pa.schema(list(columns.items()), metadata={b"coterie": _VERSION})


def _library() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise need("pyarrow", error) from error
    return pyarrow, parquet
