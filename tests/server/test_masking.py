"""What the role analyst sees: nothing that is a few accounts' own, outside of findings."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from coterie.client import Client, RetryPolicy
from coterie.domain import (
    AccountId,
    Caller,
    Credential,
    Exchange,
    ExchangeId,
    Family,
    FamilyLineage,
    Hit,
    Role,
    SearchFilter,
)
from coterie.server import Config, local_server
from coterie.server.masking import MASKED, Masking

ONE = RetryPolicy(attempts=1)


def caller(*roles: Role) -> Caller:
    return Caller("ann", frozenset(roles), Credential.TOKEN)


def test_it_applies_to_whoever_may_not_review() -> None:
    masking = Masking(3, frozenset)
    assert masking.applies(caller(Role.ANALYST))
    assert masking.applies(caller(Role.ANALYST, Role.INGEST))
    assert not masking.applies(caller(Role.REVIEWER))
    assert not masking.applies(caller(Role.ADMIN))
    assert not Masking(1, frozenset).applies(caller(Role.ANALYST))


def test_exchanges_of_enough_accounts_are_shown_and_of_fewer_only_the_accused(exchange: Any) -> None:
    asked = []

    def accused() -> frozenset[AccountId]:
        asked.append(True)
        return frozenset({AccountId("account-1")})

    masking = Masking(3, accused)
    many = [exchange(number) for number in range(3)]
    assert masking.exchanges(many) == many
    assert masking.exchanges(many[:1], accounts=3) == many[:1]
    assert not asked
    few = [exchange(number, response="r", system="s", attributes={"a": "b"}, conversation_id="c") for number in (1, 2)]
    shown = masking.exchanges(few)
    assert shown[0] == few[0]
    assert shown[1] == replace(
        few[1], account_id=MASKED, prompt=MASKED, response=MASKED, system=MASKED, attributes={}, conversation_id=""
    )
    assert masking.exchanges([exchange(2)])[0].response == ""
    assert [hit.exchange.prompt for hit in masking.hits([Hit(few[1], 0.9)])] == [MASKED]


def test_a_family_of_few_keeps_its_counts_and_loses_its_exemplar() -> None:
    made = [
        Family(name, 5, 9, accounts, FamilyLineage.BORN, 0.1, ExchangeId("e1"), 1, 2)  # type: ignore[arg-type]
        for name, accounts in (("f1", 2), ("f2", 3))
    ]
    few, many = Masking(3, frozenset).families(made)
    assert (few.exemplar, few.accounts, few.texts) == ("", 2, 5)
    assert many == made[1]


@pytest.fixture
def tokens(
    config: Config, exchange: Any, until: Callable[..., None], script: Any
) -> Iterator[tuple[str, dict[Role, str]]]:
    """A service with accounts 0 to 6, of which 1 to 4 are in findings, and a token of each role."""
    with local_server(config) as address:
        with Client.connect(address) as client:
            client.ingest([exchange(number) for number in range(70)])
            client.ingest([exchange(900 + n, account="alone", prompt=f"canary of one account {n}") for n in range(3)])
            until(lambda: client.stats().pending_texts == 0)
            run = client.start_run()
            until(lambda: client.get_run(run.run_id).state.finished)
            admin, _ = client.mint_token("admin", [Role.ADMIN])
        with Client.connect(address, token=admin) as client:
            secrets = {role: client.mint_token(role, [role])[0] for role in (Role.ANALYST, Role.REVIEWER)}
        yield address, secrets | {Role.ADMIN: admin}


@pytest.mark.parametrize(("role", "sees"), [(Role.ANALYST, False), (Role.REVIEWER, True), (Role.ADMIN, True)])
def test_over_the_wire_a_single_account_is_masked_for_the_analyst_alone(
    tokens: tuple[str, dict[Role, str]], role: Role, sees: bool
) -> None:
    address, secrets = tokens
    with Client.connect(address, token=secrets[role], retry=ONE) as client:
        alone = SearchFilter(accounts=(AccountId("alone"),))
        hits = client.search("canary of one account", k=3, filter=alone).hits
        assert len(hits) == 3
        assert all(("canary" in hit.exchange.prompt) is sees for hit in hits)
        assert {hit.exchange.account_id for hit in hits} == {"alone" if sees else MASKED}
        accused = client.search("tides", k=3, filter=SearchFilter(accounts=(AccountId("account-1"),))).hits
        assert {hit.exchange.account_id for hit in accused} == {"account-1"}
        many = client.search("please explain the tides", k=20).hits
        assert MASKED not in {hit.exchange.account_id for hit in many}
        listed: list[Exchange] = list(client.list_exchanges(account_id="alone"))
        assert len(listed) == 3
        assert all(("canary" in item.prompt) is sees for item in listed)
        _, _, exemplars = client.get_finding("f-big")
        assert {item.account_id for item in exemplars} == {"account-1", "account-2"}
