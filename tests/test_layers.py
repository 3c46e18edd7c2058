"""The import rule: app → pages → core ← harness. And what pages leave to the core: arithmetic, SQL and paths."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = {"app", "pages", "core", "harness", "tests"}
MAY = {  # layer -> own layers it may import
    "app": {"pages", "core"},
    "pages": {"pages", "core"},
    "core": {"core"},
    "harness": {"harness", "core"},
}
FORMULAS_MAY = {"__future__", "core.units", "core.quantity", "numpy"}
PAGES_NEVER = {"os", "pathlib", "glob", "shutil", "io", "sqlite3", "duckdb", "subprocess", "numpy"}
SQL = re.compile(r"\b(select\b.+\bfrom|insert\s+into|create\s+(table|view)|read_parquet)\b", re.IGNORECASE | re.DOTALL)
PATH = re.compile(r"^(\.{0,2}/)?(data|runs|catalog|tmp|home)/|\.(parquet|csv|toml|json)$")
ARITHMETIC = (ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Pow, ast.Mod)
GEOMETRY = {"charts.py"}  # sizes and ticks of a drawing


def imported(source: str) -> Iterator[str]:
    """Full names of the modules that a source imports, wherever the statement stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name their module in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def wrong_imports(layer: str, source: str, *, formulas: bool = False) -> list[str]:
    """What the source imports against the rule."""
    found = []
    for name in imported(source):
        top = name.split(".")[0]
        if (top in OURS and top not in MAY[layer]) or (top == "streamlit" and layer in ("core", "harness")):
            found.append(name)
        if formulas and not any(name == allowed or name.startswith(f"{allowed}.") for allowed in FORMULAS_MAY):
            found.append(name)
        if layer == "pages" and top in PAGES_NEVER:
            found.append(name)
    return found


def left_to_the_core(source: str, *, geometry: bool = False) -> list[str]:
    """Arithmetic, SQL, paths and opened files in the source of a page."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ARITHMETIC) and not geometry:
            found.append(f"line {node.lineno}: arithmetic {ast.unparse(node)}")
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if SQL.search(node.value):
                found.append(f"line {node.lineno}: SQL {node.value[:60]!r}")
            if PATH.search(node.value):
                found.append(f"line {node.lineno}: path {node.value[:60]!r}")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open":
            found.append(f"line {node.lineno}: opens a file")
    return found


def files(layer: str) -> list[Path]:
    return [ROOT / "app.py"] if layer == "app" else sorted((ROOT / layer).rglob("*.py"))


@pytest.mark.parametrize("layer", MAY)
def test_import_rule(layer: str) -> None:
    wrong = {
        str(path.relative_to(ROOT)): bad
        for path in files(layer)
        if (bad := wrong_imports(layer, path.read_text(), formulas=path.parent.name == "formulas"))
    }
    assert not wrong


def test_pages_leave_work_to_the_core() -> None:
    wrong = {
        str(path.relative_to(ROOT)): bad
        for path in files("pages")
        if (bad := left_to_the_core(path.read_text(), geometry=path.name in GEOMETRY))
    }
    assert not wrong


def test_layers_are_there() -> None:
    assert all(files(layer) for layer in ("app", "pages", "core"))


@pytest.mark.parametrize(
    ("layer", "source", "formulas"),
    [
        ("core", "import streamlit as st", False),
        ("core", "def f():\n    from streamlit import cache_data", False),
        ("core", "from harness.load import run", False),
        ("core", "from pages.shared import words", False),
        ("core", "from core.catalog import models", True),
        ("core", "import pandas", True),
        ("harness", "import pages.frame", False),
        ("pages", "import app", False),
        ("pages", "from harness import load", False),
        ("pages", "from pathlib import Path", False),
        ("pages", "import duckdb", False),
    ],
)
def test_rule_can_fail(layer: str, source: str, formulas: bool) -> None:
    assert wrong_imports(layer, source, formulas=formulas)


@pytest.mark.parametrize(
    "source",
    ["x = tokens / time", "q = 'SELECT model FROM runs'", "p = 'data/runs/x'", "p = 'catalog.json'", "f = open('x')"],
)
def test_page_check_can_fail(source: str) -> None:
    assert left_to_the_core(source)


def test_rule_allows_what_is_meant() -> None:
    assert not wrong_imports("core", "import numpy as np\nfrom core.units import Bytes", formulas=True)
    assert not wrong_imports("pages", "import streamlit as st\nfrom core.errors import RoofcastError")
    assert not left_to_the_core("text = 'a' + 'b'\nwords = f'{rate} tok/s'")
