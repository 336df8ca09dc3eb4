"""The whole of detection on small worlds: what is accused, what is not, and what is said about it."""

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from worlds import World, exact_graph

from coterie.detection import Parameters, detect
from coterie.domain import (
    CancelledRunError,
    Finding,
    FindingKind,
    Lineage,
    Slice,
    TextField,
    View,
    Window,
    finding_to_json,
)


def accused(window: Window) -> set[str]:
    return {
        account.account_id
        for finding in detect(window).findings
        if finding.kind is FindingKind.CAMPAIGN
        for account in finding.accounts
    }


def test_a_campaign_is_found_whole_with_tested_evidence() -> None:
    world = World(1)
    world.people(40)
    members = world.campaign("team", 12)
    detection = detect(world.window())
    (finding,) = detection.findings
    assert {account.account_id for account in finding.accounts} == set(members)
    named = {item.name: item for item in finding.evidence}
    assert {"exchangeability", "neighbour_mixing", "share_spread", "label_permutation", "excess_links"} <= set(named)
    assert {"partition", "harvest"} <= set(named)
    assert named["exchangeability"].p_value is not None
    assert named["exchangeability"].p_value < 1e-3
    assert named["harvest"].value == 12 * 30
    assert finding.families
    assert finding.exemplars
    assert len(set(finding.exemplars)) == len(finding.exemplars)
    record = finding_to_json(finding)
    assert record["kind"] == "campaign"
    assert 0.5 <= record["confidence"] <= 1


@pytest.mark.parametrize("seed", range(6))
def test_people_alone_give_no_finding(seed: int) -> None:
    world = World(seed)
    world.people(60)
    assert detect(world.window()).findings == ()


@pytest.mark.parametrize("seed", range(3))
def test_one_organisation_is_one_customer(seed: int) -> None:
    world = World(seed)
    world.people(40)
    members = world.campaign("seat", 12)
    outside = accused(world.window())
    world.asked = [
        (account, text, time, {"organisation": "acme"} if account in members else attributes)
        for account, text, time, attributes in world.asked
    ]
    assert outside == set(members)
    assert accused(world.window()) == set()


@pytest.mark.parametrize("seed", range(3))
def test_a_crowd_that_draws_from_one_bank_is_no_campaign(seed: int) -> None:
    world = World(seed)
    world.people(40)
    subject = world.subject()
    bank = [world.text(subject, spread=1.2) for _ in range(150)]
    for number in range(15):
        world.ask(f"student-{number}", [bank[i] for i in world.rng.choice(150, 25, replace=False)])
    assert accused(world.window()) == set()


def test_a_crowd_is_an_innocent_hypothesis_however_interchangeable() -> None:
    world = World(0)
    world.people(40)
    subject = world.subject()
    bank = [world.text(subject, spread=1.2) for _ in range(150)]
    for number in range(15):
        world.ask(f"student-{number}", [bank[i] for i in world.rng.choice(150, 25, replace=False)])
    crowd = detect(world.window())
    assert min(one.nearest_p_value for one in crowd.standings if one.nearest_p_value is not None) < 1e-3
    assert crowd.p_values
    assert min(crowd.p_values) > 0.05
    world.campaign("team", 12)
    both = detect(world.window()).p_values
    assert list(both) == sorted(both)
    assert both[0] < 1e-6


def test_a_homework_sheet_is_no_campaign() -> None:
    world = World(5)
    world.people(40)
    subject = world.subject()
    sheet = [world.text(subject) for _ in range(12)]
    for number in range(30):
        world.ask(f"student-{number}", sheet)
    assert accused(world.window()) == set()


def test_labs_that_each_run_the_same_list_in_their_own_wrapping_are_no_campaign() -> None:
    world = World(6)
    world.people(40)
    subject = world.subject()
    items = [world.text(subject, spread=1.2) for _ in range(120)]
    for lab in range(4):
        wrapped = []
        for item in items:
            name = f"lab{lab} asks {item}"
            world.vectors[name] = world.vectors[item] + 0.05 * world.subject()
            world.vectors[name] /= np.linalg.norm(world.vectors[name])
            wrapped.append(name)
        world.ask(f"lab-{lab}", wrapped)
    assert accused(world.window()) == set()


def test_people_with_subjects_inside_one_field_are_no_campaign() -> None:
    world = World(7)
    world.people(30)
    field = world.subject()
    for number in range(12):
        own = world.subject(around=field, spread=0.8)
        world.ask(f"expert-{number}", [world.text(own) for _ in range(30)])
    assert accused(world.window()) == set()


def test_people_whose_language_the_encoder_does_not_read_are_no_campaign() -> None:
    rng = np.random.default_rng(7)

    def found(own_words: bool) -> list[Finding]:
        world = World(7)
        world.people(30)
        # To the encoder all that they write is one subject.
        tongue = world.subject()
        vocabulary = [f"w{number}" for number in range(3_000)]
        for number in range(12):
            liked = rng.choice(vocabulary, 25) if own_words else vocabulary
            asked = []
            for _ in range(int(rng.integers(8, 60))):
                text = " ".join(rng.choice(liked, 12).tolist())
                world.vectors[text] = world.vectors[world.text(tongue, spread=0.8)]
                asked.append(text)
            world.ask(f"speaker-{number}", asked)
        return [finding for finding in detect(world.window()).findings if finding.kind is FindingKind.CAMPAIGN]

    assert found(own_words=False)
    assert not found(own_words=True)


def test_half_cover_does_not_hide_a_campaign() -> None:
    world = World(8)
    world.people(60)
    members = world.campaign("team", 12)
    for member in members:
        own = world.subject()
        world.ask(member, [world.text(own) for _ in range(30)])
    found = accused(world.window())
    assert found == set(members)


def test_meeting_now_and_then_in_what_everybody_asks_clears_nobody() -> None:
    world = World(13)
    people = 60
    world.people(people)
    members = world.campaign("team", 12)
    popular = [world.text(world.subject()) for _ in range(40)]
    for account in [*members, *(f"person-{number:03d}" for number in range(people))]:
        world.ask(account, [popular[i] for i in world.rng.choice(40, 5, replace=False)])
    assert accused(world.window()) == set(members)


def test_standings_say_how_near_an_innocent_came() -> None:
    world = World(9)
    world.people(30)
    members = world.campaign("team", 8)
    detection = detect(world.window())
    (finding,) = detection.findings
    by_account = {standing.account_id: standing for standing in detection.standings}
    assert len(by_account) == 38
    assert all(by_account[member].findings == (finding.finding_id,) for member in members)
    for number in range(30):
        standing = by_account[f"person-{number:03d}"]
        assert standing.findings == ()
        assert standing.reason


def test_same_window_same_findings_whatever_the_order_of_accounts() -> None:
    world = World(10)
    world.people(30)
    world.campaign("team", 8)
    first, second = detect(world.window()), detect(world.window())
    assert first == second


def test_identity_over_runs() -> None:
    world = World(11)
    world.people(30)
    subject = world.subject()
    for number in range(8):
        world.ask(f"team-{number}", [world.text(subject, spread=1.2) for _ in range(30)])
    first = detect(world.window())
    window = world.window()
    again = detect(Window(window.rows, window.text_ids, window.texts, window.views, earlier=first.findings))
    assert [(f.finding_id, f.lineage) for f in again.findings] == [(first.findings[0].finding_id, Lineage.STEADY)]
    for number in range(8, 12):
        world.ask(f"team-{number}", [world.text(subject, spread=1.2) for _ in range(30)])
    window = world.window()
    grown = detect(Window(window.rows, window.text_ids, window.texts, window.views, earlier=first.findings))
    assert [(f.finding_id, f.lineage) for f in grown.findings] == [(first.findings[0].finding_id, Lineage.GROWING)]
    quiet = World(11)
    quiet.people(30)
    window = quiet.window()
    gone = detect(Window(window.rows, window.text_ids, window.texts, window.views, earlier=first.findings))
    assert [(f.finding_id, f.lineage) for f in gone.findings] == [(first.findings[0].finding_id, Lineage.GONE)]


def test_empty_window_and_one_account() -> None:
    assert detect(World(0).window()).findings == ()
    world = World(0)
    world.people(1)
    assert detect(world.window()).findings == ()


def test_progress_and_cancellation() -> None:
    world = World(12)
    world.people(20)
    stages: list[str] = []
    detect(world.window(), progress=lambda stage, share: stages.append(stage))
    assert list(dict.fromkeys(stages)) == ["cluster", "link", "test", "findings"]
    calls = Counter[str]()

    def cancelled() -> bool:
        calls["asked"] += 1
        return calls["asked"] > 2

    with pytest.raises(CancelledRunError):
        detect(world.window(), cancelled=cancelled)


def test_parameters_are_recorded_as_numbers() -> None:
    recorded = Parameters().as_dict()
    assert recorded["ratio_floor"] == Parameters().ratio_floor
    assert all(isinstance(value, float) for value in recorded.values())


def test_customers_behind_one_template_are_no_campaign() -> None:
    """A template that makes up most of every prompt makes all prompts alike; without it the subjects are apart."""
    world = World(13)
    world.people(30)
    template = world.subject()
    bare: dict[str, np.ndarray] = {}
    for number in range(12):
        own = world.subject()
        texts = []
        for _ in range(25):
            name = world.text(own)
            bare[name] = world.vectors[name]
            mixed = template + 0.15 * world.vectors[name]
            world.vectors[name] = (mixed / np.linalg.norm(mixed)).astype(np.float32)
            texts.append(name)
        world.ask(f"customer-{number}", texts)
    window = world.window()
    raw = window.raw
    vectors = np.array([bare.get(text, world.vectors[text]) for text in window.texts], np.float32)
    stripped = View("stripped", vectors, exact_graph(vectors, 20), raw.text)
    seen = Window(window.rows, window.text_ids, window.texts, {"raw": raw, "stripped": stripped})
    assert not [finding for finding in detect(seen).findings if finding.kind is FindingKind.CAMPAIGN]
    reasons = {standing.reason for standing in detect(seen).standings if standing.account_id.startswith("customer")}
    assert any("trains of thought of their own" in reason or "interchangeable" in reason for reason in reasons)


def test_two_lists_side_by_side_are_two_findings() -> None:
    world = World(14)
    world.people(40)
    field = world.subject()
    for name in ("left", "right"):
        subject = world.subject(around=field, spread=0.9)
        for number in range(8):
            world.ask(f"{name}-{number}", [world.text(subject, spread=1.2) for _ in range(30)])
    findings = detect(world.window()).findings
    teams = [{account.account_id.split("-")[0] for account in finding.accounts} for finding in findings]
    assert sorted(map(sorted, teams)) == [["left"], ["right"]]


def told(window: Window) -> str:
    """Everything a campaign says of itself."""
    (finding,) = [item for item in detect(window).findings if item.kind is FindingKind.CAMPAIGN]
    reasons = (*finding.evidence, *finding.counter_evidence)
    return " ".join([finding.title, *(f"{item.statistic} {item.summary}" for item in reasons)])


def test_a_finding_about_responses_says_so() -> None:
    world = World(seed=1)
    world.people(40)
    world.campaign("bot", 8)
    window = world.window()
    responses = replace(window, slice=Slice(field=TextField.RESPONSE))
    about_prompts, about_responses = told(window), told(responses)
    assert "prompts" in about_prompts
    assert "response" not in about_prompts
    assert "responses as if from one list" in about_responses
    assert "not prompts" in about_responses
    assert "distinct responses" in about_responses
    assert not {"questions", "question", "queries"} & set(re.findall(r"\w+", about_responses))


def test_a_finding_on_a_slice_is_another_finding_and_says_what_was_looked_at() -> None:
    world = World(seed=1)
    world.people(40)
    world.campaign("bot", 8)
    window = world.window()
    part = replace(window, slice=Slice(models=("m1", "m2"), attributes={"asn": "1"}))
    whole, sliced = detect(window).findings, detect(part).findings
    assert [item.accounts for item in whole] == [item.accounts for item in sliced]
    assert not {item.finding_id for item in whole} & {item.finding_id for item in sliced}
    assert "slice" not in {item.name for finding in whole for item in finding.counter_evidence}
    (against,) = [item for item in sliced[0].counter_evidence if item.name == "slice"]
    assert "2 models and 1 labels" in against.summary
    assert against.value == part.rows.size


def test_a_campaign_in_a_slice_of_which_one_account_has_the_bulk_is_found_without_it() -> None:
    world = World(15)
    world.people(40)
    subject = world.subject()
    members = [f"team-{number}" for number in range(10)]
    for member in members:
        world.ask(member, [world.text(subject, spread=1.2) for _ in range(20)])
    world.ask("bulk", [world.text(subject, spread=1.2) for _ in range(400)])
    assert accused(world.window()) == set(members)


@pytest.mark.parametrize("seed", range(3))
def test_three_accounts_that_share_a_list_evenly_are_found_and_three_experts_are_not(seed: int) -> None:
    world = World(seed)
    world.people(60)
    members = world.campaign("trio", 4, each=40)
    field = world.subject()
    for number in range(4):
        own = world.subject(around=field, spread=0.8)
        world.ask(f"expert-{number}", [world.text(own) for _ in range(40)])
    assert accused(world.window()) == set(members)
