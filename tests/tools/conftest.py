"""The real tools and the real index, built once a session."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from seamline.loading import load_module
from seamline.tools import Tool, ToolRegistry


@pytest.fixture(scope="session")
def registry(root: Path) -> ToolRegistry:
    return ToolRegistry(root / "tools")


@pytest.fixture(scope="session")
def search_tool(registry: ToolRegistry) -> Tool:
    return registry.get("icd10_search")


@pytest.fixture(scope="session")
def index_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("icd10")


@pytest.fixture(scope="session")
def index_module(root: Path) -> Any:
    return load_module(root / "tools" / "icd10_search" / "index.py")


@pytest.fixture(scope="session")
def glossary_module(root: Path) -> Any:
    return load_module(root / "tools" / "icd10_search" / "glossary.py")


@pytest.fixture(scope="session")
def mentions_module(root: Path) -> Any:
    return load_module(root / "tools" / "icd10_search" / "mentions.py")


@pytest.fixture(scope="session")
def index(index_module: Any, index_cache: Path) -> Any:
    return index_module.Icd10Index.open(index_cache)
