"""How long pages of the console take over a full service: 200,000 exchanges and 200 findings, the model-free encoder.

The service is `coterie serve` in a process of its own; pages are fetched over HTTP by one person. Of each page the
first fetch and the median of the others are told, and the processor time that the service spent on each of the others:
on a machine that does something else besides, the wall clock tells more of that than of the page. Beside them, in the
same run, stands the page of keys and help, which asks the service for nothing. The map is laid out first; what that
took is told too.

    python bench/bench_console.py > bench/results/console.json
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np

from coterie.domain import (
    AccountId,
    Evidence,
    Exchange,
    ExchangeId,
    Family,
    FamilyId,
    FamilyLabels,
    FamilyLineage,
    FamilyRecord,
    Finding,
    FindingAccount,
    FindingFamily,
    FindingId,
    FindingKind,
    Run,
    RunId,
    RunState,
    Severity,
    TextField,
    TextId,
)
from coterie.server import Config, Engine
from coterie.simulation.wordbanks import FOODS

START_US = 1_767_225_600_000_000
RUN = RunId("20260115T000000-bench0")
MEMBERS = 40
"""Accounts of each finding."""


def main() -> None:
    """Fill a folder, serve it, fetch every page, and write one JSON object to stdout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exchanges", type=int, default=200_000)
    parser.add_argument("--findings", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--browser", default="", help="also move the map in this Chromium, without a graphics card")
    parser.add_argument("--folder", type=Path, default=None, help="keep the data here, and take it up again")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        config = Config(data_dir=options.folder or Path(scratch) / "data", model="hash", monolingual=True)
        if not config.data_dir.exists():
            fill(config, options.exchanges, options.findings)
        with served(config) as (process, url), httpx.Client(base_url=url, timeout=600) as client:
            client.get("/sign-in")
            layout = await_map(client)
            moved = moved_map(options.browser, url) if options.browser else {}
            pages = [fetched(client, process.pid, page, options.repeats) for page in pages_of(client)]
    report = {
        "arguments": {"exchanges": options.exchanges, "findings": options.findings, "repeats": options.repeats},
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "versions": {name: version(name) for name in ("coterie", "starlette", "uvicorn", "jinja2", "umap-learn")},
        "load_average": os.getloadavg(),
        "map": {**layout, **moved},
        "pages": pages,
    }
    json.dump(report, sys.stdout, indent=1)
    for page in pages:
        row = (page["first_s"], page["median_s"], page["cpu_s"], page["bytes"])
        print("{:<28} {:8.3f} {:8.3f} {:8.3f} {:10,}".format(page["page"], *row), file=sys.stderr)


def prompt(number: int, findings: int) -> str:
    """A question of pool `number` modulo findings + 50; the last fifty are nobody's."""
    pool, item = number % (findings + 50), number // (findings + 50)
    subject = FOODS[pool % len(FOODS)]
    return f"In survey {pool} about {subject}, what does answer {item} of {item * 13 + pool} mean for a traveller?"


def fill(config: Config, exchanges: int, findings: int) -> None:
    """Exchanges whose pool is known, and a finished run that found the pools, through the service's own store."""
    pools = findings + 50
    engine = Engine.open(config)
    try:
        engine.warm_up()
        for first in range(0, exchanges, 1_000):
            batch = [made(number, pools, findings) for number in range(first, min(first + 1_000, exchanges))]
            engine.ingest(batch).result()
        engine.embed_pending(lambda _: None, lambda: False)
        finish(engine, exchanges, findings)
    finally:
        engine.close()


def account_of(number: int, pools: int) -> AccountId:
    """The account of an exchange: each pool has its own."""
    return AccountId(f"account-{number % pools:03}-{number // pools % MEMBERS:02}")


def made(number: int, pools: int, findings: int) -> Exchange:
    """One exchange."""
    return Exchange(
        exchange_id=ExchangeId(f"x-{number:07}"),
        account_id=account_of(number, pools),
        time_us=START_US + number * 6_000_000,
        prompt=prompt(number, findings),
        response="It depends on the season." if number % 3 == 0 else "",
        model="m-1",
        attributes={"asn": f"AS{number % 40}"},
    )


def finish(engine: Engine, exchanges: int, findings: int) -> None:
    """Record a run with families and findings that are the pools."""
    pools = findings + 50
    store = engine.store
    text_ids = np.sort(store.text_ids(TextField.PROMPT))
    assert len(text_ids) == exchanges, "prompts were meant to be distinct"
    pool = np.array([int(text.split()[2]) for text in store.texts(text_ids)])
    labels = FamilyLabels(
        text_ids, pool.astype(np.int32), np.full(exchanges, 0.4, np.float32), np.ones(exchanges, np.int32),
        tuple(FamilyId(f"family-{number}") for number in range(pools)), np.full(pools, 0.5, np.float32), RUN,
    )  # fmt: skip
    families = tuple(
        Family(FamilyId(f"family-{number}"), exchanges // pools, exchanges // pools, MEMBERS, FamilyLineage.BORN,
               gate_distance=0.5, exemplar=ExchangeId(f"x-{number:07}"), first_seen_us=START_US,
               last_seen_us=START_US, run_id=RUN)
        for number in range(pools)
    )  # fmt: skip
    run = Run(RUN, RunState.PENDING, START_US)
    store.create_run(run)
    until_us = START_US + exchanges * 6_000_000
    done = replace(run, state=RunState.DONE, since_us=START_US, until_us=until_us, measures={"exchanges": exchanges})
    found = [made_finding(number, pools, exchanges, text_ids[pool == number]) for number in range(findings)]
    store.finish_run(done, found, [], FamilyRecord(families, labels))


def made_finding(number: int, pools: int, exchanges: int, text_ids: Any) -> Finding:
    """A finding of one pool: MEMBERS accounts, all of the pool's prompts, a dozen pieces of evidence."""
    each = exchanges // pools // MEMBERS
    end_us = START_US + exchanges * 6_000_000
    names = ("exchangeability", "neighbour_mixing", "share_spread", "excess_links", "partition", "harvest",
             "equal_shares", "format_uniformity")  # fmt: skip
    reason = "What was measured here is far from what chance gives, by the null model that is named beside it."
    return Finding(
        finding_id=FindingId(f"f-{number:010}"),
        kind=FindingKind.CAMPAIGN,
        severity=list(Severity)[number % 4],
        confidence=0.7 + 0.3 * number / 200,
        title=f"{MEMBERS} accounts share out {len(text_ids)} prompts",
        accounts=tuple(
            FindingAccount(account_of(number + pools * member, pools), each, each, 1.0, START_US, end_us)
            for member in range(MEMBERS)
        ),
        families=(FindingFamily(FamilyId(f"family-{number}"), len(text_ids), MEMBERS),),
        benchmarks=(),
        first_seen_us=START_US,
        last_seen_us=end_us,
        evidence=tuple(Evidence(name, "a statistic", 0.97, "a null model", reason, 1e-7) for name in names),
        counter_evidence=tuple(Evidence(name, "a share", 0.2, "near 0", reason) for name in ("follow_ups", "history")),
        exemplars=tuple(ExchangeId(f"x-{number + pools * place:07}") for place in range(12)),
        run_id=RUN,
        text_ids=tuple(TextId(int(text_id)) for text_id in text_ids),
    )


@contextmanager
def served(config: Config) -> "Iterator[tuple[subprocess.Popen[bytes], str]]":
    """`coterie serve` on the folder; gives the process and the console's address."""
    settings = {"data_dir": config.data_dir, "model": "hash", "monolingual": "true", "listen": "127.0.0.1:0",
                "console_listen": "127.0.0.1:0"}  # fmt: skip
    environment = os.environ | {f"COTERIE_{name.upper()}": str(value) for name, value in settings.items()}
    code = "import sys; from coterie.server import load_config, serve; sys.exit(serve(load_config()))"
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as stderr:
            process = subprocess.Popen([sys.executable, "-c", code], env=environment, stderr=stderr)
        try:
            while (found := re.search(r"the console is at (http://\S+)/", log.read_text())) is None:
                if process.poll() is not None:
                    raise SystemExit(log.read_text())
                time.sleep(0.1)
            while "clustering_ready" not in log.read_text():  # compiled in the background: not the pages' time
                time.sleep(0.5)
            yield process, found[1]
        finally:
            process.terminate()
            process.wait()


def await_map(client: httpx.Client) -> dict[str, float]:
    """Have the map laid out; what it took."""
    began, children = time.perf_counter(), 0.0
    while client.get("/map/data").status_code == 202:
        children = max(children, layout_cpu_s())
        time.sleep(0.5)
    return {"wall_s": round(time.perf_counter() - began, 1), "cpu_s": round(children, 1)}


def moved_map(chromium: str, url: str) -> dict[str, float]:
    """Drag the map about, drawn by the processor: until it is there, until it is drawn anew, and pictures a second."""
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox", "--disable-gpu", "--use-gl=angle", "--use-angle=swiftshader",
                 "--enable-unsafe-swiftshader"]  # fmt: skip
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(300_000)
        page.goto(f"{url}/sign-in")
        began = time.perf_counter()
        page.goto(f"{url}/map")
        frames = page.locator("#map")
        page.wait_for_selector("#map[data-frames]")
        first_s = time.perf_counter() - began
        page.wait_for_selector("#map[data-cost]")
        page.wait_for_timeout(3_000)

        def pictures() -> int:
            return sum(int(frames.get_attribute(f"data-{name}") or 0) for name in ("frames", "slides"))

        speeds = []
        for _ in range(3):
            before, began = pictures(), time.perf_counter()
            page.mouse.move(500, 400)
            page.mouse.down()
            for step in range(60):
                page.mouse.move(500 + 3 * step, 400 + 2 * step)
            page.mouse.up()
            speeds.append((pictures() - before) / (time.perf_counter() - began))
            page.wait_for_timeout(3_000)
        points, drawn, cost_ms = (
            int(frames.get_attribute(f"data-{name}") or 0) for name in ("points", "drawn", "cost")
        )
        browser.close()
    return {
        "points": points,
        "points_told_apart": drawn,
        "first_frame_s": round(first_s, 2),
        "drawn_anew_s": cost_ms / 1e3,
        "pictures_a_s_while_moved": round(statistics.median(speeds), 1),
    }


def layout_cpu_s() -> float:
    """Processor time of the process that lays out, while it runs; 0 when there is none."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"coterie.server.layout" in (folder / "cmdline").read_bytes():
                return cpu_s(int(folder.name))
        except OSError:
            continue
    return 0.0


def cpu_s(pid: int) -> float:
    """Processor time that a process has spent."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pages_of(client: httpx.Client) -> list[tuple[str, str, dict[str, str] | None]]:
    """Every page: what it is called, its address, and the form that is sent, if one is."""
    csrf = re.findall(r'name="csrf" value="([^"]+)"', client.get("/help").text)[0]
    account = quote("account-003-07")
    text = re.findall(r"x-\d{7}", client.get("/findings/f-0000000003").text)[0]
    return [
        ("help", "/help", None),
        ("findings", "/findings", None),
        ("findings, a later page", "/findings?page=3&sort=confidence", None),
        ("findings, of an account", f"/findings?words={account}", None),
        ("finding", "/findings/f-0000000003", None),
        ("pictures of it", "/findings/f-0000000003/pictures?part", None),
        ("account", f"/accounts?id={account}", None),
        ("neighbours of a text", "/search", {"csrf": csrf, "text": "What does answer 7 mean for a traveller?"}),
        ("neighbours of an exchange", f"/search?exchange={text}&one_per_account=1", None),
        ("map", "/map", None),
        ("points of the map", "/map/data", None),
        ("a text", "/texts/4000", None),
        ("runs", "/runs", None),
        ("a run", f"/runs/{RUN}", None),
        ("benchmarks", "/benchmarks", None),
        ("rules", "/rules", None),
        ("calibration", "/calibration", None),
        ("audit record", "/audit", None),
        ("person", "/person", None),
    ]


def fetched(
    client: httpx.Client, pid: int, page: tuple[str, str, dict[str, str] | None], repeats: int
) -> dict[str, Any]:
    """Fetch a page several times."""
    name, address, form = page
    walls, cpus = [], []
    for _ in range(repeats + 1):
        cpu_before, before = cpu_s(pid), time.perf_counter()
        answer = client.post(address, data=form) if form else client.get(address)
        walls.append(time.perf_counter() - before)
        cpus.append(cpu_s(pid) - cpu_before)
        assert answer.status_code == 200, (name, answer.status_code, answer.text[:500])
    return {
        "page": name,
        "first_s": round(walls[0], 3),
        "median_s": round(statistics.median(walls[1:]), 3),
        "worst_s": round(max(walls[1:]), 3),
        "cpu_s": round(sum(cpus[1:]) / repeats, 3),
        "bytes": len(answer.content),
    }


if __name__ == "__main__":
    main()
