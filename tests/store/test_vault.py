"""Texts at rest: what the files hold in each mode, and that everything else is as it was."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from coterie.domain import (
    BenchmarkItem,
    ConflictError,
    Exchange,
    SearchFilter,
    TextField,
    TextMode,
    TextPolicy,
    UnavailableError,
    text_digest,
)
from coterie.store import SqliteStore, open_store

Make = Callable[..., Exchange]
Embed = Callable[[SqliteStore], list[int]]
KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
ENCRYPT, DROP = TextPolicy(TextMode.ENCRYPT, KEY), TextPolicy(TextMode.DROP)
CANARIES = ("canary-prompt", "canary-answer", "canary-system", "canary-label", "canary-item", "canary-key")


def made(exchange: Make, number: int = 1, **more: object) -> Exchange:
    values = {
        "prompt": f"canary-prompt {number}",
        "response": f"canary-answer {number}",
        "system": "canary-system words",
        "attributes": {"organisation": "canary-label", "tier": "free"},
    }
    return exchange(number, **{**values, **more})


def holding(data_dir: Path) -> set[str]:
    """The canaries that any file of the folder holds."""
    content = b"".join(path.read_bytes() for path in data_dir.rglob("*") if path.is_file())
    return {canary for canary in CANARIES if canary.encode() in content}


def test_encrypted_nothing_can_be_read_in_any_file_and_everything_through_the_store(
    data_dir: Path, exchange: Make, embed: Embed
) -> None:
    sent = [made(exchange, number) for number in range(5)]
    with open_store(data_dir, texts=ENCRYPT) as store:
        assert store.append(sent).stored == 5
        items = [BenchmarkItem("i1", "canary-item text", "canary-item answer"), BenchmarkItem("i2", "canary-prompt 1")]
        store.register_benchmark("b", items, 1)
        assert "canary-prompt 0" in [text for _, text in store.pending_texts(10)]
        embed(store)
        assert holding(data_dir) == set()
    with open_store(data_dir, texts=ENCRYPT) as store:
        assert holding(data_dir) == set()
        assert store.exchanges([item.exchange_id for item in sent]) == sent
        ids = store.window().prompt
        assert store.texts(ids) == [item.prompt for item in sent]
        assert store.window().attribute_values["organisation"] == ("canary-label",)
        found = store.exchanges_of_texts(TextField.PROMPT, ids, SearchFilter(), limit_per_text=1)
        assert len(found) == 5
        labelled = SearchFilter(attributes={"organisation": "canary-label", "tier": "free"})
        assert len(store.candidate_texts(TextField.PROMPT, labelled, limit=9)) == 5
        assert store.organisations(["a"]) == {"a": "canary-label"}  # type: ignore[list-item]
        other = SearchFilter(attributes={"organisation": "canary"})
        assert len(store.candidate_texts(TextField.PROMPT, other, limit=9)) == 0
        assert store.benchmark_items("b")[0] == items
        assert store.register_benchmark("b", items, 2).items == 2


def test_equal_texts_are_one_when_encrypted_and_a_conflict_is_seen(data_dir: Path, exchange: Make) -> None:
    with open_store(data_dir, texts=ENCRYPT) as store:
        store.append([made(exchange, 1), made(exchange, 2, prompt="canary-prompt  1 ")])
        assert store.stats().texts == 4  # one prompt, two answers, one system prompt
        again = store.append([made(exchange, 1), made(exchange, 2), made(exchange, 1, attributes={})])
        assert (again.duplicates, [item.index for item in again.rejections]) == (1, [1, 2])
        assert "prompt" in again.rejections[0].message
        assert "attributes" in again.rejections[1].message
        with store._readers.snapshot() as connection:
            digests = {row[0] for row in connection.execute("SELECT digest FROM text")}
        assert text_digest("canary-prompt 1") not in digests


def test_what_is_erased_goes_with_its_labels(data_dir: Path, exchange: Make) -> None:
    with open_store(data_dir, texts=ENCRYPT) as store:
        store.append([made(exchange, 1), made(exchange, 2, account_id="b", attributes={"tier": "free"})])
        store.erase_account("a", 1)  # type: ignore[arg-type]
        with store._readers.snapshot() as connection:
            assert connection.execute("SELECT count(*) FROM attribute").fetchone() == (1,)
            assert connection.execute("SELECT count(*) FROM text").fetchone() == (3,)


def test_a_sealed_text_does_not_open_in_another_row(data_dir: Path, exchange: Make) -> None:
    with open_store(data_dir, texts=ENCRYPT) as store:
        store.append([made(exchange, 1)])
        prompt, answer = (store.exchange_text("e1", field) for field in TextField)  # type: ignore[arg-type]
        store._writer.run(
            lambda t: t.connection.execute(
                "UPDATE text SET sealed = (SELECT sealed FROM text WHERE text_id = ?) WHERE text_id = ?",
                (answer, prompt),
            )
        )
        with pytest.raises(Exception, match="store failed"):
            store.texts(np.array([prompt]))


def test_derived_vectors_go_by_keyed_digests(data_dir: Path, unit: Callable[..., np.ndarray], exchange: Make) -> None:
    digests = [text_digest("canary")]
    with open_store(data_dir, texts=ENCRYPT) as store:
        store.put_view_vectors("m", digests, unit(1))
        assert list(store.view_vectors("m", digests)) == digests
        with store._readers.snapshot() as connection:
            assert connection.execute("SELECT digest FROM view_vector").fetchone()[0] not in digests


def test_the_key_is_wrapped_anew_and_the_texts_stay(data_dir: Path, exchange: Make) -> None:
    with open_store(data_dir, texts=ENCRYPT) as store:
        store.append([made(exchange, 1)])
        with store._readers.snapshot() as connection:
            before = connection.execute("SELECT sealed FROM text ORDER BY text_id").fetchall()
    with open_store(data_dir) as store:  # without a key: what a rotation and a backup need
        with pytest.raises(UnavailableError, match="not the key"):
            store.rotate_text_key(OTHER, KEY)
        store.rotate_text_key(KEY, OTHER)
        with pytest.raises(UnavailableError, match="text_key_file"):
            store.append([made(exchange, 2)])
    with pytest.raises(UnavailableError, match="not the key"):
        open_store(data_dir, texts=ENCRYPT)
    with open_store(data_dir, texts=TextPolicy(TextMode.ENCRYPT, OTHER)) as store:
        assert store.exchange("e1").prompt == "canary-prompt 1"  # type: ignore[arg-type]
        with store._readers.snapshot() as connection:
            assert connection.execute("SELECT sealed FROM text ORDER BY text_id").fetchall() == before


@pytest.mark.parametrize("first", [TextPolicy(), ENCRYPT, DROP, TextPolicy(TextMode.DROP, KEY)])
def test_a_folder_keeps_to_its_mode(data_dir: Path, exchange: Make, first: TextPolicy) -> None:
    policies = [TextPolicy(), ENCRYPT, DROP, TextPolicy(TextMode.DROP, KEY)]
    for policy in [*policies, first]:  # nothing is stored yet: the last one counts
        open_store(data_dir, texts=policy).close()
    with open_store(data_dir, texts=first) as store:
        store.append([made(exchange, 1)])
    for policy in policies:
        if policy == first:
            open_store(data_dir, texts=policy).close()
        else:
            with pytest.raises(ConflictError, match=r"began with"):
                open_store(data_dir, texts=policy)
    if first.key is None:
        with open_store(data_dir) as store, pytest.raises(ConflictError, match="nothing to rotate"):
            store.rotate_text_key(KEY, OTHER)


def test_a_folder_from_before_keeps_its_texts(data_dir: Path, exchange: Make) -> None:
    with open_store(data_dir) as store:  # as every version before: no mode is recorded
        store.append([made(exchange, 1)])
    with pytest.raises(ConflictError, match="texts = keep"):
        open_store(data_dir, texts=ENCRYPT)
    with open_store(data_dir, texts=TextPolicy()) as store:
        assert store.exchange("e1").prompt == "canary-prompt 1"  # type: ignore[arg-type]


# Dropped


def test_dropped_texts_are_gone_from_the_files_once_embedded(data_dir: Path, exchange: Make, embed: Embed) -> None:
    with open_store(data_dir, texts=DROP) as store:
        store.append([made(exchange, 1)])
        assert holding(data_dir) == {"canary-prompt", "canary-answer", "canary-label"}  # the system prompt never was
        assert [text for _, text in store.pending_texts(9)] == ["canary-prompt 1", "canary-answer 1"]
        embed(store)
        assert holding(data_dir) == {"canary-label"}
        shown = store.exchange("e1")  # type: ignore[arg-type]
        assert shown.prompt == "(not kept: 15 characters)"
        assert shown.system == "(not kept: 19 characters)"
        assert store.texts(store.window().prompt) == [""]
        assert (store.pending_count(), store.stats().texts) == (0, 3)
        again = store.append([made(exchange, 1), made(exchange, 2, prompt="canary-prompt 1", response="")])
        assert (again.duplicates, again.stored) == (1, 1)
        assert holding(data_dir) == {"canary-label"}


def test_a_dropped_text_that_has_to_be_embedded_is_kept_until_then(
    data_dir: Path, exchange: Make, embed: Embed
) -> None:
    with open_store(data_dir, texts=DROP) as store:
        store.append([made(exchange, 1, system="canary-key words")])
        embed(store)
        store.append([made(exchange, 2, prompt="canary-key words", response="", system="")])
        assert [text for _, text in store.pending_texts(9)] == ["canary-key words"]
        embed(store)
        assert holding(data_dir) == {"canary-label"}


def test_benchmarks_stay_when_texts_are_dropped(data_dir: Path, exchange: Make, embed: Embed) -> None:
    items = [BenchmarkItem("i1", "canary-item text"), BenchmarkItem("i2", "canary-prompt 1")]
    with open_store(data_dir, texts=DROP) as store:
        store.append([made(exchange, 1)])
        embed(store)
        store.register_benchmark("b", items, 1)
        embed(store)
        assert store.benchmark_items("b")[0] == items
        assert store.exchange("e1").prompt == "canary-prompt 1"  # type: ignore[arg-type]  # it is the item's
