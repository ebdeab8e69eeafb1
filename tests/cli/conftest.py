"""A copy of the small test project whose policies a local endpoint answers."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

AGENTS = Path(__file__).parents[1] / "agents"

Seamline = Callable[..., "subprocess.CompletedProcess[str]"]


def _follower() -> ModuleType:
    spec = importlib.util.spec_from_file_location("seamline_tests_cli", AGENTS / "follower.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def endpoint_url() -> Iterator[str]:
    with _follower().endpoint_server() as url:
        yield url


@pytest.fixture
def shelf(tmp_path: Path, endpoint_url: str) -> Path:
    """The project; its endpoint `follower` follows policies, `nowhere` does not answer."""
    target = tmp_path / "project"
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(AGENTS / "project", target, ignore=ignore)
    endpoints = target / "models" / "endpoints"
    endpoints.mkdir(parents=True, exist_ok=True)
    for name, url in (("follower", endpoint_url), ("nowhere", "http://127.0.0.1:9/v1")):
        (endpoints / f"{name}.yaml").write_text(
            f"name: {name}\nbase_url: {url}\nmodel: follower\nmax_retries: 0\n"
        )
    agent = target / "agents" / "sorter" / "agent.yaml"
    agent.write_text(agent.read_text().replace("orchestrator: local", "orchestrator: follower"))
    return target


@pytest.fixture
def seamline(shelf: Path) -> Seamline:
    """Runs `seamline` in a process of its own, in the project's folder."""

    def call(
        *arguments: str, stdin: str | bytes = "", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join(part for part in sys.path if part)
        done = subprocess.run(
            [sys.executable, "-m", "seamline.cli.main", *arguments],
            input=stdin if isinstance(stdin, bytes) else stdin.encode(),
            cwd=shelf,
            env={**os.environ, "PYTHONPATH": path, **(env or {})},
            capture_output=True,
            timeout=900,  # A busy machine is slow, not broken.
        )
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    return call
