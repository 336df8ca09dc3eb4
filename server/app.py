"""From a configuration to a running server: `serve` in the foreground, `local_server` inside another process."""

import asyncio
import contextlib
import errno
import gc
import logging
import os
import pwd
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import grpc.aio
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio  # type: ignore[attr-defined]  # not in the stubs
from grpc_reflection.v1alpha import reflection

from coterie.client.channel import RECEIVE_BYTES_MAX, is_private
from coterie.domain import LIMITS, Caller, ConflictError, CoterieError, Credential, Role, UnavailableError
from coterie.server.access import Guard
from coterie.server.allowances import Allowances
from coterie.server.config import Config
from coterie.server.engine import Engine
from coterie.server.interceptor import CallInterceptor
from coterie.server.interceptor_access import AccessInterceptor
from coterie.server.logs import emit, logging_to_stderr
from coterie.server.operations import Operations
from coterie.server.refusals import Refusals
from coterie.server.requests import RequestIds
from coterie.server.services import AdminService, BenchmarkService, Desk, SearchService
from coterie.server.services_access import AccessService
from coterie.server.services_explore import ExploreService
from coterie.server.services_findings import FindingService
from coterie.server.services_ingest import IngestService
from coterie.server.services_runs import RunService
from coterie.server.tls import Certificates, ServerTls, parse_tls_callers
from coterie.server.tracing import tracing_to
from coterie.v1 import (
    access_service_pb2,
    access_service_pb2_grpc,
    admin_service_pb2,
    admin_service_pb2_grpc,
    benchmark_service_pb2,
    benchmark_service_pb2_grpc,
    explore_service_pb2,
    explore_service_pb2_grpc,
    finding_service_pb2,
    finding_service_pb2_grpc,
    ingest_service_pb2,
    ingest_service_pb2_grpc,
    run_service_pb2,
    run_service_pb2_grpc,
    search_service_pb2,
    search_service_pb2_grpc,
)

if TYPE_CHECKING:  # pages and their templates are for who serves a console
    from coterie.server.console import ConsoleServer

_LOGGER = logging.getLogger(__name__)
_SWITCH_INTERVAL_S = 0.001
"""How long a thread may keep the interpreter from others: with Python's 5 ms a search beside ingest waits for each
thread that makes batches ready."""

_COLLECT_AT = (50_000, 20, 20)
"""Python's cyclic garbage collector begins at 700 new objects, which a batch of exchanges makes many times over; each
collection holds every thread up."""

_OPEN_CALLS_SHARE = 4
"""One in so many places may be taken by each method that needs no token."""

_QUICK_THREADS = 4
_INGEST_THREADS = 2  # it is Python that they run: more would only wait for each other
_SOCKET = "socket"
_SOCKET_PATH_BYTES_MAX = 103  # what every system takes; Linux takes 107

T = TypeVar("T")

SERVICE_NAMES = tuple(
    file.services_by_name[name].full_name
    for file, name in (
        (ingest_service_pb2.DESCRIPTOR, "IngestService"),
        (search_service_pb2.DESCRIPTOR, "SearchService"),
        (run_service_pb2.DESCRIPTOR, "RunService"),
        (finding_service_pb2.DESCRIPTOR, "FindingService"),
        (benchmark_service_pb2.DESCRIPTOR, "BenchmarkService"),
        (admin_service_pb2.DESCRIPTOR, "AdminService"),
        (access_service_pb2.DESCRIPTOR, "AccessService"),
        (explore_service_pb2.DESCRIPTOR, "ExploreService"),
    )
)
"""Full names of coterie's services, as health and reflection give them."""

CLUSTERING = "coterie.clustering"
"""What health calls the readiness to re-cluster at full speed: a run before that waits for code to be compiled."""


class Server:
    """An engine behind a socket. It is made and used on one event loop.

    Args:
        operations: measures calls, and what it sees decides over health; by default neither.
        local: who calls without a token, where only this user can reach the socket; by default tokens decide.
    """

    def __init__(self, engine: Engine, operations: Operations | None = None, *, local: Caller | None = None) -> None:
        config = engine.config
        self._engine = engine
        self._operations = operations
        self._clustering_warm = False
        self._workers = ThreadPoolExecutor(config.worker_threads, thread_name_prefix="coterie-call")
        # Calls that only reach the store: they must not wait behind those that embed or search.
        self._quick_workers = ThreadPoolExecutor(_QUICK_THREADS, thread_name_prefix="coterie-quick")
        self._ingest_workers = ThreadPoolExecutor(_INGEST_THREADS, thread_name_prefix="coterie-ingest")
        self._desk = Desk(engine, self._workers, self._quick_workers, self._ingest_workers)
        beyond = [listen for listen in (config.listen, config.console_listen) if not _stays_here(listen)]
        self._in_clear = [] if config.tls else beyond
        self._guard = Guard(
            engine.store,
            required=bool(beyond),
            certificates=parse_tls_callers(config.tls_callers),
            local=local,
        )
        self._refusals = Refusals(engine.store)
        self._health = health_aio.HealthServicer()
        self._grpc = grpc.aio.server(
            interceptors=[
                RequestIds(),
                *(operations.interceptors() if operations else ()),
                CallInterceptor(),
                AccessInterceptor(
                    self._guard,
                    engine.store,
                    Allowances(config.caller_streams_max, config.caller_calls_per_s),
                    self._refusals,
                    open_calls_max=max(1, config.concurrent_rpcs_max // _OPEN_CALLS_SHARE),
                ),
            ],
            maximum_concurrent_rpcs=config.concurrent_rpcs_max,
            options=[
                ("grpc.max_receive_message_length", LIMITS.message_bytes_max),
                ("grpc.max_send_message_length", RECEIVE_BYTES_MAX),
                ("grpc.max_concurrent_streams", config.connection_streams_max),
                # Without this, Linux lets a second server share the port, and calls go to either.
                ("grpc.so_reuseport", 0),
            ],
        )
        self._add_services()

    async def start(self, listen: str, *, also: str = "") -> str:
        """Bind and answer calls; returns the address, with the port that was taken. Health says NOT_SERVING.

        Args:
            also: a second address, a Unix socket; empty for none.

        Raises:
            UnavailableError: the address cannot be bound, or the certificate cannot be used.
        """
        await self.set_health(serving=False)
        if listen.startswith("unix:") and not _fits_socket(Path(listen.removeprefix("unix:"))):
            raise UnavailableError(
                f"cannot listen on {listen}: the path of a socket has at most {_SOCKET_PATH_BYTES_MAX} bytes; "
                "choose a shorter one"
            )
        _check_free(listen)
        certificates = Certificates(files) if (files := self._tls_of(listen)) else None
        try:
            if certificates:
                port = self._grpc.add_secure_port(listen, certificates.credentials())
            else:
                port = self._grpc.add_insecure_port(listen)
            if also:
                self._grpc.add_insecure_port(also)
        except RuntimeError as error:
            raise UnavailableError(
                f"cannot listen on {listen}: the address is in use or not this machine's; "
                "choose another with --listen HOST:PORT"
            ) from error
        await self._grpc.start()
        return listen if listen.startswith("unix:") else f"{listen.rpartition(':')[0]}:{port}"

    def say_who_may_call(self) -> None:
        """Log whether calls need a token, and warn where texts and tokens cross the network in the clear."""
        row, head = self._engine.store.audit_head()
        emit(_LOGGER, logging.INFO, "audit_head", row=row, hash=head)
        emit(_LOGGER, logging.INFO, "access", tokens="required" if self._guard.needs_token else "none minted: open")
        for listen in self._in_clear:
            emit(_LOGGER, logging.WARNING, "texts_and_tokens_in_clear", listen=listen)

    def check_exposure(self) -> None:
        """Whether what other machines can reach is protected.

        Raises:
            ConflictError: texts and tokens would go over the network in the clear unasked, or nobody could call.
        """
        if self._in_clear and not self._engine.config.expose_texts_and_tokens_in_clear:
            raise ConflictError(
                f"{self._in_clear[0]} can be reached from other machines, and texts and tokens would cross the network "
                "in the clear: give --tls-cert and --tls-key, or listen on 127.0.0.1 or unix:PATH, or put something "
                "with TLS in front and say --expose-texts-and-tokens-in-clear true"
            )
        if self._guard.needs_token and not self._guard.can_identify:
            raise ConflictError(
                "other machines can reach this service, and no token was minted yet, so nobody could call: first "
                "coterie --data-dir DIR token mint NAME --role admin"
            )

    def _tls_of(self, listen: str) -> ServerTls | None:
        return None if listen.startswith("unix:") else self._engine.config.tls

    async def warm_up(self) -> None:
        """Load the model, then say SERVING if nothing else is in the way.

        Raises:
            CoterieError: the model is not usable; health stays NOT_SERVING.
        """
        await asyncio.wrap_future(_on_a_thread(self._engine.warm_up))
        operations, ready = self._operations, True
        if operations is not None:
            ready = (await asyncio.wrap_future(_on_a_thread(operations.look))).ready
        await self.set_health(serving=ready)
        self._warm_clustering()

    def _warm_clustering(self) -> None:
        """Compile in the background; nobody waits for it, and it does not hold up the end of the process."""
        loop = asyncio.get_running_loop()

        def ready() -> None:
            self._clustering_warm = True
            status = self._health.set(CLUSTERING, health_pb2.HealthCheckResponse.SERVING)
            self._warming = loop.create_task(status)

        def warm() -> None:
            started = time.perf_counter()
            try:
                self._engine.warm_clustering()
            except Exception as error:  # noqa: BLE001 (a run says what is wrong; until then the service does without)
                emit(_LOGGER, logging.ERROR, "clustering_not_ready", reason=type(error).__name__)
                return
            emit(_LOGGER, logging.INFO, "clustering_ready", s=round(time.perf_counter() - started, 2))
            with contextlib.suppress(RuntimeError):  # the server has stopped meanwhile
                loop.call_soon_threadsafe(ready)

        threading.Thread(target=warm, name="coterie-warm", daemon=True).start()

    async def set_health(self, *, serving: bool) -> None:
        """Say whether the service and each of its parts can be used."""
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", *SERVICE_NAMES):
            await self._health.set(name, status)
        if not serving or self._clustering_warm:
            await self._health.set(CLUSTERING, status)

    async def drain(self, delay_s: float) -> None:
        """Say NOT_SERVING and go on answering for a while, so that whoever spreads calls sends them elsewhere."""
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(delay_s)

    async def stop(self, grace_s: float) -> None:
        """Tell every connection to go elsewhere, end streams and runs, give calls their grace; the engine stays open.

        A stream of exchanges gets its answers to what was queued, then UNAVAILABLE. It takes the grace at most, and a
        run that does not stop in that time is left to its fate: the next start records it as failed.
        """
        await self._health.enter_graceful_shutdown()
        self._desk.stopping.set()
        self._engine.changed.notify()
        # At once and beside the jobs: from here on no call begins, and those who watch a run see it end.
        stopped = asyncio.ensure_future(self._grpc.stop(grace_s))
        await asyncio.wrap_future(_on_a_thread(lambda: self._engine.stop_jobs(grace_s)))
        self._engine.changed.notify()
        await stopped
        self._refusals.flush()
        # What outlived its grace has lost its caller; nobody waits for it.
        for workers in (self._workers, self._quick_workers, self._ingest_workers):
            workers.shutdown(wait=False, cancel_futures=True)

    def _add_services(self) -> None:
        ingest_service_pb2_grpc.add_IngestServiceServicer_to_server(IngestService(self._desk), self._grpc)
        search_service_pb2_grpc.add_SearchServiceServicer_to_server(SearchService(self._desk), self._grpc)
        run_service_pb2_grpc.add_RunServiceServicer_to_server(RunService(self._desk), self._grpc)
        finding_service_pb2_grpc.add_FindingServiceServicer_to_server(FindingService(self._desk), self._grpc)
        benchmark_service_pb2_grpc.add_BenchmarkServiceServicer_to_server(BenchmarkService(self._desk), self._grpc)
        admin_service_pb2_grpc.add_AdminServiceServicer_to_server(AdminService(self._desk), self._grpc)
        access_service_pb2_grpc.add_AccessServiceServicer_to_server(AccessService(self._desk, self._guard), self._grpc)
        explore_service_pb2_grpc.add_ExploreServiceServicer_to_server(ExploreService(self._desk), self._grpc)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)
        reflection.enable_server_reflection((*SERVICE_NAMES, health.SERVICE_NAME, reflection.SERVICE_NAME), self._grpc)


def _check_free(listen: str) -> None:
    """Try to bind an address, since gRPC says why it cannot in a line of its own on stderr, and not to us.

    Raises:
        UnavailableError: it is taken, or not this machine's.
    """
    host, _, port = listen.rpartition(":")
    if listen.startswith("unix:"):
        return
    try:
        places = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, kind, protocol, _, address in places:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
    except OSError as error:
        why = _BIND_ERRORS.get(error.errno or 0, error.strerror)
        raise UnavailableError(f"cannot listen on {listen}: {why}; choose another with --listen HOST:PORT") from error


_BIND_ERRORS = {
    errno.EADDRINUSE: "another program has that port, perhaps a coterie that runs already",
    errno.EADDRNOTAVAIL: "that is no address of this machine",
    errno.EACCES: "ports below 1024 are the administrator's",
}


def serve(config: Config) -> int:
    """Serve until SIGTERM or SIGINT, then end the process with 0; returns 1 after saying on stderr what went wrong.

    A second signal ends the process at once; what was answered is on disk all the same.
    """
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    gc.set_threshold(*_COLLECT_AT)
    try:
        with (
            logging_to_stderr(config.log_level, config.log_format),
            tracing_to(config.trace_endpoint, config.trace_sample),
        ):
            operations = Operations(config)
            engine = Engine.open(config, observer=operations.observer)
            try:
                _run(_serve(engine, operations))
            finally:
                engine.close()
                operations.close_http()
    except CoterieError as error:
        _say(f"coterie: {error}")
        return 1
    # All is on the disk. Libraries keep threads of their own, and an interpreter that ends under them can abort.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


@contextmanager
def local_server(config: Config, *, create: bool = True, as_owner: bool = True) -> Iterator[str]:
    """A server in this process, reachable only by this user: gives the address of a Unix socket in a private folder.

    It loads no model before a call needs one when `config.lazy_model` is set, and otherwise in the background.

    Args:
        create: whether a folder without coterie data is filled, or refused.
        as_owner: whether calls without a token are let in as this process's user, with every role; otherwise tokens
            decide, as with `serve`.

    Raises:
        CoterieError: the data folder cannot be opened, or there is no place for the socket.
    """
    engine = Engine.open(config, create=create)
    try:
        with _private_folder() as folder:
            thread = _LoopThread(engine, f"unix:{folder / _SOCKET}", _owner() if as_owner else None)
            try:
                yield thread.start()
            finally:
                thread.stop()
    finally:
        engine.close()


@contextmanager
def _private_folder() -> Iterator[Path]:
    """A temporary folder, mode 0700, whose path is short enough for a socket in it; removed afterwards."""
    try:
        folder = Path(tempfile.mkdtemp(prefix="coterie-"))
        if not _fits_socket(folder / _SOCKET):
            folder.rmdir()
            folder = Path(tempfile.mkdtemp(prefix="coterie-", dir="/tmp"))
    except OSError as error:
        raise UnavailableError(
            f"cannot make a temporary folder for a socket ({error.strerror}): set TMPDIR to a writable folder with a "
            "short path"
        ) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _fits_socket(path: Path) -> bool:
    return len(os.fsencode(path)) <= _SOCKET_PATH_BYTES_MAX


class _LoopThread:
    """Runs a server on an event loop of its own."""

    def __init__(self, engine: Engine, listen: str, local: Caller | None) -> None:
        self._engine = engine
        self._listen = listen
        self._local = local
        self._started: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = threading.Thread(target=self._run, name="coterie-server", daemon=True)

    def start(self) -> str:
        self._thread.start()
        address, _, _ = self._started.result()
        return address

    def stop(self) -> None:
        if self._started.exception() is None:
            _, loop, stopping = self._started.result()
            loop.call_soon_threadsafe(stopping.set)
        self._thread.join()

    def _run(self) -> None:
        try:
            _run(self._main())
        except Exception as error:
            if self._started.done():
                raise
            self._started.set_exception(error)

    async def _main(self) -> None:
        server = Server(self._engine, local=self._local)
        stopping = asyncio.Event()
        try:
            address = await server.start(self._listen)
            if self._engine.config.lazy_model:
                await server.set_health(serving=True)
            self._started.set_result((address, asyncio.get_running_loop(), stopping))
            if not self._engine.config.lazy_model:
                await self._warm_up(server)
            await stopping.wait()
        finally:
            await server.stop(self._engine.config.shutdown_grace_s)

    async def _warm_up(self, server: Server) -> None:
        try:
            await server.warm_up()
        except CoterieError as error:
            emit(_LOGGER, logging.ERROR, "not_serving", reason=error)


async def _serve(engine: Engine, operations: Operations) -> None:
    config = engine.config
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()

    def stop(number: int) -> None:
        if stopping.is_set():
            _say("coterie: a second signal, ending at once")
            os._exit(128 + number)
        operations.drain()
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    server = Server(engine, operations)
    beating = asyncio.ensure_future(operations.beat())
    with _private_folder() as folder:
        private = f"unix:{folder / _SOCKET}" if config.console_listen else ""
        console, address = None, ""
        try:
            server.check_exposure()
            address = await server.start(config.listen, also=private)
            operations.start(engine, partial(_follow_health, loop, server))
            engine.store.announce(address)
            _say(f"coterie is listening on {address} (data folder {config.data_dir})")
            if operations.address:
                _say(f"metrics and probes: http://{operations.address}/metrics, /livez, /readyz")
            server.say_who_may_call()
            console = await _start_console(config, private)
            await _first(_warm_up(server, engine), stopping.wait())
            await stopping.wait()
            emit(_LOGGER, logging.INFO, "draining", delay_s=config.drain_delay_s)
            await server.drain(config.drain_delay_s)
        finally:
            if address:
                emit(_LOGGER, logging.INFO, "stopping", grace_s=config.shutdown_grace_s)
            operations.drain()
            await asyncio.wrap_future(_on_a_thread(operations.close))
            if console is not None:
                await console.stop()
            await server.stop(config.shutdown_grace_s)
            beating.cancel()


async def _start_console(config: Config, service: str) -> "ConsoleServer | None":
    """The web console, if it is wanted; where its address is taken the service does without, and says so."""
    if not config.console_listen:
        return None
    from coterie.server.console import ConsoleServer

    console = ConsoleServer(config, service)
    try:
        address = await console.start()
    except UnavailableError as error:
        emit(_LOGGER, logging.ERROR, "console_not_served", listen=config.console_listen)
        _say(f"coterie: {error}")
        return None
    _say(f"the console is at {address}")
    return console


def _follow_health(loop: asyncio.AbstractEventLoop, server: Server, ready: bool) -> None:
    """Make health say what readiness says; called on another thread, which must not wait for a loop that may wait."""
    asyncio.run_coroutine_threadsafe(server.set_health(serving=ready), loop)


async def _first(work: Coroutine[Any, Any, None], other: Coroutine[Any, Any, Any]) -> None:
    """Wait for the work or for something else, whichever is first; an error of the work is raised."""
    working, waiting = asyncio.ensure_future(work), asyncio.ensure_future(other)
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        working.cancel()
        waiting.cancel()


def _on_a_thread(work: Callable[[], T]) -> "Future[T]":
    """Begin something that may take long on a thread that does not hold up the end of the process."""
    future: Future[T] = Future()

    def run() -> None:
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is told where it is waited for
                future.set_exception(error)

    threading.Thread(target=run, name="coterie-background", daemon=True).start()
    return future


async def _warm_up(server: Server, engine: Engine) -> None:
    """Load the model while calls are answered; one that drifts leaves the service up, to take exchanges in.

    Raises:
        CoterieError: the model is not there, or not the one of this folder: nothing to wait for.
    """
    try:
        await server.warm_up()
    except UnavailableError as error:
        if not engine.drifted:
            raise
        emit(_LOGGER, logging.ERROR, "not_serving", reason=error)


def _run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


def _stays_here(listen: str) -> bool:
    """Whether only this machine reaches an address; an empty one is not listened on."""
    return not listen or is_private(listen)


def _owner() -> Caller:
    """Whoever runs this process: to open the data folder is to be let in, for its permissions are the guard."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = f"uid {os.getuid()}"
    return Caller(name, frozenset({Role.ADMIN}), Credential.LOCAL)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - for the person at the terminal
