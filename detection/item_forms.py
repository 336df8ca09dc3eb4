"""Whether a prompt is built like an item of a test: options to choose from, a sum in words, a program to specification.

It is told from the build, not from the subject, so that items of benchmarks nobody registered are told as well. What
says how to answer ("only the letter") is left out: templates of apps say it round whatever their users ask.
"""

import re

FORMS = ("options", "gap", "program", "calculation")
"""What `item_form` tells, first come first."""

_CHARACTERS_MAX = 4_000
"""Characters of a prompt that are looked at: what lies behind them is a document."""

_CALCULATION_CHARACTERS = range(25, 1_201)
_WORDED_CALCULATION_CHARACTERS_MIN = 60

_OPTIONS = re.compile(
    r"(?:^|[\s(（])[(（]?A[.):：、）]\s*\S.{0,600}?[\s(（][(（]?B[.):：、）]\s*\S"
    r"|(?:\n\s*(?:choice|option|选项)\s*\w?\s*[:：][^\n]*){2}",
    re.DOTALL,
)
_GAP = re.compile(r"_{3,}|\[(?:MASK|BLANK)\]|<(?:mask|blank)>|…{2,}|（\s*）|\(\s{2,}\)")
_PROGRAM = re.compile(
    r"^\s*(?:def|class|function|func|fn|public static)\b[^\n]*[({:]|>>> |\bassert\b.*=="
    r"|\b(?:write|implement|create|complete|define)\b.{0,40}\b(?:function|method|program|class|script|query)\b",
    re.MULTILINE | re.IGNORECASE,
)
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_NUMBER_IN_WORDS = re.compile(
    r"\b(?:two|three|four|five|six|seven|eight|nine|ten|twelve|twenty|thirty|forty|fifty|half|twice|dozen|third|quarter)\b",
    re.IGNORECASE,
)
_QUANTITY = re.compile(
    r"\bhow (?:many|much|long|far|old|fast|tall|big|often|heavy)\b"
    r"|\bwhat(?:'s| is| was| will be| are| were| would be)? (?:the|his|her|their|its|percent|fraction|number|amount)\b"
    r"|\b(?:find|calculate|compute|determine|evaluate)\b"
    r"|\bcu[áa]nt[oa]s?\b|\bcombien\b|\bwie ?viele?\b|\bquant[oiae]s?\b|сколько|ngapi|몇|얼마"
    r"|多少|几|何[人個本枚円時]|いくつ|いくら|เท่าไ[รห]|กี่|কত|ఎంత|ఎన్ని",
    re.IGNORECASE,
)


def item_form(text: str) -> str:
    """Which of `FORMS` a prompt has, "" for none. Cost: linear in its first few thousand characters."""
    text = text[:_CHARACTERS_MAX]
    if _OPTIONS.search(text):
        return "options"
    if _GAP.search(text):
        return "gap"
    if _PROGRAM.search(text):
        return "program"
    return "calculation" if _is_calculation(text) else ""


def _is_calculation(text: str) -> bool:
    """Two numbers at least, and the question how much; in English they may be words."""
    if len(text) not in _CALCULATION_CHARACTERS or not _QUANTITY.search(text):
        return False
    digits = len(_NUMBER.findall(text))
    worded = len(_NUMBER_IN_WORDS.findall(text)) if len(text) >= _WORDED_CALCULATION_CHARACTERS_MIN else 0
    return digits + worded >= 2
