"""When to try again, and after how long."""

import random
from dataclasses import dataclass

from coterie.domain import CoterieError, OverloadedError, UnavailableError

_SERVER_DELAY_MAX_S = 60.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off with jitter, so that many clients do not come back at once.

    Attributes:
        attempts: how often one thing is tried in a row without progress, the first time included.
        initial_s, factor, max_s: the delay after failure i is at most `initial_s * factor**(i - 1)`, and `max_s`.
    """

    attempts: int = 8
    initial_s: float = 0.1
    factor: float = 2.0
    max_s: float = 5.0

    def delay_s(self, failures: int, error: CoterieError, *, repeatable: bool = True) -> float:
        """Seconds to wait after this many failures in a row.

        Half to all of the back-off, and never less than an overloaded server asks for (up to a minute).

        Args:
            repeatable: whether the call may be sent again when it is not known if it took effect. One that was
                refused for overload may always be.

        Raises:
            CoterieError: the error itself, when trying again cannot help or has been tried often enough.
        """
        overloaded = isinstance(error, OverloadedError)
        if failures >= self.attempts or not (overloaded or (repeatable and isinstance(error, UnavailableError))):
            raise error
        delay = min(self.max_s, self.initial_s * self.factor ** (failures - 1)) * random.uniform(0.5, 1.0)
        if isinstance(error, OverloadedError):
            delay += min(error.retry_after_s, _SERVER_DELAY_MAX_S)
        return delay
