"""The verbs that hand findings on: a report to read, and files for other systems."""

import os
import sys
import time
from pathlib import Path

from rich.text import Text

from coterie.client import Client
from coterie.domain import Dossier, Finding, InvalidError, Lineage, NotFoundError, Run
from coterie.exports import (
    Format,
    Redaction,
    Report,
    check_report,
    format_of,
    read_export,
    write_export,
    write_report,
)
from coterie.server import cli_render as render
from coterie.server.cli_commands import FINDINGS_MAX, Session, UsageError
from coterie.server.cli_terminal import shown

FINDINGS_REPORTED_MAX = 40
"""Findings of a run that are reported whole; the others are listed."""


def report(session: Session) -> int:
    """Write one HTML file of a finding or a run, or check one."""
    options, terminal = session.options, session.terminal
    if options.check is not None:
        if options.id:
            raise UsageError("--check FILE takes no finding and no run")
        digest = check_report(_read(options.check).decode("utf-8", "strict"))
        terminal.data({"file": str(options.check), "sha256": digest, "intact": True}, Text(f"as written: {digest}"))
        return 0
    with session.client() as client:
        made = _report(client, options.id, options.redact)
        name = options.id or "run"
    path = write_file(options.out, f"coterie-report-{name}.html", made.html.encode("utf-8", "replace"))
    if path is not None:
        terminal.data(
            {"file": str(path), "level": options.redact.value, "sha256": made.sha256},
            Text(f"{_written(path, options.out)}\nlevel {options.redact.value}, sha256 {made.sha256}"),
        )
        terminal.suggest("report", "--check", str(path))
    return 0


def _report(client: Client, name: str, redaction: Redaction) -> Report:
    dossiers, run, others = _chosen(client, name, redaction)
    return write_report(
        dossiers,
        redaction=redaction,
        made_us=time.time_ns() // 1_000,
        run=run,
        others=others,
        model_id=client.stats().model_id,
    )


def _chosen(client: Client, name: str, redaction: Redaction) -> tuple[list[Dossier], Run | None, list[Finding]]:
    """What to report: a finding; or a run with its findings, the clearest whole; without a name the standing ones."""
    if name:
        try:
            return [client.get_dossier(name, with_text=redaction.needs_text)], None, []
        except NotFoundError:
            pass  # then it is a run, or nothing
    try:
        run_id, findings = client.list_findings(name, limit=FINDINGS_MAX)
    except NotFoundError as error:
        raise NotFoundError(
            f"there is no finding and no run {name}: `coterie findings` and `coterie runs` list them"
        ) from error
    if not run_id:
        raise NotFoundError("no whole run is done yet: `coterie recluster` makes one")
    claimed = [item for item in findings if item.lineage is not Lineage.GONE][:FINDINGS_REPORTED_MAX]
    whole = {item.finding_id for item in claimed}
    dossiers = [client.get_dossier(item.finding_id, run_id=run_id, with_text=redaction.needs_text) for item in claimed]
    return dossiers, client.get_run(run_id), [item for item in findings if item.finding_id not in whole]


def export(session: Session) -> int:
    """Write findings in a format for other systems, or check such a file."""
    options, terminal = session.options, session.terminal
    if options.check is not None:
        if options.id or options.run:
            raise UsageError("--check FILE takes no finding and no run")
        return _check(session)
    if bool(options.id) == bool(options.run):
        raise UsageError("export takes findings, or --run ID for all that a run claims")
    if options.format is None:
        raise UsageError(f"export needs --format: {', '.join(Format)}")
    with session.client() as client:
        names = options.id or _claimed(client, options.run)
        run_id = options.run or ""
        dossiers = [client.get_dossier(name, run_id=run_id, with_text=options.with_text) for name in names]
    content = write_export(dossiers, options.format, options.tlp)
    name = f"coterie-export-{options.run or '-'.join(names[:3])}{options.format.suffix}"
    path = write_file(options.out, name, content)
    if path is not None:
        value = {"file": str(path), "format": options.format.value, "findings": names, "with_text": options.with_text}
        what = f"{render.counted(len(names), 'finding')}, tlp:{options.tlp.value}"
        terminal.data(value, Text(f"{_written(path, options.out)}: {what}"))
        terminal.suggest("export", "--check", str(path))
    return 0


def _claimed(client: Client, run_id: str) -> list[str]:
    findings = client.list_findings(run_id, limit=FINDINGS_MAX)[1]
    names: list[str] = [item.finding_id for item in findings if item.lineage is not Lineage.GONE]
    if not names:
        raise NotFoundError(f"run {run_id} claims nothing: there is nothing to export")
    return names


def _check(session: Session) -> int:
    path = session.options.check
    content = _read(path)
    kind = session.options.format or format_of(path.name, content)
    found = read_export(content, kind)
    table = render.table("finding", "claims", "severity", "sure", "accounts", right=("sure", "accounts"))
    for item in found:
        cells = (
            item["finding_id"],
            item["kind"],
            item["severity"],
            f"{item['confidence']:.2f}",
            str(len(item["accounts"])),
        )
        table.add_row(*map(shown, cells))
    session.terminal.data({"file": str(path), "format": kind.value, "findings": found}, table)
    session.terminal.say(f"coterie: {render.counted(len(found), 'finding')}, valid as {kind.value}")
    return 0


def _written(path: Path, asked: str | None) -> str:
    """Where a file is: the whole path of one that nobody named."""
    return f"written to {shown(str(path if asked else path.absolute()))}"


def write_file(out: str | None, name: str, content: bytes) -> Path | None:
    """Write a file that only its owner can read, by default of this name here; `-` is stdout, and then None.

    Raises:
        InvalidError: it cannot be written.
    """
    if out == "-":
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
        return None
    path = Path(out or name)
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(number, "wb") as stream:
            stream.write(content)
    except OSError as error:
        raise InvalidError(f"cannot write {shown(str(path))}: {error.strerror}", field="out") from error
    return path


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidError(f"cannot read {shown(str(path))}: {error.strerror}", field="file") from error
