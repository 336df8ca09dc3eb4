"""Metrics and probes over HTTP, on a port of their own: they answer while the calls' port is busy, or stuck."""

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6, socket
from typing import Any

from coterie.domain import UnavailableError

_REQUESTS_MAX = 16
_TIMEOUT_S = 5.0
_JSON = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Page:
    """An answer."""

    status: HTTPStatus
    content_type: str
    body: bytes

    @classmethod
    def of_json(cls, status: HTTPStatus, value: Any) -> "Page":
        """A JSON object on one line."""
        return cls(status, _JSON, json.dumps(value).encode() + b"\n")


Pages = Mapping[str, Callable[[str], Page]]
"""What answers each path; it is given the header `Accept`."""


class OperationsHttp:
    """A small HTTP server on threads of its own."""

    def __init__(self, listen: str, pages: Pages) -> None:
        """Bind to HOST:PORT; nothing is answered before `start`.

        Raises:
            UnavailableError: the address cannot be bound.
        """
        host, _, port = listen.rpartition(":")
        try:
            self._server = _server(host.strip("[]"), int(port), pages)
        except OSError as error:
            raise UnavailableError(
                f"cannot listen on {listen} for metrics ({error.strerror}): choose another with --metrics-listen "
                "HOST:PORT"
            ) from error
        self.address = f"{host}:{self._server.server_address[1]}"
        """Where it listens, with the port that was taken."""
        self._thread = threading.Thread(target=self._server.serve_forever, name="coterie-operations", daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering and let the address go."""
        if self._thread.ident is not None:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


def _server(host: str, port: int, pages: Pages) -> "_Server":
    return (_Server6 if ":" in host else _Server)((host, port), _handler(pages))


class _Server(ThreadingHTTPServer):
    address_family = AF_INET
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._places = threading.BoundedSemaphore(_REQUESTS_MAX)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        # Whoever keeps connections open without asking anything must not take all threads.
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: "socket | tuple[bytes, socket]", client_address: Any) -> None:
        """A caller that goes away in mid-answer is no event."""


class _Server6(_Server):
    address_family = AF_INET6


def _handler(pages: Pages) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version = "coterie"
        sys_version = ""
        timeout = _TIMEOUT_S

        def do_GET(self) -> None:
            self._answer(body=True)

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def log_message(self, format: str, *args: Any) -> None:
            """Probes come every few seconds: nothing is logged."""

        def _answer(self, *, body: bool) -> None:
            page = self._page()
            self.send_response(page.status)
            self.send_header("Content-Type", page.content_type)
            self.send_header("Content-Length", str(len(page.body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if body:
                self.wfile.write(page.body)

        def _page(self) -> Page:
            make = pages.get(self.path.partition("?")[0])
            if make is None:
                return Page.of_json(HTTPStatus.NOT_FOUND, {"pages": sorted(pages)})
            return make(self.headers.get("Accept", ""))

    return Handler
