"""The error tree: what can go wrong, told apart by what the caller can do about it.

    CoterieError                internal: a defect or a broken machine
    ├── InvalidError            the request is wrong: mend it and send it again
    ├── NotFoundError           no such thing
    ├── ConflictError           it contradicts what is already there
    ├── OverloadedError         refused early: come back after `retry_after_s`
    ├── UnauthenticatedError    who calls is not known: send a token that is valid
    ├── DeniedError             who calls is known, and may not do this
    ├── UnavailableError        not ready, or shutting down
    └── CancelledRunError       the run was cancelled by a person

Messages name the bad value's field and its limit, never prompt or response text.
"""


class CoterieError(Exception):
    """Base of every error coterie raises on purpose; as itself, an internal error.

    Attributes:
        request_id: the request that failed, as a server's log names it; empty where no server was called.
    """

    request_id: str = ""


class InvalidError(CoterieError):
    """The request cannot be right.

    Args:
        message: what is wrong and what to do.
        field: the offending field, in the wire's spelling; empty when it is the whole request.
        reason: a stable snake_case word for counting, e.g. `missing_account_id`.
    """

    def __init__(self, message: str, *, field: str = "", reason: str = "invalid") -> None:
        super().__init__(message)
        self.field = field
        self.reason = reason


class NotFoundError(CoterieError):
    """The thing named does not exist."""


class ConflictError(CoterieError):
    """The request contradicts what is stored, or what is running."""


class OverloadedError(CoterieError):
    """Refused early because the queue is full; nothing was stored.

    Args:
        reason: a stable snake_case word for counting: what was full.
    """

    def __init__(self, message: str, *, retry_after_s: float = 1.0, reason: str = "overloaded") -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.reason = reason


class UnauthenticatedError(CoterieError):
    """The call brings no credential, or one that is not valid; the message never holds it."""


class DeniedError(CoterieError):
    """The caller's roles do not include what this needs."""


class UnavailableError(CoterieError):
    """The service, a model or a file is not usable now; the message says what to do."""


class CancelledRunError(CoterieError):
    """A run stopped because someone asked it to."""
