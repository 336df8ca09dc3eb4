"""Around every request: which host names it may use, where its forms may come from, and what browsers may do."""

import logging
import traceback
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coterie.console.settings import ConsoleSettings

_LOGGER = logging.getLogger(__name__)

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""Nothing of another origin, no inline script, no inline style, no frame."""

_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
_SAFE_METHODS = ("GET", "HEAD")


class Guard:
    """Refuses what does not come from the console's own pages, and sets the headers that say so to browsers."""

    def __init__(self, app: ASGIApp, settings: ConsoleSettings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        secured = _Secured(send, self._settings.secure)
        problem = self._problem(scope["method"], Headers(scope=scope))
        app = PlainTextResponse(problem, status_code=421 if "name" in problem else 403) if problem else self._app
        try:
            await app(scope, receive, secured)
        except Exception as error:  # noqa: BLE001 - the server would log its message, which may quote a text
            _log_unexpected(error)
            if not secured.finished:
                raise _BrokenError from None

    def _problem(self, method: str, headers: Headers) -> str:
        host = headers.get("host", "")
        if self._settings.hosts and _name(host) not in self._settings.hosts:
            return "This server does not go by that name. Add it to console_hosts if it should.\n"
        if method in _SAFE_METHODS:
            return ""
        # Browsers that say where a request comes from are believed; as pages are told to send no referrer, their forms
        # give `null` as the origin. Of others the origin must be ours.
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        ours = site in ("same-origin", "none") if site else origin is None or urlsplit(origin).netloc == host
        if not ours:
            return "A form of another site was refused. Open the console itself and try again there.\n"
        return ""


class _BrokenError(Exception):
    """A response that cannot be finished: it makes the server cut the connection off."""


def _log_unexpected(error: Exception) -> None:
    frames = traceback.extract_tb(error.__traceback__)[-4:]
    places = " < ".join(f"{frame.name} {frame.filename}:{frame.lineno}" for frame in reversed(frames))
    values = {"error": f"{type(error).__qualname__} at {places}"}
    _LOGGER.error("unexpected", extra={"event": "unexpected", "values": values})


class _Secured:
    """Sends with the headers set; a response that has one of its own keeps it."""

    def __init__(self, send: Send, secure: bool) -> None:
        self._send = send
        self._secure = secure
        self.finished = False
        """Whether the response was sent to its end."""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            if self._secure:
                headers.setdefault("strict-transport-security", "max-age=31536000")
        await self._send(message)
        self.finished = message["type"] == "http.response.body" and not message.get("more_body", False)


def host_names(listen: str, more: Iterable[str]) -> frozenset[str]:
    """The names under which a server that listens there may be called.

    Args:
        listen: HOST:PORT.
        more: further names, without port.
    """
    host = listen.rpartition(":")[0].strip("[]").lower()
    loopback = {"localhost", "127.0.0.1", "::1"}
    return frozenset({host, *(name.lower() for name in more)} | (loopback if _is_loopback(host) else set()))


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _name(host: str) -> str:
    """A Host header without its port, in lower case."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() and not host.endswith("]") else host
    return name.strip("[]").lower()
