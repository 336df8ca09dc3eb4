"""The verbs about access: `token mint`, `token list`, `token revoke` and `whoami`."""

import re
import time
from typing import Any

from rich.table import Table
from rich.text import Text

from coterie.domain import Caller, InvalidError, Role, Token, format_time
from coterie.server import cli_render as render
from coterie.server.cli_commands import Session
from coterie.server.cli_terminal import shown, styled

EXPIRY_DEFAULT = "90d"
_EXPIRY = re.compile(r"(\d{1,5})([hd])")
_SECONDS = {"h": 3_600, "d": 86_400}


def lifetime_s(text: str) -> int:
    """Seconds that `90d` or `12h` stand for; 0 for `never`.

    Raises:
        InvalidError: it is neither.
    """
    found = _EXPIRY.fullmatch(text)
    if text != "never" and (found is None or not int(found[1])):
        raise InvalidError(f"{text!r} must be a number of days or hours, such as 90d or 12h, or never", field="expires")
    return int(found[1]) * _SECONDS[found[2]] if found else 0


def mint(session: Session) -> int:
    """Make a token and print it, this once."""
    options, terminal = session.options, session.terminal
    expires_us = time.time_ns() // 1_000 + options.expires * 1_000_000 if options.expires else 0
    with session.client() as client:
        secret, token = client.mint_token(options.name, options.role, expires_us=expires_us)
    # Alone on stdout, so that it can be sent to a file, and never folded.
    terminal.data({"token": secret, **token_to_json(token)}, Text(secret, no_wrap=True, overflow="ignore"))
    until = f"until {render.moment(token.expires_us)} UTC" if token.expires_us else "for good"
    terminal.say(
        f"token {token.token_id} of {shown(token.name)} ({roles(token.roles)}), valid {until}. It is shown only now: "
        "keep it in a file that only its user can read, and name that with --token-file."
    )
    return 0


def token_list(session: Session) -> int:
    """Every token that was ever minted."""
    with session.client() as client:
        found = client.list_tokens()
    session.terminal.data({"tokens": [token_to_json(token) for token in found]}, tokens_table(found))
    if not found:
        session.terminal.say("no token was minted: a server on this machine is open to everybody on it")
        session.terminal.suggest("token", "mint", "NAME", "--role", "admin")
    return 0


def revoke(session: Session) -> int:
    """End a token."""
    with session.client() as client:
        token = client.revoke_token(session.options.id)
    line = f"token {token.token_id} of {shown(token.name)} is revoked since {render.moment(token.revoked_us)} UTC"
    session.terminal.data(token_to_json(token), Text(line))
    return 0


def whoami(session: Session) -> int:
    """Who the service takes the caller for."""
    with session.client() as client:
        caller = client.who_am_i()
    value = {
        "name": caller.name,
        "roles": sorted(caller.roles),
        "credential": caller.credential.value,
        "token_id": caller.token_id,
    }
    session.terminal.data(value, caller_table(caller))
    return 0


def token_to_json(token: Token) -> dict[str, Any]:
    """The JSON form of a token without its secret; times that never come are null."""
    value: dict[str, Any] = {
        "token_id": token.token_id,
        "name": token.name,
        "roles": sorted(token.roles),
        "state": token.state(time.time_ns() // 1_000),
    }
    for name in ("created", "expires", "revoked", "last_used"):
        time_us = getattr(token, f"{name}_us")
        value[name] = format_time(time_us) if time_us else None
    return value


def roles(given: frozenset[Role]) -> str:
    """Roles for reading."""
    return ", ".join(sorted(given))


def tokens_table(tokens: list[Token]) -> Table:
    """One line a token."""
    made = render.table("token", "name", "role", "state", "created", "expires", "last used", whole=("token",))
    now_us = time.time_ns() // 1_000
    for token in tokens:
        state = token.state(now_us)
        made.add_row(
            Text(token.token_id, style="bold"),
            styled(token.name),
            roles(token.roles),
            Text(state, style="green" if state == "active" else "dim"),
            render.moment(token.created_us),
            render.moment(token.expires_us),
            render.moment(token.last_used_us),
        )
    return made


def caller_table(caller: Caller) -> Table:
    """Who calls."""
    known = caller.credential.value
    return render.pairs(
        {
            "name": styled(caller.name),
            "roles": roles(caller.roles),
            "known by": f"{known} {caller.token_id}" if caller.token_id else known,
        }
    )
