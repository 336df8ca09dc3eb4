"""A service with the model-free encoder, in this process or in one of its own."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from coterie.client import Client, RetryPolicy
from coterie.domain import (
    AccountId,
    CancelledRunError,
    Evidence,
    Exchange,
    ExchangeId,
    Finding,
    FindingAccount,
    FindingId,
    FindingKind,
    Run,
    Severity,
    Standing,
)
from coterie.server import Config, Engine, local_server
from coterie.server.jobs import Outcome
from coterie.server.stages import Stages

START_US = 1_767_225_600_000_000  # 2026-01-01
TOPICS = ("the tides of the sea", "a proof of the theorem", "bread with rye flour", "the rules of chess", "copper wire")


def made_exchange(number: int, *, account: str = "", prompt: str = "", response: str = "", **more: object) -> Exchange:
    values: dict[str, object] = {
        "exchange_id": ExchangeId(f"e{number:05}"),
        "account_id": AccountId(account or f"account-{number % 7}"),
        "time_us": START_US + number * 60_000_000,
        "prompt": prompt or f"please explain {TOPICS[number % 5]} to reader {number // 5}",
        "response": response,
        **more,
    }
    return Exchange(**values)  # type: ignore[arg-type]


@pytest.fixture
def exchange() -> Callable[..., Exchange]:
    return made_exchange


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(
        data_dir=tmp_path / "data", listen="127.0.0.1:0", model="hash", monolingual=True, shutdown_grace_s=5.0
    )


@pytest.fixture
def engine(config: Config) -> Iterator[Engine]:
    engine = Engine.open(config)
    try:
        engine.warm_up()
        yield engine
    finally:
        engine.close()


@pytest.fixture
def address(config: Config) -> Iterator[str]:
    with local_server(config) as address:
        yield address


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client.connect(address, timeout_s=60, retry=RetryPolicy(attempts=2, initial_s=0.01)) as client:
        yield client


def wait_until(true: Callable[[], bool], *, timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


@pytest.fixture
def until() -> Callable[..., None]:
    return wait_until


@pytest.fixture
def finished() -> Callable[[Engine, str], Run]:
    """Wait for a run to end."""

    def wait(engine: Engine, run_id: str) -> Run:
        wait_until(lambda: engine.run(run_id).state.finished)
        return engine.run(run_id)

    return wait


@dataclass
class Process:
    """A server in a process of its own, its stderr in a file."""

    process: "subprocess.Popen[bytes]"
    log: Path
    address: str

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Start `serve` with settings; the process must say its address, or end."""
    started: list[Process] = []

    def start(**settings: object) -> Process:
        settings = {"console_listen": "", **settings}
        log = tmp_path / f"server-{len(started)}.log"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COTERIE_")}
        environment |= {f"COTERIE_{name.upper()}": str(value) for name, value in settings.items()}
        code = "import sys; from coterie.server import load_config, serve; sys.exit(serve(load_config()))"
        with log.open("wb") as stderr:
            process = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=stderr)
        server = Process(process, log, "")
        started.append(server)
        wait_until(lambda: "listening on" in log.read_text() or process.poll() is not None)
        if process.poll() is None:
            server.address = log.read_text().split("listening on ")[1].split()[0]
        return server

    yield start
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
        server.process.wait(timeout=30)


def made_finding(
    finding_id: str, accounts: list[str], exemplars: list[str], severity: Severity = Severity.HIGH
) -> Finding:
    return Finding(
        finding_id=FindingId(finding_id),
        kind=FindingKind.CAMPAIGN,
        severity=severity,
        confidence=0.9,
        title=f"{len(accounts)} accounts",
        accounts=tuple(FindingAccount(AccountId(name), 5, 4, 0.5, START_US, START_US + 1) for name in accounts),
        families=(),
        benchmarks=(),
        first_seen_us=START_US,
        last_seen_us=START_US + 1,
        evidence=(Evidence("exchangeability", "overlap", 4.0, "shuffled accounts", "they overlap", 0.001),),
        counter_evidence=(),
        exemplars=tuple(ExchangeId(exemplar) for exemplar in exemplars),
    )


class Script:
    """Stands in for what a run does, where a test is about everything around it."""

    def __init__(self) -> None:
        self.findings = [
            made_finding("f-big", ["account-1", "account-2"], ["e00001", "e00002"]),
            made_finding("f-small", ["account-3", "account-4"], ["e00003"], Severity.LOW),
        ]
        self.standings = [
            Standing(AccountId("account-1"), 9, (FindingId("f-big"),)),
            Standing(AccountId("account-5"), 9, (), "a pool of 2", 0.2, "too little", 3),
        ]
        self.go = threading.Event()
        self.go.set()
        self.error: Exception | None = None
        self.started = threading.Event()

    def __call__(self, run: Run, stages: Stages) -> Outcome:
        for stage in ("embed", "graph", "test"):
            stages.enter(stage)
            self.started.set()
            while not self.go.wait(0.01):
                stages.progress(0.5)
                if stages.cancelled():
                    raise CancelledRunError("cancelled")
        if self.error is not None:
            raise self.error
        stages.leave()
        findings = [replace(finding, run_id=run.run_id) for finding in self.findings]
        done = replace(run, since_us=1, until_us=2, measures=stages.measures)
        return Outcome(done, findings, self.standings)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    script = Script()
    monkeypatch.setattr(Engine, "_recluster", lambda _, run, stages: script(run, stages))
    return script
