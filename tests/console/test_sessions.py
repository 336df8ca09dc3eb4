"""Sessions end when nobody uses them, when they are old, and when there are too many; failures slow a guesser down."""

from typing import Any, cast

import pytest

from coterie.client import AsyncClient
from coterie.console.sessions import Failures, Sessions
from coterie.console.settings import ConsoleSettings
from coterie.domain import Caller, Credential, Role

SETTINGS = ConsoleSettings(idle_s=10, session_s=25, sessions_max=3, sign_in_failures_max=2, sign_in_window_s=60)


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Connection:
    closed = False

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def clock() -> Clock:
    return Clock()


def caller_named(name: str) -> Caller:
    return Caller(name, frozenset({Role.ANALYST}), Credential.TOKEN)


def made_client() -> AsyncClient:
    return cast(AsyncClient, Connection())


async def test_a_session_is_found_by_its_secret_alone(clock: Clock) -> None:
    sessions = Sessions(SETTINGS, clock)
    secret, session = await sessions.open(made_client(), caller_named("ann"))
    assert await sessions.find(secret) is session
    assert await sessions.find(secret[:-1]) is None
    assert await sessions.find("") is None
    assert secret.encode() not in repr(vars(sessions)).encode()


async def test_an_idle_session_ends_and_its_connection_with_it(clock: Clock) -> None:
    sessions = Sessions(SETTINGS, clock)
    client: Any = made_client()
    secret, _ = await sessions.open(client, caller_named("ann"))
    clock.now_s += 9
    assert await sessions.find(secret) is not None
    clock.now_s += 9
    assert await sessions.find(secret) is not None
    clock.now_s += 10.1
    assert await sessions.find(secret) is None
    assert client.closed


async def test_an_old_session_ends_however_busy_it_is(clock: Clock) -> None:
    sessions = Sessions(SETTINGS, clock)
    secret, _ = await sessions.open(made_client(), caller_named("ann"))
    for _ in range(5):
        clock.now_s += 5
        assert await sessions.find(secret) is not None
    clock.now_s += 0.1
    assert await sessions.find(secret) is None


async def test_the_idlest_session_makes_room(clock: Clock) -> None:
    sessions = Sessions(SETTINGS, clock)
    secrets = []
    for _ in range(3):
        secrets.append((await sessions.open(made_client(), caller_named("ann")))[0])
        clock.now_s += 1
    await sessions.find(secrets[0])
    await sessions.open(made_client(), caller_named("bob"))
    assert len(sessions) == 3
    assert await sessions.find(secrets[1]) is None
    assert await sessions.find(secrets[0]) is not None


async def test_signing_out_ends_it(clock: Clock) -> None:
    sessions = Sessions(SETTINGS, clock)
    secret, _ = await sessions.open(made_client(), caller_named("ann"))
    await sessions.close(secret)
    assert await sessions.find(secret) is None


def test_an_address_waits_after_too_many_failures(clock: Clock) -> None:
    failures = Failures(SETTINGS, clock)
    failures.add("192.0.2.1")
    clock.now_s += 20
    assert failures.wait_s("192.0.2.1") == 0
    failures.add("192.0.2.1")
    assert failures.wait_s("192.0.2.1") == pytest.approx(40)
    assert failures.wait_s("192.0.2.2") == 0
    clock.now_s += 40
    assert failures.wait_s("192.0.2.1") == 0
