"""Checks of a running server, as a client sees it: is it there, is it ready, and does it speak as we do."""

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any, TypeVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from coterie.client import calls, calls_access
from coterie.client.calls import Call
from coterie.client.channel import Stubs
from coterie.client.wire import error_from_rpc
from coterie.domain import CoterieError, Credential, Role, RunState
from coterie.server.doctor import Diagnosis, fail, ok, warn

_TIMEOUT_S = 10.0
_PACKAGE = "coterie.v1."

T = TypeVar("T")


def examine_server(channel: grpc.Channel, address: str) -> Iterator[Diagnosis]:
    """Every check over a channel that carries its own credentials."""
    try:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_S)
    except grpc.RpcError as error:
        reason = error_from_rpc(error)
        yield fail("server", f"{address}: {reason}", "is it running, and does it speak TLS as you do (--tls)?")
        return
    if answer.status == health_pb2.HealthCheckResponse.SERVING:
        yield ok("server", f"{address} is serving")
    else:
        yield fail("server", f"{address} is not serving", "see its /readyz and its log for the reason")
    try:
        yield from _service(channel)
    except grpc.RpcError as error:
        yield warn("caller", str(error_from_rpc(error)), "give a token (--token-file), to look further")
        return
    try:
        yield from _contract(channel)
    except grpc.RpcError as error:
        yield warn("contract", str(error_from_rpc(error)), "give a token (--token-file), to compare the contracts")
    except CoterieError as error:
        yield warn("contract", str(error), "ask again")


def _service(channel: grpc.Channel) -> Iterator[Diagnosis]:
    """Who we are to the server, and how far it is with its work, where our role may ask that."""
    stubs = Stubs.on(channel)
    caller = _ask(stubs, calls_access.who_am_i())
    if caller.credential is Credential.NONE:
        yield ok("caller", "nobody in particular: the service is open, and whoever reaches it has every role")
    else:
        yield ok("caller", f"{caller.name}, {', '.join(sorted(caller.roles))}")
    if not caller.may(Role.ANALYST):
        yield warn("work", "this role may not ask for it", "ask as an analyst or administrator, to look further")
        return
    stats = _ask(stubs, calls.stats())
    held = f"{stats.exchanges:,} exchanges of {stats.accounts:,} accounts"
    waiting = f"{stats.pending_texts:,} texts wait for a vector" if stats.pending_texts else "every text has its vector"
    yield ok("texts", f"{held}; {waiting}")
    run = _ask(stubs, calls.newest_run())
    if run is None:
        yield ok("runs", "there was none yet (coterie recluster makes one)")
    elif run.state is RunState.FAILED:
        yield warn("runs", f"the newest, {run.run_id}, failed: {run.error}", "coterie recluster")
    else:
        yield ok("runs", f"the newest, {run.run_id}, is {run.state.value}")


def _ask(stubs: Stubs, call: Call[T]) -> T:
    return call.parse(call.send(stubs, _TIMEOUT_S))


def _contract(channel: grpc.Channel) -> Iterator[Diagnosis]:
    """Whether the server has every method that this client knows."""
    from coterie.server.app import SERVICE_NAMES

    remote = ProtoReflectionDescriptorDatabase(channel)
    theirs = {name for name in remote.get_services() if name.startswith(_PACKAGE)}
    ours = {name for name in SERVICE_NAMES if name.startswith(_PACKAGE)}
    missing = sorted(ours - theirs)
    unknown = sorted(theirs - ours)
    for name in sorted(ours & theirs):
        here, there = _methods(name), _methods_of(remote, name)
        missing += sorted(f"{name}/{method}" for method in here - there)
        unknown += sorted(f"{name}/{method}" for method in there - here)
    seen = f"client {version('coterie')} knows {sum(len(_methods(name)) for name in ours)} methods"
    if missing:
        yield warn("contract", f"{seen}; the server lacks {', '.join(missing)}", "upgrade the server")
    elif unknown:
        yield warn("contract", f"{seen}; the server also has {', '.join(unknown)}", "upgrade this client to use them")
    else:
        yield ok("contract", f"{seen}, and the server has the same")


def _methods(service: str) -> set[str]:
    from google.protobuf.descriptor_pool import Default

    return {method.name for method in Default().FindServiceByName(service).methods}


def _methods_of(remote: Any, service: str) -> set[str]:
    file = remote.FindFileContainingSymbol(service)
    name = service.rpartition(".")[2]
    return {method.name for item in file.service if item.name == name for method in item.method}
