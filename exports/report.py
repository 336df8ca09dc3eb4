"""One HTML file of a finding or of a run that stands alone: for the case file, offline, on paper."""

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from coterie.domain import (
    ELSEWHERE_MAX,
    Dossier,
    Evidence,
    Finding,
    FindingKind,
    InvalidError,
    Review,
    ReviewAction,
    Run,
    format_time,
    reading_of,
)
from coterie.exports.redaction import Redaction, redacted
from coterie.figures import PICTURE_OF, Figure, draw

ACCOUNTS_LISTED_MAX = 500
TEXT_CHARS_MAX = 4_000
"""Of each side of an exemplar; a report is read, not searched."""

_TEMPLATES = Path(__file__).parent / "templates"
_DIGEST = re.compile(r'<code id="sha256">([0-9a-f]{64})</code>')
_NO_DIGEST = "0" * 64


@dataclass(frozen=True, slots=True)
class Report:
    """A report as it is written.

    Attributes:
        html: the whole file.
        sha256: of the file with its own digest written as 64 zeros; the file holds it too.
    """

    html: str
    sha256: str


def write_report(
    dossiers: Sequence[Dossier],
    *,
    redaction: Redaction,
    made_us: int,
    run: Run | None = None,
    others: Sequence[Finding] = (),
    model_id: str = "",
) -> Report:
    """The report of some findings; the same values give the same bytes.

    Args:
        dossiers: one or more, most severe first; with texts where the level shows any.
        made_us: when it is made, microseconds since the epoch.
        run: what it is the report of, where it is of a whole run.
        others: findings of that run that are listed and not reported whole.
        model_id: the model that made the vectors; empty where unknown.

    Raises:
        InvalidError: no finding to report.
    """
    if not dossiers and run is None:
        raise InvalidError("a report needs at least one finding", field="findings")
    of_run = run or dossiers[0].run
    style = (_TEMPLATES / "report.css").read_text(encoding="utf-8")
    page = _environment().get_template("report.html").render(
        title=f"Run {of_run.run_id}" if run else dossiers[0].finding.title,
        style=Markup(style),
        style_hash=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
        sections=[_section(dossier, redaction) for dossier in dossiers],
        others=others,
        run=of_run,
        whole_run=run is not None,
        redaction=redaction,
        made=format_time(made_us),
        version=version("coterie"),
        model_id=model_id,
        digest=_NO_DIGEST,
        elsewhere_max=ELSEWHERE_MAX,
        reproduce=_reproduce(of_run, dossiers, redaction, whole=run is not None),
    )  # fmt: skip
    sha256 = hashlib.sha256(page.encode("utf-8", "replace")).hexdigest()
    return Report(page.replace(f'<code id="sha256">{_NO_DIGEST}</code>', f'<code id="sha256">{sha256}</code>'), sha256)


def check_report(html: str) -> str:
    """The digest of a report that is as it was written.

    Raises:
        InvalidError: it is no report, or was changed since.
    """
    found = _DIGEST.findall(html)
    if len(found) != 1:
        raise InvalidError("the file is no report of coterie: it names no digest of its own", field="file")
    blank = html.replace(f'<code id="sha256">{found[0]}</code>', f'<code id="sha256">{_NO_DIGEST}</code>')
    if hashlib.sha256(blank.encode("utf-8", "replace")).hexdigest() != found[0]:
        raise InvalidError("the report was changed since it was written: its digest does not fit", field="file")
    digest: str = found[0]
    return digest


def claim(finding: Finding) -> str:
    """What a finding claims, in one sentence."""
    accounts = len(finding.accounts)
    exchanges = sum(account.exchanges for account in finding.accounts)
    between = f"between {_day(finding.first_seen_us)} and {_day(finding.last_seen_us)}"
    works = f", many of them items of {_listed([hit.name for hit in finding.benchmarks])}" if finding.benchmarks else ""
    if finding.kind is FindingKind.BENCHMARK_RUN:
        # Only where several customers ask one family is it said how few of its items are asked twice.
        several = any(item.name == "asked_once" for item in finding.evidence)
        who = f"{accounts:,} accounts of {'several customers' if several else 'one customer openly'}"
        return (
            f"{'One account openly' if accounts == 1 else who} asked {exchanges:,} benchmark-like questions "
            f"{between}{works}; it is not claimed that accounts act together."
        )
    return (
        f"{accounts:,} accounts asked {exchanges:,} questions {between}{works}, as if one list had been dealt out to "
        f"them: with a confidence of {finding.confidence:.2f} they act as one."
    )


def _section(dossier: Dossier, redaction: Redaction) -> dict[str, Any]:
    finding = dossier.finding
    figures = {figure.name: figure for figure in draw(dossier)}
    shown: set[str] = set()
    evidence = [_reason(item, figures, shown) for item in finding.evidence]
    counter = [_reason(item, figures, shown) for item in finding.counter_evidence]
    drawn = {name: number for number, name in enumerate(dossier.account_ids)}
    return {
        "dossier": dossier,
        "finding": finding,
        "claim": claim(finding),
        "evidence": evidence,
        "counter": counter,
        "figures": [figure for name, figure in figures.items() if name not in shown],
        "exemplars": [redacted(exchange, redaction) for exchange in dossier.exemplars],
        "accounts": [(account, drawn.get(account.account_id)) for account in finding.accounts[:ACCOUNTS_LISTED_MAX]],
        "accounts_unlisted": max(0, len(finding.accounts) - ACCOUNTS_LISTED_MAX),
    }


def _reason(item: Evidence, figures: dict[str, Figure], shown: set[str]) -> dict[str, Any]:
    """A piece of evidence, how it is read, and the picture where it is seen; each picture is shown once."""
    name = PICTURE_OF.get(item.name, "")
    figure = figures.get(name)
    first = figure is not None and name not in shown
    if first:
        shown.add(name)
    return {"item": item, "reading": reading_of(item.name), "figure": figure, "shows": first}


def _reproduce(run: Run, dossiers: Sequence[Dossier], redaction: Redaction, *, whole: bool) -> list[str]:
    """Command lines that do it again on the same data folder."""
    window = f"--since {format_time(run.since_us)} --until {format_time(run.until_us)}"
    part = run.slice
    options = [f"--model {_quoted(name)}" for name in part.models]
    options += [f"--attribute {_quoted(f'{name}={value}')}" for name, value in sorted(part.attributes.items())]
    if part.accounts:
        options.append("--accounts-from FILE")
    if part.field.value != "prompt":
        options.append(f"--field {part.field.value}")
    target = run.run_id if whole else dossiers[0].finding.finding_id
    return [
        " ".join(["coterie recluster", window, *options]),
        f"coterie findings --run {run.run_id}",
        f"coterie report {target} --redact {redaction.value}",
    ]


def _quoted(value: str) -> str:
    """As one word of a shell, whatever it holds: these lines are for copying."""
    return "'" + value.replace("'", "'\"'\"'") + "'"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    filters: dict[str, Callable[..., Any]] = {
        "time": format_time,
        "day": _day,
        "p_value": p_value,
        "words": lambda name: str(name).replace("_", " "),
        "svg": lambda figure: Markup(figure.svg),
        "cut": _cut,
        "entry": entry,
    }
    environment.filters.update(filters)
    return environment


def p_value(value: float | None) -> str:
    """A p-value as people write it."""
    if value is None:
        return "no test: an effect"
    return f"p = {value:.3f}" if value >= 0.001 else f"p = {value:.1e}"


def entry(review: Review) -> str:
    """What an entry of a finding's history did, in a few words."""
    if review.action is ReviewAction.DECIDE:
        return review.decision.value
    named = [*([review.assignee] if review.assignee else []), *review.findings, *review.accounts]
    return f"{review.action.value}: {', '.join(named)}" if named else review.action.value


def _day(time_us: int) -> str:
    return format_time(time_us)[:10]


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _cut(text: str) -> str:
    return text if len(text) <= TEXT_CHARS_MAX else f"{text[:TEXT_CHARS_MAX]} … ({len(text) - TEXT_CHARS_MAX:,} more)"
