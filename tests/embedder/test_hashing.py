"""The model-free encoder: deterministic, unit rows, near where texts share words and spelling."""

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie.domain import CancelledRunError, InvalidError
from coterie.embedder import HashEncoder, load_encoder, self_test

TEXTS = st.text(min_size=1, max_size=60).filter(lambda text: bool(text) and not text.isspace())


@settings(deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=8))
def test_rows_are_unit_and_do_not_depend_on_their_neighbours(texts):
    encoder = HashEncoder(64)
    together = encoder.encode(texts)
    assert together.shape == (len(texts), 64)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    alone = np.vstack([encoder.encode([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_known_vector_stays_the_same_across_processes_and_versions():
    code = "from coterie.embedder import HashEncoder; print(HashEncoder(16).encode(['hello world'])[0].tolist())"
    here = HashEncoder(16).encode(["hello world"])[0]
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert here.tolist() == pytest.approx(json.loads(there.stdout))
    golden = [
        0.0,
        -0.67082,
        -0.22361,
        0.22361,
        0.0,
        0.22361,
        0.0,
        -0.22361,
        0.22361,
        0.22361,
        -0.22361,
        -0.22361,
        -0.22361,
        0.22361,
        -0.22361,
        0.0,
    ]
    assert here.tolist() == pytest.approx(golden, abs=1e-5)


def test_texts_that_share_words_are_nearer_than_texts_that_do_not():
    base, edited, other = HashEncoder().encode(
        [
            "Give the capital of the country named France and its population.",
            "Give the capital of the country named Norway and its population.",
            "My washing machine leaks water when it spins; whom should I call?",
        ]
    )
    assert base @ edited > 0.6
    assert base @ other < 0.3


def test_case_is_ignored_and_order_of_words_matters_little():
    one, upper, turned = HashEncoder().encode(["red green blue", "RED GREEN BLUE", "blue green red"])
    assert one @ upper == pytest.approx(1.0, abs=1e-5)
    assert 0.3 < one @ turned < 0.99


def test_repeated_words_count_sublinearly():
    rare, drowned = HashEncoder(1_024).encode(["beta", "beta " + "alpha " * 200])
    # Were a word counted as often as it stands there, this would be below 0.01.
    assert rare @ drowned > 0.08


def test_chunks_do_not_change_vectors(monkeypatch):
    texts = [f"question {number} about topic {number % 7}" for number in range(50)]
    whole = HashEncoder().encode(texts)
    monkeypatch.setattr("coterie.embedder.hashing._CHUNK_TEXTS", 7)
    seen: list[int] = []
    np.testing.assert_array_equal(HashEncoder().encode(texts, progress=seen.append), whole)
    assert seen == [7, 14, 21, 28, 35, 42, 49, 50]


def test_cancelling_stops():
    with pytest.raises(CancelledRunError):
        HashEncoder().encode(["a"], cancelled=lambda: True)


def test_no_texts_give_no_rows():
    assert HashEncoder(32).encode([]).shape == (0, 32)


@pytest.mark.parametrize("texts", [[""], ["fine", " \n\t"], "one string"])
def test_blank_texts_are_refused(texts):
    with pytest.raises(InvalidError):
        HashEncoder().encode(texts)


@pytest.mark.parametrize("text", ["!", "a", "\ud800", "\x00", "日本語の質問", "🙂🙂", "a" * 400_000])
def test_odd_texts_have_a_vector(text):
    vector = HashEncoder().encode([text])[0]
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


def test_names_give_dimensions():
    assert load_encoder("hash").model_id == "hash-256"
    assert load_encoder("hash-512").dim == 512
    for bad in ("hash-0", "hash-5000"):
        with pytest.raises(InvalidError, match="16 to 4096"):
            load_encoder(bad)


def test_passes_the_self_test():
    self_test(HashEncoder())


def test_neither_import_nor_use_loads_torch():
    code = (
        "import sys; from coterie.embedder import load_encoder; load_encoder('hash').encode(['a']);"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
