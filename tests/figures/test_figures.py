"""Pictures: what they show against the numbers, and that nothing from outside gets out of its place in them."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from dossiers import HOSTILE, made_dossier
from hypothesis import given
from hypothesis import strategies as st

from coterie.domain import Dossier, RunId
from coterie.figures import (
    Figure,
    alikeness_figure,
    benchmark_figures,
    draw,
    families_figure,
    lineage_figure,
    null_figure,
    overlap_figure,
    raster_figure,
    volume_figure,
)
from coterie.figures.axes import round_ticks, row_height, several
from coterie.figures.svg import BLUE, ORANGE, Svg, number, shortened

NAMES = ["null", "alikeness", "raster", "families", "overlap", "benchmark-1", "volume", "lineage"]
SVG = "{http://www.w3.org/2000/svg}"
ALLOWED = {"svg", "title", "desc", "text", "line", "rect", "path", "polyline", "circle", "g"}


def parsed(figure: Figure) -> ElementTree.Element:
    return ElementTree.fromstring(figure.svg)


def words(figure: Figure) -> str:
    return " ".join(element.text or "" for element in parsed(figure).iter(f"{SVG}text"))


def boxes(figure: Figure, fill: str) -> int:
    """Rectangles drawn as parts of one path."""
    return sum(
        element.attrib["d"].count("M")
        for element in parsed(figure).iter(f"{SVG}path")
        if element.attrib["fill"] == fill
    )


@pytest.mark.parametrize("innocent", [False, True])
def test_every_picture_stands_alone_and_is_told_in_words(innocent: bool) -> None:
    dossier = made_dossier(innocent=innocent)
    figures = draw(dossier)
    assert [figure.name for figure in figures] == NAMES
    ids: list[str] = []
    for figure in figures:
        root = parsed(figure)
        assert {element.tag.removeprefix(SVG) for element in root.iter()} <= ALLOWED
        assert root.attrib["role"] == "img"
        title, desc = root.attrib["aria-labelledby"].split()
        assert [root[0].attrib["id"], root[1].attrib["id"]] == [title, desc]
        assert (root[0].text, root[1].text) == (figure.title, figure.summary)
        ids += [title, desc]
        assert figure.summary.endswith(".")
        assert len(figure.reading) > 100
        attributes = {name for element in root.iter() for name in element.attrib}
        assert not [name for name in attributes if name.startswith("on") or "href" in name or name == "style"]
        assert "url(" not in figure.svg
        assert "http" not in figure.svg.replace("http://www.w3.org/2000/svg", "")
    assert len(set(ids)) == len(ids)


def test_names_from_outside_stay_text() -> None:
    for figure in draw(made_dossier(mark=HOSTILE)):
        root = parsed(figure)  # well-formed, whatever was in the names
        assert {element.tag.removeprefix(SVG) for element in root.iter()} <= ALLOWED
        assert "<script" not in figure.svg
        assert "<img" not in figure.svg


@given(st.text(max_size=60))
def test_any_name_gives_well_formed_pictures(name: str) -> None:
    svg = Svg()
    svg.group(name)
    svg.text(1, 2, name)
    svg.dot(1, 2, 3, fill=BLUE, hint=name)
    svg.end_group()
    root = ElementTree.fromstring(svg.render(name, name, name, 10))
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= ALLOWED


def test_no_picture_shows_text_of_an_exchange() -> None:
    assert all("canary" not in figure.svg + figure.summary for figure in draw(made_dossier(with_text=True)))


def test_the_null_shows_where_the_finding_lies_among_shufflings() -> None:
    campaign, innocent = null_figure(made_dossier()), null_figure(made_dossier(innocent=True))
    assert campaign is not None
    assert innocent is not None
    assert "this finding: 0.990" in words(campaign)
    assert "innocent pools reach at most 0.85" in campaign.summary
    assert "The run itself recorded C/W 0.992 and z -0.42 over all shufflings, in closed form" in campaign.summary

    def lines(figure: Figure) -> dict[str, float]:
        return {line.attrib["stroke"]: float(line.attrib["x1"]) for line in parsed(figure).iter(f"{SVG}line")}

    assert lines(campaign)[BLUE] > lines(campaign)[ORANGE]
    assert lines(innocent)[BLUE] < lines(innocent)[ORANGE]


def test_a_sampled_null_says_so() -> None:
    dossier = made_dossier()
    assert dossier.shuffled is not None
    figure = null_figure(replace(dossier, shuffled=replace(dossier.shuffled, items_total=9_000, recorded=None)))
    assert figure is not None
    assert "200 questions drawn at random from 9,000" in figure.summary
    assert "recorded z -0.42" in figure.summary


def test_the_raster_has_a_tick_for_every_exchange() -> None:
    dossier = made_dossier()
    figure = raster_figure(dossier)
    claimed = int(dossier.asked.in_pool.sum())
    assert boxes(figure, BLUE) == claimed + 1  # and one in the legend
    assert boxes(figure, "currentColor") == len(dossier.asked.in_pool) - claimed + 1
    assert "8 accounts with 200 exchanges that the finding claims, 25 to 25 each, and 64 others" in figure.summary


def test_a_sampled_raster_says_so() -> None:
    dossier = made_dossier()
    more = replace(
        dossier,
        asked=replace(dossier.asked, total=10_000),
        finding=replace(dossier.finding, accounts=dossier.finding.accounts * 2),
    )
    summary = raster_figure(more).summary
    assert "Drawn are 264 of all 10,000, at random (seed 0)" in summary
    assert "drawn at random from the finding's 16" in summary


def test_families_say_whose_they_are() -> None:
    dossier = made_dossier(innocent=True)
    figure = families_figure(dossier)
    assert figure is not None
    assert "3 families" in figure.summary
    assert "largest families are 3 different ones" in figure.summary
    assert boxes(figure, BLUE) == np.count_nonzero(dossier.families.asked)
    moved = families_figure(replace(dossier, families=replace(dossier.families, run_id=RunId("r-3"))))
    assert moved is not None
    assert "those of a newer run" in moved.summary
    assert families_figure(replace(dossier, families=replace(dossier.families, family_ids=()))) is None


def test_overlap_counts_below_and_chance_above() -> None:
    campaign, crowd = made_dossier(), made_dossier(innocent=True)
    for dossier in (campaign, crowd):
        figure = overlap_figure(dossier)
        assert figure is not None
        below = np.tril(dossier.shared.observed, -1)
        assert boxes(figure, ORANGE) == np.count_nonzero(below)
        assert boxes(figure, "currentColor") == 8 * 7 // 2
        assert f"the same question {below.sum():,} times" in figure.summary
    assert overlap_figure(made_dossier(accounts=1)) is None


def test_the_strip_marks_each_item_and_those_of_several() -> None:
    dossier = made_dossier()
    (figure,) = benchmark_figures(dossier)
    strip = dossier.benchmarks[0]
    items, times = np.unique(strip.item, return_counts=True)
    assert boxes(figure, BLUE) == len(strip.item) + (times == 1).sum()
    assert boxes(figure, ORANGE) == (times > 1).sum()
    assert f"{len(items)} items of 200" in figure.summary
    assert benchmark_figures(made_dossier(benchmark=False)) == ()


def test_volume_tells_of_the_past_where_there_is_one() -> None:
    dossier = made_dossier()
    assert "8 of 8 accounts asked before the window" in volume_figure(dossier).summary
    assert "The finding claims 76% of their traffic" in volume_figure(dossier).summary
    late = replace(dossier, run=replace(dossier.run, since_us=int(dossier.volume.day_us[0])))
    assert "No traffic of these accounts is stored from before the window" in volume_figure(late).summary


def test_an_account_with_a_subject_of_its_own_stands_out() -> None:
    dossier = made_dossier()
    assert dossier.shuffled is not None
    others = dossier.shuffled.alike_others.copy()
    others[3] = 0.05
    others[5] = np.nan
    figure = alikeness_figure(replace(dossier, shuffled=replace(dossier.shuffled, alike_others=others)))
    assert figure is not None
    hints = {element.text: parent for parent in parsed(figure).iter(f"{SVG}circle") for element in parent}
    assert len(hints) == 7
    assert [text for text, dot in hints.items() if dot.attrib["fill"] == "none"] == [
        "account-03: 0.310 with itself, 0.050 with the others"
    ]
    assert figure.summary.startswith("1 of 7 accounts below the dashed line")


def test_lineage_names_what_a_finding_came_from() -> None:
    figure = lineage_figure(made_dossier())
    assert figure is not None
    assert "It came from 1 earlier finding: f-00aa00aa00" in figure.summary
    assert "growing: 200" in words(figure)
    assert lineage_figure(replace(made_dossier(), lineage=())) is None


def test_of_one_account_what_there_is_is_drawn() -> None:
    names = [figure.name for figure in draw(made_dossier(accounts=1))]
    assert names == ["raster", "families", "benchmark-1", "volume", "lineage"]


def test_a_large_finding_stays_small_on_the_page() -> None:
    figures = draw(made_dossier(accounts=60, texts=75))
    assert sum(len(figure.svg) for figure in figures) < 600_000
    for figure in figures:
        assert float(parsed(figure).attrib["height"]) < 900


def test_nothing_asked_in_the_window_is_drawn_all_the_same() -> None:
    dossier = made_dossier()
    asked = dossier.asked
    empty: Dossier = replace(
        dossier,
        asked=replace(
            asked,
            exchange_ids=(),
            account=asked.account[:0],
            time_us=asked.time_us[:0],
            text=asked.text[:0],
            family=asked.family[:0],
            in_pool=asked.in_pool[:0],
            total=0,
        ),
    )
    for figure in draw(empty):
        parsed(figure)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 10, [0, 2, 4, 6, 8, 10]), (0.73, 1.01, [0.75, 0.8, 0.85, 0.9, 0.95, 1.0]), (3, 3, [3])],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert round_ticks(low, high) == pytest.approx(expected)


def test_small_things() -> None:
    assert (number(2.0), number(2.04), number(-0.5), number(12.25)) == ("2", "2", "-0.5", "12.2")
    assert shortened("abcdefghij", 7) == "abc…hij"
    assert shortened("abc", 7) == "abc"
    assert (several(1, "run"), several(1_200, "run")) == ("1 run", "1,200 runs")
    assert row_height(1) == 18
    assert row_height(1_000) == 9
    assert re.fullmatch(r"[\w-]+", Svg().render("a b<", "t", "d", 1).split('id="')[1].split('"')[0])
