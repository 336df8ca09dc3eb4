"""What of two texts is compared to tell the same question from one on the same subject."""

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import ClassVar

SHINGLE_CHARACTERS = 8
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_WORD = re.compile(r"[^\W\d_]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_IDEOGRAPH = re.compile(r"[぀-ヿ㐀-鿿가-힯]")
_NO_SIGNS = re.compile(r"[\W_]+")
_DIGITS = re.compile(r"\d+")
_OPTION = re.compile(r"^\s*\(?[A-Ha-h1-8][.):]\s*(\S.*?)\s*$", re.MULTILINE)
_PROGRAM = re.compile(
    r"```|^\s*(?:def \w+\(|#include\b|func \w+\(|fn \w+[(<]|public (?:static|class)\b|function \w+\()", re.MULTILINE
)
_MARK_OF_CODE = re.compile(
    r"^\s*(?:class|import|from|private|const|let|var|package|using|return)\b|[;{}]\s*$|\w\(.*\)\s*[:{]", re.MULTILINE
)
_MARKS_OF_CODE_MIN = 2
_STEM_CHARACTERS = 5
"""Letters by which two words count as forms of one: crude, but the same in every language with an alphabet."""

_TO_TEN = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBER_WORDS = {
    **{word: str(value) for value, word in enumerate(_TO_TEN)},
    **{"eleven": "11", "twelve": "12", "dozen": "12", "thirteen": "13", "fourteen": "14", "fifteen": "15"},
    **{"sixteen": "16", "seventeen": "17", "eighteen": "18", "nineteen": "19", "twenty": "20", "thirty": "30"},
    **{"forty": "40", "fifty": "50", "sixty": "60", "seventy": "70", "eighty": "80", "ninety": "90"},
    **{"hundred": "100", "thousand": "1000", "once": "1", "twice": "2", "double": "2", "triple": "3", "half": "1/2"},
}
_COMMON = frozenset(
    """
    the and for are was were with that this what which how many much does did has have had from into per each
    all his her their its they she him them who whom why when where will would can could should than then there
    been but not you your more less least most about after before during between over under also only other
    another question answer following given find determine calculate compute write please task solve problem
    option true false none null return returns int float double char void bool boolean string str list array
    tuple dict def class import include stdio stdlib stdbool main const static public private printf println
    print cout std using namespace function func var let while else elif break continue range len length size
    sizeof struct type typing code program version example examples output input result results value values
    element elements python java javascript rust here test pass
    """.split()  # noqa: SIM905 - a list of so many words is unreadable
)
"""Words that say nothing of the subject: function words, what a task is asked with, and code's own words."""


@dataclass(frozen=True)
class Traits:
    """What of a text is compared, each made when it is first asked for: most pairs are told apart by a few of them.

    Attributes:
        text: its first characters, up to `CHARACTERS_MAX`.
    """

    text: str

    CHARACTERS_MAX: ClassVar[int] = 40_000
    """Characters of a text that are looked at."""

    @cached_property
    def shingles(self) -> frozenset[str]:
        """Runs of 8 letters and digits, case folded."""
        return _runs(self.signs)

    @cached_property
    def letter_shingles(self) -> frozenset[str]:
        """Runs of 8 letters, for texts whose numbers were changed."""
        return _runs(self.letters)

    @cached_property
    def length(self) -> int:
        """Letters and digits."""
        return len(self.signs)

    @cached_property
    def numbers(self) -> frozenset[str]:
        """As digits, however they are written in English or with separators."""
        return _numbers(self.text, self._words)

    @cached_property
    def asked_numbers(self) -> frozenset[str]:
        """The same without those of the options, which a hidden item often leaves out."""
        return self.numbers if self._asked == self.text else _numbers(self._asked, _words(self._asked))

    @cached_property
    def number_pairs(self) -> frozenset[tuple[str, str]]:
        """Digits that follow each other in the text, options left out."""
        return frozenset(pairwise(_canonical(number) for number in _NUMBER.findall(self._asked)))

    @cached_property
    def words(self) -> frozenset[str]:
        """Stems of the words that say something of the subject; ideographs one by one; parts of identifiers."""
        return frozenset(_stems(self._words))

    @cached_property
    def options(self) -> frozenset[str]:
        """The answers to choose from."""
        return frozenset(_NO_SIGNS.sub("", option.casefold()) for option in _OPTION.findall(self.text)) - {""}

    @cached_property
    def is_code(self) -> bool:
        """Whether it looks like a program."""
        return is_program(self.text)

    @cached_property
    def signs(self) -> str:
        """Its letters and digits, case folded."""
        return _NO_SIGNS.sub("", self.text.casefold())

    @cached_property
    def letters(self) -> str:
        """Its letters alone."""
        return _DIGITS.sub("", self.signs)

    @cached_property
    def _asked(self) -> str:
        return _OPTION.sub("", self.text)

    @cached_property
    def _words(self) -> list[str]:
        return _words(self.text)


def find_traits(text: str) -> Traits:
    """Everything of a text that pairs are compared by. Cost of all of it: the text's length, up to a bound."""
    return Traits(text[: Traits.CHARACTERS_MAX])


def is_program(text: str) -> bool:
    """Whether a text looks like a program, or holds one."""
    text = text[: Traits.CHARACTERS_MAX]
    return bool(_PROGRAM.search(text)) or len(_MARK_OF_CODE.findall(text)) >= _MARKS_OF_CODE_MIN


def _words(text: str) -> list[str]:
    return _WORD.findall(_CAMEL.sub(" ", text.replace("_", " ")).casefold())


def _numbers(text: str, words: list[str]) -> frozenset[str]:
    digits = {_canonical(number) for number in _NUMBER.findall(text)}
    return frozenset(digits.union(_NUMBER_WORDS[word] for word in words if word in _NUMBER_WORDS))


def share_held(held: frozenset[str], of: frozenset[str]) -> float:
    """The part of `of` that is in `held`; 1 where there is nothing to hold."""
    return len(held & of) / len(of) if of else 1.0


def may_hold(held: frozenset[str], signs: str, share_min: float) -> bool:
    """Whether some runs may hold that share of the distinct runs of the signs; what is not seldom ends after a few.

    There are at most as many distinct runs as places: where more of them are missing than the share leaves of the
    places, it is not reached.
    """
    width, places = _run_places(signs)
    left = int((1 - share_min) * places + 1e-9)  # .2 of 10 is 2, and not a little less
    missing: set[str] = set()
    for start in range(places):
        run = signs[start : start + width]
        if run not in held:
            missing.add(run)
            if len(missing) > left:
                return False
    return True


def agreement(one: frozenset[str], other: frozenset[str]) -> float:
    """Jaccard similarity; 1 where both are empty."""
    together = len(one | other)
    return len(one & other) / together if together else 1.0


def _runs(signs: str) -> frozenset[str]:
    width, places = _run_places(signs)
    return frozenset([signs[start : start + width] for start in range(places)])


def _run_places(signs: str) -> tuple[int, int]:
    """Length of a run, and at how many places one begins."""
    width = min(SHINGLE_CHARACTERS, max(1, len(signs)))
    return width, len(signs) - width + 1


def _canonical(number: str) -> str:
    """Digits without separators of thousands and without trailing zeros after the point."""
    whole, point, rest = number.rpartition(".")
    if point and "," not in rest and not (len(rest) == 3 and len(whole) <= 3 and whole not in ("", "0")):
        digits = f"{whole.replace(',', '').replace('.', '')}.{rest}".rstrip("0").rstrip(".")
    else:
        digits = re.sub(r"[.,](?=\d{3}(?:\D|$))", "", number).replace(",", ".")
    return digits.lstrip("0") or "0"


def _stems(words: list[str]) -> list[str]:
    stems = []
    for word in words:
        if not word.isascii() and _IDEOGRAPH.search(word):
            stems += _IDEOGRAPH.findall(word)
        elif len(word) >= 3 and word not in _COMMON and word not in _NUMBER_WORDS:
            stems.append(word[:_STEM_CHARACTERS])
    return stems
