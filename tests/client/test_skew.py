"""A client and a server one version apart work together, by the descriptors that were released."""

from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor, ServiceDescriptor
from google.protobuf.message import Message

import coterie.v1
from coterie.client import Client, RetryPolicy
from coterie.domain import AccountId, CoterieError, Exchange, ExchangeId, UnavailableError
from coterie.server import Config, local_server

RELEASED = sorted((Path(next(iter(coterie.v1.__path__))).parents[1] / "released").glob("coterie-*.binpb"))


class Release:
    """The messages and services of a released contract, made from its descriptor."""

    def __init__(self, path: Path) -> None:
        files = descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes()).file
        self._pool = descriptor_pool.DescriptorPool()
        for file in files:  # a buf image lists a file after those that it imports
            self._pool.Add(file)
        self.services: list[ServiceDescriptor] = [
            self._pool.FindServiceByName(f"{file.package}.{service.name}")
            for file in files
            if file.package == "coterie.v1"
            for service in file.service
        ]

    def message(self, name: str) -> Any:
        """A message class."""
        return message_factory.GetMessageClass(self._pool.FindMessageTypeByName(f"coterie.v1.{name}"))

    def call(self, channel: grpc.Channel, service: str, method: str) -> Callable[..., Any]:
        """A method as an old client calls it."""
        found = self._pool.FindServiceByName(f"coterie.v1.{service}").methods_by_name[method]
        request = message_factory.GetMessageClass(found.input_type)
        answer = message_factory.GetMessageClass(found.output_type)
        streams = {(False, False): "unary_unary", (False, True): "unary_stream", (True, True): "stream_stream"}
        stub = getattr(channel, streams[found.client_streaming, found.server_streaming])
        return stub(
            f"/coterie.v1.{service}/{method}",
            request_serializer=request.SerializeToString,
            response_deserializer=answer.FromString,
        )


@pytest.fixture(scope="module", params=RELEASED, ids=lambda path: path.stem)
def release(request: pytest.FixtureRequest) -> Release:
    return Release(request.param)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    config = Config(data_dir=tmp_path / "data", model="hash", monolingual=True, lazy_model=True)
    with local_server(config) as address:
        yield address


def test_some_contract_is_released() -> None:
    assert RELEASED


def test_an_older_client_works_with_this_server(release: Release, address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        made = release.message("Exchange")(
            exchange_id="x-1", account_id="a-1", time_us=1_767_225_600_000_000, prompt="What is the capital of Peru?"
        )
        request = release.message("IngestRequest")(batch_number=1, exchanges=[made])
        answers = list(release.call(channel, "IngestService", "Ingest")(iter([request])))
        assert [(answer.batch_number, answer.report.stored) for answer in answers] == [(1, 1)]
        query = release.message("SearchRequest")(text="Name the capital of Peru", k=1)
        found = release.call(channel, "SearchService", "Search")(query, timeout=60)
        assert [hit.exchange.prompt for hit in found.hits] == ["What is the capital of Peru?"]
        stats = release.call(channel, "AdminService", "GetStats")(release.message("GetStatsRequest")())
        assert (stats.exchanges, stats.last_sequence) == (1, 1)
        runs = release.call(channel, "RunService", "ListRuns")(release.message("ListRunsRequest")())
        assert list(runs.runs) == []


def test_every_call_of_an_older_client_is_still_there(release: Release, address: str) -> None:
    missing = []
    with grpc.insecure_channel(address) as channel:
        for service in release.services:
            for method in service.methods:
                if method.client_streaming:
                    continue
                empty = message_factory.GetMessageClass(method.input_type)()
                try:
                    answer = release.call(channel, service.name, method.name)(empty, timeout=30)
                    if method.server_streaming:
                        answer.cancel()
                except grpc.RpcError as error:
                    if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                        missing.append(method.full_name)
    assert missing == []


def test_fields_that_an_older_client_does_not_know_are_passed_over(release: Release) -> None:
    """As what a newer server adds: every field of today's answers, read with yesterday's descriptor."""
    for service in release.services:
        for method in service.methods:
            name = method.output_type.name
            today = filled(getattr(coterie_messages(), name))
            read = message_factory.GetMessageClass(method.output_type).FromString(today.SerializeToString())
            for field in method.output_type.fields:
                if field.message_type is None and not field.is_repeated:
                    assert getattr(read, field.name) == getattr(today, field.name), f"{name}.{field.name}"


def coterie_messages() -> Any:
    """Every message of today's contract as attributes."""
    from importlib import import_module
    from types import SimpleNamespace

    names = {}
    for file in Path(next(iter(coterie.v1.__path__))).glob("*_pb2.py"):
        module = import_module(f"coterie.v1.{file.stem}")
        names |= {name: getattr(module, name) for name in module.DESCRIPTOR.message_types_by_name}
    return SimpleNamespace(**names)


def filled(kind: Any, depth: int = 3) -> Message:
    """A message with something in every field."""
    message: Message = kind()
    for field in kind.DESCRIPTOR.fields:
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            continue
        if field.message_type is not None:
            if depth:
                value = filled(message_factory.GetMessageClass(field.message_type), depth - 1)
                target = getattr(message, field.name)
                if field.is_repeated:
                    target.add().CopyFrom(value)
                else:
                    target.CopyFrom(value)
            continue
        scalar = scalar_of(field)
        if field.is_repeated:
            getattr(message, field.name).append(scalar)
        else:
            setattr(message, field.name, scalar)
    return message


def scalar_of(field: FieldDescriptor) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values[-1].number
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return b"\x01" if field.type == FieldDescriptor.TYPE_BYTES else "x"
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return True
    return 1.5 if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT) else 1


@pytest.fixture
def old_server(release: Release) -> Iterator[str]:
    """A server that has the calls of a release, answers each with an empty message, and knows no other."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    for service in release.services:
        handlers = {}
        for method in service.methods:
            request = message_factory.GetMessageClass(method.input_type)
            answer = message_factory.GetMessageClass(method.output_type)
            if not method.client_streaming and not method.server_streaming:
                handlers[method.name] = grpc.unary_unary_rpc_method_handler(
                    lambda _, __, answer=answer: answer(),
                    request_deserializer=request.FromString,
                    response_serializer=answer.SerializeToString,
                )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait()


def test_what_an_older_server_does_not_send_has_its_default(old_server: str) -> None:
    with Client.connect(old_server, timeout_s=30) as client:
        stats = client.stats()
        assert (stats.exchanges, stats.model_id, stats.first_seen_us) == (0, "", 0)
        assert client.list_runs() == []
        assert client.list_findings() == ("", [])
        assert client.list_benchmarks() == []
        assert client.search("anything").hits == ()
        assert client.erase_account("a-1").exchanges == 0


def test_a_call_that_an_older_server_lacks_says_so_at_once(old_server: str, release: Release) -> None:
    lacking = {method.name for service in release.services for method in service.methods}
    calls: dict[str, Callable[[Client], object]] = {"CreateBackup": lambda client: client.create_backup("b")}
    calls["ListFamilies"] = lambda client: client.list_families()
    with Client.connect(old_server, timeout_s=30, retry=RetryPolicy(attempts=1)) as client:
        for name, call in calls.items():
            if name not in lacking:
                with pytest.raises(CoterieError, match="does not know this call") as caught:
                    call(client)
                assert not isinstance(caught.value, UnavailableError), "a client would try again in vain"


def test_unknown_fields_of_a_newer_client_are_passed_over(address: str) -> None:
    exchange = Exchange(ExchangeId("x-9"), AccountId("a"), 1_767_225_600_000_000, "a question")
    from coterie.client import wire

    unknown = b"\xd2\x3e\x05later"  # field 1002, length-delimited: what no version has yet
    request = coterie_messages().IngestBatchRequest(exchanges=[wire.exchange_to_wire(exchange)])
    raw = request.SerializeToString() + unknown
    with grpc.insecure_channel(address) as channel:
        call = channel.unary_unary(
            "/coterie.v1.IngestService/IngestBatch",
            response_deserializer=coterie_messages().IngestBatchResponse.FromString,
        )
        assert call(raw, timeout=30).report.stored == 1
