import inspect
import time

import pytest

from coterie.client import AsyncClient, Client, RetryPolicy
from coterie.client.channel import channel_options, check_address
from coterie.domain import (
    ConflictError,
    InvalidError,
    NotFoundError,
    OverloadedError,
    ParameterSet,
    Run,
    RunState,
    Slice,
    TextField,
    UnavailableError,
)


def test_both_clients_have_the_same_methods():
    def face(kind):
        return {
            name: [(item.name, item.kind, item.default) for item in inspect.signature(method).parameters.values()]
            for name, method in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_")
        }

    assert face(Client) == face(AsyncClient)
    assert len(face(Client)) >= 17
    for kind in (Client, AsyncClient):
        for name, method in inspect.getmembers(kind, inspect.isfunction):
            assert name.startswith("_") or method.__doc__, name


@pytest.mark.parametrize("kind", [ConflictError, NotFoundError])
def test_refusals_come_back_as_domain_errors_at_once(use, address, script, kind):
    script.call_errors = [kind("run r7 is unfinished")]
    with pytest.raises(kind, match="run r7 is unfinished"):
        use(address, lambda client: client.get_run("r8"))
    assert script.calls == 1


def test_reads_are_tried_again_while_the_server_is_away(use, address, script):
    script.call_errors = [UnavailableError("starting"), OverloadedError("full", retry_after_s=0.0)]
    run = use(address, lambda client: client.get_run("r8"))
    assert run == Run("r8", RunState.DONE, 5)
    assert script.calls == 3


def test_a_call_that_may_have_taken_effect_is_not_repeated(use, address, script):
    script.call_errors = [UnavailableError("went away")]
    with pytest.raises(UnavailableError):
        use(address, lambda client: client.start_run(since_us=3))
    assert script.calls == 1


def test_a_call_refused_for_overload_took_no_effect_and_is_repeated(use, address, script):
    script.call_errors = [OverloadedError("full", retry_after_s=0.0)]
    assert use(address, lambda client: client.start_run(since_us=3, until_us=9)).since_us == 3
    assert script.calls == 2


def test_a_run_is_asked_for_with_its_slice_and_its_sets(use, address):
    part = Slice(("m",), ("a", "b"), {"organisation": "o"}, field=TextField.RESPONSE)
    sets = (ParameterSet(5, 10), ParameterSet(min_cluster_size=20))
    run = use(address, lambda client: client.start_run(slice=part, sets=sets))
    assert (run.slice, run.sets) == (part, sets)
    assert use(address, lambda client: client.start_run()).slice == Slice()
    with pytest.raises(InvalidError, match="32 bits"):
        use(address, lambda client: client.start_run(sets=(ParameterSet(2**40),)))


def test_the_servers_delay_is_honoured(use, address, script):
    script.call_errors = [OverloadedError("full", retry_after_s=0.3)]
    before = time.monotonic()
    use(address, lambda client: client.get_run("r8"))
    assert time.monotonic() - before >= 0.3


def test_listings_go_through_pages_of_one_run(use, address, script, finding):
    script.findings = [finding(number) for number in range(230)]
    run_id, findings = use(address, lambda client: client.list_findings())
    assert run_id == "run-9"
    assert findings == script.findings
    assert script.pages == [("", 100, ""), ("run-9", 100, "100"), ("run-9", 100, "200")]


def test_listings_stop_at_their_limit(use, address, script, finding):
    script.findings = [finding(number) for number in range(230)]
    _, findings = use(address, lambda client: client.list_findings(limit=120))
    assert len(findings) == 120
    assert [size for _, size, _ in script.pages] == [100, 20]


def test_watching_a_run_survives_a_broken_stream_and_stays_with_its_run(use, address, script):
    running = Run("r5", RunState.RUNNING, 1, stage="embed", progress=0.5)
    done = Run("r5", RunState.DONE, 1)
    script.runs = [[running], [], [running, done]]
    assert use(address, lambda client: client.watch_run()) == [running, running, done]
    assert script.watched == ["", "r5", "r5"]


def test_watching_gives_up_after_bounded_attempts(use, address, script):
    script.runs = [[] for _ in range(9)]
    with pytest.raises(UnavailableError, match="closed the stream early"):
        use(address, lambda client: client.watch_run("r5"))
    assert len(script.watched) == 4


def test_watched_findings_come_once_and_go_on_after_the_last(use, address, script, finding):
    script.events = [[(4, finding(1)), (4, finding(1)), (5, finding(2))], [(5, finding(2)), (6, finding(3))]] + [[]] * 9
    seen = []

    def sync_until_three(client):
        for event in client.watch_findings(after_event=3):
            seen.append(event)
            if len(seen) == 3:
                return

    async def async_until_three(client):
        async for event in client.watch_findings(after_event=3):
            seen.append(event)
            if len(seen) == 3:
                return

    use(address, lambda c: sync_until_three(c) if isinstance(c, Client) else async_until_three(c))
    assert seen == [(4, finding(1)), (5, finding(2)), (6, finding(3))]
    assert script.after_events[:2] == [3, 5]


@pytest.mark.parametrize("queries", [{}, {"text": "a", "exchange_id": "b"}])
def test_search_takes_exactly_one_query(use, address, queries):
    with pytest.raises(InvalidError, match="exactly one"):
        use(address, lambda client: client.search(**queries))


@pytest.mark.parametrize("address_", ["localhost", "localhost:", ":50", "a:70000", "unix:", "http://a:1", "a b:1"])
def test_addresses_that_are_none_are_refused(address_):
    with pytest.raises(InvalidError, match="HOST:PORT"):
        check_address(address_)


@pytest.mark.parametrize("address_", ["localhost:50051", "10.0.0.1:1", "[::1]:7431", "unix:/tmp/s", "db.example:65535"])
def test_addresses_are_taken(address_):
    assert check_address(address_) == address_


def test_no_proxy_stands_between_a_client_and_its_own_machine():
    assert ("grpc.enable_http_proxy", 0) in channel_options("127.0.0.1:7431")
    assert ("grpc.enable_http_proxy", 0) not in channel_options("coterie.example:7431")


def test_back_off_grows_is_jittered_and_bounded():
    policy = RetryPolicy(attempts=20, initial_s=0.1, factor=2.0, max_s=1.0)
    away = UnavailableError("away")
    for failures, ceiling in [(1, 0.1), (2, 0.2), (3, 0.4), (4, 0.8), (5, 1.0), (15, 1.0)]:
        delays = {policy.delay_s(failures, away) for _ in range(20)}
        assert len(delays) > 1
        assert all(ceiling / 2 <= delay <= ceiling for delay in delays)
    assert policy.delay_s(1, OverloadedError("full", retry_after_s=3.0)) >= 3.0
    assert policy.delay_s(1, OverloadedError("full", retry_after_s=9e9)) <= 61.0
    with pytest.raises(UnavailableError):
        policy.delay_s(20, away)
