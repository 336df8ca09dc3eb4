"""Benchmark-like runs and families: who is reported, and who, however alike, is not."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from worlds import World

from coterie.detection import Detection, Parameters, detect, stripped_texts
from coterie.detection.benchmark_like import BenchmarkLike, find_benchmark_like
from coterie.detection.pools import BenchmarkHits, find_principals
from coterie.detection.text_facts import TextFacts
from coterie.domain import FindingKind, Severity, Slice, TextField, Window

SECOND_US = 1_000_000
WORDS = np.array([f"w{number}" for number in range(5_000)])


def items(count: int, seed: int = 0) -> list[str]:
    """Questions with options, no two of which share a run of words."""
    rng = np.random.default_rng(seed)
    drawn = rng.choice(WORDS, (count, 8))
    return [f"Which {a} {b} {c}?\nA. {d} {e}\nB. {f}\nC. {g} {h}" for a, b, c, d, e, f, g, h in drawn.tolist()]


def plain(count: int, seed: int = 0) -> list[str]:
    """Requests that are no items."""
    rng = np.random.default_rng(seed + 1_000)
    return [f"tell me about {' '.join(row)}" for row in rng.choice(WORDS, (count, 5)).tolist()]


def ask(world: World, account: str, texts: Sequence[str], *, gap_s: float, rests: bool = False) -> None:
    """One text after the other, in about that many seconds; with rests of hours between every five."""
    rng = np.random.default_rng(len(world.asked))
    gaps = rng.exponential(gap_s, len(texts))
    gaps[::5] += 20_000 * rests
    for text, at_s in zip(texts, np.cumsum(gaps).tolist(), strict=True):
        world.vectors.setdefault(text, _direction(text))
        world.asked.append((account, text, int(at_s * SECOND_US), {}))


def _direction(text: str) -> np.ndarray:
    vector = np.random.default_rng(sum(map(ord, text)) * 7919 + len(text)).normal(size=64)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def found_in(
    window: Window, family: np.ndarray | None = None, *, hits: Sequence[BenchmarkHits] = (), accused: Sequence[str] = ()
) -> BenchmarkLike:
    principals = find_principals(window)
    cores = stripped_texts(window.texts, window.raw.text, window.rows.account)
    none = np.full(len(window.texts), -1, np.int32)
    of = np.isin(np.array(window.rows.account_ids), list(accused))
    return find_benchmark_like(
        window, principals, TextFacts(window, cores, seed=0), none if family is None else family, hits, of, Parameters()
    )


def one_customer(texts: Sequence[str], *, gap_s: float, rests: bool = False) -> Window:
    world = World()
    world.people(5)
    ask(world, "evaluator", texts, gap_s=gap_s, rests=rests)
    return world.window(k=0)


@pytest.mark.parametrize(("gap_s", "rests"), [(5.0, False), (40.0, True), (5_000.0, False)])
def test_a_script_that_goes_through_items_is_a_run(gap_s: float, rests: bool) -> None:
    window = one_customer(items(80), gap_s=gap_s, rests=rests)
    found = found_in(window)
    assert len(found.runs) == 1
    assert not found.scattered
    accounts = window.rows.account[found.runs[0].rows]
    assert {window.rows.account_ids[number] for number in accounts.tolist()} == {"evaluator"}
    assert len(found.runs[0].rows) == 80


@pytest.mark.parametrize(
    ("texts", "gap_s", "rests"),
    [
        (items(80), 150.0, True),  # a learner
        (items(40), 5.0, False),  # too few
        (plain(80), 5.0, False),  # a batch job
        ([text for pair in zip(items(80), plain(80), strict=True) for text in pair], 5.0, False),  # some are items
        ([f"Say whether this comment is rude. A. yes B. no C. maybe\n{text}" for text in plain(80)], 5.0, False),
    ],
)
def test_people_batch_jobs_and_templates_are_no_runs(texts: list[str], gap_s: float, rests: bool) -> None:
    found = found_in(one_customer(texts, gap_s=gap_s, rests=rests))
    assert (found.runs, found.scattered) == ((), ())


def test_registered_items_and_those_accused_have_findings_of_their_own() -> None:
    window = one_customer(items(80), gap_s=5.0)
    registered = np.array([0 if text.startswith("Which") else -1 for text in window.texts], np.int32)
    assert not found_in(window, hits=[BenchmarkHits("b", 80, registered)]).runs
    assert not found_in(window, accused=["evaluator"]).runs
    assert not found_in(replace(window, slice=Slice(field=TextField.RESPONSE))).runs


def dealt(customers: int, each: int, *, common: int = 0, share: float = 1.0) -> tuple[Window, np.ndarray]:
    """Customers who ask slices of one list slowly, some of it in common, and the list's family."""
    world = World()
    world.people(5)
    listed = items(customers * each + common, seed=2)
    others = plain(len(listed), seed=3)
    listed = [text if number < share * len(listed) else others[number] for number, text in enumerate(listed)]
    for number in range(customers):
        own = [*listed[number * each : (number + 1) * each], *listed[len(listed) - common :]]
        ask(world, f"customer-{number}", own, gap_s=150.0, rests=True)
    window = world.window(k=0)
    known = set(listed)
    return window, np.array([0 if text in known else -1 for text in window.texts], np.int32)


def test_a_family_of_items_that_nobody_asks_twice_is_reported_with_its_customers() -> None:
    window, family = dealt(6, 20)
    found = found_in(window, family)
    assert not found.runs
    assert [len(one.rows) for one in found.scattered] == [120]
    assert found.scattered[0].repeats == 0


@pytest.mark.parametrize(
    ("customers", "each", "common", "share"),
    [
        (6, 20, 15, 1.0),  # a bank that several draw from
        (2, 40, 0, 1.0),  # too few customers
        (4, 10, 0, 1.0),  # too few items
        (6, 20, 0, 0.7),  # a subject in which some questions look like items
    ],
)
def test_banks_and_subjects_are_no_benchmark_like_families(
    customers: int, each: int, common: int, share: float
) -> None:
    found = found_in(*dealt(customers, each, common=common, share=share))
    assert (found.runs, found.scattered) == ((), ())


def test_families_of_the_same_customers_are_one_finding() -> None:
    window, family = dealt(6, 20)
    family[family == 0] = np.arange((family == 0).sum()) % 3
    found = found_in(window, family)
    assert [len(one.rows) for one in found.scattered] == [120]


def test_a_run_is_a_low_finding_that_accuses_nobody() -> None:
    world = World()
    world.people(30)
    ask(world, "evaluator", items(600), gap_s=5.0)
    result: Detection = detect(world.window(k=15))
    runs = [finding for finding in result.findings if finding.kind is FindingKind.BENCHMARK_RUN]
    assert [(len(run.accounts), run.accounts[0].account_id, run.severity) for run in runs] == [
        (1, "evaluator", Severity.LOW)
    ]
    assert "benchmark-like" in runs[0].title
    assert {"item_form", "pace", "harvest"} <= {item.name for item in runs[0].evidence}
    assert not runs[0].benchmarks
