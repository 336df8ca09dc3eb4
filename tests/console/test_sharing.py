"""What texts have in common is marked, and nothing is lost."""

from hypothesis import given
from hypothesis import strategies as st

from coterie.console.sharing import shared_parts


def test_runs_of_shared_words_are_marked_whatever_their_case() -> None:
    first, second = shared_parts(["Name the capital of Peru", "please NAME THE CAPITAL of Chile"])
    assert first == [("Name the capital of", True), (" Peru", False)]
    assert second == [("please ", False), ("NAME THE CAPITAL of", True), (" Chile", False)]


def test_fewer_words_than_a_run_are_not_marked() -> None:
    assert shared_parts(["the tide", "the tide"]) == [[("the tide", False)], [("the tide", False)]]


def test_one_text_shares_nothing_with_itself() -> None:
    assert shared_parts(["again and again and again and again"]) == [[("again and again and again and again", False)]]


@given(st.lists(st.text(alphabet="ab ,\n'", max_size=40), max_size=5))
def test_the_pieces_make_the_text(texts: list[str]) -> None:
    parts = shared_parts(texts)
    assert ["".join(piece for piece, _ in row) for row in parts] == texts
