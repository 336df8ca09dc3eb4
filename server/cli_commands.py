"""The verbs. Each is a function of a `Session`; all that touch data are calls of the gRPC client."""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import grpc
from rich.text import Text

from coterie.client import Client, IngestSummary, RetryPolicy, Tls
from coterie.client.channel import authorised, channel_options, check_token
from coterie.domain import (
    LIMITS,
    AccountId,
    CoterieError,
    Exchange,
    Finding,
    FindingKind,
    InvalidError,
    Lineage,
    NotFoundError,
    ParameterSet,
    ReviewState,
    Run,
    RunState,
    SearchFilter,
    Slice,
    TextField,
    UnavailableError,
    exchange_to_json,
    family_to_json,
    finding_to_json,
    format_time,
    review_to_json,
)
from coterie.server import cli_render as render
from coterie.server.cli_files import Exchanges, Lines, ParquetRows, Problem, open_exchanges, read_benchmark, read_names
from coterie.server.cli_terminal import Meter, Terminal, shown
from coterie.server.config import Config, client_token, load_config

FINDINGS_MAX = 100_000
_LOCAL_TIMEOUT_S = 24 * 3600.0
_IMPATIENT = RetryPolicy(attempts=5)
_WRITERS = ("ingest", "benchmark register", "token mint")


class UsageError(CoterieError):
    """The command line contradicts itself; exit code 2."""


class Session:
    """The parsed command line, where to write, and the way to the service."""

    def __init__(self, options: argparse.Namespace, terminal: Terminal) -> None:
        self.options = options
        self.terminal = terminal

    def config(self, **overrides: Any) -> Config:
        """The configuration: file, then environment, then flags.

        Raises:
            UsageError: a setting that is none, or a bad value.
        """
        given = {"data_dir": self.options.data_dir, "model": self.options.model, **overrides}
        try:
            return load_config(self.options.config, given)
        except InvalidError as error:
            raise UsageError(str(error)) from error

    @contextmanager
    def client(self, retry: RetryPolicy = _IMPATIENT) -> Iterator[Client]:
        """A client of the server named by `--server`, else of one in this process on the data folder.

        Args:
            retry: how long to wait for a server that is away; by default about a second.

        Raises:
            ConflictError: a server already has the folder.
            NotFoundError: there is no coterie data in the folder, and the verb would not fill it.
            UnavailableError: no server answers.
        """
        if self.options.server:
            token = client_token(self.options.token_file)
            with Client.connect(self.options.server, retry=retry, token=token, tls=self._tls()) as client:
                try:
                    yield client
                except UnavailableError as error:
                    raise UnavailableError(
                        f"no answer from the server at {self.options.server}, is it running, and does it speak TLS as "
                        f"you do? ({error})"
                    ) from error
            return
        config = self.config(lazy_model=True)
        from coterie.server.app import local_server

        create = self.options.verb in _WRITERS
        # Embedding what is pending may take any time, and there is nobody else to keep waiting.
        with (
            local_server(config, create=create) as address,
            Client.connect(address, timeout_s=_LOCAL_TIMEOUT_S) as client,
        ):
            yield client

    @contextmanager
    def channel(self) -> Iterator[Any]:
        """A channel to the server named by `--server`, for calls that are not coterie's own.

        Raises:
            InvalidError: a file that cannot be used, or a token that would cross the network in the clear.
        """
        address, tls = self.options.server, self._tls()
        token = check_token(client_token(self.options.token_file), address, encrypted=tls is not None)
        options = channel_options(address)
        made = (
            grpc.insecure_channel(address, options=options)
            if tls is None
            else grpc.secure_channel(address, tls.credentials(), options=options)
        )
        with made:
            yield authorised(made, token)

    def _tls(self) -> Tls | None:
        options = self.options
        given = options.tls or options.tls_ca or options.own_cert or options.own_key
        return Tls(options.tls_ca, options.own_cert, options.own_key) if given else None


def serve(session: Session) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    names = {item.name for item in dataclasses.fields(Config)} - {"data_dir", "model"}
    config = session.config(**{name: getattr(session.options, name) for name in names})
    from coterie.server.app import serve as serve_until_stopped

    return serve_until_stopped(config)


def ingest(session: Session) -> int:
    """Stream a file in; 1 when anything of it was refused."""
    terminal = session.terminal
    with open_exchanges(session.options.file) as lines, session.client(RetryPolicy()) as client:
        exchanges = Exchanges(lines)
        try:
            with terminal.progress("ingesting") as meter:
                summary = client.ingest(
                    exchanges,
                    batch=session.options.batch,
                    stream_id=session.options.stream,
                    on_progress=_follow(meter, lines),
                )
        except UnavailableError as error:
            raise UnavailableError(
                f"{error}; run the same command again: what is stored already is not doubled"
            ) from error
    _place(exchanges, summary)
    refused = exchanges.reasons.total()
    _say_problems(terminal, exchanges)
    if lines.broken:
        terminal.say(f"coterie: {lines.broken}; the whole lines before that are kept")
    elif not lines.count:
        raise InvalidError("the file is empty: expected one exchange a line, as JSON", field="file")
    terminal.data(
        {
            "stored": summary.stored,
            "duplicates": summary.duplicates,
            "rejected": refused,
            "reasons": dict(exchanges.reasons),
            "last_sequence": summary.last_sequence,
        },
        f"{summary.stored:,} exchanges stored, {summary.duplicates:,} already there, {refused:,} rejected"
        + (f"; went on after the first {summary.skipped:,}" if summary.skipped else ""),
    )
    if summary.stored:
        terminal.suggest("recluster")
    return 1 if refused or lines.broken else 0


def _follow(meter: Meter, lines: Lines | ParquetRows) -> Any:
    started_s = time.monotonic()

    def on_progress(summary: IngestSummary) -> None:
        rate = summary.answered / max(time.monotonic() - started_s, 1e-3)
        meter.update(lines.done(), f"{summary.answered:,} exchanges, {rate:,.0f}/s")

    return on_progress


def _place(exchanges: Exchanges, summary: IngestSummary) -> None:
    # What the server refused joins what was refused on reading, under its line.
    for item in summary.rejections:
        exchanges.reject(Problem(exchanges.line_of(item.index), item.reason, item.message))
    unlisted = dict(summary.reasons)
    for item in summary.rejections:
        unlisted[item.reason] -= 1
    exchanges.reasons.update(unlisted)
    exchanges.problems.sort(key=lambda problem: problem.line)


def _say_problems(terminal: Terminal, exchanges: Exchanges) -> None:
    for problem in exchanges.problems:
        terminal.say(f"line {problem.line}: {shown(problem.message)}")
    refused = exchanges.reasons.total()
    if refused > len(exchanges.problems):
        terminal.say(f"... and {refused - len(exchanges.problems):,} more")
    if refused:
        counts = ", ".join(f"{count:,} {reason}" for reason, count in exchanges.reasons.most_common() if count)
        terminal.say(f"coterie: {refused:,} lines rejected ({counts}); the rest is kept")


def recluster(session: Session) -> int:
    """Run once, watch it, and say what came out."""
    options, terminal = session.options, session.terminal
    part, sets = _slice(options), _sets(options)
    with session.client() as client:
        run = client.start_run(since_us=options.since, until_us=options.until, slice=part, sets=sets)
        if not options.wait:
            terminal.data({"run": run_to_json(run)}, f"run {shown(run.run_id)} started")
            terminal.suggest("runs")
            return 0
        run = watch(terminal, client, run)
        if run.state is not RunState.DONE:
            raise CoterieError(f"run {run.run_id} is {run.state.value}: {shown(run.error) or 'cancelled on request'}")
        findings = client.list_findings(run.run_id, limit=FINDINGS_MAX)[1]
    terminal.data({"run": run_to_json(run)}, render.run_summary(run, findings))
    terminal.suggest("findings", *(() if part.is_whole else ("--run", run.run_id)))
    return 0


def _slice(options: argparse.Namespace) -> Slice:
    named = [] if options.accounts_from is None else read_names(options.accounts_from, LIMITS.run_accounts_max)
    return Slice(
        models=tuple(options.answered_by),
        accounts=tuple(AccountId(name) for name in (*options.account, *named)),
        attributes=dict(options.attribute),
        field=options.field,
    )


def _sets(options: argparse.Namespace) -> tuple[ParameterSet, ...]:
    first = ParameterSet(options.min_samples, options.min_cluster_size)
    return (first, *options.also) if options.also or first != ParameterSet() else ()


def watch(terminal: Terminal, client: Client, run: Run) -> Run:
    """The run, finished; its progress is shown meanwhile."""
    latest = run
    try:
        with terminal.progress("re-clustering") as meter:
            for latest in client.watch_run(run.run_id):
                meter.update(latest.progress, shown(latest.stage))
    except KeyboardInterrupt:
        if terminal.remote:
            terminal.say(f"coterie: run {shown(run.run_id)} goes on at the server; see `{terminal.command('runs')}`")
        raise
    return latest


def findings(session: Session) -> int:
    """The findings of a run."""
    options, terminal = session.options, session.terminal
    with session.client() as client:
        run_id, found = client.list_findings(
            options.run, kind=options.kind, review=options.review, account_id=options.account, limit=FINDINGS_MAX
        )
    listed = [item for item in found if options.suppressed or item.suppressed is None]
    hidden = len(found) - len(listed)
    value = findings_to_json(run_id, listed) | {"suppressed": sum(item.suppressed is not None for item in found)}
    terminal.data(value, render.findings_table(listed))
    if hidden:
        terminal.say(f"{hidden:,} suppressed by rules; --suppressed lists them, `rules` says why")
    found = listed
    if not run_id:
        terminal.say("no whole run is done yet")
        terminal.suggest("recluster")
    elif not found:
        terminal.say(f"run {shown(run_id)} has no {'other' if hidden else 'such'} findings")
    else:
        terminal.suggest("finding", found[0].finding_id)
    return 0


def findings_to_json(run_id: str, found: list[Finding]) -> dict[str, Any]:
    """The fixed contract of `coterie findings --json`."""
    return {"run_id": run_id, "findings": [finding_to_json(finding) for finding in found]}


def families(session: Session) -> int:
    """The families of a run."""
    options, terminal = session.options, session.terminal
    with session.client() as client:
        run_id, found = client.list_families(options.run, lineage=options.lineage, limit=options.limit + 1)
    more, found = len(found) > options.limit, found[: options.limit]
    value = {"run_id": run_id, "families": [family_to_json(family) for family in found]}
    terminal.data(value, render.families_table(found))
    if not run_id:
        terminal.say("no whole run is done yet")
        terminal.suggest("recluster")
    elif not found:
        terminal.say(f"run {shown(run_id)} has no such families, or too many runs have followed it")
    elif more:
        terminal.say("there are more: --limit lists them")
    return 0


def finding(session: Session) -> int:
    """One finding, whole."""
    terminal = session.terminal
    with session.client() as client:
        found, reviews, exemplars = client.get_finding(session.options.id)
    value = finding_to_json(found) | {
        "run_id": found.run_id,
        "reviews": [review_to_json(entry) for entry in reviews],
        "exchanges": [exchange_to_dict(exchange) for exchange in exemplars],
        "exemplars_gone": sorted({*found.exemplars} - {exchange.exchange_id for exchange in exemplars}),
    }
    terminal.data(value, render.finding_page(found, reviews, exemplars))
    if found.review in (ReviewState.CONFIRMED, ReviewState.DISMISSED):
        terminal.suggest("report", found.finding_id)
    else:
        terminal.suggest("review", found.finding_id, "DECISION", "--seen", str(found.version), "--reason", "TEXT")
    return 0


def account(session: Session) -> int:
    """Where an account stands."""
    with session.client() as client:
        report = client.get_account(session.options.id)
    standing = report.standing
    value = {
        "account_id": standing.account_id,
        "exchanges_total": report.exchanges_total,
        "exchanges": standing.exchanges,
        "run_id": report.run_id,
        "findings": [finding_to_json(found) for found in report.findings],
        "nearest_candidate": standing.nearest_candidate,
        "nearest_p_value": standing.nearest_p_value,
        "reason": standing.reason,
        "pool_exchanges": standing.pool_exchanges,
        "families": [dataclasses.asdict(family) for family in report.families],
    }
    session.terminal.data(value, render.account_page(report))
    if report.findings:
        session.terminal.suggest("finding", report.findings[0].finding_id)
    elif report.run_id:
        session.terminal.suggest("findings")
    return 0


def _why_nothing(pending: int) -> str:
    if pending:
        return f"nothing found so far: {pending:,} texts are still to be embedded; try again in a while"
    return "nothing found: nothing is stored yet, or the filter leaves nothing"


def search(session: Session) -> int:
    """Who else asks like this."""
    options, terminal = session.options, session.terminal
    text = _text(options.text)
    if (text is None) == (options.exchange is None):
        raise UsageError("search takes a TEXT or --exchange ID")
    search_filter = SearchFilter(
        accounts=tuple(AccountId(item) for item in options.account),
        models=tuple(options.answered_by),
        since_us=options.since,
        until_us=options.until,
        attributes=dict(options.attribute),
    )
    with session.client() as client:
        pending = client.stats().pending_texts
        if not options.server and pending:
            terminal.say(f"embedding {pending:,} texts first")
        result = client.search(
            text,
            exchange_id=options.exchange,
            field=TextField.RESPONSE if options.response else TextField.PROMPT,
            k=options.k,
            filter=search_filter,
            one_per_account=options.one_per_account,
        )
    hits = [{"similarity": hit.similarity, "exchange": exchange_to_dict(hit.exchange)} for hit in result.hits]
    value = {"hits": hits, "embed_time_ns": result.embed_time_ns, "search_time_ns": result.search_time_ns}
    terminal.data(value, render.hits_table(result.hits, responses=options.response, query=text or ""))
    if not result.hits:
        terminal.say(_why_nothing(pending))
    else:
        terminal.suggest("account", result.hits[0].exchange.account_id)
    return 0


def benchmark_register(session: Session) -> int:
    """Register a reference corpus."""
    items = read_benchmark(session.options.file)
    with session.client() as client:
        made = client.register_benchmark(session.options.name, items)
    value = {"name": made.name, "items": made.items, "registered": format_time(made.registered_us)}
    session.terminal.data(value, Text(f"{shown(made.name)}: {made.items:,} items registered"))
    session.terminal.suggest("recluster")
    return 0


def benchmark_list(session: Session) -> int:
    """Registered benchmarks."""
    with session.client() as client:
        found = client.list_benchmarks()
    listed = [{"name": item.name, "items": item.items, "registered": format_time(item.registered_us)} for item in found]
    session.terminal.data({"benchmarks": listed}, render.benchmarks_table(found))
    if not found:
        session.terminal.say("no benchmark is registered")
        session.terminal.suggest("benchmark", "register", "NAME", "FILE")
    return 0


def benchmark_match(session: Session) -> int:
    """Which items a text is."""
    text = _text(session.options.text)
    assert text is not None
    with session.client() as client:
        matches = client.match_benchmarks([text])[0]
    session.terminal.data({"matches": [dataclasses.asdict(match) for match in matches]}, render.matches_table(matches))
    if not matches:
        session.terminal.say("it is no item of a registered benchmark")
    return 0


def runs(session: Session) -> int:
    """Runs, newest first."""
    with session.client() as client:
        found = client.list_runs(limit=session.options.limit)
    session.terminal.data({"runs": [run_to_json(run) for run in found]}, render.runs_table(found))
    if not found:
        session.terminal.say("no run was made yet")
        session.terminal.suggest("recluster")
    elif done := [run for run in found if run.state is RunState.DONE]:
        session.terminal.suggest("findings", "--run", done[0].run_id)
    return 0


def simulate(session: Session) -> int:
    """Write traffic with ground truth."""
    from coterie.simulation import Config as Traffic
    from coterie.simulation import simulate as compose
    from coterie.simulation import write_traffic

    options, terminal = session.options, session.terminal
    given = {item.name: getattr(options, item.name) for item in dataclasses.fields(Traffic)}
    try:
        config = Traffic(**{name: value for name, value in given.items() if value is not None})
    except InvalidError as error:
        raise UsageError(f"--{error.field.replace('_', '-')}: {error}") from error
    with terminal.progress("simulating") as meter:
        traffic = compose(config, lambda stage, share: meter.update(share, stage))
        write_traffic(traffic, options.out)
    labels = {entry["label"] for entry in traffic.truth.values()} - {"benign"}
    value = {
        "exchanges": len(traffic.events),
        "accounts": len(traffic.truth),
        "campaigns": len(labels),
        "events": str(options.out / "events.jsonl"),
        "truth": str(options.out / "truth.json"),
    }
    line = (
        f"{len(traffic.events):,} exchanges of {len(traffic.truth):,} accounts in {options.out / 'events.jsonl'}; "
        f"{render.counted(len(labels), 'campaign')}, named in {options.out / 'truth.json'}"
    )
    terminal.data(value, Text(line))
    terminal.suggest("ingest", str(options.out / "events.jsonl"))
    return 0


def evaluate(session: Session) -> int:
    """Score the newest whole run against the truth."""
    from coterie.simulation import evaluate as score

    options, terminal = session.options, session.terminal
    with session.client() as client:
        run_id, found = client.list_findings(kind=FindingKind.CAMPAIGN, limit=FINDINGS_MAX)
    if not run_id:
        raise NotFoundError(f"no whole run is done yet: `{terminal.command('recluster')}` first")
    scores = score([finding_to_json(item) for item in standing_findings(found)], options.events, options.truth)
    terminal.data({"run_id": run_id} | scores.to_json(), render.scores_table(scores.rows()))
    return 0


def standing_findings(found: list[Finding]) -> list[Finding]:
    """The findings that a run claims: one that is gone is reported, but accuses nobody any more."""
    return [item for item in found if item.lineage is not Lineage.GONE]


def stats(session: Session) -> int:
    """What the service holds."""
    with session.client() as client:
        found = client.stats()
    value = dataclasses.asdict(found)
    for name in ("first_seen", "last_seen"):
        time_us = value.pop(f"{name}_us")
        value[name] = format_time(time_us) if time_us else None
    session.terminal.data(value, render.stats_table(found))
    return 0


def erase(session: Session) -> int:
    """Erase an account, after asking, and say what was looked at for the proof; 1 where something is left."""
    options, terminal = session.options, session.terminal
    with session.client() as client:
        try:
            exchanges = client.get_account(options.id).exchanges_total
        except NotFoundError:  # erased before: it is looked for again
            exchanges = 0
        if not options.yes and not _agreed(options.id, exchanges):
            terminal.say("coterie: nothing was erased")
            return 1
        erasure = client.erase_account(options.id)
    value = dataclasses.asdict(erasure)
    if erasure.proof is not None:
        value["proof"]["complete"] = erasure.proof.complete
    terminal.data(value, render.erasure_lines(erasure))
    return 0 if erasure.proof is None or erasure.proof.complete else 1


def retain(session: Session) -> int:
    """Delete what is older than the configuration allows, after asking."""
    options, terminal = session.options, session.terminal
    with session.client() as client:
        found = client.retain(outlook=True)
        if not found.before_us and not found.texts_before_us:
            raise InvalidError("everything is kept: set retention_days or text_retention_days", field="retention_days")
        if not options.outlook:
            if not options.yes and not _sure(f"Delete {found.exchanges:,} exchanges and the texts that are too old?"):
                terminal.say("coterie: nothing was deleted")
                return 1
            found = client.retain()
    value = dataclasses.asdict(found)
    for name in ("before", "texts_before"):
        time_us = value.pop(f"{name}_us")
        value[name] = format_time(time_us) if time_us else None
    terminal.data(value, render.retained_line(found, outlook=options.outlook))
    return 0


def _sure(question: str) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("deleting cannot be undone: add --yes to confirm")
    sys.stderr.write(f"{question} This cannot be undone. Type yes: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip() == "yes"


def _agreed(account_id: str, exchanges: int) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("erasing cannot be undone: add --yes to confirm")
    sys.stderr.write(f"Erase {shown(account_id)} with {exchanges:,} exchanges? This cannot be undone. Type yes: ")
    sys.stderr.flush()
    return sys.stdin.readline().strip() == "yes"


def demo(session: Session) -> int:
    """Show it all on simulated traffic."""
    from coterie.server.demo import run_demo

    options = session.options
    return run_demo(
        session.terminal, corpus=options.corpus, accounts=options.accounts, seed=options.seed, model=options.model
    )


def run_to_json(run: Run) -> dict[str, Any]:
    """The JSON form of a run; times that are not known yet are null. Of a slice's accounts the first are listed."""
    value: dict[str, Any] = {
        "run_id": run.run_id,
        "state": run.state.value,
        "trigger": run.trigger,
        "stage": run.stage,
        "progress": run.progress,
        "error": run.error,
        "measures": dict(run.measures),
        "parameters": dict(run.parameters),
        "slice": {
            "field": run.slice.field.value,
            "models": list(run.slice.models),
            "accounts": list(run.slice.accounts),
            "accounts_total": run.slice.accounts_total,
            "attributes": dict(run.slice.attributes),
        },
        "sets": [dataclasses.asdict(item) for item in run.sets],
    }
    for name in ("created", "started", "finished", "since", "until"):
        time_us = getattr(run, f"{name}_us")
        value[name] = format_time(time_us) if time_us else None
    return value


def exchange_to_dict(exchange: Exchange) -> Mapping[str, Any]:
    """The JSON form of an exchange: that of an input line."""
    record: Mapping[str, Any] = json.loads(exchange_to_json(exchange))
    return record


def _text(argument: str | None) -> str | None:
    if argument != "-":
        return argument
    text = sys.stdin.read(LIMITS.text_chars_max + 1)
    if not text.strip():
        raise UsageError("stdin is empty: expected a text")
    return text
