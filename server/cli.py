"""The command line: `coterie VERB`. Exit codes: 0 done, 1 failed, 2 usage; stdout is data, stderr is progress."""

import argparse
import ast
import copy
import dataclasses
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Any

from coterie.client.channel import check_address
from coterie.client.ingest import BATCH_DEFAULT
from coterie.domain import (
    LIMITS,
    CoterieError,
    FamilyLineage,
    FindingKind,
    InvalidError,
    ParameterSet,
    ReviewAction,
    ReviewState,
    Role,
    RuleKind,
    TextField,
    parse_time,
)
from coterie.exports import Format, Marking, Redaction
from coterie.server import (
    cli_access,
    cli_backup,
    cli_commands,
    cli_completion,
    cli_doctor,
    cli_exports,
    cli_keys,
    cli_review,
    config,
)
from coterie.server.cli_commands import Session, UsageError
from coterie.server.cli_terminal import Terminal, shown

_EPILOG = """\
Without --server, a verb works on the data folder itself; with it, at a running `coterie serve`.
A first round:  coterie simulate --out sim; coterie ingest sim/events.jsonl; coterie recluster; coterie findings
"""
_DEMO_ACCOUNTS = 150


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code."""
    # Idle OpenMP threads spin, and two processes on the same cores then wait for each other: embedding fell from 195
    # texts/s each to 98 (2 cores, MiniLM). Read when the library loads, so it comes before torch and FAISS.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    parser = make_parser()
    options = parser.parse_args(argv)
    problem = _contradiction(options)
    if problem:
        parser.error(problem)
    try:
        code: int = options.run_verb(Session(options, _terminal(options)))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _fail(options, "interrupted")
    except BrokenPipeError:
        # Whoever read stdout has gone; keep the interpreter from flushing into the void once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except UsageError as error:
        _fail(options, str(error))
        return 2
    except CoterieError as error:
        request = f" (request {error.request_id})" if error.request_id and options.server else ""
        return _fail(options, f"{error}{request}")
    except Exception as error:  # noqa: BLE001 - nobody above us but the person, who asked for no traceback
        return _fail(options, f"unexpected {type(error).__name__}: run it again with --debug and report what it says")
    return code


def _fail(options: argparse.Namespace, message: str) -> int:
    if options.debug:
        raise  # noqa: PLE0704 - called while handling the exception
    sys.stderr.write(f"coterie: {shown(message)}\n")
    return 1


def _terminal(options: argparse.Namespace) -> Terminal:
    prefix = ["coterie"]
    for flag in ("data_dir", "server", "token_file", "tls_ca", "config", "model"):
        value = getattr(options, flag)
        if value is not None:
            prefix += [f"--{flag.replace('_', '-')}", str(value)]
    pager = () if options.no_pager else config.pager_command()
    return Terminal(as_json=options.json, prefix=prefix, remote=bool(options.server), pager=pager)


def _contradiction(options: argparse.Namespace) -> str:
    if options.server and (options.data_dir or options.model):
        return "--server and --data-dir or --model exclude each other: the server has its own folder and model"
    if options.server and options.verb in ("serve", "simulate", "demo", "key new", "key rotate"):
        return f"{options.verb} does not talk to a server: leave --server out"
    if options.verb == "restore" and (options.server or not options.data_dir):
        return "restore needs --data-dir NEW, a folder of this machine, and no --server"
    if options.verb == "backup" and (options.src is not None) != (options.dest == "verify"):
        return "backup takes DEST, or verify SRC"
    if (options.tls or options.tls_ca or options.own_cert or options.own_key) and not options.server:
        return "--tls and its files need --server; those of the service itself come after the verb serve"
    if options.token_file and not options.server:
        return "--token-file needs --server: on the data folder itself its permissions decide"
    if options.verb == "recluster" and not options.wait and not options.server:
        return "--no-wait needs --server: without one, the run would end with this command"
    return ""


# The parser


def make_parser() -> argparse.ArgumentParser:
    """Every verb and option, each with its help."""
    parser = argparse.ArgumentParser(
        prog="coterie",
        description="Finds the accounts that act as one: coordinated campaigns against language-model APIs.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="version", version=f"coterie {version('coterie')}", help="print it and exit"
    )
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help="data folder (default: coterie-data)")
    parser.add_argument(
        "--server", type=_checked(check_address), metavar="HOST:PORT", help="work at this server (or unix:PATH)"
    )
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE", help="file with the token to call with (default: $COTERIE_TOKEN)"
    )
    parser.add_argument(
        "--tls", action="store_true", help="speak TLS with the server, trusting the public authorities that gRPC knows"
    )
    parser.add_argument("--tls-ca", type=Path, metavar="FILE", help="speak TLS, trusting these authorities (PEM)")
    parser.add_argument(
        "--tls-cert", dest="own_cert", type=Path, metavar="FILE", help="own certificate for mutual TLS (PEM)"
    )
    parser.add_argument("--tls-key", dest="own_key", type=Path, metavar="FILE", help="its key (PEM)")
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file of settings")
    parser.add_argument("--model", metavar="NAME", help="embedding model of the data folder")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--no-pager", action="store_true", help="never page what is longer than the terminal")
    parser.add_argument("--debug", action="store_true", help="let errors show where they come from")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True, title="verbs")
    for add in (
        _add_data_verbs,
        _add_reading_verbs,
        _add_benchmark_verbs,
        _add_trial_verbs,
        _add_export_verbs,
        _add_upkeep_verbs,
        _add_access_verbs,
    ):
        add(verbs)
    _take_globals_anywhere(parser, parser)
    return parser


def _take_globals_anywhere(parser: argparse.ArgumentParser, top: argparse.ArgumentParser) -> None:
    """Let every verb take the global options too, where it has no option of that name: one adds them last."""
    for action in parser._actions:
        if not isinstance(action, argparse._SubParsersAction):
            continue
        for verb in action.choices.values():
            if verb.get_default("run_verb") is not None:
                taken = set(verb._option_string_actions)
                group = verb.add_argument_group("global options", "Those of `coterie --help` may stand here as well.")
                for shared in top._actions:
                    if shared.option_strings and not taken.intersection(shared.option_strings):
                        again = copy.copy(shared)
                        again.default = again.help = argparse.SUPPRESS
                        group._add_action(again)
            _take_globals_anywhere(verb, top)


def _verb(
    verbs: Any, name: str, run: Callable[[Session], int], summary: str, *, data: bool = True
) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(
        name.rsplit(maxsplit=1)[-1], help=summary, description=f"{summary[0].upper()}{summary[1:]}.", allow_abbrev=False
    )
    verb.set_defaults(run_verb=run, verb=name)
    if data:
        verb.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON instead of tables")
    return verb


def _add_data_verbs(verbs: Any) -> None:
    serve = _verb(verbs, "serve", cli_commands.serve, "serve the data folder over gRPC until stopped", data=False)
    _add_settings(serve)
    ingest = _verb(verbs, "ingest", cli_commands.ingest, "read exchanges in; returns when they are durable")
    ingest.add_argument("file", metavar="FILE", help="JSON lines, gzipped or not, or Parquet; - is stdin")
    ingest.add_argument(
        "--stream",
        metavar="NAME",
        default="",
        help="keep under this name how far the file is stored, and go on there when it is given again",
    )
    ingest.add_argument(
        "--batch",
        type=_between(1, LIMITS.batch_exchanges_max),
        default=BATCH_DEFAULT,
        metavar="N",
        help=f"exchanges in a message (default: {BATCH_DEFAULT})",
    )
    recluster = _verb(verbs, "recluster", cli_commands.recluster, "embed what is pending, then look for campaigns")
    _add_window(recluster, "14 days before the end", "up to the newest exchange")
    _add_slice(recluster)
    recluster.add_argument(
        "--wait",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="watch the run until it is finished (the default)",
    )


def _add_slice(recluster: argparse.ArgumentParser) -> None:
    part = recluster.add_argument_group(
        "a slice",
        "What of the window to look at. Its findings are listed by --run; the standing ones stay as they are.",
    )
    part.add_argument(
        "--model",
        action="append",
        default=[],
        dest="answered_by",
        metavar="NAME",
        help="only what this model answered (the embedding model stands before the verb); repeatable",
    )
    part.add_argument("--account", action="append", default=[], metavar="ID", help="only of this account; repeatable")
    part.add_argument("--accounts-from", metavar="FILE", help="only of these accounts, one a line; - is stdin")
    part.add_argument(
        "--attribute",
        action="append",
        type=_attribute,
        default=[],
        metavar="KEY=VALUE",
        help="only with this label, such as organisation=NAME; repeatable",
    )
    part.add_argument(
        "--field",
        type=_word(TextField),
        default=TextField.PROMPT,
        metavar="FIELD",
        help=f"cluster the {_words(TextField)} of each exchange (default: prompt)",
    )
    turned = recluster.add_argument_group("parameters")
    turned.add_argument(
        "--min-samples",
        type=_between(2, LIMITS.min_samples_max),
        default=0,
        metavar="N",
        help="exchanges that make a place dense; more is more precise (default: 5)",
    )
    turned.add_argument(
        "--min-cluster-size",
        type=_between(2, LIMITS.min_cluster_size_max),
        default=0,
        metavar="N",
        help="exchanges that make a family (default: 10)",
    )
    turned.add_argument(
        "--also",
        action="append",
        type=_parameter_set,
        default=[],
        metavar="N/N",
        help="measure how far families with this min-samples/min-cluster-size agree; repeatable",
    )


def _add_reading_verbs(verbs: Any) -> None:
    findings = _verb(verbs, "findings", cli_commands.findings, "list what a run found")
    findings.add_argument(
        "--run", default="", metavar="ID", help="of this run (default: the newest whole one that is done)"
    )
    findings.add_argument("--kind", type=_word(FindingKind), metavar="KIND", help=f"only {_words(FindingKind)}")
    findings.add_argument("--review", type=_word(ReviewState), metavar="STATE", help=f"only {_words(ReviewState)}")
    findings.add_argument("--account", default="", metavar="ID", help="only those that hold this account")
    findings.add_argument("--suppressed", action="store_true", help="those that a rule suppresses too")
    finding = _verb(verbs, "finding", cli_commands.finding, "show one finding with its evidence")
    finding.add_argument("id", metavar="ID", help="the finding")
    families = _verb(verbs, "families", cli_commands.families, "list the families of a run, and what became of them")
    families.add_argument(
        "--run", default="", metavar="ID", help="of this run (default: the newest whole one that is done)"
    )
    families.add_argument(
        "--lineage", type=_word(FamilyLineage), metavar="LINEAGE", help=f"only {_words(FamilyLineage)}"
    )
    families.add_argument(
        "--limit", type=_between(1, 1_000_000), default=50, metavar="N", help="at most so many (default: 50)"
    )
    account = _verb(
        verbs, "account", cli_commands.account, "tell whether an account is in anything, or how near it was"
    )
    account.add_argument("id", metavar="ID", help="the account")
    _add_search(verbs)
    _add_review(verbs)
    _add_rules_verbs(verbs)
    _verb(verbs, "calibration", cli_review.calibration, "hold decisions against how sure the findings were")
    runs = _verb(verbs, "runs", cli_commands.runs, "list runs, newest first")
    runs.add_argument(
        "--limit", type=_between(1, 10_000), default=20, metavar="N", help="at most so many (default: 20)"
    )


def _add_review(verbs: Any) -> None:
    review = _verb(verbs, "review", cli_review.review, "record a decision on a finding, or what else is done to it")
    review.add_argument("id", metavar="ID", help="the finding")
    review.add_argument(
        "decision", type=_decision, metavar="DECISION", help=f"one of: {', '.join(cli_review.DECISIONS)}"
    )
    review.add_argument("--reason", metavar="TEXT", help="why, or the comment; may be left out with assign")
    review.add_argument(
        "--reviewer", metavar="NAME", help="who decides, where there are no tokens (default: your login name)"
    )
    review.add_argument(
        "--seen",
        type=_between(0, 2**62),
        metavar="VERSION",
        help="version of the finding that you looked at: fail when somebody has done something to it since",
    )
    review.add_argument("--to", metavar="NAME", help='assign: to whom; "" takes it from everybody')
    review.add_argument(
        "--with", action="append", default=[], dest="other", metavar="ID", help="merge: another finding; repeatable"
    )
    review.add_argument(
        "--account", action="append", default=[], metavar="ID", help="split: an account that is not part; repeatable"
    )
    review.add_argument("--accounts-from", metavar="FILE", help="split: such accounts, one a line; - is stdin")
    review.add_argument("--undo", action="store_true", help="merge, split: take it back")
    review.add_argument(
        "--suppress",
        type=_word(RuleKind),
        metavar="KIND",
        help=f"dismiss: suppress later findings that the same {_words(RuleKind)} explains; see `rules`",
    )
    review.add_argument(
        "--anyone", action="store_true", help="suppress: also where most accounts were not in this finding"
    )
    _add_expiry(review)


def _add_expiry(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--expires", type=_checked(_time_us), metavar="T", help="when the rule ends; RFC 3339 time or date (UTC)"
    )


def _add_rules_verbs(verbs: Any) -> None:
    rules = _verb(verbs, "rules", cli_review.rules, "list the rules that suppress findings")
    rules.add_argument("--all", action="store_true", help="those that ended or were revoked too")
    inner = rules.add_subparsers(metavar="VERB", title="verbs")
    allow = _verb(inner, "rules allow", cli_review.rules_allow, "allow organisations or accounts what looks guilty")
    allow.add_argument("kind", type=_word(RuleKind), metavar="KIND", help="organisation or accounts")
    allow.add_argument("name", nargs="+", metavar="NAME", help="such as an evaluator with permission")
    allow.add_argument("--reason", required=True, metavar="TEXT", help="why")
    _add_expiry(allow)
    revoke = _verb(inner, "rules revoke", cli_review.rules_revoke, "take a rule back: what it suppressed no longer is")
    revoke.add_argument("id", metavar="ID", help="the rule")
    for verb in (allow, revoke):
        verb.add_argument(
            "--reviewer", metavar="NAME", help="who decides, where there are no tokens (default: your login name)"
        )


def _add_search(verbs: Any) -> None:
    search = _verb(verbs, "search", cli_commands.search, "find who else asks like this")
    search.add_argument("text", nargs="?", metavar="TEXT", help="what to look for; - reads it from stdin")
    search.add_argument("--exchange", metavar="ID", help="look for what is like this exchange instead")
    search.add_argument("--response", action="store_true", help="compare responses, not prompts")
    search.add_argument(
        "-k",
        type=_between(1, LIMITS.search_k_max),
        default=LIMITS.search_k_default,
        metavar="N",
        help=f"hits wanted (default: {LIMITS.search_k_default})",
    )
    search.add_argument("--account", action="append", default=[], metavar="ID", help="only of this account; repeatable")
    search.add_argument(
        "--model",
        action="append",
        default=[],
        dest="answered_by",
        metavar="NAME",
        help="only answered by this model; repeatable",
    )
    _add_window(search, "the beginning", "the end")
    search.add_argument(
        "--attribute",
        action="append",
        type=_attribute,
        default=[],
        metavar="KEY=VALUE",
        help="only with this label; repeatable",
    )
    search.add_argument("--one-per-account", action="store_true", help="at most one hit for each account")


def _add_benchmark_verbs(verbs: Any) -> None:
    parser = verbs.add_parser(
        "benchmark", help="register reference corpora and recognise their items", allow_abbrev=False
    )
    inner = parser.add_subparsers(metavar="VERB", required=True, title="verbs")
    register = _verb(inner, "benchmark register", cli_commands.benchmark_register, "register a benchmark")
    register.add_argument("name", metavar="NAME", help="what to call it")
    register.add_argument("file", metavar="FILE", help='lines of {"item_id","text","answer"?}; - is stdin')
    _verb(inner, "benchmark list", cli_commands.benchmark_list, "list registered benchmarks")
    match = _verb(inner, "benchmark match", cli_commands.benchmark_match, "tell which item a text is")
    match.add_argument("text", metavar="TEXT", help="the text; - reads it from stdin")


def _names(text: str) -> tuple[str, ...]:
    """Names with commas between."""
    return tuple(name.strip() for name in text.split(","))


def _add_trial_verbs(verbs: Any) -> None:
    from coterie.simulation.config import CROWDS, EVASIONS, KINDS

    simulate = _verb(verbs, "simulate", cli_commands.simulate, "compose traffic with campaigns hidden in it")
    simulate.add_argument("--out", type=Path, required=True, metavar="DIR", help="where events.jsonl and truth.json go")
    simulate.add_argument("--corpus", type=Path, metavar="DIR", help="folder of texts (default: built-in text)")
    simulate.add_argument("--accounts", type=int, metavar="N", help="how many accounts (default: 400)")
    simulate.add_argument("--mix", metavar="MIX", help="easy, hard, or null, which holds no campaign (default: easy)")
    simulate.add_argument("--campaigns", type=int, metavar="N", help="how many campaigns (default: by accounts)")
    simulate.add_argument(
        "--cover", type=float, metavar="F", help="share of ordinary traffic in a campaign (default: 0)"
    )
    simulate.add_argument("--background", type=float, metavar="X", help="multiplies the innocent (default: 1)")
    simulate.add_argument("--rate", type=float, metavar="X", help="multiplies a campaign's requests (default: 1)")
    simulate.add_argument(
        "--volume", type=float, metavar="X", help="multiplies the requests of the innocent (default: 1)"
    )
    simulate.add_argument(
        "--spread", type=float, metavar="X", help="how far apart the volumes of the innocent are (default: 1)"
    )
    simulate.add_argument("--days", type=int, metavar="N", help="length of the traffic in days (default: 7)")
    simulate.add_argument("--responses", type=float, metavar="F", help="share that carries a response (default: 0.35)")
    simulate.add_argument(
        "--evasions",
        type=_names,
        metavar="A,B",
        help=f"ways to hide that campaigns take in turn, A+B for both at once, of {', '.join(EVASIONS)} "
        "(default: by mix)",
    )
    simulate.add_argument(
        "--kinds", type=_names, metavar="A,B", help=f"what campaigns deal out, of {', '.join(KINDS)} (default: any)"
    )
    simulate.add_argument("--members", type=int, metavar="N", help="accounts of each campaign (default: drawn)")
    simulate.add_argument(
        "--requests-per-day",
        type=float,
        metavar="X",
        help="mean requests of a campaign account from its list, cover not counted (default: drawn)",
    )
    simulate.add_argument(
        "--crowds",
        type=_names,
        metavar="A,B",
        help=f"innocent classes that share the accounts in crowds of ten, of {', '.join(CROWDS)} (default: by mix)",
    )
    simulate.add_argument(
        "--people",
        type=float,
        metavar="F",
        help="with --crowds: ordinary people on top, as a share of all the innocent (default: 0.5)",
    )
    simulate.add_argument(
        "--split",
        metavar="SPLIT",
        help="all; tune or test: halves of the text; tune-sources or test-sources: of the sources too (default: all)",
    )
    simulate.add_argument("--prompt-chars-max", type=int, metavar="N", help="cut longer prompts here")
    simulate.add_argument("--response-chars-max", type=int, metavar="N", help="cut longer responses here")
    simulate.add_argument("--seed", type=int, metavar="N", help="the same seed gives the same traffic (default: 0)")
    evaluate = _verb(verbs, "evaluate", cli_commands.evaluate, "score the newest whole run against simulated truth")
    evaluate.add_argument("events", type=Path, metavar="EVENTS", help="events.jsonl of a simulation")
    evaluate.add_argument("truth", type=Path, metavar="TRUTH", help="truth.json beside it")
    demo = _verb(verbs, "demo", cli_commands.demo, "show the whole service on simulated traffic", data=False)
    demo.add_argument("--corpus", type=Path, metavar="DIR", help="folder of texts (default: built-in text)")
    demo.add_argument(
        "--accounts",
        type=int,
        default=_DEMO_ACCOUNTS,
        metavar="N",
        help=f"how many accounts (default: {_DEMO_ACCOUNTS})",
    )
    demo.add_argument("--seed", type=int, default=2, metavar="N", help="which traffic (default: 2)")


def _add_export_verbs(verbs: Any) -> None:
    report = _verb(verbs, "report", cli_exports.report, "write one HTML file of a finding or a run, for the case file")
    report.add_argument(
        "id", nargs="?", default="", metavar="FINDING|RUN", help="which (default: the newest whole run that is done)"
    )
    report.add_argument(
        "--redact",
        type=_word(Redaction),
        default=Redaction.STATISTICS,
        metavar="LEVEL",
        help=f"how much of the texts it shows: {_words(Redaction)} (default: statistics, which is no text at all)",
    )
    report.add_argument("--out", metavar="FILE", help="where to; - is stdout (default: coterie-report-ID.html)")
    report.add_argument("--check", type=Path, metavar="FILE", help="say whether a report is as it was written")
    export = _verb(verbs, "export", cli_exports.export, "write findings as STIX, MISP, OCSF, CSV or Parquet")
    export.add_argument("id", nargs="*", metavar="FINDING", help="which")
    export.add_argument("--run", default="", metavar="ID", help="all that this run claims, instead")
    export.add_argument("--format", type=_word(Format), metavar="FORMAT", help=_words(Format))
    export.add_argument(
        "--with-text", action="store_true", help="with prompts and answers of the exemplars, which is recorded"
    )
    export.add_argument(
        "--tlp",
        type=_word(Marking),
        default=Marking.AMBER,
        metavar="LEVEL",
        help=f"who may be told, by the Traffic Light Protocol: {_words(Marking)} (default: amber)",
    )
    export.add_argument("--out", metavar="FILE", help="where to; - is stdout (default: coterie-export-ID.SUFFIX)")
    export.add_argument("--check", type=Path, metavar="FILE", help="say whether an export is valid, and what it holds")


def _add_upkeep_verbs(verbs: Any) -> None:
    _verb(verbs, "stats", cli_commands.stats, "tell what is stored")
    completion = _verb(
        verbs, "completion", cli_completion.completion, "write a completion script for a shell", data=False
    )
    completion.add_argument("shell", choices=cli_completion.SHELLS, metavar="SHELL", help="bash or zsh")
    doctor = _verb(verbs, "doctor", cli_doctor.doctor, "check this installation and the data folder, or a server")
    doctor.add_argument("--quick", action="store_true", help="leave out what takes long: reading every file whole")
    _add_backup_verbs(verbs)
    _add_retain_verb(verbs)
    _add_webhooks_verbs(verbs)
    _add_key_verbs(verbs)
    erase = _verb(verbs, "erase", cli_commands.erase, "erase an account and all that only it sent, for good")
    erase.add_argument("id", metavar="ACCOUNT", help="the account")
    erase.add_argument("--yes", action="store_true", help="do not ask")


def _add_webhooks_verbs(verbs: Any) -> None:
    parser = verbs.add_parser("webhooks", help="endpoints that are told of findings", allow_abbrev=False)
    inner = parser.add_subparsers(metavar="VERB", required=True, title="verbs")
    _verb(inner, "webhooks list", cli_review.webhooks, "tell how far each endpoint has been told")
    test = _verb(inner, "webhooks test", cli_review.webhooks_test, "send an endpoint a ping, once")
    replay = _verb(inner, "webhooks replay", cli_review.webhooks_replay, "tell an endpoint again, under the same ids")
    replay.add_argument(
        "--after",
        type=_between(0, 2**62),
        metavar="EVENT",
        help="what came after this event (default: from the first that it did not take)",
    )
    for verb in (test, replay):
        verb.add_argument("name", metavar="NAME", help="the endpoint")


def _add_retain_verb(verbs: Any) -> None:
    retain = _verb(verbs, "retain", cli_commands.retain, "delete what is older than retention_days allows")
    retain.add_argument("--outlook", action="store_true", help="only tell what would be deleted")
    retain.add_argument("--yes", action="store_true", help="do not ask")


def _add_key_verbs(verbs: Any) -> None:
    parser = verbs.add_parser("key", help="make key files for pseudonyms and encrypted texts", allow_abbrev=False)
    inner = parser.add_subparsers(metavar="VERB", required=True, title="verbs")
    new = _verb(inner, "key new", cli_keys.new, "make a key in a new file that only you can read")
    new.add_argument("file", type=Path, metavar="FILE", help="the file; one that is there is never overwritten")
    rotate = _verb(inner, "key rotate", cli_keys.rotate, "encrypt the key of the texts by another key file")
    rotate.add_argument("old", type=Path, metavar="OLD", help="the key file that text_key_file names")
    rotate.add_argument("new", type=Path, metavar="NEW", help="the one that it is to name from now on")


def _add_backup_verbs(verbs: Any) -> None:
    backup = _verb(verbs, "backup", cli_backup.backup, "write a backup of the data folder, or check one")
    backup.add_argument(
        "dest",
        metavar="DEST",
        help="a new folder, or a file that ends in .tar.zst or .tar.gz; with --server a name in its folder for "
        "backups, or - for one by the time. The word verify checks SRC instead",
    )
    backup.add_argument("src", nargs="?", metavar="SRC", help="after verify: the backup to check")
    restore = _verb(verbs, "restore", cli_backup.restore, "make a new data folder of a backup")
    restore.add_argument("src", metavar="SRC", help="the backup")
    restore.add_argument(
        "--erasures-of",
        type=Path,
        metavar="DIR",
        help="the data folder that is replaced: what was erased in it since the backup is erased again",
    )
    restore.add_argument(
        "--data-dir", type=Path, metavar="DIR", default=argparse.SUPPRESS, help="the new data folder; it must be empty"
    )


def _add_access_verbs(verbs: Any) -> None:
    parser = verbs.add_parser("token", help="say who may call the service", allow_abbrev=False)
    inner = parser.add_subparsers(metavar="VERB", required=True, title="verbs")
    mint = _verb(inner, "token mint", cli_access.mint, "make a token, and print it once")
    mint.add_argument("name", metavar="NAME", help="who will call with it")
    mint.add_argument(
        "--role", action="append", type=_word(Role), required=True, metavar="ROLE", help=f"{_words(Role)}; repeatable"
    )
    mint.add_argument(
        "--expires",
        type=_checked(cli_access.lifetime_s),
        default=cli_access.EXPIRY_DEFAULT,
        metavar="TIME",
        help=f"for how long it is valid, such as 12h or never (default: {cli_access.EXPIRY_DEFAULT})",
    )
    _verb(inner, "token list", cli_access.token_list, "list tokens, newest first")
    revoke = _verb(inner, "token revoke", cli_access.revoke, "end a token, at once and for good")
    revoke.add_argument("id", metavar="ID", help="the token's id, as listed")
    audit = _verb(verbs, "audit", cli_access.audit, "list who read texts and changed what, or check that record")
    audit.add_argument("what", nargs="?", choices=("verify",), help="verify: walk its chain of hashes instead")
    audit.add_argument(
        "--since", type=_checked(_time_us), metavar="T", help="not before this RFC 3339 time or date (UTC)"
    )
    audit.add_argument("--action", default="", metavar="ACTION", help="only this, such as read_finding")
    audit.add_argument("--actor", default="", metavar="NAME", help="only of this caller")
    audit.add_argument(
        "--limit", type=_between(1, 1_000_000), default=100, metavar="N", help="at most so many (default: 100)"
    )
    audit.add_argument("--head", default="", metavar="HASH", help="with verify: a head that was noted elsewhere")
    _verb(verbs, "whoami", cli_access.whoami, "tell who the service takes you for")


def _add_window(verb: argparse.ArgumentParser, since: str, until: str) -> None:
    time_help = "RFC 3339 time or date (UTC)"
    verb.add_argument(
        "--since", type=_checked(_time_us), metavar="T", help=f"not before this {time_help}; default {since}"
    )
    verb.add_argument("--until", type=_checked(_time_us), metavar="T", help=f"before this {time_help}; default {until}")


def _add_settings(serve: argparse.ArgumentParser) -> None:
    explained = setting_help()
    for item in dataclasses.fields(config.Config):
        if item.name not in ("data_dir", "model"):
            # A switch may stand alone; its value is taken too, so that what a file turns on can be turned off.
            switch: dict[str, Any] = {"nargs": "?", "const": "true"} if item.type is bool else {}
            serve.add_argument(
                f"--{item.name.replace('_', '-')}",
                dest=item.name,
                metavar=_SETTING_FORMS[item.type],
                help=f"{explained[item.name].replace('%', '%%')} (default: {setting_text(item.default)})",
                **switch,
            )


_SETTING_FORMS: dict[Any, str] = {bool: "true|false", int: "N", float: "X", str: "VALUE"}


def setting_text(value: object) -> str:
    """A setting as one would write it; none for an empty one."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) and value < 1e6 else str(value) or "none"


def setting_help() -> dict[str, str]:
    """What stands under each field of `Config`: the one place where settings are explained."""
    body = ast.parse(inspect.getsource(config.Config)).body[0]
    assert isinstance(body, ast.ClassDef)
    explained = {}
    for field, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            assert isinstance(field.target, ast.Name)
            explained[field.target.id] = _without_stop(str(below.value.value))
    return explained


def _without_stop(text: str) -> str:
    text = " ".join(text.split())
    return text if text.endswith("...") else text.removesuffix(".")


# Argument types


def _checked(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    def converted(value: str) -> Any:
        try:
            return convert(value)
        except InvalidError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return converted


def _time_us(value: str) -> int:
    return parse_time(f"{value}T00:00:00Z" if len(value) == len("2000-01-01") else value)


def _between(low: int, high: int) -> Callable[[str], int]:
    def converted(value: str) -> int:
        if not value.isdecimal() or not low <= int(value) <= high:
            raise argparse.ArgumentTypeError(f"{value!r} must be a whole number from {low} to {high}")
        return int(value)

    return converted


def _attribute(value: str) -> tuple[str, str]:
    key, found, wanted = value.partition("=")
    if not key or not found:
        raise argparse.ArgumentTypeError(f"{value!r} must be KEY=VALUE")
    return key, wanted


def _parameter_set(value: str) -> ParameterSet:
    least, found, size = value.partition("/")
    if not found:
        raise argparse.ArgumentTypeError(f"{value!r} must be min-samples/min-cluster-size, such as 10/20")
    return ParameterSet(_between(2, LIMITS.min_samples_max)(least), _between(2, LIMITS.min_cluster_size_max)(size))


def _decision(value: str) -> ReviewState | ReviewAction:
    if value not in cli_review.DECISIONS:
        raise argparse.ArgumentTypeError(f"{value!r} must be one of: {', '.join(cli_review.DECISIONS)}")
    return cli_review.DECISIONS[value]


_decision.words = tuple(cli_review.DECISIONS)  # type: ignore[attr-defined]  # for completion


def _word(kind: type[StrEnum]) -> Callable[[str], Any]:
    def converted(value: str) -> Any:
        try:
            return kind(value)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{value!r} must be one of: {_words(kind)}") from None

    converted.words = tuple(kind)  # type: ignore[attr-defined]  # for completion
    return converted


def _words(kind: type[StrEnum]) -> str:
    return ", ".join(member.value for member in kind)


if __name__ == "__main__":
    sys.exit(main())
