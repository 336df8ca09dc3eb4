"""Several devices share one call; tested with encoders that compute nothing."""

import threading
import time

import numpy as np
import pytest

from coterie.domain import CancelledRunError, UnavailableError
from coterie.embedder import loading
from coterie.embedder.replicas import Replicas


class Fake:
    """Gives text "7" the vector of the angle 7; waits for `go` first."""

    model_id, dim = "fake", 2

    def __init__(self, device, fails=False):
        self.device, self.fails = device, fails
        self.calls, self.urgent = [], []
        self.go = threading.Event()
        self.go.set()
        self.starts_after = None

    def encode(self, texts, *, progress=None, cancelled=None, urgent=False, waited=None):
        while self.starts_after is not None and not self.starts_after.calls:
            time.sleep(0.001)
        self.calls.append(len(texts))
        self.urgent.append(urgent)
        assert self.go.wait(10)
        if self.fails:
            raise UnavailableError(f"{self.device} is out of memory")
        angles = np.array([float(text) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_every_text_gets_its_own_vector_and_every_device_works():
    fakes = [Fake(f"cuda:{number}") for number in range(3)]
    fakes[2].go.clear()  # one is slow: the others take its share
    fakes[0].starts_after = fakes[1].starts_after = fakes[2]
    replicas = Replicas(fakes, piece_texts=10)
    texts = [str(number) for number in range(205)]
    seen = []
    threading.Timer(0.3, fakes[2].go.set).start()
    vectors = replicas.encode(texts, progress=seen.append)
    np.testing.assert_allclose(vectors[:, 0], np.cos(np.arange(205)), atol=1e-5)
    assert seen == sorted(seen)
    assert seen[-1] == 205
    assert sum(sum(fake.calls) for fake in fakes) == 205
    assert fakes[2].calls[0] == 10
    assert sum(fakes[2].calls) < 105
    assert replicas.device == "cuda:0,cuda:1,cuda:2"


def test_a_query_goes_to_a_device_that_is_free():
    fakes = [Fake("cuda:0"), Fake("cuda:1")]
    replicas = Replicas(fakes)
    fakes[0].go.clear()
    busy = threading.Thread(target=replicas.encode, args=(["1"] * 5,))
    busy.start()
    while not fakes[0].calls:
        time.sleep(0.001)
    assert replicas.encode(["3"], urgent=True).shape == (1, 2)
    assert (fakes[1].calls, fakes[1].urgent) == ([1], [True])
    fakes[0].go.set()
    busy.join(10)


def test_the_error_of_one_device_ends_the_call():
    fakes = [Fake("cuda:0"), Fake("cuda:1", fails=True)]
    fakes[0].starts_after = fakes[1]
    replicas = Replicas(fakes, piece_texts=1)
    with pytest.raises(UnavailableError, match="cuda:1 is out of memory"):
        replicas.encode([str(number) for number in range(1_000)])
    with pytest.raises(CancelledRunError):
        Replicas([Fake("cuda:0")], piece_texts=1).encode(["1"] * 5, cancelled=lambda: True)


def test_auto_takes_every_gpu_and_a_named_device_one(tmp_path, monkeypatch):
    transformer = pytest.importorskip("coterie.embedder.transformer")
    monkeypatch.setattr(transformer, "gpus", lambda: 2)
    monkeypatch.setattr(transformer, "SentenceTransformerEncoder", lambda *_, device: Fake(device))
    assert loading._open(tmp_path, "fake", "auto").device == "cuda:0,cuda:1"
    assert loading._open(tmp_path, "fake", "cuda:1").device == "cuda:1"
