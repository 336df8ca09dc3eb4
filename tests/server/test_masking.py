"""What the role analyst sees: nothing that is a few accounts' own, outside of findings."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dossiers import made_dossier

from coterie.client import Client, RetryPolicy
from coterie.domain import (
    AccountId,
    Caller,
    Credential,
    DeniedError,
    Exchange,
    ExchangeId,
    Family,
    FamilyLineage,
    Hit,
    ParameterSet,
    ReviewState,
    Role,
    SearchFilter,
    SharedTexts,
    Slice,
)
from coterie.server import Config, local_server
from coterie.server.masking import MASKED, Masking
from coterie.store import SqliteStore, open_store

ONE = RetryPolicy(attempts=1)
ACCUSED = {f"e{number:05}" for number in range(70) if number % 7 in (1, 2, 3, 4)}


def caller(*roles: Role) -> Caller:
    return Caller("ann", frozenset(roles), Credential.TOKEN)


def test_it_applies_to_whoever_may_not_review(store: SqliteStore) -> None:
    masking = Masking(store, 3, frozenset)
    assert masking.applies(caller(Role.ANALYST))
    assert masking.applies(caller(Role.ANALYST, Role.INGEST))
    assert not masking.applies(caller(Role.REVIEWER))
    assert not masking.applies(caller(Role.ADMIN))
    assert not Masking(store, 1, frozenset).applies(caller(Role.ANALYST))


@pytest.fixture
def store(tmp_path: Path, exchange: Any) -> Iterator[SqliteStore]:
    """Two prompts: of a crowd with answers of their own, one of which two share, and of one account alone."""
    own: dict[str, Any] = {"attributes": {"a": "b"}, "conversation_id": "c"}
    with open_store(tmp_path / "few") as opened:
        opened.append(
            [
                exchange(n, account=f"a{n}", prompt="Say hello", response=f"own {n}", system="Be kind", **own)
                for n in (1, 2)
            ]
        )
        opened.append([exchange(3, account="a3", prompt=" Say  hello ", response="own 1", system="Be kind", **own)])
        opened.append([exchange(n, account="alone", prompt="my own", response="own 1", **own) for n in (4, 5, 6)])
        yield opened


def test_each_text_is_shown_where_enough_accounts_have_it_whatever_it_is_listed_with(store: SqliteStore) -> None:
    crowd, last, alone = store.exchanges([ExchangeId("e00001"), ExchangeId("e00003"), ExchangeId("e00004")])
    own = {"conversation_id": "", "attributes": {}}
    masking = Masking(store, 3, frozenset)
    shown = masking.exchanges([crowd, alone, last])
    assert shown[0] == replace(crowd, **own)  # type: ignore[arg-type]
    assert shown[1] == replace(alone, account_id=AccountId(MASKED), prompt=MASKED, **own)  # type: ignore[arg-type]
    assert shown[1].response == "own 1"  # three accounts were answered so
    two = Masking(store, 4, frozenset).exchanges([crowd])[0]
    assert (two.account_id, two.prompt, two.response, two.system) == (MASKED,) * 4
    assert two == replace(crowd, account_id=MASKED, prompt=MASKED, response=MASKED, system=MASKED, **own)  # type: ignore[arg-type]
    assert Masking(store, 3, frozenset).exchanges(store.exchanges([ExchangeId("e00002")]))[0].response == MASKED
    assert [hit.exchange for hit in masking.hits([Hit(alone, 0.9)])] == [shown[1]]
    assert masking.exchanges([]) == []


def test_the_accused_are_shown_whole(store: SqliteStore) -> None:
    found = store.exchanges([ExchangeId("e00001"), ExchangeId("e00004")])
    shown = Masking(store, 9, lambda: frozenset({AccountId("alone")})).exchanges(found)
    assert (shown[0].prompt, shown[1]) == (MASKED, found[1])


def test_a_dossier_keeps_only_labels_that_enough_have_where_not_all_of_its_accounts_stand_accused(
    store: SqliteStore,
) -> None:
    dossier = made_dossier(with_text=True)
    names = frozenset(account.account_id for account in dossier.finding.accounts)
    assert Masking(store, 3, lambda: names).dossier(dossier) is dossier
    shown = Masking(store, 3, lambda: frozenset(sorted(names)[1:])).dossier(dossier)
    assert [label.accounts + label.elsewhere for label in dossier.attributes] == [20, 2]
    assert [label.accounts + label.elsewhere for label in shown.attributes] == [20]
    nobody = Masking(store, 3, frozenset).dossier(dossier)
    assert {item.prompt for item in nobody.exemplars} == {MASKED}
    assert nobody.finding == dossier.finding


def test_repeats_of_one_account_are_one_account(store: SqliteStore) -> None:
    assert store.shared_texts([ExchangeId("e00004")], 2) == {"e00004": SharedTexts(response=True)}
    assert store.shared_texts([ExchangeId("missing")], 1) == {}


def test_a_family_of_few_keeps_its_counts_and_loses_its_exemplar(store: SqliteStore) -> None:
    made = [
        Family(name, 5, 9, accounts, FamilyLineage.BORN, 0.1, ExchangeId("e1"), 1, 2)  # type: ignore[arg-type]
        for name, accounts in (("f1", 2), ("f2", 3))
    ]
    few, many = Masking(store, 3, frozenset).families(made)
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
            client.ingest(
                [
                    exchange(
                        950 + n, account=f"crowd-{n}", prompt="the question of a crowd", response=f"answer to {n}",
                        system=f"for {n}", attributes={"label": str(n)},
                    )
                    for n in range(3)
                ]
            )  # fmt: skip
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
        listed: list[Exchange] = list(client.list_exchanges(account_id="alone"))
        assert len(listed) == 3
        assert all(("canary" in item.prompt) is sees for item in listed)
        _, _, exemplars = client.get_finding("f-big")
        assert {item.account_id for item in exemplars} == {"account-1", "account-2"}


@pytest.mark.parametrize(("role", "sees"), [(Role.ANALYST, False), (Role.REVIEWER, True)])
def test_naming_more_accounts_beside_shows_no_more_of_one(
    tokens: tuple[str, dict[Role, str]], role: Role, sees: bool
) -> None:
    address, secrets = tokens
    with Client.connect(address, token=secrets[role], retry=ONE) as client:
        crowd = SearchFilter(
            accounts=tuple(AccountId(name) for name in ("account-0", "account-5", "account-6", "alone"))
        )
        for hits in (client.search("please explain", k=40, filter=crowd).hits, client.search("explain", k=80).hits):
            others = [hit.exchange for hit in hits if hit.exchange.exchange_id not in ACCUSED]
            innocent = [item for item in others if not item.account_id.startswith("crowd-")]
            assert len(hits) > 25
            assert len(innocent) > 3
            assert {item.prompt == MASKED for item in innocent} == {not sees}


@pytest.mark.parametrize(("role", "sees"), [(Role.ANALYST, False), (Role.REVIEWER, True)])
def test_a_shared_prompt_is_shown_and_what_is_each_accounts_own_beside_it_is_not(
    tokens: tuple[str, dict[Role, str]], role: Role, sees: bool
) -> None:
    address, secrets = tokens
    with Client.connect(address, token=secrets[role], retry=ONE) as client:
        listed = [item for item in client.list_exchanges(account_id="crowd-0") if item.prompt != MASKED]
        assert [item.prompt for item in listed] == ["the question of a crowd"]
        (mine,) = client.search("the question of a crowd", k=1).hits
        assert mine.exchange.account_id.startswith("crowd-")
        for item in (listed[0], mine.exchange):
            assert (item.response.startswith("answer to"), item.system.startswith("for"), item.attributes != {}) == (
                sees, sees, sees,
            )  # fmt: skip
            assert sees or (item.response, item.system) == (MASKED, MASKED)


def test_what_is_dismissed_accuses_nobody_any_more(tokens: tuple[str, dict[Role, str]]) -> None:
    address, secrets = tokens
    with (
        Client.connect(address, token=secrets[Role.ANALYST], retry=ONE) as analyst,
        Client.connect(address, token=secrets[Role.REVIEWER], retry=ONE) as reviewer,
    ):
        assert [item.prompt == MASKED for item in analyst.get_finding("f-small")[2]] == [False]
        assert analyst.get_dossier("f-small", with_text=True).exemplars[0].prompt != MASKED
        reviewer.review_finding("f-small", ReviewState.DISMISSED, "one class")
        assert [item.prompt == MASKED for item in analyst.get_finding("f-small")[2]] == [True]
        assert analyst.get_dossier("f-small", with_text=True).exemplars[0].prompt == MASKED
        assert analyst.get_finding("f-big")[2][0].prompt != MASKED
        assert reviewer.get_dossier("f-small", with_text=True).exemplars[0].prompt != MASKED


def test_an_analysts_run_on_a_slice_accuses_nobody_and_parameters_of_the_whole_are_a_reviewers(
    tokens: tuple[str, dict[Role, str]], script: Any, until: Callable[..., None]
) -> None:
    address, secrets = tokens
    with Client.connect(address, token=secrets[Role.ANALYST], retry=ONE) as client:
        turned = (ParameterSet(min_samples=2, min_cluster_size=2),)
        with pytest.raises(DeniedError, match="role reviewer"):
            client.start_run(sets=turned)
        script.findings = [
            replace(
                script.findings[0],
                finding_id="s",
                accounts=script.findings[0].accounts[:0]
                + tuple(
                    replace(script.findings[0].accounts[0], account_id=AccountId(name))
                    for name in ("alone", "account-0")
                ),
                exemplars=(ExchangeId("e00900"),),
            )
        ]
        part = Slice(accounts=(AccountId("account-0"), AccountId("alone")))
        run = client.start_run(slice=part, sets=turned)
        until(lambda: client.get_run(run.run_id).state.finished)
        assert [item.finding_id for item in client.list_findings(run.run_id)[1]] == ["s"]
        assert [item.prompt for item in client.get_finding("s")[2]] == [MASKED]
        assert [item.prompt for item in client.get_dossier("s", with_text=True).exemplars] == [MASKED]
        assert all(item.prompt == MASKED for item in client.list_exchanges(account_id="alone"))
    with Client.connect(address, token=secrets[Role.REVIEWER], retry=ONE) as client:
        assert client.start_run(sets=turned).sets == turned
