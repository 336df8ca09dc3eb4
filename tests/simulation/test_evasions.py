"""Each way of hiding does to the traffic what its name says."""

from collections import defaultdict
from random import Random

import pytest

from coterie.domain import Exchange
from coterie.simulation import Config, simulate
from coterie.simulation.builtin import builtin_sources
from coterie.simulation.rewording import change_numbers, has_options, paraphrase, rotate_options

ACCOUNTS = 120


def guilty_exchanges(evasion: str, seed: int = 3, campaigns: int = 2, days: int = 7) -> dict[str, list[Exchange]]:
    traffic = simulate(Config(seed=seed, accounts=ACCOUNTS, campaigns=campaigns, evasions=(evasion,), days=days))
    found = defaultdict(list)
    for exchange in traffic.events:
        if traffic.truth[exchange.account_id]["label"] != "benign":
            found[exchange.account_id].append(exchange)
    return found


def test_language_gives_each_account_one() -> None:
    languages = {
        item.text: item.language
        for source in builtin_sources(3, ACCOUNTS)
        if source.group == "F" and len(source.languages) > 1
        for item in source.items
    }
    spoken = [{languages[item.prompt] for item in held} for held in guilty_exchanges("language").values()]
    assert all(len(found) == 1 for found in spoken)
    assert len(set().union(*spoken)) >= 4


def test_contiguous_slices_hold_few_subjects() -> None:
    subjects = {
        item.text: item.subject
        for source in builtin_sources(3, ACCOUNTS)
        if source.group in "ABD" and source.subjects
        for item in source.items
    }

    def subjects_held(evasion: str) -> float:
        known = [
            [subjects[exchange.prompt] for exchange in held if exchange.prompt in subjects]
            for held in guilty_exchanges(evasion, campaigns=9).values()
        ]
        shares = [len(set(found)) / len(found) for found in known if len(found) >= 10]
        assert len(shares) >= 5
        return sum(shares) / len(shares)

    assert subjects_held("contiguous") < 0.5 * subjects_held("none")


def test_small_and_slow_and_fast() -> None:
    traffic = simulate(Config(seed=3, accounts=ACCOUNTS, campaigns=3, evasions=("small",)))
    sizes = defaultdict(int)
    for entry in traffic.truth.values():
        sizes[entry["label"]] += 1
    assert all(3 <= size <= 5 for label, size in sizes.items() if label != "benign")
    slow = [len(held) / 7 for held in guilty_exchanges("slow").values()]
    fast = [len(held) / 7 for held in guilty_exchanges("fast", campaigns=6).values()]
    assert max(slow) < 3
    # Nominally 26 a day; a list that is too short for all of them shortens every slice.
    assert sum(fast) / len(fast) > 15


def test_churned_accounts_live_days() -> None:
    lives = [held[-1].time_us - held[0].time_us for held in guilty_exchanges("churn", days=14).values()]
    assert max(lives) <= 3 * 86_400 * 1_000_000


def test_padding_differs_from_prompt_to_prompt() -> None:
    for held in guilty_exchanges("padding").values():
        assert len({exchange.prompt.split("\n")[0] for exchange in held}) > len(held) / 4
        assert len({exchange.system for exchange in held}) > 3


def test_rotated_options_are_the_same_options() -> None:
    text = "Which one?\nA. red\nB. blue\nC. green\nD. grey"
    turned = rotate_options(Random(1), text)
    assert turned != text
    assert has_options(turned)
    assert sorted(line[3:] for line in turned.split("\n")[1:]) == ["blue", "green", "grey", "red"]
    assert [line[:3] for line in turned.split("\n")[1:]] == ["A. ", "B. ", "C. ", "D. "]
    assert rotate_options(Random(1), "no options") == "no options"


@pytest.mark.parametrize("seed", range(5))
def test_paraphrase_changes_words_and_keeps_most(seed: int) -> None:
    text = "Mei buys 12 mugs using coupons. How many mugs does Mei have in total if there are 5 in each box?"
    other = paraphrase(Random(seed), text)
    assert other != text
    assert len(set(text.split()) & set(other.split())) >= 8


def test_two_ways_of_hiding_at_once() -> None:
    traffic = simulate(Config(seed=3, accounts=ACCOUNTS, campaigns=2, evasions=("contiguous+prefix+cover50",)))
    kinds = {entry["kind"].partition("/")[2] for entry in traffic.truth.values() if entry["label"] != "benign"}
    assert kinds == {"contiguous+prefix+cover50"}


def test_prefix_is_one_an_account_and_another_for_the_next() -> None:
    openings = [{exchange.prompt[:6] for exchange in held} for held in guilty_exchanges("prefix").values()]
    assert all(len(found) == 1 for found in openings)
    assert len(set().union(*openings)) > len(openings) / 3


def test_specialised_accounts_hold_one_capability() -> None:
    sources = defaultdict(set)
    for source in builtin_sources(3, ACCOUNTS):
        for item in source.items:
            sources[item.text].add(source.name)
    held = [
        set.intersection(*(sources[exchange.prompt] for exchange in sent))
        for sent in guilty_exchanges("specialise").values()
    ]
    assert all(held)
    assert len(set().union(*held)) >= 5


def test_repeats_are_a_few_percent_of_the_texts() -> None:
    senders = defaultdict(set)
    for account, held in guilty_exchanges("repeats", campaigns=3).items():
        for exchange in held:
            senders[exchange.prompt].add(account)
    shared = sum(len(accounts) > 1 for accounts in senders.values()) / len(senders)
    assert 0.01 < shared < 0.08


def test_changed_numbers_and_names_leave_the_rest() -> None:
    text = "Natalia has 12 mugs. Mei gives Natalia 5 more. How many mugs does Natalia have?"
    other = change_numbers(Random(2), text)
    assert "Natalia" not in other
    assert "Mei" not in other
    assert " 12 " not in other
    assert other.startswith(other.split()[0])
    assert other.count(other.split()[0]) == 3
    assert [word for word in other.split() if word.islower()] == [word for word in text.split() if word.islower()]
