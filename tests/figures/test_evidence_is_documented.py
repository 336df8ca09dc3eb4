"""Every name that detection gives a piece of evidence is one that people can read up on."""

import ast
import re
from pathlib import Path

from dossiers import made_dossier

from coterie.domain import READINGS
from coterie.figures import PICTURE_OF, draw

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "evidence.md").read_text()


def names_in_detection() -> set[str]:
    """What stands as `name=` of an Evidence, or is handed to a function whose argument does."""
    found: set[str] = set()
    for path in sorted((ROOT / "detection").glob("*.py")):
        tree = ast.parse(path.read_text())
        handing = {"Evidence"}
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            for call in (node for node in ast.walk(function) if isinstance(node, ast.Call)):
                if not (isinstance(call.func, ast.Name) and call.func.id == "Evidence"):
                    continue
                value = next(keyword.value for keyword in call.keywords if keyword.arg == "name")
                if isinstance(value, ast.Constant):
                    found.add(str(value.value))
                else:
                    assert isinstance(value, ast.Name)
                    assert value.id == function.args.args[0].arg, f"{path}: {function.name} takes its name elsewhere"
                    handing.add(function.name)
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            if isinstance(call.func, ast.Name) and call.func.id in handing - {"Evidence"}:
                assert isinstance(call.args[0], ast.Constant)
                found.add(str(call.args[0].value))
    return found


def test_every_name_of_evidence_has_its_part_in_the_document_and_a_short_reading() -> None:
    names = names_in_detection()
    assert len(names) >= 30
    assert set(re.findall(r"^### `(\w+)`$", DOCUMENT, re.M)) == names
    assert set(READINGS) == names


def test_pictures_are_described_and_belong_to_evidence_that_there_is() -> None:
    drawn = {figure.name: figure for figure in draw(made_dossier())}
    described = dict(re.findall(r"^\| `([\w-]+)` ([^|]+?) \|", DOCUMENT, re.M))
    assert set(described) == set(drawn)
    for name, title in described.items():
        assert title == drawn[name].title or name.startswith("benchmark")
    assert set(PICTURE_OF) <= set(READINGS)
    assert set(PICTURE_OF.values()) <= set(drawn)
    for name, picture in PICTURE_OF.items():
        part = DOCUMENT.split(f"### `{name}`", 1)[1].split("\n### ", 1)[0].split("\n## ", 1)[0]
        assert f"`{picture}`" in part, name
