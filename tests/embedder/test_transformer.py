"""MiniLM through our batching against sentence-transformers itself."""

import threading
import warnings

import numpy as np
import pytest

from coterie.domain import CancelledRunError, InvalidError, UnavailableError
from coterie.embedder import DEFAULT_MODEL, load_encoder
from coterie.embedder.batching import padded
from coterie.embedder.loading import _packaged_folder

transformer = pytest.importorskip("coterie.embedder.transformer")

TEXTS = [
    "short",
    "What is the boiling point of water at two thousand metres?",
    "Summarise the following minutes. " + "The committee discussed the budget at length. " * 12,
    "Écris une phrase sur la mer.",
    "def add(a, b):\n    return a + b",
]


def cosine(one, other):
    return (one * other).sum(axis=1)


@pytest.fixture(scope="module")
def in_float32(minilm):
    return transformer.SentenceTransformerEncoder(
        _packaged_folder(DEFAULT_MODEL), DEFAULT_MODEL, device="cpu", bfloat16=False
    )


def test_agrees_with_sentence_transformers(in_float32):
    reference = in_float32._model.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(in_float32.encode(TEXTS), reference, atol=1e-5)


def test_bfloat16_stays_near_float32(in_float32):
    in_bfloat16 = transformer.SentenceTransformerEncoder(
        _packaged_folder(DEFAULT_MODEL), DEFAULT_MODEL, device="cpu", bfloat16=True
    )
    near = cosine(in_float32.encode(TEXTS), in_bfloat16.encode(TEXTS))
    assert near.min() > 0.9998
    assert near.min() < 1.0 - 1e-6, "the same arithmetic twice shows nothing"


def test_rows_are_unit_float32_in_the_order_of_the_texts(minilm):
    vectors = minilm.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), minilm.dim) == (5, 384)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)
    turned = minilm.encode(TEXTS[::-1])[::-1]
    assert cosine(vectors, turned).min() > 0.9999


def test_shelves_and_small_batches_change_nothing_but_noise(minilm, monkeypatch):
    texts = [f"{TEXTS[number % 5]} {number}" for number in range(23)]
    whole = minilm.encode(texts)
    monkeypatch.setattr(transformer, "_SHELF_TEXTS", 4)
    monkeypatch.setattr(minilm, "_batch_tokens", 64)
    seen: list[int] = []
    pieces = minilm.encode(texts, progress=seen.append)
    assert cosine(whole, pieces).min() > 0.9999
    assert seen == sorted(seen)
    assert seen[-1] == 23
    assert len(seen) > 6


def test_a_long_text_is_the_token_weighted_mean_of_its_windows(in_float32):
    # One token a word, 300 words: two windows of 150.
    words = ["sea", "tree", "house", "red", "stone"] * 60
    whole = in_float32.encode([" ".join(words)])
    parts = in_float32.encode([" ".join(words[:150]), " ".join(words[150:])])
    expected = parts.sum(axis=0, keepdims=True)
    assert cosine(whole, expected / np.linalg.norm(expected))[0] == pytest.approx(1.0, abs=1e-5)


def test_a_very_long_text_is_told_by_its_last_words_too(minilm):
    filler = "the river flows past the old mill and on to the sea " * 250
    plain, ended = minilm.encode([filler, filler + "chess openings and endgames for club players " * 60])
    chess = minilm.encode(["chess openings"])[0]
    assert ended @ chess > plain @ chess + 0.05


def test_texts_can_be_nothing_but_odd_characters(minilm):
    vectors = minilm.encode(["\ud800", "\u200b", "\x01", "🙂", "字" * 3_000])
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_no_texts_give_no_rows(minilm):
    assert minilm.encode([]).shape == (0, 384)


@pytest.mark.parametrize("texts", [[""], ["fine", "  "], "one string"])
def test_blank_texts_are_refused(minilm, texts):
    with pytest.raises(InvalidError):
        minilm.encode(texts)


def test_cancelling_stops_between_batches_and_leaves_the_model_usable(minilm, monkeypatch):
    monkeypatch.setattr(minilm, "_batch_tokens", 1)
    done: list[int] = []
    with pytest.raises(CancelledRunError):
        minilm.encode(["one", "two", "three", "four"], progress=done.append, cancelled=lambda: len(done) >= 2)
    assert len(done) == 2
    assert minilm.encode(["one"]).shape == (1, 384)


def test_threads_take_turns_and_get_their_own_vectors(minilm):
    expected = [minilm.encode([text]) for text in TEXTS]
    results: dict[int, np.ndarray] = {}

    def work(number):
        results[number] = minilm.encode([TEXTS[number]] * 3)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(TEXTS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    for number, vector in enumerate(expected):
        assert cosine(results[number], vector).min() > 0.9999


def test_a_device_short_of_memory_gets_smaller_batches_and_at_last_an_error(minilm, monkeypatch):
    torch = pytest.importorskip("torch")
    expected, forward, sizes = minilm.encode(TEXTS), minilm._forward, []

    def short_of_memory(windows, rows_max):
        sizes.append(len(windows))
        if len(windows) > rows_max:
            raise torch.OutOfMemoryError("out of memory")
        return forward(windows)

    monkeypatch.setattr(minilm, "_forward", lambda windows: short_of_memory(windows, 1))
    assert cosine(minilm.encode(TEXTS), expected).min() > 0.9999
    assert max(sizes) > 1
    monkeypatch.setattr(minilm, "_forward", lambda windows: short_of_memory(windows, 0))
    with pytest.raises(UnavailableError, match="not enough memory"):
        minilm.encode(TEXTS)


def test_prompt_of_a_model_goes_before_every_window(in_float32, monkeypatch):
    monkeypatch.setattr(in_float32._model, "prompts", {"query": "query: "})
    monkeypatch.setattr(in_float32._model, "default_prompt_name", "query")
    frame = in_float32._make_frame()
    monkeypatch.setattr(in_float32, "_frame", frame)
    reference = in_float32._model.encode(["how high is the tower"], normalize_embeddings=True)
    np.testing.assert_allclose(in_float32.encode(["how high is the tower"]), reference, atol=1e-5)
    assert frame.prompt_tokens > 1


def test_bfloat16_is_used_only_where_the_cpu_has_it(tmp_path):
    pytest.importorskip("torch")
    cpuinfo = tmp_path / "cpuinfo"
    for flags, expected in (("fpu avx2", False), ("fpu avx512_bf16", True), ("amx_bf16 fpu", True)):
        cpuinfo.write_text(f"processor: 0\nflags\t\t: {flags}\n")
        assert transformer.has_bfloat16("cpu", cpuinfo) is expected
    assert transformer.has_bfloat16("cpu", tmp_path / "absent") is False


@pytest.mark.gpu
def test_gpu_agrees_with_cpu(minilm):
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not torch.cuda.is_available():
            pytest.skip("torch sees no GPU")
    on_gpu = load_encoder(device="auto")
    assert on_gpu.device == "cuda"
    assert cosine(on_gpu.encode(TEXTS), minilm.encode(TEXTS)).min() > 0.999


def test_batches_tell_their_tokens_and_their_padding(minilm, monkeypatch):
    told = []
    monkeypatch.setattr(minilm, "on_batch", told.append)
    minilm.encode(TEXTS)
    lengths = [len(ids) + 2 for ids in minilm._tokenisers.now(TEXTS)]  # a token before and one behind
    assert sum(batch.windows for batch in told) == len(TEXTS)
    assert sum(batch.tokens for batch in told) == sum(lengths)
    (batch,) = told  # all fit in one
    assert batch.padded_tokens == len(TEXTS) * padded(max(lengths))
    assert batch.duration_s > 0
