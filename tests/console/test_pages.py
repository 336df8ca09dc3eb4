"""Every page says what the service says, in words that cannot be anything but text."""

import getpass
import html
import re

import httpx
import pytest

from .conftest import HOSTILE, HOSTILE_ACCOUNT, Browse, Service, csrf

_SHOWN_ID = re.compile(r'href="/findings/(f-\d+)"')


async def test_the_list_begins_with_the_most_severe_and_surest(person: httpx.AsyncClient, service: Service) -> None:
    shown = _SHOWN_ID.findall((await person.get("/findings")).text)
    rank = {"low": 0, "medium": 1, "high": 2, "critical": 3}
    by_id = {finding.finding_id: finding for finding in service.findings}
    keys = [(rank[by_id[name].severity], by_id[name].confidence) for name in shown]
    assert keys == sorted(keys, reverse=True)
    assert len(shown) == 50


async def test_pages_of_the_list_hold_every_finding_once(person: httpx.AsyncClient, service: Service) -> None:
    first, second = [(await person.get(f"/findings?page={page}")).text for page in (1, 2)]
    shown = _SHOWN_ID.findall(first) + _SHOWN_ID.findall(second)
    assert sorted(shown) == sorted(finding.finding_id for finding in service.findings)
    assert 'rel="next"' in first
    assert 'rel="next"' not in second


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("severity=critical", lambda finding: finding.severity == "critical"),
        ("words=account-11&severity=low", lambda finding: finding.severity == "low" and _holds(finding, "account-11")),
        ("words=F-0007", lambda finding: finding.finding_id == "f-0007"),
        ("kind=benchmark_run", lambda finding: False),
    ],
)
async def test_filters(person: httpx.AsyncClient, service: Service, query: str, wanted: object) -> None:
    shown = _SHOWN_ID.findall((await person.get(f"/findings?{query}")).text)
    assert sorted(shown) == sorted(item.finding_id for item in service.findings if wanted(item))  # type: ignore[operator]


async def test_a_filter_that_is_none_is_said(person: httpx.AsyncClient) -> None:
    for query in ("severity=enormous", "sort=luck", "review=maybe", "page=-1", "page=x"):
        assert (await person.get(f"/findings?{query}")).status_code == 400


async def test_a_finding_shows_both_sides(person: httpx.AsyncClient) -> None:
    page = (await person.get("/findings/f-0001")).text
    before, after = page.split("What speaks against it")
    assert "Knowing who asked says nothing." in before
    assert "40 % go on with a conversation." in after
    assert "40 % go on with a conversation." not in before
    assert "<mark>Name the capital of</mark>" in page


async def test_what_is_not_there_is_said(person: httpx.AsyncClient) -> None:
    for address in ("/findings/f-none", "/runs/none", "/accounts?id=nobody", "/nowhere"):
        answer = await person.get(address)
        assert answer.status_code == 404
        assert "There is no such thing here" in answer.text


async def test_a_dismissed_finding_leaves_the_list_and_stays_readable(person: httpx.AsyncClient) -> None:
    form = {"csrf": await csrf(person), "decision": "dismissed", "reason": f"a course {HOSTILE}"}
    answer = await person.post("/findings/f-0003/review", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/findings/f-0003")
    page = (await person.get("/findings/f-0003")).text
    assert f"a course {HOSTILE}" in html.unescape(page)
    assert f"<bdi>{getpass.getuser()}</bdi>" in page.partition("History")[2]
    assert "f-0003" not in _SHOWN_ID.findall((await person.get("/findings?words=f-0003")).text)
    assert "f-0003" in _SHOWN_ID.findall((await person.get("/findings?words=f-0003&review=dismissed")).text)


async def test_a_decision_without_a_reason_is_asked_for_again(person: httpx.AsyncClient) -> None:
    form = {"csrf": await csrf(person), "decision": "dismissed", "reason": "  "}
    answer = await person.post("/findings/f-0003/review", data=form)
    assert answer.status_code == 400
    assert 'role="alert"' in answer.text


async def test_neighbours_of_a_text_and_of_an_exchange(person: httpx.AsyncClient) -> None:
    form = {
        "csrf": await csrf(person),
        "text": "Name the capital of country 7 and say how many people live there",
        "k": "5",
    }
    page = (await person.post("/search", data=form)).text
    assert page.count('class="hits"') == 1
    assert "e00007" in page
    form |= {"accounts": "account-3, account-4", "one_per_account": "1"}
    page = (await person.post("/search", data=form)).text
    assert set(re.findall(r"id=(account-\d+)", page)) == {"account-3", "account-4"}
    neighbours = (await person.get("/search?exchange=e00007")).text
    assert "e00007</bdi>" not in neighbours
    assert neighbours.count("data-row>") > 5


async def test_a_bad_filter_of_a_search_keeps_what_was_written(person: httpx.AsyncClient) -> None:
    form = {"csrf": await csrf(person), "text": HOSTILE, "since": "yesterday"}
    answer = await person.post("/search", data=form)
    assert answer.status_code == 400
    assert "RFC 3339" in answer.text
    assert HOSTILE in html.unescape(answer.text)


async def test_an_account_says_where_it_stands(person: httpx.AsyncClient) -> None:
    assert "It was too small." in (await person.get("/accounts?id=account-11")).text
    assert 'href="/findings/f-0001"' in (await person.get("/accounts?id=account-1")).text


async def test_nothing_that_was_sent_in_is_more_than_text(person: httpx.AsyncClient) -> None:
    form = {"csrf": await csrf(person), "text": HOSTILE}
    pages = [
        await person.get("/findings/f-0001"),
        await person.get("/accounts", params={"id": HOSTILE_ACCOUNT}),
        await person.get("/search", params={"exchange": "hostile"}),
        await person.post("/search", data=form),
    ]
    for page in pages:
        assert page.status_code == 200
        assert "<script>document" not in page.text
        assert "<img src=x" not in page.text
        assert "<b>&" not in page.text
        assert "<i>key" not in page.text
    assert HOSTILE in html.unescape(pages[3].text)
    assert HOSTILE_ACCOUNT in html.unescape(pages[1].text)


async def test_an_empty_service_says_what_to_do_next(browse: Browse, empty_service: Service) -> None:
    client = browse(empty_service)
    await client.get("/sign-in")
    assert "coterie ingest" in (await client.get("/findings")).text
    assert "coterie ingest" in (await client.get("/runs")).text
    assert "coterie benchmark register" in (await client.get("/benchmarks")).text


async def test_a_run_is_started_and_followed(person: httpx.AsyncClient) -> None:
    form = {"csrf": await csrf(person), "since": "2026-01-01", "until": "2026-01-03"}
    answer = await person.post("/runs", data=form)
    address = answer.headers["location"]
    events = (await person.get(f"{address}/events")).text
    last = events.strip().split("\n\n")[-1]
    assert '"finished": true' in last
    assert '"state": "done"' in last
    assert "Its findings" in (await person.get(address)).text


async def test_signing_out_ends_the_session(person: httpx.AsyncClient) -> None:
    form = {"csrf": await csrf(person)}
    assert (await person.post("/sign-out", data=form)).status_code == 303
    assert (await person.get("/findings")).headers["location"] == "/sign-in"


def _holds(finding: object, account_id: str) -> bool:
    return any(account_id in account.account_id for account in finding.accounts)  # type: ignore[attr-defined]


async def test_pictures_are_a_page_and_a_part(person: httpx.AsyncClient) -> None:
    page = await person.get("/findings/f-0001/pictures")
    assert page.status_code == 200, page.text
    part = (await person.get("/findings/f-0001/pictures?part")).text
    assert "<svg" in part
    assert "<html" not in part
    assert part.count("<figure") == page.text.count("<figure") > 2


async def test_an_allow_list_suppresses_what_it_explains_and_gives_it_back(person: httpx.AsyncClient) -> None:
    names = "\n".join(["account-1", "account-2", "account-3", HOSTILE_ACCOUNT])
    form = {"csrf": await csrf(person), "kind": "accounts", "values": names, "reason": f"a class {HOSTILE}"}
    assert (await person.post("/rules", data=form)).status_code == 303
    page = (await person.get("/rules")).text
    assert HOSTILE in html.unescape(page)
    hidden = _SHOWN_ID.findall((await person.get("/findings?review=suppressed")).text)
    assert "f-0001" in hidden
    assert "f-0001" not in _SHOWN_ID.findall((await person.get("/findings?words=f-0001")).text)
    assert "Suppressed by" in (await person.get("/findings/f-0001")).text
    rule = re.findall(r"/rules/([^/]+)/revoke", page)[0]
    assert (await person.post(f"/rules/{rule}/revoke", data={"csrf": form["csrf"]})).status_code == 303
    assert "f-0001" in _SHOWN_ID.findall((await person.get("/findings?words=f-0001")).text)


async def test_a_dismissal_with_a_rule_that_explains_nothing_is_refused(person: httpx.AsyncClient) -> None:
    form = {"csrf": await csrf(person), "decision": "dismissed", "reason": "x", "suppress": "organisation"}
    answer = await person.post("/findings/f-0001/review", data=form)
    assert answer.status_code in (400, 409)
    assert "Nobody has decided yet" in (await person.get("/findings/f-0001")).text


async def test_calibration_counts_decisions(person: httpx.AsyncClient) -> None:
    assert "No decision yet" in (await person.get("/calibration")).text
    form = {"csrf": await csrf(person), "decision": "confirmed", "reason": "seen"}
    await person.post("/findings/f-0001/review", data=form)
    page = (await person.get("/calibration")).text
    assert "1 of 1 decided findings were confirmed" in page
    assert 'class="dot"' in page


async def test_who_was_slower_overwrites_nothing_and_keeps_what_they_wrote(person: httpx.AsyncClient) -> None:
    form = {"csrf": await csrf(person), "version": "0", "decision": "confirmed", "reason": "I saw it first"}
    assert (await person.post("/findings/f-0002/review", data=form)).status_code == 303
    late = await person.post(
        "/findings/f-0002/review", data={**form, "decision": "dismissed", "reason": "mine own words"}
    )
    assert late.status_code == 409
    assert "mine own words" in late.text
    assert "review-confirmed" in (await person.get("/findings/f-0002")).text
