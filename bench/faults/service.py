"""A `coterie serve` in a process of its own, started and killed by its pid."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_START_S_MAX = 120.0


class Service:
    """A running service with the model-free encoder; its log is a file of JSON lines.

    Args:
        folder: where the data folder, the backups and the logs are.
        settings: of `coterie.server.Config`.
    """

    def __init__(self, folder: Path, number: int, **settings: Any) -> None:
        self.log = folder / f"server-{number}.log"
        values = {
            "data_dir": folder / "data",
            "backup_dir": folder / "backups",
            "listen": "127.0.0.1:0",
            "console_listen": "",
            "model": "hash",
            "monolingual": "true",
            "snapshot_interval_s": 1,
            **settings,
        }
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COTERIE_")}
        environment |= {f"COTERIE_{name.upper()}": str(value) for name, value in values.items()}
        started = time.perf_counter()
        with self.log.open("wb") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "coterie.server", "serve"],
                env=environment,
                stderr=stderr,
                stdin=subprocess.DEVNULL,
            )
        self.address = self._listening()
        self.start_s = time.perf_counter() - started

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def events(self) -> list[dict[str, Any]]:
        """What the service logged so far."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def logged(self, event: str) -> list[dict[str, Any]]:
        """Its log lines of one event."""
        return [line for line in self.events() if line.get("event") == event]

    def wait_for(self, event: str, timeout_s: float = _START_S_MAX) -> None:
        """Wait until an event is logged.

        Raises:
            RuntimeError: the service ended, or did not log it in time.
        """
        deadline = time.monotonic() + timeout_s
        while f'"{event}"' not in self.log.read_text(encoding="utf-8", errors="replace"):
            self._check(deadline, event)

    def last_words(self) -> str:
        """Exit code and end of the log of a service that ended."""
        tail = self.log.read_text(encoding="utf-8", errors="replace")[-2_000:]
        return f"exit code {self._process.poll()}: {tail}"

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self._process.kill()
        self._process.wait()

    def stop(self, timeout_s: float = 60.0) -> int:
        """SIGTERM; the exit code."""
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def _listening(self) -> str:
        deadline = time.monotonic() + _START_S_MAX
        while "listening on " not in (text := self.log.read_text(encoding="utf-8", errors="replace")) or not text.count(
            "(data folder"
        ):
            self._check(deadline, "listening")
        return text.split("listening on ")[1].split()[0]

    def _check(self, deadline: float, wanted: str) -> None:
        if not self.alive or time.monotonic() > deadline:
            said = self.last_words()
            self.kill()
            raise RuntimeError(f"the service did not say {wanted!r}, {said}")
        time.sleep(0.01)
