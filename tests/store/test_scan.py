"""The search for bytes: it must find what is there, wherever it stands, and tell whose it is."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.store.scan import PROBE_BYTES, Explained, Finder, find_in_database, find_in_file, probes

NEEDLE = b"a text that only one sent"


@given(st.binary(max_size=300), st.lists(st.binary(min_size=1, max_size=24), min_size=1, max_size=6))
def test_finds_what_a_search_one_by_one_finds(block: bytes, needles: list[bytes]) -> None:
    block = needles[0].join([block, block])
    wanted = {(at, needle) for needle in needles for at in range(len(block)) if block.startswith(needle, at)}
    assert set(Finder(needles).find(block)) == wanted


@pytest.mark.parametrize("place", [0, 5, (1 << 20) - 10, (1 << 20) - len(NEEDLE), 1 << 20, (1 << 21) - 3])
def test_a_file_is_searched_across_the_blocks_it_is_read_in(tmp_path: Path, place: int) -> None:
    content = bytearray(random.Random(1).randbytes((1 << 21) + 4_000))
    content[place : place + len(NEEDLE)] = NEEDLE
    (tmp_path / "file").write_bytes(content)
    finds = find_in_file(tmp_path / "file", Finder([NEEDLE]))
    assert (finds.counts.total(), finds.bytes_read) == (1, len(content))


@pytest.mark.parametrize("name", ["coterie.db", "coterie.db-wal"])
def test_every_page_of_a_database_and_its_log_is_searched(tmp_path: Path, name: str) -> None:
    page = bytearray(random.Random(2).randbytes(4_096))
    page[100 : 100 + len(NEEDLE)] = NEEDLE
    log = name.endswith("-wal")
    frames = [(bytes(24) if log else b"") + bytes(page)] * 400
    (tmp_path / name).write_bytes((bytes(32) if log else b"") + b"".join(frames))
    finds = find_in_database(tmp_path / name, Finder([NEEDLE]), 4_096)
    assert finds.counts.total() == 400
    assert len(finds.counts) == 1
    assert finds.bytes_read == (tmp_path / name).stat().st_size


def test_pieces_are_of_both_ends_and_none_of_what_is_uniform() -> None:
    assert probes(b"short") == []
    assert probes(bytes(768)) == []
    assert probes(b"x" * 4_000) == []
    pieces = probes(b"begins in this way " + b"x" * 5_000 + b" and ends like that")
    assert pieces == [b"begins in this w", b"d ends like that"]
    assert {len(piece) for piece in pieces} == {PROBE_BYTES}


def test_a_find_inside_of_something_known_is_explained_and_a_copy_of_it_alone_is_not() -> None:
    finder = Finder([b"account-1"])
    explained = Explained()
    explained.add([b"led by account-12", b"account-1x"], finder)
    assert explained.explains(b"account-1", (b"....led by ", b"2 more"))
    assert explained.explains(b"account-1", (b"e00001", b"x"))
    assert not explained.explains(b"account-1", (b"led by ", b" and"))
    assert not explained.explains(b"account-1", (b"e00001", b"\x00\x01"))
    assert not explained.explains(b"account-1", (b"", b""))  # the end of a page left nothing to go by
    assert not explained.explains(b"account-2", (b"led by ", b"2"))
