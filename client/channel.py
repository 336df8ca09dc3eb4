"""How a client reaches a server: addresses, credentials, message sizes, and the stubs of all services."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc

from coterie.domain import LIMITS, InvalidError
from coterie.v1 import (
    access_service_pb2_grpc,
    admin_service_pb2_grpc,
    benchmark_service_pb2_grpc,
    explore_service_pb2_grpc,
    finding_service_pb2_grpc,
    ingest_service_pb2_grpc,
    run_service_pb2_grpc,
    search_service_pb2_grpc,
)

TIMEOUT_DEFAULT_S = 120.0
"""How long a call may take; the first one that needs the model waits for it to be loaded."""

RECEIVE_BYTES_MAX = 64 * 1024 * 1024
"""Largest answer a client accepts: a page of findings or hits with their texts."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,1024}")  # of RFC 6750
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
    access: access_service_pb2_grpc.AccessServiceStub
    explore: explore_service_pb2_grpc.ExploreServiceStub

    @classmethod
    def on(cls, channel: Any, token: str | None = None) -> "Stubs":
        """The stubs of a `grpc.Channel` or `grpc.aio.Channel`; each call brings the token, where there is one."""
        channel = authorised(channel, token)
        return cls(
            ingest=ingest_service_pb2_grpc.IngestServiceStub(channel),
            search=search_service_pb2_grpc.SearchServiceStub(channel),
            run=run_service_pb2_grpc.RunServiceStub(channel),
            finding=finding_service_pb2_grpc.FindingServiceStub(channel),
            benchmark=benchmark_service_pb2_grpc.BenchmarkServiceStub(channel),
            admin=admin_service_pb2_grpc.AdminServiceStub(channel),
            access=access_service_pb2_grpc.AccessServiceStub(channel),
            explore=explore_service_pb2_grpc.ExploreServiceStub(channel),
        )


@dataclass(frozen=True, slots=True)
class Tls:
    """Files of a client that speaks TLS, PEM.

    Attributes:
        ca: the authorities that the server's certificate must be signed by; None takes those that come with gRPC.
        cert, key: the client's own certificate chain and its key, for mutual TLS; both or neither.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """What gRPC wants.

        Raises:
            InvalidError: a file cannot be read, or one of certificate and key is missing.
        """
        if (self.cert is None) != (self.key is None):
            raise InvalidError("a client's certificate and its key go together: give both or neither", field="tls")
        return grpc.ssl_channel_credentials(_read(self.ca), _read(self.key), _read(self.cert))


def _read(file: Path | None) -> bytes | None:
    if file is None:
        return None
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InvalidError(f"cannot read {file}: {error.strerror}", field="tls") from error
    if b"-----BEGIN " not in content:
        raise InvalidError(f"{file} is not PEM: it must hold -----BEGIN", field="tls")
    return content


class _Authorised:
    """A channel, sync or async, whose calls carry a token.

    Interceptors would do it too, but those of grpc.aio change how a stream is written and how it ends; call credentials
    are not to be had on a Unix socket in the clear.
    """

    def __init__(self, channel: Any, token: str) -> None:
        self._channel = channel
        self._metadata = (("authorization", f"Bearer {token}"),)

    def __getattr__(self, kind: str) -> Callable[..., Any]:
        make = getattr(self._channel, kind)
        return lambda *args, **kwargs: partial(make(*args, **kwargs), metadata=self._metadata)


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


def is_private(address: str) -> bool:
    """Whether what is sent to an address stays on this machine: a Unix socket or a loopback address."""
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name, such as 127.example.com, which may lead anywhere
        return False


def authorised(channel: Any, token: str | None) -> Any:
    """The channel with the token in each of its calls; the channel itself where there is none."""
    return _Authorised(channel, token) if token else channel


def check_token(token: str | None, address: str, *, encrypted: bool) -> str | None:
    """The token, if it may be sent to this address; None and "" are none.

    Raises:
        InvalidError: it is no token, or would cross the network for everybody to read.
    """
    if not token:
        return None
    if not _TOKEN.fullmatch(token):
        raise InvalidError(
            "the token holds other characters than a token has: give it as it was printed when it was minted",
            field="token",
        )
    if not encrypted and not is_private(address):
        raise InvalidError(
            f"a token is not sent to {address} in the clear: use TLS (--tls-ca FILE or --tls, tls= in the client "
            "library), or reach the server through a tunnel that ends on this machine",
            field="token",
        )
    return token


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
    if is_private(address):
        options.append(("grpc.enable_http_proxy", 0))
    return options
