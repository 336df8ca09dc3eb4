"""The whole command, on a small world."""

import json

import numpy as np
import pytest

from bench.cluster import engines, run, tables
from bench.cluster.judge import Judge
from bench.cluster.quality import agreement, sample_of


def test_every_engine_that_is_ours_agrees_with_hdbscan(world):
    reference = engines.hdbscan(world.vectors, 0).label
    for name in ("exact", "coterie", "coterie_k15", "coterie_k60"):
        outcome = engines.ENGINES[name].run(world.vectors, 0)
        assert agreement(outcome.label, reference) > 0.9, name
        assert outcome.neighbours.shape == (1_000, engines.ENGINES[name].parameters.get("k"))
        assert not (outcome.neighbours == np.arange(1_000)[:, None]).any()


def test_the_command_writes_its_report_and_a_picture(real, tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    out = tmp_path / "results" / "cluster.json"
    # Those that compile nothing: the first call of the others takes most of a minute.
    arguments = ["run", "--sizes", "900,450", "--engines", "evoc,scikit_learn,hdbscan", "--time-limit", "60"]
    monkeypatch.setattr("sys.argv", [*arguments, "--out", str(out)])
    monkeypatch.setattr(run, "real_vectors", lambda corpus, n, cache: real)
    monkeypatch.setitem(engines.ENGINES, "evoc", engines.Engine(engines.evoc, "evoc", {}, rows_max=100))
    run.main()
    report = json.loads(out.read_text())
    done = {(one["engine"], one["n"]): one for one in report["runs"]}
    assert list(done) == [(name, n) for n in (450, 900) for name in ("hdbscan", "evoc", "scikit_learn")]
    assert done["hdbscan", 900]["quality"]["ari"] == 1.0
    assert done["scikit_learn", 900]["quality"]["ari"] > 0.99
    assert done["scikit_learn", 900]["quality"]["ari_reference"] == "hdbscan"
    assert done["evoc", 900]["status"] == "not run"
    assert set(report["exponents"]) == {"hdbscan", "scikit_learn"}
    assert set(report["cold"]) == {"hdbscan", "scikit-learn"}
    assert report["machine"]["cores"] >= 1
    assert report["versions"]["numpy"] == np.__version__
    assert "scikit-learn" in out.with_suffix(".svg").read_text()
    printed = capsys.readouterr().out
    assert "evoc: not run: above 100 rows" in printed
    assert printed.rstrip().endswith(f"wrote {out} and {out.with_suffix('.svg')}")


def test_the_judge_holds_labels_against_the_first_reference_and_tells_every_labelling(world, tmp_path):
    sample = sample_of(1_000, 0)
    judge = Judge(world, sample)
    for name in ("exact", "peer"):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "label.npy", world.label.clip(-1))
    np.save(tmp_path / "peer" / "other-finest.npy", np.arange(1_000, dtype=np.int32))
    outcome = engines.exact(world.vectors, 0, 15)
    np.save(tmp_path / "exact" / "neighbours.npy", outcome.neighbours[sample])
    (reference,) = judge.results({"engine": "exact", "cpu_s": 1.0}, tmp_path / "exact")
    assert reference["quality"]["graph_recall"]["all"] == 1.0
    peer, finest = judge.results({"engine": "peer", "cpu_s": 2.0, "clusters": 3}, tmp_path / "peer")
    assert (peer["quality"]["ari"], peer["quality"]["ari_reference"]) == (1.0, "exact")
    assert peer["quality"]["family_recall"]["all"] == 1.0
    assert (finest["engine"], finest["same_call_as"], finest["clusters"]) == ("peer_finest", "peer", 1_000)
    assert finest["quality"]["family_recall"]["all"] == 0.0
    assert finest["quality"]["ari"] < 0.01


def test_an_unknown_engine_is_refused(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["run", "--engines", "coterie,guess"])
    with pytest.raises(SystemExit):
        run.main()
    assert "no engine guess" in capsys.readouterr().err


def test_a_missing_corpus_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.argv", ["run", "--corpus", str(tmp_path)])
    with pytest.raises(SystemExit, match="COTERIE_CORPUS"):
        run.main()


def test_the_table_shows_what_ran_and_says_what_did_not(capsys):
    shares = {"all": 0.5, "loose": 0.25, "medium": None, "tight": 1.0}
    ran = {
        **{"engine": "coterie", "n": 10, "seed": 0, "status": "ok", "cpu_s": 1.25, "wall_s": 0.5, "peak_gb": 0.1},
        **{"first_call_s": 3.0, "clusters": 1_234},
        "quality": {"family_recall": shares, "ari": 0.9751, "purity": None, "background_clustered": 0.015},
    }
    failed = {"engine": "evoc", "n": 10, "seed": 0, "status": "failed", "reason": "ValueError: [n]"}
    tables.print_tables({"runs": [ran, failed], "living": [failed], "exponents": {}, "cold": {}})
    printed = capsys.readouterr().out
    for shown in (
        "1.25",
        "1,234",
        "0.975",
        "0.500: 0.25",
        "0.015",
        "evoc: failed: ValueError: [n]",
        "living graph, 10",
    ):
        assert shown in printed
