"""When two texts are the same text."""

import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coterie.domain import normalise, text_digest

SPACED = st.text(
    st.one_of(st.sampled_from(" \t\n\r\x0b\x0c\x1c\x85\xa0\u2003\u2028\u3000\u200b\u0308\u0301Ae"), st.characters())
)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("", ""),
        (" \n\t\u3000", ""),
        ("  two \r\n\n words\t", "two words"),
        ("no\xa0break", "no break"),
        ("cafe\u0301", "café"),
        ("Case, and: punctuation!", "Case, and: punctuation!"),
        ("ﬁ ①", "ﬁ ①"),  # NFC, not NFKC: look-alikes stay apart
        ("zero\u200bwidth", "zero\u200bwidth"),
    ],
)
def test_whitespace_and_composition_do_not_count_and_all_else_does(text: str, normal: str) -> None:
    assert normalise(text) == normal


@given(SPACED)
@example("a \u0308b")
def test_it_is_the_obvious_definition(text: str) -> None:
    assert normalise(text) == re.sub(r"\s+", " ", unicodedata.normalize("NFC", text)).strip()


@given(SPACED)
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


def test_the_digest_is_blake2b_128_of_utf_8() -> None:
    # Stored in every database: it must never change.
    assert text_digest("").hex() == "cae66941d9efbd404e4d88758ea67670"
    assert text_digest("what is a café?").hex() == "d84ea23b576cb3eb106b6f58080addcd"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), unique=True, max_size=8))
def test_other_texts_have_other_digests(texts: list[str]) -> None:
    digests = {text_digest(text) for text in texts}
    assert len(digests) == len(texts)
    assert all(len(digest) == 16 for digest in digests)
