"""Every notebook runs, holds no logic of its own, and is kept without what it printed."""

import ast
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
LOGIC = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.If, ast.While, ast.Try)
CELL_TIMEOUT_S = 400  # the first run of an installation compiles


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def test_there_are_three() -> None:
    assert [path.stem for path in NOTEBOOKS] == [
        "evaluating_on_your_own_traffic",
        "first_steps",
        "investigating_a_finding",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_nothing_that_it_printed_is_kept(path: Path) -> None:
    book = read(path)
    nbformat.validate(book)
    assert [cell.outputs for cell in code(path) if cell.outputs or cell.execution_count is not None] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_holds_no_logic_of_its_own(path: Path) -> None:
    trees = [ast.parse(cell.source) for cell in code(path)]
    assert [ast.unparse(node) for tree in trees for node in ast.walk(tree) if isinstance(node, LOGIC)] == []
    assert [ast.unparse(tree) for tree in trees if len(list(ast.walk(tree))) > 150] == []


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The kernel is another process: warnings of its libraries are not ours to turn into errors.
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    book = read(path)
    NotebookClient(
        book, timeout=CELL_TIMEOUT_S, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    shown = [output for cell in book.cells for output in cell.get("outputs", ())]
    assert [output for output in shown if output.output_type == "error" or output.get("name") == "stderr"] == []
    told = [output for output in shown if "text/html" in output.get("data", {})]
    assert len(told) >= 3
    if path.stem == "investigating_a_finding":
        pictures = [output for output in shown if "image/svg+xml" in output.get("data", {})]
        assert len(pictures) >= 5
