"""No prompt, name, token or key in logs, errors, metrics and traces, whatever is called, and whatever breaks."""

import logging
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from coterie.client import Client, RetryPolicy
from coterie.domain import BenchmarkItem, CoterieError, Role, RunState, SearchFilter
from coterie.server import Config, Engine, local_server
from coterie.server.keys import new_key_file
from coterie.server.services import Desk
from coterie.server.tracing import exporting

from .canary_methods import METHODS_BY_NAME
from .test_metrics import Running

TEXT = "canarytext"
"""In everything that is content: prompts, responses, system prompts, labels, reasons, answers."""
NAME = "canaryname"
"""In account ids, which are hashed under a key here."""
TOKEN = "ct_0123456789ab_canarytokencanarytokencanarytokencanarytok0"
ONE = RetryPolicy(attempts=1)
WORD = "canaryword"
"""In ids of things that are not there: an error may repeat it to who sent it, a log line may not."""
FIELDS = {
    **dict.fromkeys(("account_id", "account_ids", "accounts"), NAME),
    **dict.fromkeys(
        ("prompt", "response", "system", "text", "texts", "answer", "reason", "comment", "attributes"), TEXT
    ),
}
VARIANTS: tuple[Callable[[str], str], ...] = (str, lambda text: f"{text}\x00\x07", lambda text: f"{text} " * 40_000)


class Leaks:
    """What came out of the service, to be searched."""

    def __init__(self, caplog: pytest.LogCaptureFixture, keys: list[str]) -> None:
        self._caplog = caplog
        self._keys = keys
        self.answers: list[str] = []
        self.secrets: list[str] = []
        self.codes: set[grpc.StatusCode] = set()

    def take(self, error: grpc.RpcError) -> None:
        self.codes.add(error.code())
        metadata = [str(item) for item in error.trailing_metadata() or ()]
        self.answers += [error.details() or "", *metadata]

    def check(self) -> None:
        logged = self._caplog.text + "".join(repr(record.__dict__) for record in self._caplog.records)
        private = [TEXT, TOKEN, *self.secrets, *self._keys]
        assert [word for word in [*private, NAME, WORD] if word in logged] == []
        answered = "\n".join(self.answers)
        assert [word for word in private if word in answered] == []


@pytest.fixture
def leaks(caplog: pytest.LogCaptureFixture, guarded: Config) -> Leaks:
    caplog.set_level(logging.DEBUG)
    files = (guarded.text_key_file, guarded.pseudonym_key_file)
    return Leaks(caplog, [Path(path).read_text().strip().split(":")[1] for path in files])


@pytest.fixture
def guarded(config: Config, tmp_path: Path) -> Config:
    for name in ("texts", "names"):
        new_key_file(tmp_path / f"{name}.key")
    return replace(
        config,
        texts="encrypt",
        text_key_file=str(tmp_path / "texts.key"),
        pseudonym_key_file=str(tmp_path / "names.key"),
        log_level="debug",
    )


@pytest.fixture
def address(guarded: Config, leaks: Leaks, exchange: Any, until: Callable[..., None]) -> Iterator[str]:
    """A service that holds canaries everywhere, and minted tokens."""
    with local_server(guarded) as address:
        with Client.connect(address, timeout_s=60) as client:
            client.ingest([canary(exchange, number) for number in range(40)])
            client.register_benchmark("quiz", [BenchmarkItem("i", f"{TEXT} question", f"{TEXT} answer")])
            until(lambda: client.stats().pending_texts == 0)
            leaks.secrets += [client.mint_token(role, [role])[0] for role in (Role.ADMIN, Role.ANALYST)]
        yield address


def canary(exchange: Any, number: int) -> Any:
    return exchange(
        number,
        account=f"{NAME}-{number % 4}",
        prompt=f"{TEXT} please explain {number}",
        response=f"{TEXT} answer {number}",
        system=f"{TEXT} system",
        attributes={"organisation": f"{TEXT} inc", "tier": TEXT},
    )


def filled(message: Message, spelled: Callable[[str], str], depth: int = 0) -> Message:
    """The message with something in every field: a canary in every string."""
    for field in message.DESCRIPTOR.fields:
        word = spelled(FIELDS.get(field.name, WORD))
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            getattr(message, field.name)[spelled(TEXT)[:60]] = word
        elif field.message_type is not None:
            if depth < 4:
                made = getattr(message, field.name)
                filled(made.add() if field.is_repeated else made, spelled, depth + 1)
        else:
            value = {
                FieldDescriptor.CPPTYPE_STRING: word if field.type != FieldDescriptor.TYPE_BYTES else word.encode()
            }.get(field.cpp_type, 1)
            if field.is_repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
    return message


def call(
    channel: grpc.Channel, name: str, method: MethodDescriptor, request: Message, token: str, leaks: Leaks
) -> None:
    kind = f"{'stream' if method.client_streaming else 'unary'}_{'stream' if method.server_streaming else 'unary'}"
    sent: Any = request.SerializeToString()
    try:
        answer = getattr(channel, kind)(name)(
            iter([sent]) if method.client_streaming else sent,
            metadata=[("authorization", f"Bearer {token}")],
            timeout=2.0,
        )
        if method.server_streaming:
            next(answer, None)
            answer.cancel()
    except grpc.RpcError as error:
        leaks.take(error)


@pytest.mark.parametrize("variant", range(len(VARIANTS)))
def test_every_call_with_canaries_in_every_field(address: str, leaks: Leaks, variant: int) -> None:
    admin, analyst = leaks.secrets
    with grpc.insecure_channel(address) as channel:
        for name, method in METHODS_BY_NAME.items():
            request = filled(GetMessageClass(method.input_type)(), VARIANTS[variant])
            for token in (admin, analyst, TOKEN, TEXT):
                call(channel, name, method, request, token, leaks)
    assert grpc.StatusCode.INVALID_ARGUMENT in leaks.codes
    assert grpc.StatusCode.UNAUTHENTICATED in leaks.codes
    assert grpc.StatusCode.PERMISSION_DENIED in leaks.codes
    leaks.check()


def test_every_call_that_breaks_inside(address: str, leaks: Leaks, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error itself quotes what it was given, as errors of libraries do."""

    async def broken(*_: Any, **__: Any) -> Any:
        raise ValueError(f"cannot parse {TEXT} of {NAME} with {leaks.secrets[0]}")

    monkeypatch.setattr(Desk, "call", broken)
    monkeypatch.setattr(Desk, "call_quick", broken)
    with grpc.insecure_channel(address) as channel:
        for name, method in METHODS_BY_NAME.items():
            call(channel, name, method, GetMessageClass(method.input_type)(), leaks.secrets[0], leaks)
    assert grpc.StatusCode.INTERNAL in leaks.codes
    assert "incident" in "".join(leaks.answers)
    leaks.check()


def test_a_round_of_good_calls(address: str, leaks: Leaks, exchange: Any, until: Callable[..., None]) -> None:
    with Client.connect(address, timeout_s=60, retry=ONE, token=leaks.secrets[0]) as client:
        assert TEXT in client.search(f"{TEXT} please explain 3", k=1).hits[0].exchange.prompt
        client.search(f"{TEXT}", filter=SearchFilter(attributes={"tier": TEXT}))
        run = client.start_run()
        until(lambda: client.get_run(run.run_id).state.finished)
        assert client.get_run(run.run_id).state is RunState.DONE
        client.get_account(f"{NAME}-1")
        client.list_exchanges(f"{NAME}-1")
        client.match_benchmarks([f"{TEXT} question"])
        summary = client.ingest([canary(exchange, 1), replace(canary(exchange, 2), prompt=f"{TEXT} another")])
        assert len(summary.rejections) == 1
        assert TEXT not in summary.rejections[0].message
        assert client.erase_account(f"{NAME}-1").exchanges == 10
    leaks.check()


@pytest.mark.parametrize("part", ["embedding", "run", "store", "retention", "index"])
def test_what_breaks_in_the_background(
    guarded: Config,
    leaks: Leaks,
    exchange: Any,
    monkeypatch: pytest.MonkeyPatch,
    finished: Callable[..., Any],
    until: Callable[..., None],
    part: str,
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        failed.append(part)
        raise ValueError(f"cannot read {TEXT} of {NAME}")

    failed: list[str] = []
    if part == "run":
        monkeypatch.setattr(Engine, "_recluster", broken)
    engine = Engine.open(replace(guarded, retention_days=30, lazy_model=part in ("run", "store")))
    try:
        if part == "embedding":
            monkeypatch.setattr(type(engine._embedding), "encode_bulk", broken)
        if part == "retention":
            monkeypatch.setattr(engine._retention, "_believed", broken)
        if part == "index":
            monkeypatch.setattr(engine._families, "_follow_batch", broken)
        if part == "store":
            monkeypatch.setattr("coterie.store.changes._insert_exchanges", broken)
        future = engine.ingest([canary(exchange, number) for number in range(3)])
        if part == "store":
            with pytest.raises(CoterieError) as caught:
                future.result()
            leaks.answers.append(str(caught.value))
        else:
            future.result()
        engine.warm_up()
        if part == "run":
            run = finished(engine, engine.start_run(None, None).run_id)
            assert run.state is RunState.FAILED
            leaks.answers.append(run.error)
        until(lambda: bool(failed))
    finally:
        engine.close()
    leaks.check()


def test_a_statement_that_fails_quotes_no_value(guarded: Config, leaks: Leaks, exchange: Any) -> None:
    engine = Engine.open(guarded)
    try:
        with sqlite3.connect(guarded.data_dir / "coterie.db") as connection:
            connection.execute("CREATE TRIGGER refuse BEFORE INSERT ON exchange BEGIN SELECT RAISE(ABORT, 'no'); END")
        connection.close()
        with pytest.raises(CoterieError) as caught:
            engine.ingest([canary(exchange, 1)]).result()
        leaks.answers.append(str(caught.value))
    finally:
        engine.close()
    leaks.check()


def test_metrics_and_traces(guarded: Config, leaks: Leaks, exchange: Any) -> None:
    exporter = InMemorySpanExporter()
    running = Running(replace(guarded, metrics_listen="127.0.0.1:0", trace_endpoint="http://127.0.0.1:9"))
    try:
        with exporting(exporter, 1.0, at_once=True):
            with Client.connect(running.address, timeout_s=60) as client:
                client.ingest([canary(exchange, number) for number in range(8)])
                client.search(f"{TEXT} please explain")
            with grpc.insecure_channel(running.address) as channel:
                for name, method in METHODS_BY_NAME.items():
                    request = filled(GetMessageClass(method.input_type)(), str)
                    call(channel, name, method, request, TOKEN, leaks)
        scraped = running.get("/metrics")[2]
        spans = [span.to_json() for span in exporter.get_finished_spans()]
    finally:
        running.close()
    assert "coterie_" in scraped
    assert len(spans) > len(METHODS_BY_NAME) / 2
    for word in (TEXT, NAME, WORD, TOKEN):
        assert word not in scraped
        assert not [span for span in spans if word in span]
    leaks.check()
