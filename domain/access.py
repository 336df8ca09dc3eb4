"""Who calls, and what they may: roles, callers, and tokens without their secret."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a caller is there for. `reviewer` includes `analyst`, `admin` includes all."""

    INGEST = "ingest"
    """Sends exchanges in, reads nothing."""
    ANALYST = "analyst"
    """Searches, reads findings and texts, starts runs."""
    REVIEWER = "reviewer"
    """Decides on findings, registers benchmarks."""
    ADMIN = "admin"
    """Mints tokens, erases accounts, reads the audit record."""

    @property
    def included(self) -> frozenset["Role"]:
        """The roles whose calls this one may make, itself among them."""
        if self is Role.ADMIN:
            return frozenset(Role)
        return frozenset({Role.REVIEWER, Role.ANALYST}) if self is Role.REVIEWER else frozenset({self})


class Credential(StrEnum):
    """How the service knows who calls."""

    TOKEN = "token"
    """By a bearer token."""
    CERTIFICATE = "certificate"
    """By the client certificate of mutual TLS."""
    LOCAL = "local"
    """By the operating system: whoever can open the data folder."""
    NONE = "none"
    """Not at all: the service is open."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a call.

    Attributes:
        name: of the token or certificate, or the login name; where the service is open, `anybody`.
        roles: as given; `may` follows what they include.
        token_id: empty without a token.
    """

    name: str
    roles: frozenset[Role]
    credential: Credential
    token_id: str = ""

    def may(self, role: Role) -> bool:
        """Whether one of the roles includes this one."""
        return any(role in own.included for own in self.roles)

    @property
    def identified(self) -> bool:
        """Whether the service itself knows the name, so that the caller cannot go by another."""
        return self.credential in (Credential.TOKEN, Credential.CERTIFICATE)

    @property
    def principal(self) -> str:
        """Whose the caller's streams are: its name, where the service knows it; "" is nobody's in particular."""
        return self.name if self.identified else ""


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer token as it is kept: without its secret.

    Attributes:
        token_id: its public part, fit for logs.
        name: who calls with it.
        created_us, expires_us, revoked_us: microseconds since 1970-01-01 UTC; 0 is never.
        last_used_us: likewise, to the hour; 0 is never.
    """

    token_id: str
    name: str
    roles: frozenset[Role]
    created_us: int
    expires_us: int = 0
    revoked_us: int = 0
    last_used_us: int = 0

    def state(self, now_us: int) -> str:
        """`active`, `expired` or `revoked`."""
        if self.revoked_us:
            return "revoked"
        return "expired" if self.expires_us and self.expires_us <= now_us else "active"
