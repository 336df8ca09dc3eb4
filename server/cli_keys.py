"""The verbs about key files."""

from rich.text import Text

from coterie.server.cli_commands import Session
from coterie.server.cli_terminal import shown
from coterie.server.keys import new_key_file, read_key_file
from coterie.store import open_store


def new(session: Session) -> int:
    """Make a key file."""
    path = session.options.file
    new_key_file(path)
    session.terminal.data({"file": str(path)}, Text(f"{shown(str(path))}: a new key, readable by its owner alone"))
    session.terminal.say("keep a copy of it elsewhere: what it hashes or encrypts is lost with it")
    return 0


def rotate(session: Session) -> int:
    """Wrap the key of a data folder's texts anew."""
    options, terminal = session.options, session.terminal
    data_dir = session.config(texts="keep", text_key_file="").data_dir
    with open_store(data_dir, create=False) as store:
        store.rotate_text_key(read_key_file(options.old), read_key_file(options.new))
    line = f"the texts of {shown(str(data_dir))} are opened by {shown(str(options.new))} from now on"
    terminal.data({"data_dir": str(data_dir), "file": str(options.new)}, Text(line))
    terminal.say(f"set text_key_file to {options.new}; backups from before need {options.old}")
    return 0
