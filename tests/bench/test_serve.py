"""The bars of the service's benchmark say what was reached, and its data are what they claim to be."""

import numpy as np
import pytest

from bench.serve import data, run
from coterie.v1 import ingest_service_pb2


def test_a_mould_gives_batches_in_which_every_id_and_prompt_is_new():
    mould = data.mould(20, seed=3)
    seen = set()
    for number in range(5):
        stream = ingest_service_pb2.IngestRequest.FromString(mould.stream_request(number))
        unary = ingest_service_pb2.IngestBatchRequest.FromString(mould.unary_request(number))
        assert list(stream.exchanges) == list(unary.exchanges)
        seen |= {(exchange.exchange_id, exchange.prompt) for exchange in stream.exchanges}
    assert len({id_ for id_, _ in seen}) == len({prompt for _, prompt in seen}) == 100
    _, second = data.rows(20, 2, seed=3)
    again = ingest_service_pb2.IngestRequest.FromString(mould.stream_request(1)).exchanges
    assert [row[3] for row in second] == [exchange.prompt for exchange in again]


@pytest.mark.parametrize(("share", "reached"), [(0.49, False), (0.5, True)])
def test_a_bar_is_reached_or_missed(share, reached):
    durable = {"exchanges_per_s": 9_999, "memory_mb_at_a_fifth": 100, "memory_mb_at_the_end": 105}
    parts = {"ingest": {"result": {"share_of_raw": share, "durable": durable}}}
    found = {bar["bar"]: bar["reached"] for bar in run.bars(parts)}
    assert found == {
        "durable ingest over raw SQLite": reached,
        "durable exchanges/s": False,
        "memory at the end over memory at a fifth": True,
    }


def test_questions_are_rows_of_no_world(monkeypatch, tmp_path):
    real = np.random.default_rng(0).normal(size=(200, 16)).astype(np.float32)
    real /= np.linalg.norm(real, axis=1, keepdims=True)
    monkeypatch.setattr(data.cluster_data, "real_vectors", lambda *_: real)
    monkeypatch.setattr(data.cluster_data, "_texts", lambda *_: [f"text {row}" for row in range(200)])
    rows = data.world(tmp_path, 300, tmp_path, 0)
    questions = data.questions(tmp_path, 300, 20, tmp_path, 0)
    assert len(questions.texts) == len(questions.vectors) == 20
    assert float((questions.vectors @ rows.T).max()) < 0.999
    assert float((real @ rows.T).max()) > 0.999, "other real rows are in it"
