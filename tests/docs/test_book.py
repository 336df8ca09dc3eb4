"""The book: it builds, refers to nothing elsewhere, and leaves out no verb, option, call, field or setting."""

import argparse
import importlib.util
import json
import re
from collections.abc import Iterator
from dataclasses import fields
from html import unescape
from pathlib import Path
from types import ModuleType

import pytest
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FileDescriptor
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

from coterie.server import cli
from coterie.server.config import Config
from coterie.v1 import (
    access_service_pb2,
    admin_service_pb2,
    benchmark_service_pb2,
    explore_service_pb2,
    finding_service_pb2,
    ingest_service_pb2,
    run_service_pb2,
    search_service_pb2,
    types_pb2,
)

ROOT = Path(__file__).parents[2]
CONTRACT: tuple[FileDescriptor, ...] = tuple(
    module.DESCRIPTOR
    for module in (
        access_service_pb2,
        admin_service_pb2,
        benchmark_service_pb2,
        explore_service_pb2,
        finding_service_pb2,
        ingest_service_pb2,
        run_service_pb2,
        search_service_pb2,
        types_pb2,
    )
)
PROSE = {path: path.read_text() for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))}
LOADED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed|object|input)\b[^>]*?\b(?:src|data|srcset)\s*=\s*["']?\s*(?:https?:)?//"""
    r"""|<link\b(?![^>]*rel=["']?canonical)[^>]*?\bhref\s*=\s*["']?\s*(?:https?:)?//"""
    r"""|url\(\s*["']?\s*(?:https?:)?//|@import\s+["'](?:https?:)?//""",
    re.IGNORECASE,
)


def build_book(folder: Path, **changed: object) -> Path:
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), **changed))
    return folder


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_book(tmp_path_factory.mktemp("book"))


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def section(page: str, anchor: str) -> str:
    """The text from a heading to the next."""
    found = re.search(rf'<h\d id="{re.escape(anchor)}">(.*?)(?=<h\d\b|</body>)', page, re.DOTALL)
    assert found, f"nothing is said under {anchor}"
    return unescape(re.sub(r"<[^>]+>", "", found[1]))


def every_verb(parser: argparse.ArgumentParser, prefix: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, verb in action.choices.items():
                inner = list(every_verb(verb, f"{prefix}{name} "))
                yield from inner or [(f"{prefix}{name}", verb)]


VERBS = dict(every_verb(cli.make_parser()))


@pytest.mark.parametrize("verb", VERBS)
def test_the_reference_has_every_verb_with_every_argument(book: Path, verb: str) -> None:
    said = section((book / "cli.html").read_text(), verb.replace(" ", "-"))
    shared = section((book / "cli.html").read_text(), "global")
    for action in VERBS[verb]._actions:
        if action.dest == "help":
            continue
        name = action.option_strings[-1] if action.option_strings else action.metavar or "|".join(action.choices or ())
        assert isinstance(name, str)
        assert name in said or name in shared, f"{verb} {name}"
        assert action.help


def test_every_verb_is_explained_by_a_person_somewhere() -> None:
    prose = "\n".join(PROSE.values())
    unsaid = [verb for verb in VERBS if not re.search(rf"coterie (?:--?[\w-]+ \S+ )*{verb}\b", prose)]
    assert unsaid == []


def messages(found: Descriptor) -> Iterator[Descriptor]:
    if not found.GetOptions().map_entry:
        yield found
        for inner in found.nested_types:
            yield from messages(inner)


@pytest.mark.parametrize("file", CONTRACT, ids=lambda file: file.name)
def test_the_reference_has_every_call_message_and_field(book: Path, file: FileDescriptor) -> None:
    page = (book / "api.html").read_text()
    for service in file.services_by_name.values():
        for method in service.methods:
            words = section(page, f"{service.name}-{method.name}").split()
            assert len(words) > 4, f"{method.full_name} is listed and not explained"
    enums: list[EnumDescriptor] = list(file.enum_types_by_name.values())
    for message in (inner for outer in file.message_types_by_name.values() for inner in messages(outer)):
        said = section(page, message.name)
        assert [field.name for field in message.fields if field.name not in said] == []
        enums += message.enum_types
    for enum in enums:
        said = section(page, enum.name)
        assert [value.name for value in enum.values if value.name not in said] == []


def test_the_contract_is_whole() -> None:
    assert {file.name for file in CONTRACT} == {
        path.relative_to(ROOT / "proto").as_posix() for path in (ROOT / "proto/coterie/v1").glob("*.proto")
    }


def test_the_reference_has_every_setting(book: Path) -> None:
    page = unescape((book / "settings.html").read_text())
    assert [item.name for item in fields(Config) if f"<code>{item.name}</code>" not in page] == []


def test_an_option_without_help_stops_the_build(generate: ModuleType) -> None:
    parser = cli.make_parser()
    VERBS_OF_IT = dict(every_verb(parser))
    VERBS_OF_IT["search"].add_argument("--secret")
    with pytest.raises(ValueError, match="coterie search: --secret has no help"):
        generate.cli_page(parser)


def test_a_verb_without_help_stops_the_build(generate: ModuleType) -> None:
    parser = cli.make_parser()
    dict(every_verb(parser))["search"].description = None
    with pytest.raises(ValueError, match="the verb search has no help"):
        generate.cli_page(parser)


def test_a_setting_without_docstring_stops_the_build(generate: ModuleType) -> None:
    explained = cli.setting_help()
    del explained["listen"]
    with pytest.raises(ValueError, match="the setting listen has no docstring"):
        generate.settings_page(explained)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("SearchService", (6, 0)),
        ("SearchService.Search", (6, 0, 2, 0)),
        ("SearchRequest", (4, 0)),
        ("SearchRequest.text", (4, 0, 2, 0)),
    ],
)
def test_what_lacks_a_comment_in_the_contract_stops_the_build(
    generate: ModuleType, name: str, path: tuple[int, ...]
) -> None:
    found = generate.contract()
    (file,) = (file for file in found.file if file.name.endswith("/search_service.proto"))
    for location in file.source_code_info.location:
        if tuple(location.path) == path:
            location.ClearField("leading_comments")
            location.ClearField("trailing_comments")
    with pytest.raises(ValueError, match=f"^{re.escape(name)} has no comment"):
        generate.api_page(found)


def test_text_of_the_code_is_no_markup(generate: ModuleType) -> None:
    assert generate._inline("a|b <c> [d](e) *f* `g|<h>`") == r"a\|b &lt;c&gt; \[d\](e) \*f\* `g|<h>`"


def test_the_book_loads_nothing_from_elsewhere(book: Path) -> None:
    pages = [path for path in book.rglob("*") if path.suffix in (".html", ".css")]
    assert len(pages) > 15
    assert [path.name for path in pages if LOADED.search(path.read_text())] == []


@pytest.mark.parametrize(
    "tag",
    [
        '<script defer src="https://example.com/x.js">',
        "<img alt='' src=//example.com/x.png>",
        '<link rel="stylesheet" href="http://example.com/x.css">',
        "src: url('https://example.com/font.woff')",
        '@import "https://example.com/x.css";',
    ],
)
def test_what_would_be_loaded_is_seen(tag: str) -> None:
    assert LOADED.search(tag)


@pytest.mark.parametrize(
    ("page", "content"),
    [
        ("index.md", "[broken](nowhere.md)"),
        ("index.md", "[broken](index.md#nowhere)"),
        ("left-out.md", "# Left out"),
    ],
)
def test_what_is_broken_or_left_out_stops_the_build(tmp_path: Path, page: str, content: str) -> None:
    chapters = tmp_path / "docs"
    chapters.mkdir()
    (chapters / "index.md").write_text("# Index")
    (chapters / page).write_text(content)
    with pytest.raises(Abort):
        build_book(tmp_path / "site", docs_dir=str(chapters), hooks=[], nav=[{"Index": "index.md"}])


def test_a_whole_book_of_one_page_builds(tmp_path: Path) -> None:
    chapters = tmp_path / "docs"
    chapters.mkdir()
    (chapters / "index.md").write_text("# Index\n[whole](index.md#index)")
    build_book(tmp_path / "site", docs_dir=str(chapters), hooks=[], nav=[{"Index": "index.md"}])


def test_the_readme_leads_into_every_chapter() -> None:
    readme = PROSE[ROOT / "README.md"]
    chapters = [path.name for path in PROSE if path.parent.name == "docs"]
    assert [name for name in chapters if f"(docs/{name})" not in readme] == []


def test_links_of_the_readme_lead_somewhere() -> None:
    readme = PROSE[ROOT / "README.md"]
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", readme)
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_every_piece_of_evidence_has_its_place_in_the_book() -> None:
    from coterie.domain import READINGS

    chapter = PROSE[ROOT / "docs" / "evidence.md"]
    assert [name for name in READINGS if f"### `{name}`" not in chapter] == []


def test_notebooks_are_in_the_book_without_what_they_print(generate: ModuleType, tmp_path: Path) -> None:
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "Words."]},
        {"cell_type": "code", "source": ["print(1)"], "outputs": [{"text": "SECRET"}]},
    ]
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": cells}))
    page = generate.notebooks_page([tmp_path / "a.ipynb"])
    assert "## Title\nWords." in page
    assert "```python\nprint(1)\n```" in page
    assert "SECRET" not in page
