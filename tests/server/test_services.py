"""The seven services over a real socket, with health and reflection beside them."""

import os
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from coterie.client import Client
from coterie.client.channel import Stubs
from coterie.domain import (
    AccountId,
    BenchmarkItem,
    ConflictError,
    CoterieError,
    Exchange,
    ExchangeId,
    FindingKind,
    InvalidError,
    NotFoundError,
    ParameterSet,
    ReviewState,
    Run,
    RunState,
    SearchFilter,
    Slice,
    TextField,
)
from coterie.embedder import load_encoder
from coterie.server import Config, Engine, local_server
from coterie.server.app import SERVICE_NAMES
from coterie.v1 import finding_service_pb2, run_service_pb2, search_service_pb2, types_pb2


@pytest.fixture
def filled(script: Any, client: Client, exchange: Callable[..., Exchange], until: Callable[..., None]) -> Client:
    client.ingest([exchange(number, response=f"answer {number}", model="large") for number in range(60)])
    until(lambda: client.stats().pending_texts == 0)
    return client


@pytest.fixture
def stubs(address: str) -> Iterator[Stubs]:
    with grpc.insecure_channel(address) as channel:
        yield Stubs.on(channel)


def run_to_its_end(client: Client) -> Run:
    return list(client.watch_run(client.start_run().run_id))[-1]


def status_of(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code(), caught.value.details()


def test_search_finds_by_text_exchange_and_vector(
    filled: Client, exchange: Callable[..., Exchange], until: Callable[..., None]
) -> None:
    text = exchange(12).prompt
    until(lambda: len(filled.search(text, k=60).hits) == 60)
    by_text = filled.search(text, k=3, filter=SearchFilter(models=("large",)), one_per_account=True)
    by_vector = filled.search(vector=load_encoder("hash").encode([text])[0], k=3, one_per_account=True)
    assert [hit.exchange for hit in by_text.hits] == [hit.exchange for hit in by_vector.hits]
    assert by_text.hits[0].exchange == exchange(12, response="answer 12", model="large")
    assert by_text.hits[0].similarity == pytest.approx(1.0, abs=1e-3)
    by_exchange = filled.search(exchange_id="e00012", k=3)
    assert "e00012" not in {hit.exchange.exchange_id for hit in by_exchange.hits}
    responses = filled.search("answer 31", field=TextField.RESPONSE, k=1)
    assert responses.hits[0].exchange.exchange_id == "e00031"


def test_an_exchange_id_that_is_too_long_is_named(filled: Client) -> None:
    with pytest.raises(InvalidError, match="exchange_id has 300 characters") as caught:
        filled.search(exchange_id=ExchangeId("x" * 300))
    assert caught.value.field == "exchange_id"


def test_a_vector_that_is_none_is_refused(stubs: Stubs) -> None:
    for vector, says in ((b"\0\0\0", "3 bytes"), (b"", "vector has 0 numbers"), (b"\0" * 1024, "not all zero")):
        code, message = status_of(
            lambda vector=vector: stubs.search.Search(search_service_pb2.SearchRequest(vector=vector))
        )
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert says in message
    assert status_of(lambda: stubs.search.Search(search_service_pb2.SearchRequest()))[0] is (
        grpc.StatusCode.INVALID_ARGUMENT
    )


def test_a_run_is_watched_to_its_end_and_its_findings_are_read(filled: Client, exchange: Any) -> None:
    states = list(filled.watch_run(filled.start_run().run_id))
    assert states[-1].state is RunState.DONE
    assert filled.get_run() == states[-1]
    run_id, findings = filled.list_findings()
    assert run_id == states[-1].run_id
    assert [finding.finding_id for finding in findings] == ["f-big", "f-small"]
    assert {finding.run_id for finding in findings} == {run_id}
    finding, reviews, exemplars = filled.get_finding("f-big")
    assert finding == findings[0]
    assert reviews == []
    assert [item.exchange_id for item in exemplars] == ["e00001", "e00002"]
    assert exemplars[0].prompt == exchange(1).prompt


def test_findings_are_filtered(filled: Client) -> None:
    run_to_its_end(filled)
    filled.review_finding("f-small", ReviewState.DISMISSED, "known crowd")

    def ids(**wanted: Any) -> list[str]:
        return [finding.finding_id for finding in filled.list_findings(**wanted)[1]]

    assert ids(kind=FindingKind.CAMPAIGN) == ["f-big", "f-small"]
    assert ids(kind=FindingKind.BENCHMARK_RUN) == []
    assert ids(review=ReviewState.DISMISSED) == ["f-small"]
    assert ids(account_id="account-2") == ["f-big"]
    with pytest.raises(NotFoundError):
        ids(run_id="no such run")


def test_listings_come_in_pages(filled: Client, stubs: Stubs) -> None:
    runs = [run_to_its_end(filled) for _ in range(5)]
    seen: list[str] = []
    token = ""
    while True:
        page = types_pb2.PageRequest(page_size=2, page_token=token)
        answer = stubs.run.ListRuns(run_service_pb2.ListRunsRequest(page=page))
        seen += [run.run_id for run in answer.runs]
        token = answer.page.next_page_token
        if not token:
            break
    assert seen == [run.run_id for run in reversed(runs)]
    page = types_pb2.PageRequest(page_size=1)
    first = stubs.finding.ListFindings(finding_service_pb2.ListFindingsRequest(page=page))
    run_to_its_end(filled)  # a newer run must not mix into a listing that has begun
    page.page_token = first.page.next_page_token
    second = stubs.finding.ListFindings(finding_service_pb2.ListFindingsRequest(page=page))
    assert first.run_id == second.run_id == runs[-1].run_id
    assert [item.finding_id for item in (*first.findings, *second.findings)] == ["f-big", "f-small"]
    assert second.page.next_page_token == ""
    page.page_token = "x" + page.page_token
    code, _ = status_of(lambda: stubs.finding.ListFindings(finding_service_pb2.ListFindingsRequest(page=page)))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    mixed = finding_service_pb2.ListFindingsRequest(
        run_id=runs[0].run_id, page=types_pb2.PageRequest(page_token=first.page.next_page_token)
    )
    assert status_of(lambda: stubs.finding.ListFindings(mixed))[0] is grpc.StatusCode.INVALID_ARGUMENT


def test_findings_and_reviews_reach_a_watcher(filled: Client, address: str) -> None:
    seen: queue.Queue[tuple[int, str, ReviewState]] = queue.Queue()
    run_to_its_end(filled)
    with Client.connect(address) as watching:

        def watch() -> None:
            try:
                for event, finding in watching.watch_findings(after_event=1):
                    seen.put((event, finding.finding_id, finding.review))
            except CoterieError:
                return  # the client was closed

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        old = seen.get(timeout=10)
        assert old[0] == 2
        filled.review_finding("f-big", ReviewState.CONFIRMED, "they share a card", reviewer="ana")
        event, finding_id, review = seen.get(timeout=10)
        assert (finding_id, review) == ("f-big", ReviewState.CONFIRMED)
        assert event > old[0]
        run_to_its_end(filled)
        assert {seen.get(timeout=10)[1], seen.get(timeout=10)[1]} == {"f-big", "f-small"}
    thread.join(10)
    _, reviews, _ = filled.get_finding("f-big")
    assert [(item.decision, item.reason, item.reviewer) for item in reviews] == [
        (ReviewState.CONFIRMED, "they share a card", "ana")
    ]


def test_watching_from_now_on_leaves_out_what_was(filled: Client, stubs: Stubs, until: Callable[..., None]) -> None:
    run_to_its_end(filled)
    stream = stubs.finding.WatchFindings(finding_service_pb2.WatchFindingsRequest())
    seen: list[str] = []

    def watch() -> None:
        try:
            seen.extend(item.finding.finding_id for item in stream)
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.CANCELLED  # noqa: PT017 - it ends the thread

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    filled.get_run()
    until(lambda: bool(filled.review_finding("f-small", ReviewState.WATCHED, "look again") and seen))
    stream.cancel()
    thread.join(10)
    assert set(seen) == {"f-small"}


def test_reviews_are_checked(filled: Client, stubs: Stubs) -> None:
    run_to_its_end(filled)
    request = finding_service_pb2.ReviewFindingRequest(finding_id="f-big", reason="why")
    code, message = status_of(lambda: stubs.finding.ReviewFinding(request))
    assert (code, "decision" in message) == (grpc.StatusCode.INVALID_ARGUMENT, True)
    for reason in ("", " ", "x" * 2_001):
        with pytest.raises(InvalidError, match="reason"):
            filled.review_finding("f-big", ReviewState.WATCHED, reason)
    with pytest.raises(NotFoundError):
        filled.review_finding("nothing", ReviewState.WATCHED, "why")


def test_what_a_slice_found_is_read_by_its_run_and_changes_no_other_answer(filled: Client) -> None:
    accounts = tuple(AccountId(f"account-{number:02}") for number in range(25))
    part = Slice(("large",), accounts, field=TextField.RESPONSE)
    sets = (ParameterSet(5, 10), ParameterSet(10, 20))

    def run_it() -> list[Run]:
        return list(filled.watch_run(filled.start_run(slice=part, sets=sets).run_id))

    states = run_it()
    assert all(run.slice == part.listed(20) for run in states)
    assert states[-1].slice.accounts == accounts[:20]
    assert states[-1].slice.accounts_unlisted == 5
    assert filled.get_run(states[-1].run_id).slice == part
    assert filled.get_run().sets == sets
    assert filled.list_findings() == ("", [])
    assert filled.get_account("account-1").standing.reason == "no whole run is done yet"
    assert len(filled.list_findings(states[-1].run_id)[1]) == 2
    whole = run_to_its_end(filled)
    answer = filled.get_account("account-1")
    run_it()
    assert filled.list_findings()[0] == whole.run_id
    assert filled.get_account("account-1") == answer
    assert [run.slice for run in filled.list_runs()] == [part.listed(20), Slice(), part.listed(20)]
    with pytest.raises(InvalidError, match=r"slice\.models has 1001 entries"):
        filled.start_run(slice=Slice(tuple(f"m{number}" for number in range(1_001))))


def test_how_many_accounts_a_listing_left_out_is_not_read_in_a_request(filled: Client, stubs: Stubs) -> None:
    request = run_service_pb2.StartRunRequest(slice=run_service_pb2.Slice(accounts_unlisted=3))
    run = stubs.run.StartRun(request).run
    assert list(filled.watch_run(run.run_id))[-1].slice.is_whole


def test_an_account_is_told_where_it_stands(filled: Client) -> None:
    assert filled.get_account("account-1").standing.reason == "no whole run is done yet"
    run = run_to_its_end(filled)
    held = filled.get_account("account-1")
    assert [finding.finding_id for finding in held.findings] == ["f-big"]
    near = filled.get_account("account-5")
    assert (near.run_id, near.standing.nearest_p_value, near.standing.reason) == (run.run_id, 0.2, "too little")
    assert near.exchanges_total == 8
    assert "window" in filled.get_account("account-6").standing.reason
    with pytest.raises(NotFoundError):
        filled.get_account("stranger")


def test_a_run_is_cancelled_over_the_wire(filled: Client, script: Any) -> None:
    script.go.clear()
    run = filled.start_run()
    with pytest.raises(ConflictError, match=run.run_id):
        filled.start_run()
    filled.cancel_run(run.run_id)
    assert list(filled.watch_run(run.run_id))[-1].state is RunState.CANCELLED


def test_benchmarks_are_registered_and_listed(filled: Client) -> None:
    items = [BenchmarkItem(f"i{number}", f"question number {number}", "answer") for number in range(1_200)]
    assert filled.register_benchmark("quiz", items).items == 1_200
    assert filled.register_benchmark("quiz", items).items == 1_200
    filled.register_benchmark("another", items[:3])
    assert [benchmark.name for benchmark in filled.list_benchmarks()] == ["another", "quiz"]
    with pytest.raises(ConflictError):
        filled.register_benchmark("quiz", items[:5])
    for name, bad in (("", items), ("b", []), ("b", [items[0], items[0]]), ("b", [BenchmarkItem("", "text")])):
        with pytest.raises(InvalidError):
            filled.register_benchmark(name, bad)
    assert len(filled.list_benchmarks()) == 2


def test_erasing_an_account_takes_it_out_of_everything(filled: Client, exchange: Any) -> None:
    run_to_its_end(filled)
    before = filled.stats()
    erasure = filled.erase_account("account-1")
    assert (erasure.exchanges, erasure.findings_changed) == (9, 1)
    assert filled.stats().exchanges == before.exchanges - 9
    hits = filled.search(exchange(1).prompt, k=100).hits
    assert len(hits) == 51
    assert "account-1" not in {hit.exchange.account_id for hit in hits}
    finding, _, exemplars = filled.get_finding("f-big")
    assert [account.account_id for account in finding.accounts] == ["account-2"]
    assert [item.exchange_id for item in exemplars] == ["e00002"]
    with pytest.raises(NotFoundError):
        filled.get_account("account-1")


def test_stats_count_what_is_there(filled: Client) -> None:
    run_to_its_end(filled)
    stats = filled.stats()
    assert (stats.exchanges, stats.accounts, stats.texts, stats.pending_texts) == (60, 7, 120, 0)
    assert (stats.runs, stats.findings, stats.model_id, stats.dim) == (1, 2, "hash-256", 256)


def test_who_read_and_who_changed_is_recorded(config: Config, script: Any, exchange: Any) -> None:
    with local_server(config) as address, Client.connect(address) as client:
        client.ingest([exchange(1), exchange(2)])
        client.search(exchange_id="e00001")
        run = run_to_its_end(client)
        client.get_finding("f-big")
        client.review_finding("f-big", ReviewState.WATCHED, "why")
        erasure = client.erase_account("account-1")
    import pwd
    import sqlite3

    owner = pwd.getpwuid(os.getuid()).pw_name
    with sqlite3.connect(config.data_dir / "coterie.db") as database:
        rows = database.execute("SELECT action, subject, actor FROM audit ORDER BY rowid").fetchall()
    database.close()
    assert [(action, subject) for action, subject, actor in rows if actor == owner] == [
        ("ingest", ""),
        ("search", "e00001"),
        ("start_run", run.run_id),
        ("read_finding", "f-big"),
        ("review_finding", "f-big"),
        ("erase_account", erasure.tombstone),
    ]


def test_health_and_reflection(address: str, until: Callable[..., None]) -> None:
    with grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)

        def serving(service: str) -> bool:
            answer = health.Check(health_pb2.HealthCheckRequest(service=service))
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

        for service in ("", *SERVICE_NAMES):
            until(lambda service=service: serving(service))
        services = ProtoReflectionDescriptorDatabase(channel).get_services()
    assert set(SERVICE_NAMES) < set(services)
    assert len(SERVICE_NAMES) == 8
    assert {"grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"} < set(services)


def test_health_says_no_while_the_model_drifts(config: Config, monkeypatch: pytest.MonkeyPatch, exchange: Any) -> None:
    from coterie.domain import UnavailableError

    tested = threading.Event()

    def drift(_: object) -> None:
        tested.set()
        raise UnavailableError("the model drifted")

    monkeypatch.setattr("coterie.embedder.self_test", drift)
    with local_server(config) as address, grpc.insecure_channel(address) as channel:
        assert tested.wait(10)
        health = health_pb2_grpc.HealthStub(channel)
        answer = health.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
        with Client.connect(address) as client:
            assert client.ingest([exchange(1)]).stored == 1


def test_watches_end_when_the_server_stops(config: Config, script: Any, exchange: Any) -> None:
    script.go.clear()
    with local_server(config) as address:
        channel = grpc.insecure_channel(address)
        stubs = Stubs.on(channel)
        with Client.connect(address) as client:
            client.ingest([exchange(1)])
            run = client.start_run()
        findings = stubs.finding.WatchFindings(finding_service_pb2.WatchFindingsRequest())
        progress = stubs.run.WatchRun(run_service_pb2.WatchRunRequest(run_id=run.run_id))
        next(progress)
        script.started.wait(10)
    assert list(findings) == []
    assert findings.code() is grpc.StatusCode.OK
    last = list(progress)[-1].run
    assert last.state == run_service_pb2.RUN_STATE_FAILED
    assert progress.code() is grpc.StatusCode.OK
    channel.close()


def test_too_many_open_calls_are_refused(config: Config) -> None:
    from dataclasses import replace

    with (
        local_server(replace(config, concurrent_rpcs_max=2)) as address,
        grpc.insecure_channel(address) as channel,
    ):
        stubs = Stubs.on(channel)
        watches = [stubs.finding.WatchFindings(finding_service_pb2.WatchFindingsRequest()) for _ in range(4)]
        codes: queue.Queue[grpc.StatusCode] = queue.Queue()
        for watch in watches:
            watch.add_callback(lambda watch=watch: codes.put(watch.code()))
        assert [codes.get(timeout=10), codes.get(timeout=10)] == [grpc.StatusCode.RESOURCE_EXHAUSTED] * 2
        for watch in watches:
            watch.cancel()


def test_an_unexpected_error_gives_away_nothing(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: Engine) -> None:
        raise KeyError("the secret prompt")

    monkeypatch.setattr(Engine, "stats", broken)
    with pytest.raises(CoterieError, match="internal error, incident") as caught:
        client.stats()
    assert type(caught.value) is CoterieError
    assert "secret" not in str(caught.value) + caplog.text
