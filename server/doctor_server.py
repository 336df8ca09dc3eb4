"""Checks of a running server, as a client sees it: is it there, is it ready, and does it speak as we do."""

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from coterie.client.wire import error_from_rpc
from coterie.domain import CoterieError
from coterie.server.doctor import Diagnosis, fail, ok, warn

_TIMEOUT_S = 10.0
_PACKAGE = "coterie.v1."


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
        yield from _contract(channel)
    except grpc.RpcError as error:
        yield warn("contract", str(error_from_rpc(error)), "give a token (--token-file), to compare the contracts")
    except CoterieError as error:
        yield warn("contract", str(error), "ask again")


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
