"""One message to one endpoint over HTTP: signed, to an address that was checked, within a deadline."""

import base64
import binascii
import hashlib
import hmac
import http.client
import ipaddress
import socket
import ssl
import stat
import threading
import time
import tomllib
from concurrent.futures import Future
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

from coterie.domain import InvalidError, UnavailableError

SECRET_PREFIX = "whsec_"
"""What a secret of Standard Webhooks begins with; base64 of 24 to 64 bytes follows."""

ENDPOINTS_MAX = 16
_FILE_BYTES_MAX = 64 * 1024
_ANSWER_BYTES_MAX = 1_024
_RETRY_AFTER_MAX_S = 3_600.0
_CONNECT_S_MIN = 0.001
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
_KEYS = frozenset({"name", "url", "secret_file", "allow_private"})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where messages go.

    Attributes:
        secret: signs them.
        allow_private: also to addresses that are not public; needed for loopback, and so for http.
    """

    name: str
    url: str
    secret: bytes = field(repr=False)
    allow_private: bool = False

    @property
    def shown_url(self) -> str:
        """The URL without query and user, which may hold secrets."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"


class DeliveryError(Exception):
    """A try that failed; `retry_after_s` is what the endpoint asked for, 0 for nothing."""

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


def read_endpoints(path: Path) -> tuple[Endpoint, ...]:
    """The endpoints of a TOML file: tables `[[endpoint]]` with name, url, secret_file and perhaps allow_private.

    Raises:
        InvalidError: the file does not say that, a URL that is not allowed, or a name twice.
        UnavailableError: a file cannot be read, or others may read a secret.
    """
    try:
        values = tomllib.loads(_read(path).decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidError(f"{path} is no TOML file: {error}", field="webhooks_file") from error
    listed = values.pop("endpoint", [])
    if values or not isinstance(listed, list) or len(listed) > ENDPOINTS_MAX:
        raise InvalidError(f"{path} takes up to {ENDPOINTS_MAX} tables [[endpoint]] and no more", field="webhooks_file")
    endpoints = tuple(_endpoint(item, path.parent) for item in listed)
    if len({endpoint.name for endpoint in endpoints}) < len(endpoints):
        raise InvalidError(f"{path} has two endpoints of one name", field="webhooks_file")
    return endpoints


def _endpoint(item: object, folder: Path) -> Endpoint:
    if not isinstance(item, dict) or not {"name", "url", "secret_file"} <= item.keys() <= _KEYS:
        raise InvalidError("an endpoint takes name, url, secret_file and allow_private", field="webhooks_file")
    name, url, allow_private = str(item["name"]), str(item["url"]), item.get("allow_private", False)
    if not name.isprintable() or not 1 <= len(name) <= 64 or not isinstance(allow_private, bool):
        raise InvalidError(
            "an endpoint has a name of up to 64 characters, allow_private is true or false", field="name"
        )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidError(f"endpoint {name} has no URL", field="url") from error
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.username or port == 0:
        raise InvalidError(f"endpoint {name} takes an https URL with a host, without a user", field="url")
    if parts.scheme == "http" and not (allow_private and _is_loopback(parts.hostname)):
        raise InvalidError(
            f"endpoint {name} is http: only to loopback, with allow_private = true; else use https", field="url"
        )
    return Endpoint(name, url, _secret(folder / str(item["secret_file"]), name), allow_private)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_FILE_BYTES_MAX)
    except OSError as error:
        raise UnavailableError(f"{path} cannot be read: {error.strerror}") from error


def _secret(path: Path, name: str) -> bytes:
    content = _read(path).strip()
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise UnavailableError(f"the secret file {path} has mode {mode:04o}, others may read it: chmod 600 it")
    try:
        text = content.decode("ascii")
        secret = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (UnicodeDecodeError, binascii.Error):
        secret = b""
    if not 24 <= len(secret) <= 64:
        raise InvalidError(
            f"the secret of endpoint {name} must be {SECRET_PREFIX} and base64 of 24 to 64 bytes", field="secret_file"
        )
    return secret


def signature(secret: bytes, message_id: str, timestamp_s: int, body: bytes) -> str:
    """The header `webhook-signature` of Standard Webhooks: HMAC-SHA256 over id, timestamp and body, version 1."""
    signed = b".".join((message_id.encode(), str(timestamp_s).encode(), body))
    return f"v1,{base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()}"


def deliver(endpoint: Endpoint, message_id: str, body: bytes, timeout_s: float) -> None:
    """Send one message; returns when it was answered with 2xx.

    The host is resolved once and the connection made to the address that was checked, so that a name cannot lead
    elsewhere afterwards. Redirects are an answer like every other: not followed.

    Raises:
        DeliveryError: every other answer, and none within the time. The message holds no part of an answer's body.
    """
    parts = urlsplit(endpoint.url)
    deadline = time.monotonic() + timeout_s
    try:
        connection = _connected(endpoint, deadline)
    except OSError as error:
        late = time.monotonic() >= deadline
        raise DeliveryError(
            f"no connection{f' within {timeout_s:g} s' if late else f': {type(error).__name__}'}"
        ) from error
    # A receiver that sends a byte now and then is within every socket timeout: the deadline shuts it off.
    raw = connection.sock
    watchdog = threading.Timer(max(0.0, deadline - time.monotonic()), _shut, [raw])
    watchdog.daemon = True
    watchdog.start()
    try:
        if isinstance(raw, ssl.SSLSocket):
            raw.do_handshake()
        timestamp_s = int(time.time())
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {
            "content-type": "application/json",
            "user-agent": "coterie",
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp_s),
            "webhook-signature": signature(endpoint.secret, message_id, timestamp_s, body),
        }
        connection.request("POST", target, body, headers)
        answer = connection.getresponse()
        answer.read(_ANSWER_BYTES_MAX)
    except (OSError, http.client.HTTPException) as error:
        late = time.monotonic() >= deadline
        raise DeliveryError(f"no answer within {timeout_s:g} s" if late else type(error).__name__) from error
    finally:
        watchdog.cancel()
        connection.close()
    if not 200 <= answer.status < 300:
        raise DeliveryError(f"answered {answer.status}", _retry_after_s(answer.getheader("retry-after")))


def _shut(raw: socket.socket) -> None:
    try:
        raw.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it is closed already: the answer came at the last moment


class _Names:
    """Looks names up within a time. The system's resolver knows none and cannot be stopped, so it works on a thread,
    one for each name: who asks again while it is at work waits for the same answer.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: dict[tuple[str, int], Future[list[str]]] = {}

    def addresses(self, host: str, port: int, timeout_s: float) -> list[str]:
        """The addresses of a host. Raises OSError, a TimeoutError where it takes too long."""
        with self._lock:
            answer = self._asked.get((host, port))
            if answer is None:
                answer = self._asked[host, port] = Future()
                threading.Thread(
                    target=self._look_up, args=(host, port, answer), name="coterie-names", daemon=True
                ).start()
        return answer.result(max(0.0, timeout_s))

    def _look_up(self, host: str, port: int, answer: "Future[list[str]]") -> None:
        found: list[str] | OSError
        try:
            found = [str(item[4][0]) for item in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        except OSError as error:
            found = error
        except UnicodeError:
            found = OSError("not a name")
        with self._lock:  # before anybody is told: who asks next is to be answered anew
            del self._asked[host, port]
        if isinstance(found, OSError):
            answer.set_exception(found)
        else:
            answer.set_result(found)


_NAMES = _Names()


def _connected(endpoint: Endpoint, deadline: float) -> http.client.HTTPConnection:
    """A connection on which nothing was sent: the handshake of TLS is left to whoever can cut it short."""
    parts = urlsplit(endpoint.url)
    host = str(parts.hostname)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    addresses = _NAMES.addresses(host, port, deadline - time.monotonic())
    refused = [address for address in addresses if not _may(address, endpoint.allow_private)]
    if refused or not addresses:
        raise DeliveryError(
            f"{host} leads to an address that is not public: refused, unless the endpoint has allow_private = true"
        )
    raw = socket.create_connection((addresses[0], port), max(_CONNECT_S_MIN, deadline - time.monotonic()))
    if parts.scheme == "https":
        raw = ssl.create_default_context().wrap_socket(raw, server_hostname=host, do_handshake_on_connect=False)
    connection = http.client.HTTPConnection(host, port)
    connection.sock = raw
    return connection


def _may(address: str, allow_private: bool) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        nat64 = ipaddress.IPv4Address(ip.packed[-4:]) if ip in _NAT64 else None
        ip = ip.ipv4_mapped or ip.sixtofour or nat64 or ip  # where a gateway would take it
    if ip.is_multicast or ip.is_unspecified or ip.is_link_local:  # link-local: the metadata services of clouds
        return False
    return ip.is_global or (allow_private and (ip.is_private or ip.is_loopback))


def _retry_after_s(value: str | None) -> float:
    if not value:
        return 0.0
    if value.strip().isdecimal():
        return min(_RETRY_AFTER_MAX_S, float(value))
    try:
        return min(_RETRY_AFTER_MAX_S, max(0.0, parsedate_to_datetime(value).timestamp() - time.time()))
    except ValueError:
        return 0.0
