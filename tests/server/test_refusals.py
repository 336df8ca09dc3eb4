"""Refused calls on the audit record: told, counted, and never so many rows that they fill it."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coterie.client import Client, RetryPolicy
from coterie.domain import AuditEntry, OverloadedError, Role, UnauthenticatedError
from coterie.server import Config, local_server
from coterie.server.refusals import OTHERS, PEERS_MAX, Refusals, peer_name
from coterie.store import SqliteStore, open_store

METHOD = "/coterie.v1.AdminService/EraseAccount"
ONE = RetryPolicy(attempts=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with open_store(tmp_path / "data") as opened:
        yield opened


def rows(store: SqliteStore) -> list[tuple[str, str, str]]:
    found = [row.entry for row in reversed(store.audit_rows(limit=1_000))]
    assert {(item.actor, item.credential, item.roles) for item in found} <= {("", "none", "")}
    return [(item.action, item.subject, item.outcome) for item in found]


def test_a_flood_leaves_the_first_of_each_peer_and_a_count(store: SqliteStore, until: Callable[..., None]) -> None:
    async def flood() -> None:
        refusals = Refusals(store)
        for number in range(2_000):
            refusals.take(f"ipv4:192.0.2.{number % 20}:{number}", METHOD)
        refusals.take("unix:", METHOD)
        refusals.flush()
        refusals.flush()  # a period without any

    asyncio.run(flood())
    until(lambda: len(rows(store)) >= 2 * (PEERS_MAX + 1))
    found = rows(store)
    peers = [*(f"192.0.2.{number}" for number in range(PEERS_MAX)), OTHERS]
    assert found[: PEERS_MAX + 1] == [("erase_account", peer, "unauthenticated") for peer in peers]
    counts = [99] * PEERS_MAX + [2_001 - PEERS_MAX * 100 - 1]
    assert found[PEERS_MAX + 1 :] == [
        ("refused_calls", f"{peer}: {count} more within 60 s", "unauthenticated")
        for peer, count in zip(peers, counts, strict=True)
    ]


def test_a_period_ends_by_itself_and_a_single_call_leaves_one_row(
    store: SqliteStore, until: Callable[..., None]
) -> None:
    async def calls() -> None:
        refusals = Refusals(store, period_s=0.05)
        refusals.take("ipv6:%5B2001:db8::1%5D:5012", METHOD)
        refusals.take("ipv4:192.0.2.1:1", METHOD)
        refusals.take("ipv4:192.0.2.1:2", METHOD)
        while refusals._more:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(calls(), 30))
    until(lambda: len(rows(store)) == 3)
    assert [subject for _, subject, _ in rows(store)] == [
        "2001:db8::1", "192.0.2.1", "192.0.2.1: 1 more within 0.05 s",
    ]  # fmt: skip


@given(st.text(max_size=60))
@settings(max_examples=50)
def test_any_peer_has_a_name(peer: str) -> None:
    assert isinstance(peer_name(peer), str)
    assert peer_name(f"ipv4:192.0.2.7:{len(peer)}") == "192.0.2.7"


def test_a_record_that_takes_no_more_refuses_the_call_all_the_same(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_: object) -> None:
        raise OverloadedError("too much is waiting")

    monkeypatch.setattr(store, "audit", full)

    async def call() -> None:
        Refusals(store).take("unix:", METHOD)

    asyncio.run(call())
    assert "refusal_not_recorded" in caplog.text


def test_over_the_wire_a_refused_call_is_on_record_and_what_it_tried(
    config: Config, until: Callable[..., None]
) -> None:
    with local_server(config) as address:
        with Client.connect(address) as client:
            admin, _ = client.mint_token("root", [Role.ADMIN])
        for number in range(2):
            token = f"ct_{number:012}_{'x' * 43}"
            with Client.connect(address, token=token, retry=ONE) as client, pytest.raises(UnauthenticatedError):
                client.get_finding("f")
        with Client.connect(address, token=admin) as client:

            def refused() -> list[AuditEntry]:
                return [row.entry for row in client.list_audit() if row.entry.outcome == "unauthenticated"]

            until(refused)
            found = refused()
            assert [(item.action, item.actor) for item in found] == [("get_finding", "")]
            assert client.verify_audit().whole
    with open_store(config.data_dir) as store:  # what was counted is written when the service stops
        told = [row.entry.subject for row in store.audit_rows(limit=99, action="refused_calls")]
    assert told == [f"{found[0].subject}: 1 more within 60 s"]
