"""Every format: valid by the format's own library or schema, the same findings back, and no text unless asked for."""

import csv
import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pymisp
import pytest
import stix2
from dossiers import CANARY, HOSTILE, made_dossier
from jsonschema import Draft202012Validator
from ocsf_json_schema import OcsfJsonSchemaEmbedded, get_ocsf_schema
from pyarrow import parquet

from coterie.domain import (
    AccountId,
    Dossier,
    Evidence,
    ExcludedAccount,
    FindingId,
    InvalidError,
    JoinedAccount,
    Lineage,
    ReviewState,
    finding_to_json,
)
from coterie.exports import Format, Marking, format_of, read_export, write_export
from coterie.exports.stix import ACCOUNTS_IN_PATTERN_MAX

FORMULA = "=cmd|' /C calc'!A0"


def gone() -> Dossier:
    dossier = made_dossier(accounts=1, benchmark=False)
    finding = replace(
        dossier.finding,
        finding_id=FindingId("f-gone"),
        lineage=Lineage.GONE,
        lineage_of=(FindingId("f-1"), FindingId("f-2")),
        review=ReviewState.DISMISSED,
        counter_evidence=(),
        joined_since=(JoinedAccount(AccountId("late"), 1_772_409_600_000_000, 3, 1e-4),),
        assignee="kim",
        merged=(FindingId("f-3"),),
        excluded=(ExcludedAccount(AccountId("out"), 4, "kim", "a partner", 1_772_409_600_000_000),),
    )
    return replace(dossier, finding=finding, reviews=(), lineage=())


DOSSIERS: dict[str, Callable[[], list[Dossier]]] = {
    "campaign": lambda: [made_dossier()],
    "two": lambda: [made_dossier(), gone()],
    "hostile": lambda: [made_dossier(mark=HOSTILE)],
    "formula": lambda: [
        replace(made_dossier(), finding=replace(made_dossier().finding, title=FORMULA)),
        replace(gone(), finding=replace(gone().finding, title="'quoted")),
    ],
    "odd": lambda: [made_dossier(mark="\\'] OR [x:y = 'é\u2028,\"")],
}


@pytest.mark.parametrize("kind", list(Format))
@pytest.mark.parametrize("name", list(DOSSIERS))
def test_what_is_passed_on_comes_back_the_same(kind: Format, name: str) -> None:
    dossiers = DOSSIERS[name]()
    content = write_export(dossiers, kind)
    found = read_export(content, kind)
    assert found == [finding_to_json(item.finding) | {"run_id": item.finding.run_id} for item in dossiers]
    assert write_export(dossiers, kind) == content  # the same ids and the same bytes
    assert format_of("", content) is kind
    assert format_of(f"any{kind.suffix}", b"") is kind


def readable(kind: Format, content: bytes) -> str:
    return repr(parquet.read_table(io.BytesIO(content)).to_pylist()) if kind is Format.PARQUET else content.decode()


@pytest.mark.parametrize("kind", list(Format))
def test_texts_are_passed_on_only_where_they_were_asked_for(kind: Format) -> None:
    assert CANARY not in readable(kind, write_export([made_dossier(with_text=False)], kind))
    # A dossier that says it has none passes none on, whatever its exemplars hold.
    assert CANARY not in readable(kind, write_export([replace(made_dossier(), with_text=False)], kind))
    whole = write_export([made_dossier()], kind)
    assert readable(kind, whole).count(CANARY) == 9
    assert len(read_export(whole, kind)) == 1


def test_a_stix_bundle_is_one_of_the_standard_and_whole() -> None:
    bundle = stix2.parse(write_export([made_dossier()], Format.STIX, Marking.RED).decode(), version="2.1")
    of: dict[str, list[Any]] = {}
    for item in bundle.objects:
        of.setdefault(item.type, []).append(item)
    assert {kind: len(items) for kind, items in of.items()} == {
        "marking-definition": 1, "identity": 1, "extension-definition": 1, "attack-pattern": 2, "user-account": 8,
        "observed-data": 8, "campaign": 1, "sighting": 1, "indicator": 1, "relationship": 3, "note": 8, "opinion": 1,
        "grouping": 1,
    }  # fmt: skip
    campaign, indicator = of["campaign"][0], of["indicator"][0]
    assert campaign.confidence == 97
    assert [item.external_id for item in campaign.external_references] == ["AML.T0024.002", "AML.T0040"]
    assert {str(item.relationship_type) for item in of["relationship"]} == {"uses", "indicates"}
    assert indicator.pattern.startswith("[user-account:user_id IN ('account-00', 'account-01',")
    assert of["sighting"][0].count == 200
    assert of["sighting"][0].sighting_of_ref == campaign.id
    assert sum(item.number_observed for item in of["observed-data"]) == 200
    assert of["opinion"][0].opinion == "agree"
    assert of["marking-definition"][0].id == stix2.TLP_RED.id
    assert all(
        stix2.TLP_RED.id in item.object_marking_refs for item in bundle.objects if item.type != "marking-definition"
    )
    assert set(of["grouping"][0].object_refs) >= {item.id for item in of["user-account"]}


def test_a_finding_that_is_passed_on_again_updates_what_was_there() -> None:
    dossier = made_dossier()
    later = replace(dossier, run=replace(dossier.run, created_us=dossier.run.created_us + 3_600_000_000))

    def campaign(made: Dossier) -> Any:
        bundle = stix2.parse(write_export([made], Format.STIX).decode(), version="2.1")
        return next(item for item in bundle.objects if item.type == "campaign")

    first, second = campaign(dossier), campaign(later)
    assert first.id == second.id
    assert first.created == second.created
    assert second.modified > first.modified > first.created


def test_one_who_evaluates_openly_is_no_campaign_in_stix() -> None:
    bundle = stix2.parse(write_export([gone()], Format.STIX).decode(), version="2.1")
    kinds = {item.type for item in bundle.objects}
    assert not kinds & {"campaign", "indicator", "sighting", "relationship"}
    assert next(item for item in bundle.objects if item.type == "grouping").context == "unspecified"


def test_a_large_finding_has_several_indicators() -> None:
    dossier = made_dossier()
    account = dossier.finding.accounts[0]
    names = [AccountId(f"n{number:04}") for number in range(2 * ACCOUNTS_IN_PATTERN_MAX + 1)]
    many = replace(
        dossier, finding=replace(dossier.finding, accounts=tuple(replace(account, account_id=name) for name in names))
    )
    bundle = stix2.parse(write_export([many], Format.STIX).decode(), version="2.1")
    patterns = [item.pattern for item in bundle.objects if item.type == "indicator"]
    assert len(patterns) == 3
    assert sum(pattern.count("'n") for pattern in patterns) == len(names)


def test_a_misp_event_is_what_pymisp_takes() -> None:
    record = json.loads(write_export([made_dossier()], Format.MISP, Marking.GREEN))["response"][0]
    event = pymisp.MISPEvent()
    event.load(record)
    assert event.info == "8 accounts share out 200 prompts"
    assert not event.published
    assert str(event.distribution) == "0"
    assert {tag.name for tag in event.tags} == {"tlp:green", "coterie:review=escalated"}
    assert [item.get_attributes_by_relation("user-id")[0].value for item in event.objects] == [
        f"account-{number:02}" for number in range(8)
    ]
    links = [item.value for item in event.attributes if item.type == "link"]
    assert links == ["https://atlas.mitre.org/techniques/AML.T0024.002", "https://atlas.mitre.org/techniques/AML.T0040"]
    assert not [item for item in event.attributes if item.to_ids]


def test_an_ocsf_event_is_a_detection_finding() -> None:
    validator = Draft202012Validator(
        OcsfJsonSchemaEmbedded(get_ocsf_schema(version="1.5.0")).get_class_schema("detection_finding")
    )
    events = [json.loads(line) for line in write_export([made_dossier(), gone()], Format.OCSF).splitlines()]
    for event in events:
        validator.validate(event)
    first, second = events
    assert (first["class_uid"], first["type_uid"], first["severity_id"], first["status_id"]) == (2004, 200402, 4, 2)
    assert (second["type_uid"], second["status_id"], second["is_alert"]) == (200403, 3, False)
    assert first["time"] == made_dossier().run.created_us // 1_000
    assert "attacks" in first["finding_info"]
    assert "attacks" not in second["finding_info"]
    assert [item["actor"]["user"]["uid"] for item in first["evidences"][:8]] == [f"account-{n:02}" for n in range(8)]


def test_csv_is_a_row_an_account_and_runs_nothing_in_a_spreadsheet() -> None:
    dossier = made_dossier()
    accounts = tuple(
        replace(item, account_id=AccountId(f"{FORMULA}{n}")) for n, item in enumerate(dossier.finding.accounts)
    )
    content = write_export([replace(dossier, finding=replace(dossier.finding, accounts=accounts))], Format.CSV)
    rows = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    assert len(rows) == 8
    assert {row["account_id"][:2] for row in rows} == {"'="}
    assert [bool(row["more"]) for row in rows] == [True] + 7 * [False]
    assert {row["tlp"] for row in rows} == {"amber"}


def test_parquet_is_read_with_its_types() -> None:
    table = parquet.read_table(io.BytesIO(write_export([made_dossier(), gone()], Format.PARQUET)))
    assert table.num_rows == 2
    assert table.schema.field("confidence").type == pa.float64()
    row = table.to_pylist()[0]
    assert row["evidence"][0]["p_value"] == 2e-9
    assert row["evidence"][1]["p_value"] is None
    assert row["accounts"][0]["exchanges"] == 25


def broken() -> list[tuple[Format, bytes]]:
    stix = json.loads(write_export([made_dossier()], Format.STIX))
    without = [item for item in stix["objects"] if item["type"] != "campaign"]
    wrong = [{**item, "first_seen": "yesterday"} if item["type"] == "campaign" else item for item in stix["objects"]]
    bare = [item for item in stix["objects"] if item["type"] in ("identity", "marking-definition")]
    ocsf = json.loads(write_export([made_dossier()], Format.OCSF))
    misp = json.loads(write_export([made_dossier()], Format.MISP))
    misp["response"][0]["Event"].pop("info")
    nothing = json.loads(write_export([made_dossier()], Format.MISP))
    nothing["response"][0]["Event"]["Attribute"] = []
    table = write_export([made_dossier()], Format.CSV)
    return [
        (Format.STIX, b"{}"),
        *((Format.STIX, json.dumps({**stix, "objects": objects}).encode()) for objects in (without, wrong, bare)),
        (Format.MISP, b"[]"),
        (Format.MISP, json.dumps(misp).encode()),
        (Format.MISP, json.dumps(nothing).encode()),
        (Format.OCSF, b""),
        (Format.OCSF, b"nothing"),
        (Format.OCSF, json.dumps({**ocsf, "severity_id": 77}).encode()),
        (Format.OCSF, json.dumps({**ocsf, "own": CANARY}).encode()),
        (Format.OCSF, json.dumps({**ocsf, "unmapped": {}}).encode()),
        (Format.CSV, b"a,b\r\n1,2\r\n"),
        (Format.CSV, table.replace(b",25,", b",many,", 1)),
        (Format.CSV, table.split(b"\r\n")[0] + b"\r\n"),
        (Format.PARQUET, b"PAR1 no"),
    ]


@pytest.mark.parametrize(
    ("kind", "content"), broken(), ids=lambda value: value.value if isinstance(value, Format) else ""
)
def test_what_is_no_export_of_ours_is_refused_without_a_word_of_it(kind: Format, content: bytes) -> None:
    with pytest.raises(InvalidError, match="the file is no") as caught:
        read_export(content, kind)
    assert CANARY not in str(caught.value)


def test_another_table_of_the_same_columns_is_refused() -> None:
    stream = io.BytesIO()
    parquet.write_table(pa.table({"finding_id": ["f1"]}), stream)
    with pytest.raises(InvalidError, match="its schema is another"):
        read_export(stream.getvalue(), Format.PARQUET)


def test_nothing_and_what_nobody_knows_are_refused() -> None:
    with pytest.raises(InvalidError, match="no finding to export"):
        write_export([], Format.CSV)
    with pytest.raises(InvalidError, match="none of coterie's formats"):
        format_of("notes.txt", b"hello")


@pytest.mark.parametrize(
    ("kind", "module"),
    [(Format.STIX, "stix2"), (Format.MISP, "pymisp"), (Format.PARQUET, "pyarrow"), (Format.OCSF, "ocsf_json_schema")],
)
def test_a_library_that_is_missing_is_named_with_its_extra(
    kind: Format, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from coterie.exports import ocsf

    ocsf._validator.cache_clear()
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InvalidError, match=r"coterie\[exports\]"):
        write_export([made_dossier()], kind)


def test_p_values_of_nothing_are_left_out_and_zeros_kept() -> None:
    dossier = made_dossier()
    evidence = (Evidence("a", "s", 0.0, "n", "sum", 0.0), Evidence("b", "s", -1.5, "n", "sum"))
    dossier = replace(dossier, finding=replace(dossier.finding, evidence=evidence))
    for kind in Format:
        found = read_export(write_export([dossier], kind), kind)[0]["evidence"]
        assert [item.get("p_value", "absent") for item in found] == [0.0, "absent"]
