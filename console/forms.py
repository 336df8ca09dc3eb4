"""Forms as they come in: bounded, urlencoded, and from a page of this session."""

import hmac
from collections.abc import Mapping
from urllib.parse import parse_qsl

from starlette.requests import Request

from coterie.console.sessions import Session
from coterie.domain import InvalidError

FORM_BYTES_MAX = 64 * 1024
TEXT_FORM_BYTES_MAX = 6 * 1024 * 1024
"""For a form that takes a text of `LIMITS.text_chars_max` characters, percent-encoded."""
_FIELDS_MAX = 100


class Form:
    """The fields of a form; a missing one reads as empty."""

    def __init__(self, fields: Mapping[str, list[str]]) -> None:
        self._fields = fields

    def text(self, name: str) -> str:
        """The last value of a field, without space around it."""
        return self._fields.get(name, [""])[-1].strip()

    def raw(self, name: str) -> str:
        """The last value of a field, as sent but for its line ends."""
        return self._fields.get(name, [""])[-1].replace("\r\n", "\n")

    def texts(self, name: str) -> list[str]:
        """Every value of a field that is not empty."""
        return [value.strip() for value in self._fields.get(name, []) if value.strip()]

    def words(self, name: str) -> list[str]:
        """The values of a field that takes several, one a line or with commas between."""
        return [word.strip() for word in self.text(name).replace("\n", ",").split(",") if word.strip()]

    def checked(self, name: str) -> bool:
        """Whether a box was ticked."""
        return bool(self.text(name))

    def number(self, name: str, default: int) -> int:
        """A whole number.

        Raises:
            InvalidError: it is none.
        """
        value = self.text(name)
        if not value:
            return default
        if not value.isdecimal() or len(value) > 12:
            raise InvalidError(f"{name} must be a whole number", field=name)
        return int(value)


async def read_form(request: Request, session: Session | None, bytes_max: int = FORM_BYTES_MAX) -> Form:
    """The form a request carries; with a session, it must be of one of that session's pages.

    Raises:
        InvalidError: it is too large, malformed, or of another session.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > bytes_max:
            raise InvalidError(f"the form is larger than {bytes_max} bytes: send less", reason="too_long")
    try:
        pairs = parse_qsl(
            bytes(body).decode("ascii"), keep_blank_values=True, max_num_fields=_FIELDS_MAX, errors="strict"
        )
    except ValueError as error:
        raise InvalidError("the form cannot be read: reload the page and send it again") from error
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    form = Form(fields)
    if session is not None and not hmac.compare_digest(form.text("csrf").encode(), session.csrf.encode()):
        raise InvalidError(
            "the form is of an earlier session, or of another site: reload the page and send it again", reason="csrf"
        )
    return form


def query_form(request: Request) -> Form:
    """The query of a request's address as a form."""
    fields: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        fields.setdefault(name, []).append(value)
    return Form(fields)
