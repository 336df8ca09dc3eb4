"""TLS and mutual TLS over a real socket, with certificates made here."""

import asyncio
import datetime
import ipaddress
import json
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from coterie.client import AsyncClient, Client, RetryPolicy, Tls
from coterie.domain import Caller, Credential, DeniedError, InvalidError, Role, UnauthenticatedError, UnavailableError
from coterie.server import Config, Engine, cli, serve
from coterie.server.app import Server
from coterie.server.console import ConsoleServer
from coterie.server.tls import Certificates, ServerTls, parse_tls_callers

IMPATIENT = RetryPolicy(attempts=1)


@dataclass
class Pair:
    """A certificate and its key, as files."""

    cert: Path
    key: Path
    certificate: x509.Certificate
    private: ec.EllipticCurvePrivateKey


class Authority:
    """Signs certificates into a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.pair = self._made(name, None)
        self.ca = self.pair.cert

    def sign(self, name: str) -> Pair:
        """A certificate for a common name, good for servers on this machine too."""
        return self._made(name, self.pair)

    def _made(self, name: str, issuer: Pair | None) -> Pair:
        private = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject if issuer else subject)
            .public_key(private.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName(
                    [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
                ),
                critical=False,
            )
        )
        certificate = builder.sign(issuer.private if issuer else private, hashes.SHA256())
        cert, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key.write_bytes(
            private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return Pair(cert, key, certificate, private)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "our-authority")


@pytest.fixture
def secured(config: Config, authority: Authority) -> Config:
    pair = authority.sign("server")
    return replace(config, tls_cert=str(pair.cert), tls_key=str(pair.key), lazy_model=True)


@pytest.fixture
def mutual(secured: Config, authority: Authority) -> Config:
    return replace(secured, tls_client_ca=str(authority.ca), tls_callers="platform=ingest, carol=reviewer+ingest")


async def serving(config: Config, use: Callable[[str], Any]) -> Any:
    """What `use` gives on a thread, while a server listens where the configuration says."""
    engine = Engine.open(config)
    try:
        server = Server(engine)
        try:
            address = await server.start(config.listen)
            return await asyncio.to_thread(use, address)
        finally:
            await server.stop(1)
    finally:
        engine.close()


def who(address: str, tls: Tls | None, token: str | None = None) -> Caller:
    with Client.connect(address, tls=tls, token=token, retry=IMPATIENT, timeout_s=10) as client:
        return client.who_am_i()


async def test_a_client_that_trusts_the_authority_is_served_and_no_other(
    secured: Config, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "else").mkdir()
    stranger = Authority(tmp_path / "else", "another-authority")

    def use(address: str) -> None:
        ours = Tls(authority.ca)
        assert who(address, ours).credential is Credential.NONE
        for wrong in (Tls(stranger.ca), Tls(), None):
            with pytest.raises(UnavailableError):
                who(address, wrong)
        with Client.connect(address, tls=ours) as client:
            secret, token = client.mint_token("root", [Role.ADMIN])
        assert who(address, ours, secret).token_id == token.token_id
        with pytest.raises(UnauthenticatedError):
            who(address, ours)

        async def ask() -> Caller:
            async with AsyncClient.connect(address, tls=ours, token=secret, retry=IMPATIENT) as client:
                return await client.who_am_i()

        assert asyncio.run(ask()).name == "root"

    await serving(secured, use)


async def test_mutual_tls_takes_the_callers_name_from_the_certificate(mutual: Config, authority: Authority) -> None:
    def use(address: str) -> None:
        def tls(name: str) -> Tls:
            pair = authority.sign(name)
            return Tls(authority.ca, pair.cert, pair.key)

        carol = tls("carol")
        assert who(address, carol) == Caller("carol", frozenset({Role.REVIEWER, Role.INGEST}), Credential.CERTIFICATE)
        with Client.connect(address, tls=tls("platform"), retry=IMPATIENT) as client:
            assert client.ingest([]).stored == 0
            with pytest.raises(DeniedError, match="platform has the role ingest"):
                client.stats()
        with pytest.raises(UnauthenticatedError):
            who(address, tls("unknown"))
        with pytest.raises(UnauthenticatedError):
            who(address, carol, "ct_0123456789ab_" + "A" * 43)  # a token that is not valid is not made good

    await serving(mutual, use)


async def test_a_certificate_of_another_authority_is_refused(
    mutual: Config, authority: Authority, tmp_path: Path
) -> None:
    (tmp_path / "else").mkdir()
    forged = Authority(tmp_path / "else", "our-authority").sign("carol")

    def use(address: str) -> None:
        for own in ((forged.cert, forged.key), (None, None)):
            with pytest.raises(UnavailableError):
                who(address, Tls(authority.ca, *own))

    await serving(mutual, use)


async def test_a_renewed_certificate_is_taken_up_and_a_broken_one_is_not(
    secured: Config, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    def shown(address: str) -> int:
        import ssl

        host, _, port = address.rpartition(":")
        pem = ssl.get_server_certificate((host, int(port)), timeout=10)
        return x509.load_pem_x509_certificate(pem.encode()).serial_number

    def use(address: str) -> None:
        first = shown(address)
        assert shown(address) == first
        renewed = authority.sign("server")
        assert shown(address) == renewed.certificate.serial_number != first
        assert who(address, Tls(authority.ca)).credential is Credential.NONE
        broken = authority.sign("broken")
        Path(secured.tls_cert).write_bytes(broken.cert.read_bytes())  # the key does not go with it
        assert shown(address) == renewed.certificate.serial_number
        Path(secured.tls_cert).unlink()
        assert shown(address) == renewed.certificate.serial_number
        again = authority.sign("server")
        assert shown(address) == again.certificate.serial_number

    with caplog.at_level(logging.INFO, "coterie"):
        await serving(secured, use)
    assert "certificate_renewed" in caplog.text
    assert "certificate_not_renewed" in caplog.text
    assert "BEGIN" not in caplog.text


def test_a_certificate_that_cannot_be_used_is_refused_at_start(
    secured: Config, authority: Authority, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    other = authority.sign("other")
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("no certificate\n")
    for wrong in (
        {"tls_key": str(other.key)},
        {"tls_cert": str(nothing)},
        {"tls_cert": str(tmp_path / "absent.pem")},
        {"tls_client_ca": str(nothing)},
    ):
        assert serve(replace(secured, **wrong)) == 1  # type: ignore[arg-type]
        assert next(iter(wrong.values())) in capsys.readouterr().err


def test_a_key_with_a_password_is_refused_and_nobody_is_asked_for_it(authority: Authority) -> None:
    pair = authority.sign("locked")
    pair.key.write_bytes(
        pair.private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"a password"),
        )
    )
    with pytest.raises(UnavailableError, match="without a password"):
        Certificates(ServerTls(pair.cert, pair.key))


def test_beyond_this_machine_tls_is_enough_with_somebody_who_can_call(
    secured: Config, mutual: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    assert serve(replace(secured, listen="0.0.0.0:0", console_listen="")) == 1
    assert "no token was minted yet" in capsys.readouterr().err

    async def checked() -> None:
        engine = Engine.open(replace(mutual, listen="0.0.0.0:0", console_listen=""))
        try:
            server = Server(engine)
            server.check_exposure()
            await server.stop(0)
        finally:
            engine.close()

    asyncio.run(checked())


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"tls_cert": "a"}, "tls_key"),
        ({"tls_key": "a"}, "tls_key"),
        ({"tls_client_ca": "a"}, "tls_cert"),
        ({"tls_callers": "a=admin"}, "tls_client_ca"),
        ({"tls_callers": "a"}, "tls_callers"),
        ({"tls_callers": "a=king"}, "tls_callers"),
        ({"tls_callers": "=admin"}, "tls_callers"),
        ({"tls_callers": "a=admin,a=ingest"}, "tls_callers"),
    ],
)
def test_settings_that_contradict_each_other_are_named(settings: dict[str, str], field: str) -> None:
    with pytest.raises(InvalidError) as caught:
        Config(**settings)  # type: ignore[arg-type]
    assert caught.value.field == field


def test_callers_by_certificate_are_read_from_one_line() -> None:
    assert parse_tls_callers(" a=ingest, CN=b=analyst+ingest ,") == {
        "a": {Role.INGEST},
        "CN=b": {Role.ANALYST, Role.INGEST},
    }


def test_a_clients_files_are_checked(authority: Authority, tmp_path: Path) -> None:
    pair = authority.sign("x")
    text = tmp_path / "text"
    text.write_text("hello")
    for wrong in (Tls(cert=pair.cert), Tls(key=pair.key), Tls(ca=text), Tls(ca=tmp_path / "absent")):
        with pytest.raises(InvalidError):
            Client.connect("localhost:1", tls=wrong)
    Client.connect("coterie.example.com:443", tls=Tls(authority.ca), token="ct_x").close()


async def test_the_command_line_speaks_it_too(
    mutual: Config, authority: Authority, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COTERIE_TOKEN", raising=False)
    pair = authority.sign("carol")

    def use(address: str) -> None:
        files = ("--tls-ca", str(authority.ca), "--tls-cert", str(pair.cert), "--tls-key", str(pair.key))
        assert cli.main(["--server", address, *files, "whoami", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["name"] == "carol"

    await serving(mutual, use)
    with pytest.raises(SystemExit):
        cli.main(["--tls-ca", str(authority.ca), "stats"])
    assert "--tls and its files need --server" in capsys.readouterr().err


async def test_a_private_socket_beside_it_stays_in_the_clear(mutual: Config, tmp_path: Path) -> None:
    engine = Engine.open(mutual)
    try:
        server = Server(engine)
        await server.start(mutual.listen, also=f"unix:{tmp_path}/s")
        with pytest.raises(UnauthenticatedError):
            await asyncio.to_thread(who, f"unix:{tmp_path}/s", None)
        await server.stop(1)
    finally:
        engine.close()


async def test_the_console_beyond_this_machine_asks_for_certificates_too(mutual: Config, authority: Authority) -> None:
    config = replace(mutual, console_listen="0.0.0.0:0", console_hosts="localhost")
    console = ConsoleServer(config, "unix:/nowhere")
    address = (await console.start()).replace("0.0.0.0", "localhost") + "static/mark.svg"
    context = ssl.create_default_context(cafile=authority.ca)
    try:
        async with httpx.AsyncClient(verify=context) as nobody:
            with pytest.raises(httpx.TransportError):
                await nobody.get(address)
        ours = authority.sign("carol")
        context.load_cert_chain(ours.cert, ours.key)
        async with httpx.AsyncClient(verify=context) as carol:
            assert (await carol.get(address)).status_code == 200
    finally:
        await console.stop()
