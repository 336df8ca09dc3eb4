"""The index in segments gives what one index gives; old days go whole; a save writes what changed, in one step."""

import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie.domain import InvalidError, UnavailableError
from coterie.index import NumpyIndex, SegmentedIndex
from coterie.index import segments as segments_module
from coterie.index import snapshot as snapshot_module

DIM = 8
FLAT_ROWS_MAX = 3


def vectors_of(seeds):
    """One unit row per number, always the same."""
    rows = np.array([np.random.default_rng(seed).normal(size=DIM) for seed in seeds]).reshape(-1, DIM)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def assert_same_hits(index, twin, queries, k, allowed=None):
    ids, similarities = index.search(queries, k, allowed=allowed)
    twin_ids, twin_similarities = twin.search(queries, k, allowed=allowed)
    assert ids.shape == similarities.shape == (len(queries), k)
    assert (ids.dtype, similarities.dtype) == (np.int64, np.float32)
    np.testing.assert_allclose(similarities, twin_similarities, atol=1e-5)
    for row in range(len(queries)):
        held = ids[row][ids[row] >= 0]
        assert len(set(held.tolist())) == len(held), "an id is found once"
        # Ids may differ only where similarities are as good as equal.
        others = np.abs(twin_similarities[row][:, None] - twin_similarities[row]) < 1e-5
        last = np.abs(twin_similarities[row] - twin_similarities[row, -1]) < 1e-5
        assert ((ids[row] == twin_ids[row]) | (others.sum(axis=1) > 1) | last).all()


class Days:
    """Which ids are in which segment, by the rule itself: [first day, last day, ids] each."""

    def __init__(self):
        self.segments = []

    def add(self, ids, day):
        if not ids:
            return
        if not self.segments or (day > self.segments[-1][1] and len(self.segments[-1][2]) >= FLAT_ROWS_MAX):
            self.segments.append([day, day, set()])
        newest = self.segments[-1]
        self.remove(ids, keep=newest)
        newest[0], newest[1] = min(newest[0], day), max(newest[1], day)
        newest[2].update(ids)

    def remove(self, ids, keep=None):
        for segment in self.segments:
            segment[2] -= set(ids)
        self.segments = [segment for segment in self.segments if segment[2] or segment is keep]

    def drop_before(self, day):
        gone = [segment for segment in self.segments if segment[1] < day]
        self.segments = [segment for segment in self.segments if segment[1] >= day]
        return sorted(id_ for segment in gone for id_ in segment[2])


STEPS = st.one_of(
    st.tuples(
        st.just("add"),
        st.tuples(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9)), max_size=12), st.integers(-2, 3)),
    ),
    st.tuples(st.just("remove"), st.lists(st.integers(0, 45), max_size=6)),
    st.tuples(st.just("search"), st.tuples(st.integers(1, 50), st.none() | st.lists(st.integers(0, 45), max_size=12))),
    st.tuples(st.just("drop"), st.integers(-4, 1)),
    st.tuples(st.just("restart"), st.none()),
    st.tuples(st.just("maintain"), st.none()),
)


@settings(deadline=None, max_examples=100)
@given(steps=st.lists(STEPS, max_size=16))
def test_any_sequence_of_calls_gives_what_one_index_gives(tmp_path_factory, steps):
    index, twin, days = SegmentedIndex(DIM, flat_rows_max=FLAT_ROWS_MAX), NumpyIndex(DIM), Days()
    folder = tmp_path_factory.mktemp("index") / "segments"
    today = 20_000
    for name, argument in steps:
        if name == "add":
            pairs, later = argument
            today += later  # a clock that was set goes back
            ids, vectors = np.array([id_ for id_, _ in pairs], np.int64), vectors_of([seed for _, seed in pairs])
            index.add(ids, vectors, today)
            twin.add(ids, vectors)
            days.add(ids.tolist(), today)
        elif name == "remove":
            days.remove(argument)
            assert index.remove(argument) == twin.remove(argument)
        elif name == "search":
            k, allowed = argument
            chosen = None if allowed is None else np.array(allowed, dtype=np.int64)
            assert_same_hits(index, twin, vectors_of([0, 50]), k, chosen)
        elif name == "drop":
            gone = days.drop_before(today + argument)
            assert index.drop_before(today + argument) == len(gone)
            twin.remove(gone)
        elif name == "maintain":
            index.maintain()
            assert all(state.tail_rows <= FLAT_ROWS_MAX for state in index.states())
        else:
            index.save(folder, last_vector=today, last_erasure=2)
            assert len(list(folder.iterdir())) == 1 + len(index.days())
            index, *sequences = SegmentedIndex.load(folder, DIM, flat_rows_max=FLAT_ROWS_MAX)
            assert sequences == [today, 2]
        assert len(index) == len(twin)
        np.testing.assert_array_equal(index.ids(), twin.ids())
        assert all((id_ in index) == (id_ in twin) for id_ in range(48))
        assert index.days() == [(first, last) for first, last, _ in days.segments]
    assert_same_hits(index, twin, vectors_of(range(10)), 7)


@pytest.fixture
def four_days(unit, monkeypatch):
    """250 vectors of 60 families on each of the days 10 to 13, a segment each, and the twin of all; searches look at
    every list, so that they find what the twin does."""
    monkeypatch.setattr("coterie.index.vector_index._PROBES_TRIED", (10_000,))
    index, twin = SegmentedIndex(16, flat_rows_max=200), NumpyIndex(16)
    vectors = unit(1_000, centres=60)
    for day in range(4):
        rows = slice(day * 250, day * 250 + 250)
        index.add(np.arange(1_000)[rows], vectors[rows], 10 + day)
        twin.add(np.arange(1_000)[rows], vectors[rows])
    index.maintain()
    assert index.days() == [(10, 10), (11, 11), (12, 12), (13, 13)]
    return index, twin, vectors


def files(folder):
    """Name and modification of each file; a file that was written anew has another of one or the other."""
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_inverted_segments_give_the_hits_of_the_twin(four_days, unit):
    index, twin, vectors = four_days
    assert all(state.lists for state in index.states())
    assert_same_hits(index, twin, unit(40, seed=5, centres=60), 30)
    assert_same_hits(index, twin, vectors[::50], 1_200)
    for allowed in (np.arange(0, 1_000, 3), np.arange(240, 260), np.array([], np.int64), np.array([7, 7, 999, 5_000])):
        assert_same_hits(index, twin, unit(10, seed=6), 40, allowed)


def test_a_segment_is_asked_for_its_own_of_the_allowed_ids_alone(four_days, monkeypatch):
    index, _, vectors = four_days
    asked = []
    search = segments_module.View.search

    def watched(self, queries, k, allowed):
        asked.append(allowed.tolist())
        return search(self, queries, k, allowed)

    monkeypatch.setattr(segments_module.View, "search", watched)
    index.search(vectors[:1], 5, allowed=np.array([600, 3, 260, 251, 5_000]))
    assert asked == [[3], [251, 260], [600], []]


def test_a_small_folder_stays_one_segment_for_years(unit):
    index, twin = SegmentedIndex(16), NumpyIndex(16)
    vectors = unit(400)
    for day in range(0, 400, 20):
        index.add(np.arange(day, day + 20), vectors[day : day + 20], 20_000 + day)
        twin.add(np.arange(day, day + 20), vectors[day : day + 20])
    assert index.days() == [(20_000, 20_380)]
    assert_same_hits(index, twin, unit(20, seed=1), 10)


def test_a_day_however_large_is_one_segment(unit):
    index = SegmentedIndex(16, flat_rows_max=50)
    for start in range(0, 300, 60):
        index.add(np.arange(start, start + 60), unit(60, seed=start), 7)
    assert index.days() == [(7, 7)]
    index.add([300], unit(1, seed=1), 8)
    assert index.days() == [(7, 7), (8, 8)]


def test_days_before_go_whole_and_no_day_too_early(four_days):
    index, _, vectors = four_days
    assert index.drop_before(10) == 0
    assert index.drop_before(12) == 500
    assert index.ids().tolist() == list(range(500, 1_000))
    assert index.search(vectors[:300], 5)[0].min() >= 500
    assert index.drop_before(14) == 500, "the open segment goes too"
    assert index.days() == []
    assert index.search(vectors[:1], 2)[0].tolist() == [[-1, -1]]
    index.add([5], vectors[5:6], 14)
    assert index.search(vectors[5:6], 1)[0].tolist() == [[5]]


def test_a_clock_that_was_set_back_drops_nothing_too_early(four_days, unit):
    index, _, _ = four_days
    index.add([2_000], unit(1, seed=9), 3)
    assert index.days()[-1] == (3, 13)
    index.add([2_001], unit(1, seed=8), 12)
    assert index.days()[-1] == (3, 13)
    assert index.drop_before(13) == 750
    assert 2_000 in index
    assert 2_001 in index


def test_an_id_that_comes_again_moves_to_the_newest_day(four_days):
    index, twin, vectors = four_days
    for each, day in ((index, (14,)), (twin, ())):
        each.add([3, 260], -vectors[[3, 260]], *day)
    assert len(index) == len(twin) == 1_000
    assert_same_hits(index, twin, -vectors[[3, 260]], 4)
    assert index.drop_before(14) == 998
    assert index.ids().tolist() == [3, 260]


def test_wrong_input_is_refused_and_changes_nothing(four_days, unit):
    index, _, _ = four_days
    days = index.days()
    for ids, vectors in (([3], unit(1, 15)), ([3], unit(2)), ([-1], unit(1)), ([2.5], unit(1)), ([3], unit(1) * 3)):
        with pytest.raises(InvalidError):
            index.add(ids, vectors, 14)
    for queries, k in ((unit(1, 15), 1), (unit(1), 0), (unit(1), 16_385)):
        with pytest.raises(InvalidError):
            index.search(queries, k)
    with pytest.raises(InvalidError):
        index.search(unit(1), 1, allowed=np.array([-4]))
    with pytest.raises(InvalidError, match="1 to 4096"):
        SegmentedIndex(0)
    assert (index.days(), len(index)) == (days, 1_000)


def test_readers_see_whole_changes_while_ids_move_from_day_to_day(unit):
    index = SegmentedIndex(16, flat_rows_max=100)
    vectors = unit(120)
    index.add(np.arange(120), vectors, 0)
    stop, failures, searches = threading.Event(), [], [0]

    def read():
        while not stop.is_set():
            ids, similarities = index.search(vectors[:4], 5)
            searches[0] += 1
            if ids[:, 0].tolist() != [0, 1, 2, 3] or similarities[:, 0].min() < 0.999 or len(index) != 120:
                failures.append(ids.tolist())
            if any(len(set(row)) < len(row) for row in ids.tolist()):
                failures.append(ids.tolist())

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for day in range(1, 25):
        # Whatever the day before held is taken over by this one, the four that are searched among them.
        index.add(np.arange(120), vectors, day)
        index.maintain()
    stop.set()
    for reader in readers:
        reader.join(timeout=30)
        assert not reader.is_alive()
    assert failures == []
    assert searches[0] > 0
    assert index.days() == [(24, 24)]


def test_only_segments_that_changed_are_written_again(four_days, tmp_path):
    index, _, vectors = four_days
    index.save(tmp_path / "i", last_vector=1, last_erasure=0)
    first = files(tmp_path / "i")
    assert len(first) == 5
    index.add([2_000], -vectors[:1], 13)
    index.save(tmp_path / "i", last_vector=2, last_erasure=0)
    second = files(tmp_path / "i")
    assert len(second) == 5
    assert len(first.items() & second.items()) == 3, "the closed segments stay as they are"

    index, *_ = SegmentedIndex.load(tmp_path / "i", 16, flat_rows_max=200)
    index.remove([255])
    index.save(tmp_path / "i", last_vector=2, last_erasure=1)
    third = files(tmp_path / "i")
    assert len(second.items() & third.items()) == 3, "after a restart too"
    index.remove([999_999])
    index.save(tmp_path / "i", last_vector=3, last_erasure=2)
    assert {name for name, _ in third.items() ^ files(tmp_path / "i").items()} == {"manifest"}


def test_retention_drops_files_and_writes_none(four_days, tmp_path):
    index, _, _ = four_days
    index.save(tmp_path / "i", last_vector=1, last_erasure=0)
    before = files(tmp_path / "i")
    index.drop_before(12)
    index.save(tmp_path / "i", last_vector=1, last_erasure=0)
    after = files(tmp_path / "i")
    assert len(after) == 3
    assert {name for name, _ in after.items() - before.items()} == {"manifest"}
    assert SegmentedIndex.load(tmp_path / "i", 16)[0].ids().tolist() == list(range(500, 1_000))


def test_another_folder_gets_every_segment(four_days, tmp_path):
    index, _, _ = four_days
    for name in ("one", "two", "one"):
        index.save(tmp_path / name, last_vector=1, last_erasure=0)
        assert SegmentedIndex.load(tmp_path / name, 16)[0].days() == index.days()


def test_an_empty_index_comes_back(tmp_path):
    SegmentedIndex(4).save(tmp_path / "i", last_vector=5, last_erasure=6)
    index, *sequences = SegmentedIndex.load(tmp_path / "i", 4)
    assert (len(index), sequences) == (0, [5, 6])


@pytest.fixture
def saved(four_days, tmp_path):
    four_days[0].save(tmp_path / "i", last_vector=1, last_erasure=0)
    return tmp_path / "i"


@pytest.mark.parametrize("pattern", ["manifest", "segment-*"])
def test_any_damage_to_any_file_is_refused(saved, pattern):
    for path in sorted(saved.glob(pattern)):
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 0x10
        for changed in (bytes(flipped), whole[:-1], whole + b"\0", whole[:20], b""):
            path.write_bytes(changed)
            with pytest.raises(UnavailableError, match="damaged"):
                SegmentedIndex.load(saved, 16)
        path.unlink()
        with pytest.raises(UnavailableError, match="cannot be read"):
            SegmentedIndex.load(saved, 16)
        path.write_bytes(whole)
    assert len(SegmentedIndex.load(saved, 16)[0]) == 1_000


def test_whole_files_that_do_not_belong_together_are_refused(saved):
    one, other = sorted(saved.glob("segment-*"))[:2]
    shutil.copy(other, one)
    with pytest.raises(UnavailableError, match="not the file that the manifest names"):
        SegmentedIndex.load(saved, 16)
    with pytest.raises(UnavailableError, match="of dim 16, not segments of 17"):
        SegmentedIndex.load(saved, 17)
    shutil.copy(other, saved / "manifest")
    with pytest.raises(UnavailableError, match="it holds parts"):
        SegmentedIndex.load(saved, 16)
    with pytest.raises(UnavailableError, match="cannot be read"):
        SegmentedIndex.load(saved / "none", 16)


class Killed(BaseException):
    """Nothing in the product catches it, as nothing catches a killed process."""


def changed_since(saved):
    """The saved index with a change in an old segment, one segment dropped, and a new day: two files to write."""
    index, *_ = SegmentedIndex.load(saved, 16, flat_rows_max=200)
    index.drop_before(11)
    index.remove([255, 256])
    index.add(np.arange(3_000, 3_020), np.eye(20, 16, dtype=np.float32) + np.eye(20, 16, -16, dtype=np.float32), 14)
    return index


def watch_steps(monkeypatch, before):
    """Call `before(step)` before each step that changes the disk; the first is step 0."""
    step = [-1]

    def watched(do):
        def call(*arguments, **named):
            step[0] += 1
            before(step[0])
            return do(*arguments, **named)

        return call

    monkeypatch.setattr(snapshot_module.os, "fsync", watched(os.fsync))
    monkeypatch.setattr(snapshot_module.os, "replace", watched(os.replace))
    monkeypatch.setattr(segments_module.Path, "unlink", watched(Path.unlink))
    monkeypatch.setattr(segments_module.Path, "open", watched(Path.open))


def assert_old_or_new(folder, new):
    """It loads as the old state (1,000 ids of sequence 1) or as the new; says which: 0 or 1."""
    index, *sequences = SegmentedIndex.load(folder, 16, flat_rows_max=200)
    assert sequences in ([1, 0], [2, 1])
    is_new = sequences == [2, 1]
    np.testing.assert_array_equal(index.ids(), new.ids() if is_new else np.arange(1_000))
    assert index.days() == (new.days() if is_new else [(10, 10), (11, 11), (12, 12), (13, 13)])
    return int(is_new)


def test_a_power_cut_between_any_two_steps_leaves_the_old_state_or_the_new(saved, tmp_path, monkeypatch):
    index = changed_since(saved)
    copies = []

    def keep(step):
        copies.append(tmp_path / f"copy-{step}")
        shutil.copytree(saved, copies[-1])

    # copytree opens its files past Path.open, so that it does not watch itself.
    with monkeypatch.context() as patch:
        watch_steps(patch, keep)
        index.save(saved, last_vector=2, last_erasure=1)
    keep("last")
    states = [assert_old_or_new(copy, index) for copy in copies]
    assert states == sorted(states), "once new it stays new"
    assert (states[0], states[-1]) == (0, 1)
    assert len(states) > 10


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), Killed()], ids=["refused", "killed"])
def test_a_save_that_ends_at_any_step_leaves_the_old_state_or_the_new(saved, tmp_path, monkeypatch, error):
    ended = 0
    for at in range(100):
        folder = tmp_path / f"run-{at}"
        shutil.copytree(saved, folder)
        index = changed_since(folder)

        def end(step, at=at):
            if step >= at:  # what would tidy up fails as well
                raise error

        try:
            with monkeypatch.context() as patch:
                watch_steps(patch, end)
                index.save(folder, last_vector=2, last_erasure=1)
        except (UnavailableError, OSError, Killed):
            ended += 1
        else:
            break
        assert_old_or_new(folder, index)
        # The process that goes on and the one that starts anew both save, and clear up.
        again, *_ = SegmentedIndex.load(folder, 16, flat_rows_max=200)
        for each in (index, again):
            each.save(folder, last_vector=2, last_erasure=1)
            assert len(list(folder.iterdir())) == 1 + len(each.days())
            assert SegmentedIndex.load(folder, 16)[0].ids().tolist() == each.ids().tolist()
    assert ended > 10
