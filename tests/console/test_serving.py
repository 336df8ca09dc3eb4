"""`coterie serve` with its console: tokens, TLS, an address that is taken, and none at all."""

import contextlib
import datetime
import ipaddress
import re
import socket
import ssl
from pathlib import Path

import httpx
import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from coterie.client import Client
from coterie.domain import Role, UnauthenticatedError
from coterie.server import Config, Engine
from coterie.server.access import Guard
from coterie.server.console import _contexts
from coterie.server.tls import ServerTls

from .conftest import served


@pytest.fixture
def tokens(config: Config) -> dict[Role, tuple[str, str]]:
    """A secret and its id for three roles, in a folder that holds nothing else."""
    engine = Engine.open(config)
    try:
        guard = Guard(engine.store)
        made = {role: guard.mint(role.value, [role]) for role in (Role.ADMIN, Role.ANALYST, Role.INGEST)}
        return {role: (secret, token.token_id) for role, (secret, token) in made.items()}
    finally:
        engine.close()


def sign_in(client: httpx.Client, secret: str) -> httpx.Response:
    return client.post("/sign-in", data={"token": secret})


def test_tokens_decide_who_reads_what(config: Config, tokens: dict[Role, tuple[str, str]], tmp_path: Path) -> None:
    with served(config, tmp_path / "log") as url, httpx.Client(base_url=url) as client:
        assert client.get("/sign-in").status_code == 200, "nobody is let in without a token"
        assert client.get("/findings").headers["location"] == "/sign-in"
        assert sign_in(client, "").status_code == 401
        assert sign_in(client, "no token").status_code == 401
        assert sign_in(client, tokens[Role.INGEST][0]).status_code == 403
        assert sign_in(client, tokens[Role.ANALYST][0]).status_code == 303
        assert client.get("/findings").status_code == 200
        refused = client.get("/audit")
        assert refused.status_code == 403
        assert "needs admin" in refused.text
        address = re.search(r"listening on (\S+)", (tmp_path / "log").read_text())
        assert address is not None
        with Client.connect(address[1], token=tokens[Role.ADMIN][0]) as admin:
            admin.revoke_token(tokens[Role.ANALYST][1])
        gone = client.get("/findings")
        assert gone.status_code == 401
        assert "no longer valid" in gone.text
        assert client.get("/findings").headers["location"] == "/sign-in"
        with Client.connect(address[1]) as nobody, pytest.raises(UnauthenticatedError):
            nobody.stats()
        assert tokens[Role.ANALYST][0] not in (tmp_path / "log").read_text()


def test_who_guesses_has_to_wait(config: Config, tokens: dict[Role, tuple[str, str]], tmp_path: Path) -> None:
    with served(config, tmp_path / "log") as url, httpx.Client(base_url=url) as client:
        assert [sign_in(client, "ct_guess").status_code for _ in range(10)] == [401] * 10
        late = sign_in(client, tokens[Role.ADMIN][0])
        assert late.status_code == 429
        assert 0 < int(late.headers["retry-after"]) <= 300


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of this machine that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "cert.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


def shown_certificate(server: ssl.SSLContext) -> bytes:
    """The certificate that a server shows in a handshake, without a network."""
    client = ssl.create_default_context()
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours, theirs = client.wrap_bio(back, there), server.wrap_bio(there, back, server_side=True)
    for side in (ours, theirs, ours, theirs):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return ours.getpeercert(binary_form=True) or b""


def test_its_certificate_follows_the_file(tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path)
    context = _contexts(ServerTls(cert, key))(uvicorn.Config(app=""), ssl.create_default_context)

    def in_file() -> bytes:
        return ssl.PEM_cert_to_DER_cert(cert.read_text())

    first = in_file()
    assert shown_certificate(context) == first
    make_certificate(tmp_path)
    assert in_file() != first
    assert shown_certificate(context) == in_file()


def test_the_service_goes_on_without_a_console_whose_address_is_taken(config: Config, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        log = tmp_path / "log"
        with served(config, log, console_listen=f"127.0.0.1:{port}", said=r"the console cannot listen on (\S+)"):
            address = re.search(r"coterie is listening on (\S+)", log.read_text())
            assert address is not None
            with Client.connect(address[1]) as client:
                assert client.stats().exchanges == 0
    assert "--console-listen" in log.read_text()


def test_an_empty_address_serves_none(config: Config, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with served(config, log, console_listen="", said=r"coterie is listening on (\S+)"):
        pass
    assert "console" not in log.read_text()
