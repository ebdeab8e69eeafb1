"""What every test shares: no network but loopback, the pulled base, the outside data."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from seamline.errors import SeamlineError
from seamline.models import bases
from seamline.models.bases import BaseSpec

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[1]
BASE = ROOT / "models" / "bases" / "smollm2-135m-instruct.yaml"

# Sockets are held to loopback by pytest-socket (see pyproject.toml); this keeps the model
# libraries from even trying, here and in the child processes that tests start.
os.environ["HF_HUB_OFFLINE"] = "1"


def _without_base() -> str:
    """Why tests marked `model` cannot run; empty when they can."""
    for name in ("torch", "transformers", "peft"):
        if importlib.util.find_spec(name) is None:
            return f"{name} is not installed: pip install -c constraints.txt -e '.[local]'"
    try:
        bases.path(BaseSpec.load(BASE))
    except SeamlineError as error:
        return str(error)
    return ""


def _without_data() -> str:
    folder = os.environ.get("SEAMLINE_DATA")
    if not folder:
        return "SEAMLINE_DATA is not set: name the folder that holds the outside data sets"
    return "" if Path(folder).is_dir() else f"SEAMLINE_DATA={folder} is not a folder"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for marker, without in (("model", _without_base), ("data", _without_data)):
        marked = [item for item in items if item.get_closest_marker(marker)]
        reason = without() if marked else ""
        if not reason:
            continue
        if marker in os.environ.get("SEAMLINE_TESTS_REQUIRE", "").split(","):
            raise pytest.UsageError(f"{len(marked)} tests marked {marker} must run, but {reason}")
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(autouse=True)
def _own_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Every test keeps its traces and caches under its own folder.

    Those marked `model` keep the user's cache, because the base is there.
    """
    if request.node.get_closest_marker("model"):
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    else:
        monkeypatch.setenv("SEAMLINE_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout, which is a project itself."""
    return ROOT


@pytest.fixture(scope="session")
def base_spec() -> BaseSpec:
    """The default base as declared."""
    return BaseSpec.load(BASE)


@pytest.fixture(scope="session")
def base_path(base_spec: BaseSpec) -> Path:
    """The folder of the pulled base; only for tests marked `model`."""
    return bases.path(base_spec)


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of outside data; only for tests marked `data`."""
    return Path(os.environ["SEAMLINE_DATA"])


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
