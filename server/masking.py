"""What an analyst sees outside of findings: nothing that is a few accounts' own."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from coterie.domain import AccountId, Caller, Exchange, ExchangeId, Family, Hit, Role

MASKED = "(masked)"
"""What stands for a name or a text that the caller may not see."""


class Masking:
    """Masks what fewer than so many accounts stand behind, for callers who only analyse.

    Accounts in a finding of the newest whole run are shown as they are: looking into those is what an analyst is for.
    Whoever may review sees everything.
    """

    def __init__(self, accounts_min: int, accused: Callable[[], frozenset[AccountId]]) -> None:
        """`accused`: the accounts of the newest whole run's findings; asked only where something would be masked."""
        self._accounts_min = accounts_min
        self._accused = accused

    def applies(self, caller: Caller) -> bool:
        """Whether anything is masked for a caller."""
        return self._accounts_min > 1 and not caller.may(Role.REVIEWER)

    def exchanges(self, found: Sequence[Exchange], accounts: int | None = None) -> list[Exchange]:
        """Exchanges as an analyst sees them.

        Args:
            accounts: how many accounts stand behind them, where that is more than they show.
        """
        behind = len({exchange.account_id for exchange in found}) if accounts is None else accounts
        if behind >= self._accounts_min:
            return list(found)
        accused = self._accused()
        return [exchange if exchange.account_id in accused else masked(exchange) for exchange in found]

    def hits(self, found: Sequence[Hit]) -> tuple[Hit, ...]:
        """The hits of a search, likewise."""
        shown = self.exchanges([hit.exchange for hit in found])
        return tuple(replace(hit, exchange=exchange) for hit, exchange in zip(found, shown, strict=True))

    def families(self, found: Sequence[Family]) -> list[Family]:
        """Families: the counts stay, the exemplar of one that few accounts are in does not."""
        return [
            family if family.accounts >= self._accounts_min else replace(family, exemplar=ExchangeId(""))
            for family in found
        ]


def masked(exchange: Exchange) -> Exchange:
    """An exchange without anything of its own but its id, time, model and sizes."""
    return replace(
        exchange,
        account_id=AccountId(MASKED),
        prompt=MASKED,
        response=MASKED if exchange.response else "",
        system=MASKED if exchange.system else "",
        conversation_id="",
        attributes={},
    )
