"""What is deployed: every metric, setting and runbook section that a file names is there."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from coterie.server import Config, Engine, load_config
from coterie.server.metrics import Metrics
from coterie.server.metrics_state import StateMetrics
from coterie.server.readiness import Readiness

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
RUNBOOK = ROOT / "docs" / "operations.md"
_WORD = re.compile(r"\b((?:coterie|process)_[a-z0-9_]+)\b")
_ALERT = re.compile(r"- alert: (\w+)\n(.*?)(?=\n      - alert:|\Z)", re.DOTALL)


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[set[str]]:
    """The names of all series that a server exposes, with the suffixes of their kinds."""
    config = Config(data_dir=tmp_path_factory.mktemp("deploy"), model="hash", monolingual=True)
    engine = Engine.open(config)
    metrics = Metrics()
    metrics.add(StateMetrics(engine, Readiness(engine, lambda ready: None), lambda: 0.0))
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "info": ("_info",)}
    found = {
        family.name + suffix for family in metrics.registry.collect() for suffix in suffixes.get(family.type, ("",))
    }
    engine.close()
    return found


def dashboard() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DEPLOY / "dashboard.json").read_text())
    return loaded


def alerts() -> dict[str, str]:
    return dict(_ALERT.findall((DEPLOY / "alerts.yml").read_text()))


def test_every_panel_asks_for_metrics_that_exist(names: set[str]) -> None:
    panels = [panel for panel in dashboard()["panels"] if panel["type"] != "row"]
    assert len(panels) > 20
    assert len({panel["id"] for panel in dashboard()["panels"]}) == len(dashboard()["panels"])
    for panel in panels:
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            asked = set(_WORD.findall(target["expr"]))
            assert asked, target["expr"]
            assert asked <= names, (panel["title"], asked - names)


def test_every_metric_of_ours_is_on_the_dashboard(names: set[str]) -> None:
    shown = set(_WORD.findall((DEPLOY / "dashboard.json").read_text()))
    stems = {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in shown}
    missing = {
        name
        for name in names
        if name.startswith("coterie_") and re.sub(r"_(bucket|sum|count|total)$", "", name) not in stems
    }
    assert missing == set()


def test_every_alert_asks_for_metrics_that_exist_and_has_its_runbook(names: set[str]) -> None:
    found = alerts()
    assert len(found) > 10
    headings = {
        line.removeprefix("### ").strip() for line in RUNBOOK.read_text().splitlines() if line.startswith("### ")
    }
    for name, body in found.items():
        (expression,) = re.findall(r"^ +expr: (.+)$", body, re.MULTILINE)
        asked = set(_WORD.findall(expression))
        assert asked or expression.startswith("up{"), name
        assert asked <= names, (name, asked - names)
        assert expression.count("(") == expression.count(")"), name
        assert f"runbook_url: docs/operations.md#{name.lower()}" in body
        assert "severity:" in body
        assert name in headings, name
    assert {heading for heading in headings if heading.startswith("Coterie")} == set(found)
    sections = RUNBOOK.read_text().split("\n### ")[1:]
    for section in sections:
        if section.startswith("Coterie"):
            assert all(f"**{word}**" in section for word in ("Cause", "Check", "Action")), section.splitlines()[0]


def test_the_example_configuration_is_one() -> None:
    path = DEPLOY / "coterie.toml"
    config = load_config(path, environment={})
    named = set(re.findall(r"^(?:# )?([a-z_]+) = ", path.read_text(), re.MULTILINE))
    assert named <= {item.name for item in fields(Config)}
    assert len(named) > 10
    assert config.metrics_listen
    assert config.log_format == "json"


def test_the_unit_stops_after_the_drain() -> None:
    unit = (DEPLOY / "coterie.service").read_text()
    config = load_config(DEPLOY / "coterie.toml", environment={})
    (stop_s,) = re.findall(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)
    assert int(stop_s) >= config.drain_delay_s + config.shutdown_grace_s + 60
    for line in ("NoNewPrivileges=yes", "ProtectSystem=strict", "User=coterie", "KillSignal=SIGTERM"):
        assert line in unit.splitlines()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    # The command of the unit is not installed here; any other that can be run stands for it.
    unit = (DEPLOY / "coterie.service").read_text().replace("/opt/coterie/bin/coterie ", "/bin/true ")
    path = tmp_path / "coterie.service"
    path.write_text(unit)
    done = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False)
    told = [line for line in done.stderr.splitlines() if "coterie.service" in line]
    assert told == []


def test_the_container_is_pinned_and_not_roots() -> None:
    lines = (DEPLOY / "Containerfile").read_text()
    instructions = re.sub(r"\\\n", " ", "\n".join(line for line in lines.splitlines() if not line.startswith("#")))
    words = [line.split(maxsplit=1) for line in instructions.splitlines() if line.strip()]
    known = {*("FROM", "RUN", "WORKDIR", "COPY", "ENV", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "STOPSIGNAL")}
    assert {word[0] for word in words} <= known | {"ENTRYPOINT", "CMD"}
    bases = [word[1] for word in words if word[0] == "FROM"]
    assert len(bases) == 2
    assert all(":" in base and ":latest" not in base for base in bases)
    last = max(number for number, word in enumerate(words) if word[0] == "FROM")
    users = [word[1] for word in words[last:] if word[0] == "USER"]
    assert users == ["10001:10001"]
    (pin,) = re.findall(r"^torch==\S+", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert f" {pin} " in instructions
    assert (ROOT / "deploy" / "coterie.toml").exists()
