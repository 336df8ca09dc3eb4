"""Key files: made once, private, and never quoted."""

import os
import stat
from pathlib import Path

import pytest

from coterie.domain import ConflictError, UnavailableError
from coterie.server.keys import KEY_BYTES, new_key_file, read_key_file


def test_a_key_is_new_private_and_read_back(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        for name in ("a", "b"):
            new_key_file(tmp_path / name)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600
    keys = [read_key_file(tmp_path / name) for name in ("a", "b")]
    assert keys[0] != keys[1]
    assert {len(key) for key in keys} == {KEY_BYTES}
    with pytest.raises(ConflictError, match="never overwritten"):
        new_key_file(tmp_path / "a")
    assert read_key_file(tmp_path / "a") == keys[0]
    with pytest.raises(UnavailableError, match="cannot be written"):
        new_key_file(tmp_path / "no" / "folder")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    new_key_file(tmp_path / "key")
    (tmp_path / "key").chmod(mode)
    with pytest.raises(UnavailableError, match="others may read it"):
        read_key_file(tmp_path / "key")


@pytest.mark.parametrize("content", [b"", b"canary", b"coterie-key-1:", b"coterie-key-1:c2hvcnQ=", b"\xff" * 60])
def test_what_is_no_key_is_refused_and_not_quoted(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(UnavailableError, match="holds no key") as caught:
        read_key_file(path)
    assert "canary" not in str(caught.value)
    with pytest.raises(UnavailableError, match="cannot be read"):
        read_key_file(tmp_path / "missing")
