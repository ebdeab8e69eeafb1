"""Modules of at most 600 lines and functions of at most 60; an exception gives its reason."""

from __future__ import annotations

import ast
from pathlib import Path

MODULE, FUNCTION = 600, 60
EXCEPTIONS: dict[str, str] = {}
"""`path` or `path::function` to the reason why it may be longer."""


def python_files(root: Path) -> list[Path]:
    folders = ("src", "tools", "agents", "models", "policies", "scripts", "benchmarks")
    return [file for folder in folders for file in sorted((root / folder).rglob("*.py"))]


def too_long(root: Path) -> dict[str, int]:
    found = {}
    for file in python_files(root):
        name, text = str(file.relative_to(root)), file.read_text(encoding="utf-8")
        found[name] = len(text.splitlines()) if len(text.splitlines()) > MODULE else 0
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                found[f"{name}::{node.name}"] = lines if lines > FUNCTION else 0
    return {name: lines for name, lines in found.items() if lines}


def test_modules_and_functions_are_small(root: Path) -> None:
    found = too_long(root)
    assert {name: lines for name, lines in found.items() if name not in EXCEPTIONS} == {}


def test_no_exception_is_stale(root: Path) -> None:
    assert set(EXCEPTIONS) - set(too_long(root)) == set()
    assert all(len(reason) > 20 for reason in EXCEPTIONS.values())


def test_the_check_sees_long_code(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "long.py").write_text("def f():\n" + "    x = 1\n" * 700)
    assert too_long(tmp_path) == {"src/long.py": 701, "src/long.py::f": 701}
