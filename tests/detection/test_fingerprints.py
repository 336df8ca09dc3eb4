"""Items are found inside long texts, beside many others, and however they were added."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie.detection import FingerprintIndex, ProgramIndex
from coterie.detection.fingerprints import POSTINGS_MAX, SKETCH_HASHES, shingle_hashes

RNG = np.random.default_rng(0)
WORDS = ["".join(RNG.choice(list("abcdefghijklmnopqrstuvwxyz"), RNG.integers(3, 9))) for _ in range(2_000)]


def sentence(words=25):
    return " ".join(RNG.choice(WORDS, words))


def found(index, text):
    rows, items, shares = index.search([text])
    assert (rows == 0).all()
    return dict(zip(items.tolist(), shares.tolist(), strict=True))


def test_an_item_is_found_in_a_long_text_and_nothing_else_is():
    items = [sentence() for _ in range(500)]
    index = FingerprintIndex()
    index.add(items)
    wrapped = f"{sentence(400)}. 17: {items[123].upper()}, 18! {sentence(400)}"
    assert found(index, wrapped) == {123: 1.0}
    assert found(index, sentence(400)) == {}


def test_adding_in_parts_finds_the_same():
    items = [sentence() for _ in range(90)]
    whole, parts = FingerprintIndex(), FingerprintIndex()
    whole.add(items)
    for start in range(0, 90, 7):
        parts.add(items[start : start + 7])
    assert len(parts) == len(whole) == 90
    texts = [f"{sentence(5)} {item} {sentence(5)}" for item in items]
    for one, other in zip(whole.search(texts), parts.search(texts), strict=True):
        np.testing.assert_array_equal(one, other)
    assert whole.search(texts)[1].tolist() == list(range(90))


def test_half_of_an_item_is_no_certain_find():
    item = sentence(60)
    index = FingerprintIndex()
    index.add([item])
    shares = found(index, item[: len(item) // 2])
    assert all(share < 0.9 for share in shares.values())


def test_what_very_many_items_share_is_not_looked_up():
    frame = sentence(30)
    index = FingerprintIndex()
    index.add([frame] * (POSTINGS_MAX + 1))
    assert found(index, frame) == {}


def test_an_empty_index_and_no_texts_find_nothing():
    assert found(FingerprintIndex(), "whatever") == {}
    index = FingerprintIndex()
    index.add([])
    index.add(["some item or other"])
    assert all(len(column) == 0 for column in index.search([]))


@settings(deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=5))
def test_hashes_are_distinct_and_do_not_depend_on_the_neighbours(texts):
    hashes, owners = shingle_hashes(texts)
    for row, text in enumerate(texts):
        alone, _ = shingle_hashes([text])
        assert hashes[owners == row].tolist() == alone.tolist()
        assert (
            len(set(alone.tolist()))
            == len(alone)
            == len({text.ljust(8, "\0")[at : at + 8] for at in range(max(1, len(text) - 7))})
        )
    assert SKETCH_HASHES > 8


def test_a_port_is_found_by_what_it_keeps():
    tasks = [
        f'def {name}(values: list) -> int:\n    """ Return the {what}.\n    >>> {name}([{row}, 4])\n    """'
        for row, (name, what) in enumerate(
            [
                ("largest_gap", "largest gap between neighbours"),
                ("vowel_share", "share of vowels"),
                ("rotate_matrix", "matrix turned clockwise"),
                ("prime_factors", "prime factors in ascending order"),
            ]
        )
    ]
    index = ProgramIndex()
    index.add(["What is the largest gap in the Alps?", *tasks[:2]], 10)
    index.add(tasks[2:], 13)
    rows, items = index.search(
        ["tell me of prime factors", "```go\nfunc primeFactors(n int) []int {\n    // prime factors, ascending\n}\n```"]
    )
    assert set(rows.tolist()) == {1}
    assert items[0] == 14
