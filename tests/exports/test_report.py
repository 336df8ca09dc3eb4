"""The report as a file: what it holds at each level, that it stands alone, and that nothing from outside gets loose."""

import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from dossiers import CANARY, HOSTILE, made_dossier
from hypothesis import given
from hypothesis import strategies as st

from coterie.domain import (
    READINGS,
    AccountId,
    Dossier,
    Evidence,
    ExcludedAccount,
    FindingId,
    FindingKind,
    InvalidError,
    JoinedAccount,
    Lineage,
)
from coterie.exports import Redaction, check_report, masked, redacted, write_report
from coterie.exports.report import ACCOUNTS_LISTED_MAX, TEXT_CHARS_MAX, _reproduce, claim, entry, p_value

MADE_US = 1_772_500_000_000_000
VOID = {"meta", "br", "rect", "line", "path", "circle", "polyline"}


class Page(HTMLParser):
    """A page's elements, ids and links, and whether its tags close."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src"):
                self.links.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def written(dossier: Dossier | None = None, redaction: Redaction = Redaction.STATISTICS) -> str:
    return write_report([dossier or made_dossier()], redaction=redaction, made_us=MADE_US, model_id="m").html


def test_by_default_not_a_word_of_a_text_is_in_it() -> None:
    for dossier in (made_dossier(with_text=True), made_dossier(with_text=False)):
        html = written(dossier)
        assert CANARY not in html
        assert "scarf" not in html
        assert "Their texts are left out at this level" in html


def test_masked_shows_the_form_alone() -> None:
    html = written(redaction=Redaction.MASKED)
    assert CANARY not in html
    assert "scarf" not in html
    assert "x xxxx xxxxx x xxxxx xxxx xx 00% xxx xxxx xx $0, xxxxxx-0x0x" in html


def test_full_shows_what_was_written() -> None:
    html = written(redaction=Redaction.FULL)
    assert f"A shop marks a scarf down by 31% and then by $5, {CANARY}" in html
    assert "It holds prompts and answers as they were written" in html


@given(st.text())
def test_masking_keeps_no_letter_and_no_digit_but_its_own(text: str) -> None:
    hidden = masked(text)
    assert len(hidden) == len(text)
    assert {sign for sign in hidden if sign.isalnum()} <= {"x", "0"}


def test_each_level_is_applied_whatever_it_is_given() -> None:
    exchange = made_dossier().exemplars[0]
    bare = redacted(exchange, Redaction.STATISTICS)
    assert (bare.prompt, bare.response, bare.system) == ("", "", "")
    assert CANARY not in repr(redacted(exchange, Redaction.MASKED))
    assert redacted(exchange, Redaction.FULL) == exchange
    assert [level.needs_text for level in Redaction] == [False, True, True]


def test_it_stands_alone() -> None:
    html = written(redaction=Redaction.FULL)
    page = Page(html)
    assert not page.tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base"}
    assert not [name for name in page.attributes if name.startswith("on") or name in ("style", "src", "xlink:href")]
    assert set(re.findall(r"https?://[^\s\"'<)]+", html)) == {"http://www.w3.org/2000/svg"}
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html
    assert {link[0] for link in page.links} == {"#"}
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_names_and_texts_from_outside_stay_text() -> None:
    dossier = made_dossier(mark=HOSTILE)
    joined = (JoinedAccount(AccountId(f"late{HOSTILE}"), MADE_US, 3, 1e-4),)
    excluded = (ExcludedAccount(AccountId(f"out{HOSTILE}"), 4, f"kim{HOSTILE}", f"a partner{HOSTILE}", MADE_US),)
    dossier = replace(
        dossier,
        finding=replace(
            dossier.finding,
            joined_since=joined,
            excluded=excluded,
            title=f"t{HOSTILE}",
            assignee=HOSTILE,
            merged=(FindingId(HOSTILE),),
        ),
    )
    html = written(dossier, Redaction.FULL)
    page = Page(html)
    assert "Taken out by a reviewer" in page.text
    assert not page.tags & {"script", "img"}
    assert not [name for name in page.attributes if name.startswith("on")]
    assert page.text.count("<script>alert('x')</script>") > 20
    assert "49" not in {word.strip("}{") for word in page.text.split() if "7*7" in word}
    check_report(html)


def test_a_text_cannot_pass_for_the_digest() -> None:
    forged = '<code id="sha256">' + "a" * 64 + "</code>"
    assert check_report(written(made_dossier(mark=forged), Redaction.FULL))


def test_every_piece_of_evidence_stands_in_it_with_how_to_read_it_and_its_picture_once() -> None:
    dossier = made_dossier()
    html = written(dossier)
    text = Page(html).text
    for item in (*dossier.finding.evidence, *dossier.finding.counter_evidence):
        assert item.summary in text
        assert READINGS[item.name].advice in text
    assert html.count("<svg ") == 8
    assert text.count("It is seen in the picture") == 1  # label_permutation, with exchangeability's
    assert html.index("What speaks against it</h3>") > html.index("What speaks for it</h3>")


def test_a_finding_that_nothing_speaks_against_says_so_plainly() -> None:
    dossier = made_dossier()
    html = written(replace(dossier, finding=replace(dossier.finding, counter_evidence=())))
    assert "That is no proof" in html


def test_the_digest_tells_of_any_change() -> None:
    report = write_report([made_dossier()], redaction=Redaction.STATISTICS, made_us=MADE_US)
    assert check_report(report.html) == report.sha256
    for changed in (report.html.replace("0.97", "0.12", 1), report.html + " "):
        assert changed != report.html
        with pytest.raises(InvalidError, match="changed since"):
            check_report(changed)
    with pytest.raises(InvalidError, match="no report"):
        check_report("<html></html>")


def test_the_same_values_give_the_same_bytes() -> None:
    assert written() == written()


def test_a_run_is_reported_with_what_is_not_reported_whole() -> None:
    dossier = made_dossier()
    other = replace(made_dossier().finding, finding_id="f-other", lineage=Lineage.GONE, title="was there once")
    html = write_report(
        [dossier, replace(made_dossier(innocent=True), finding=replace(dossier.finding, finding_id="f-2"))],
        redaction=Redaction.STATISTICS,
        made_us=MADE_US,
        run=dossier.run,
        others=[other],
    ).html
    page = Page(html)
    assert len(page.ids) == len(set(page.ids))
    assert "was there once" in page.text
    assert "coterie recluster --since 2026-03-02T00:00:00Z --until 2026-03-09T00:00:00Z --model 'nimbus'" in page.text
    hostile = "x'; touch taken; echo '"
    run = replace(dossier.run, slice=replace(dossier.run.slice, models=(hostile,), attributes={}))
    command = _reproduce(run, [], Redaction.STATISTICS, whole=True)[0]
    assert shlex.split(command)[-2:] == ["--model", hostile]
    empty = write_report([], redaction=Redaction.STATISTICS, made_us=MADE_US, run=dossier.run).html
    assert "Run r-2" in Page(empty).text
    with pytest.raises(InvalidError, match="at least one finding"):
        write_report([], redaction=Redaction.STATISTICS, made_us=MADE_US)


def test_what_is_large_is_cut_and_said_to_be() -> None:
    dossier = made_dossier()
    account = dossier.finding.accounts[0]
    many = tuple(replace(account, account_id=AccountId(f"n{n:04}")) for n in range(ACCOUNTS_LISTED_MAX + 30))
    exemplar = replace(dossier.exemplars[0], prompt="y" * (TEXT_CHARS_MAX + 500))
    html = written(
        replace(dossier, finding=replace(dossier.finding, accounts=many), exemplars=(exemplar,)), Redaction.FULL
    )
    assert "And 30 more" in html
    assert "(500 more)" in html
    assert "drawn at random with seed 0" in html


def test_the_claim_is_one_sentence() -> None:
    campaign, alone = made_dossier(mark="").finding, made_dossier(accounts=1).finding
    assert claim(campaign) == (
        "8 accounts asked 200 questions between 2026-03-02 and 2026-03-08, many of them items of arith, as if one list "
        "had been dealt out to them: with a confidence of 0.97 they act as one."
    )
    assert claim(alone).startswith("One account openly asked 25 benchmark-like questions")
    assert "it is not claimed that accounts act together" in claim(alone)
    asked_once = Evidence("asked_once", "share sent by several", 0.0, "none", "None was.")
    family = replace(campaign, kind=FindingKind.BENCHMARK_RUN, evidence=(asked_once,))
    assert f"{len(family.accounts)} accounts of several customers asked" in claim(family)


def test_the_history_tells_what_each_entry_did() -> None:
    decided, assigned = made_dossier().reviews
    assert (entry(decided), entry(assigned)) == ("escalated", "assign: lee")
    assert entry(replace(assigned, assignee="")) == "assign"
    assert "assign: lee" in Page(written()).text


def test_p_values_are_written_as_people_do() -> None:
    assert [p_value(value) for value in (None, 0.02, 1.8e-11)] == ["no test: an effect", "p = 0.020", "p = 1.8e-11"]


def test_one_account_without_a_null_is_reported() -> None:
    html = written(made_dossier(accounts=1, benchmark=False))
    Page(html)
    assert "nan" not in Page(html).text.split()
