"""The web console beside the gRPC server, on the same event loop: a client of its own process."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from coterie.client import AsyncClient
from coterie.client.channel import is_private
from coterie.console import ConsoleSettings, make_app
from coterie.console.guard import host_names
from coterie.domain import UnavailableError
from coterie.server.config import Config
from coterie.server.logs import emit
from coterie.server.tls import Certificates, ServerTls

_LOGGER = logging.getLogger(__name__)
_BACKLOG = 128
_CONNECTIONS_MAX = 256
"""More are told to come again; a connection that a browser keeps open counts."""
_PATIENCE_S = 15.0
"""A connection that sends no whole request in this time is closed, at the latest after twice as long."""
_GRACE_S = 2


class ConsoleServer:
    """Serves the console until it is stopped."""

    def __init__(self, config: Config, service: str) -> None:
        """`service`: the address under which the console reaches the service."""
        self._config = config
        self._service = service
        self._task: asyncio.Task[None] | None = None
        self._server: _Uvicorn | None = None

    async def start(self) -> str:
        """Bind and answer; returns the address to open in a browser.

        Raises:
            UnavailableError: the address cannot be bound, or the certificate cannot be used.
        """
        # To a browser on this machine the certificate would be one of another name.
        tls = None if is_private(self._config.console_listen) else self._config.tls
        contexts = _contexts(tls) if tls else None
        listener = _bind(self._config.console_listen)
        host, port = listener.getsockname()[:2]
        hosts = host_names(self._config.console_listen, self._names())
        settings = ConsoleSettings(hosts=hosts, port=port, secure=tls is not None)
        self._server = _Uvicorn(
            uvicorn.Config(
                make_app(settings, lambda token: AsyncClient.connect(self._service, token=token)),
                http=_Impatient,
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=_CONNECTIONS_MAX,
                timeout_graceful_shutdown=_GRACE_S,
                lifespan="on",
                ssl_context_factory=contexts,
            )
        )
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))
        name = f"[{host}]" if ":" in host else host
        return f"http{'s' if tls else ''}://{name}:{port}/"

    async def stop(self) -> None:
        """End open requests within their grace."""
        if self._server is None or self._task is None:
            return
        self._server.should_exit = True
        try:
            await self._task
        except Exception as error:  # noqa: BLE001 - the service itself goes on to stop in order
            emit(_LOGGER, logging.ERROR, "console_failed", reason=type(error).__name__)

    def _names(self) -> list[str]:
        return [name.strip() for name in self._config.console_hosts.split(",") if name.strip()]


class _Impatient(H11Protocol):
    """Closes connections that are held open without a request, so that nobody can take all places, or all files."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take a connection."""
        super().connection_made(transport)
        if len(self.connections) > 2 * _CONNECTIONS_MAX:
            transport.abort()
            return
        self._seen: Any = self
        self._timer = self.loop.call_later(_PATIENCE_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let it go."""
        if hasattr(self, "_timer"):
            self._timer.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        at_work = self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body
        if not at_work and self._seen is self.cycle:
            self.transport.abort()  # it waits since the last look
            return
        self._seen = self if at_work else self.cycle
        self._timer = self.loop.call_later(_PATIENCE_S, self._look)


class _Uvicorn(uvicorn.Server):
    """Leaves signals to the service."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take none."""
        yield


def _contexts(files: ServerTls) -> Callable[[uvicorn.Config, Callable[[], ssl.SSLContext]], ssl.SSLContext]:
    """What makes uvicorn's context; as the gRPC port's, its certificate follows the file at each handshake."""
    certificates = Certificates(files)
    newest = _context(files)

    def follow(connection: ssl.SSLObject | ssl.SSLSocket, name: str | None, context: ssl.SSLContext) -> None:
        nonlocal newest
        if certificates.renewed() is not None:
            newest = _context(files)
        connection.context = newest

    newest.sni_callback = follow
    return lambda config, make: newest


def _context(files: ServerTls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.cert, files.key)
    if files.client_ca is not None:
        context.load_verify_locations(files.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _bind(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return socket.create_server(found[0][4][:2], family=found[0][0], backlog=_BACKLOG)
    except OSError as error:
        raise UnavailableError(
            f"the console cannot listen on {listen} ({error.strerror}): choose another address with "
            "--console-listen HOST:PORT, or --console-listen '' for none"
        ) from error
