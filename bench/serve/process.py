"""A service in a process of its own: started, watched from outside (memory, CPU), stopped."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from coterie.client import Client, RetryPolicy
from coterie.server.app import CLUSTERING

_START_S_MAX = 600.0
_LOOK_S = 0.5
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Service:
    """`coterie serve` with settings; use it as a context."""

    def __init__(self, **settings: object) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COTERIE_")}
        environment |= {f"COTERIE_{name.upper()}": str(value) for name, value in settings.items()}
        environment |= {"COTERIE_LISTEN": "127.0.0.1:0", "COTERIE_MONOLINGUAL": "true"}
        code = "import sys; from coterie.server import load_config, serve; sys.exit(serve(load_config()))"
        self._log = Path(str(settings["data_dir"])).with_suffix(".log")
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self.started_s = time.monotonic()
        with self._log.open("wb") as stderr:
            self._process = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=stderr)
        self.address = self._wait_for_address()

    def __enter__(self) -> "Service":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it; SIGTERM lets it write its snapshots."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        self._process.wait(timeout=300)

    def client(self, attempts: int = 8) -> Client:
        """A client of it."""
        return Client.connect(self.address, retry=RetryPolicy(attempts=attempts), timeout_s=300)

    def wait(self, true: Callable[[Client], bool], timeout_s: float = 3_600.0) -> float:
        """Seconds from the start of the process until something is true of it, asked twice a second."""
        with self.client() as client:
            while not true(client):
                if time.monotonic() - self.started_s > timeout_s:
                    raise TimeoutError("it never came true")
                time.sleep(_LOOK_S)
        return time.monotonic() - self.started_s

    def wait_until_warm(self) -> None:
        """Wait until the model answers and clustering is compiled: what goes on at the start is no part of a figure."""
        with grpc.insecure_channel(self.address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            for name in ("", CLUSTERING):
                request = health_pb2.HealthCheckRequest(service=name)
                while health.Check(request, timeout=10).status != health_pb2.HealthCheckResponse.SERVING:
                    if time.monotonic() - self.started_s > _START_S_MAX:
                        raise TimeoutError(f"{name or 'the service'} is not ready")
                    time.sleep(_LOOK_S)

    def memory_mb(self) -> float:
        """Resident memory now, MB."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def cpu_s(self) -> float:
        """CPU seconds of the process so far, all threads."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    @contextmanager
    def watched(self) -> Iterator[list[float]]:
        """Resident memory twice a second, MB, for as long as the context lasts."""
        seen: list[float] = []
        ended = threading.Event()

        def look() -> None:
            while not ended.wait(_LOOK_S):
                seen.append(self.memory_mb())

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield seen
        finally:
            ended.set()
            thread.join()

    def _wait_for_address(self) -> str:
        while "listening on" not in (said := self._log.read_text()):
            if self._process.poll() is not None or time.monotonic() - self.started_s > _START_S_MAX:
                raise RuntimeError(f"the service did not start: {said[-2_000:]}")
            time.sleep(0.02)
        return said.split("listening on ")[1].split()[0]
