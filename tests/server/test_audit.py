"""What calls leave in the audit record, over a real socket."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest

from coterie.client import Client, RetryPolicy
from coterie.client.channel import Stubs
from coterie.domain import (
    AuditEntry,
    DeniedError,
    Exchange,
    InvalidError,
    NotFoundError,
    ReviewState,
    Role,
    UnauthenticatedError,
)
from coterie.server import Config, cli, local_server
from coterie.server.access import METHODS, UNAUDITED, action_of
from coterie.server.keys import new_key_file
from coterie.store import SqliteStore
from coterie.v1 import search_service_pb2

IMPATIENT = RetryPolicy(attempts=1)


@pytest.fixture
def served(script: Any, config: Config) -> Iterator[str]:
    with local_server(config) as address:
        yield address


@pytest.fixture
def client(served: str) -> Iterator[Client]:
    with Client.connect(served, retry=IMPATIENT, timeout_s=60) as client:
        yield client


def recorded(client: Client) -> list[tuple[str, str, str]]:
    """Action, subject and outcome of every row, oldest first, but those of looking at them."""
    entries = [row.entry for row in reversed(client.list_audit())]
    return [(item.action, item.subject, item.outcome) for item in entries if item.action != "list_audit"]


def test_reads_changes_and_failures_are_on_record(client: Client, exchange: Callable[..., Exchange]) -> None:
    client.ingest([exchange(1), exchange(2)])
    client.search(exchange_id="e00001")
    run = list(client.watch_run(client.start_run().run_id))[-1]
    client.list_findings()
    client.get_finding("f-big")
    client.review_finding("f-big", ReviewState.WATCHED, "why")
    client.get_account("account-1")
    for call in (lambda: client.get_finding("nothing"), lambda: client.get_account("nobody")):
        with pytest.raises(NotFoundError):
            call()
    client.stats()
    assert recorded(client) == [
        ("ingest", "", "allowed"),
        ("search", "e00001", "allowed"),
        ("start_run", run.run_id, "allowed"),
        ("read_finding", "f-big", "allowed"),
        ("review_finding", "f-big", "allowed"),
        ("read_account", "account-1", "allowed"),
        ("read_finding", "nothing", "allowed"),
        ("read_finding", "nothing", "not_found"),
        ("read_account", "nobody", "allowed"),
        ("read_account", "nobody", "not_found"),
    ]
    assert client.verify_audit().whole


def test_a_row_says_who_by_what_and_in_which_call(client: Client, served: str) -> None:
    secret, token = client.mint_token("root", [Role.ADMIN])
    with grpc.insecure_channel(served) as channel:
        stubs = Stubs.on(channel)
        stubs.search.Search(
            search_service_pb2.SearchRequest(text="x"),
            metadata=(("authorization", f"Bearer {secret}"), ("x-request-id", "call-7")),
        )
    row = client.list_audit(action="search")[0].entry
    assert row == AuditEntry(row.time_us, "root", "search", "", "admin", f"token {token.token_id}", "call-7", "allowed")


def test_what_a_role_does_not_cover_is_on_record_and_that_somebody_was_not_known(
    config: Config, caplog: pytest.LogCaptureFixture, until: Callable[..., None]
) -> None:
    with caplog.at_level(logging.INFO, "coterie"), local_server(config, as_owner=False) as address:
        with Client.connect(address, retry=IMPATIENT) as client:
            admin, _ = client.mint_token("root", [Role.ADMIN])
        with Client.connect(address, retry=IMPATIENT, token=admin) as client:
            ingest, _ = client.mint_token("platform", [Role.INGEST])
            with Client.connect(address, retry=IMPATIENT, token=ingest) as platform:
                with pytest.raises(DeniedError):
                    platform.erase_account("account-1")
                with pytest.raises(DeniedError):
                    platform.stats()
            denied = [row.entry for row in client.list_audit(actor="platform")]
            before = recorded(client)
            with (
                Client.connect(address, retry=IMPATIENT, token=f"{ingest[:-3]}xyz") as nobody,
                pytest.raises(UnauthenticatedError),
            ):
                nobody.stats()
            until(lambda: recorded(client) == [*before, ("get_stats", "local socket", "unauthenticated")])
    assert [(row.action, row.outcome, row.roles) for row in denied] == [
        ("get_stats", "denied", "ingest"),
        ("erase_account", "denied", "ingest"),
    ]
    assert "UNAUTHENTICATED" in caplog.text


def test_a_method_that_says_nothing_is_on_record_by_its_name(client: Client) -> None:
    client.list_tokens()
    assert recorded(client) == [("list_tokens", "", "allowed")]
    assert action_of("/coterie.v1.AdminService/EraseAccount") == "erase_account"
    assert action_of("/coterie.v1.AccessService/WhoAmI") == "who_am_i"


def test_only_methods_that_are_there_may_go_unrecorded_and_none_that_changes_or_reads_texts() -> None:
    assert set(METHODS) > UNAUDITED
    words = {name.rpartition("/")[2] for name in UNAUDITED}
    assert not {word for word in words if word.startswith(("Search", "Erase", "Mint", "Revoke", "Review", "Register"))}
    assert not words & {"GetFinding", "GetDossier", "GetAccount", "Ingest", "IngestBatch", "StartRun", "CreateBackup"}


def test_the_answer_waits_for_the_row(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from concurrent.futures import Future

    waiting: list[Future[int]] = []
    real = SqliteStore.audit

    def slow(self: SqliteStore, entry: AuditEntry) -> "Future[int]":
        real(self, entry)
        waiting.append(Future())
        return waiting[-1]

    monkeypatch.setattr(SqliteStore, "audit", slow)
    import threading

    done: list[int] = []
    thread = threading.Thread(target=lambda: done.append(len(client.list_tokens())))
    thread.start()
    thread.join(0.3)
    assert (done, len(waiting)) == ([], 1)
    waiting[0].set_result(1)
    thread.join(10)
    assert done == [0]


def test_a_row_that_cannot_be_written_fails_the_call(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from coterie.domain import UnavailableError

    def broken(self: SqliteStore, entry: AuditEntry) -> Any:
        raise UnavailableError("the disk is full")

    monkeypatch.setattr(SqliteStore, "audit", broken)
    with pytest.raises(UnavailableError, match="disk is full"):
        client.search("x")


def test_the_verbs_list_and_verify(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    monkeypatch.delenv("COTERIE_TOKEN", raising=False)
    folder = ["--data-dir", str(config.data_dir)]

    def run(*words: str) -> tuple[int, str, str]:
        code = cli.main([*folder, *words])
        return code, *capsys.readouterr()

    assert run("token", "mint", "root", "--role", "admin")[0] == 0
    rows = json.loads(run("audit", "--json")[1])["rows"]
    assert [(row["action"], row["subject"], row["credential"]) for row in rows][-1] == ("mint_token", "root", "local")
    code, out, err = run("audit", "verify")
    assert code == 0
    assert out.startswith("whole: ")
    assert "note the head" in err
    head = json.loads(run("audit", "verify", "--json")[1])["head"]
    assert "noted is row" in run("audit", "verify", "--head", head)[2]
    assert run("audit", "verify", "--head", "0" * 64)[0] == 1
    assert run("audit", "verify", "--head", "xyz")[0] == 1
    assert "mint_token" in run("audit", "--action", "mint_token")[1]
    assert "no such row" in run("audit", "--since", "2099-01-01")[2]
    with closing(sqlite3.connect(config.data_dir / "coterie.db", isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER audit_keeps_values")
        connection.execute("UPDATE audit SET actor = 'eve' WHERE action = 'mint_token'")
    code, out, _ = run("audit", "verify")
    assert code == 1
    assert "row 1: it is not what was written" in out


def test_the_audit_key_is_read_from_its_file(config: Config, tmp_path: Path) -> None:
    key = tmp_path / "audit.key"
    new_key_file(key)
    with (
        local_server(replace(config, audit_key_file=str(key))) as address,
        Client.connect(address, retry=IMPATIENT) as client,
    ):
        client.list_tokens()
        verdict = client.verify_audit()
        assert (verdict.whole, verdict.keyed_from) == (True, 1)
    with local_server(config) as address, Client.connect(address, retry=IMPATIENT) as client:
        assert "audit_key_file" in client.verify_audit().problem


def test_the_record_is_listed_in_pages(client: Client) -> None:
    for _ in range(5):
        client.list_tokens()
    everything = client.list_audit()
    from coterie.v1 import access_service_pb2

    seen, token = [], ""
    while True:
        request = access_service_pb2.ListAuditRequest(action="list_tokens")
        request.page.page_size, request.page.page_token = 2, token
        answer = client._stubs.access.ListAudit(request)
        seen += [row.audit_id for row in answer.rows]
        token = answer.page.next_page_token
        if not token:
            break
    assert seen == [row.audit_id for row in everything if row.entry.action == "list_tokens"]
    with pytest.raises(InvalidError, match="64 hexadecimal"):
        client.verify_audit(noted_head="0x")
