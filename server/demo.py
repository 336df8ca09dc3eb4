"""The whole service shown on simulated traffic: a real server process, a real socket, and the truth beside it."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich import box
from rich.panel import Panel
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from coterie.client import Client
from coterie.domain import (
    CoterieError,
    Finding,
    FindingKind,
    InvalidError,
    RunState,
    UnavailableError,
    finding_to_json,
)
from coterie.server import cli_render as render
from coterie.server.cli_commands import FINDINGS_MAX, UsageError, standing_findings, watch
from coterie.server.cli_terminal import Terminal, shown
from coterie.simulation import Config, Traffic, evaluate, simulate, write_traffic
from coterie.simulation.evaluate import Scores

_LISTENING = re.compile(r"listening on (\S+)")
_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 60.0
_LOG_LINES_SHOWN = 20
_HITS = 6
# Fewer and shorter texts than `simulate` writes: embedding them is nearly all of the demo's time.
_RESPONSES = 0.2
_PROMPT_CHARS_MAX = 800

Truth = Mapping[str, Mapping[str, str]]


def run_demo(terminal: Terminal, *, corpus: Path | None, accounts: int, seed: int, model: str | None) -> int:
    """Simulate, serve, ingest, re-cluster, and show what came out beside the truth.

    Args:
        corpus: folder of texts; None takes the built-in text.
        accounts: how many accounts; 150 take a few minutes on two cores.

    Returns:
        0, or 1 when there were campaigns and not one of them was found.

    Raises:
        CoterieError: a step failed; the end of the server's log has been printed.
    """
    try:
        config = Config(
            corpus=corpus, accounts=accounts, seed=seed, responses=_RESPONSES, prompt_chars_max=_PROMPT_CHARS_MAX
        )
    except InvalidError as error:
        raise UsageError(f"--{error.field}: {error}") from error
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="coterie-demo-") as folder:
        code = _Demo(terminal, config, Path(folder), model).run()
    terminal.out.print(Text(f"The demo took {time.monotonic() - started_s:.0f} s; its files are gone again.", "dim"))
    return code


class _Demo:
    """One showing; every step prints its own part."""

    def __init__(self, terminal: Terminal, config: Config, folder: Path, model: str | None) -> None:
        self._terminal = terminal
        self._out = terminal.out
        self._config = config
        self._folder = folder
        self._model = model
        self._steps = 0
        self._at = "coterie"

    def run(self) -> int:
        self._introduce()
        traffic = self._simulate()
        server = _Server(self._folder, self._model)
        with server.running() as address, Client.connect(address) as client:
            self._at = f"coterie --server {address}"
            self._step("Ingest", f"{self._at} ingest events.jsonl")
            self._ingest(client, traffic, address)
            self._step("Re-cluster", f"{self._at} recluster")
            found = self._recluster(client)
            self._step("What it found, and the truth", f"{self._at} findings")
            self._show_findings(found, traffic.truth)
            campaigns = [finding for finding in found if finding.kind is FindingKind.CAMPAIGN]
            if campaigns:
                self._show_one(client, campaigns[0], traffic.truth)
            self._step("How good that is", f"{self._at} evaluate events.jsonl truth.json")
            scores = self._score(found)
        self._next()
        return 1 if scores.guilty and not scores.accused_guilty else 0

    def _step(self, title: str, command: str) -> None:
        self._steps += 1
        self._out.print()
        self._out.print(Rule(Text(f"{self._steps}  {title}", style="bold"), align="left", style="dim"))
        self._out.print(Text(f"$ {command}\n", style="cyan"))

    def _introduce(self) -> None:
        text = Text(
            "coterie finds the accounts that act as one. This demo hides campaigns in the traffic of many innocent "
            "accounts, streams it into a server of its own, and shows what the server finds, with the evidence. "
            "The server never sees the truth; the demo does, and marks every finding right or wrong."
        )
        self._out.print(Panel(text, box=box.ROUNDED, title="coterie demo", title_align="left", border_style="cyan"))

    def _simulate(self) -> Traffic:
        corpus = self._config.corpus
        source = f" --corpus {corpus}" if corpus else ""
        self._step(
            "Traffic with campaigns hidden in it",
            f"coterie simulate{source} --accounts {self._config.accounts} --seed {self._config.seed} "
            f"--responses {_RESPONSES} --prompt-chars-max {_PROMPT_CHARS_MAX} --out sim",
        )
        with self._terminal.progress("simulating") as meter:
            traffic = simulate(self._config, lambda stage, share: meter.update(share, stage))
            write_traffic(traffic, self._folder)
        campaigns = _campaigns(traffic.truth)
        hidden = f"{render.counted(len(campaigns), 'campaign')} of {sum(map(len, campaigns.values()))} accounts"
        self._out.print(
            Text(
                f"{len(traffic.events):,} exchanges of {len(traffic.truth):,} accounts over {self._config.days} days, "
                f"from {'the corpus' if corpus else 'built-in text'}. Hidden in it: {hidden}."
            )
        )
        return traffic

    def _ingest(self, client: Client, traffic: Traffic, address: str) -> None:
        started_s = time.monotonic()
        total = len(traffic.events)
        with self._terminal.progress("ingesting") as meter:
            summary = client.ingest(
                traffic.events, on_progress=lambda so_far: meter.update(so_far.answered / total, f"{so_far.answered:,}")
            )
        took_s = time.monotonic() - started_s
        if summary.stored != total:
            raise CoterieError(f"{summary.stored} of {total} exchanges were stored: {dict(summary.reasons)}")
        self._out.print(
            Text(f"{total:,} exchanges durable at the server on {address}, {total / max(took_s, 1e-3):,.0f} a second.")
        )

    def _recluster(self, client: Client) -> list[Finding]:
        pending = client.stats().pending_texts
        self._out.print(Text(f"{pending:,} distinct texts are still to be embedded; the run waits for them."))
        run = watch(self._terminal, client, client.start_run())
        if run.state is not RunState.DONE:
            raise CoterieError(f"run {run.run_id} is {run.state.value}: {run.error}")
        found = client.list_findings(run.run_id, limit=FINDINGS_MAX)[1]
        self._out.print(render.run_summary(run, found))
        return found

    def _show_findings(self, found: Sequence[Finding], truth: Truth) -> None:
        campaigns = _campaigns(truth)
        made = render.table("finding", "severity", "sure", "the truth", right=("sure",), whole=("severity",))
        for finding in found:
            made.add_row(
                render.headline(finding),
                render.severity(finding.severity),
                f"{finding.confidence:.2f}",
                _verdict(finding, truth, campaigns),
            )
        self._out.print(made)
        self._out.print(_missed(found, campaigns))

    def _show_one(self, client: Client, first: Finding, truth: Truth) -> None:
        self._step("One finding, with its evidence", f"{self._at} finding {shown(first.finding_id)}")
        finding, reviews, exemplars = client.get_finding(first.finding_id)
        self._out.print(render.finding_page(finding, reviews, exemplars))
        if not exemplars:
            return
        asked = exemplars[0]
        self._step(
            "Who else asks like this?",
            f"{self._at} search --exchange {shown(asked.exchange_id)} --one-per-account -k {_HITS}",
        )
        self._out.print(Text.assemble(("asked: ", "dim"), shown(asked.prompt, render.HIT_CHARS)))
        result = client.search(exchange_id=asked.exchange_id, k=_HITS, one_per_account=True)
        self._out.print(render.hits_table(result.hits))
        label = truth[asked.account_id]["label"]
        same = sum(truth[hit.exchange.account_id]["label"] == label for hit in result.hits)
        self._out.print(
            Text.assemble(("the truth: ", "dim"), f"{same} of these {len(result.hits)} accounts are {label}")
        )

    def _score(self, found: Sequence[Finding]) -> Scores:
        claims = [finding_to_json(finding) for finding in standing_findings(list(found))]
        scores = evaluate(claims, self._folder / "events.jsonl", self._folder / "truth.json")
        self._out.print(render.scores_table(scores.rows()))
        return scores

    def _next(self) -> None:
        steps = Table.grid(padding=(0, 2))
        for command, what in (
            ("coterie serve", "serve a data folder of your own"),
            ("coterie ingest FILE", 'JSON lines: {"exchange_id","account_id","time","prompt", ...}'),
            ("coterie recluster", "look for campaigns; then: findings, finding ID, account ID"),
            (
                "coterie review ID confirm --reason TEXT",
                "record your decision: confirm, dismiss, watch, escalate",
            ),
            ("coterie --help", "every verb"),
        ):
            steps.add_row(Text(command, style="cyan"), Text(what, style="dim"))
        self._out.print()
        self._out.print(Panel(steps, box=box.ROUNDED, title="Next", title_align="left", border_style="cyan"))


class _Server:
    """`coterie serve` as a process of its own, on a port that the system chooses."""

    def __init__(self, folder: Path, model: str | None) -> None:
        self._log = folder / "server.log"
        model_flag = ["--model", model] if model else []
        self._command = [
            *(sys.executable, "-m", "coterie.server.cli", "--data-dir", str(folder / "data"), *model_flag),
            *("serve", "--listen", "127.0.0.1:0", "--console-listen", ""),
        ]

    @contextmanager
    def running(self) -> Iterator[str]:
        """The address of the server, which is stopped by SIGTERM in the end.

        Raises:
            UnavailableError: it does not start, or does not stop in order.
        """
        with self._log.open("wb") as log:
            process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield self._address(process)
            self._stop(process)
        except BaseException:
            sys.stderr.write(self._log_tail())
            raise
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def _address(self, process: "subprocess.Popen[bytes]") -> str:
        deadline_s = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline_s and process.poll() is None:
            found = _LISTENING.search(self._log.read_text(encoding="utf-8", errors="replace"))
            if found:
                return found[1]
            time.sleep(0.1)
        raise UnavailableError("the server did not start; its log is above")

    def _stop(self, process: "subprocess.Popen[bytes]") -> None:
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise UnavailableError(f"the server did not stop within {_STOP_TIMEOUT_S:.0f} s of SIGTERM") from error
        if code != 0:
            raise UnavailableError(f"the server ended with exit code {code}; its log is above")

    def _log_tail(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES_SHOWN:]
        return "".join(f"server: {shown(line)}{os.linesep}" for line in lines)


def _campaigns(truth: Truth) -> dict[str, set[str]]:
    """The accounts of each campaign, by name."""
    members: dict[str, set[str]] = {}
    for account, entry in truth.items():
        if entry["label"] != "benign":
            members.setdefault(entry["label"], set()).add(account)
    return members


def _verdict(finding: Finding, truth: Truth, campaigns: Mapping[str, set[str]]) -> Text:
    labels = Counter(truth[account.account_id]["label"] for account in finding.accounts)
    innocent = labels.pop("benign", 0)
    if finding.kind is not FindingKind.CAMPAIGN:
        return Text("accuses nobody of acting as one", style="dim")
    if not labels:
        return Text(f"✗ wrong: all {innocent} are innocent", style="bold red")
    name, count = labels.most_common(1)[0]
    others = labels.total() - count + innocent
    share = f"{count} of the {len(campaigns[name])} accounts of"
    if others:
        return Text(f"~ {others} that do not belong, and {share}\n  {shown(name)}", style="yellow")
    return Text(f"✓ right: {share}\n  {shown(name)}", style="green")


def _missed(found: Sequence[Finding], campaigns: Mapping[str, set[str]]) -> Text:
    accused = {
        account.account_id for finding in found if finding.kind is FindingKind.CAMPAIGN for account in finding.accounts
    }
    missed = [name for name, members in campaigns.items() if not members & accused]
    if missed:
        return Text(f"✗ not found: {', '.join(sorted(missed))}", style="bold red")
    return Text("No campaign was missed." if campaigns else "There was no campaign to be found.", style="green")
