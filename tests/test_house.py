"""The house rules that no tool checks: what is shipped, how it is imported, and lists that must agree."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
UNSHIPPED = {"tests", "bench", "notebooks", "docs"}
BUILT = {"build", "dist"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]
PACKAGES: list[str] = SETUPTOOLS["packages"]
FOLDERS: dict[str, str] = SETUPTOOLS["package-dir"]
ROOMS = {name.removeprefix("coterie.") for name in PACKAGES} - {"v1"}


def python_files() -> list[Path]:
    """Every Python file of the project, relative to its root."""
    folders = [path for path in ROOT.iterdir() if path.is_dir() and path.name[0] != "." and path.name not in BUILT]
    return sorted(path.relative_to(ROOT) for folder in folders for path in folder.rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""


def test_every_folder_that_holds_python_is_a_package_that_is_shipped() -> None:
    holding = {path.parent.as_posix() for path in python_files() if path.parts[0] not in UNSHIPPED}
    assert holding == set(FOLDERS.values())
    assert sorted(FOLDERS) == sorted(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_says_what_it_is_and_is_typed(package: str) -> None:
    folder = ROOT / FOLDERS[package]
    assert (folder / "__init__.py").is_file()
    assert (folder / "py.typed").is_file()
    if package != "coterie.v1":  # its messages are explained in the .proto files
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))


def test_the_namespace_itself_holds_nothing() -> None:
    assert not (ROOT / "__init__.py").exists()
    assert not (ROOT / "proto" / "coterie" / "__init__.py").exists()


def test_rooms_are_imported_by_their_full_name() -> None:
    bare = [
        f"{path}: import {name}"
        for path in python_files()
        for name in imported(ast.parse((ROOT / path).read_text()))
        if name.split(".")[0] in ROOMS
    ]
    assert bare == []


def test_every_list_of_rooms_is_the_same() -> None:
    banned = PROJECT["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]
    assert set(banned) == ROOMS
    assert sorted(PROJECT["tool"]["importlinter"]["root_packages"]) == sorted(PACKAGES)
    type_checked = re.findall(r"-p coterie\.(\w+)", (ROOT / "Makefile").read_text())
    assert sorted(type_checked) == sorted(ROOMS)


def test_the_client_needs_no_more_than_the_base_install() -> None:
    base = {re.split(r"[<>=]", requirement)[0] for requirement in PROJECT["project"]["dependencies"]}
    assert base == {"grpcio", "protobuf", "numpy"}
    roots = {
        name.split(".")[0]
        for path in python_files()
        if path.parts[0] in ("domain", "client", "proto") and path.as_posix() != "client/frames.py"  # an extra's
        for name in imported(ast.parse((ROOT / path).read_text()))
    }
    assert roots - sys.stdlib_module_names == {"coterie", "google", "grpc", "numpy"}
