"""Scores against examples worked out by hand."""

import json
from pathlib import Path

import pytest

from coterie.domain import InvalidError
from coterie.simulation import ClassScore, Config, evaluate, simulate, write_traffic

TRUTH = {
    "a1": {"label": "north", "kind": "benchmark"},
    "a2": {"label": "north", "kind": "benchmark"},
    "a3": {"label": "north", "kind": "benchmark"},
    "b1": {"label": "south", "kind": "probing"},
    "b2": {"label": "south", "kind": "probing"},
    "p1": {"label": "benign", "kind": "person"},
    "p2": {"label": "benign", "kind": "person"},
    "h1": {"label": "benign", "kind": "homework"},
    "silent": {"label": "benign", "kind": "person"},
}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    lines = [
        json.dumps(
            {"exchange_id": f"{account}-{n}", "account_id": account, "time": "2026-03-02T00:00:00Z", "prompt": "x"}
        )
        for account in TRUTH
        if account != "silent"
        for n in range(2)
    ]
    (tmp_path / "events.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "truth.json").write_text(json.dumps(TRUTH))
    return tmp_path / "events.jsonl", tmp_path / "truth.json"


def finding(*accounts: str, kind: str = "campaign") -> dict[str, object]:
    return {"kind": kind, "accounts": [{"account_id": account} for account in accounts]}


def test_hand_computed_example(files: tuple[Path, Path]) -> None:
    scores = evaluate([finding("a1", "a2", "h1"), finding("b1", "b2"), finding("p1", kind="benchmark_run")], *files)
    assert (scores.exchanges, scores.accounts, scores.guilty, scores.accused, scores.accused_guilty) == (16, 8, 5, 5, 4)
    assert scores.precision == 4 / 5
    assert scores.recall == 4 / 5
    # True pairs: 3 in north, 1 in south. Found: a1a2 a1h1 a2h1 b1b2. Both: a1a2 b1b2.
    assert (scores.pairs_true, scores.pairs_found, scores.pairs_both) == (4, 4, 2)
    assert scores.pairwise_f1 == 0.5
    assert [(score.name, score.recall) for score in scores.campaigns] == [("north", 2 / 3), ("south", 1.0)]
    rates = {score.kind: (score.accused, score.accounts, score.false_positive_rate) for score in scores.classes}
    assert rates == {"homework": (1, 1, 1.0), "person": (0, 2, 0.0)}
    assert scores.findings == 2


def test_json_and_rows_say_the_same(files: tuple[Path, Path]) -> None:
    scores = evaluate([finding("a1", "a2")], *files)
    record = json.loads(json.dumps(scores.to_json()))
    assert record["account_recall"] == scores.recall == 0.4
    assert record["campaigns"][0] == {"name": "north", "kind": "benchmark", "accounts": 3, "found": 2, "recall": 2 / 3}
    rows = {name: (value, detail) for name, value, detail in scores.rows()}
    assert rows["account recall"] == ("0.400", "2 of 5 guilty")
    assert rows["false positives: person"] == ("0.000", "0 of 2 accounts, 0 of 2 crowds; 95 % 0.000 to 0.658")
    assert len(rows) == 4 + len(record["campaigns"]) + len(record["classes"]) + len(record["hiding"])


def test_no_accusation_is_precise_and_finds_nothing(files: tuple[Path, Path]) -> None:
    scores = evaluate([], *files)
    assert (scores.precision, scores.recall, scores.pairwise_f1) == (1.0, 0.0, 0.0)


def test_nobody_guilty(files: tuple[Path, Path]) -> None:
    files[1].write_text(json.dumps({account: {"label": "benign", "kind": "person"} for account in TRUTH}))
    quiet, loud = evaluate([], *files), evaluate([finding("p1")], *files)
    assert (quiet.precision, quiet.recall, quiet.pairwise_f1) == (1.0, 1.0, 1.0)
    assert (loud.precision, loud.recall) == (0.0, 1.0)


def test_an_account_in_two_findings_counts_once(files: tuple[Path, Path]) -> None:
    scores = evaluate([finding("a1", "a2"), finding("a2", "a3")], *files)
    assert (scores.accused, scores.pairs_found, scores.pairs_both) == (3, 2, 2)


def test_perfect_findings_on_simulated_traffic(tmp_path: Path) -> None:
    traffic = simulate(Config(seed=1, accounts=80))
    write_traffic(traffic, tmp_path)
    groups: dict[str, list[str]] = {}
    for account, entry in traffic.truth.items():
        if entry["label"] != "benign":
            groups.setdefault(entry["label"], []).append(account)
    found = [finding(*members) for members in groups.values()]
    scores = evaluate(found, tmp_path / "events.jsonl", tmp_path / "truth.json")
    assert (scores.precision, scores.recall, scores.pairwise_f1) == (1.0, 1.0, 1.0)
    assert scores.exchanges == len(traffic.events)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a1": "north"}', '{"a1": {"label": "north"}}', "\xff"])
def test_bad_truth_is_named(files: tuple[Path, Path], text: str) -> None:
    files[1].write_text(text, encoding="latin-1")
    with pytest.raises(InvalidError) as caught:
        evaluate([], *files)
    assert caught.value.field == "truth"
    assert "truth.json" in str(caught.value)


@pytest.mark.parametrize("text", ["", "\n", "{", "[]", "{}", '{"account_id": 5}'])
def test_bad_events_are_named(files: tuple[Path, Path], text: str) -> None:
    files[0].write_text(text)
    with pytest.raises(InvalidError) as caught:
        evaluate([], *files)
    assert caught.value.field == "events"
    assert "events.jsonl" in str(caught.value)


def test_missing_files_are_named(tmp_path: Path, files: tuple[Path, Path]) -> None:
    with pytest.raises(InvalidError, match="cannot be read"):
        evaluate([], tmp_path / "none.jsonl", files[1])
    with pytest.raises(InvalidError, match="cannot be read"):
        evaluate([], files[0], tmp_path / "none.json")


def test_findings_of_other_traffic_are_refused(files: tuple[Path, Path]) -> None:
    with pytest.raises(InvalidError, match="other"):
        evaluate([finding("stranger", "a1")], *files)
    with pytest.raises(InvalidError, match="account_id"):
        evaluate([{"kind": "campaign", "accounts": [{"id": "a1"}]}], *files)
    files[1].write_text('{"a1": {"label": "benign", "kind": "person"}}')
    with pytest.raises(InvalidError, match="not in"):
        evaluate([], *files)


def _crowds(path: Path, accused_of: list[int], size: int = 10) -> ClassScore:
    """The score of one class of crowds of which so many members are accused."""
    truth, accused = {}, []
    for crowd, count in enumerate(accused_of):
        for number in range(size):
            account = f"c{crowd}-{number}"
            truth[account] = {"label": "benign", "kind": "exam_bank", "crowd": f"exam_bank-{crowd}"}
            accused += [account] if number < count else []
    (path / "truth.json").write_text(json.dumps(truth))
    (path / "events.jsonl").write_text("".join(json.dumps({"account_id": account}) + "\n" for account in truth))
    scores = evaluate([finding(*accused)] if accused else [], path / "events.jsonl", path / "truth.json")
    return scores.classes[0]


def test_a_class_counts_its_crowds(tmp_path: Path) -> None:
    score = _crowds(tmp_path, [10, 0, 3] + [0] * 27)
    assert (score.accounts, score.accused, len(score.crowds), score.crowds_accused) == (300, 13, 30, 2)


def test_interval_is_wider_when_the_accused_sit_in_one_crowd(tmp_path: Path) -> None:
    together = _crowds(tmp_path, [10] + [0] * 29)
    apart = _crowds(tmp_path, [1] * 10 + [0] * 20)
    assert together.false_positive_rate == apart.false_positive_rate == 10 / 300
    # All of a crowd or none: each crowd is one observation, 1 of 30 (Wilson: 0.006 to 0.167).
    assert together.interval == pytest.approx((0.006, 0.167), abs=0.005)
    assert apart.interval[1] < 0.07


def test_nobody_accused_counts_each_crowd_once(tmp_path: Path) -> None:
    score = _crowds(tmp_path, [0] * 30)
    assert score.interval == pytest.approx((0.0, 0.1135), abs=0.001)


def test_recall_by_way_of_hiding_counts_a_campaign_in_each(files: tuple[Path, Path]) -> None:
    kinds = {"north": "benchmark/contiguous+cover50", "south": "probing/contiguous"}
    truth = {account: entry | {"kind": kinds.get(entry["label"], entry["kind"])} for account, entry in TRUTH.items()}
    files[1].write_text(json.dumps(truth))
    scores = evaluate([finding("a1", "a2")], *files)
    found = {score.way: (score.campaigns, score.accounts, score.found) for score in scores.hiding}
    assert found == {"contiguous": (2, 5, 2), "cover50": (1, 3, 2)}
