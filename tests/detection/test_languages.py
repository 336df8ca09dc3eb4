"""The language of a text as a small number."""

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie.detection import LANGUAGES, detect_languages

SENTENCES = {
    "am": "የኢትዮጵያ ዋና ከተማ ማን ናት?",
    "ar": "ما هي عاصمة أستراليا وكم عدد سكانها؟",
    "bn": "অস্ট্রেলিয়ার রাজধানী কী?",
    "de": "Wie heißt die Hauptstadt von Australien, und wie viele Menschen wohnen dort?",
    "el": "Ποια είναι η πρωτεύουσα της Αυστραλίας;",
    "en": "What is the capital of Australia, and how many people live there?",
    "es": "¿Cuál es la capital de Australia y cuántas personas viven allí?",
    "fa": "پایتخت استرالیا کجاست و چند نفر در آن زندگی می‌کنند؟",
    "fr": "Quelle est la capitale de l'Australie et combien de personnes y habitent ?",
    "he": "מהי בירת אוסטרליה?",
    "hi": "ऑस्ट्रेलिया की राजधानी क्या है और वहाँ कितने लोग रहते हैं?",
    "id": "Apa ibu kota Australia dan berapa banyak orang yang tinggal di sana?",
    "it": "Qual è la capitale dell'Australia e quante persone ci vivono?",
    "ja": "オーストラリアの首都はどこですか。",
    "ko": "오스트레일리아의 수도는 어디입니까?",
    "nl": "Wat is de hoofdstad van Australië en hoeveel mensen wonen daar?",
    "pl": "Jaka jest stolica Australii i ile osób tam mieszka?",
    "pt": "Qual é a capital da Austrália e quantas pessoas vivem lá?",
    "ru": "Какая столица Австралии и сколько там живёт людей?",
    "sw": "Mji mkuu wa Australia ni upi na watu wangapi wanaishi huko?",
    "te": "ఆస్ట్రేలియా రాజధాని ఏది?",
    "th": "เมืองหลวงของออสเตรเลียคือเมืองอะไร",
    "tr": "Avustralya'nın başkenti neresidir ve orada kaç kişi yaşıyor?",
    "uk": "Яка столиця Австралії і скільки там живе людей?",
    "zh": "澳大利亚的首都是哪里？",
}


def names(texts):
    return [LANGUAGES[code] for code in detect_languages(texts)]


def test_every_language_is_told_from_a_sentence():
    assert dict(zip(SENTENCES, names(list(SENTENCES.values())), strict=True)) == {name: name for name in SENTENCES}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("", "und"),
        ("17 + 4 = ?", "und"),
        ("🙂 \ud800", "und"),
        ("OK", "Latn"),
        ("Müller", "Latn"),
        ("Москва", "Cyrl"),
    ],
)
def test_too_little_text_falls_back_to_its_script(text, name):
    assert names([text]) == [name]


def test_the_script_of_most_of_the_text_decides():
    assert names(["请解释 Python 中的 list comprehension 是什么"]) == ["zh"]
    assert names(["What does 你好 mean, and when would a native speaker use it rather than 您好?"]) == ["en"]
    assert names(["東京大学の入学試験について教えて"]) == ["ja"]


def test_the_answer_does_not_depend_on_the_neighbours():
    texts = list(SENTENCES.values())
    together = detect_languages(texts * 400)  # beyond one block
    assert together.dtype == np.int16
    np.testing.assert_array_equal(together, np.tile(detect_languages(texts), 400))


@settings(deadline=None)
@given(st.lists(st.text(max_size=40), max_size=6))
def test_any_text_has_a_code(texts):
    codes = detect_languages(texts)
    assert codes.shape == (len(texts),)
    assert ((codes >= 0) & (codes < len(LANGUAGES))).all()
    has_no_letter = [text.isascii() and not any(character.isalpha() for character in text) for text in texts]
    assert (codes[has_no_letter] == 0).all()


@pytest.mark.corpus
def test_real_questions_are_told_right():
    root = Path(__file__).resolve().parents[2]
    folder = Path(os.environ.get("COTERIE_CORPUS") or root.parent / "shared" / "data")
    path = folder / "C_miracl_multilingual.jsonl.gz"
    if not path.is_file():
        pytest.skip(f"no corpus at {folder}: set COTERIE_CORPUS")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines][::12]
    found = np.array(names([record["text"] for record in records]))
    truth = np.array([record["lang"] for record in records])
    right = {name: float((found[truth == name] == name).mean()) for name in sorted(set(truth))}
    assert min(right.values()) > 0.85, right
    assert (found == truth).mean() > 0.97
