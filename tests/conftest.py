"""What every test shares: no network but loopback, the pulled base, outside data, Postgres."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from seamline.errors import SeamlineError
from seamline.models import bases
from seamline.models.bases import BaseSpec
from seamline.models.skills import SkillStore
from seamline.project import Project

if TYPE_CHECKING:
    from seamline.models.engine import LocalModel

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[1]
BASE = ROOT / "models" / "bases" / "smollm2-135m-instruct.yaml"

# Sockets are held to loopback by pytest-socket (see pyproject.toml); this keeps the model
# libraries from even trying, here and in the child processes that tests start.
os.environ["HF_HUB_OFFLINE"] = "1"

# Processes side by side have a core each; torch's threads would wait for one another.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def _without_base() -> str:
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


def _postgres_programs() -> Path | None:
    """The folder of PostgreSQL's newest server programs; Debian keeps them off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: p.parts[-3])
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).resolve().parent if on_path else None


def _without_postgres() -> str:
    if importlib.util.find_spec("psycopg") is None:
        return "psycopg is not installed: pip install -c constraints.txt -e '.[postgres]'"
    if _postgres_programs() is None:
        return "PostgreSQL's server is not installed; on Debian and Ubuntu: apt install postgresql"
    return ""


_NEEDS = {
    "model": _without_base,
    "data": _without_data,
    "postgres": _without_postgres,
}
"""Marker to what says why the tests marked so cannot run; empty when they can."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Files that ask the base take long: started last, one would run on beside an idle process.
    long = {item.path for item in items if item.get_closest_marker("model")}
    items.sort(key=lambda item: item.path not in long)
    for marker, without in _NEEDS.items():
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
    monkeypatch.delenv("SEAMLINE_TRACES", raising=False)
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
def _loaded(base_spec: BaseSpec, root: Path) -> Iterator[LocalModel]:
    from seamline.models.engine import LocalModel

    model = LocalModel(base_spec, SkillStore(root / "models" / "skills"))
    yield model
    model.close()


@pytest.fixture
def resident(_loaded: LocalModel, monkeypatch: pytest.MonkeyPatch) -> LocalModel:
    """The real base with the shipped skills, loaded once for all tests that ask for it.

    Every project of such a test runs it; only for tests marked `model`.
    """
    monkeypatch.setattr(Project, "local_model", _loaded)
    return _loaded


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of outside data; only for tests marked `data`."""
    return Path(os.environ["SEAMLINE_DATA"])


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


class PostgresServer:
    """A server of the tests' own; its user needs a password and may make databases."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self._folder = folder
        self._programs = programs
        self.data = folder / "data"
        # The server refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(folder, self._user)
        password = folder / "password"
        password.write_text("pass/word")
        password.chmod(0o644)
        access = ("--username=seam", f"--pwfile={password}", "--auth=scram-sha-256")
        text = ("--encoding=UTF8", "--no-locale")
        self._call("initdb", *access, *text, "--no-sync", f"--pgdata={self.data}")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()

    def _call(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *arguments],
            user=self._user,
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            # A server that goes on running keeps its streams open.
            stdout=subprocess.DEVNULL,
            stderr=(self._folder / "stderr").open("w"),
            timeout=120,
        )
        assert done.returncode == 0, (self._folder / "stderr").read_text()

    def start(self) -> None:
        options = f"-c listen_addresses=127.0.0.1 -c port={self.port} -c fsync=off"
        options += f" -c unix_socket_directories={self._folder}"
        log = f"--log={self._folder / 'log'}"
        data = f"--pgdata={self.data}"
        self._call("pg_ctl", "start", "--wait", data, log, f"--options={options}")

    def stop(self) -> None:
        self._call("pg_ctl", "stop", "--mode=immediate", f"--pgdata={self.data}")

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://seam:pass%2Fword@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The connection string of an empty database."""
        import psycopg

        name = f"test_{uuid.uuid4().hex}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL; only for tests marked `postgres`."""
    programs = _postgres_programs()
    assert programs is not None
    # Not below pytest's folder, which only its own user may enter.
    with tempfile.TemporaryDirectory(prefix="seamline-postgres-") as folder:
        Path(folder).chmod(0o755)
        server = PostgresServer(Path(folder), programs)
        yield server
        server.stop()
