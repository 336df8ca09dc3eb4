"""The base wheel alone gives a calling service its typed client. Run by `make wheel-check`, not by pytest."""

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import grpc

import coterie.client
import coterie.domain
import coterie.v1
from coterie.client import AsyncClient, Client
from coterie.client.wire import stats_to_wire
from coterie.domain import Erasure, NotFoundError, Stats
from coterie.v1 import admin_service_pb2 as wire
from coterie.v1 import admin_service_pb2_grpc

PACKAGES = ("v1", "domain", "embedder", "store", "index", "detection", "client", "simulation", "server")
SERVER_ONLY = ("torch", "faiss", "sentence_transformers", "hdbscan", "scipy", "uvloop", "rich", "google.rpc")
SERVICES = ("access", "admin", "benchmark", "finding", "ingest", "run", "search")
STATS = Stats(
    exchanges=3,
    accounts=2,
    texts=5,
    pending_texts=1,
    runs=4,
    findings=6,
    benchmarks=7,
    last_sequence=coterie.domain.Sequence(8),
    database_bytes=9,
    model_id="a-model",
    dim=384,
    first_seen_us=10,
    last_seen_us=11,
)


class Admin(admin_service_pb2_grpc.AdminServiceServicer):
    """Enough of a server for the client to talk to."""

    def GetStats(self, request: Any, context: Any) -> wire.GetStatsResponse:
        return stats_to_wire(STATS)

    def EraseAccount(self, request: Any, context: Any) -> wire.EraseAccountResponse:
        if request.account_id != "known":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such account")
        return wire.EraseAccountResponse(exchanges=3, texts=2, findings_changed=1)


def check_only_the_client_is_installed() -> None:
    for name in SERVER_ONLY:
        assert not installed(name), f"{name} must come with an extra, not with the base install"
    for module in (coterie.client, coterie.domain, coterie.v1):
        assert Path(module.__path__[0]).is_relative_to(sys.prefix), f"{module.__name__} is not the wheel's"


def installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # of a dotted name's parent
        return False


def check_the_wheel_is_whole() -> None:
    inside = {path.as_posix() for path in files("coterie") or []}
    wanted = {f"coterie/{package}/{name}" for package in PACKAGES for name in ("__init__.py", "py.typed")}
    wanted |= {f"coterie/v1/{service}_service.proto" for service in SERVICES} | {"coterie/v1/types.proto"}
    wanted |= {f"coterie/v1/{service}_service_pb2{end}" for service in SERVICES for end in (".pyi", "_grpc.pyi")}
    wanted.add("coterie/store/0001_initial.sql")
    assert wanted <= inside, f"not in the wheel: {sorted(wanted - inside)}"
    strays = sorted(path for path in inside if path.startswith(("tests/", "bench/", "notebooks/", "build/")))
    assert not strays, f"should not be in the wheel: {strays}"


def check_the_clients_talk() -> None:
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    admin_service_pb2_grpc.add_AdminServiceServicer_to_server(Admin(), server)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        with Client.connect(address, timeout_s=20) as client:
            assert client.stats() == STATS
            assert client.erase_account("known") == Erasure(coterie.domain.AccountId("known"), 3, 2, 1)
            assert refusal(client, "unknown") == "no such account"
        assert asyncio.run(stats_asynchronously(address)) == STATS
    finally:
        server.stop(grace=None).wait()


def refusal(client: Client, account_id: str) -> str:
    try:
        client.erase_account(account_id)
    except NotFoundError as error:
        return str(error)
    return "not refused"


async def stats_asynchronously(address: str) -> Stats:
    async with AsyncClient.connect(address, timeout_s=20) as client:
        return await client.stats()


def check_the_command_names_the_extra() -> None:
    command = Path(sys.executable).parent / "coterie"
    done = subprocess.run([command, "stats"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done
    assert done.stdout == "", done
    assert done.stderr.startswith("coterie: "), done
    assert done.stderr.count("\n") == 1, done
    assert "pip install 'coterie[server]'" in done.stderr, done


def main() -> None:
    for check in (
        check_only_the_client_is_installed,
        check_the_wheel_is_whole,
        check_the_clients_talk,
        check_the_command_names_the_extra,
    ):
        check()
        sys.stdout.write(f"ok  {check.__name__.removeprefix('check_').replace('_', ' ')}\n")


if __name__ == "__main__":
    main()
