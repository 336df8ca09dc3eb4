"""The console in headless Chromium, as an analyst uses it: on built-in text, and on text that attacks it."""

import base64
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright

from coterie.domain import Finding, Role
from coterie.server import Config, Engine
from coterie.server.access import Guard
from coterie.simulation import Config as Simulation
from coterie.simulation import simulate

from .conftest import HOSTILE, HOSTILE_ACCOUNT, Site, fill, served

pytestmark = [pytest.mark.browser]

IMAGES = Path(__file__).parents[2] / "docs" / "images"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
    # WebGL without a graphics card.
    "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
]  # fmt: skip
WAIT_MS = 60_000
expect.set_options(timeout=WAIT_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium; where it is required, its absence is a failure."""
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if path is None:
        message = "Chromium is not installed: apt-get install chromium"
        if os.environ.get("COTERIE_BROWSER") == "required":
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


def found_in(config: Config) -> list[Finding]:
    """Built-in traffic with two campaigns, and what the real detection finds in it with the model-free encoder."""
    traffic = simulate(Simulation(accounts=90, campaigns=2, mix="easy", seed=5, days=5))
    engine = Engine.open(config)
    try:
        engine.warm_up()
        for first in range(0, len(traffic.events), 1_000):
            assert not engine.ingest(traffic.events[first : first + 1_000]).result().rejections
        run = engine.start_run(None, None)
        while not engine.run(run.run_id).state.finished:
            time.sleep(0.05)
        return engine.findings()[1]
    finally:
        engine.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The console on built-in text, with a token for each role that may read."""
    folder = tmp_path_factory.mktemp("site")
    config = Config(data_dir=folder / "data", model="hash", monolingual=True)
    findings = found_in(config)
    assert len(findings) >= 2
    engine = Engine.open(config)
    try:
        guard = Guard(engine.store)
        names = {Role.ADMIN: "grace", Role.REVIEWER: "ada", Role.ANALYST: "alan"}
        tokens = {role: guard.mint(name, [role])[0] for role, name in names.items()}
    finally:
        engine.close()
    with served(config, folder / "log") as url:
        yield Site(url, tokens, findings)


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The console on texts, ids and labels that try to be more than text, without tokens."""
    folder = tmp_path_factory.mktemp("attacked")
    config = Config(data_dir=folder / "data", model="hash", monolingual=True)
    findings = fill(config, 3)
    with served(config, folder / "log") as url:
        yield Site(url, {}, findings)


@dataclass
class Desk:
    """One person's browser, and everything that went wrong in it."""

    site: Site
    page: Page
    problems: list[str] = field(default_factory=list)

    def go(self, address: str) -> Page:
        self.page.goto(f"{self.site.url}{address}")
        return self.page

    def sign_in(self, role: Role | None = None) -> Page:
        self.go("/sign-in")
        if role is not None:
            self.page.get_by_label("Token").fill(self.site.tokens[role])
            self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url("**/findings")
        return self.page


@pytest.fixture
def sit_down(browser: Browser) -> Iterator[Callable[..., Desk]]:
    """Open a browser at a site. At the end nothing was refused, nothing failed, nothing was asked of another origin."""
    desks: list[tuple[Desk, BrowserContext]] = []

    def open_desk(site: Site, **settings: Any) -> Desk:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, **settings)
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        desk = Desk(site, page)

        def said(message: ConsoleMessage) -> None:
            if message.type == "error":
                desk.problems.append(f"console: {message.text}")

        def asked(request: Request) -> None:
            if not request.url.startswith((f"{site.url}/", "data:", "blob:")):
                desk.problems.append(f"another origin: {request.url}")

        page.on("console", said)
        page.on("pageerror", lambda error: desk.problems.append(f"error: {error}"))
        page.on("dialog", lambda dialog: desk.problems.append(f"dialog: {dialog.message}"))
        context.on("request", asked)
        desks.append((desk, context))
        return desk

    yield open_desk
    for desk, context in desks:
        context.close()
        assert desk.problems == []


@pytest.fixture
def picture(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Keep a picture for the documentation, when asked to."""

    def keep(page: Page, name: str) -> None:
        if request.config.getoption("--screenshots"):
            IMAGES.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=IMAGES / f"console-{name}.png")

    return keep


Sit = Callable[..., Desk]


def test_from_signing_in_to_a_dismissal_on_record(site: Site, sit_down: Sit, picture: Callable[..., None]) -> None:
    page = sit_down(site).sign_in(Role.ADMIN)
    finding = site.findings[-1]
    expect(page.get_by_role("heading", name="Findings")).to_be_visible()
    picture(page, "findings")
    page.get_by_role("link", name=finding.title).click()
    for item in (*finding.evidence, *finding.counter_evidence):
        expect(page.get_by_text(item.summary, exact=True)).to_be_visible()
    expect(page.locator("figure#picture-null svg")).to_be_visible()
    expect(page.locator("[data-picture-of=exchangeability] a")).to_be_visible()
    picture(page, "finding")
    page.locator("#pictures").scroll_into_view_if_needed()
    page.evaluate("document.getElementById('pictures').scrollIntoView()")
    picture(page, "pictures")
    assert page.locator(".exemplar mark").count() > 3
    page.evaluate("document.getElementById('exemplars').scrollIntoView()")
    picture(page, "exemplars")
    page.get_by_role("link", name="Who else asks like this?").first.click()
    expect(page.locator(".hits > li")).to_have_count(25)
    picture(page, "neighbours")
    page.locator(".hits .id").first.click()
    page.go_back()
    page.go_back()
    page.get_by_label("dismissed").check()
    page.get_by_label("Why", exact=True).first.fill("A course with one exercise sheet.")
    page.get_by_role("button", name="Record").click()
    expect(page.get_by_role("status").first).to_contain_text("now dismissed")
    expect(page.locator(".history")).to_contain_text("A course with one exercise sheet.")
    expect(page.locator(".history")).to_contain_text("grace")
    page.get_by_role("link", name="Findings").first.click()
    expect(page.get_by_role("link", name=site.findings[0].title)).to_be_visible()
    expect(page.get_by_role("link", name=finding.title)).to_have_count(0)
    page.get_by_label("Review").select_option("dismissed")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_role("link", name=finding.title)).to_be_visible()
    page.get_by_role("link", name="Audit record").click()
    entry = page.get_by_role("row").filter(has_text="review finding").filter(has_text=finding.finding_id).first
    expect(entry).to_contain_text("grace")
    expect(entry).to_contain_text("allowed")
    page.get_by_role("button", name="Verify the chain").click()
    expect(page.get_by_role("status")).to_contain_text("as they were written")
    picture(page, "audit")


def test_keys_are_enough(site: Site, sit_down: Sit) -> None:
    page = sit_down(site).sign_in(Role.ANALYST)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/findings/f-*")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.keyboard.press("g")
    page.keyboard.press("s")
    page.wait_for_url("**/search")
    page.keyboard.press("/")
    expect(page.get_by_label("Text", exact=True)).to_be_focused()
    page.keyboard.type("jj?g")
    expect(page.get_by_label("Text", exact=True)).to_have_value("jj?g")


def test_an_analyst_is_shown_no_more_than_they_may(site: Site, sit_down: Sit) -> None:
    desk = sit_down(site)
    page = desk.sign_in(Role.ANALYST)
    desk.go(f"/findings/{site.findings[0].finding_id}")
    expect(page.get_by_text("a reviewer decides")).to_be_visible()
    expect(page.get_by_role("button", name="Record")).to_have_count(0)
    expect(page.get_by_role("checkbox")).to_have_count(0)
    expect(page.get_by_role("link", name="Audit record")).to_have_count(0)


def test_a_wrong_token_is_refused_and_a_right_one_taken_then(site: Site, sit_down: Sit) -> None:
    desk = sit_down(site)
    page = desk.go("/sign-in")
    page.get_by_label("Token").fill("ct_" + "0" * 12 + "_" + "x" * 43)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("does not know this token")
    desk.problems.clear()  # a refused document counts as an error of the browser's console
    desk.sign_in(Role.REVIEWER)
    page.get_by_role("button", name="Sign out").click()
    desk.go("/findings")
    expect(page.get_by_label("Token")).to_be_visible()


def test_without_scripts_everything_but_the_map_is_there(site: Site, sit_down: Sit) -> None:
    desk = sit_down(site, java_script_enabled=False)
    page = desk.sign_in(Role.REVIEWER)
    finding = site.findings[0]
    page.get_by_role("link", name=finding.title).click()
    expect(page.get_by_text(finding.evidence[0].summary, exact=True)).to_be_visible()
    page.get_by_role("link", name="Who asked what when").click()
    expect(page.locator("figure#picture-null svg")).to_be_visible()
    desk.go(f"/findings/{finding.finding_id}")
    page.get_by_text("Comment", exact=True).first.click()
    page.get_by_label("Comment").fill("Two of them pay by one card.")
    page.get_by_role("button", name="Add it").click()
    expect(page.locator(".history")).to_contain_text("Two of them pay by one card.")
    desk.go("/map")
    expect(page.get_by_text("stands in the tables below")).to_be_visible()
    expect(page.locator("table.list")).to_be_visible()


def pages_of(site: Site) -> list[str]:
    finding = site.findings[0]
    account = finding.accounts[0].account_id
    return [
        "/findings", "/findings?review=all&words=nothing-like-that", f"/findings/{finding.finding_id}",
        f"/accounts?id={account}", "/accounts", "/search", f"/search?exchange={finding.exemplars[0]}", "/runs",
        f"/runs/{finding.run_id}", "/benchmarks", "/person", "/help", "/audit", "/rules",
        "/calibration",
    ]  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_passes_the_accessibility_check(site: Site, sit_down: Sit, scheme: str) -> None:
    desk = sit_down(site, color_scheme=scheme, reduced_motion="reduce")
    page = desk.go("/sign-in")
    failures = {"/sign-in": grave(page)}
    desk.sign_in(Role.ADMIN)
    for address in pages_of(site):
        desk.go(address)
        page.wait_for_load_state("networkidle")
        failures[address] = grave(page)
    assert {address: found for address, found in failures.items() if found} == {}


def grave(page: Page) -> list[str]:
    """What axe holds to be serious or worse."""
    results = Axe().run(page).response
    assert results["passes"], "the check looked at nothing"
    return [
        f"{item['id']}: {node['target']} {node['failureSummary'][:200]}"
        for item in results["violations"]
        if item["impact"] in ("serious", "critical")
        for node in item["nodes"][:3]
    ]


def test_the_accessibility_check_can_fail(site: Site, sit_down: Sit) -> None:
    page = sit_down(site).go("/sign-in")
    page.evaluate("document.querySelector('label').remove()")
    assert any(item.startswith("label") for item in grave(page))


def colours_in(page: Page) -> int:
    """How many colours the map's part of the screen shows; an empty one shows a handful, of its frame and buttons."""
    content = base64.b64encode(page.locator(".map-frame").screenshot()).decode()
    return int(
        page.evaluate(
            """async (content) => {
              const bytes = Uint8Array.from(atob(content), (sign) => sign.charCodeAt(0));
              const picture = await createImageBitmap(new Blob([bytes], { type: 'image/png' }));
              const flat = new OffscreenCanvas(picture.width, picture.height);
              const pen = flat.getContext('2d');
              pen.drawImage(picture, 0, 0);
              const seen = new Map();
              for (const one of new Uint32Array(pen.getImageData(0, 0, flat.width, flat.height).data.buffer)) {
                seen.set(one, 1 + (seen.get(one) || 0));
              }
              return Array.from(seen.values()).filter((count) => count > 20).length;
            }""",
            content,
        )
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_map_draws_names_and_reads_points(
    site: Site, sit_down: Sit, picture: Callable[..., None], scheme: str
) -> None:
    desk = sit_down(site, color_scheme=scheme)
    page = desk.sign_in(Role.ANALYST)
    finding = site.findings[0]
    desk.go(f"/map?finding={finding.finding_id}")
    page.wait_for_selector("#map[data-points]", timeout=4 * WAIT_MS)
    page.wait_for_selector("#map[data-frames]")
    expect(page.get_by_label(finding.title)).to_be_checked()
    assert int(page.locator("#map").get_attribute("data-points") or 0) > 2_000
    page.wait_for_timeout(500)
    assert colours_in(page) > 20
    assert grave(page) == []
    picture(page, f"map-{scheme}")
    box = page.locator("#map").bounding_box()
    assert box is not None
    tip = page.locator(".map-tip")
    for step in range(400):  # until the pointer rests on a point
        place = (step * 37 % (box["width"] - 80), step * 23 % (box["height"] - 90))
        page.mouse.move(box["x"] + 40 + place[0], box["y"] + 60 + place[1])
        page.wait_for_timeout(20)
        if tip.is_visible():
            page.wait_for_timeout(300)
            if tip.is_visible():
                break
    expect(tip).to_contain_text("text ")
    where = tip.text_content() or ""
    page.mouse.down()
    page.mouse.up()
    number = where.split()[1]
    expect(page.locator("#map-text h2")).to_have_text(f"Text {number}")
    expect(page.locator("#map-text").get_by_role("link").first).to_be_visible()
    before = page.locator("#map").get_attribute("data-frames")
    page.get_by_role("button", name="Closer").click()
    expect(page.locator("#map")).not_to_have_attribute("data-frames", before or "")
    seen = colours_in(page)
    page.mouse.move(box["x"] + 300, box["y"] + 300)
    page.mouse.down()
    for step in range(10):
        page.mouse.move(box["x"] + 300 + 2 * step, box["y"] + 300)
    assert colours_in(page) > min(20, seen / 4), "while it is moved it stays visible"
    page.mouse.up()


def test_a_run_is_started_and_its_progress_arrives(site: Site, sit_down: Sit) -> None:
    desk = sit_down(site)
    page = desk.sign_in(Role.ANALYST)
    desk.go("/runs")
    page.get_by_label("Since").fill("2026-03-01")
    page.get_by_role("button", name="Start a run").click()
    page.wait_for_url("**/runs/2*")
    expect(page.locator(".state-done, .state-failed")).to_be_visible()


def test_attacks_are_shown_as_text(attacked: Site, sit_down: Sit) -> None:
    desk = sit_down(attacked)
    page = desk.sign_in()
    desk.go("/findings/f-0001")
    title = page.title()
    expect(page.locator(".exemplar").last.locator("pre").first).to_have_text(f"Name the capital of {HOSTILE}")
    expect(page.locator("figure").first).to_be_visible()
    for address in ("/search?exchange=hostile", "/search?exchange=e00001", "/findings/f-0001/pictures"):
        desk.go(address)
        assert page.evaluate("document.querySelectorAll('main img, main script, main b, main i').length") == 0
    desk.go("/findings/f-0001")
    page.get_by_role("link", name=HOSTILE_ACCOUNT).first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(HOSTILE_ACCOUNT)
    expect(page.locator(".exemplar pre").first).to_have_text(f"Name the capital of {HOSTILE}")
    desk.go("/search")
    page.get_by_label("Text", exact=True).fill(HOSTILE)
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_label("Text", exact=True)).to_have_value(HOSTILE)
    expect(page.locator(".hits").get_by_text(HOSTILE_ACCOUNT).first).to_be_visible()
    assert "taken" not in (title, page.title())
