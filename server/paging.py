"""Pages of a listing: how many entries, and tokens that say where it goes on and mean nothing to callers."""

import base64
import binascii
import json
from collections.abc import Sequence

from coterie.domain import LIMITS, InvalidError
from coterie.v1 import types_pb2

Key = Sequence[str | int]
"""What a token stands for: the place of a page's last entry."""


def page_size(request: types_pb2.PageRequest) -> int:
    """Entries wanted.

    Raises:
        InvalidError: negative, or more than `LIMITS.page_size_max`.
    """
    if not 0 <= request.page_size <= LIMITS.page_size_max:
        raise InvalidError(
            f"page_size is {request.page_size}, it must lie between 0 and {LIMITS.page_size_max}",
            field="page.page_size",
            reason="bad_page_size",
        )
    return request.page_size or LIMITS.page_size_default


def page_token(listing: str, key: Key) -> str:
    """A token for the page after `key`."""
    return base64.urlsafe_b64encode(json.dumps([listing, *key], separators=(",", ":")).encode()).decode()


def page_key(request: types_pb2.PageRequest, listing: str, kinds: Sequence[type]) -> list[str | int] | None:
    """What the token of a request stands for; None for the first page.

    Args:
        listing: the listing that made it; a token of another one is refused.
        kinds: the types of its parts.

    Raises:
        InvalidError: it is no token of this listing.
    """
    if not request.page_token:
        return None
    try:
        parts = json.loads(base64.b64decode(request.page_token, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise bad_token() from error
    if not isinstance(parts, list) or parts[:1] != [listing] or [type(part) for part in parts[1:]] != list(kinds):
        raise bad_token()
    return parts[1:]


def bad_token() -> InvalidError:
    """What to raise for a token that leads nowhere."""
    return InvalidError(
        "page_token is not one that this listing gave: begin again without one",
        field="page.page_token",
        reason="bad_page_token",
    )
