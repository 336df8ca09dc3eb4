"""The verbs about access, in this process and at a server that needs tokens."""

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from coterie.client import Client
from coterie.domain import InvalidError
from coterie.server import cli
from coterie.server.cli_access import lifetime_s
from coterie.server.config import client_token, load_config

SECRET = re.compile(r"ct_[0-9a-f]{12}_[\w-]{43}")


@dataclass
class Line:
    """A command line in this process."""

    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch

    def __call__(self, *words: object, code: int = 0, token: str = "") -> tuple[str, str]:
        """Run it; returns stdout and stderr."""
        self.monkeypatch.delenv("COTERIE_TOKEN", raising=False)
        if token:
            self.monkeypatch.setenv("COTERIE_TOKEN", token)
        self.capsys.readouterr()
        try:
            done = cli.main([str(word) for word in words])
        except SystemExit as stop:
            done = int(stop.code or 0)
        out, err = self.capsys.readouterr()
        assert done == code, out + err
        return out, err


@pytest.fixture
def coterie(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Line:
    for variable in [name for name in os.environ if name.startswith("COTERIE_")]:
        monkeypatch.delenv(variable)
    return Line(capsys, monkeypatch)


def test_a_token_is_printed_once_alone_on_stdout(coterie: Line, tmp_path: Path) -> None:
    folder = ("--data-dir", tmp_path / "data")
    out, err = coterie(*folder, "token", "mint", "root", "--role", "admin")
    assert SECRET.fullmatch(out.strip())
    assert out.strip() not in err
    assert "admin" in err
    assert "valid until" in err
    made = json.loads(coterie(*folder, "token", "mint", "both", "--role", "ingest", "--role", "analyst", "--json")[0])
    assert SECRET.fullmatch(made["token"])
    assert (made["name"], made["roles"], made["state"]) == ("both", ["analyst", "ingest"], "active")
    listed, _ = coterie(*folder, "token", "list", "--json")
    assert [token["name"] for token in json.loads(listed)["tokens"]] == ["both", "root"]
    assert not SECRET.search(listed + coterie(*folder, "token", "list")[0])
    coterie(*folder, "token", "revoke", made["token_id"])
    states = [token["state"] for token in json.loads(coterie(*folder, "token", "list", "--json")[0])["tokens"]]
    assert states == ["revoked", "active"]
    assert json.loads(coterie(*folder, "whoami", "--json")[0])["credential"] == "local"


def test_an_open_folder_says_so_and_the_first_token_is_an_administrators(coterie: Line, tmp_path: Path) -> None:
    folder = ("--data-dir", tmp_path / "data")
    assert "--role admin" in coterie(*folder, "token", "mint", "platform", "--role", "ingest", code=1)[1]
    assert "open to everybody" in coterie(*folder, "token", "list")[1]


def test_a_served_folder_with_tokens_is_used_with_one(
    coterie: Line, tmp_path: Path, start_server: Callable[..., Any]
) -> None:
    folder = tmp_path / "data"
    admin = coterie("--data-dir", folder, "token", "mint", "root", "--role", "admin", "--expires", "never")[0].strip()
    server = start_server(data_dir=folder, model="hash", listen="127.0.0.1:0", monolingual=True)
    there = ("--server", server.address)
    assert "COTERIE_TOKEN" in coterie(*there, "stats", code=1)[1]
    assert "exchanges" in coterie(*there, "stats", token=admin)[0]
    analyst = coterie(*there, "token", "mint", "ann", "--role", "analyst", token=admin)[0].strip()
    file = tmp_path / "token"
    file.write_text(analyst + "\n")
    with_file = (*there, "--token-file", file)
    assert json.loads(coterie(*with_file, "whoami", "--json")[0])["name"] == "ann"
    # The file is the nearer word.
    assert json.loads(coterie(*with_file, "whoami", "--json", token=admin)[0])["name"] == "ann"
    assert "needs admin" in coterie(*with_file, "token", "list", code=1)[1]
    coterie(*there, "token", "revoke", analyst.split("_")[1], token=admin)
    assert "is revoked" in coterie(*with_file, "whoami", code=1)[1]
    with Client.connect(server.address, token=admin) as client:
        assert [token.name for token in client.list_tokens()] == ["ann", "root"]
    assert server.stop() == 0
    log = server.log.read_text()
    assert "caller" in log
    for secret in (admin, analyst):
        assert secret[16:] not in log


def test_a_reviewer_with_a_token_goes_by_its_name_and_no_other(
    coterie: Line, script: Any, address: str, exchange: Any
) -> None:
    with Client.connect(address) as owner:
        owner.ingest([exchange(number) for number in range(9)])
        list(owner.watch_run(owner.start_run().run_id))
        secret, _ = owner.mint_token("root", ["admin"])  # type: ignore[list-item]  # a role's own spelling
    there = ("--server", address)
    coterie(*there, "review", "f-big", "watched", "--reason", "why", "--reviewer", "somebody else", token=secret)
    shown = json.loads(coterie(*there, "finding", "f-big", "--json", token=secret)[0])
    assert [item["reviewer"] for item in shown["reviews"]] == ["root"]


def test_a_token_is_no_word_of_a_command_line(coterie: Line, tmp_path: Path) -> None:
    assert "unrecognized arguments: --token" in coterie("stats", "--token", "ct_x", code=2)[1]
    assert "--token-file needs --server" in coterie("--token-file", tmp_path / "t", "stats", code=2)[1]
    help_text, _ = coterie("--help")
    assert "--token-file" in help_text


def test_a_token_goes_to_no_other_machine_in_the_clear(coterie: Line) -> None:
    err = coterie("--server", "coterie.example.com:7431", "stats", code=1, token="ct_abc")[1]
    assert "not sent to coterie.example.com:7431 in the clear" in err
    assert "ct_abc" not in err


@pytest.mark.parametrize(("content", "match"), [(b"", "holds no token"), (b"\xff", "holds no token"), (None, "read")])
def test_a_bad_token_file_is_named(coterie: Line, tmp_path: Path, content: bytes | None, match: str) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    err = coterie("--server", "localhost:1", "--token-file", file, "stats", code=1)[1]
    assert str(file) in err
    assert match in err


def test_the_variable_is_for_clients_and_no_setting() -> None:
    assert client_token(None, environment={"COTERIE_TOKEN": " ct_x\n"}) == "ct_x"
    assert client_token(None, environment={}) is None
    load_config(environment={"COTERIE_TOKEN": "ct_x"})


@pytest.mark.parametrize(("text", "seconds"), [("90d", 7_776_000), ("12h", 43_200), ("never", 0)])
def test_lifetimes(text: str, seconds: int) -> None:
    assert lifetime_s(text) == seconds


@pytest.mark.parametrize("text", ["", "0d", "-1d", "90", "d", "90m", "Never", "999999d"])
def test_lifetimes_that_are_none(text: str) -> None:
    with pytest.raises(InvalidError, match="such as 90d"):
        lifetime_s(text)


def test_a_folder_made_by_the_command_is_its_owners_alone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    command = [
        sys.executable,
        "-m",
        "coterie.server",
        "--data-dir",
        str(folder),
        "token",
        "mint",
        "a",
        "--role",
        "admin",
    ]
    subprocess.run(command, check=True, capture_output=True, umask=0, timeout=60)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if path.is_file()} == {0o600}
