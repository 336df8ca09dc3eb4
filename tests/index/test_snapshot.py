"""A snapshot comes back whole, or is refused; a failed or killed save leaves the old one."""

import os
import subprocess
import sys

import numpy as np
import pytest

from coterie.domain import UnavailableError
from coterie.index import NumpyIndex, VectorIndex
from coterie.index import snapshot as snapshot_module


@pytest.fixture(params=[VectorIndex, NumpyIndex], ids=["faiss", "numpy"])
def kind(request):
    return request.param


@pytest.fixture
def saved(kind, unit, tmp_path):
    index = kind(16)
    index.add(np.arange(50) * 3, unit(50))
    path = tmp_path / "deep" / "prompt.index"
    index.save(path, last_vector=77, last_erasure=5)
    return path


def test_comes_back_with_its_sequences(kind, saved, unit):
    index, last_vector, last_erasure = kind.load(saved, 16)
    assert (last_vector, last_erasure) == (77, 5)
    assert index.ids().tolist() == list(range(0, 150, 3))
    ids, similarities = index.search(unit(50), 1)
    np.testing.assert_array_equal(ids[:, 0], np.arange(50) * 3)
    np.testing.assert_allclose(similarities, 1.0, atol=1e-5)
    index.add([1], unit(1, seed=4))
    assert index.remove([3, 1]) == 2


def test_an_inverted_file_comes_back_and_still_changes(unit, tmp_path):
    index = VectorIndex(16, flat_rows_max=100)
    index.add(np.arange(400), unit(400))
    index.maintain()
    index.save(tmp_path / "i", last_vector=1, last_erasure=0)
    loaded, *_ = VectorIndex.load(tmp_path / "i", 16, flat_rows_max=100)
    assert loaded.view().parts
    np.testing.assert_array_equal(loaded.ids(), np.arange(400))
    for each in (index, loaded):
        each.remove(np.arange(10))
        each.add([5_000], unit(1, seed=3))
    for one, other in zip(index.search(unit(20), 7), loaded.search(unit(20), 7), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_empty_index_comes_back(kind, tmp_path):
    kind(4).save(tmp_path / "i", last_vector=0, last_erasure=0)
    assert len(kind.load(tmp_path / "i", 4)[0]) == 0


def test_any_flipped_bit_is_refused(kind, saved):
    whole = saved.read_bytes()
    for position in (0, 7, 9, 30, len(whole) // 2, len(whole) - 40, len(whole) - 1):
        flipped = bytearray(whole)
        flipped[position] ^= 0x10
        saved.write_bytes(flipped)
        with pytest.raises(UnavailableError, match="damaged"):
            kind.load(saved, 16)


def test_a_header_longer_than_any_is_refused_before_it_is_read(kind, saved):
    whole = bytearray(saved.read_bytes())
    whole[11] ^= 0x40  # a gigabyte, by the length that stands before it
    saved.write_bytes(whole)
    for read in (lambda: kind.load(saved, 16), lambda: snapshot_module.snapshot_header(saved)):
        with pytest.raises(UnavailableError, match="header is too long"):
            read()


def test_any_truncation_or_addition_is_refused(kind, saved):
    whole = saved.read_bytes()
    for changed in (b"", whole[:10], whole[:50], whole[: len(whole) // 2], whole[:-1], whole + b"\0"):
        saved.write_bytes(changed)
        with pytest.raises(UnavailableError, match="damaged"):
            kind.load(saved, 16)


def test_a_whole_file_of_another_kind_is_refused(kind, saved, tmp_path):
    with pytest.raises(UnavailableError, match="dim"):
        kind.load(saved, 17)
    other = NumpyIndex if kind is VectorIndex else VectorIndex
    with pytest.raises(UnavailableError, match="it holds"):
        other.load(saved, 16)
    snapshot_module.write_snapshot(
        saved,
        {"kind": "faiss", "dim": 16, "rows": 1, "last_vector": 0, "last_erasure": 0},
        lambda write: write(b"junk"),
    )
    with pytest.raises(UnavailableError):
        kind.load(saved, 16)


def test_a_missing_file_or_a_folder_is_unavailable(kind, tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(UnavailableError, match="cannot be read"):
            kind.load(path, 16)


def test_a_save_that_fails_leaves_the_old_file_and_no_litter(kind, saved, unit, monkeypatch):
    before = saved.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(snapshot_module.os, "fsync", full)
    with pytest.raises(UnavailableError, match="No space left"):
        kind.load(saved, 16)[0].save(saved, last_vector=78, last_erasure=5)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


def test_the_file_and_its_folder_are_synced_around_the_rename(saved, monkeypatch):
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: calls.append("fsync") or fsync(descriptor))
    monkeypatch.setattr(os, "replace", lambda *names: calls.append("rename") or replace(*names))
    VectorIndex(4).save(saved, last_vector=0, last_erasure=0)
    assert calls == ["fsync", "rename", "fsync"]


def test_a_killed_save_leaves_the_old_file_and_the_next_save_clears_up(saved, kind, unit):
    code = (
        "import os, sys; from pathlib import Path; import coterie.index.snapshot as s;"
        "s.os.replace = lambda *names: os._exit(9);"
        "s.write_snapshot(Path(sys.argv[1]), {}, lambda write: write(b'x' * 99))"
    )
    before = saved.read_bytes()
    done = subprocess.run([sys.executable, "-c", code, str(saved)], check=False, timeout=60)
    assert done.returncode == 9
    assert saved.read_bytes() == before
    assert len(list(saved.parent.iterdir())) == 2
    kind(16).save(saved, last_vector=0, last_erasure=0)
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
