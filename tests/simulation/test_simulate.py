"""Composed traffic: deterministic, opaque, with every class it promises."""

import gzip
import json
import time
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from coterie.domain import Exchange, InvalidError, check_exchange, exchange_from_json, normalise
from coterie.simulation import CROWDS, EVASIONS, KINDS, Config, Traffic, simulate, write_traffic
from coterie.simulation.builtin import builtin_sources
from coterie.simulation.campaigns import HARD_EVASIONS
from coterie.simulation.library import Item, Source, split_sources

COMMON = {
    "person",
    "public",
    "app_template",
    "support_app",
    "homework",
    "viral",
    "routine",
    "researcher",
    "translation_job",
    "moderation_job",
}
UNCOMMON = {
    "agent_framework",
    "enterprise",
    "lab",
    "exam_bank",
    "exam_prep",
    "reseller",
    "shared_passage",
    "launch",
    "rare_language",
    "breaking_news",
}


def prompts_by_account(traffic: Traffic) -> dict[str, list[str]]:
    found = defaultdict(list)
    for exchange in traffic.events:
        found[exchange.account_id].append(exchange.prompt)
    return found


def campaigns_of(traffic: Traffic) -> dict[str, list[str]]:
    found = defaultdict(list)
    for account, entry in traffic.truth.items():
        if entry["label"] != "benign":
            found[entry["label"]].append(account)
    return found


def benign_kinds(traffic: Traffic) -> Counter[str]:
    return Counter(entry["kind"] for entry in traffic.truth.values() if entry["label"] == "benign")


def test_same_seed_same_bytes_other_seed_other_traffic(tmp_path: Path) -> None:
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        write_traffic(simulate(Config(seed=seed, accounts=60)), tmp_path / name)
    for file in ("events.jsonl", "truth.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
        assert (tmp_path / "one" / file).read_bytes() != (tmp_path / "three" / file).read_bytes()


def test_written_lines_are_what_ingest_takes(tmp_path: Path) -> None:
    traffic = simulate(Config(seed=2, accounts=40, mix="hard", campaigns=2))
    write_traffic(traffic, tmp_path)
    lines = (tmp_path / "events.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    assert [exchange_from_json(line) for line in lines] == traffic.events
    assert json.loads((tmp_path / "truth.json").read_text()) == traffic.truth


def test_write_to_a_file_in_the_way_says_so(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(InvalidError, match="name another folder"):
        write_traffic(Traffic([], {}), tmp_path / "out")


@pytest.mark.parametrize("mix", ["easy", "hard"])
def test_exchanges_are_valid_unique_and_in_order(mix: str, request: pytest.FixtureRequest) -> None:
    traffic: Traffic = request.getfixturevalue(mix)
    for exchange in traffic.events:
        check_exchange(exchange)
    assert len({exchange.exchange_id for exchange in traffic.events}) == len(traffic.events)
    times = [exchange.time_us for exchange in traffic.events]
    assert times == sorted(times)
    assert times[-1] - times[0] < 7 * 86_400 * 1_000_000
    assert {exchange.account_id for exchange in traffic.events} == set(traffic.truth)


def test_easy_mix_has_the_promised_size(easy: Traffic) -> None:
    assert 11_000 <= len(easy.events) <= 20_000
    assert len(easy.truth) == 400
    campaigns = campaigns_of(easy)
    assert len(campaigns) == 8
    assert all(5 <= len(members) <= 60 for members in campaigns.values())
    assert 0.24 <= sum(map(len, campaigns.values())) / 400 <= 0.31


def test_four_hundred_accounts_take_seconds() -> None:
    started = time.perf_counter()
    simulate(Config(seed=3))
    assert time.perf_counter() - started < 15


def test_every_class_is_there(easy: Traffic, hard: Traffic) -> None:
    assert set(benign_kinds(easy)) == COMMON
    assert set(benign_kinds(hard)) == COMMON | UNCOMMON
    looks_guilty = 1 - benign_kinds(easy)["person"] / benign_kinds(easy).total()
    assert 0.25 <= looks_guilty <= 0.45


def test_hard_mix_campaigns_hide_in_every_way() -> None:
    traffic = simulate(Config(seed=4, mix="hard", accounts=600, campaigns=17))
    hidden = {name.split("-", 3)[-1] for name in campaigns_of(traffic)}
    assert hidden == set(HARD_EVASIONS)


def test_null_mix_and_no_campaigns_have_no_guilty() -> None:
    for config in (Config(seed=1, mix="null", accounts=200), Config(seed=1, campaigns=0, accounts=200)):
        traffic = simulate(config)
        assert {entry["label"] for entry in traffic.truth.values()} == {"benign"}
        assert len(traffic.truth) == 200
    assert set(benign_kinds(simulate(Config(seed=1, mix="null", accounts=200)))) == COMMON | UNCOMMON


@pytest.mark.parametrize("count", [1, 3, 12])
def test_as_many_campaigns_as_asked(count: int) -> None:
    assert len(campaigns_of(simulate(Config(seed=1, campaigns=count, accounts=300)))) == count


def test_slices_of_a_campaign_are_disjoint(easy: Traffic) -> None:
    prompts = prompts_by_account(easy)
    for members in campaigns_of(easy).values():
        held = [set(prompts[account]) for account in members]
        assert sum(map(len, held)) == len(set().union(*held))
        assert len(set().union(*held)) >= 80


def test_cover_is_the_asked_share_of_each_account() -> None:
    lists = _work_texts(seed=8)
    for cover in (0.0, 0.5, 0.8):
        traffic = simulate(Config(seed=8, campaigns=3, accounts=100, cover=cover))
        prompts = prompts_by_account(traffic)
        for members in campaigns_of(traffic).values():
            shares = [sum(text in lists for text in prompts[account]) / len(prompts[account]) for account in members]
            assert sum(shares) / len(shares) == pytest.approx(1 - cover, abs=0.12)


def _work_texts(seed: int) -> "_Containing":
    items = [item.text for source in builtin_sources(seed, 100) if source.group != "C" for item in source.items]
    return _Containing(items)


class _Containing:
    """Membership of texts that hold a list's item, whatever frame is round it."""

    def __init__(self, items: list[str]) -> None:
        self._items = items

    def __contains__(self, text: str) -> bool:
        return any(item in text for item in self._items)


def test_background_multiplies_the_innocent_only() -> None:
    single, triple = (simulate(Config(seed=2, accounts=100, background=factor)) for factor in (1.0, 3.0))
    assert campaigns_of(single).keys() == campaigns_of(triple).keys()
    assert benign_kinds(triple).total() == pytest.approx(3 * benign_kinds(single).total(), abs=2)


def test_rate_multiplies_campaign_volume() -> None:
    def volume(rate: float) -> int:
        traffic = simulate(Config(seed=2, accounts=100, campaigns=2, rate=rate))
        return sum(traffic.truth[exchange.account_id]["label"] != "benign" for exchange in traffic.events)

    assert volume(2.0) > 1.6 * volume(1.0)


def test_ids_and_attributes_do_not_tell_the_guilty() -> None:
    """A classifier on everything but texts, times and volumes is near chance on accounts that it has not seen."""
    rows, labels = [], []
    for seed in (1, 2, 3):
        traffic = simulate(Config(seed=seed, accounts=300))
        position = {account: place / len(traffic.truth) for place, account in enumerate(traffic.truth)}
        held = defaultdict(list)
        for exchange in traffic.events:
            held[exchange.account_id].append(exchange)
        for account, exchanges in held.items():
            rows.append([*_metadata(exchanges), position[account]])
            labels.append(traffic.truth[account]["label"] != "benign")
    features = np.array(rows, dtype=np.float64)
    guilty = np.array(labels)
    features = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-9)
    fold = np.random.default_rng(0).integers(0, 5, len(guilty))
    area = np.mean([_auc(_logistic(features, guilty, fold != k)[fold == k], guilty[fold == k]) for k in range(5)])
    # 240 against 660 accounts: the standard error of an area is .022. What remains is that some people hold whole
    # conversations, which is no accident of the simulation.
    assert 0.42 < area < 0.58
    for column in range(features.shape[1]):
        assert 0.4 < _auc(features[:, column], guilty) < 0.6, column


def _metadata(exchanges: list[Exchange]) -> list[float]:
    """What an account shows besides texts, times and volumes: ids, attributes, models, tokens, what is present."""
    first = exchanges[0]
    clients = ("web", "python-sdk", "node-sdk", "ios", "android", "curl", "go-sdk")
    models = ("nimbus-large", "nimbus-small", "nimbus-code", "nimbus-large-2")
    return [
        float(int(first.account_id.removeprefix("acct_"), 16)),
        float(int(first.exchange_id.removeprefix("ex_"), 16)),
        float(first.attributes["asn"][2:]),
        float("payment" in first.attributes),
        float(first.attributes.get("payment", "card-0").startswith("card-")),
        float("organisation" in first.attributes),
        float(np.mean([bool(x.response) for x in exchanges])),
        float(np.mean([bool(x.conversation_id) for x in exchanges])),
        float(np.mean(np.log([x.output_tokens for x in exchanges]))),
        float(np.std(np.log([x.output_tokens for x in exchanges]))),
        float(np.mean([x.input_tokens - (len(x.prompt) + len(x.system)) // 4 for x in exchanges])),
        *(float(first.attributes["client"] == name) for name in clients),
        *(float(np.mean([x.model == name for x in exchanges])) for name in models),
    ]


def _logistic(features: np.ndarray, guilty: np.ndarray, train: np.ndarray) -> np.ndarray:
    """The scores of a ridge logistic regression, fitted by Newton's method on the rows `train`."""
    design = np.column_stack((np.ones(len(features)), features))
    weights = np.zeros(design.shape[1])
    for _ in range(12):
        share = 1 / (1 + np.exp(-design[train] @ weights))
        slope = design[train].T @ (share - guilty[train]) + weights
        curve = (design[train].T * (share * (1 - share))) @ design[train] + np.eye(len(weights))
        weights -= np.linalg.solve(curve, slope)
    return design @ weights


def _auc(score: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve."""
    left, right = score[positive][:, None], score[~positive][None, :]
    return float(np.mean((left > right) + 0.5 * (left == right)))


def test_one_enterprise_is_one_organisation_and_nobody_else_shares_one(hard: Traffic) -> None:
    holders = defaultdict(set)
    for exchange in hard.events:
        if "organisation" in exchange.attributes:
            holders[exchange.attributes["organisation"]].add(exchange.account_id)
    for accounts in holders.values():
        if len(accounts) > 1:
            assert {hard.truth[account]["kind"] for account in accounts} <= {"enterprise", "reseller"}
    seats = {account for account, entry in hard.truth.items() if entry["kind"] == "enterprise"}
    assert seats <= set().union(*(accounts for accounts in holders.values() if len(accounts) > 1))


def test_conversations_are_whole_and_in_order(easy: Traffic) -> None:
    turns = defaultdict(list)
    for exchange in easy.events:
        if exchange.conversation_id:
            turns[exchange.account_id, exchange.conversation_id].append(exchange.turn)
    assert len(turns) > 300
    assert all(found == list(range(len(found))) for found in turns.values())


def test_homework_overlaps_and_a_campaign_does_not(easy: Traffic) -> None:
    prompts = prompts_by_account(easy)
    pupils = [account for account, entry in easy.truth.items() if entry["kind"] == "homework"]
    popular = Counter(text for account in pupils for text in set(prompts[account]))
    assert popular.most_common(5)[-1][1] >= 4


def test_split_halves_never_share_a_text() -> None:
    halves = [
        {normalise(item.text) for source in split_sources(builtin_sources(1, 100), side) for item in source.items}
        for side in ("tune", "test")
    ]
    assert not halves[0] & halves[1]
    assert min(map(len, halves)) > 5_000


def test_split_keeps_a_text_on_one_side_in_every_source() -> None:
    texts = [f"text {number}" for number in range(40)]
    first = Source("a", "A", [Item(text, conversation=f"c{number // 3}") for number, text in enumerate(texts)])
    second = Source("b", "C", [Item(text) for text in texts])
    sides = {}
    for side in ("tune", "test"):
        for source in split_sources([first, second], side):
            for item in source.items:
                assert sides.setdefault(item.text, side) == side
    assert set(sides.values()) == {"tune", "test"}


def test_builtin_lists_hold_hundreds_of_distinct_items() -> None:
    sources = builtin_sources(1, 400)
    for source in sources:
        distinct = {normalise(item.text) for item in source.items}
        assert len(distinct) >= (250 if source.group in "ABDF" else 900), source.name
    assert {source.group for source in sources} == set("ABCDF")
    assert sum(source.group == "A" for source in sources) >= 8
    languages = {item.language for source in sources for item in source.items}
    assert {"en", "de", "fr", "es", "pt"} <= languages


def test_people_have_subjects_of_their_own(easy: Traffic) -> None:
    """Two halves of one person share more words than halves of two people; for the public they do not."""
    prompts = prompts_by_account(easy)

    def overlap(kind: str) -> float:
        bags = []
        for account, entry in easy.truth.items():
            texts = prompts[account]
            if entry["kind"] == kind and len(texts) >= 16:
                words = [{word for text in half for word in text.lower().split()} for half in (texts[::2], texts[1::2])]
                bags.append(words)
        own = [len(a & b) / len(a | b) for a, b in bags]
        others = [len(a & b) / len(a | b) for (a, _), (_, b) in pairwise(bags)]
        return (sum(own) / len(own)) / (sum(others) / len(others))

    assert overlap("person") > 1.4
    assert overlap("public") < 1.25


@pytest.mark.parametrize(
    "change",
    [
        {"accounts": 5},
        {"cover": 1.0},
        {"cover": float("nan")},
        {"campaigns": -1},
        {"campaigns": 200},
        {"background": 0.0},
        {"mix": "medium"},
        {"split": "half"},
        {"evasions": ("invisible",)},
        {"evasions": ()},
        {"mix": "null", "campaigns": 2},
        {"evasions": ("persona+invisible",)},
        {"kinds": ("anything",)},
        {"crowds": ("mob",)},
        {"people": 1.0},
        {"volume": 0.0},
        {"spread": -1.0},
        {"members": 2},
        {"members": 200, "campaigns": 2},
        {"requests_per_day": 0.0},
        {"days": 0},
    ],
)
def test_bad_options_are_named(change: dict[str, object]) -> None:
    with pytest.raises(InvalidError) as caught:
        Config(**change)
    assert caught.value.field in change
    assert caught.value.field in str(caught.value)


@pytest.mark.parametrize("evasion", EVASIONS)
def test_each_evasion_alone(evasion: str) -> None:
    traffic = simulate(Config(seed=3, accounts=80, campaigns=2, evasions=(evasion,)))
    assert all(name.endswith(f"-{evasion}") for name in campaigns_of(traffic))
    assert all(len(members) >= 3 for members in campaigns_of(traffic).values())


def test_persona_is_the_same_within_an_account_and_differs_between() -> None:
    traffic = simulate(Config(seed=3, accounts=80, campaigns=1, evasions=("persona",)))
    heads = defaultdict(set)
    for exchange in traffic.events:
        if traffic.truth[exchange.account_id]["label"] != "benign":
            heads[exchange.account_id].add(exchange.system or exchange.prompt.split("\n\n")[0])
    assert all(len(found) == 1 for found in heads.values())
    assert len(set().union(*heads.values())) > len(heads) / 2


# Corpus folders


def _line(**record: object) -> bytes:
    return json.dumps({"source": "s", "id": "1", "licence": "x", **record}).encode() + b"\n"


def _write_corpus(folder: Path) -> None:
    people = [
        _line(text=f"how do I mend my {thing} number {n}", meta={"forum": thing})
        for thing in ("kettle", "bicycle", "roof", "guitar")
        for n in range(60)
    ]
    (folder / "C_things.jsonl").write_bytes(b"".join(people))
    work = b"".join(_line(text=f"compute {n} times {n + 3}", response=str(n)) for n in range(900))
    (folder / "A_products.jsonl.gz").write_bytes(gzip.compress(work))


def test_another_corpus_of_the_same_layout_works(tmp_path: Path) -> None:
    _write_corpus(tmp_path)
    traffic = simulate(Config(corpus=tmp_path, accounts=60, campaigns=2, mix="hard"))
    assert len(campaigns_of(traffic)) == 2
    assert any("number 7" in exchange.prompt for exchange in traffic.events)


def test_unknown_files_and_bad_records_are_skipped(tmp_path: Path) -> None:
    _write_corpus(tmp_path)
    clean = simulate(Config(corpus=tmp_path, accounts=40, campaigns=1))
    (tmp_path / "README.md").write_text("notes")
    (tmp_path / "Z_other.jsonl").write_bytes(_line(text="never"))
    (tmp_path / "A_folder.jsonl").mkdir()
    (tmp_path / "A_damaged.jsonl.gz").write_bytes(b"\x1f\x8b\x08damaged")
    bad = [b"not json\n", b"[1]\n", _line(text=7), _line(text=" \x00 "), b"\xff\xfe\n", _line(meta=3)]
    with (tmp_path / "C_things.jsonl").open("ab") as lines:
        lines.writelines(bad)
    assert simulate(Config(corpus=tmp_path, accounts=40, campaigns=1)) == clean


def test_unstorable_characters_and_long_texts_are_made_to_fit(tmp_path: Path) -> None:
    _write_corpus(tmp_path)
    odd = "".join(f'{{"text": "odd \\u0000 {n} \\ud800 {"long " * 2000}"}}\n' for n in range(300))
    (tmp_path / "C_odd.jsonl").write_text(odd)
    traffic = simulate(Config(corpus=tmp_path, accounts=60, campaigns=0, prompt_chars_max=500))
    assert any(exchange.prompt.startswith("odd  ") for exchange in traffic.events)
    for exchange in traffic.events:
        check_exchange(exchange)
        assert len(exchange.prompt) <= 500


def test_a_corpus_without_what_is_needed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="name one that exists"):
        simulate(Config(corpus=tmp_path / "missing"))
    with pytest.raises(InvalidError, match="C_"):
        simulate(Config(corpus=tmp_path))
    (tmp_path / "C_people.jsonl").write_bytes(b"".join(_line(text=f"question {n}") for n in range(50)))
    with pytest.raises(InvalidError, match="deal out"):
        simulate(Config(corpus=tmp_path))
    assert simulate(Config(corpus=tmp_path, campaigns=0, accounts=30)).events


@pytest.mark.corpus
def test_shared_corpus(corpus: Path) -> None:
    traffic = simulate(Config(corpus=corpus, seed=1, mix="hard"))
    assert 12_000 <= len(traffic.events) <= 22_000
    assert set(benign_kinds(traffic)) == COMMON | UNCOMMON
    for exchange in traffic.events:
        check_exchange(exchange)


def test_named_crowds_share_the_accounts_in_crowds_of_ten() -> None:
    traffic = simulate(Config(seed=1, mix="null", accounts=300, crowds=("exam_bank",), people=0.25))
    assert benign_kinds(traffic) == {"exam_bank": 300, "person": 100}
    sizes = Counter(entry["crowd"] for entry in traffic.truth.values() if entry["kind"] == "exam_bank")
    assert len(sizes) == 30
    assert all(3 <= size <= 17 for size in sizes.values())
    two = simulate(Config(seed=1, mix="null", accounts=100, crowds=("enterprise", "public"), people=0.0))
    assert benign_kinds(two) == {"enterprise": 50, "public": 50}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_sizes_and_rates_as_asked(kind: str) -> None:
    traffic = simulate(Config(seed=2, accounts=120, campaigns=2, kinds=(kind,), members=7, requests_per_day=3))
    campaigns = campaigns_of(traffic)
    assert [len(members) for members in campaigns.values()] == [7, 7]
    assert all(f"-{kind}-" in name for name in campaigns)
    prompts = prompts_by_account(traffic)
    sent = [len(prompts[account]) for members in campaigns.values() for account in members]
    assert sum(sent) / len(sent) == pytest.approx(21, rel=0.15)


@pytest.fixture(scope="module")
def every_crowd() -> Traffic:
    return simulate(Config(seed=2, mix="null", accounts=10 * 3 * len(CROWDS), crowds=CROWDS, people=0.0, volume=0.5))


def test_every_class_is_there_by_name_in_three_crowds(every_crowd: Traffic) -> None:
    crowds = defaultdict(set)
    for entry in every_crowd.truth.values():
        crowds[entry["kind"]].add(entry["crowd"])
    assert {kind: len(names) for kind, names in crowds.items()} == dict.fromkeys(CROWDS, 3)
    for exchange in every_crowd.events:
        check_exchange(exchange)


def test_crowds_asked_for_by_name_have_templates_of_their_own() -> None:
    """What crowds of one class share is less than what one crowd shares, so that each is an observation."""
    names = ("app_template", "agent_framework", "exam_prep", "code_assistant", "seo_tool", "hackathon")
    traffic = simulate(Config(seed=4, mix="null", accounts=60 * len(names), crowds=names, people=0.0, volume=0.5))
    openings: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for exchange in traffic.events:
        entry = traffic.truth[exchange.account_id]
        openings[entry["kind"]][exchange.system + exchange.prompt[:30]].add(entry["crowd"])
    for kind, crowds_of in openings.items():
        used_by_most = max(len(crowds) for crowds in crowds_of.values())
        assert used_by_most <= 3, kind


def test_marked_and_unmarked_enterprise(every_crowd: Traffic) -> None:
    organisations = defaultdict(Counter)
    for account, attributes in {x.account_id: x.attributes for x in every_crowd.events}.items():
        entry = every_crowd.truth[account]
        organisations[entry["crowd"]][attributes.get("organisation", "")] += 1
    marked = [counts for crowd, counts in organisations.items() if crowd.startswith("enterprise-")]
    unmarked = [counts for crowd, counts in organisations.items() if crowd.startswith("enterprise_unmarked-")]
    assert all(len(counts) == 1 and "" not in counts for counts in marked)
    assert all(max(count for name, count in counts.items() if name) <= 1 for counts in unmarked if len(counts) > 1)
    assert sum(counts[""] for counts in unmarked) > 15


def test_a_classroom_asks_questions_of_its_own(every_crowd: Traffic) -> None:
    prompts = prompts_by_account(every_crowd)
    senders = defaultdict(set)
    for account, entry in every_crowd.truth.items():
        if entry["kind"] == "classroom":
            for text in prompts[account]:
                senders[text].add(account)
    assert sum(len(accounts) > 1 for accounts in senders.values()) / len(senders) < 0.1


def test_named_crowds_are_deterministic() -> None:
    config = Config(seed=9, mix="hard", accounts=120, campaigns=1, crowds=CROWDS[-10:], volume=0.5, spread=1.5)
    assert simulate(config) == simulate(config)


def test_volume_and_spread() -> None:
    def volumes(**change: float) -> list[int]:
        traffic = simulate(Config(seed=1, mix="null", accounts=80, **change))
        counts = Counter(exchange.account_id for exchange in traffic.events)
        return sorted(counts[account] for account, entry in traffic.truth.items() if entry["kind"] == "person")

    plain, double, wide = volumes(), volumes(volume=2.0), volumes(spread=2.0)
    assert double[len(double) // 2] == pytest.approx(2 * plain[len(plain) // 2], rel=0.35)
    assert wide[-1] > 1.5 * plain[-1]
    assert wide[len(wide) // 10] < plain[len(plain) // 10]


def test_many_people_do_not_all_ask_the_same() -> None:
    """A thousand accounts on text for forty: most of what people ask is still theirs alone."""
    traffic = simulate(Config(seed=1, accounts=40, background=25, campaigns=0, responses=0))
    senders = defaultdict(set)
    for exchange in traffic.events:
        if traffic.truth[exchange.account_id]["kind"] == "person":
            senders[normalise(exchange.prompt)].add(exchange.account_id)
    sent = sum(map(len, senders.values()))
    assert sum(len(accounts) for accounts in senders.values() if len(accounts) > 1) / sent < 0.4


def test_source_splits_share_no_text_and_no_source_where_there_are_two() -> None:
    sources = builtin_sources(1, 60)
    halves = {side: split_sources(sources, f"{side}-sources") for side in ("tune", "test")}
    texts = [{normalise(item.text) for source in half for item in source.items} for half in halves.values()]
    assert not texts[0] & texts[1]
    names = [{source.name for source in half if source.group in "ABD"} for half in halves.values()]
    assert not names[0] & names[1]
    for half in halves.values():
        assert {source.group for source in half} == set("ABCDF")
        assert any(source.conversations for source in half)
    assert simulate(Config(seed=1, accounts=60, mix="hard", campaigns=3, split="test-sources")).events
