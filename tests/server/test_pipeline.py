"""A run with the real detection: what it is handed, and what comes out over the socket."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from coterie.client import Client
from coterie.detection import Detection, Parameters, stripped_texts, with_format
from coterie.detection.identity import with_lineage
from coterie.domain import (
    BenchmarkItem,
    Exchange,
    ExchangeId,
    Finding,
    FindingId,
    FindingKind,
    Lineage,
    ParameterSet,
    Review,
    ReviewState,
    Run,
    RunState,
    Severity,
    Slice,
    TextField,
    Window,
    normalise,
)
from coterie.domain.webhooks import webhook_type
from coterie.embedder import MULTILINGUAL_MODEL, load_encoder
from coterie.server import Config, Engine
from coterie.server.views import WindowBuilder
from coterie.simulation import Config as Traffic
from coterie.simulation import simulate

from .conftest import Script

ENCODER = load_encoder("hash")
DAY_US = 86_400_000_000


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> list[Window]:
    """What detection is handed; it finds nothing."""
    seen: list[Window] = []

    def look(window: Window, parameters: Parameters, **_: Any) -> Detection:
        seen.append(window)
        return Detection(measures={"looked": 1.0})

    monkeypatch.setattr("coterie.server.pipeline.detect", look)
    return seen


@pytest.fixture
def wrapped(exchange: Callable[..., Exchange]) -> list[Exchange]:
    """Every second account puts the same words before all its questions."""
    persona = "You are a patient teacher who answers in short sentences. "
    made = [exchange(number, response=f"answer {number}") for number in range(140)]
    return [replace(item, prompt=persona + item.prompt) if int(item.account_id[-1]) % 2 else item for item in made] + [
        replace(made[0], exchange_id=ExchangeId("again"), prompt="  " + made[0].prompt.replace(" ", "\n"))
    ]


def run_to_its_end(engine: Engine, finished: Any, *bounds: int, **more: Any) -> Run:
    run: Run = finished(engine, engine.start_run(*(bounds or (None, None)), **more).run_id)
    assert run.state is RunState.DONE, run.error
    return run


def test_the_raw_view_is_the_distinct_prompts_with_their_vectors(
    engine: Engine, wrapped: list[Exchange], windows: list[Window], finished: Any
) -> None:
    engine.ingest(wrapped).result(10)
    run_to_its_end(engine, finished)
    window = windows[0]
    prompts = {item.exchange_id: normalise(item.prompt) for item in wrapped}
    by_row = [normalise(window.texts[text]) for text in window.raw.text]
    assert by_row == [prompts[exchange_id] for exchange_id in window.rows.exchange_ids]
    assert len(window.texts) == len(set(prompts.values())) == len(window.text_ids) == len(window.raw.vectors)
    assert np.allclose(window.raw.vectors, ENCODER.encode([normalise(text) for text in window.texts]), atol=2e-3)
    assert window.raw.graph.neighbours.shape == (len(window.texts), engine.config.graph_k)


def test_the_stripped_view_is_embedded_anew_once_and_only_where_it_differs(
    engine: Engine, wrapped: list[Exchange], windows: list[Window], finished: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.ingest(wrapped).result(10)
    run = run_to_its_end(engine, finished)
    window = windows[0]
    view = window.views["stripped"]
    expected = stripped_texts(window.texts, window.raw.text, window.rows.account)
    kept = [normalise(expected[text]) for text in window.raw.text]
    assert (view.text == -1).tolist() == [not text for text in kept]
    vectors = ENCODER.encode([text for text in kept if text])
    assert np.allclose(view.vectors[view.text[view.text >= 0]], vectors, atol=2e-3)
    assert len(view.vectors) == len({text for text in kept if text})
    assert 0 < run.measures["stripped_texts_changed"] < len(window.texts)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the cache should have had it")

    monkeypatch.setattr(type(engine._embedding.encoder()), "encode", refuse)
    run_to_its_end(engine, finished)
    assert np.allclose(windows[1].views["stripped"].vectors, view.vectors, atol=2e-3)


def test_the_format_view_says_how_the_same_prompts_are_put(
    engine: Engine, wrapped: list[Exchange], windows: list[Window], finished: Any
) -> None:
    engine.ingest(wrapped).result(10)
    run = run_to_its_end(engine, finished)
    window = windows[0]
    view = window.views["format"]
    assert np.array_equal(view.text, window.raw.text)
    assert np.array_equal(view.vectors, with_format(window.raw.vectors, window.texts))
    assert view.graph.neighbours.shape == window.raw.graph.neighbours.shape
    assert run.measures["format_texts"] == len(window.texts)


def test_the_window_is_the_days_up_to_and_with_the_newest(
    engine: Engine, exchange: Callable[..., Exchange], windows: list[Window], finished: Any
) -> None:
    newest = exchange(1).time_us + 100 * DAY_US
    ages = {"newest": 0, "edge": 14 * DAY_US - 1, "beyond": 14 * DAY_US, "old": 60 * DAY_US}
    engine.ingest(
        [replace(exchange(1), exchange_id=ExchangeId(name), time_us=newest - age) for name, age in ages.items()]
    ).result(10)
    run = run_to_its_end(engine, finished)
    assert set(windows[0].rows.exchange_ids) == {"newest", "edge"}
    assert (run.since_us, run.until_us) == (newest + 1 - 14 * DAY_US, newest + 1)
    run_to_its_end(engine, finished, newest - 60 * DAY_US, newest - 14 * DAY_US)
    assert set(windows[1].rows.exchange_ids) == {"old"}
    run_to_its_end(engine, finished, 0, newest)
    assert set(windows[2].rows.exchange_ids) == {"edge", "beyond", "old"}


def test_a_window_without_exchanges_fails_with_the_reason(
    engine: Engine, exchange: Callable[..., Exchange], finished: Any
) -> None:
    engine.ingest([exchange(1)]).result(10)
    run = finished(engine, engine.start_run(exchange(1).time_us - 10, exchange(1).time_us - 5).run_id)
    assert run.state is RunState.FAILED
    assert "choose another window" in run.error


@pytest.mark.parametrize("prompts", [["alone"], ["same"] * 30, ["one", "other"]])
def test_tiny_windows_are_no_error(
    engine: Engine, exchange: Callable[..., Exchange], finished: Any, prompts: Sequence[str]
) -> None:
    engine.ingest([exchange(number, prompt=prompt) for number, prompt in enumerate(prompts)]).result(10)
    run = run_to_its_end(engine, finished)
    assert engine.findings() == (run.run_id, [])
    assert run.measures["raw_texts"] == len(set(prompts))


def test_a_slice_holds_what_passes_and_nothing_else(
    engine: Engine, exchange: Callable[..., Exchange], windows: list[Window], finished: Any
) -> None:
    made = [
        exchange(number, model=f"m{number % 3}", attributes={"organisation": f"o{number % 2}"}) for number in range(90)
    ]
    engine.ingest(made).result(10)
    for part, passes in (
        (Slice(models=("m1", "m2")), lambda item: item.model in ("m1", "m2")),
        (Slice(accounts=("account-1", "account-5")), lambda item: item.account_id in ("account-1", "account-5")),
        (Slice(attributes={"organisation": "o1"}), lambda item: item.attributes["organisation"] == "o1"),
        (
            Slice(models=("m0",), attributes={"organisation": "o0"}),
            lambda item: item.model == "m0" and item.attributes["organisation"] == "o0",
        ),
    ):
        run = run_to_its_end(engine, finished, part=part)
        expected = {item.exchange_id for item in made if passes(item)}
        assert 0 < len(expected) < len(made)
        assert set(windows[-1].rows.exchange_ids) == expected
        assert windows[-1].slice == run.slice == part
        assert engine.findings() == ("", [])
    both = (exchange(20).time_us, exchange(50).time_us)
    run_to_its_end(engine, finished, *both, part=Slice(models=("m1",)))
    assert set(windows[-1].rows.exchange_ids) == {item.exchange_id for item in made[20:50] if item.model == "m1"}


@pytest.mark.parametrize(
    ("part", "named"),
    [
        (Slice(models=("m9",)), "passes models"),
        (Slice(models=("all-MiniLM-L6-v2",)), "passes models; a slice's model is the one that answered"),
        (Slice(accounts=("nobody",), models=("m1",)), "passes account_ids"),
        (Slice(attributes={"asn": "9"}), "passes attributes"),
        (Slice(field=TextField.RESPONSE), "field is response"),
        (Slice(models=("m1",), accounts=("account-2",)), "passes all its filters"),
    ],
)
def test_an_empty_slice_fails_at_once_and_names_the_filter(
    engine: Engine, exchange: Callable[..., Exchange], finished: Any, part: Slice, named: str
) -> None:
    engine.ingest([exchange(1, model="m1"), exchange(2, model="m2")]).result(10)
    run = finished(engine, engine.start_run(None, None, part=part).run_id)
    assert run.state is RunState.FAILED
    assert named in run.error
    assert "nobody" not in run.error
    assert run.stage == ""  # before it embeds what waits


def test_a_run_on_responses_sees_them_as_its_texts(
    config: Config, exchange: Callable[..., Exchange], windows: list[Window], finished: Any
) -> None:
    made = [exchange(number, response=f"the answer {number % 20}" if number % 3 else "") for number in range(90)]
    made.append(exchange(90, prompt="the answer 4", response="please explain bread to nobody"))
    engine = Engine.open(replace(config, lazy_model=True))
    try:
        engine.register_benchmark("quiz", [BenchmarkItem("i", "the answer 4")])
        engine.ingest(made).result(10)
        run = run_to_its_end(engine, finished, part=Slice(field=TextField.RESPONSE))
        window = windows[0]
        answered = {item.exchange_id: item.response for item in made if item.response}
        texts = [window.texts[text] for text in window.raw.text]
        assert dict(zip(window.rows.exchange_ids, texts, strict=True)) == answered
        assert engine.store.texts(window.rows.prompt) == texts
        assert np.allclose(window.raw.vectors, ENCODER.encode(list(window.texts)), atol=2e-3)
        assert window.benchmarks == ()
        assert run.measures["raw_texts"] == len(set(answered.values()))
        run_to_its_end(engine, finished)
        assert len(windows[1].benchmarks) == 1
    finally:
        engine.close()


def test_a_response_that_arrives_meanwhile_is_embedded_too(
    config: Config, exchange: Callable[..., Exchange], windows: list[Window], finished: Any, monkeypatch: Any
) -> None:
    engine = Engine.open(replace(config, lazy_model=True))
    try:
        engine.ingest([exchange(number, response=f"answer {number}") for number in range(20)]).result(10)
        embed = engine._embedding.embed_pending

        def then_more(*arguments: Any) -> int:
            done = embed(*arguments)
            engine.ingest([exchange(number, response=f"answer {number}") for number in range(20, 50)]).result(10)
            return done

        monkeypatch.setattr(engine._embedding, "embed_pending", then_more)
        run_to_its_end(engine, finished, part=Slice(field=TextField.RESPONSE))
        assert len(windows[0].raw.vectors) == 50
    finally:
        engine.close()


def test_one_account_has_families_and_is_no_campaign(
    engine: Engine, exchange: Callable[..., Exchange], finished: Any
) -> None:
    engine.ingest(
        [exchange(number, account="alone" if number % 2 else f"other-{number % 5}") for number in range(300)]
    ).result(10)
    run = run_to_its_end(engine, finished, part=Slice(accounts=("alone",)))
    assert (run.measures["accounts"], run.measures["exchanges"]) == (1, 150)
    assert run.measures["families"] >= 1
    assert engine.findings(run.run_id) == (run.run_id, [])


def test_a_list_that_nobody_registered_is_a_low_finding_of_one_customer(
    engine: Engine, exchange: Callable[..., Exchange], finished: Any
) -> None:
    """From ingest to findings: a script goes through questions with options, beside people."""
    rng = np.random.default_rng(0)
    words = rng.choice([f"word{number}" for number in range(900)], (80, 6)).tolist()
    listed = [f"Which {a} {b} {c}?\nA. {d}\nB. {e}\nC. {f}" for a, b, c, d, e, f in words]
    begin_us = exchange(0).time_us
    items = [
        exchange(1_000 + number, account="evaluator", prompt=text, time_us=begin_us + number * 7_000_000)
        for number, text in enumerate(listed)
    ]
    engine.ingest([exchange(number) for number in range(100)] + items).result(10)
    run = run_to_its_end(engine, finished)
    (finding,) = (one for one in engine.findings(run.run_id)[1] if one.kind is FindingKind.BENCHMARK_RUN)
    assert finding.severity is Severity.LOW
    assert [(account.account_id, account.exchanges) for account in finding.accounts] == [("evaluator", 80)]
    assert next(item.value for item in finding.evidence if item.name == "pace") == 7.0


def test_detection_is_told_when_models_were_released(
    config: Config, exchange: Callable[..., Exchange], windows: list[Window], finished: Any
) -> None:
    engine = Engine.open(replace(config, releases="model-x=2026-11-01"))
    try:
        engine.ingest([exchange(number) for number in range(20)]).result(10)
        run_to_its_end(engine, finished)
    finally:
        engine.close()
    assert windows[0].releases == {"model-x": 1_793_491_200_000_000}


def test_several_sets_share_texts_vectors_and_graphs(
    engine: Engine, exchange: Callable[..., Exchange], finished: Any, monkeypatch: Any
) -> None:
    engine.ingest([exchange(number) for number in range(300)]).result(10)
    alone = run_to_its_end(engine, finished)
    built: list[int] = []
    graph = WindowBuilder._graph

    def counted(builder: WindowBuilder, *arguments: Any, **more: Any) -> Any:
        built.append(1)
        return graph(builder, *arguments, **more)

    monkeypatch.setattr(WindowBuilder, "_graph", counted)
    sets = (ParameterSet(), ParameterSet(5, 10), ParameterSet(10, 70))
    run = run_to_its_end(engine, finished, sets=sets)
    assert len(built) == 2  # one a view
    assert alone.measures["raw_graph_new_texts"] == 300
    assert run.measures["raw_graph_new_texts"] == run.measures["stripped_graph_new_texts"] == 0
    assert run.sets == (ParameterSet(5, 10), ParameterSet(5, 10), ParameterSet(10, 70))
    assert run.parameters == alone.parameters == Parameters().as_dict()
    assert run.measures["sets.1.families"] == run.measures["families"] == alone.measures["families"]
    assert run.measures["sets.2.agreement"] == 1
    assert run.measures["sets.3.agreement"] < 1
    assert run.measures["sets.3.families"] < run.measures["sets.1.families"]
    assert not [name for name in alone.measures if name.startswith("sets.")]
    turned = run_to_its_end(engine, finished, sets=(ParameterSet(10, 70),))
    assert turned.parameters == Parameters(min_samples=10, min_cluster_size=70).as_dict()
    assert turned.measures["families"] == run.measures["sets.3.families"]
    assert not [name for name in turned.measures if name.startswith("sets.")]


def test_every_prompt_has_its_vector_even_when_the_queue_moves(
    config: Config, exchange: Callable[..., Exchange], windows: list[Window], finished: Any, monkeypatch: Any
) -> None:
    """More arrives between the embed stage and the window: the run embeds that too."""
    engine = Engine.open(replace(config, lazy_model=True))
    try:
        engine.ingest([exchange(number) for number in range(20)]).result(10)
        embed = engine._embedding.embed_pending

        def then_more(*arguments: Any) -> int:
            done = embed(*arguments)
            engine.ingest([exchange(number) for number in range(20, 50)]).result(10)
            return done

        monkeypatch.setattr(engine._embedding, "embed_pending", then_more)
        run_to_its_end(engine, finished)
        assert windows[0].rows.size == 50
        assert len(windows[0].raw.vectors) == 50
    finally:
        engine.close()


def test_benchmarks_are_searched_for_every_text(
    engine: Engine, exchange: Callable[..., Exchange], windows: list[Window], finished: Any
) -> None:
    items = [BenchmarkItem(f"i{number}", exchange(3 * number).prompt + "?") for number in range(25)]
    items.append(BenchmarkItem("twice", items[0].text))
    engine.register_benchmark("quiz", items)
    engine.register_benchmark("small", items[:2])
    engine.ingest([exchange(number) for number in range(60)]).result(10)
    run_to_its_end(engine, finished)
    small, quiz = sorted(windows[0].benchmarks, key=lambda view: len(view.items))
    assert quiz.items == tuple(item.text for item in items)
    for view in (small, quiz):
        assert (np.diff(view.text) >= 0).all()
        assert len(set(zip(view.text.tolist(), view.item.tolist(), strict=True))) == len(view.text)
    # A text that two items share is a candidate of both; what is the item but for a mark is a candidate of it.
    by_text = {row: set(quiz.item[quiz.text == row].tolist()) for row in range(60)}
    assert all((0 in held) == (25 in held) for held in by_text.values())
    asked = {text: row for row, text in enumerate(windows[0].texts)}
    for number in range(20):  # the other five items are of prompts that nobody sent
        assert number in by_text[asked[exchange(3 * number).prompt]]
    assert set(small.item.tolist()) == {0, 1}
    multilingual = load_encoder(MULTILINGUAL_MODEL)
    asked_vectors = multilingual.encode(list(windows[0].texts))
    item_vectors = multilingual.encode([item.text for item in items])
    cosines = (asked_vectors[quiz.text] * item_vectors[quiz.item]).sum(axis=1)
    assert np.allclose(quiz.similarity, cosines, atol=2e-3)


def test_earlier_findings_are_handed_on(
    engine: Engine, exchange: Callable[..., Exchange], windows: list[Window], finished: Any
) -> None:
    script = Script()
    engine.ingest([exchange(number) for number in range(10)]).result(10)
    run = Run(engine.start_run(None, None).run_id, RunState.PENDING, 0)  # without findings: the first
    finished(engine, run.run_id)
    second = replace(run, run_id=type(run.run_id)("second"), created_us=run.created_us + 10**16)
    engine.store.create_run(second)
    engine.store.finish_run(replace(second, state=RunState.DONE), script.findings, script.standings)
    run_to_its_end(engine, finished)
    assert [finding.finding_id for finding in windows[-1].earlier] == ["f-big", "f-small"]


def test_a_dismissed_finding_that_is_gone_for_a_while_comes_back_dismissed(
    engine: Engine, exchange: Callable[..., Exchange], finished: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.ingest([exchange(number) for number in range(10)]).result(10)
    found: list[Finding] = []

    def look(window: Window, parameters: Parameters, **_: Any) -> Detection:
        return Detection(findings=with_lineage(found, window.earlier))

    monkeypatch.setattr("coterie.server.pipeline.detect", look)
    campaign = Script().findings[0]
    for gap in (1, 3):
        found[:] = [campaign]
        run_to_its_end(engine, finished)
        decided = Review(campaign.finding_id, ReviewState.DISMISSED, "a course", "ann", 1)
        engine.store.add_review(decided)
        found.clear()
        for run in [run_to_its_end(engine, finished) for _ in range(gap)][:1]:
            assert [item.lineage for item in engine.findings(run.run_id)[1]] == [Lineage.GONE]
        assert engine.findings()[1] == [] or gap == 1
        found[:] = [replace(campaign, finding_id=FindingId(f"f-other-{gap}"))]
        run_to_its_end(engine, finished)
        (shown,) = engine.findings()[1]
        assert (shown.finding_id, shown.review) == (campaign.finding_id, ReviewState.DISMISSED)
        assert (shown.lineage, shown.returned) == (Lineage.STEADY, True)
        assert engine.store.reviews(campaign.finding_id)[-1].reason.startswith("It came back: it was gone from run")
        told = engine.store.outbox(engine.store.last_event() - 1, 9)
        assert [webhook_type(event) for event in told] == ["finding.changed"]


def test_texts_are_recognised_as_benchmark_items(client: Client) -> None:
    assert client.match_benchmarks(["anything at all"]) == [[]]
    questions = [f"How many legs do {number} spiders and {number + 3} ants have together?" for number in range(40)]
    client.register_benchmark("legs", [BenchmarkItem(f"q{row}", text) for row, text in enumerate(questions)])
    client.register_benchmark("copy", [BenchmarkItem("c7", questions[7])])
    matches = client.match_benchmarks([questions[7], "Please write a sonnet about the autumn rain."])
    assert [(match.benchmark, match.item_id, match.method) for match in matches[0][:2]] == [
        ("copy", "c7", "verbatim"),
        ("legs", "q7", "verbatim"),
    ]
    assert matches[0][0].similarity == pytest.approx(1.0, abs=1e-3)
    assert matches[1] == []


def test_a_campaign_in_simulated_traffic_is_found_over_the_socket(client: Client) -> None:
    traffic = simulate(Traffic(accounts=60, seed=1))
    assert client.ingest(traffic.events).stored == len(traffic.events)
    states = list(client.watch_run(client.start_run().run_id))
    run = states[-1]
    assert run.state is RunState.DONE, run.error
    assert run.measures["exchanges"] > 0.9 * len(traffic.events)
    assert {"embed_s", "window_s", "views_s", "graph_s", "benchmarks_s", "cluster_s", "test_s"} <= set(run.measures)
    assert run.measures["raw_graph_recall"] > 0.95
    assert run.parameters == Parameters().as_dict()
    _, findings = client.list_findings()
    accused = {account.account_id for finding in findings for account in finding.accounts}
    guilty = {account for account, truth in traffic.truth.items() if truth["label"] != "benign"}
    assert len(accused & guilty) > 0.5 * len(guilty)
    assert_a_slice_leaves_these_standing(client, run, findings)
    for finding in findings:
        assert finding.run_id == run.run_id
        assert finding.evidence
        _, _, exemplars = client.get_finding(finding.finding_id)
        assert [item.exchange_id for item in exemplars] == list(finding.exemplars)


def assert_a_slice_leaves_these_standing(client: Client, whole: Run, findings: list[Finding]) -> None:
    """Runs on a finding's accounts find them again under ids of their own; no answer about the whole changes."""
    accused = sorted({account.account_id for finding in findings for account in finding.accounts})
    answers = [client.get_account(name) for name in accused]
    others = sorted({hit.exchange.account_id for hit in client.search("write", k=1_000).hits} - set(accused))
    part = Slice(accounts=(*accused, *others[: 2 * len(accused)]))
    runs = [list(client.watch_run(client.start_run(slice=part).run_id))[-1] for _ in range(2)]
    assert [(run.state, run.slice) for run in runs] == [(RunState.DONE, part.listed(20))] * 2
    assert client.get_run(runs[0].run_id).slice == part
    assert client.list_findings() == (whole.run_id, findings)
    assert [client.get_account(name) for name in accused] == answers
    first, second = (client.list_findings(run.run_id)[1] for run in runs)
    assert first
    assert not {item.finding_id for item in first} & {item.finding_id for item in findings}
    assert {item.lineage for item in first} == {Lineage.NEW}
    assert {item.lineage for item in second} == {Lineage.STEADY}
    assert [item.finding_id for item in first] == [item.finding_id for item in second]
