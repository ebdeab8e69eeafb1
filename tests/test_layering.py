"""Which part may import which: read from the source, so that lazy imports count too."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PARTS = ("policies", "models", "traces", "tools", "agents", "serving", "cli")
MAY_IMPORT = {
    "errors": {"texts"},
    "terminal": set[str](),
    "texts": set[str](),
    "documents": {"errors"},
    "loading": {"errors"},
    "wording": set[str](),
    "writing": set[str](),
    "strict_yaml": {"wording"},
    "policies": {"errors", "strict_yaml", "wording", "writing"},
    "models": {"errors", "strict_yaml", "texts", "wording", "writing"},
    "traces": {"errors", "models", "terminal", "texts", "writing"},
    "tools": {"errors", "loading", "models", "texts"},
    # An agent is built from a project, which it knows only as a type.
    "agents": {
        "errors",
        "loading",
        "texts",
        "policies",
        "models",
        "traces",
        "tools",
        "documents",
        "project",
    },
}
"""Parts and modules that are not listed are outermost: nothing that is listed imports them."""


def imported(module: ast.Module) -> set[str]:
    """The parts of seamline that a module imports anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative imports hide the layer"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("seamline.")}
        found.discard("__version__")
        found |= {"(the facade)" for name in names if name == "seamline"}
    return found


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_a_part_imports_only_the_layers_below(root: Path, part: str) -> None:
    source = root / "src" / "seamline"
    files = sorted((source / part).rglob("*.py")) or [source / f"{part}.py"]
    allowed = MAY_IMPORT[part] | {part}
    wrong = {}
    for file in files:
        extra = imported(ast.parse(file.read_text(encoding="utf-8"))) - allowed
        if extra:
            wrong[str(file.relative_to(source))] = sorted(extra)
    assert wrong == {}


def test_every_part_is_known(root: Path) -> None:
    source = root / "src" / "seamline"
    folders = {p.name for p in source.iterdir() if p.is_dir() and not p.name.startswith("_")}
    assert folders - set(PARTS) == set()
    assert set(PARTS) - folders <= {"serving"}  # The outermost part that is not built yet.


def test_the_check_sees_every_form_of_import() -> None:
    text = "import seamline\nimport seamline.tools.a\ndef f():\n from seamline import agents\n"
    assert imported(ast.parse(text)) == {"tools", "agents", "(the facade)"}


@pytest.mark.parametrize("folder", ["agents", "tools", "policies", "models", "traces"])
def test_content_folders_are_no_packages(root: Path, folder: str) -> None:
    assert list((root / folder).rglob("__init__.py")) == []
