"""The verbs about access: tokens, who one is, and the audit record."""

import dataclasses
import re
import time
from typing import Any

from rich.table import Table
from rich.text import Text

from coterie.domain import AuditRow, Caller, InvalidError, Role, Token, format_time
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


def audit(session: Session) -> int:
    """The audit record, or whether it is whole; 1 when it is not."""
    if session.options.what == "verify":
        return _verify(session)
    options, terminal = session.options, session.terminal
    with session.client() as client:
        found = client.list_audit(
            since_us=options.since or 0, action=options.action, actor=options.actor, limit=options.limit
        )
    terminal.data({"rows": [audit_row_to_json(row) for row in found]}, audit_table(found))
    if not found:
        terminal.say("there is no such row")
    elif len(found) == options.limit:
        terminal.say("there may be more: --limit lists them")
    return 0


def _verify(session: Session) -> int:
    terminal = session.terminal
    with session.client() as client:
        verdict = client.verify_audit(noted_head=session.options.head)
    value = dataclasses.asdict(verdict) | {"whole": verdict.whole}
    if verdict.whole:
        line = f"whole: {verdict.rows:,} rows; the head is row {verdict.head_id}, {verdict.head or 'none yet'}"
    else:
        at = f"row {verdict.broken_id}: " if verdict.broken_id else ""
        line = f"broken after {verdict.rows:,} rows: {at}{verdict.problem}"
    terminal.data(value, Text(line))
    if verdict.whole and verdict.keyed_from:
        terminal.say(f"under the audit key since row {verdict.keyed_from}")
    if verdict.noted_id:
        terminal.say(f"the head that was noted is row {verdict.noted_id}")
    if verdict.whole and verdict.head:
        terminal.say(
            "note the head elsewhere, and give it with --head later: it shows rows that were cut off or rewritten"
        )
    return 0 if verdict.whole else 1


def audit_row_to_json(row: AuditRow) -> dict[str, Any]:
    """The JSON form of a row."""
    entry = row.entry
    return {
        "audit_id": row.audit_id,
        "time": format_time(entry.time_us),
        "actor": entry.actor,
        "roles": entry.roles.split(",") if entry.roles else [],
        "credential": entry.credential,
        "action": entry.action,
        "subject": entry.subject,
        "request_id": entry.request_id,
        "outcome": entry.outcome,
        "hash": row.hash.hex(),
    }


def audit_table(rows: list[AuditRow]) -> Table:
    """One line a row."""
    made = render.table(
        "row", "time (UTC)", "caller", "action", "subject", "outcome",
        right=("row",), whole=("time (UTC)", "action", "outcome"),
    )  # fmt: skip
    for row in rows:
        entry = row.entry
        made.add_row(
            str(row.audit_id),
            render.moment(entry.time_us),
            styled(entry.actor or "-", "" if entry.actor else "dim"),
            entry.action,
            shown(entry.subject),
            Text(entry.outcome.replace("_", " "), style="" if entry.outcome == "allowed" else "red"),
        )
    return made


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
