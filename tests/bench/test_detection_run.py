"""The whole command on small traffic, and its scores on a case made by hand."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.detection import ablations, bars, baselines, jobs, limits, measures, mmd, run, scenarios, summaries
from bench.detection.intervals import mean_interval, ratio_interval, share_interval
from bench.detection.jobs import Job, Outcome
from bench.detection.scenarios import Scenario
from bench.detection.trial import Trial, score
from bench.detection.vectors import VectorCache
from bench.detection.windows import make_window
from coterie.detection import Detection, Parameters
from coterie.domain import AccountId, Exchange, ExchangeId, Standing
from coterie.simulation import Config, Traffic

HOUR_US = measures.HOUR_US
MINUTE_US = HOUR_US // 60


@pytest.fixture
def vectors(tmp_path):
    return VectorCache(tmp_path / "cache", "hash-64")


def exchange(number: int, account: str, prompt: str, time_us: int = 0, organisation: str = "") -> Exchange:
    attributes = {"organisation": organisation} if organisation else {}
    return Exchange(ExchangeId(f"x{number}"), AccountId(account), time_us, prompt, attributes=attributes)


def traffic_of(truth: dict[str, dict[str, str]]) -> Traffic:
    return Traffic([exchange(number, name, "hello") for number, name in enumerate(truth)], truth)


def guilty(campaign: str, kind: str = "benchmark") -> dict[str, str]:
    return {"label": campaign, "kind": kind}


def innocent(kind: str, crowd: str = "") -> dict[str, str]:
    return {"label": "benign", "kind": kind} | ({"crowd": crowd} if crowd else {})


def test_the_command_writes_results_and_goes_on_where_it_was(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    small = {"accounts": 60, "campaigns": 2}
    table = (
        Scenario("easy", "mixes", {"mix": "easy", **small}),
        Scenario("cover_0", "curves", {"mix": "easy", **small}, at=0.0),
        Scenario("null", "null", {"mix": "null", "accounts": 60}),
        Scenario("futuristic", "mixes", {"no_such_option": 1}),
        Scenario("crammed", "mixes", {"accounts": 60, "campaigns": 50}),
    )
    monkeypatch.setattr(scenarios, "SCENARIOS", table)
    monkeypatch.setattr(limits, "SEEDS", limits.SEEDS[:2])
    out = tmp_path / "out"
    arguments = ["run", "--corpus", "builtin", "--model", "hash-64", "--accounts-max", "60", "--seeds", "1"]
    monkeypatch.setattr("sys.argv", [*arguments, "--cache", str(tmp_path / "cache"), "--out", str(out)])
    ran = []
    monkeypatch.setattr(jobs, "run_job", lambda job, *rest, _run=jobs.run_job: ran.append(job) or _run(job, *rest))

    run.main()
    assert [job.scenario.name for job in ran] == ["easy", "null"], "equal traffic is measured once"
    report = json.loads((out / "detection_mixes.json").read_text())
    easy = report["scenarios"]["easy"]
    assert set(easy["methods"]) == set(measures.METHODS)
    assert easy["methods"]["coterie"]["recall"]["n"] == 1
    assert easy["n"]["accounts"] == [60]
    assert len(easy["mmd"]) == 4
    drawn = easy["mmd"]["100 drawn at random"]["by_mix"]
    assert sum(row["windows"] for row in drawn) == easy["n"]["exchanges"][0] // 100
    assert report["scenarios"]["futuristic"]["not_run"] == ["the simulator has no option no_such_option"]
    assert "campaigns need at least" in report["scenarios"]["crammed"]["not_run"][0]
    assert report["split"] == "test"
    assert {"machine", "versions", "git_commit", "code", "limits", "definitions"} <= report.keys()
    null = json.loads((out / "detection_null.json").read_text())["scenarios"]["null"]
    assert null["methods"]["coterie"]["recall"] is None
    assert null["false_positives"]["coterie"]["public"]["value"] == 0.0
    curves = json.loads((out / "detection_curves.json").read_text())["scenarios"]
    assert curves["cover_0"]["methods"] == easy["methods"]
    assert "account recall" in (out / "detection_curves.svg").read_text()
    assert "| easy | **coterie** |" in (out / "RESULTS.md").read_text()

    ran.clear()
    run.main()
    assert ran == []
    assert "easy seed 1: known" in capsys.readouterr().err


def test_a_result_is_kept_under_all_that_it_depends_on(tmp_path, monkeypatch):
    setting = jobs.Setting(None, "test", "hash-64", tmp_path)
    job = Job(Scenario("easy", "mixes", {"mix": "easy"}), 1)

    def key(of: Job = job, under: jobs.Setting = setting) -> Path:
        return jobs._path(of, under)

    renamed = replace(job, scenario=replace(job.scenario, name="another name", group="curves", at=1.0))
    assert key(renamed) == key()
    others = {
        key(replace(job, seed=2)),
        key(replace(job, scenario=replace(job.scenario, settings={"mix": "hard"}))),
        key(replace(job, scenario=replace(job.scenario, measure="ablation"))),
        key(under=replace(setting, split="tune")),
        key(under=replace(setting, model="hash-128")),
        key(under=replace(setting, corpus=tmp_path)),
    }
    monkeypatch.setattr(jobs, "code_version", lambda: "changed")
    assert len({key(), *others}) == 7
    monkeypatch.undo()
    assert key() not in others


def test_the_version_of_the_code_changes_with_detection_and_not_with_the_pictures(tmp_path, monkeypatch):
    for name in ("detection/decision.py", "bench/detection/mmd.py", "bench/detection/plot.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    monkeypatch.setattr(jobs, "ROOT", tmp_path)
    before = jobs.code_version.__wrapped__()
    (tmp_path / "bench/detection/plot.py").write_text("2")
    assert jobs.code_version.__wrapped__() == before
    (tmp_path / "bench/detection/mmd.py").write_text("2")
    measured = jobs.code_version.__wrapped__()
    assert measured != before
    (tmp_path / "detection/decision.py").write_text("2")
    assert jobs.code_version.__wrapped__() not in (before, measured)


def test_an_unknown_scenario_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.argv", ["run", "--scenarios", "imaginary", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="no scenario or group is called imaginary"):
        run.main()


def test_scores_are_right_on_a_case_made_by_hand():
    truth = {name: guilty("one") for name in "abcd"} | {name: guilty("two", "probing/persona") for name in "ef"}
    truth |= {name: innocent("homework", "homework-1") for name in "uv"}
    truth |= {"w": innocent("homework", "homework-2"), "x": innocent("person"), "y": innocent("person")}
    scores = score([{"a", "b", "c", "u"}, {"e", "x"}], traffic_of(truth))
    assert (scores["accused"], scores["accused_guilty"], scores["guilty"]) == (6, 4, 6)
    assert scores["account_precision"] == pytest.approx(4 / 6)
    assert scores["account_recall"] == pytest.approx(4 / 6)
    # True pairs 6 + 1, found 6 + 1, both ab, ac, bc.
    assert scores["pairwise_f1"] == pytest.approx(2 * 3 / 14)
    assert {kind: sorted(found) for kind, found in scores["crowds"].items()} == {
        "homework": [[1, 0], [2, 1]],
        "person": [[1, 0], [1, 1]],
    }
    result = {
        "exchanges": 11,
        "accounts": 11,
        "methods": dict.fromkeys(measures.METHODS, scores),
        "mmd": {},
        "findings": [],
        "p_values": [],
        "nearest_p_values": [],
        "detect_cpu_s": 0.0,
        "job_cpu_s": 0.0,
    }
    scenario = Scenario("hand", "mixes", {})
    summary = summaries.summarise(scenario, [Outcome(Job(scenario, 1), result), Outcome(Job(scenario, 2), result)])
    assert summary["methods"]["coterie"]["innocent_accused"] == 4
    assert summary["recall_by_kind"]["benchmark"] == {"value": 0.75, "low": 0.75, "high": 0.75, "n": 2}
    assert summary["recall_by_evasion"]["persona"]["value"] == 0.5
    homework = summary["false_positives"]["coterie"]["homework"]
    assert (homework["accounts"], homework["n"], homework["value"]) == (6, 4, pytest.approx(1 / 3, abs=1e-4))
    assert homework["crowds_accused"] == 2
    assert 0 < homework["low"] < 1 / 3 < homework["high"] < 1


def test_intervals_hold_what_is_known_of_them():
    none, half = share_interval(0, 30), share_interval(5, 10)
    assert none is not None
    assert half is not None
    assert (none.low, none.high) == (0.0, pytest.approx(0.1135, abs=1e-4))
    assert (half.low, half.high) == (pytest.approx(0.2366, abs=1e-4), pytest.approx(0.7634, abs=1e-4))
    assert share_interval(0, 0) is None
    assert ratio_interval([], []) is None
    draws = np.random.default_rng(0).normal(0.5, 0.1, (200, 25))
    intervals = [mean_interval(row.tolist()) for row in draws]
    covered = np.mean([one is not None and one.low <= 0.5 <= one.high for one in intervals])
    assert 0.87 <= covered <= 0.99


def test_co_actions_count_near_duplicates_within_the_hour_by_customer(vectors):
    task = "Write a short poem about the quiet sea at night"
    rows = [
        exchange(0, "a", task, 0),
        exchange(1, "b", f"{task}!", 30 * MINUTE_US),
        exchange(2, "b", "What is the tallest mountain in Chile", 40 * MINUTE_US),
        exchange(3, "a", "What is the tallest mountain in Chile", 41 * MINUTE_US),
        exchange(4, "c", task, 150 * MINUTE_US),
        exchange(5, "s1", "Name three rivers", 0, "acme"),
        exchange(6, "s2", "Name three rivers", MINUTE_US, "acme"),
    ]
    window = make_window(sorted(rows, key=lambda row: row.time_us), vectors)
    pairs = baselines.coactions(window)
    assert pairs[2].tolist() == [2.0], "c came too late, and seats of one organisation are one customer"
    assert baselines.joined_above(window, pairs, 1.0) == [{"a", "b"}]
    assert baselines.joined_above(window, pairs, 2.0) == []


def test_twins_are_pairs_that_ask_alike_whether_or_not_a_text_is_shared(vectors):
    words = ["ocean", "forest", "river", "desert", "glacier", "valley", "island", "meadow", "canyon", "harbour"]
    words += ["lagoon", "prairie", "fjord", "plateau", "marsh", "tundra", "reef", "delta", "steppe", "volcano"]
    rows = [
        exchange(n, f"twin{n % 2}", f"Describe the climate of the {word} in detail") for n, word in enumerate(words)
    ]
    rows += [exchange(40 + n, "cook", f"recipe with {word} flavoured butter, quick") for n, word in enumerate(words)]
    window = make_window(rows, vectors)
    first, second, cosine = baselines.account_twins(window)
    members = baselines.principals(window)[0]
    by_pair = {frozenset().union(members[a], members[b]): c for a, b, c in zip(first, second, cosine, strict=True)}
    assert by_pair[frozenset({"twin0", "twin1"})] == pytest.approx(1.0, abs=0.1)
    assert by_pair[frozenset({"twin0", "cook"})] < 0


def test_the_mmd_window_test_flags_a_shift_and_not_the_same_again():
    draw = np.random.default_rng(3)
    benign = draw.normal(size=(4_000, 8)).astype(np.float32)
    reference = mmd.make_reference(benign[:2_000], 0)
    same = mmd.window_statistics(benign[2_000:], reference, 100)
    assert len(same) == 20
    assert abs(same.mean()) < 3 * same.std() / np.sqrt(20) + 1e-3, "unbiased: its mean is zero under the null"
    mixed = benign[2_000:3_000].copy()
    mixed[:500] = mixed[:500] * 0.2 + 1.0
    shifted = mmd.window_statistics(mixed, reference, 100)
    assert (shifted[:5] > same.max()).all()
    assert not (shifted[5:] > same.max()).any()


def test_ablations_skip_what_detection_no_longer_has_and_say_what_none_covers(monkeypatch):
    monkeypatch.setattr(ablations, "OFF", {"gone": {"no_such_limit": 1.0}, "texts": {"texts_min": 1, "gone_too": 0}})
    assert ablations.ablations() == {"texts": replace(Parameters(), texts_min=1)}
    assert "repeats_max" in ablations.uncovered()
    assert "texts_min" not in ablations.uncovered()


def test_what_a_campaign_leaks_is_counted_up_to_the_first_run_that_shows_it(vectors, monkeypatch):
    truth = (
        {name: guilty("one") for name in "abc"} | {name: guilty("two") for name in "def"} | {"z": innocent("person")}
    )
    events = [exchange(n, "abcdefz"[n % 7], f"question {n}", n * 10 * MINUTE_US) for n in range(70)]
    monkeypatch.setattr(measures, "detect", lambda window: window)
    # It sees campaign one once there are 18 exchanges, and mixes of two with innocents only.
    monkeypatch.setattr(
        measures, "campaigns_of", lambda window: [{"a", "b", "c"}, {"d", "z"}] if window.rows.size >= 18 else []
    )
    trial = Trial(Config(), vectors)
    trial.__dict__["traffic"] = Traffic(events, truth)
    leak = measures.measure_leak(trial, None)
    one, two = leak["campaigns"]
    assert one["found_at_hour"] == 3, "six exchanges an hour"
    assert (one["requests"], one["requests_leaked"]) == (30, 9)
    assert one["share_of_list"] == 0.3
    assert two["found_at_hour"] is None
    assert two["requests_leaked"] == two["requests"]


def test_p_values_are_read_once_a_pool():
    standings = (
        Standing(AccountId("a"), 1, nearest_candidate="family", nearest_p_value=0.2),
        Standing(AccountId("b"), 1, nearest_candidate="family", nearest_p_value=0.2),
        Standing(AccountId("c"), 1, nearest_candidate="community", nearest_p_value=0.01),
        Standing(AccountId("d"), 1),
    )
    assert measures.pool_p_values(Detection(standings=standings)) == [0.01, 0.2]


def test_calibration_counts_each_draw_once_and_p_values_of_innocent_traffic_alone():
    def outcome(name, seed, settings, guilty_accounts, p_values, confidence, right):
        finding = {"confidence": confidence, "accounts": 4, "guilty": right, "of_one_campaign": right}
        scores = {"coterie": {"guilty": guilty_accounts}}
        result = {"methods": scores, "p_values": p_values, "nearest_p_values": p_values[:2]}
        result["findings"] = [finding]
        return Outcome(Job(Scenario(name, "mixes", settings), seed), result)

    found = summaries.calibrate(
        [
            outcome("null", 1, {"mix": "null"}, 0, [0.005, 0.5, 0.7, 0.9], 0.92, 1),
            outcome("easy", 1, {"mix": "easy"}, 9, [0.001], 0.94, 4),
            outcome("cover_0", 1, {"mix": "easy"}, 9, [0.001], 0.94, 4),
        ]
    )
    assert (found["p_values"]["tested"], found["p_values"]["windows"]) == (4, 1)
    assert [row["share"]["value"] for row in found["p_values"]["levels"]] == [0.25, 0.25, 0.25]
    assert [row["share"]["value"] for row in found["nearest_p_values"]["levels"]] == [0.5, 0.5, 0.5]
    (row,) = [row for row in found["confidence"]["bins"] if row["findings"]]
    assert (row["from"], row["findings"], row["confidence"], row["right"]["value"]) == (0.9, 2, 0.93, 0.5)
    assert found["confidence"]["brier"] == pytest.approx((0.92**2 + 0.06**2) / 2, abs=1e-4)


def test_every_scenario_of_the_table_has_its_own_name_and_a_configuration_that_holds():
    names = [scenario.name for scenario in scenarios.SCENARIOS]
    assert len(set(names)) == len(names)
    setting = jobs.Setting(None, "test", "hash-64", Path("unused"))
    for scenario in scenarios.SCENARIOS:
        if not scenario.missing_options():
            assert setting.config(scenario, 1).seed == 1


def test_bars_are_held_against_what_was_measured():
    def scores(precision, recall, f1):
        return {"precision": {"value": precision}, "recall": {"value": recall}, "pairwise_f1": {"value": f1}}

    hard = {
        "methods": {"coterie": scores(0.98, 0.89, 0.9)},
        "recall_by_kind": {"probing": {"value": 0.59}, "benchmark": {"value": 1.0}},
    }
    rate = {"false_positives": {"coterie": {"lab": {"value": 0.0101}}}}
    run = {"exchanges": 100_000, "wall_s": 59.0, "peak_gb": 4.5}
    found = bars.bars(
        {
            "mixes": {"scenarios": {"hard": hard, "easy": {"not_run": ["too little text"]}}},
            "classes": {"scenarios": {"class_lab": rate}},
            "scale": {"scenarios": {"scale_100000": {"runs": [run]}}, "exponents": {"cpu_s": 1.2}},
        }
    )
    assert {bar.name: bar.met for bar in found} == {
        "hard: account precision": True,
        "hard: account recall": False,
        "hard: recall of the worst kind, probing": False,
        "hard: pairwise F1": True,
        "false positives of the worst class, lab": False,
        "100k exchanges, 10k accounts: wall seconds": True,
        "100k exchanges, 10k accounts: peak GB": False,
        "exponent of CPU seconds": True,
    }
