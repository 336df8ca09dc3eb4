"""Prompts built like test items, in several languages, and ordinary requests that are not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.detection.item_forms import FORMS, item_form


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("Which metal is liquid at room temperature?\nA. iron\nB. mercury\nC. zinc", "options"),
        ("The river flows (A) north (B) south (C) west", "options"),
        ("下列哪种金属在常温下是液体？\nA. 铁\nB. 汞\nC. 锌", "options"),
        ("Pick what fits.\n  choice: a lamp\n  choice: a cloud", "options"),
        ("The capital of Peru is ____ and its river the Rimac.", "gap"),
        ("Paris is the [MASK] of France.", "gap"),
        ("Write a function that merges two sorted lists.", "program"),
        ('def merge(a, b):\n    """Merge two sorted lists.\n    >>> merge([1], [2])\n    [1, 2]\n    """', "program"),
        ("Ann had 12 pears and gave 5 away. How many pears has she left?", "calculation"),
        (
            "Two trains leave at noon, one twice as fast as the other. How long until they are fifty miles apart?",
            "calculation",
        ),
        ("小明有12个苹果，给了小红5个，还剩多少个苹果？一共是几个人分的呢？请计算。", "calculation"),
        ("Ana compra 3 cajas de 12 huevos. ¿Cuántos huevos tiene?", "calculation"),
    ],
)
def test_items_are_told_by_their_build(text: str, form: str) -> None:
    assert item_form(text) == form


@pytest.mark.parametrize(
    "text",
    [
        "best hiking boots 2025",
        "How many calories are in a banana?",
        "Translate this letter into German: Dear A. and dear B, see you on the 12th of May at 5.",
        "Why does my program crash when I open a file?",
        "What is the capital of Peru?",
        "Label the sentiment. Answer with one word only: the film was long.",
        "",
    ],
)
def test_ordinary_requests_are_no_items(text: str) -> None:
    assert item_form(text) == ""


@given(st.text())
def test_any_text_has_one_form_or_none(text: str) -> None:
    assert item_form(text) in (*FORMS, "")
