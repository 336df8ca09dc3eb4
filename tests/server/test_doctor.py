"""The doctor: a well folder is ok, and each thing that was broken on purpose is found, with what to do."""

import json
import os
import socket
import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from coterie.client import Client
from coterie.client.channel import authorised
from coterie.domain import Exchange, InvalidError, Role
from coterie.server import Config, Engine, doctor, local_server
from coterie.server.cli import main
from coterie.server.doctor import Diagnosis, Status, examine, worst
from coterie.server.doctor_server import examine_server


@pytest.fixture
def config(config: Config) -> Config:
    return replace(config, console_listen="")  # its default port may be another's here


@pytest.fixture
def filled(config: Config, exchange: Callable[..., Exchange]) -> Config:
    engine = Engine.open(config)
    engine.warm_up()
    engine.ingest([exchange(number) for number in range(30)]).result(30)
    engine.embed_pending(lambda _: None, lambda: False)
    engine.close()
    return config


def one(found: list[Diagnosis], check: str) -> Diagnosis:
    (item,) = [item for item in found if item.check == check]
    return item


def test_a_well_folder_is_ok(filled: Config) -> None:
    found = list(examine(filled))
    assert [item for item in found if item.status is not Status.OK] == []
    assert {item.check for item in found} == {
        *("python", "torch", "faiss", "sqlite", "model", "folder", "disk", "clock", "ports"),
        *("schema", "integrity", "wal", "snapshots"),
    }
    assert "30" not in one(found, "integrity").seen
    assert int(one(found, "snapshots").seen.split()[0]) >= 2


def test_a_folder_in_use_is_looked_at_beside_its_server(filled: Config) -> None:
    engine = Engine.open(filled)
    try:
        assert worst(list(examine(filled))) is Status.OK
    finally:
        engine.close()


def test_no_folder_is_no_failure(config: Config) -> None:
    found = list(examine(config))
    assert worst(found) is Status.WARN
    assert one(found, "folder").action


def test_damage_is_found(filled: Config) -> None:
    snapshot = next((filled.data_dir / "index").rglob("manifest"))
    content = bytearray(snapshot.read_bytes())
    content[len(content) // 2] ^= 1
    snapshot.write_bytes(content)
    database = filled.data_dir / "coterie.db"
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    connection.close()
    with database.open("r+b") as file:
        for page in range(2, pages):
            file.seek(page * size + size // 2)
            file.write(bytes(range(128, 192)))
    found = list(examine(filled))
    assert worst(found) is Status.FAIL
    damaged = [item for item in found if item.status is Status.FAIL]
    assert {item.check for item in damaged} <= {"integrity", "database"}
    assert damaged
    assert all(item.action for item in damaged)
    assert one(found, "snapshots").status is Status.WARN
    assert "sha256" in one(found, "snapshots").seen
    quick = {item.check for item in examine(filled, whole=False)}
    assert "snapshots" not in quick
    assert "integrity" not in quick


def test_schemas_models_and_clocks_that_do_not_fit_are_told(filled: Config, exchange: Callable[..., Exchange]) -> None:
    later = round((time.time() + 40 * 86_400) * 1e6)
    engine = Engine.open(filled)
    engine.ingest([replace(exchange(99), time_us=later)]).result(30)
    engine.close()
    other = replace(filled, model="hash-64")
    found = list(examine(other))
    assert one(found, "times").status is Status.WARN
    assert one(found, "model of the folder").status is Status.FAIL
    with sqlite3.connect(filled.data_dir / "coterie.db") as connection:
        connection.execute("PRAGMA user_version = 900")
    connection.close()
    schema = one(list(examine(filled)), "schema")
    assert schema.status is Status.FAIL
    assert "900" in schema.seen


def test_permissions_disk_and_ports_are_told(filled: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    filled.data_dir.chmod(0o755)
    (filled.data_dir / "coterie.db").chmod(0o644)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config = replace(
            filled, listen=f"127.0.0.1:{taken.getsockname()[1]}", metrics_listen="127.0.0.1:0", disk_free_mib_min=1e9
        )
        found = list(examine(config, whole=False))
        assert one(found, "folder").action == f"chmod 700 {filled.data_dir}"
        assert one(found, "files").status is Status.WARN
        assert one(found, "disk").status is Status.FAIL
        assert [item.status for item in found if item.check == "ports"] == [Status.FAIL, Status.OK]
        # The same port, but held by the server of this very folder.
        (filled.data_dir / "lock").write_text(json.dumps({"pid": os.getpid(), "address": config.listen}))
        found = list(examine(config, whole=False))
        assert [item.status for item in found if item.check == "ports"] == [Status.OK, Status.OK]
    monkeypatch.setattr(doctor, "datetime", type("Then", (), {"now": lambda _: datetime(1999, 1, 1, tzinfo=UTC)}))
    assert one(list(doctor.clock(filled)), "clock").status is Status.FAIL


def test_what_is_not_installed_is_told(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    class Distribution:
        def __init__(self, name: str) -> None:
            self.metadata = {"Name": name}

    for names, status in ((["numpy"], Status.FAIL), (["faiss-cpu", "faiss-gpu-cuvs"], Status.FAIL)):
        made = [Distribution(name) for name in names]
        monkeypatch.setattr(doctor, "distributions", lambda made=made: made)
        assert one(list(doctor.faiss(config)), "faiss").status is status
    missing = list(examine(replace(config, model="/no/such/model"), whole=False))
    assert one(missing, "model").status is Status.FAIL
    old = frozenset({"THREADSAFE=0"})
    monkeypatch.setattr(doctor, "sqlite_build", lambda: ("3.40.1", old))
    assert one(list(doctor.sqlite(config)), "sqlite").status is Status.FAIL
    monkeypatch.setattr(doctor, "sqlite_build", lambda: ("3.31.0", frozenset({"THREADSAFE=1"})))
    assert one(list(doctor.sqlite(config)), "sqlite").status is Status.FAIL


def certificate(path: Path, days: float) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "coterie")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=400))
        .not_valid_after(now + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.mark.parametrize(("days", "status"), [(200, Status.OK), (10, Status.WARN), (-1, Status.FAIL)])
def test_certificates_tell_when_they_end(config: Config, tmp_path: Path, days: float, status: Status) -> None:
    path = str(certificate(tmp_path / "cert.pem", days))
    found = list(doctor.certificates(replace(config, tls_cert=path, tls_key=path)))
    assert one(found, "certificates").status is status
    (tmp_path / "cert.pem").write_text("nonsense")
    assert one(list(doctor.certificates(replace(config, tls_cert=path, tls_key=path))), "certificates").status is (
        Status.FAIL
    )


def test_a_server_is_asked_whether_it_speaks_as_we_do(
    config: Config, monkeypatch: pytest.MonkeyPatch, until: Callable[..., None]
) -> None:
    with local_server(config) as address, grpc.insecure_channel(address) as channel:
        with Client.connect(address) as client:
            client.search("warm")  # so that the model is there
        until(lambda: one(list(examine_server(channel, address)), "server").status is Status.OK)
        assert one(list(examine_server(channel, address)), "contract").status is Status.OK
        from coterie.server import doctor_server

        known = doctor_server._methods
        monkeypatch.setattr(doctor_server, "_methods", lambda name: known(name) | {"OfTomorrow"})
        contract = one(list(examine_server(channel, address)), "contract")
        assert contract.status is Status.WARN
        assert "lacks" in contract.seen
        monkeypatch.setattr(doctor_server, "_methods", lambda name: known(name) - {"Search"})
        assert (
            "also has coterie.v1.SearchService/Search" in one(list(examine_server(channel, address)), "contract").seen
        )
    with grpc.insecure_channel("127.0.0.1:1") as channel:
        found = list(examine_server(channel, "127.0.0.1:1"))
    assert [item.status for item in found] == [Status.FAIL]


def test_a_server_is_asked_who_we_are_and_how_far_it_is(
    config: Config, script: Any, exchange: Any, until: Callable[..., None]
) -> None:
    def seen(token: str = "") -> dict[str, tuple[Status, str]]:
        found = examine_server(authorised(channel, token or None), address)
        return {item.check: (item.status, item.seen) for item in found if item.check not in ("server", "contract")}

    with local_server(config, as_owner=False) as address, grpc.insecure_channel(address) as channel:
        assert seen()["runs"] == (Status.OK, "there was none yet (coterie recluster makes one)")
        with Client.connect(address) as client:
            client.ingest([exchange(number) for number in range(9)])
            until(lambda: not client.stats().pending_texts)
            run = client.start_run()
            until(lambda: client.get_run(run.run_id).state.finished)
            assert seen() == {
                "caller": (
                    Status.OK, "nobody in particular: the service is open, and whoever reaches it has every role",
                ),
                "texts": (Status.OK, "9 exchanges of 7 accounts; every text has its vector"),
                "runs": (Status.OK, f"the newest, {run.run_id}, is done"),
            }  # fmt: skip
            script.error = InvalidError("nothing to see")
            failed = client.start_run()
            until(lambda: client.get_run(failed.run_id).state.finished)
            admin, _ = client.mint_token("root", [Role.ADMIN])
        with Client.connect(address, token=admin) as client:
            ingest, _ = client.mint_token("platform", [Role.INGEST])
        assert seen(admin)["caller"] == (Status.OK, "root, admin")
        assert seen(admin)["runs"] == (Status.WARN, f"the newest, {failed.run_id}, failed: nothing to see")
        assert seen(ingest) == {
            "caller": (Status.OK, "platform, ingest"), "work": (Status.WARN, "this role may not ask for it"),
        }  # fmt: skip
        assert list(seen()) == ["caller"]
        assert seen()["caller"][0] is Status.WARN


def test_the_verb_prints_and_exits_by_the_worst(
    filled: Config, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COTERIE_MONOLINGUAL", "true")
    monkeypatch.setenv("COTERIE_LISTEN", "127.0.0.1:0")
    monkeypatch.setenv("COTERIE_CONSOLE_LISTEN", "")
    words = ["--data-dir", str(filled.data_dir), "--model", "hash", "doctor"]
    assert main([*words, "--json"]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert told["status"] == "ok"
    assert {"check", "status", "seen", "action"} == set(told["checks"][0])
    monkeypatch.setenv("COTERIE_DISK_FREE_MIB_MIN", "1000000000")
    assert main([*words, "--quick"]) == 1
    out = capsys.readouterr().out
    assert "make room" in out
    assert "fail" in out
    with local_server(replace(filled, lazy_model=True)) as address:
        assert main(["--server", address, "doctor", "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["status"] == "ok"
