"""What an analyst sees outside of findings: no text, name or label that is a few accounts' own."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from coterie.domain import AccountId, Caller, Dossier, Exchange, ExchangeId, Family, Hit, Role, SharedTexts
from coterie.store import Store

MASKED = "(masked)"
"""What stands for a name or a text that the caller may not see."""


class Masking:
    """Masks what fewer than so many accounts have, for callers who only analyse.

    Each text is judged by itself, by how many accounts have it in the whole store, so that nothing depends on what is
    asked, filtered or listed beside it. Accounts that stand accused are shown as they are: looking into those is what
    an analyst is for. Whoever may review sees everything.
    """

    def __init__(self, store: Store, accounts_min: int, accused: Callable[[], frozenset[AccountId]]) -> None:
        """`accused`: the accounts that are shown whole; asked only where something is to be masked."""
        self._store = store
        self._accounts_min = accounts_min
        self._accused = accused

    def applies(self, caller: Caller) -> bool:
        """Whether anything is masked for a caller."""
        return self._accounts_min > 1 and not caller.may(Role.REVIEWER)

    def exchanges(self, found: Sequence[Exchange]) -> list[Exchange]:
        """Exchanges as an analyst sees them."""
        if not found:
            return []
        accused = self._accused()
        others = [exchange.exchange_id for exchange in found if exchange.account_id not in accused]
        shared = self._store.shared_texts(others, self._accounts_min)
        return [
            exchange
            if exchange.account_id in accused
            else masked(exchange, shared.get(exchange.exchange_id, SharedTexts()))
            for exchange in found
        ]

    def hits(self, found: Sequence[Hit]) -> tuple[Hit, ...]:
        """The hits of a search, likewise."""
        shown = self.exchanges([hit.exchange for hit in found])
        return tuple(replace(hit, exchange=exchange) for hit, exchange in zip(found, shown, strict=True))

    def dossier(self, found: Dossier) -> Dossier:
        """A dossier: where it names accounts that do not stand accused, their exemplars and labels are masked."""
        if self._accused().issuperset(account.account_id for account in found.finding.accounts):
            return found
        return replace(
            found,
            exemplars=tuple(self.exchanges(found.exemplars)),
            attributes=tuple(
                label for label in found.attributes if label.accounts + label.elsewhere >= self._accounts_min
            ),
        )

    def families(self, found: Sequence[Family]) -> list[Family]:
        """Families: the counts stay, the exemplar of one that few accounts are in does not."""
        return [
            family if family.accounts >= self._accounts_min else replace(family, exemplar=ExchangeId(""))
            for family in found
        ]


def masked(exchange: Exchange, shared: SharedTexts) -> Exchange:
    """An exchange without anything of its own but its id, time, model and sizes.

    Whose it is shows where others sent the same prompt.
    """
    return replace(
        exchange,
        account_id=exchange.account_id if shared.prompt else AccountId(MASKED),
        prompt=_shown(exchange.prompt, known=shared.prompt),
        response=_shown(exchange.response, known=shared.response),
        system=_shown(exchange.system, known=shared.system),
        conversation_id="",
        attributes={},
    )


def _shown(text: str, *, known: bool) -> str:
    return text if known or not text else MASKED
