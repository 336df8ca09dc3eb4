"""DataFrames of what a client returns, against the values themselves."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from coterie.client import frames
from coterie.domain import (
    Evidence,
    Exchange,
    Family,
    FamilyLineage,
    Finding,
    FindingAccount,
    FindingKind,
    Hit,
    ReviewState,
    Run,
    RunState,
    SearchResult,
    Severity,
)

START_US = 1_767_225_600_000_001  # a microsecond into 2026
FINDING = Finding(
    finding_id="f-1",
    kind=FindingKind.CAMPAIGN,
    severity=Severity.HIGH,
    confidence=0.9,
    title="2 accounts share out 7 prompts",
    accounts=(
        FindingAccount("a", 4, 3, 0.5, START_US, START_US + 1),
        FindingAccount("b", 3, 3, 1.0, START_US, START_US + 2),
    ),
    families=(),
    benchmarks=(),
    first_seen_us=START_US,
    last_seen_us=0,
    evidence=(Evidence("partition", "pairs", 0.0, "as others", "No repeats.", 0.0005),),
    counter_evidence=(Evidence("history", "share", 0.25, "none", "Some were there before."),),
    exemplars=("x",),
    review=ReviewState.WATCHED,
    run_id="r-1",
)
EXCHANGE = Exchange("x", "a", START_US, "why?", turn=3, cost_usd=0.5, attributes={"asn": "AS1"})
RUN = Run("r-1", RunState.DONE, START_US, started_us=START_US + 5, measures={"texts": 7.0})
FAMILY = Family("family-1", 5, 9, 2, FamilyLineage.BORN, 0.4, "x", START_US, START_US)


def test_findings_are_a_row_each_with_counts():
    made = frames.findings(("r-1", [FINDING, replace(FINDING, finding_id="f-2", accounts=())]))
    assert made["finding_id"].tolist() == ["f-1", "f-2"]
    assert made["accounts"].tolist() == [2, 0]
    assert made["exchanges"].tolist() == [7, 0]
    assert made["severity"].tolist() == ["high", "high"]
    assert made["review"].tolist() == ["watched", "watched"]
    assert made["confidence"].sum() == pytest.approx(1.8)


def test_times_are_utc_to_the_microsecond_and_none_is_nat():
    made = frames.findings([FINDING])
    assert str(made["first_seen"].dtype) == "datetime64[us, UTC]"
    assert made["first_seen"][0] == pd.Timestamp("2026-01-01T00:00:00.000001Z")
    assert made["last_seen"].isna().tolist() == [True]


@pytest.mark.parametrize("given", [FINDING, [FINDING], ("r-1", [FINDING])], ids=["one", "several", "a listing"])
def test_accounts_and_evidence_of_one_finding_or_of_several(given):
    accounts = frames.accounts(given)
    assert list(zip(accounts["finding_id"], accounts["account_id"], strict=True)) == [("f-1", "a"), ("f-1", "b")]
    assert accounts["share_of_traffic"].tolist() == [0.5, 1.0]
    evidence = frames.evidence(given)
    assert evidence[["speaks", "name", "value"]].to_numpy().tolist() == [
        ["for", "partition", 0.0],
        ["against", "history", 0.25],
    ]
    assert evidence["p_value"][0] == 0.0005
    assert np.isnan(evidence["p_value"][1])


def test_exchanges_with_a_column_for_each_label_and_nan_for_the_unknown():
    made = frames.exchanges([EXCHANGE, replace(EXCHANGE, exchange_id="y", turn=None, attributes={"payment": "card"})])
    assert made["turn"][0] == 3
    assert np.isnan(made["turn"][1])
    assert made["attributes.asn"].isna().tolist() == [False, True]
    assert made["attributes.payment"].tolist()[1] == "card"
    assert "similarity" not in made


@pytest.mark.parametrize("given", [SearchResult((Hit(EXCHANGE, 0.5),)), [Hit(EXCHANGE, 0.5)]])
def test_hits_have_their_similarity(given):
    made = frames.exchanges(given)
    assert made["similarity"].tolist() == [0.5]
    assert made["exchange_id"].tolist() == ["x"]


def test_a_watched_run_is_a_row_each_time():
    made = frames.runs(iter([replace(RUN, state=RunState.RUNNING, measures={}), RUN]))
    assert made["state"].tolist() == ["running", "done"]
    assert made["measures.texts"].isna().tolist() == [True, False]
    assert made["finished"].isna().all()


def test_families_of_a_listing():
    assert frames.families(("r-1", [FAMILY]))[["family_id", "texts"]].to_numpy().tolist() == [["family-1", 5]]


@pytest.mark.parametrize(
    ("make", "value"),
    [
        (frames.findings, [FINDING]),
        (frames.accounts, [FINDING]),
        (frames.evidence, [FINDING]),
        (frames.exchanges, [replace(EXCHANGE, attributes={})]),
        (frames.exchanges, SearchResult((Hit(replace(EXCHANGE, attributes={}), 1.0),))),
        (frames.runs, [replace(RUN, measures={})]),
        (frames.families, [FAMILY]),
    ],
)
def test_columns_and_types_do_not_depend_on_there_being_rows(make, value):
    empty = SearchResult(()) if isinstance(value, SearchResult) else []
    assert make(empty).dtypes.to_dict() == make(value).dtypes.to_dict()
    assert len(make(empty)) == 0


def test_results_of_either_client_are_taken_as_they_are(use, address, script):
    script.findings = [FINDING]
    made = frames.findings(use(address, lambda client: client.list_findings()))
    assert made["finding_id"].tolist() == ["f-1"]


def test_streams_of_either_client_are_taken_as_they_come(use, address, script):
    script.runs = [[replace(RUN, state=RunState.RUNNING), RUN]]
    made = frames.runs(use(address, lambda client: client.watch_run("r-1")))
    assert made["state"].tolist() == ["running", "done"]


def test_the_client_does_without_pandas():
    code = "import sys; sys.modules['pandas'] = None; from coterie.client import Client, frames; frames.findings"
    subprocess.run([sys.executable, "-c", code], check=True)
