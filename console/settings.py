"""What the console needs to know of where it is served."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConsoleSettings:
    """Where the console is reached and how long a person stays signed in.

    Attributes:
        hosts: names and addresses, without port, that a request may call this server; others are refused, so that a
            page elsewhere cannot reach it under a name of its own. Empty lets every name pass.
        port: the port it is served on; it is part of the cookie's name, since browsers do not keep ports apart.
        secure: whether it is served over TLS.
        idle_s: time without a request after which a person is signed out, seconds.
        session_s: time after which a person is signed out in any case, seconds.
        sessions_max: people signed in at a time; the one idle for longest makes room for the next.
        sign_in_failures_max: failed tries to sign in from one address within `sign_in_window_s`; more are refused.
        sign_in_window_s: that window, seconds.
    """

    hosts: frozenset[str] = frozenset()
    port: int = 0
    secure: bool = False
    idle_s: float = 30 * 60
    session_s: float = 12 * 3600
    sessions_max: int = 1_000
    sign_in_failures_max: int = 10
    sign_in_window_s: float = 300.0

    @property
    def cookie(self) -> str:
        """The name of the session's cookie; under TLS one that browsers let only this host set."""
        return f"__Host-coterie-{self.port}" if self.secure else f"coterie-{self.port}"
