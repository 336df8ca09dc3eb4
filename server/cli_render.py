"""What people see: tables and pages made of domain values. Everything a caller sent goes through `shown`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from coterie.domain import (
    AccountReport,
    Benchmark,
    BenchmarkMatch,
    Calibration,
    Erasure,
    Evidence,
    Exchange,
    Family,
    FamilyLineage,
    Finding,
    FindingKind,
    Hit,
    Lineage,
    Rate,
    Retained,
    Review,
    ReviewAction,
    ReviewState,
    Rule,
    Run,
    RunState,
    Severity,
    Slice,
    Stats,
    Suppression,
    TextField,
    WebhookState,
    format_time,
)
from coterie.server.cli_highlight import marked, marked_shared, telling_words
from coterie.server.cli_terminal import shown, styled

ACCOUNTS_SHOWN = 12
FAMILIES_SHOWN = 6
EXEMPLARS_SHOWN = 6
EXEMPLAR_CHARS = 240
HIT_CHARS = 180
_WHO_CHARS = 36
_ID_CHARS = 12

_SEVERITY_STYLES = {
    Severity.LOW: "dim",
    Severity.MEDIUM: "yellow",
    Severity.HIGH: "red",
    Severity.CRITICAL: "bold red",
}
_STATE_STYLES = {RunState.DONE: "green", RunState.FAILED: "red", RunState.CANCELLED: "yellow"}


def table(
    *columns: str, title: str = "", right: Sequence[str] = (), whole: Sequence[str] = (), ids: Sequence[str] = ()
) -> Table:
    """A table in the house style.

    Args:
        right: columns of numbers.
        whole: columns that are never wrapped; not for ids, which fold where they would otherwise be cut.
        ids: columns of ids, which keep room for a good part of one in a narrow window.
    """
    made = Table(
        box=box.SIMPLE_HEAD,
        title=title or None,
        title_justify="left",
        title_style="bold",
        pad_edge=False,
        show_edge=False,
        header_style="dim",
    )
    for column in columns:
        made.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=column in whole or column in right,
            overflow="fold",
            min_width=_ID_CHARS if column in ids else None,
        )
    return made


def moment(time_us: int) -> str:
    """A time in UTC to the minute; a dash for none."""
    return datetime.fromtimestamp(time_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M") if time_us else "-"


def number(value: float) -> str:
    """A number for reading: counts with separators, others to four digits."""
    if abs(value) < 1e15 and value == int(value):
        return f"{int(value):,}"
    return f"{value:.4g}"


def counted(count: int, thing: str) -> str:
    """How many of a thing there are: 1 finding, 1,118 findings."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def p_value(value: float | None) -> str:
    """A p-value to two digits; a dash for evidence that is an effect size."""
    if value is None:
        return "-"
    return "<1e-300" if value == 0 else f"{value:.2g}"


def severity(value: Severity) -> Text:
    """A severity in its colour."""
    return Text(value.value, style=_SEVERITY_STYLES[value])


def findings_table(findings: Sequence[Finding]) -> Table:
    """One row a finding."""
    made = table(
        "finding", "severity", "sure", "accounts", "lineage", "review",
        right=("sure", "accounts"),
        whole=("severity", "lineage", "review"),
        ids=("finding",),
    )  # fmt: skip
    for finding in findings:
        made.add_row(
            headline(finding, with_kind=True),
            severity(finding.severity),
            f"{finding.confidence:.2f}",
            number(len(finding.accounts)) + (f" +{number(len(finding.joined_since))}" if finding.joined_since else ""),
            _lineage(finding),
            _state(finding),
        )
    return made


def calibration_page(calibration: Calibration) -> Group:
    """Verdict, reliability by confidence, rates by evidence, and proposals with their data."""
    parts: list[RenderableType] = [Text(calibration.verdict, style="bold")]
    if calibration.unknown:
        parts.append(Text(f"{number(calibration.unknown)} decisions more were made before it was recorded on what."))
    for group in calibration.groups:
        title = f"{group.name}: Brier {group.brier:.3f}, of the share alone {group.brier_base:.3f}"
        made = table("stated", "mean", "decisions", "true", "95 %", title=title, right=("mean", "decisions", "true"))
        for item in group.bins:
            if item.confirmed.count:
                made.add_row(item.confirmed.name, f"{item.confidence:.2f}", *_rate(item.confirmed))
        parts.append(made)
    if calibration.evidence:
        made = table("evidence", "decisions", "true", "95 %", title="By evidence", right=("decisions", "true"))
        for rate in calibration.evidence:
            made.add_row(shown(rate.name.replace("_", " ")), *_rate(rate))
        parts.append(made)
    if calibration.proposals:
        title = "Proposal: findings from this confidence on (nothing is applied)"
        made = table("for precision", "confidence", "decisions", "true", "95 %", "true ones lost", title=title)
        for proposal in calibration.proposals:
            limit = "none keeps it" if proposal.limit is None else f"{proposal.limit:g}"
            data = _rate(proposal.kept) if proposal.limit is not None else ("-", "-", "-")
            made.add_row(f"{proposal.precision:g}", limit, *data, number(proposal.lost))
        parts.append(made)
    if calibration.fit:
        made = table("stated", "was worth", "95 %", title="Isotonic fit", right=("stated", "was worth"))
        for point in calibration.fit:
            made.add_row(f"{point.stated:g}", f"{point.fitted:.2f}", f"{point.low:.2f} to {point.high:.2f}")
        parts.append(made)
    return Group(*(Padding(part, (0, 0, 1, 0)) for part in parts))


def _rate(rate: Rate) -> tuple[str, str, str]:
    return number(rate.count), f"{rate.rate:.2f}", f"{rate.low:.2f} to {rate.high:.2f}"


def webhooks_table(webhooks: Sequence[WebhookState]) -> Table:
    """One row an endpoint: how far it was told, and what is wrong with it."""
    made = table("endpoint", "url", "up to event", "taken", "dead", "trouble", right=("up to event", "taken", "dead"))
    for item in webhooks:
        trouble = f"{number(item.failures)} tries since {moment(item.failing_since_us)}: {shown(item.last_error)}"
        made.add_row(
            styled(item.name, "bold"),
            styled(item.url or "no longer configured"),
            number(item.cursor),
            number(item.delivered),
            number(item.dead),
            trouble if item.failures else "",
        )
    return made


def _state(finding: Finding) -> Text:
    made = Text(finding.review.value, style="dim" if finding.review is ReviewState.OPEN else "bold")
    return made if finding.suppressed is None else made.append(f"\n{shown(finding.suppressed.rule_id)}", style="yellow")


def rules_table(rules: Sequence[Rule], now_us: int) -> Table:
    """One row a rule: what it explains by, who made it why, and whether it holds."""
    made = table("rule", "by", "made", "why", "holds", "findings now", right=("findings now",), whole=("made",))
    for rule in rules:
        of = ", ".join(shown(value) for value in rule.values[:3]) + (", ..." if len(rule.values) > 3 else "")
        by = f"{rule.kind.value}{': ' + of if of else ''}{' (anyone)' if rule.anyone else ''}"
        ends = f"until {moment(rule.expires_us)}" if rule.expires_us else "yes"
        revoked = f"revoked by {shown(rule.revoked_by) or 'somebody'}, {moment(rule.revoked_us)}"
        holds = ends if rule.in_force(now_us) else revoked if rule.revoked_us else f"ended {moment(rule.expires_us)}"
        who = f"{moment(rule.created_us)}\n{shown(rule.creator or '-')}"
        made.add_row(styled(rule.rule_id, "bold"), by, who, styled(rule.reason), holds, number(rule.findings))
    return made


def _lineage(finding: Finding) -> Text:
    made = Text(finding.lineage.value, style="dim" if finding.lineage is Lineage.STEADY else "")
    if finding.returned:
        made.append("\ncame back", style="yellow")
    return made.append("\nprovisional", style="yellow") if finding.provisional else made


def families_table(families: Sequence[Family]) -> Table:
    """One line a family."""
    made = table(
        "family", "texts", "accounts", "exchanges", "lineage", "joined", "last (UTC)",
        right=("texts", "accounts", "exchanges", "joined"),
        whole=("last (UTC)",),
    )  # fmt: skip
    for family in families:
        others = [earlier for earlier in family.lineage_of if earlier != family.family_id]
        lineage = Text(family.lineage.value, style="dim" if family.lineage is FamilyLineage.STEADY else "")
        if others:
            lineage.append(f" from {', '.join(shown(earlier) for earlier in others[:3])}")
        if len(others) > 3:
            lineage.append(f" and {number(len(others) - 3)} more")
        made.add_row(
            styled(family.family_id, "bold"),
            number(family.texts),
            number(family.accounts),
            number(family.exchanges),
            lineage,
            number(family.joined) if family.joined else "",
            moment(family.last_seen_us),
        )
    return made


def headline(finding: Finding, *, with_kind: bool = False) -> Text:
    """A finding's id, and beside it what it claims where that is asked for, and its title below."""
    kind = f" {finding.kind.value}" if with_kind else ""
    return Text.assemble((shown(finding.finding_id), "bold"), (kind, "dim"), "\n", shown(finding.title))


def finding_page(finding: Finding, reviews: Sequence[Review], exemplars: Sequence[Exchange]) -> Group:
    """Claim, evidence for and against, accounts, exemplars side by side, reviews."""
    parts: list[RenderableType] = [_claim(finding)]
    if finding.suppressed is not None:
        parts.append(_suppression(finding.suppressed))
    parts.append(evidence_table("Evidence for it", finding.evidence))
    if finding.counter_evidence:
        parts.append(evidence_table("Evidence against it", finding.counter_evidence))
    parts.append(accounts_table(finding))
    if finding.joined_since:
        parts.append(joined_table(finding))
    if finding.excluded:
        parts.append(_excluded(finding))
    if finding.merged:
        parts.append(Text(f"Made one with it by review: {', '.join(shown(item) for item in finding.merged)}"))
    if finding.families:
        parts.append(_families(finding))
    if finding.benchmarks:
        parts.append(_finding_benchmarks(finding))
    if exemplars:
        parts.append(Group(Text("What they asked", style="bold"), exemplar_grid(exemplars)))
    gone = len({*finding.exemplars} - {exchange.exchange_id for exchange in exemplars})
    if gone:
        parts.append(Text(f"{gone} of its {len(finding.exemplars)} exemplars are no longer stored.", style="dim"))
    parts.append(_reviews(finding, reviews))
    return Group(*(Padding(part, (0, 0, 1, 0)) for part in parts))


def _claim(finding: Finding) -> Panel:
    facts = Text.assemble(
        finding.kind.value,
        " · severity ",
        severity(finding.severity),
        f" · confidence {finding.confidence:.2f} · {finding.lineage.value}",
        f" (from {', '.join(shown(earlier) for earlier in finding.lineage_of)})" if finding.lineage_of else "",
        f" · review {finding.review.value} (version {finding.version})",
        f" · {shown(finding.assignee)}'s to look at" if finding.assignee else "",
        " · came back" if finding.returned else "",
        " · provisional" if finding.provisional else "",
    )
    asked = sum(account.exchanges for account in finding.accounts)
    extent = (
        f"{number(len(finding.accounts))} accounts · {number(asked)} exchanges · "
        f"{moment(finding.first_seen_us)} to {moment(finding.last_seen_us)} UTC"
    )
    body = Group(styled(finding.title, "bold"), facts, Text(extent, style="dim"))
    return Panel(body, title=styled(finding.finding_id, "bold"), title_align="left", box=box.ROUNDED)


def evidence_table(title: str, evidence: Sequence[Evidence]) -> Table:
    """One row a reason: what it says, what was measured and what chance would give; its value and p-value."""
    made = table("reason", "value", "p", title=title, right=("value", "p"))
    made.columns[0].ratio = 1
    made.expand = True
    made.leading = 1
    for item in evidence:
        reason = Text.assemble(
            (shown(item.name.replace("_", " ")), "bold"),
            f"\n{shown(item.summary)}",
            (f"\nmeasured: {shown(item.statistic)}\nby chance: {shown(item.null)}", "dim"),
        )
        made.add_row(reason, number(item.value), p_value(item.p_value))
    return made


def accounts_table(finding: Finding) -> Group:
    """The accounts with most exchanges, and how many more there are."""
    made = table(
        "account", "exchanges", "distinct", "share", "first, last (UTC)",
        title="Accounts",
        right=("exchanges", "distinct", "share"),
        ids=("account",),
    )  # fmt: skip
    for account in finding.accounts[:ACCOUNTS_SHOWN]:
        made.add_row(
            styled(account.account_id),
            number(account.exchanges),
            number(account.distinct_texts),
            f"{account.share_of_traffic:.0%}",
            f"{moment(account.first_seen_us)}\n{moment(account.last_seen_us)}",
        )
    more = len(finding.accounts) - ACCOUNTS_SHOWN
    return Group(made, Text(f"  and {number(more)} more; --json lists all", style="dim")) if more > 0 else Group(made)


def joined_table(finding: Finding) -> Group:
    """The accounts that came to the pool after the run, and how many more there are."""
    made = table(
        "account", "prompts", "p", "first (UTC)",
        title="Joined since the run",
        right=("prompts", "p"),
        whole=("first (UTC)",),
    )  # fmt: skip
    for joined in finding.joined_since[:ACCOUNTS_SHOWN]:
        made.add_row(styled(joined.account_id), number(joined.prompts), p_value(joined.p_value), moment(joined.time_us))
    more = len(finding.joined_since) - ACCOUNTS_SHOWN
    return Group(made, Text(f"  and {number(more)} more; --json lists all", style="dim")) if more > 0 else Group(made)


def _families(finding: Finding) -> Table:
    made = table("family", "texts", "accounts", title="Families", right=("texts", "accounts"))
    for family in finding.families[:FAMILIES_SHOWN]:
        made.add_row(styled(family.family_id), number(family.texts), number(family.accounts))
    return made


def _finding_benchmarks(finding: Finding) -> Table:
    made = table("benchmark", "items asked", "coverage", title="Benchmarks", right=("items asked", "coverage"))
    for hit in finding.benchmarks:
        made.add_row(styled(hit.name), number(hit.items_matched), f"{hit.coverage:.0%}")
    return made


def exemplar_grid(exemplars: Sequence[Exchange]) -> RenderableType:
    """Exchanges side by side, two in a row, cut to a few lines; what they share is marked."""
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(ratio=1)
    grid.add_column(ratio=1)
    listed = exemplars[:EXEMPLARS_SHOWN]
    prompts = marked_shared([shown(exchange.prompt, EXEMPLAR_CHARS) for exchange in listed])
    cells = [_exemplar(exchange, prompt) for exchange, prompt in zip(listed, prompts, strict=True)]
    for first in range(0, len(cells), 2):
        grid.add_row(*cells[first : first + 2])
    return grid


def _exemplar(exchange: Exchange, prompt: Text) -> Panel:
    parts: list[RenderableType] = [prompt]
    if exchange.response:
        parts.append(styled("→ " + exchange.response, "dim", chars_max=EXEMPLAR_CHARS // 2))
    return Panel(
        Group(*parts),
        title=styled(f"{exchange.account_id} · {moment(exchange.time_us)}", chars_max=44),
        title_align="left",
        subtitle=styled(exchange.exchange_id, "dim", chars_max=44),
        subtitle_align="right",
        box=box.ROUNDED,
        border_style="dim",
    )


def _suppression(rule: Suppression) -> Text:
    return Text(
        f"Suppressed by {shown(rule.rule_id)} ({rule.kind}, by {shown(rule.creator or 'somebody')}: "
        f"{shown(rule.reason)}). {shown(rule.summary)}",
        style="yellow",
    )


def _excluded(finding: Finding) -> Group:
    made = table("account", "exchanges", "by", "why", title="Accounts excluded by review", right=("exchanges",))
    for item in finding.excluded[:ACCOUNTS_SHOWN]:
        made.add_row(styled(item.account_id), number(item.exchanges), styled(item.reviewer or "-"), styled(item.reason))
    more = len(finding.excluded) - ACCOUNTS_SHOWN
    return Group(made, Text(f"  and {number(more)} more; --json lists all", style="dim")) if more > 0 else Group(made)


def _reviews(finding: Finding, reviews: Sequence[Review]) -> RenderableType:
    if not reviews:
        return Text("Not reviewed yet.", style="dim")
    made = table("when", "what", "by", "why", title="History", whole=("when",))
    for review in reviews:
        made.add_row(moment(review.time_us), _done(review), styled(review.reviewer or "-"), styled(review.reason))
    decided = [review for review in reviews if review.action is ReviewAction.DECIDE and review.basis.accounts]
    if not decided or decided[-1].basis.accounts == len(finding.accounts):
        return made
    changed = (
        f"  The last decision was made on {number(decided[-1].basis.accounts)} accounts; "
        f"it has {number(len(finding.accounts))} now."
    )
    return Group(made, Text(changed, style="yellow"))


def _done(review: Review) -> str:
    """What an entry of a history did, in words."""
    accounts = f"{number(len(review.accounts))} account{'' if len(review.accounts) == 1 else 's'}"
    findings = ", ".join(shown(item) for item in review.findings)
    match review.action:
        case ReviewAction.COMMENT:
            return "comment"
        case ReviewAction.ASSIGN:
            return f"given to {shown(review.assignee)}" if review.assignee else "given to nobody"
        case ReviewAction.MERGE:
            return f"made one with {findings}"
        case ReviewAction.UNMERGE:
            return f"separate again: {findings}"
        case ReviewAction.SPLIT:
            return f"{accounts} excluded"
        case ReviewAction.RESTORE:
            return f"{accounts} put back"
        case ReviewAction.CARRY:
            return f"carried over; {review.decision.value}"
    return review.decision.value


def account_page(report: AccountReport) -> Group:
    """In which findings an account is, and if in none, how near it came."""
    standing = report.standing
    head = Text.assemble(
        (shown(standing.account_id), "bold"),
        f" · {number(report.exchanges_total)} exchanges in all",
        f" · {number(standing.exchanges)} in the window of run {shown(report.run_id)}" if report.run_id else "",
    )
    if report.findings:
        verdict: RenderableType = Group(
            Text(f"It is in {number(len(report.findings))} of the findings:"), findings_table(report.findings)
        )
    else:
        verdict = Group(Text("It is in no finding."), _nearest(report))
    parts: list[RenderableType] = [head, verdict]
    if report.families:
        held = ", ".join(
            f"{shown(family.family_id)} ({number(family.texts)}"
            + (f", {number(family.joined)} since the run)" if family.joined else ")")
            for family in report.families[:FAMILIES_SHOWN]
        )
        more = len(report.families) - FAMILIES_SHOWN
        parts.append(Text(f"Its prompts by family: {held}" + (f" and {number(more)} more" if more > 0 else "")))
    return Group(*parts)


def _nearest(report: AccountReport) -> Text:
    standing = report.standing
    lines = []
    if standing.nearest_candidate:
        lines.append(f"Nearest it came: {shown(standing.nearest_candidate)}")
        lines.append(
            f"{number(standing.pool_exchanges)} of its exchanges were in that pool; "
            f"the evidence against the pool: p = {p_value(standing.nearest_p_value)}"
        )
    if standing.reason:
        lines.append(f"Why: {shown(standing.reason)}")
    return Text("\n".join(lines))


def hits_table(hits: Sequence[Hit], *, responses: bool = False, query: str = "") -> Table:
    """Hits, nearest first, with the side that was searched; marked are words of the query, else what hits share."""
    lines = [shown(hit.exchange.response if responses else hit.exchange.prompt, HIT_CHARS) for hit in hits]
    words = telling_words(query)
    texts = [marked(line, words) for line in lines] if query else marked_shared(lines)
    made = table(
        "cosine", "account, time (UTC), exchange", "response" if responses else "prompt",
        right=("cosine",),
    )  # fmt: skip
    for hit, text in zip(hits, texts, strict=True):
        exchange = hit.exchange
        who = Text.assemble(
            (shown(exchange.account_id, _WHO_CHARS), "bold"),
            (f"\n{moment(exchange.time_us)}\n{shown(exchange.exchange_id, _WHO_CHARS)}", "dim"),
        )
        made.add_row(f"{hit.similarity:.3f}", who, text)
    return made


def runs_table(runs: Sequence[Run]) -> Table | Group:
    """One row a run; below, why those failed that did."""
    made = table(
        "run", "state", "asked for, took", "window (UTC)", "of it, by",
        whole=("state", "asked for, took", "window (UTC)"), ids=("run",),
    )  # fmt: skip
    reasons = []
    for run in runs:
        if run.error:
            reasons.append(
                Text.assemble("\n", (shown(run.run_id), "bold"), f" {run.state.value}: {shown(run.error, 400)}")
            )
        made.add_row(
            styled(run.run_id, "bold"),
            Text(run.state.value, style=_STATE_STYLES.get(run.state, "")),
            f"{moment(run.created_us)}\n{duration(run)}",
            f"{moment(run.since_us)}\n{moment(run.until_us)}" if run.until_us else "-",
            f"{slice_words(run.slice)}\n{shown(run.trigger)}",
        )
    return Group(made, *reasons) if reasons else made


def slice_words(part: Slice) -> str:
    """What of its window a run looks at, in few words."""
    words = ["responses"] if part.field is TextField.RESPONSE else []
    words += [f"model {shown(model, 40)}" for model in part.models[:2]]
    if len(part.models) > 2:
        words.append(f"{len(part.models) - 2} more models")
    if part.accounts_total == 1:
        words.append(f"account {shown(part.accounts[0], 40)}")
    elif part.accounts_total:
        words.append(f"{number(part.accounts_total)} accounts")
    words += [f"{shown(name, 40)}={shown(value, 40)}" for name, value in part.attributes.items()]
    return ", ".join(words) or "all"


def duration(run: Run) -> str:
    """How long a run took; a dash before its end."""
    return f"{(run.finished_us - run.started_us) / 1e6:.1f} s" if run.started_us and run.finished_us else "-"


def run_summary(run: Run, findings: Sequence[Finding]) -> Text:
    """A finished run in one paragraph."""
    counts: dict[FindingKind, int] = {}
    for finding in findings:
        if finding.lineage is not Lineage.GONE:
            counts[finding.kind] = counts.get(finding.kind, 0) + 1
    found = ", ".join(
        f"{number(count)} {kind.value.replace('_', ' ')}{'s' if count > 1 else ''}" for kind, count in counts.items()
    )
    looked = ", ".join(
        f"{number(run.measures[name])} {name}" for name in ("exchanges", "accounts") if name in run.measures
    )
    return Text.assemble(
        ("run ", "dim"),
        (shown(run.run_id), "bold"),
        f": {looked or 'the window'} from {moment(run.since_us)} to {moment(run.until_us)} UTC in {duration(run)}\n",
        "" if run.slice.is_whole else f"only: {slice_words(run.slice)}; the standing findings stay as they are\n",
        "found: ",
        (found or "nothing", "bold"),
        _families_line(run),
        *(f"\n{line}" for line in _sets_lines(run)),
    )


def _families_line(run: Run) -> str:
    """How many families there are, and what became of those of the run before."""
    if "families" not in run.measures:
        return ""
    counts = {lineage: run.measures.get(f"families_{lineage.value}", 0.0) for lineage in FamilyLineage}
    news = ", ".join(f"{number(count)} {lineage.value}" for lineage, count in counts.items() if count)
    return f"\nfamilies: {number(run.measures['families'])}" + (f" ({news})" if news else "")


def _sets_lines(run: Run) -> list[str]:
    """One line a parameter set, where there are several."""
    lines = []
    for place, item in enumerate(run.sets, start=1):
        measures = {name: run.measures.get(f"sets.{place}.{name}") for name in ("families", "clustered", "agreement")}
        if measures["families"] is None or measures["clustered"] is None:
            continue
        agreement = measures["agreement"]
        lines.append(
            f"{item.min_samples}/{item.min_cluster_size}: {number(measures['families'])} families hold "
            f"{measures['clustered']:.0%} of the texts"
            + (", the findings' set" if agreement is None else f", agreement with the first {agreement:.3f}")
        )
    return lines


def benchmarks_table(benchmarks: Sequence[Benchmark]) -> Table:
    """One line a benchmark."""
    made = table("benchmark", "items", "registered (UTC)", right=("items",))
    for benchmark in benchmarks:
        made.add_row(styled(benchmark.name, "bold"), number(benchmark.items), moment(benchmark.registered_us))
    return made


def matches_table(matches: Sequence[BenchmarkMatch]) -> Table:
    """The items a text is, best first."""
    made = table("benchmark", "item", "how", "cosine", right=("cosine",))
    for match in matches:
        made.add_row(styled(match.benchmark), styled(match.item_id), shown(match.method), f"{match.similarity:.3f}")
    return made


def scores_table(rows: Sequence[tuple[str, str, str]]) -> Table:
    """Measures of `simulation.Scores.rows`."""
    made = table("measure", "value", "of", right=("value",))
    for measure, value, detail in rows:
        made.add_row(shown(measure), Text(value, style="bold"), Text(shown(detail), style="dim"))
    return made


def _backlog(stats: Stats) -> str:
    waiting = stats.backlog
    if not stats.pending_texts or not waiting.oldest_s:
        return number(stats.pending_texts)
    return f"{number(stats.pending_texts)} (about {number(waiting.tokens)} tokens, for {waiting.oldest_s:,.0f} s)"


def stats_table(stats: Stats) -> Table:
    """What the service holds."""
    rows = {
        "exchanges": number(stats.exchanges),
        "accounts": number(stats.accounts),
        "distinct texts": number(stats.texts),
        "waiting to be embedded": _backlog(stats),
        "first exchange (UTC)": moment(stats.first_seen_us),
        "last exchange (UTC)": moment(stats.last_seen_us),
        "runs": number(stats.runs),
        "findings of the newest whole run": number(stats.findings),
        "benchmarks": number(stats.benchmarks),
        "embedding model": f"{shown(stats.model_id)} ({stats.dim} dimensions)" if stats.model_id else "none yet",
        "database": f"{stats.database_bytes / 1e6:,.1f} MB",
    }
    mended = []
    if stats.unclean_start:
        mended.append("the process before died")
    if stats.runs_cut_off:
        mended.append(f"{stats.runs_cut_off} runs cut off")
    if stats.snapshots_refused:
        mended.append(f"{stats.snapshots_refused} damaged snapshots made anew")
    if mended:
        rows["at the start"] = "; ".join(mended)
    return pairs(rows)


def pairs(rows: Mapping[str, RenderableType]) -> Table:
    """Names and values."""
    made = Table.grid(padding=(0, 2))
    made.add_column(style="dim")
    made.add_column(justify="right")
    for name, value in rows.items():
        made.add_row(name, value)
    return made


def retained_line(retained: Retained, *, outlook: bool) -> Text:
    """What was let go of, or would be."""
    parts = []
    if retained.before_us:
        parts.append(f"{number(retained.exchanges)} exchanges before {format_time(retained.before_us)}")
    if retained.before_us and not outlook:
        parts.append(f"{number(retained.texts)} texts that no other has")
    if retained.texts_before_us:
        count = "" if outlook else f"{number(retained.contents)} "
        parts.append(f"{count}contents of texts not sent since {format_time(retained.texts_before_us)}")
    return Text(f"{'would delete' if outlook else 'deleted'} {', '.join(parts)}")


def erasure_lines(erasure: Erasure) -> RenderableType:
    """What was removed, and what was looked at afterwards."""
    removed = Text(
        f"erased {shown(erasure.account_id)}: {number(erasure.exchanges)} exchanges, {number(erasure.texts)} texts "
        f"that nobody else sent, {number(erasure.findings_changed)} findings changed"
    )
    proof = erasure.proof
    if proof is None:
        return removed
    if proof.complete:
        verdict = Text("nothing is left of it", style="green")
    else:
        places = ", ".join(f"{item.kind} in {item.place} ({number(item.count)})" for item in proof.residues)
        verdict = Text(f"something is left of it: {places}", style="red")
    looked: dict[str, RenderableType] = {
        "looked at": f"{number(proof.rows)} rows of {proof.tables} tables, {proof.bytes_read / 1e6:,.1f} MB of "
        f"{proof.files} files",
        "looked for": f"the id{'' if proof.id_in_bytes else ' (too short for raw bytes: in the tables alone)'}, "
        f"{number(proof.texts)} texts, {number(proof.vectors)} vectors",
        "found": verdict,
        "tombstone": erasure.tombstone,
    }
    for name, count in (
        ("too short to look for", proof.texts_skipped),
        ("named in texts of others", proof.mentions),
        ("came since", proof.returned),
    ):
        if count:
            looked[name] = number(count)
    return Group(removed, pairs(looked))
