"""Parquet and damaged files: what is in them, and what is said of them."""

import gzip
import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from coterie.domain import Exchange, InvalidError, parse_time
from coterie.server.cli_files import Exchanges, open_exchanges


def parquet(path: Path, rows: list[dict[str, Any]], **more: Any) -> str:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet as files

    files.write_table(pa.Table.from_pylist(rows, **more), path, row_group_size=10)
    return str(path)


def row(number: int, **more: Any) -> dict[str, Any]:
    return {
        "exchange_id": f"x-{number}",
        "account_id": "a",
        "time": "2026-01-31T08:00:00Z",
        "prompt": f"question {number}",
        "turn": number,
        "attributes": {"asn": "1"} if number % 2 else {"payment": "card"},
        **more,
    }


def read(path: str) -> tuple[list[Exchange], Exchanges, Any]:
    with open_exchanges(path) as rows:
        exchanges = Exchanges(rows)
        return list(exchanges), exchanges, rows


def test_parquet_gives_what_the_same_lines_give(tmp_path: Path) -> None:
    rows = [row(number, response=None if number % 3 else "yes", cost_usd=0.5) for number in range(25)]
    lines = tmp_path / "lines.jsonl"
    lines.write_text("\n".join(json.dumps(line) for line in rows))
    from_rows, exchanges, _ = read(parquet(tmp_path / "rows.parquet", rows))
    assert from_rows == read(str(lines))[0]
    assert exchanges.line_of(24) == 25


def test_parquet_takes_timestamps_and_maps(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    moment = datetime(2026, 1, 31, 9, 0, tzinfo=timezone(timedelta(hours=1)))
    fields = {"exchange_id": pa.string(), "account_id": pa.string(), "prompt": pa.string()}
    schema = pa.schema(
        [*fields.items(), ("time", pa.timestamp("us", "UTC")), ("attributes", pa.map_(pa.string(), pa.string()))]
    )
    rows = [row(1, time=moment, attributes=[("asn", "7")])]
    (exchange,), _, _ = read(parquet(tmp_path / "a", rows, schema=schema))
    assert exchange.time_us == parse_time("2026-01-31T08:00:00Z")
    assert exchange.attributes == {"asn": "7"}
    naive = parquet(tmp_path / "b", [row(1, time=moment.replace(tzinfo=None))])
    assert read(naive)[1].reasons == {"bad_time": 1}, "without a zone nobody knows when it was"


def test_bad_rows_are_told_by_their_number_and_the_rest_is_kept(tmp_path: Path) -> None:
    rows = [row(number) for number in range(30)]
    rows[11]["account_id"] = None
    rows[22]["prompt"] = "  "
    kept, exchanges, _ = read(parquet(tmp_path / "a", rows))
    assert len(kept) == 28
    assert [(problem.line, problem.reason) for problem in exchanges.problems] == [
        (12, "missing_account_id"),
        (23, "empty_prompt"),
    ]
    other = parquet(tmp_path / "b", [row(1, colour="red")])
    assert read(other)[1].reasons == {"unknown_field": 1}
    assert read(parquet(tmp_path / "c", [row(1, prompt=7)]))[1].reasons == {"bad_type": 1}


def test_a_parquet_file_that_is_cut_or_damaged_is_said_to_be(tmp_path: Path) -> None:
    path = Path(parquet(tmp_path / "a", [row(number, prompt=f"question {number} " * 50) for number in range(400)]))
    whole = path.read_bytes()
    for cut in (whole[:-8], whole[: len(whole) // 2], whole[:4]):
        path.write_bytes(cut)
        with pytest.raises(InvalidError, match="Parquet file cannot be read"):
            read(str(path))
    broken = bytearray(whole)
    broken[4:64] = b"\xff" * 60
    path.write_bytes(broken)
    kept, _, rows = read(str(path))
    assert rows.broken
    assert len(kept) < 400


def test_a_gzip_that_is_cut_gives_its_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps(row(number)) + "\n" for number in range(2_000))
    path.write_bytes(path.read_bytes()[:-500])
    kept, exchanges, lines = read(str(path))
    assert "ends early" in lines.broken
    assert 0 < len(kept) < 2_000
    assert exchanges.reasons.total() <= 1, "at most the line that was cut"
