"""Other sites, other names and other frames stay outside."""

import httpx
import pytest

from coterie.console.guard import host_names

from .conftest import Browse, Service, csrf


async def test_every_answer_tells_browsers_what_they_may_not(person: httpx.AsyncClient) -> None:
    for address in ("/findings", "/findings/none", "/nowhere", "/static/console.css", "/sign-in"):
        headers = (await person.get(address)).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-content-type-options"] == "nosniff"
        assert ("immutable" if "static" in address else "no-store") in headers["cache-control"]


@pytest.mark.parametrize("host", ["attacker.example", "localhost.attacker.example", "", "localhost@attacker.example"])
async def test_a_name_that_is_not_ours_is_refused(person: httpx.AsyncClient, host: str) -> None:
    answer = await person.get("/findings", headers={"host": host})
    assert answer.status_code == 421
    assert "findings" not in answer.text


@pytest.mark.parametrize("host", ["localhost", "localhost:7432", "LOCALHOST:1"])
async def test_our_name_passes_whatever_the_port(person: httpx.AsyncClient, host: str) -> None:
    assert (await person.get("/findings", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site", "origin": "http://localhost"},
        {"origin": "http://attacker.example"},
        {"origin": "null"},
        {"origin": "http://localhost:1"},
    ],
)
async def test_a_form_of_another_site_is_refused(person: httpx.AsyncClient, headers: dict[str, str]) -> None:
    form = {"csrf": await csrf(person), "text": "x"}
    assert (await person.post("/search", data=form, headers=headers)).status_code == 403


@pytest.mark.parametrize(
    "headers", [{}, {"origin": "http://localhost"}, {"origin": "null", "sec-fetch-site": "same-origin"}]
)
async def test_a_form_of_ours_is_taken(person: httpx.AsyncClient, headers: dict[str, str]) -> None:
    form = {"csrf": await csrf(person), "text": "x"}
    assert (await person.post("/search", data=form, headers=headers)).status_code == 200


async def test_a_form_without_the_token_of_the_session_is_refused(person: httpx.AsyncClient) -> None:
    for form in ({}, {"csrf": "guess"}, {"csrf": "é"}):
        answer = await person.post("/findings/f-0001/review", data={**form, "decision": "dismissed", "reason": "x"})
        assert answer.status_code == 400
    assert "Nobody has decided yet" in (await person.get("/findings/f-0001")).text


async def test_a_form_that_is_too_large_is_refused(person: httpx.AsyncClient) -> None:
    form = {"csrf": await csrf(person), "decision": "dismissed", "reason": "x" * 70_000}
    answer = await person.post("/findings/f-0001/review", data=form)
    assert answer.status_code == 400
    assert "larger than" in answer.text


async def test_the_cookie_is_kept_from_scripts_and_other_sites(browse: Browse, service: Service) -> None:
    plain = (await browse(service).get("/sign-in")).headers["set-cookie"]
    assert plain.startswith("coterie-7432=")
    assert "HttpOnly" in plain
    assert "SameSite=strict" in plain
    assert "Secure" not in plain
    secure = (await browse(service, secure=True).get("/sign-in")).headers["set-cookie"]
    assert secure.startswith("__Host-coterie-7432=")
    assert "Secure" in secure


async def test_what_nobody_foresaw_is_told_without_its_message(
    person: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("cannot show 'a secret prompt'")

    monkeypatch.setattr("coterie.console.pages_findings.claim", broken)
    answer = await person.get("/findings/f-0001")
    assert answer.status_code == 500
    assert "content-security-policy" in answer.headers
    assert "secret" not in answer.text + caplog.text
    (record,) = [item for item in caplog.records if item.name == "coterie.console.guard"]
    assert "RuntimeError at broken" in record.__dict__["values"]["error"]


@pytest.mark.parametrize("text_id", ["9" * 5_000, "9" * 19, "x"])
async def test_a_text_id_that_is_none_is_refused(person: httpx.AsyncClient, text_id: str) -> None:
    assert (await person.get(f"/texts/{text_id}")).status_code == 400


async def test_nobody_reads_without_a_session(browse: Browse, service: Service) -> None:
    client = browse(service)
    for address in ("/findings", "/findings/f-0001", "/accounts?id=account-1", "/search", "/runs", "/person"):
        answer = await client.get(address)
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
    assert (await client.post("/runs", data={})).headers["location"] == "/sign-in"


def test_a_loopback_address_goes_by_all_loopback_names() -> None:
    assert host_names("127.0.0.1:7432", []) == {"127.0.0.1", "localhost", "::1"}
    assert host_names("0.0.0.0:7432", ["Desk.example"]) == {"0.0.0.0", "desk.example"}
    assert host_names("[::1]:7432", []) == {"127.0.0.1", "localhost", "::1"}
