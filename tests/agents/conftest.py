"""A small project that is no one's domain, and a model that follows its policies."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import pytest

from seamline import Agent, Project, ScriptedModel
from seamline.traces.store import SqliteTraceStore

HERE = Path(__file__).parent


class MakeAgent(Protocol):
    def __call__(self, **bindings: str) -> Agent: ...


def load(name: str) -> ModuleType:
    key = f"seamline_tests_{name}"
    if key not in sys.modules:
        spec = importlib.util.spec_from_file_location(key, HERE / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[key] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[key])
    return sys.modules[key]


@pytest.fixture
def project_root(tmp_path: Path) -> Path:
    """A copy of the project, free to be changed."""
    target = tmp_path / "project"
    shutil.copytree(HERE / "project", target, ignore=shutil.ignore_patterns("__pycache__"))
    return target


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteTraceStore]:
    with SqliteTraceStore(tmp_path / "traces.sqlite") as opened:
        yield opened


@pytest.fixture
def project(project_root: Path, store: SqliteTraceStore) -> Project:
    return Project.open(project_root, store=store)


@pytest.fixture
def follow() -> Any:
    return load("follower").follow


@pytest.fixture
def model(follow: Any) -> ScriptedModel:
    return ScriptedModel(follow)


@pytest.fixture
def make_agent(project_root: Path, store: SqliteTraceStore, model: ScriptedModel) -> MakeAgent:
    """The agent `sorter`; `plan="1.1.0"` binds another version of a policy."""

    def make(**bindings: str) -> Agent:
        path = project_root / "agents" / "sorter" / "agent.yaml"
        text = path.read_text()
        for slot, version in bindings.items():
            text = text.replace(f"sorter/{slot}@1.0.0", f"sorter/{slot}@{version}")
        path.write_text(text)
        return Project.open(project_root, store=store).agent("sorter", model=model)

    return make


@pytest.fixture
def sorter(make_agent: MakeAgent) -> Agent:
    return make_agent()
