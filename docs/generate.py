"""The pages of the book that are made from the code: command line, API, settings, notebooks.

A hook of mkdocs (`hooks` in mkdocs.yml), so no generated page is committed and none can be out of date. Whatever lacks
its explanation stops the build: a verb or option without help, a message, field or call without a comment, a setting
without a docstring.
"""

import argparse
import html
import json
import re
import tempfile
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)
from grpc_tools import protoc
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from coterie.server import cli
from coterie.server.config import Config

ROOT = Path(__file__).parents[1]
Comments = dict[tuple[int, ...], str]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    try:
        pages = {
            "cli.md": cli_page(cli.make_parser()),
            "api.md": api_page(contract()),
            "settings.md": settings_page(cli.setting_help()),
            "notebooks.md": notebooks_page(sorted((ROOT / "notebooks").glob("*.ipynb"))),
        }
    except ValueError as error:
        raise PluginError(str(error)) from error
    for name, content in pages.items():
        files.append(File.generated(config, name, content=content))
    return files


# The command line


def cli_page(parser: argparse.ArgumentParser) -> str:
    """Every verb with its arguments and options, from the parser itself.

    Raises:
        ValueError: a verb or an option has no help.
    """
    parts = [
        "# Command line reference",
        "Made from the parser of this version. `coterie VERB --help` prints the same. Exit codes: 0 done, 1 failed, "
        "2 usage. stdout is data, stderr is progress.",
        "## Global options {#global}",
        "They stand before the verb or after it.",
        _options(parser, "coterie", set()),
    ]
    everywhere = {name for action in parser._actions for name in action.option_strings}
    for name, verb in verbs(parser):
        if not verb.description:
            raise ValueError(f"the verb {name} has no help")
        anchor = name.replace(" ", "-")
        parts += [
            f"## {name} {{#{anchor}}}",
            _inline(verb.description),
            _usage(verb),
            _options(verb, f"coterie {name}", everywhere),
        ]
    return "\n\n".join(part for part in parts if part) + "\n"


def verbs(parser: argparse.ArgumentParser, prefix: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every verb by its whole name, verbs of verbs included, in the order of the help."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, verb in action.choices.items():
                whole = f"{prefix} {name}".strip()
                inner = list(verbs(verb, whole))
                yield from inner or [(whole, verb)]


def _usage(verb: argparse.ArgumentParser) -> str:
    usage = " ".join(verb.format_usage().removeprefix("usage:").split())
    lines = textwrap.wrap(usage, 92, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    return "```text\n{}\n```".format("\n".join(lines)) if len(usage) <= 600 else ""


def _options(parser: argparse.ArgumentParser, owner: str, everywhere: set[str]) -> str:
    rows = []
    for action in parser._actions:
        again = action.help == argparse.SUPPRESS and everywhere.issuperset(action.option_strings)
        if again or isinstance(action, (argparse._SubParsersAction, argparse._HelpAction)):
            continue
        if not action.help or action.help == argparse.SUPPRESS:
            raise ValueError(f"{owner}: {'/'.join(action.option_strings) or action.dest} has no help")
        rows.append((_written(action), _inline(action.help.replace("%%", "%"))))
    return _table(("argument", "what it is"), rows)


def _written(action: argparse.Action) -> str:
    named = action.metavar or "|".join(map(str, action.choices or ())) or action.dest
    value = "" if action.nargs == 0 else str(named)
    if not action.option_strings:
        return f"`{value}`"
    return ", ".join(f"`{' '.join(filter(None, (name, value)))}`" for name in action.option_strings)


# Settings


def settings_page(explained: dict[str, str]) -> str:
    """Every setting with its default, limits and explanation, from the docstrings of `Config`.

    Raises:
        ValueError: a setting has no docstring.
    """
    rows = []
    for item in fields(Config):
        if not explained.get(item.name):
            raise ValueError(f"the setting {item.name} has no docstring")
        low, high = item.metadata.get("low"), item.metadata.get("high")
        limits = "" if low is None else f"{low:,} to {high:,}"
        default = str(item.default)
        rows.append((f"`{item.name}`", f"`{default}`" if default else "empty", limits, _inline(explained[item.name])))
    return "\n\n".join(
        (
            "# Settings reference",
            "Made from `server/config.py` of this version. A setting is a key of the TOML file that `--config` names, "
            "the environment variable `COTERIE_` with its name in capitals, and a flag of "
            "[`coterie serve`](cli.md#serve) with `-` for `_`; later ones of these win. Unknown names and values out "
            "of their limits are refused at the start.",
            '```toml\nlisten = "127.0.0.1:7431"\nschedule = "6h"\nretention_days = 90\n```',
            _table(("setting", "default", "limits", "what it does"), rows),
            "`data_dir` and `model` are the global options [`--data-dir` and `--model`](cli.md#global). Clients read "
            "`COTERIE_TOKEN`, see [access](access.md#tokens).",
        )
    )


# The API


def contract() -> FileDescriptorSet:
    """The .proto files of the contract, with their comments.

    Raises:
        ValueError: they do not compile.
    """
    folder = ROOT / "proto"
    names = sorted(path.relative_to(folder).as_posix() for path in folder.glob("coterie/v1/*.proto"))
    with tempfile.TemporaryDirectory() as out:
        target = Path(out) / "contract.binpb"
        code = protoc.main(["protoc", f"-I{folder}", f"--descriptor_set_out={target}", "--include_source_info", *names])
        if code:
            raise ValueError(f"protoc ended with {code}")
        return FileDescriptorSet.FromString(target.read_bytes())


def api_page(found: FileDescriptorSet) -> str:
    """Every service, call, message, field and enum of the contract, with its comment.

    Raises:
        ValueError: one of them has no comment.
    """
    parts = [
        "# API reference",
        "Made from `proto/coterie/v1` of this version. Package `coterie.v1`; the standard health and reflection "
        "services are served besides. Who may call what: [access](access.md#roles). Metadata: `authorization: Bearer "
        "TOKEN`, and `x-request-id`, which comes back.",
        "| service | for |\n|---|---|",
    ]
    bodies = []
    for file in found.file:
        comments = _comments(file)
        for number, service in enumerate(file.service):
            parts[-1] += f"\n| [{service.name}](#{service.name}) | {_said(comments, (6, number), service.name)} |"
            bodies.append(_service(service, number, comments))
    for file in found.file:
        comments = _comments(file)
        bodies += [_message(item, (4, number), comments) for number, item in enumerate(file.message_type)]
        bodies += [_enum(item, (5, number), comments) for number, item in enumerate(file.enum_type)]
    return "\n\n".join((*parts, *bodies)) + "\n"


def _comments(file: FileDescriptorProto) -> Comments:
    found: Comments = {}
    for location in file.source_code_info.location:
        words = " ".join(f"{location.leading_comments} {location.trailing_comments}".split())
        if words:
            found[tuple(location.path)] = words
    return found


def _said(comments: Comments, path: tuple[int, ...], name: str) -> str:
    if path not in comments:
        raise ValueError(f"{name} has no comment in its .proto file")
    return _inline(comments[path])


def _service(service: ServiceDescriptorProto, number: int, comments: Comments) -> str:
    parts = [f"## {service.name} {{#{service.name}}}", _said(comments, (6, number), service.name)]
    for place, method in enumerate(service.method):
        name = f"{service.name}.{method.name}"
        said = _said(comments, (6, number, 2, place), name)
        parts += [f"### {name} {{#{name.replace('.', '-')}}}", _signature(method), said]
    return "\n\n".join(parts)


def _signature(method: MethodDescriptorProto) -> str:
    asked, answered = _linked(method.input_type), _linked(method.output_type)
    return (
        f"{'a stream of ' if method.client_streaming else ''}{asked} → "
        f"{'a stream of ' if method.server_streaming else ''}{answered}"
    )


def _message(message: DescriptorProto, path: tuple[int, ...], comments: Comments) -> str:
    parts = [f"## {message.name} {{#{message.name}}}", _said(comments, path, message.name)]
    entries = {item.name: item for item in message.nested_type if item.options.map_entry}
    rows = []
    for number, field in enumerate(message.field):
        said = _said(comments, (*path, 2, number), f"{message.name}.{field.name}")
        choice = "" if field.proto3_optional or not field.HasField("oneof_index") else _choice(message, field)
        rows.append((str(field.number), f"`{field.name}`", _kind(field, entries), choice + said))
    parts.append(_table(("no.", "field", "type", "meaning"), rows) or "No fields.")
    for number, item in enumerate(message.nested_type):
        if item.name not in entries:
            parts.append(_message(item, (*path, 3, number), comments))
    for number, enum in enumerate(message.enum_type):
        parts.append(_enum(enum, (*path, 4, number), comments))
    return "\n\n".join(parts)


def _choice(message: DescriptorProto, field: FieldDescriptorProto) -> str:
    return f"One of `{message.oneof_decl[field.oneof_index].name}`. "


def _kind(field: FieldDescriptorProto, entries: dict[str, DescriptorProto]) -> str:
    if field.type == FieldDescriptorProto.TYPE_MESSAGE and (entry := entries.get(field.type_name.split(".")[-1])):
        key, value = (_kind(item, {}) for item in entry.field)
        return f"map of {key} to {value}"
    if field.type_name:
        name = _linked(field.type_name)
    else:
        name = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"list of {name}"
    return f"optional {name}" if field.proto3_optional else name


def _enum(enum: EnumDescriptorProto, path: tuple[int, ...], comments: Comments) -> str:
    rows = [
        (str(value.number), f"`{value.name}`", _said(comments, (*path, 2, number), f"{enum.name}.{value.name}"))
        for number, value in enumerate(enum.value)
    ]
    said = _said(comments, path, enum.name)
    return "\n\n".join((f"## {enum.name} {{#{enum.name}}}", said, _table(("no.", "value", "meaning"), rows)))


def _linked(type_name: str) -> str:
    name = type_name.rsplit(".", maxsplit=1)[-1]
    return f"[{name}](#{name})" if type_name.startswith(".coterie.v1.") else f"`{type_name.lstrip('.')}`"


# Notebooks


def notebooks_page(paths: Sequence[Path]) -> str:
    """The notebooks as they are, without what they print: that is made by running them."""
    parts = [
        "# Notebooks",
        "They lie in `notebooks/` and are run by every `make test`, each against a server of its own with built-in "
        "text. `pip install 'coterie[server,cpu,exports,notebooks]'` brings what they need; open them in Jupyter or an "
        "editor.",
    ]
    for path in paths:
        book = json.loads(path.read_text(encoding="utf-8"))
        for cell in book["cells"]:
            source = "".join(cell["source"])
            if cell["cell_type"] == "markdown":
                parts.append(re.sub(r"^(?=#)", "#", source, flags=re.MULTILINE))
            else:
                parts.append(f"```python\n{source}\n```")
    return "\n\n".join(parts) + "\n"


# Markdown


def _inline(text: str) -> str:
    """Text of the code as Markdown: code in backticks stays, nothing else is markup."""
    pieces = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(piece if piece.startswith("`") else _escaped(piece) for piece in pieces)


def _escaped(text: str) -> str:
    return re.sub(r"([\\*\[\]|])", r"\\\1", html.escape(text, quote=False))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    lines = [" | ".join(head), " | ".join("---" for _ in head), *(" | ".join(_cells(row)) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)


def _cells(row: Sequence[str]) -> Iterator[str]:
    for cell in row:
        yield re.sub(r"(?<!\\)\|", r"\\|", cell)
