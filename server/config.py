"""Every setting of the service, from file, environment and flags; nothing else reads the environment."""

import difflib
import os
import re
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from coterie.client.channel import is_private
from coterie.domain import InvalidError, TextMode
from coterie.server.logs import LOG_FORMATS
from coterie.server.releases import parse_releases, releases_text
from coterie.server.schedule import parse_schedule
from coterie.server.tls import ServerTls, parse_tls_callers

_PREFIX = "COTERIE_"
_TOKEN_VARIABLE = "COTERIE_TOKEN"
_OTHER_VARIABLES = frozenset({"COTERIE_CORPUS", "COTERIE_BROWSER", _TOKEN_VARIABLE})  # two are for Makefile and tests
_HOST_PORT = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:/\s]+):\d{1,5}")
_LISTEN = re.compile(rf"(unix:.+)|({_HOST_PORT.pattern})")
_LOG_LEVELS = ("debug", "info", "warning", "error")


def _number(default: Any, low: float, high: float) -> Any:
    return field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of one service; each name is also a key of the TOML file, `COTERIE_<NAME>` and a flag of `serve`."""

    data_dir: Path = Path("coterie-data")
    """Folder of the store and the index snapshots; made when it is missing."""
    listen: str = "127.0.0.1:7431"
    """Address to serve on: HOST:PORT (port 0 takes a free one) or unix:PATH."""
    console_listen: str = "127.0.0.1:7432"
    """Address of the web console, HOST:PORT (port 0 takes a free one); empty serves none."""
    console_hosts: str = ""
    """Names besides its address by which the web console is reached, commas between; others are refused."""
    expose_texts_and_tokens_in_clear: bool = False
    """Listen beyond this machine without TLS, so that whoever is on the way reads texts and tokens."""
    tls_cert: str = ""
    """File with the server's certificate chain, PEM; read again when it changes. Empty serves without TLS."""
    tls_key: str = ""
    """File with the key of that certificate, PEM, without a password."""
    tls_client_ca: str = ""
    """File with the authorities that sign callers' certificates, PEM: mutual TLS. Empty asks callers for none."""
    tls_callers: str = ""
    """Callers known by their certificate's common name, without a token: NAME=ROLE[+ROLE], commas between."""
    model: str = "all-MiniLM-L6-v2"
    """Embedding model: a packaged name, any sentence-transformers name or path, or `hash` for tests."""
    monolingual: bool = False
    """Do without the multilingual view: quicker, but a list that is dealt out in many languages is not seen as one."""
    device: str = "auto"
    """Where the model runs: auto, cpu, cuda, cuda:1, ..."""
    lazy_model: bool = False
    """Load the model at first use and embed only when a run or a search asks for it, instead of in the background."""
    webhooks_file: str = ""
    """TOML file of endpoints that are told of findings, see docs/review.md; empty tells none."""
    webhook_timeout_s: float = _number(10.0, 0.1, 120)
    """How long a webhook endpoint may take to answer, seconds."""
    webhook_give_up_s: float = _number(86_400.0, 1, 2_592_000)
    """How long a webhook endpoint may fail before events are put to its dead letters, seconds."""
    schedule: str = ""
    """When to re-cluster unasked: an interval (30m, 6h, 1d) or a five-field cron expression in UTC; empty is never."""
    early_run_interval_s: float = _number(600.0, 0, 86_400)
    """Least time after a run before a growing pool may start another, seconds; 0 never starts one."""
    window_days: float = _number(14.0, 0.01, 3650)
    """Length of a run's window where the caller names no beginning, days."""
    graph_k: int = _number(30, 2, 512)
    """Neighbours kept for each text in the neighbour graph."""
    releases: str = ""
    """When models were released: MODEL=TIME, commas between, TIME a date or RFC 3339; in the file also a table."""
    recall_sample: int = _number(200, 0, 10_000)
    """Texts on which a run measures its graph's recall; 0 leaves it out."""
    embed_slice_texts: int = _number(2_048, 1, 65_536)
    """Texts taken from the queue at a time."""
    index_exact_rows_max: int = _number(100_000, 1, 10**9)
    """Texts up to which a segment of the search index is searched exactly; above, by lists."""
    search_candidates_max: int = _number(50_000, 1, 10_000_000)
    """A filter that leaves at most this many texts is applied inside the index, a wider one to its results."""
    queued_tokens_max: int = _number(50_000_000, 1, 10**12)
    """Tokens, about, that may wait to be embedded; what comes then is refused with a delay. Not where the model is
    lazy: nothing is embedded there until it is asked for."""
    ingest_bytes_in_flight_max: int = _number(32 * 1024 * 1024, 1, 2**40)
    """Bytes of batches on their way to the disk; above, streams wait and single batches are refused."""
    ingest_batches_in_flight_max: int = _number(8, 1, 256)
    """Batches of one ingest stream that may wait for their commit."""
    worker_threads: int = _number(16, 1, 256)
    """Calls that are worked on at the same time."""
    concurrent_rpcs_max: int = _number(256, 1, 65_536)
    """Calls, streams included, that may be open at the same time; more are refused."""
    connection_streams_max: int = _number(128, 1, 65_536)
    """Calls that one connection may have open at the same time; more wait."""
    caller_streams_max: int = _number(32, 1, 65_536)
    """Streams that one token, or one caller known by a certificate, may have open; more are refused."""
    caller_calls_per_s: float = _number(0.0, 0, 1_000_000)
    """Calls a second that one token may make, a second's worth saved up; more are refused. 0 does not bound them."""
    snapshot_interval_s: float = _number(300.0, 1, 86_400)
    """Time between index snapshots while vectors arrive, seconds."""
    backup_dir: str = ""
    """Folder on the server's disk for the backups that are asked for over the wire; empty refuses them."""
    drain_delay_s: float = _number(0.0, 0, 600)
    """Time after a signal to stop in which calls are still taken while health says not serving, seconds."""
    shutdown_grace_s: float = _number(10.0, 0, 3_600)
    """Time that open calls get to end at shutdown, seconds."""
    analyst_accounts_min: int = _number(3, 1, 1_000)
    """Accounts that have a text which analysts see outside of standing findings; fewer are masked. 1 masks nothing."""
    retention_days: int = _number(0, 0, 36_500)
    """Age at which exchanges are deleted, in whole days (UTC); 0 keeps all. At least window_days."""
    text_retention_days: int = _number(0, 0, 36_500)
    """Age at which texts go and only their vectors stay, in whole days; 0 keeps them as long as their exchanges."""
    texts: str = "keep"
    """What is stored of texts and attributes: keep them, encrypt them, or drop the texts once they are embedded."""
    text_key_file: str = ""
    """File of the key that texts are encrypted by; with texts = drop it keys the digests that tell equal ones."""
    pseudonym_key_file: str = ""
    """File of the key under which accounts, organisations and means of payment are hashed; empty keeps their names."""
    disk_free_mib_min: float = _number(512.0, 0, 1e9)
    """Free space under which the service is not ready, MiB; below twice that it is degraded."""
    embedding_lag_s_max: float = _number(900.0, 1, 1e9)
    """Wait of the oldest text for its vector above which the service is degraded, seconds."""
    metrics_listen: str = ""
    """Address for metrics and probes over HTTP, such as 127.0.0.1:7433; empty is none."""
    metrics_beyond_loopback: bool = False
    """Let other machines reach metrics_listen; nobody has to say who he is there."""
    trace_endpoint: str = ""
    """Where traces go: OTLP over gRPC, such as http://127.0.0.1:4317; empty is nowhere. Needs the extra traces."""
    trace_sample: float = _number(0.01, 0, 1)
    """Share of the traces begun here that are kept; one that a caller began is as the caller said."""
    audit_key_file: str = ""
    """File of the key under which the audit record is chained (coterie key new FILE); empty chains it without one."""
    log_level: str = "info"
    """Least severity that is logged: debug, info, warning or error."""
    log_format: str = "auto"
    """How log lines are written: json, an object a line; text for people; auto is text on a terminal, else json."""

    def __post_init__(self) -> None:
        for item in fields(self):
            low, high = item.metadata.get("low"), item.metadata.get("high")
            value = getattr(self, item.name)
            if low is not None and not low <= value <= high:
                raise InvalidError(f"{item.name} is {value}, it must lie between {low} and {high}", field=item.name)
        if not _LISTEN.fullmatch(self.listen):
            raise InvalidError(f"listen is {self.listen!r}, it must be HOST:PORT or unix:PATH", field="listen")
        if self.console_listen and not _HOST_PORT.fullmatch(self.console_listen):
            raise InvalidError(
                f"console_listen is {self.console_listen!r}, it must be HOST:PORT or empty", field="console_listen"
            )
        self._check_operations()
        if self.log_level not in _LOG_LEVELS:
            raise InvalidError(
                f"log_level is {self.log_level!r}, it must be one of {', '.join(_LOG_LEVELS)}", field="log_level"
            )
        if self.log_format not in LOG_FORMATS:
            raise InvalidError(
                f"log_format is {self.log_format!r}, it must be one of {', '.join(LOG_FORMATS)}", field="log_format"
            )
        if 0 < self.retention_days < self.window_days:
            raise InvalidError(
                f"retention_days is {self.retention_days}, runs look at {self.window_days:g} days: keep at least those",
                field="retention_days",
            )
        if self.texts not in list(TextMode):
            raise InvalidError(f"texts is {self.texts!r}, it must be one of {', '.join(TextMode)}", field="texts")
        if self.texts == TextMode.ENCRYPT and not self.text_key_file:
            raise InvalidError(
                "texts = encrypt needs text_key_file: make one with `coterie key new FILE`", field="text_key_file"
            )
        if self.texts == TextMode.KEEP and self.text_key_file:
            raise InvalidError("text_key_file is for texts = encrypt or drop: set one of them", field="text_key_file")
        if not self.model:
            raise InvalidError("model is empty: name an embedding model", field="model")
        parse_schedule(self.schedule)
        parse_releases(self.releases)
        self._check_tls()

    def _check_tls(self) -> None:
        if bool(self.tls_cert) != bool(self.tls_key):
            raise InvalidError("tls_cert and tls_key go together: give both or neither", field="tls_key")
        if self.tls_client_ca and not self.tls_cert:
            raise InvalidError("tls_client_ca needs tls_cert and tls_key: there is no TLS without", field="tls_cert")
        if parse_tls_callers(self.tls_callers) and not self.tls_client_ca:
            raise InvalidError(
                "tls_callers needs tls_client_ca, which says whose certificates to believe", field="tls_client_ca"
            )

    @property
    def tls(self) -> ServerTls | None:
        """The server's certificate files; None for no TLS."""
        if not self.tls_cert:
            return None
        cert, key, authorities = (Path(name).expanduser() for name in (self.tls_cert, self.tls_key, self.tls_client_ca))
        return ServerTls(cert, key, authorities if self.tls_client_ca else None)

    def _check_operations(self) -> None:
        if self.metrics_listen:
            if not _HOST_PORT.fullmatch(self.metrics_listen):
                raise InvalidError(
                    f"metrics_listen is {self.metrics_listen!r}, it must be HOST:PORT", field="metrics_listen"
                )
            if not is_private(self.metrics_listen) and not self.metrics_beyond_loopback:
                raise InvalidError(
                    f"metrics_listen is {self.metrics_listen!r}, which other machines reach: use 127.0.0.1, or say "
                    "metrics_beyond_loopback = true",
                    field="metrics_listen",
                )
        if self.trace_endpoint and not self.trace_endpoint.startswith(("http://", "https://")):
            raise InvalidError(
                f"trace_endpoint is {self.trace_endpoint!r}, it must be http://HOST:PORT or https://HOST:PORT",
                field="trace_endpoint",
            )


def load_config(
    file: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
) -> Config:
    """The settings of a TOML file, overridden by `COTERIE_*` variables, overridden by flags.

    Args:
        file: a flat TOML file of `Config`'s names; None for none.
        overrides: flags by name; None values were not given.
        environment: the variables to read, by default the process's.

    Raises:
        InvalidError: an unknown name, a bad value, or an unreadable file.
    """
    values: dict[str, Any] = {}
    if file is not None:
        for name, value in _read_toml(file).items():
            values[name] = _converted(name, value, f"{file}: ")
    variables = os.environ if environment is None else environment
    for variable in sorted(variables):
        if variable.startswith(_PREFIX) and variable not in _OTHER_VARIABLES:
            name = variable.removeprefix(_PREFIX).lower()
            values[name] = _converted(name, variables[variable], f"environment variable {variable}: ")
    for name, value in (overrides or {}).items():
        if value is not None:
            values[name] = _converted(name, value, "")
    return Config(**values)


def client_token(file: Path | None, *, environment: Mapping[str, str] | None = None) -> str | None:
    """The token to call a server with: what a file holds, else `COTERIE_TOKEN`; None for none.

    It is never an argument of a command, which every user of the machine could see.

    Raises:
        InvalidError: the file cannot be read, or is empty.
    """
    if file is None:
        variables = os.environ if environment is None else environment
        return variables.get(_TOKEN_VARIABLE, "").strip() or None
    try:
        token = file.read_text(encoding="ascii").strip()
    except OSError as error:
        raise InvalidError(f"cannot read the token file {file}: {error.strerror}", field="token_file") from error
    except UnicodeDecodeError:
        token = ""
    if not token:
        raise InvalidError(f"the token file {file} holds no token: put one line with it there", field="token_file")
    return token


def pager_command(*, environment: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The command that long output goes through: `PAGER`, else less; nothing where `PAGER` is empty or cat."""
    variables = os.environ if environment is None else environment
    try:
        words = tuple(shlex.split(variables.get("PAGER", "less")))
    except ValueError:  # an open quote: no pager is better than no output
        return ()
    return () if words == ("cat",) else words


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidError(f"cannot read the configuration {file}: {error.strerror}", field="config") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidError(f"the configuration {file} is not TOML: {error}", field="config") from error


def _converted(name: str, value: Any, source: str) -> Any:
    kinds: dict[str, Any] = {item.name: item.type for item in fields(Config)}
    if name not in kinds:
        near = difflib.get_close_matches(name, kinds, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; the settings are {', '.join(sorted(kinds))}"
        raise InvalidError(f"{source}unknown setting {name!r}{hint}", field=name)
    kind = kinds[name]
    try:
        return _as_kind(kind, releases_text(value) if name == "releases" and isinstance(value, dict) else value)
    except (TypeError, ValueError) as error:
        wanted = {str: "text", int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}[kind]
        raise InvalidError(f"{source}{name} is {value!r}, it must be {wanted}", field=name) from error


def _as_kind(kind: Any, value: Any) -> Any:
    if kind is bool:
        words = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in words:
            return words[value.lower()]
        raise ValueError(value)
    if isinstance(value, bool):
        raise TypeError(value)
    if kind is Path:
        if not value:
            raise ValueError(value)
        return Path(value).expanduser()
    if kind is str and not isinstance(value, str):
        raise TypeError(value)
    if kind is int and isinstance(value, float):
        raise TypeError(value)
    return kind(value)
