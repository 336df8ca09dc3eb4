"""Who may call what: one table of every method, and the guard that knows tokens."""

import hashlib
import hmac
import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import replace
from enum import Enum, auto

from coterie.domain import (
    LIMITS,
    Caller,
    ConflictError,
    CoterieError,
    Credential,
    DeniedError,
    InvalidError,
    Role,
    Token,
    UnauthenticatedError,
    printable,
)
from coterie.server.logs import emit
from coterie.store import Store

_LOGGER = logging.getLogger(__name__)

TOKEN_PREFIX = "ct_"
"""What every token begins with, so that people and scanners of secrets know one where they see it."""

_TOKEN = re.compile(rf"{TOKEN_PREFIX}([0-9a-f]{{12}})_[A-Za-z0-9_-]{{43}}")
_WORDS = re.compile(r"(?<=[a-z])([A-Z])")
_HOUR_US = 3_600_000_000


class Door(Enum):
    """Methods that need no particular role."""

    OPEN = auto()
    """Anybody may call it, token or not."""
    ANY_ROLE = auto()
    """Whoever may call anything may call it."""


METHODS: Mapping[str, Role | Door] = {
    "/grpc.health.v1.Health/Check": Door.OPEN,
    "/grpc.health.v1.Health/Watch": Door.OPEN,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Door.ANY_ROLE,
    "/coterie.v1.IngestService/Ingest": Role.INGEST,
    "/coterie.v1.IngestService/IngestBatch": Role.INGEST,
    "/coterie.v1.IngestService/GetIngestPosition": Role.INGEST,
    "/coterie.v1.SearchService/Search": Role.ANALYST,
    "/coterie.v1.RunService/StartRun": Role.ANALYST,
    "/coterie.v1.RunService/GetRun": Role.ANALYST,
    "/coterie.v1.RunService/ListRuns": Role.ANALYST,
    "/coterie.v1.RunService/WatchRun": Role.ANALYST,
    "/coterie.v1.RunService/CancelRun": Role.ANALYST,
    "/coterie.v1.FindingService/ListFindings": Role.ANALYST,
    "/coterie.v1.FindingService/GetFinding": Role.ANALYST,
    "/coterie.v1.FindingService/WatchFindings": Role.ANALYST,
    "/coterie.v1.FindingService/ReviewFinding": Role.REVIEWER,
    "/coterie.v1.FindingService/CommentFinding": Role.REVIEWER,
    "/coterie.v1.FindingService/AssignFinding": Role.REVIEWER,
    "/coterie.v1.FindingService/MergeFindings": Role.REVIEWER,
    "/coterie.v1.FindingService/SplitFinding": Role.REVIEWER,
    "/coterie.v1.FindingService/CreateRule": Role.REVIEWER,
    "/coterie.v1.FindingService/ListRules": Role.ANALYST,
    "/coterie.v1.FindingService/GetCalibration": Role.ANALYST,
    "/coterie.v1.FindingService/RevokeRule": Role.REVIEWER,
    "/coterie.v1.FindingService/GetDossier": Role.ANALYST,
    "/coterie.v1.FindingService/GetAccount": Role.ANALYST,
    "/coterie.v1.FindingService/ListFamilies": Role.ANALYST,
    "/coterie.v1.ExploreService/GetMap": Role.ANALYST,
    "/coterie.v1.ExploreService/ListExchanges": Role.ANALYST,
    "/coterie.v1.ExploreService/ListTwins": Role.ANALYST,
    "/coterie.v1.BenchmarkService/RegisterBenchmark": Role.REVIEWER,
    "/coterie.v1.BenchmarkService/ListBenchmarks": Role.ANALYST,
    "/coterie.v1.BenchmarkService/MatchBenchmarks": Role.ANALYST,
    "/coterie.v1.AdminService/GetStats": Role.ANALYST,
    "/coterie.v1.AdminService/EraseAccount": Role.ADMIN,
    "/coterie.v1.AdminService/Retain": Role.ADMIN,
    "/coterie.v1.AdminService/ListWebhooks": Role.ADMIN,
    "/coterie.v1.AdminService/TestWebhook": Role.ADMIN,
    "/coterie.v1.AdminService/ReplayWebhook": Role.ADMIN,
    "/coterie.v1.AdminService/CreateBackup": Role.ADMIN,
    "/coterie.v1.AccessService/MintToken": Role.ADMIN,
    "/coterie.v1.AccessService/ListTokens": Role.ADMIN,
    "/coterie.v1.AccessService/RevokeToken": Role.ADMIN,
    "/coterie.v1.AccessService/WhoAmI": Door.ANY_ROLE,
    "/coterie.v1.AccessService/ListAudit": Role.ADMIN,
    "/coterie.v1.AccessService/VerifyAudit": Role.ADMIN,
}
"""Every method of the server, and the least role that may call it. What does not stand here is refused to everybody."""

UNAUDITED = frozenset(
    {
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/coterie.v1.RunService/GetRun",
        "/coterie.v1.RunService/ListRuns",
        "/coterie.v1.RunService/WatchRun",
        "/coterie.v1.FindingService/ListFindings",
        "/coterie.v1.FindingService/WatchFindings",
        "/coterie.v1.FindingService/ListFamilies",
        "/coterie.v1.BenchmarkService/ListBenchmarks",
        "/coterie.v1.BenchmarkService/MatchBenchmarks",
        "/coterie.v1.AdminService/GetStats",
        "/coterie.v1.AccessService/WhoAmI",
    }
)
"""Methods that neither change anything nor give an account's texts. Every other call is on record before its answer."""


def action_of(method: str) -> str:
    """The audit record's word for a method: `erase_account` for `/coterie.v1.AdminService/EraseAccount`."""
    return _WORDS.sub(r"_\1", method.rpartition("/")[2]).lower()


EVERYBODY = Caller("anybody", frozenset({Role.ADMIN}), Credential.NONE)
"""Who calls where the service is open."""

NOBODY = Caller("", frozenset(), Credential.NONE)
"""Who calls before that is known, and after the credential was refused."""


_CURRENT: ContextVar[Caller] = ContextVar("coterie_caller", default=NOBODY)


def current_caller() -> Caller:
    """Who makes the call that this task answers; `NOBODY` outside of any, and on worker threads."""
    return _CURRENT.get()


def enter_call(caller: Caller) -> None:
    """Make this the caller of this task, which ends with the call."""
    _CURRENT.set(caller)


def authorise(caller: Caller, method: str) -> None:
    """Let a caller through to a method.

    Raises:
        DeniedError: no role of the caller's allows it, or the method stands in no table.
    """
    least = METHODS.get(method)
    if least is None:
        raise DeniedError(f"nobody may call {method}: it has no place in the table of methods and roles")
    if isinstance(least, Role) and not caller.may(least):
        roles = " and ".join(sorted(caller.roles))
        raise DeniedError(
            f"{caller.name} has the role {roles}, {method.rpartition('/')[2]} needs {least}: "
            f"ask an administrator for a token of that role (coterie token mint NAME --role {least})"
        )


class Guard:
    """Knows every token. The data folder's one process asks it, so what it says is never stale.

    Without a token ever minted it lets everybody in as `EVERYBODY`, unless `required`. The hash is a plain SHA-256:
    a token holds 256 random bits, which no dictionary helps to guess, and a slow hash would be paid by every call.

    Args:
        required: whether a token is needed even where none was ever minted.
        certificates: roles of callers without a token, by the common name of a certificate that mutual TLS has checked.
        local: who calls without a token, where the operating system vouches for that; then none is ever needed.
        now_us: the clock.
    """

    def __init__(
        self,
        store: Store,
        *,
        required: bool = False,
        certificates: Mapping[str, frozenset[Role]] | None = None,
        local: Caller | None = None,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1_000,
    ) -> None:
        self._store = store
        self._required = required
        self._certificates = certificates or {}
        self._local = local
        self._now_us = now_us
        self._minting = threading.Lock()
        self._known = {token.token_id: (token, digest) for token, digest in store.tokens()}
        self._used_us = {token_id: token.last_used_us for token_id, (token, _) in self._known.items()}

    @property
    def needs_token(self) -> bool:
        """Whether a call without one is refused."""
        return self._local is None and (self._required or self.can_identify)

    @property
    def can_identify(self) -> bool:
        """Whether anybody could be known: a token was minted, or certificates are mapped to callers."""
        return bool(self._known or self._certificates)

    @property
    def reads_certificates(self) -> bool:
        """Whether a caller may be known by a certificate."""
        return bool(self._certificates)

    def identify(self, metadata: Iterable[tuple[str, str | bytes]], common_names: Iterable[bytes] = ()) -> Caller:
        """Who makes a call with this metadata.

        Args:
            common_names: those of the caller's certificate, where mutual TLS has checked it. A token comes first.

        Raises:
            UnauthenticatedError: no token where one is needed, or one that is not valid.
        """
        values = [value for key, value in metadata if key == "authorization"]
        if values:
            return self._caller(values)
        if self._local is not None:
            return self._local
        for common_name in common_names:
            name = common_name.decode("utf-8", "replace")
            if name in self._certificates:
                return Caller(name, self._certificates[name], Credential.CERTIFICATE)
        if self.needs_token:
            raise UnauthenticatedError(
                "this service needs a token: set COTERIE_TOKEN or --token-file, or send metadata "
                "`authorization: Bearer TOKEN`; an administrator mints one with coterie token mint NAME --role ROLE"
            )
        return EVERYBODY

    def check(self, caller: Caller) -> None:
        """Whether a caller may go on: a stream is older than the look at its token.

        Raises:
            UnauthenticatedError: the token was revoked or has expired since.
        """
        if caller.token_id:
            self._check(self._known[caller.token_id][0])
        elif caller.credential is Credential.NONE and self.needs_token:
            raise UnauthenticatedError("this service needs a token since the first was minted: come again with one")

    def mint(self, name: str, roles: Iterable[Role], expires_us: int = 0) -> tuple[str, Token]:
        """A new token: what to send, which is kept nowhere, and what is kept.

        Args:
            expires_us: from when on it is refused; 0 is never.

        Raises:
            InvalidError: a bad name, no role, a time that is past, or too many tokens.
            ConflictError: it would be the first and not an administrator's.
        """
        now_us = self._now_us()
        _check_name(name)
        given = frozenset(roles)
        if not given:
            raise InvalidError(f"roles is empty: name at least one of {', '.join(Role)}", field="roles")
        if expires_us and expires_us <= now_us:
            raise InvalidError("expires_us is past: name a later time, or 0 for never", field="expires_us")
        token_id = secrets.token_hex(6)
        secret = f"{TOKEN_PREFIX}{token_id}_{secrets.token_urlsafe(32)}"
        token = Token(token_id, name, given, now_us, expires_us)
        with self._minting:
            if not self._known and Role.ADMIN not in given:
                raise ConflictError(
                    "the first token must be an administrator's, or nobody could mint and revoke at the running "
                    "service: coterie token mint NAME --role admin"
                )
            digest = _digest(secret)
            self._store.add_token(token, digest)
            self._known[token_id] = (token, digest)
        return secret, token

    def revoke(self, token_id: str) -> Token:
        """End a token for good; calls with it are refused from now on, and its streams at their next message.

        Raises:
            NotFoundError: there is none of this id.
        """
        token = self._store.revoke_token(token_id, self._now_us())
        self._known[token_id] = (token, self._known[token_id][1])
        return token

    def tokens(self) -> list[Token]:
        """Every token ever minted, newest first."""
        found = [
            replace(token, last_used_us=self._used_us.get(token.token_id, 0))
            for token, _ in tuple(self._known.values())
        ]
        return sorted(found, key=lambda token: (token.created_us, token.token_id), reverse=True)

    def _caller(self, values: list[str | bytes]) -> Caller:
        value = values[0]
        scheme, _, presented = value.partition(" ") if isinstance(value, str) else ("", "", "")
        form = _TOKEN.fullmatch(presented.strip())
        if len(values) > 1 or scheme.lower() != "bearer" or form is None:
            raise UnauthenticatedError(
                f"the call's authorization is not one `Bearer TOKEN` with a token that begins with {TOKEN_PREFIX}: "
                "send the token as it was printed when it was minted"
            )
        token, digest = self._known.get(form[1], (None, b""))
        # Both sides are hashes, so nothing about a token could be learned from the time; it costs nothing to be sure.
        if not hmac.compare_digest(_digest(form[0]), digest) or token is None:
            raise UnauthenticatedError(
                "the service does not know this token: it may be of another data folder, or cut short"
            )
        self._check(token)
        self._used(token)
        return Caller(token.name, token.roles, Credential.TOKEN, token.token_id)

    def _check(self, token: Token) -> None:
        state = token.state(self._now_us())
        if state != "active":
            raise UnauthenticatedError(
                f"token {token.token_id} of {token.name} is {state}: ask an administrator for a new one"
            )

    def _used(self, token: Token) -> None:
        used_us = max(self._now_us() // _HOUR_US * _HOUR_US, token.created_us)  # never before it was made
        if used_us <= self._used_us.get(token.token_id, 0):
            return
        try:
            written = self._store.touch_token(token.token_id, used_us)
        except CoterieError as error:
            _say_untouched(token.token_id, error)
            return
        written.add_done_callback(lambda done: _tell(token.token_id, done))
        self._used_us[token.token_id] = used_us


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("ascii")).digest()


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= LIMITS.token_name_chars_max or name != name.strip() or printable(name) != name:
        raise InvalidError(
            f"name has {len(name)} characters: a token's name has 1 to {LIMITS.token_name_chars_max}, no spaces around "
            "it and no control characters",
            field="name",
        )


def _tell(token_id: str, written: "Future[None]") -> None:
    if (error := written.exception()) is not None:
        _say_untouched(token_id, error)


def _say_untouched(token_id: str, error: BaseException) -> None:
    # The call is good without: only the listing of tokens is behind.
    reason = str(error) if isinstance(error, CoterieError) else type(error).__name__
    emit(_LOGGER, logging.WARNING, "token_use_not_recorded", token_id=token_id, reason=reason)
