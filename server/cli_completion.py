"""The verb that writes a completion script for a shell."""

import argparse
from collections.abc import Iterator

import shtab

from coterie.server.cli_commands import Session

SHELLS = ("bash", "zsh")
_FILES = {"FILE", "SRC", "DEST", "EVENTS", "TRUTH", "OLD", "NEW"}


def completion(session: Session) -> int:
    """Write a completion script on stdout."""
    from coterie.server import cli

    options = session.options
    session.terminal.out.file.write(completion_script(cli.make_parser(), options.shell))
    if not session.terminal.out.is_terminal:  # a shell that starts reads it: no advice then
        return 0
    if options.shell == "bash":
        session.terminal.say('put it to use here: eval "$(coterie completion bash)"; for good: put that into ~/.bashrc')
    else:
        session.terminal.say("put it into a file _coterie in a folder of $fpath, then start zsh anew")
    return 0


def completion_script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for one of `SHELLS`; it completes verbs, options, words to choose from, files and folders.

    The parser is changed by it: take one that nothing else is done with.
    """
    for action in _actions(parser):
        words = getattr(action.type, "words", None)
        if words and not action.choices:
            action.choices = list(words)
        if action.metavar in _FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
        elif action.metavar == "DIR":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    return shtab.complete(parser, shell) + "\n"


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                yield from _actions(verb)
        else:
            yield action
