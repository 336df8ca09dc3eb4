"""A console over a real service with the model-free encoder, and findings that were made for it."""

import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from coterie.client import AsyncClient, RetryPolicy
from coterie.console import ConsoleSettings, make_app
from coterie.domain import (
    AccountId,
    Evidence,
    Exchange,
    ExchangeId,
    Finding,
    FindingAccount,
    FindingFamily,
    FindingId,
    FindingKind,
    Role,
    Run,
    RunId,
    RunState,
    Severity,
    Standing,
)
from coterie.domain.ids import FamilyId
from coterie.server import Config, Engine, local_server

START_US = 1_767_225_600_000_000  # 2026-01-01
DAY_US = 86_400_000_000
BASE = "http://localhost"
HOSTILE = '<script>document.title="taken"</script><img src=x onerror=alert(1)>"\'&{{7*7}}'
HOSTILE_ACCOUNT = "acct/<b>&\"'?#%2e"


def made_finding(number: int, run_id: str, **changes: object) -> Finding:
    """A finding over four of the accounts."""
    accounts = [f"account-{(number + step) % 12}" for step in range(3)] + [HOSTILE_ACCOUNT]
    finding = Finding(
        finding_id=FindingId(f"f-{number:04}"),
        kind=FindingKind.CAMPAIGN,
        severity=list(Severity)[number % 4],
        confidence=0.5 + number / 100,
        title=f"4 accounts share out {100 + number} prompts",
        accounts=tuple(
            FindingAccount(AccountId(name), 9 - place, 8 - place, 0.5, START_US, START_US + DAY_US)
            for place, name in enumerate(accounts)
        ),
        families=(FindingFamily(FamilyId("family-1"), 30, 5),),
        benchmarks=(),
        first_seen_us=START_US + number * DAY_US,
        last_seen_us=START_US + (number + 2) * DAY_US,
        evidence=(
            Evidence("exchangeability", "C/W", 0.97, "innocents: .85", "Knowing who asked says nothing.", 1e-7),
            Evidence("harvest", "distinct prompts", 894.0, "none", "894 prompts in 3 days."),
        ),
        counter_evidence=(Evidence("follow_ups", "share", 0.4, "near 0", "40 % go on with a conversation."),),
        exemplars=(ExchangeId("e00001"), ExchangeId("e00002"), ExchangeId("hostile")),
        run_id=RunId(run_id),
    )
    return replace(finding, **changes)  # type: ignore[arg-type]


def made_exchanges() -> list[Exchange]:
    """Sixty exchanges of a dozen accounts, and one that tries to be more than text."""
    exchanges = [
        Exchange(
            exchange_id=ExchangeId(f"e{number:05}"),
            account_id=AccountId(f"account-{number % 12}"),
            time_us=START_US + number * 3_600_000_000,
            prompt=f"Name the capital of country {number} and say how many people live there",
            response="It is a city.",
            model="m-1",
        )
        for number in range(60)
    ]
    hostile = Exchange(
        exchange_id=ExchangeId("hostile"),
        account_id=AccountId(HOSTILE_ACCOUNT),
        time_us=START_US,
        prompt=f"Name the capital of {HOSTILE}",
        response=HOSTILE,
        model=HOSTILE[:200],
        attributes={"organisation": HOSTILE, "<i>key</i>": "\u202eevil"},
    )
    return [*exchanges, hostile]


@dataclass
class Service:
    """A service with a finished run."""

    address: str
    run_id: str
    findings: list[Finding]


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(data_dir=tmp_path / "data", model="hash", monolingual=True, shutdown_grace_s=5.0)


@pytest.fixture
def empty_service(config: Config) -> Iterator[Service]:
    """A service that holds nothing."""
    with local_server(config) as address:
        yield Service(address, "", [])


@pytest.fixture
def service(config: Config) -> Iterator[Service]:
    """A service with exchanges, and a run that found 60 findings."""
    findings = fill(config, 60)
    with local_server(config) as address:
        yield Service(address, findings[0].run_id, findings)


def fill(config: Config, count: int) -> list[Finding]:
    """Exchanges and a finished run with findings, in a new data folder."""
    engine = Engine.open(config)
    try:
        engine.warm_up()
        assert not engine.ingest(made_exchanges()).result().rejections
        engine.embed_pending(lambda _: None, lambda: False)
        run = Run(RunId("20260101T000000-abcdef"), RunState.PENDING, START_US)
        engine.store.create_run(run)
        findings = [made_finding(number, run.run_id) for number in range(count)]
        standings = [
            Standing(AccountId("account-1"), 5, (FindingId("f-0001"),)),
            Standing(AccountId("account-11"), 5, (), "a pool of 2", 0.2, "it was too small", 3),
        ]
        done = replace(
            run, state=RunState.DONE, since_us=START_US, until_us=START_US + 14 * DAY_US, measures={"exchanges": 61.0}
        )
        engine.store.finish_run(done, findings, standings)
    finally:
        engine.close()
    return findings


@dataclass
class Site:
    """A service in a process of its own with its console.

    Attributes:
        url: of the console, without a slash at its end.
        tokens: by role; empty where the service is open.
        findings: what its run found, most severe first.
    """

    url: str
    tokens: dict[Role, str]
    findings: list[Finding]


@contextmanager
def served(
    config: Config, log: Path, *, said: str = r"the console is at (https?://\S+)/", **settings: str
) -> Iterator[str]:
    """`coterie serve` on a data folder; gives the console's address, or what else it is waited for that it says."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COTERIE_")}
    environment |= {
        "COTERIE_DATA_DIR": str(config.data_dir),
        "COTERIE_MODEL": config.model,
        "COTERIE_MONOLINGUAL": "true",
        "COTERIE_LISTEN": "127.0.0.1:0",
        "COTERIE_CONSOLE_LISTEN": "127.0.0.1:0",
        **{f"COTERIE_{name.upper()}": value for name, value in settings.items()},
    }
    code = "import sys; from coterie.server import load_config, serve; sys.exit(serve(load_config()))"
    with log.open("wb") as stderr:
        process = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=stderr)
    try:
        deadline = time.monotonic() + 120
        while (found := re.search(said, log.read_text())) is None:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield found[1]
    finally:
        process.terminate()
        process.wait(timeout=60)


Browse = Callable[..., httpx.AsyncClient]


@pytest.fixture
async def browse() -> AsyncIterator[Browse]:
    """Make a person at a browser, without a browser: follows no redirect by itself, keeps cookies."""
    opened: list[httpx.AsyncClient] = []

    def open_browser(service: Service, **changes: object) -> httpx.AsyncClient:
        settings = replace(ConsoleSettings(port=7432, hosts=frozenset({"localhost"})), **changes)  # type: ignore[arg-type]
        app = make_app(
            settings,
            lambda token: AsyncClient.connect(
                service.address, timeout_s=60, retry=RetryPolicy(attempts=1), token=token
            ),
        )
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE)
        opened.append(client)
        return client

    yield open_browser
    for client in opened:
        await client.post("/sign-out", data={"csrf": await csrf(client)})
        await client.aclose()


async def csrf(client: httpx.AsyncClient) -> str:
    """The token that forms of this session carry; empty where nobody is signed in."""
    found = re.search(r'name="csrf" value="([^"]+)"', (await client.get("/help")).text)
    return found[1] if found else ""


@pytest.fixture
async def person(browse: Browse, service: Service) -> httpx.AsyncClient:
    """Somebody who is signed in at the full service."""
    client = browse(service)
    assert (await client.get("/sign-in")).status_code == 303
    return client
