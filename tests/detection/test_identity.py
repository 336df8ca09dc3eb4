"""Which finding is which of earlier runs, where one was gone and comes back."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from coterie.detection.identity import MATCH_MIN, with_lineage
from coterie.domain import AccountId, Finding, FindingAccount, FindingId, FindingKind, Lineage, Severity, TextId


def made(name: str, accounts: str, texts: range, **fields: object) -> Finding:
    values: dict[str, object] = {
        "finding_id": FindingId(name),
        "kind": FindingKind.CAMPAIGN,
        "severity": Severity.HIGH,
        "confidence": 0.9,
        "title": name,
        "accounts": tuple(FindingAccount(AccountId(account), 1, 1, 1.0, 1, 2) for account in accounts),
        "text_ids": tuple(TextId(text) for text in texts),
        "first_seen_us": 1,
        "last_seen_us": 2,
    }
    empty = dict.fromkeys(("families", "benchmarks", "evidence", "counter_evidence", "exemplars"), ())
    return Finding(**{**values, **empty, **fields})  # type: ignore[arg-type]


def told(findings: tuple[Finding, ...]) -> list[tuple[str, str, bool]]:
    return [(finding.finding_id, finding.lineage.value, finding.returned) for finding in findings]


def test_what_was_gone_and_comes_back_keeps_its_id_however_long_it_was_gone() -> None:
    first = with_lineage([made("old", "abcd", range(9))], [])
    nothing = with_lineage([], first)
    assert told(nothing) == [("old", "gone", False)]
    assert with_lineage([], nothing) == ()  # gone is told once
    back = with_lineage([made("fresh", "abce", range(3, 12))], nothing)
    assert told(back) == [("old", "steady", True)]
    assert told(with_lineage([made("other", "abce", range(3, 12))], back)) == [("old", "steady", False)]
    grown = with_lineage([made("fresh", "abcdef", range(9))], nothing)
    assert told(grown) == [("old", "growing", True)]


def test_what_a_run_before_still_had_comes_first_and_each_earlier_finding_is_one() -> None:
    gone = made("gone", "abcd", range(9), lineage=Lineage.GONE)
    alive = made("alive", "abcd", range(5, 14))
    assert told(with_lineage([made("x", "abcd", range(9))], [gone, alive])) == [("alive", "steady", False)]
    twins = [made("x", "abcd", range(9)), made("y", "abc", range(9))]
    assert told(with_lineage(twins, [gone])) == [("gone", "steady", True), ("y", "new", False)]


def test_another_kind_or_too_little_in_common_is_new() -> None:
    gone = made("gone", "abcdefgh", range(20), lineage=Lineage.GONE)
    assert told(with_lineage([made("x", "abij", range(15, 40))], [gone])) == [("x", "new", False)]
    other = made("x", "abcdefgh", range(20), kind=FindingKind.BENCHMARK_RUN)
    assert told(with_lineage([other], [gone])) == [("x", "new", False)]


def test_a_part_of_a_finding_that_was_there_is_a_part_and_no_return() -> None:
    whole = made("whole", "abcdefgh", range(20))
    gone = made("gone", "efgh", range(10, 20), lineage=Lineage.GONE)
    parts = with_lineage([made("x", "abcd", range(10)), made("y", "efgh", range(10, 20))], [whole, gone])
    assert {(item.finding_id, item.lineage, item.returned) for item in parts} == {
        ("whole", Lineage.SPLIT, False),
        ("y", Lineage.SPLIT, False),
    }


@given(st.sets(st.sampled_from("abcdefghij"), min_size=1), st.sets(st.sampled_from("abcdefghij"), min_size=1))
def test_it_comes_back_exactly_where_it_would_have_stayed(now: set[str], then: set[str]) -> None:
    finding = made("now", "".join(sorted(now)), range(0))
    earlier = made("then", "".join(sorted(then)), range(0))
    (stayed,) = (item for item in with_lineage([finding], [earlier]) if item.lineage is not Lineage.GONE)
    (back,) = with_lineage([finding], [replace(earlier, lineage=Lineage.GONE)])
    assert back.returned == (stayed.finding_id == "then") == (len(now & then) / len(now | then) >= MATCH_MIN)
    assert back.finding_id == stayed.finding_id
