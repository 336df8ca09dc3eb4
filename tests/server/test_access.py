"""Who may call what: every method by every role over a real socket, tokens, and what the service is open to."""

import asyncio
import itertools
import logging
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from coterie.client import AsyncClient, Client, RetryPolicy
from coterie.client.channel import is_private
from coterie.domain import (
    AuditEntry,
    Caller,
    ConflictError,
    Credential,
    DeniedError,
    Exchange,
    InvalidError,
    NotFoundError,
    Role,
    UnauthenticatedError,
)
from coterie.server import Config, access, local_server, serve
from coterie.server.access import METHODS, Door, Guard
from coterie.server.app import SERVICE_NAMES
from coterie.store import SqliteStore, open_store
from coterie.v1 import (
    access_service_pb2,
    admin_service_pb2,
    benchmark_service_pb2,
    explore_service_pb2,
    finding_service_pb2,
    ingest_service_pb2,
    run_service_pb2,
    search_service_pb2,
)

IMPATIENT = RetryPolicy(attempts=1)
HOUR_US = 3_600_000_000
NOW_US = 500_000 * HOUR_US
REFUSALS = {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED}
FILES = (
    access_service_pb2, admin_service_pb2, benchmark_service_pb2, finding_service_pb2, ingest_service_pb2,
    run_service_pb2, search_service_pb2, explore_service_pb2,
)  # fmt: skip


def described() -> dict[str, MethodDescriptor]:
    """Every method of the generated code, by the name that calls give."""
    return {
        f"/{service.full_name}/{method.name}": method
        for file in FILES
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }


@dataclass
class Served:
    """A service in this process, where tokens decide, with one token a role."""

    address: str
    secrets: dict[Role, str]

    def client(self, token: str | None) -> Client:
        return Client.connect(self.address, token=token, retry=IMPATIENT, timeout_s=30)


@pytest.fixture
def served(config: Config) -> Iterator[Served]:
    with local_server(config, as_owner=False) as address:
        with Client.connect(address) as client:
            admin, _ = client.mint_token("the admin", [Role.ADMIN])
        with Client.connect(address, token=admin) as client:
            others = {role: client.mint_token(f"the {role}", [role])[0] for role in Role if role is not Role.ADMIN}
        yield Served(address, {Role.ADMIN: admin, **others})


def call(channel: grpc.Channel, name: str, token: str | None, timeout_s: float = 0.5) -> tuple[grpc.StatusCode, str]:
    """What an empty request comes to; a stream that stays open is left when its time is over."""
    method = described()[name]
    metadata = [("authorization", f"Bearer {token}")] if token else []
    kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    request: Any = iter([b""]) if method.client_streaming else b""
    try:
        answer = getattr(channel, kind)(name)(request, metadata=metadata, timeout=timeout_s)
        if method.server_streaming:
            next(answer, None)
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


def test_the_table_holds_every_method_of_the_server_and_no_other(served: Served) -> None:
    ours = {name for name in METHODS if name.startswith("/coterie.")}
    assert ours == set(described())
    with grpc.insecure_channel(served.address) as channel:
        authorised = grpc.intercept_channel(channel, _Bearer(served.secrets[Role.INGEST]))
        told = ProtoReflectionDescriptorDatabase(authorised).get_services()
    assert {name.split("/")[1] for name in METHODS} == set(told) >= set(SERVICE_NAMES)


class _Bearer(grpc.StreamStreamClientInterceptor):
    def __init__(self, token: str) -> None:
        self.metadata = [("authorization", f"Bearer {token}")]

    def intercept_stream_stream(self, continuation: Any, details: Any, requests: Any) -> Any:
        return continuation(details._replace(metadata=self.metadata), requests)


@pytest.mark.parametrize("role", [None, *Role])
def test_every_method_lets_in_the_roles_of_the_table_and_nobody_else(served: Served, role: Role | None) -> None:
    allowed = set()
    wanted = {
        name for name in described() if role and (METHODS[name] is Door.ANY_ROLE or METHODS[name] in role.included)
    }
    with grpc.insecure_channel(served.address) as channel:
        for name in described():
            code, message = call(channel, name, role and served.secrets[role])
            if code is grpc.StatusCode.DEADLINE_EXCEEDED and name not in wanted:
                # A refusal that a busy machine has not given yet, or a stream that is open and ought not to be.
                code, message = call(channel, name, role and served.secrets[role], timeout_s=10.0)
            if code is grpc.StatusCode.PERMISSION_DENIED:
                assert f"the {role} has the role {role}, {name.split('/')[2]} needs" in message
                assert "coterie token mint" in message
            elif code is grpc.StatusCode.UNAUTHENTICATED:
                assert role is None
                assert "COTERIE_TOKEN" in message
            else:
                allowed.add(name)
    assert allowed == wanted


def test_what_each_role_is_for() -> None:
    def may(role: Role) -> set[str]:
        return {name.split("/")[2] for name, least in METHODS.items() if least in role.included}

    assert may(Role.INGEST) == {"Ingest", "IngestBatch", "GetIngestPosition"}
    assert may(Role.REVIEWER) - may(Role.ANALYST) == {
        "ReviewFinding",
        "CommentFinding",
        "AssignFinding",
        "MergeFindings",
        "SplitFinding",
        "CreateRule",
        "RevokeRule",
        "RegisterBenchmark",
    }
    assert may(Role.ANALYST) < may(Role.REVIEWER) < may(Role.ADMIN)
    assert {"MintToken", "ListTokens", "RevokeToken", "EraseAccount"} <= may(Role.ADMIN) - may(Role.REVIEWER)
    assert not may(Role.INGEST) & may(Role.REVIEWER)
    assert [name for name, door in METHODS.items() if door is Door.OPEN] == [
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/Watch",
    ]


def test_a_method_without_a_place_in_the_table_is_refused_to_everybody(
    served: Served, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "/coterie.v1.AdminService/GetStats"
    monkeypatch.delitem(METHODS, name)  # type: ignore[arg-type]  # a dict, typed as one that nobody changes
    with local_server(replace(config, data_dir=tmp_path / "open"), as_owner=False) as open_address:
        for address, token in ((served.address, served.secrets[Role.ADMIN]), (open_address, None)):
            with grpc.insecure_channel(address) as channel:
                assert call(channel, name, token)[0] is grpc.StatusCode.PERMISSION_DENIED


def test_health_is_open_and_reflection_is_not(served: Served) -> None:
    with grpc.insecure_channel(served.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        assert (
            health.Check(health_pb2.HealthCheckRequest()).status
            in health_pb2.HealthCheckResponse.ServingStatus.values()
        )
        with pytest.raises(grpc.RpcError) as caught:
            ProtoReflectionDescriptorDatabase(channel).get_services()
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_who_has_no_token_cannot_take_the_places_of_those_who_have(
    served: Served, config: Config, tmp_path: Path
) -> None:
    few = replace(config, data_dir=tmp_path / "few", concurrent_rpcs_max=8)
    watch = health_pb2.HealthCheckRequest()
    with (
        local_server(few, as_owner=False) as address,
        grpc.insecure_channel(address) as channel,
        Client.connect(address, retry=IMPATIENT) as client,
    ):
        health = health_pb2_grpc.HealthStub(channel)
        first = health.Watch(watch)
        assert next(first).status
        others = [health.Watch(watch) for _ in range(12)]
        assert client.who_am_i().name == "anybody"
        assert {call.code() for call in others[-8:]} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert health.Check(watch, timeout=10).status
        first.cancel()


def test_a_refused_request_is_not_read(served: Served) -> None:
    big = b"\x0a" * 8_000_000  # not even a message
    with grpc.insecure_channel(served.address) as channel:
        for name in ("/coterie.v1.IngestService/IngestBatch", "/coterie.v1.SearchService/Search"):
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(name)(big, timeout=10)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Bearer ct_", "Basic dXNlcjpwYXNz", "Bearer ct_0123456789ab_short", "Bearer {}x",
     "Bearer  x{}", "{}", "Bearer ct_0123456789ab_" + "A" * 43],
)  # fmt: skip
def test_malformed_and_unknown_tokens_are_refused_and_not_repeated(served: Served, header: str) -> None:
    secret = served.secrets[Role.ADMIN]
    with grpc.insecure_channel(served.address) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/coterie.v1.AccessService/WhoAmI")(
            b"", metadata=[("authorization", header.format(secret))], timeout=10
        )
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert secret[20:] not in caught.value.details()


def test_two_tokens_at_once_are_refused(served: Served) -> None:
    metadata = [("authorization", f"Bearer {served.secrets[role]}") for role in (Role.ANALYST, Role.ADMIN)]
    with grpc.insecure_channel(served.address) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/coterie.v1.AccessService/WhoAmI")(b"", metadata=metadata, timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_clients_sync_and_async_are_known_by_their_token(served: Served) -> None:
    for role, secret in served.secrets.items():
        with served.client(secret) as client:
            caller = client.who_am_i()
        assert (caller.name, caller.roles, caller.credential) == (f"the {role}", {role}, Credential.TOKEN)
        assert caller.token_id == secret.split("_")[1]

        async def ask(secret: str = secret) -> Caller:
            async with AsyncClient.connect(served.address, token=secret, retry=IMPATIENT) as client:
                return await client.who_am_i()

        assert asyncio.run(ask()) == caller


def test_async_streams_carry_the_token(served: Served, exchange: Callable[..., Exchange]) -> None:
    async def ingest(role: Role) -> int:
        async with AsyncClient.connect(served.address, token=served.secrets[role], retry=IMPATIENT) as client:
            return (await client.ingest([exchange(number) for number in range(9)], batch=2)).stored

    assert asyncio.run(ingest(Role.INGEST)) == 9
    with pytest.raises(DeniedError, match="needs ingest"):
        asyncio.run(ingest(Role.ANALYST))


def test_errors_of_access_are_the_domains_and_are_not_tried_again(
    served: Served, exchange: Callable[..., Exchange]
) -> None:
    patient = RetryPolicy(attempts=3, initial_s=60)
    with Client.connect(served.address, retry=patient) as client, pytest.raises(UnauthenticatedError):
        client.stats()
    with Client.connect(served.address, retry=patient, token=served.secrets[Role.ANALYST]) as client:
        with pytest.raises(DeniedError):
            client.erase_account("a")
        with pytest.raises(DeniedError):
            client.ingest([exchange(1)])


# The life of a token


def test_tokens_are_listed_without_their_secret_and_revoked_at_once(served: Served) -> None:
    with served.client(served.secrets[Role.ADMIN]) as admin:
        listed = admin.list_tokens()
        assert [token.name for token in listed] == ["the reviewer", "the analyst", "the ingest", "the admin"]
        assert all(token.expires_us == token.revoked_us == 0 < token.created_us for token in listed)
        assert listed[-1].last_used_us > 0
        with served.client(served.secrets[Role.ANALYST]) as analyst:
            analyst.stats()
            ended = admin.revoke_token(listed[1].token_id)
            with pytest.raises(UnauthenticatedError, match=f"{ended.token_id} of the analyst is revoked"):
                analyst.stats()
        assert admin.revoke_token(listed[1].token_id) == ended
        with pytest.raises(NotFoundError, match="token list"):
            admin.revoke_token("ct_x")


def test_tokens_are_listed_in_pages(served: Served) -> None:
    def pages(channel: grpc.Channel, size: int) -> list[str]:
        from coterie.client.channel import Stubs

        stub, token, names = Stubs.on(channel, served.secrets[Role.ADMIN]).access, "", []
        while True:
            request = access_service_pb2.ListTokensRequest()
            request.page.page_size, request.page.page_token = size, token
            answer = stub.ListTokens(request)
            names += [item.name for item in answer.tokens]
            token = answer.page.next_page_token
            if not token:
                return names

    with grpc.insecure_channel(served.address) as channel:
        assert pages(channel, 1) == pages(channel, 3) == pages(channel, 100)


def test_a_revoked_token_ends_its_streams(served: Served, exchange: Callable[..., Exchange], script: Any) -> None:
    with served.client(served.secrets[Role.ADMIN]) as admin:
        ids = {token.name: token.token_id for token in admin.list_tokens()}

        def exchanges() -> Iterator[Exchange]:
            yield from (exchange(number) for number in range(4))
            admin.revoke_token(ids["the ingest"])
            yield from (exchange(number) for number in range(4, 8))

        with served.client(served.secrets[Role.INGEST]) as client, pytest.raises(UnauthenticatedError, match="revoked"):
            client.ingest(exchanges(), batch=2, in_flight=1)
        assert 0 < admin.stats().exchanges <= 4
        with served.client(served.secrets[Role.ANALYST]) as analyst:
            script.go.clear()
            watch = analyst.watch_run(admin.start_run().run_id)
            next(watch)
            admin.revoke_token(ids["the analyst"])
            script.go.set()
            with pytest.raises(UnauthenticatedError, match="revoked"):
                list(watch)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    with open_store(tmp_path / "store") as store:
        yield store


class Clock:
    def __init__(self) -> None:
        self.now_us = NOW_US

    def __call__(self) -> int:
        return self.now_us


def bearer(secret: str) -> list[tuple[str, str | bytes]]:
    return [("authorization", f"Bearer {secret}")]


def test_a_token_expires_to_the_microsecond(store: SqliteStore) -> None:
    clock = Clock()
    guard = Guard(store, now_us=clock)
    secret, token = guard.mint("short", [Role.ADMIN], NOW_US + 5)
    clock.now_us = NOW_US + 4
    caller = guard.identify(bearer(secret))
    guard.check(caller)
    clock.now_us = NOW_US + 5
    for again in (guard, Guard(store, now_us=clock)):
        with pytest.raises(UnauthenticatedError, match=f"token {token.token_id} of short is expired"):
            again.identify(bearer(secret))
        with pytest.raises(UnauthenticatedError, match="expired"):
            again.check(caller)
    with pytest.raises(InvalidError, match="past"):
        guard.mint("late", [Role.ADMIN], NOW_US + 5)


def test_tokens_outlive_the_process_and_never_open_the_service_again(store: SqliteStore) -> None:
    first = Guard(store)
    secret, token = first.mint("root", [Role.ADMIN, Role.INGEST])
    again = Guard(store)
    assert again.identify(bearer(secret)) == Caller(
        "root", frozenset({Role.ADMIN, Role.INGEST}), Credential.TOKEN, token.token_id
    )
    again.revoke(token.token_id)
    assert Guard(store).needs_token
    with pytest.raises(UnauthenticatedError, match="revoked"):
        Guard(store).identify(bearer(secret))


def test_last_use_is_kept_to_the_hour(store: SqliteStore) -> None:
    clock = Clock()
    guard = Guard(store, now_us=clock)
    secret, _ = guard.mint("a", [Role.ADMIN])
    clock.now_us = NOW_US + HOUR_US + 7
    for _ in range(3):
        guard.identify(bearer(secret))
        clock.now_us += 1
    assert [token.last_used_us for token in guard.tokens()] == [NOW_US + HOUR_US]
    store.audit(AuditEntry(1, "", "x")).result()  # a write behind it: by now it is durable
    assert [token.last_used_us for token, _ in store.tokens()] == [NOW_US + HOUR_US]


def test_a_token_was_never_used_before_it_was_made(store: SqliteStore) -> None:
    clock = Clock()
    clock.now_us = NOW_US + HOUR_US // 2
    guard = Guard(store, now_us=clock)
    secret, token = guard.mint("a", [Role.ADMIN])
    clock.now_us += HOUR_US // 4
    guard.identify(bearer(secret))
    assert [item.last_used_us for item in guard.tokens()] == [token.created_us]


def test_ids_and_secrets_have_their_form_and_are_never_the_same(store: SqliteStore) -> None:
    guard = Guard(store)
    made = [guard.mint("same name", [Role.ADMIN]) for _ in range(8)]
    assert all(re.fullmatch(r"ct_[0-9a-f]{12}_[\w-]{43}", secret) for secret, _ in made)
    assert len({secret[16:] for secret, _ in made}) == len({token.token_id for _, token in made}) == 8


@pytest.mark.parametrize(
    ("name", "roles", "field"),
    [("", [Role.ADMIN], "name"), ("x" * 65, [Role.ADMIN], "name"), (" x", [Role.ADMIN], "name"),
     ("a\nb", [Role.ADMIN], "name"), ("x", [], "roles")],
)  # fmt: skip
def test_bad_wishes_are_refused_by_field(store: SqliteStore, name: str, roles: list[Role], field: str) -> None:
    with pytest.raises(InvalidError) as caught:
        Guard(store).mint(name, roles)
    assert caught.value.field == field


def test_the_number_of_tokens_is_bounded(store: SqliteStore, monkeypatch: pytest.MonkeyPatch) -> None:
    from coterie.store import access as rows

    monkeypatch.setattr(rows, "LIMITS", replace(rows.LIMITS, access_tokens_max=2))
    guard = Guard(store)
    guard.mint("a", [Role.ADMIN])
    guard.mint("b", [Role.INGEST])
    with pytest.raises(InvalidError, match="limit"):
        guard.mint("c", [Role.INGEST])
    assert len(guard.tokens()) == 2


def test_no_secret_is_kept_logged_or_told(
    config: Config, caplog: pytest.LogCaptureFixture, exchange: Callable[..., Exchange]
) -> None:
    secrets = []
    with caplog.at_level(logging.DEBUG, "coterie"), local_server(config, as_owner=False) as address:
        with Client.connect(address) as client:
            secrets.append(client.mint_token("root", [Role.ADMIN])[0])
        with Client.connect(address, token=secrets[0], retry=IMPATIENT) as client:
            secret, token = client.mint_token("other", [Role.INGEST])
            secrets.append(secret)
            assert secret not in repr(token)
            client.revoke_token(token.token_id)
        with (
            Client.connect(address, token=secret, retry=IMPATIENT) as client,
            pytest.raises(UnauthenticatedError) as no,
        ):
            client.ingest([exchange(1)])
        assert secret not in str(no.value)
    assert "MintToken" in caplog.text
    kept = b"".join(path.read_bytes() for path in config.data_dir.rglob("*") if path.is_file())
    assert b"root" in kept
    for secret in secrets:
        assert secret[16:] not in caplog.text + repr([record.__dict__ for record in caplog.records])
        assert secret[16:].encode() not in kept


# What the service is open to


def test_without_a_token_ever_minted_it_is_open_and_the_first_closes_it(config: Config) -> None:
    with local_server(config, as_owner=False) as address, Client.connect(address, retry=IMPATIENT) as client:
        assert client.who_am_i() == access.EVERYBODY
        with pytest.raises(ConflictError, match="--role admin"):
            client.mint_token("platform", [Role.INGEST])
        assert client.list_tokens() == []
        client.mint_token("root", [Role.ADMIN])
        with pytest.raises(UnauthenticatedError, match="needs a token"):
            client.stats()


def test_the_first_token_ends_open_streams(config: Config, exchange: Callable[..., Exchange]) -> None:
    with local_server(config, as_owner=False) as address, Client.connect(address, retry=IMPATIENT) as client:

        def exchanges() -> Iterator[Exchange]:
            yield exchange(1)
            client.mint_token("root", [Role.ADMIN])
            yield exchange(2)

        with pytest.raises(UnauthenticatedError, match="since the first was minted"):
            client.ingest(exchanges(), batch=1, in_flight=1)


def test_whoever_opens_the_folder_has_every_role_and_their_own_name(address: str) -> None:
    import getpass

    with Client.connect(address, retry=IMPATIENT) as client:
        client.mint_token("root", [Role.ADMIN])
        caller = client.who_am_i()
    assert (caller.roles, caller.credential) == ({Role.ADMIN}, Credential.LOCAL)
    assert caller.name == getpass.getuser()


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0", "127.0.0.1.example.com:1", "localhost.example.com:1"])
def test_beyond_this_machine_it_needs_tls_or_a_word_that_nobody_says_by_accident_and_then_a_token(
    config: Config, capsys: pytest.CaptureFixture[str], listen: str
) -> None:
    assert serve(replace(config, listen=listen)) == 1
    assert "--expose-texts-and-tokens-in-clear" in capsys.readouterr().err
    assert serve(replace(config, listen=listen, expose_texts_and_tokens_in_clear=True)) == 1
    assert "token mint NAME --role admin" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("unix:/run/coterie", True), ("localhost:1", True), ("LOCALHOST:1", True), ("127.0.0.1:1", True),
        ("127.9.9.9:1", True), ("[::1]:1", True), ("[0:0:0:0:0:0:0:1]:1", True), ("127.evil.com:1", False),
        ("127.0.0.1.evil.com:1", False), ("localhost.evil.com:1", False), ("127.1:1", False), ("10.0.0.1:1", False),
        ("[::]:1", False), ("0.0.0.0:1", False), ("[::2]:1", False), ("example.com:443", False),
    ],
)  # fmt: skip
def test_a_token_is_sent_in_the_clear_to_this_machine_only(address: str, private: bool) -> None:
    assert is_private(address) is private
    for kind in (Client, AsyncClient):
        if private:
            continue
        with pytest.raises(InvalidError, match="not sent to") as caught:
            kind.connect(address, token="ct_secret")
        assert "ct_secret" not in str(caught.value)


@pytest.mark.parametrize("token", ["a b", "a\n", "ä", "x" * 2_000])
def test_what_cannot_be_a_token_is_refused_without_being_repeated(token: str) -> None:
    with pytest.raises(InvalidError) as caught:
        Client.connect("localhost:1", token=token)
    assert token not in str(caught.value)


def test_the_folder_and_its_files_are_the_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (folder / "index").mkdir(parents=True, mode=0o755)
    loose = folder / "index" / "old.snapshot"
    loose.write_bytes(b"x")
    loose.chmod(0o644)
    folder.chmod(0o755)
    with open_store(folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
        assert {"coterie.db", "lock", "old.snapshot"} <= {path.name for path in files}


def test_roles_include_what_they_say() -> None:
    for mine, wanted in itertools.product(Role, Role):
        caller = Caller("x", frozenset({mine}), Credential.TOKEN)
        assert caller.may(wanted) == (
            mine is wanted or mine is Role.ADMIN or (mine is Role.REVIEWER and wanted is Role.ANALYST)
        )
