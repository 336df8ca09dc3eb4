"""The verbs `backup` and `restore`."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.text import Text

from coterie.domain import Backup, InvalidError, format_time
from coterie.server.cli_commands import Session, UsageError
from coterie.server.cli_terminal import shown


def backup(session: Session) -> int:
    """Write a backup, or check one."""
    options, terminal = session.options, session.terminal
    if options.dest == "verify":
        return _verify(session)
    if options.server:
        with session.client() as client:
            made = client.create_backup("" if options.dest == "-" else options.dest)
    else:
        made = _write(session, Path(options.dest))
    terminal.data(_to_json(made), _line(made, "written"))
    if not options.server:
        terminal.suggest("backup", "verify", made.path)
    return 0


def restore(session: Session) -> int:
    """Make a data folder of a backup."""
    from coterie.server.backup import restore_backup

    source, data_dir = Path(session.options.src), session.config().data_dir
    restored = _shown(session, "restoring", lambda tell: restore_backup(source, data_dir, tell))
    old = session.options.erasures_of
    erased = None if old is None else _erase_again(session, old)
    value = _to_json(restored) | {"data_dir": str(data_dir), "erased_again": erased}
    session.terminal.data(value, _line(restored, f"restored to {data_dir}"))
    if erased is None:
        session.terminal.say("accounts erased since the backup are back: erase them again, or use --erasures-of")
    elif erased:
        session.terminal.say(f"{erased} accounts were erased again")
    session.terminal.say(
        f"exchanges that were acknowledged after {format_time(restored.created_us)} (sequence "
        f"{restored.last_sequence}) are not in it: send them again, what is there is not doubled"
    )
    session.terminal.suggest("stats")
    return 0


def _erase_again(session: Session, old: Path) -> int:
    """Do again in the restored folder what was erased in the old one; returns how many accounts."""
    from coterie.server.engine import Engine
    from coterie.store import open_store

    with open_store(old, create=False) as store:
        ledger = store.erasure_ledger()
    config = session.config(lazy_model=True)
    with open_store(config.data_dir, create=False) as store:
        accounts = store.adopt_erasures(ledger, time.time_ns() // 1_000)
    Engine.open(config, create=False).close()  # opening goes on with what is pending
    return accounts


def _write(session: Session, destination: Path) -> Backup:
    from coterie.server.backup import create_backup
    from coterie.store import open_store

    if destination.name in ("", ".", "..", "-"):
        raise UsageError("name a new folder, or a file that ends in .tar.zst or .tar.gz")
    with open_store(session.config().data_dir, create=False) as store:
        return _shown(session, "backing up", lambda tell: create_backup(store, destination, tell))


def _verify(session: Session) -> int:
    from coterie.server.backup import verify_backup

    source = Path(session.options.src)
    if not source.exists():
        raise InvalidError(f"there is no {source}", field="src")
    found = _shown(session, "checking", lambda tell: verify_backup(source, tell))
    session.terminal.data(_to_json(found), _line(found, "whole"))
    return 0


def _shown(session: Session, title: str, work: Callable[[Callable[[float], None]], Backup]) -> Backup:
    with session.terminal.progress(title) as meter:
        return work(lambda share: meter.update(share, ""))


def _to_json(made: Backup) -> dict[str, Any]:
    value = dataclasses.asdict(made)
    value["created"] = format_time(value.pop("created_us"))
    return value


def _line(made: Backup, what: str) -> Text:
    return Text(
        f"{shown(made.path)}: {what}; {made.exchanges:,} exchanges up to sequence {made.last_sequence}, "
        f"{made.files} files, {made.size_bytes / 1e6:,.1f} MB"
    )
