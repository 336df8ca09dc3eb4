import gzip
import json

import pytest

from coterie.domain import BenchmarkItem, InvalidError
from coterie.server import cli_files
from coterie.server.cli_files import PROBLEMS_KEPT, Exchanges, open_lines, read_benchmark, read_names


def line(number, **more):
    values = {"exchange_id": f"x{number}", "account_id": "a", "time": "2026-01-31T08:00:00Z", "prompt": f"p {number}"}
    return json.dumps(values | more).encode() + b"\n"


def read(path):
    with open_lines(str(path)) as lines:
        exchanges = Exchanges(lines)
        return [item.exchange_id for item in exchanges], exchanges, lines


def test_lines_are_numbered_as_an_editor_does(tmp_path):
    path = tmp_path / "events"
    path.write_bytes(line(1) + b"\n  \n" + line(2) + b"{nonsense\n" + line(3).rstrip(b"\n"))
    ids, exchanges, lines = read(path)
    assert ids == ["x1", "x2", "x3"]
    assert [exchanges.line_of(place) for place in range(3)] == [1, 4, 6]
    assert [(problem.line, problem.reason) for problem in exchanges.problems] == [(5, "bad_json")]
    assert lines.count == 4
    assert not lines.broken


@pytest.mark.parametrize("name", ["events.jsonl.gz", "events"])
def test_gzip_is_known_by_its_content(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(line(1)) + gzip.compress(line(2)))
    assert read(path)[0] == ["x1", "x2"]
    path.write_bytes(line(3))
    assert read(path)[0] == ["x3"]


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_gzip_keeps_the_whole_lines_before(tmp_path, kept):
    path = tmp_path / "events.gz"
    whole = b"".join(line(number, prompt=f"{number * 7919 % 10007} tides of {number}") for number in range(3000))
    packed = gzip.compress(whole)
    path.write_bytes(packed[: max(12, int(len(packed) * kept))])
    ids, exchanges, lines = read(path)
    assert ids == [f"x{number}" for number in range(len(ids))]
    assert len(ids) >= 3000 * (kept - 0.2)
    assert len(ids) < 3000 or kept == 0.999
    assert "ends early" in lines.broken
    assert f"after line {len(ids)}" in lines.broken
    assert exchanges.reasons.total() == 0


def test_a_damaged_gzip_says_so(tmp_path):
    path = tmp_path / "events.gz"
    packed = bytearray(gzip.compress(b"".join(line(number) for number in range(3000))))
    packed[len(packed) // 2 : len(packed) // 2 + 50] = b"\xff" * 50
    path.write_bytes(packed)
    assert "damaged" in read(path)[2].broken


def test_an_endless_line_is_refused_without_reading_it_into_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(cli_files, "LINE_BYTES_MAX", 1000)
    path = tmp_path / "events"
    path.write_bytes(line(1) + line(2, prompt="x" * 5000) + line(3))
    ids, exchanges, _ = read(path)
    assert ids == ["x1", "x3"]
    assert exchanges.reasons == {"too_long": 1}
    assert [exchanges.line_of(place) for place in range(2)] == [1, 3]


def test_problems_are_counted_by_reason_and_listed_up_to_a_bound(tmp_path):
    path = tmp_path / "events"
    path.write_bytes(line(1, colour="red") * 30 + line(2, time="yesterday") + b"\xff\xfe\n" + line(3))
    ids, exchanges, _ = read(path)
    assert ids == ["x3"]
    assert exchanges.reasons == {"unknown_field": 30, "bad_time": 1, "bad_json": 1}
    assert len(exchanges.problems) == PROBLEMS_KEPT


def test_the_share_read_is_that_of_the_file_on_disk(tmp_path):
    path = tmp_path / "events.gz"
    path.write_bytes(gzip.compress(line(1) * 2000))
    with open_lines(str(path)) as lines:
        shares = [lines.done() for _ in lines]
    assert shares[-1] == 1.0
    assert all(0 < share <= 1 for share in shares)


@pytest.mark.parametrize("name", ["missing", "."])
def test_what_cannot_be_read_is_named(tmp_path, name):
    with pytest.raises(InvalidError, match="cannot read"):
        read(tmp_path / name)


def test_benchmarks_are_read_whole(tmp_path):
    path = tmp_path / "items.gz"
    path.write_bytes(
        gzip.compress(b'{"item_id": "1", "text": "2 + 2?", "answer": "4"}\n\n{"item_id": "2", "text": "?"}\n')
    )
    assert read_benchmark(str(path)) == [BenchmarkItem("1", "2 + 2?", "4"), BenchmarkItem("2", "?")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no item"),
        (b'{"item_id": "1", "text": "?"}\n[1]\n', "line 2: not a JSON object"),
        (b"{nonsense\n", "line 1: not a JSON object on one line"),
        (b'{"item_id": "1", "text": "?", "colour": 1}\n', "line 1: unknown field 'colour'"),
        (b'{"item_id": "1"}\n', "line 1: text is missing"),
        (b'{"item_id": 1, "text": "?"}\n', "line 1: item_id, text and answer must be strings"),
        (gzip.compress(b'{"item_id": "1", "text": "?"}\n' * 900)[:-20], "ends early"),
    ],
)
def test_a_benchmark_is_all_or_nothing(tmp_path, content, message):
    path = tmp_path / "items"
    path.write_bytes(content)
    with pytest.raises(InvalidError, match=message):
        read_benchmark(str(path))


def test_names_are_read_one_a_line(tmp_path):
    path = tmp_path / "names"
    path.write_bytes("\ufeffa b \n\n  ç\r\nlast".encode())
    assert read_names(str(path), 3) == ["a b", "ç", "last"]
    with pytest.raises(InvalidError, match="more than 2 accounts"):
        read_names(str(path), 2)


@pytest.mark.parametrize(("content", "says"), [(b"\n \n", "names no account"), (b"a\n\xff\n", "line 2: not UTF-8")])
def test_a_file_that_names_nobody_is_refused(tmp_path, content, says):
    path = tmp_path / "names"
    path.write_bytes(content)
    with pytest.raises(InvalidError, match=says):
        read_names(str(path), 9)
