"""How a client reaches a server: addresses, message sizes, and the stubs of all services."""

import re
from dataclasses import dataclass
from typing import Any

from coterie.domain import LIMITS, InvalidError
from coterie.v1 import (
    admin_service_pb2_grpc,
    benchmark_service_pb2_grpc,
    finding_service_pb2_grpc,
    ingest_service_pb2_grpc,
    run_service_pb2_grpc,
    search_service_pb2_grpc,
)

TIMEOUT_DEFAULT_S = 120.0
"""How long a call may take; the first one that needs the model waits for it to be loaded."""

RECEIVE_BYTES_MAX = 64 * 1024 * 1024
"""Largest answer a client accepts: a page of findings or hits with their texts."""

_HOST_AND_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):(?P<port>\d{1,5})")


@dataclass(frozen=True, slots=True)
class Stubs:
    """Every service on one channel."""

    ingest: ingest_service_pb2_grpc.IngestServiceStub
    search: search_service_pb2_grpc.SearchServiceStub
    run: run_service_pb2_grpc.RunServiceStub
    finding: finding_service_pb2_grpc.FindingServiceStub
    benchmark: benchmark_service_pb2_grpc.BenchmarkServiceStub
    admin: admin_service_pb2_grpc.AdminServiceStub

    @classmethod
    def on(cls, channel: Any) -> "Stubs":
        """The stubs of a `grpc.Channel` or `grpc.aio.Channel`."""
        return cls(
            ingest=ingest_service_pb2_grpc.IngestServiceStub(channel),
            search=search_service_pb2_grpc.SearchServiceStub(channel),
            run=run_service_pb2_grpc.RunServiceStub(channel),
            finding=finding_service_pb2_grpc.FindingServiceStub(channel),
            benchmark=benchmark_service_pb2_grpc.BenchmarkServiceStub(channel),
            admin=admin_service_pb2_grpc.AdminServiceStub(channel),
        )


def check_address(address: str) -> str:
    """The address, if it is one.

    Raises:
        InvalidError: neither `host:port` nor `unix:path`.
    """
    found = _HOST_AND_PORT.fullmatch(address)
    port_ok = found is not None and 0 < int(found["port"]) < 65_536
    if port_ok or (address.startswith("unix:") and len(address) > len("unix:")):
        return address
    raise InvalidError(
        f"{address!r} is no address: use HOST:PORT, such as localhost:50051, or unix:PATH", field="server"
    )


def channel_options(address: str) -> list[tuple[str, int]]:
    """Channel arguments: bounded messages, quick reconnects, and no proxy to this machine."""
    options = [
        ("grpc.max_send_message_length", LIMITS.message_bytes_max),
        ("grpc.max_receive_message_length", RECEIVE_BYTES_MAX),
        # gRPC's own back-off grows to two minutes, which would starve ours.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
        # RetryPolicy decides; two layers of retries multiply.
        ("grpc.enable_retries", 0),
    ]
    if address.startswith(("unix:", "localhost:", "127.", "[::1]")):
        options.append(("grpc.enable_http_proxy", 0))
    return options
