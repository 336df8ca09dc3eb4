"""The verb `doctor`."""

from collections.abc import Iterator

from rich.table import Table

from coterie.server.cli_commands import Session
from coterie.server.cli_terminal import styled
from coterie.server.doctor import Diagnosis, Status, examine, to_json, worst

_STYLES = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "red bold"}


def doctor(session: Session) -> int:
    """Check an installation and a data folder, or a server; 1 when a check fails."""
    found = []
    with session.terminal.progress("checking") as meter:
        for item in _diagnoses(session):
            found.append(item)
            meter.update(None, item.check)
    session.terminal.data(to_json(found), _table(found))
    return 1 if worst(found) is Status.FAIL else 0


def _diagnoses(session: Session) -> Iterator[Diagnosis]:
    if not session.options.server:
        yield from examine(session.config(), whole=not session.options.quick)
        return
    from coterie.server.doctor_server import examine_server

    with session.channel() as channel:
        yield from examine_server(channel, session.options.server)


def _table(found: list[Diagnosis]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("check", "", "seen, and what to do"):
        table.add_column(heading, overflow="fold")
    for item in found:
        seen = styled(item.seen)
        if item.action:
            seen.append(f"\n→ {item.action}", style="bold")
        table.add_row(item.check, styled(item.status.value, _STYLES[item.status]), seen)
    return table
