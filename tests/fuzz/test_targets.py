"""What is fuzzed by `make fuzz`, a little of it by properties, and everything that was ever found."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from bench.fuzz import run
from bench.fuzz.targets import TARGETS, seeds
from coterie.domain import UnavailableError
from coterie.index import snapshot_files

REPRODUCERS = sorted((Path(__file__).parent / "reproducers").glob("*-*"))
EXAMPLES = 150


def test_every_target_is_run_by_make() -> None:
    assert set(run._TARGETS) == set(TARGETS)


@pytest.mark.parametrize("name", TARGETS)
def test_the_seeds_let_nothing_out(name: str) -> None:
    for seed in seeds(name):
        TARGETS[name](seed)


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_let_nothing_out(name: str) -> None:
    @settings(max_examples=EXAMPLES, deadline=None)
    @given(some.binary(max_size=400))
    def fuzz(data: bytes) -> None:
        TARGETS[name](data)

    fuzz()


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_that_are_changed_let_nothing_out(name: str) -> None:
    rng, first = random.Random(3), list(seeds(name))
    for _ in range(EXAMPLES):
        data = bytearray(rng.choice(first) + rng.randbytes(rng.randrange(32)))
        for _ in range(min(len(data), rng.randrange(6))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        TARGETS[name](bytes(data))


@pytest.mark.parametrize("path", REPRODUCERS, ids=lambda path: path.name)
def test_what_was_found_stays_mended(path: Path) -> None:
    TARGETS[path.name.split("-")[0]](path.read_bytes())


def test_a_defect_is_let_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or nothing could ever be found: with the guard of snapshots gone, made-up headers raise what nobody maps."""
    from coterie.index import snapshot

    monkeypatch.setattr(snapshot, "_SENSELESS", ())

    def fuzz() -> None:
        for first in range(256):
            TARGETS["snapshots"](bytes((first * 41 + item * 7) % 256 for item in range(200)))

    with pytest.raises((KeyError, TypeError, ValueError)):
        fuzz()


def test_a_list_of_segments_that_is_none_is_damage(tmp_path: Path) -> None:
    from coterie.index.snapshot import write_snapshot

    def write_list(write: Callable[[bytes], int]) -> None:
        write(b'[{"rows": 3}]')

    write_snapshot(tmp_path / "manifest", {"kind": "segments", "dim": 4}, write_list)
    with pytest.raises(UnavailableError, match="makes no sense"):
        snapshot_files(tmp_path)
