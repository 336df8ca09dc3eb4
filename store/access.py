"""Bearer tokens, kept by their hash."""

import sqlite3
from typing import Any

from coterie.domain import LIMITS, InvalidError, NotFoundError, Role, Token
from coterie.store.changes import Transaction

_COLUMNS = "token_id, name, roles, created_us, expires_us, revoked_us, last_used_us"


def tokens(connection: sqlite3.Connection) -> list[tuple[Token, bytes]]:
    """Every token ever minted with its digest, newest first."""
    rows = connection.execute(f"SELECT {_COLUMNS}, digest FROM access_token ORDER BY created_us DESC, token_id DESC")
    return [(_token(row[:-1]), row[-1]) for row in rows]


def add_token(transaction: Transaction, token: Token, digest: bytes) -> None:
    """Record a new token.

    Raises:
        InvalidError: there are `LIMITS.access_tokens_max` already.
    """
    connection = transaction.connection
    if connection.execute("SELECT count(*) FROM access_token").fetchone()[0] >= LIMITS.access_tokens_max:
        raise InvalidError(
            f"{LIMITS.access_tokens_max} tokens were minted here, which is the limit: use those there are",
            reason="too_many_tokens",
        )
    connection.execute(
        f"INSERT INTO access_token ({_COLUMNS}, digest) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            token.token_id,
            token.name,
            ",".join(sorted(token.roles)),
            token.created_us,
            token.expires_us,
            token.revoked_us,
            token.last_used_us,
            digest,
        ),
    )


def revoke_token(transaction: Transaction, token_id: str, time_us: int) -> Token:
    """End a token, unless it has ended before; the token as it is now.

    Raises:
        NotFoundError: there is none of this id.
    """
    connection = transaction.connection
    connection.execute(
        "UPDATE access_token SET revoked_us = ? WHERE token_id = ? AND revoked_us = 0", (time_us, token_id)
    )
    row = connection.execute(f"SELECT {_COLUMNS} FROM access_token WHERE token_id = ?", (token_id,)).fetchone()
    if row is None:
        raise NotFoundError("there is no token of this id: `coterie token list` shows the ids")
    return _token(row)


def touch_token(transaction: Transaction, token_id: str, used_us: int) -> None:
    """Record when a token was last used."""
    transaction.connection.execute(
        "UPDATE access_token SET last_used_us = max(last_used_us, ?) WHERE token_id = ?", (used_us, token_id)
    )


def _token(row: tuple[Any, ...]) -> Token:
    token_id, name, roles, *times = row
    return Token(token_id, name, frozenset(Role(role) for role in roles.split(",")), *times)
