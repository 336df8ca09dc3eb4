"""TLS for the gRPC port: certificates from files, taken up anew when they change, and callers known by theirs."""

import logging
import os
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from coterie.domain import InvalidError, Role, UnavailableError
from coterie.server.logs import emit

_LOGGER = logging.getLogger(__name__)

_Stamp = tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, slots=True)
class ServerTls:
    """The files of a server, PEM.

    Attributes:
        cert: its certificate, with those between it and the authority behind it.
        key: the certificate's private key.
        client_ca: the authorities that callers' certificates must be signed by; None asks callers for none.
    """

    cert: Path
    key: Path
    client_ca: Path | None = None


class Certificates:
    """What a server shows and asks for, read again for each handshake where a file has changed.

    A renewal that cannot be used, such as a certificate whose key has not been written yet, is logged, and the pair
    before it stays.
    """

    def __init__(self, files: ServerTls) -> None:
        """Read the files.

        Raises:
            UnavailableError: one cannot be read or is no PEM, or the key is not the certificate's.
        """
        self._files = files
        self._lock = threading.Lock()
        self._stamp = self._stamped()
        self._first = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """Credentials of a port that follow the files."""
        renewed: Any = self.renewed  # the stubs do not know that None means unchanged
        return grpc.dynamic_ssl_server_credentials(
            self._first, renewed, require_client_authentication=self._files.client_ca is not None
        )

    def renewed(self) -> "grpc.ServerCertificateConfiguration | None":
        """The new configuration where a file has changed since the last look and all can be used, else None."""
        with self._lock:
            try:
                stamp = self._stamped()
                if stamp == self._stamp:
                    return None
                self._stamp = stamp
                made = self._read()
            except UnavailableError as error:
                emit(_LOGGER, logging.ERROR, "certificate_not_renewed", reason=error)
                return None
        emit(_LOGGER, logging.INFO, "certificate_renewed", file=self._files.cert)
        return made

    def _paths(self) -> list[Path]:
        files = self._files
        return [files.cert, files.key, *([files.client_ca] if files.client_ca else [])]

    def _stamped(self) -> _Stamp:
        found = []
        for path in self._paths():
            try:
                status = os.stat(path)
            except OSError as error:
                raise UnavailableError(f"cannot read {path}: {error.strerror}") from error
            found.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(found)

    def _read(self) -> "grpc.ServerCertificateConfiguration":
        files = self._files
        # gRPC takes anything and then fails every handshake; OpenSSL says at once what is wrong.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(files.cert, files.key, password=_no_password)
        except (OSError, ValueError) as error:
            raise UnavailableError(
                f"{files.cert} and {files.key} cannot be used: they must be a certificate chain and its key without a "
                "password, both PEM"
            ) from error
        if files.client_ca is not None:
            try:
                context.load_verify_locations(files.client_ca)
            except (OSError, ValueError) as error:
                raise UnavailableError(f"{files.client_ca} holds no certificate of an authority in PEM") from error
        try:
            contents = [path.read_bytes() for path in self._paths()]
        except OSError as error:
            raise UnavailableError(f"cannot read {error.filename}: {error.strerror}") from error
        chain, key, *authorities = contents
        return grpc.ssl_server_certificate_configuration([(key, chain)], authorities[0] if authorities else None)


def _no_password() -> str:
    raise ValueError("the key has a password")  # OpenSSL would ask for it on the terminal


def parse_tls_callers(text: str) -> Mapping[str, frozenset[Role]]:
    """Roles by common name, from `NAME=ROLE[+ROLE]`, commas between.

    Raises:
        InvalidError: it is not of this form, or a name comes twice.
    """
    found: dict[str, frozenset[Role]] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, given = part.rpartition("=")
        roles = given.split("+")
        if not name or not set(roles) <= set(Role) or name in found:
            raise InvalidError(
                f"tls_callers holds {part!r}: it must be NAME=ROLE, each name once, roles {', '.join(Role)}, several "
                "joined by +",
                field="tls_callers",
            )
        found[name] = frozenset(Role(role) for role in roles)
    return found
