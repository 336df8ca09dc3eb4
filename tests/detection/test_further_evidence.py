"""Further evidence on composed traffic with known truth, and the sentences it is told in."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from scipy import stats
from worlds import World, unit

from coterie.detection.elicitation import elicits
from coterie.detection.evidence import counter_evidence, further_evidence, look_around
from coterie.detection.evidence_account import pivot_evidence
from coterie.detection.evidence_content import format_uniformity
from coterie.detection.evidence_counter import between_share, hours_concentration
from coterie.detection.evidence_time import DAY_US
from coterie.detection.formats import standardised
from coterie.detection.pools import find_principals
from coterie.detection.reporting import make_pool
from coterie.detection.text_facts import TextFacts
from coterie.detection.views import stripped_texts
from coterie.domain import Evidence, Window
from coterie.simulation import Config, simulate

POOLS = 12


@lru_cache(maxsize=1)
def composed() -> tuple[Window, TextFacts, tuple[str, ...]]:
    """A window of the null mix, facts of its texts, and the class of each account."""
    traffic = simulate(Config(mix="null", accounts=400, seed=5))
    world = World()
    rng = np.random.default_rng(0)
    directions: dict[str, np.ndarray] = {}
    for event in traffic.events:
        if event.prompt not in world.vectors:
            words = event.prompt.lower().split()
            total = sum((directions.setdefault(word, rng.normal(size=64)) for word in words), np.zeros(64))
            world.vectors[event.prompt] = unit(total + 1e-3 * rng.normal(size=64))
        world.asked.append((event.account_id, event.prompt, event.time_us, dict(event.attributes)))
    window = world.window(k=0)
    cores = stripped_texts(window.texts, window.raw.text, window.rows.account)
    return (
        window,
        TextFacts(window, cores, seed=0),
        tuple(traffic.truth[account]["kind"] for account in window.rows.account_ids),
    )


def evidence_of(accounts: np.ndarray, seed: int = 0) -> list[Evidence]:
    window, facts, _ = composed()
    pool = make_pool(window, find_principals(window), np.flatnonzero(np.isin(window.rows.account, accounts)))
    return further_evidence(pool, *look_around(pool, facts, seed=seed), seed=seed)


def test_customers_at_random_show_each_piece_of_evidence_as_rarely_as_its_p_value_says() -> None:
    window, _, _ = composed()
    rng = np.random.default_rng(1)
    shown: dict[str, int] = {}
    for seed in range(POOLS):
        chosen = rng.choice(len(window.rows.account_ids), 10, replace=False)
        for item in evidence_of(chosen, seed):
            assert item.p_value is not None
            assert item.p_value <= 0.01
            shown[item.name] = shown.get(item.name, 0) + 1
    assert max(shown.values(), default=0) <= stats.binom.ppf(0.999, POOLS, 0.01), shown


def test_customers_of_one_app_keep_manners_of_their_own() -> None:
    _, _, kinds = composed()
    app = np.flatnonzero([kind == "app_template" for kind in kinds])
    assert len(app) >= 8
    assert "format_uniformity" not in {item.name for item in evidence_of(app)}


def test_every_piece_is_a_sentence_with_its_null() -> None:
    _, _, kinds = composed()
    found = [
        item
        for kind in ("exam_bank", "homework", "support_app")
        for item in evidence_of(np.flatnonzero([other == kind for other in kinds]))
    ]
    assert found
    for item in found:
        assert item.summary.endswith(".")
        assert item.null
        assert np.isfinite(item.value)


def test_accounts_of_a_few_say_nothing_of_peers() -> None:
    window, facts, _ = composed()
    pool = make_pool(window, find_principals(window), np.flatnonzero(window.rows.account < 2))
    assert look_around(pool, facts, seed=0) == (None, None)


def test_slices_in_order_of_subject_have_one_format() -> None:
    """People write in manners of their own; a list's items share one, whatever each slice is about."""
    rng = np.random.default_rng(0)
    world = World()
    subjects = [world.subject() for _ in range(40)]
    manners = [
        "{}?",
        "please tell me about {} thanks",
        "{}",
        "- {}\n- why",
        "I NEED {}!!",
        "def {}():\n    pass",
        "{}: {}.",
    ]
    for number, subject in enumerate(subjects):
        own = [manners[k] for k in rng.choice(len(manners), 2, replace=False)]
        for _ in range(12):
            words = " ".join(f"w{k}" for k in rng.integers(0, 10_000, rng.integers(3, 12)))
            listed = number < 8
            text = (
                f"Which of these holds for {words}?\nA) one\nB) two" if listed else rng.choice(own).replace("{}", words)
            )
            world.vectors[text] = unit(subject + 0.3 * rng.normal(size=64) / 8)
            world.ask(f"{'list' if listed else 'person'}-{number:02d}", [text])
    window = world.window(k=2)
    listed = np.flatnonzero([account.startswith("list") for account in window.rows.account_ids])
    pool = make_pool(window, find_principals(window), np.flatnonzero(np.isin(window.rows.account, listed)))
    comparison, contents = look_around(pool, TextFacts(window, window.texts, seed=0), seed=0)
    assert contents is not None
    assert (
        format_uniformity(standardised(contents.facts.formats(contents.raw)), contents.comparison, seed=0).p_value
        <= 0.001
    )
    names = {item.name for item in further_evidence(pool, comparison, contents, seed=0)}
    assert {"format_uniformity", "subject_stretches"} <= names


@pytest.mark.parametrize(
    "text",
    [
        "Solve 3x = 9. Think step by step and show your reasoning.",
        "Explain your full chain of thought before giving the final answer.",
        "Score the response from 1 to 10 and justify the mark.",
        "Write a grading rubric for an essay on rivers.",
        "Which of the two responses is better, A or B?",
        "Generate 20 diverse questions about photosynthesis with answers.",
        "Resuelve la ecuación paso a paso.",
        "Löse die Aufgabe Schritt für Schritt.",
        "请一步一步推理并给出答案",
        "Реши задачу шаг за шагом.",
    ],
)
def test_elicitation_is_seen(text: str) -> None:
    assert elicits(text)


@pytest.mark.parametrize(
    "text", ["best hiking boots 2025", "Translate this letter into German.", "Why is the sky blue?", "fix my regex", ""]
)
def test_ordinary_requests_do_not_elicit(text: str) -> None:
    assert not elicits(text)


def test_share_of_variance_between_accounts_is_what_was_put_in() -> None:
    rng = np.random.default_rng(0)
    account = np.repeat(np.arange(60), 20)
    own = rng.normal(size=(60, 8)) * 0.5
    features = (rng.normal(size=(1200, 8)) + own[account]).astype(np.float32)
    assert between_share(features, account) == pytest.approx(0.2, abs=0.04)
    assert between_share(rng.normal(size=(1200, 8)).astype(np.float32), account) < 0.02


def test_hours_are_kept_from_day_to_day_and_not_within_one_burst() -> None:
    rng = np.random.default_rng(0)
    account = np.repeat(np.arange(5), 40)
    noon = rng.integers(0, 7, 200) * DAY_US + DAY_US // 2 + (rng.normal(0, 2, 200) * DAY_US / 24).astype(np.int64)
    kept = hours_concentration(noon, account)
    never = hours_concentration(rng.integers(0, 7 * DAY_US, 200), account)
    assert kept is not None
    assert never is not None
    assert kept > 0.6
    assert never < 0.25
    assert hours_concentration(rng.integers(0, DAY_US // 24, 200), account) is None


def test_a_common_payer_a_template_and_a_long_history_speak_against() -> None:
    world = World()
    subject = world.subject()
    for number in range(6):
        world.ask(f"key-{number}", [world.text(subject) for _ in range(20)])
    window = world.window(k=2)
    rows = window.rows
    early = rows.time_us < rows.time_us.min() + 4 * DAY_US
    paid = replace(rows, attributes={"payment": np.zeros(rows.size, np.int32)}, attribute_values={"payment": ("card",)})
    paid_window = replace(window, rows=paid)
    pool = make_pool(paid_window, find_principals(paid_window), np.flatnonzero(~early))
    half = [text[: len(text) // 2] for text in window.texts]
    named = {item.name: item for item in counter_evidence(pool, None, half)}
    assert named["one_payer"].value == 1.0
    assert named["template"].value == pytest.approx(0.5, abs=0.05)
    assert named["history"].value >= 0.5
    assert "own_manner" not in named
    assert not {"one_payer", "template", "history"} & {
        item.name for item in counter_evidence(make_pool(window, find_principals(window), np.arange(rows.size)), None)
    }


def test_a_pivot_is_held_against_the_release_that_is_known() -> None:
    """Half of the pool turns within hours of the release; without its date the turn is only one of each other."""
    world = World()
    world.people(60, texts=20)
    window = world.window(k=0)
    rows = window.rows
    release_us = 4 * DAY_US
    begins = np.random.default_rng(2).integers(release_us, 7 * DAY_US, len(rows.account_ids))
    begins[:10] = release_us
    model = (rows.time_us >= begins[rows.account]).astype(np.int32)
    turned = replace(window, rows=replace(rows, model=model, models=("old", "new")))
    pool_of = np.flatnonzero(rows.account < 10)

    def told(releases: dict[str, int]) -> Evidence:
        known = replace(turned, releases=releases)
        found = pivot_evidence(make_pool(known, find_principals(known), pool_of))
        assert found is not None
        return found

    dated, undated = told({"new": release_us, "another": 0}), told({})
    assert "within 12 hours of its release (1970-01-05T00:00:00Z)" in dated.summary
    assert "within 12 hours of each other" in undated.summary
    assert dated.p_value is not None
    assert undated.p_value is not None
    assert dated.p_value < undated.p_value  # one stretch is tested, not all
