"""The verbs about key files."""

from rich.text import Text

from coterie.server.cli_commands import Session
from coterie.server.cli_terminal import shown
from coterie.server.keys import new_key_file


def new(session: Session) -> int:
    """Make a key file."""
    path = session.options.file
    new_key_file(path)
    session.terminal.data({"file": str(path)}, Text(f"{shown(str(path))}: a new key, readable by its owner alone"))
    session.terminal.say("keep a copy of it elsewhere: what it hashes or encrypts is lost with it")
    return 0
