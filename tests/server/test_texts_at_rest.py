"""The whole service with texts encrypted, or dropped once they are embedded."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coterie.client import Client
from coterie.domain import BenchmarkItem, ConflictError, InvalidError, RunState, SearchFilter
from coterie.server import Config, Engine, local_server
from coterie.server.keys import new_key_file
from coterie.simulation import Config as Traffic
from coterie.simulation import simulate

CANARIES = (b"canary", b"please explain")


@pytest.fixture
def encrypting(config: Config, tmp_path: Path) -> Config:
    new_key_file(tmp_path / "key")
    return replace(config, texts="encrypt", text_key_file=str(tmp_path / "key"))


def found_in(config: Config) -> list[str]:
    paths = [path for path in config.data_dir.rglob("*") if path.is_file()]
    return [path.name for path in paths if any(canary in path.read_bytes() for canary in CANARIES)]


@pytest.mark.parametrize("bad", [{"texts": "maybe"}, {"texts": "encrypt"}, {"text_key_file": "key"}])
def test_a_setting_that_makes_no_sense_is_refused(bad: dict[str, str]) -> None:
    with pytest.raises(InvalidError):
        Config(**bad)  # type: ignore[arg-type]


def test_encrypted_the_service_works_and_the_files_tell_nothing(
    encrypting: Config, exchange: Any, until: Callable[..., None]
) -> None:
    sent = [
        exchange(number, response=f"canary answer {number}", system="canary system", attributes={"tier": "canary"})
        for number in range(60)
    ]
    with local_server(encrypting) as address, Client.connect(address, timeout_s=60) as client:
        client.ingest(sent)
        client.register_benchmark("quiz", [BenchmarkItem("i", "canary question", "canary answer")])
        until(lambda: client.stats().pending_texts == 0)
        hit = client.search(sent[7].prompt, k=1, filter=SearchFilter(attributes={"tier": "canary"})).hits[0]
        assert hit.exchange == sent[7]
        run = client.start_run()
        until(lambda: client.get_run(run.run_id).state.finished)
        assert client.get_run(run.run_id).state is RunState.DONE
        erasure = client.erase_account("account-1")
        assert erasure.proof is not None
        assert erasure.proof.complete
        assert erasure.proof.texts > 0
        assert found_in(encrypting) == []
    assert found_in(encrypting) == []
    with pytest.raises(ConflictError, match="began with texts = encrypt"):
        Engine.open(replace(encrypting, texts="keep", text_key_file=""))


def test_dropped_a_campaign_is_still_found_and_says_what_was_not_looked_at(
    config: Config, tmp_path: Path, finished: Callable[..., Any]
) -> None:
    traffic = simulate(Traffic(accounts=90, seed=3, responses=0.1, campaigns=2))
    engine = Engine.open(replace(config, texts="drop", recall_sample=0))
    try:
        for first in range(0, len(traffic.events), 1_000):
            engine.ingest(traffic.events[first : first + 1_000]).result()
        run = finished(engine, engine.start_run(None, None).run_id)
        assert run.state is RunState.DONE, run.error
        findings = engine.findings()[1]
        assert findings
        guilty = {name for name, entry in traffic.truth.items() if entry["label"] != "benign"}
        accused = {account.account_id for finding in findings for account in finding.accounts}
        assert len(accused & guilty) > len(accused) / 2
        for finding in findings:
            assert "texts_not_kept" in {item.name for item in finding.counter_evidence}
            assert not {"elicitation", "format_uniformity", "template"} & {
                item.name for item in (*finding.evidence, *finding.counter_evidence)
            }
        _, _, exemplars = engine.finding(findings[0].finding_id)
        assert exemplars
        assert all(item.prompt.startswith("(not kept: ") for item in exemplars)
        assert run.measures["texts_not_kept"] > 0
        assert "stripped_texts" not in run.measures
        engine.register_benchmark("quiz", [BenchmarkItem("i", "What is the capital of Peru?")])
        engine.dossier(findings[0].finding_id, with_text=True)
        prompts = [event.prompt.encode() for event in traffic.events[:200] if len(event.prompt) > 30]
    finally:
        engine.close()
    content = b"".join(path.read_bytes() for path in config.data_dir.rglob("*") if path.is_file())
    assert not [prompt for prompt in prompts if prompt in content]
