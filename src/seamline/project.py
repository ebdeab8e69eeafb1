"""A project: the folders that hold agents, tools, policies, models and traces."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ConfigDict

from seamline.errors import ConfigError
from seamline.models.declarations import read_yaml

if TYPE_CHECKING:
    from seamline.agents.agent import Agent
    from seamline.agents.recorded import RecordedRun
    from seamline.models.bases import BaseSpec
    from seamline.models.embedders import EmbedderSpec
    from seamline.models.endpoints import EndpointModel, EndpointSpec
    from seamline.models.engine import LocalModel
    from seamline.models.protocol import Model
    from seamline.models.skills import SkillStore
    from seamline.policies.store import PolicyStore
    from seamline.tools.registry import ToolRegistry
    from seamline.traces.hooks import RunHooks
    from seamline.traces.store import TraceStore

__all__ = ["FOLDERS", "Project", "ProjectSpec", "find_root", "state_home", "trace_location"]

FOLDERS = ("agents", "models", "policies", "tools", "traces")
PROJECT_FILE = "seamline.yaml"

F = TypeVar("F", bound=Callable[..., Any])


class ProjectSpec(BaseModel):
    """`seamline.yaml`; every key may be left out.

    Attributes:
        base: The base that this project's local model runs, by its name in `models/bases`;
            not needed where there is one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    description: str = ""
    base: str | None = None


class Project:
    """What a folder declares, loaded when it is asked for.

    Example:
        >>> project = Project.packaged()
        >>> project.agents()
        ['contract_review', 'icd10_coder']
    """

    def __init__(self, root: Path, *, store: TraceStore | str | Path | None = None) -> None:
        self.root = root
        self._store = store

    @classmethod
    def open(cls, path: str | Path, *, store: TraceStore | str | Path | None = None) -> Project:
        """The project in a folder.

        Args:
            path: The folder with `seamline.yaml` or the five content folders.
            store: Where runs are recorded: a store, the path of a SQLite file, or
                `postgresql://…`; by default `$SEAMLINE_TRACES`, else SQLite in the user's
                data folder.

        Raises:
            ConfigError: The folder does not exist or is no project.
        """
        root = Path(path).expanduser().resolve()
        if not root.is_dir():
            raise ConfigError(
                f"{root} is not a folder; give a project's folder, "
                f"or make one with `seamline init {path}`"
            )
        if not is_project(root):
            raise ConfigError(
                f"{root} is no seamline project: it has neither {PROJECT_FILE} nor the folders "
                f"{', '.join(FOLDERS)}; make one with `seamline init {path}`"
            )
        return cls(root, store=store)

    @classmethod
    def packaged(cls, *, store: TraceStore | str | Path | None = None) -> Project:
        """The project that ships with Seamline; `store` as in `open`.

        Raises:
            ConfigError: The installation is incomplete.
        """
        return cls(packaged_root(), store=store)

    def __repr__(self) -> str:
        return f"Project({str(self.root)!r})"

    @cached_property
    def spec(self) -> ProjectSpec:
        """What `seamline.yaml` says.

        Raises:
            ConfigError: The file is wrong.
        """
        path = self.root / PROJECT_FILE
        if not path.is_file():
            return ProjectSpec(name=self.root.name)
        return read_yaml(ProjectSpec, path, "a project's declaration")

    # -- content

    @cached_property
    def policies(self) -> PolicyStore:
        """The policies, with their lock and labels."""
        from seamline.policies.store import PolicyStore

        return PolicyStore(self.root / "policies")

    @cached_property
    def tools(self) -> ToolRegistry:
        """The tools, those of `add_tool` included."""
        from seamline.tools.registry import ToolRegistry

        return ToolRegistry(self.root / "tools")

    @cached_property
    def skills(self) -> SkillStore:
        """The adapters, with their labels."""
        from seamline.models.skills import SkillStore

        return SkillStore(self.root / "models" / "skills")

    @cached_property
    def bases(self) -> dict[str, BaseSpec]:
        """The bases by name.

        Raises:
            ConfigError: A declaration is wrong.
        """
        from seamline.models.bases import load_bases

        return load_bases(self.root / "models" / "bases")

    @cached_property
    def embedders(self) -> dict[str, EmbedderSpec]:
        """The embedders by name.

        Raises:
            ConfigError: A declaration is wrong.
        """
        from seamline.models.embedders import load_embedders

        return load_embedders(self.root / "models" / "embedders")

    @cached_property
    def endpoints(self) -> dict[str, EndpointSpec]:
        """The endpoints by name.

        Raises:
            ConfigError: A declaration is wrong.
        """
        from seamline.models.endpoints import load_endpoints

        return load_endpoints(self.root / "models" / "endpoints")

    @property
    def store(self) -> TraceStore:
        """Where runs are recorded.

        Raises:
            TraceError: The connection string is not one of Postgres, or psycopg is missing.
        """
        if self._store is None or isinstance(self._store, str | Path):
            from seamline.traces.store import open_store

            self._store = open_store(self._store or trace_location())
        return self._store

    def trace(self, ref: str) -> RecordedRun:
        """A recorded run, to be read, replayed, verified, forked.

        Args:
            ref: Its id, a unique beginning of it, `last`, or the folder of an exported run.

        Raises:
            TraceError: There is no such run, or its journal is damaged.
        """
        from seamline.agents.recorded import RecordedRun
        from seamline.traces.files import is_trace_folder, read_trace

        found = read_trace(ref) if is_trace_folder(ref) else self.store.trace(ref)
        return RecordedRun.of(found, self)

    def agents(self) -> list[str]:
        """The names of the agents, sorted."""
        return sorted(path.parent.name for path in self.root.glob("agents/*/agent.yaml"))

    def add_tool(self, function: F) -> F:
        """Make a function with typed parameters a tool of this project; usable as a decorator.

        Raises:
            ToolError: Its signature says too little, or the name is taken.
        """
        self.tools.add(function)
        return function

    # -- models

    @cached_property
    def base(self) -> BaseSpec:
        """The base that the local model runs.

        Raises:
            ConfigError: The project declares none, or several and does not say which.
        """
        known = self.bases
        name = self.spec.base or (next(iter(known)) if len(known) == 1 else None)
        if name is None or name not in known:
            found = ", ".join(known) or "none"
            what = f"base {name!r} is not declared" if name else "it is not said which base to run"
            raise ConfigError(
                f"{what}; {self.root / 'models' / 'bases'} has: {found}. "
                f"Name one of them under `base` in {PROJECT_FILE}"
            )
        return known[name]

    @cached_property
    def local_model(self) -> LocalModel:
        """The model on this machine; nothing is loaded before the first question.

        Raises:
            ConfigError: The project does not say which base to run.
        """
        from seamline.models.engine import LocalModel

        return LocalModel(self.base, self.skills)

    def endpoint(self, name: str) -> EndpointModel:
        """The model behind an endpoint.

        Raises:
            ConfigError: There is no such endpoint.
        """
        from seamline.models.endpoints import EndpointModel

        if name not in self.endpoints:
            raise ConfigError(
                f"no endpoint {name!r}; {self.root / 'models' / 'endpoints'} declares: "
                f"{', '.join(self.endpoints) or 'none'}. Add {name}.yaml there"
            )
        return EndpointModel(self.endpoints[name])

    def agent(
        self,
        name: str,
        *,
        model: Model | None = None,
        endpoint: str | None = None,
        store: TraceStore | None = None,
        hooks: Iterable[RunHooks] | None = None,
    ) -> Agent:
        """An agent, ready to run; its files are read and checked now.

        Args:
            name: Its folder under `agents`.
            model: Answers the policies and the tools' skills instead of the models of
                agent.yaml, e.g. a `ScriptedModel`.
            endpoint: Answers the policies instead of the orchestrator of agent.yaml; skills
                stay on the local model.
            store: Where its runs are recorded instead of the project's store.
            hooks: Told what runs do; by default, spans for OpenTelemetry where the host
                configured a provider.

        Raises:
            ConfigError: There is no such agent, or one of its files is wrong.
        """
        from seamline.agents.build import build_agent

        return build_agent(self, name, model=model, endpoint=endpoint, store=store, hooks=hooks)


def is_project(folder: Path) -> bool:
    """Whether a folder is the root of a project."""
    return (folder / PROJECT_FILE).is_file() or all((folder / name).is_dir() for name in FOLDERS)


def packaged_root() -> Path:
    """The root of the packaged project: inside the wheel, or the checkout around the source.

    Raises:
        ConfigError: Neither is there.
    """
    here = Path(__file__).resolve().parent
    for folder in (here / "_project", here.parent.parent):
        if is_project(folder):
            return folder
    raise ConfigError(
        "this installation lacks the packaged project; install seamline again from its wheel"
    )


def find_root(project: Path | None = None) -> Path:
    """The project a caller means: the named folder, the one around the current, the packaged.

    Raises:
        ConfigError: The folder that was named is no project.
    """
    if project is not None:
        return Project.open(project).root
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if is_project(folder)), packaged_root())


def state_home() -> Path:
    """Where traces are kept: `$SEAMLINE_HOME`, else the user's data folder."""
    home = os.environ.get("SEAMLINE_HOME")
    if home:
        return Path(home).expanduser()
    from platformdirs import user_data_path

    return user_data_path("seamline")


def trace_location() -> str | Path:
    """Where runs are recorded by default: `$SEAMLINE_TRACES`, else a file in `state_home`.

    It is the path of a SQLite file or a connection string; `open_store` takes both.
    """
    return os.environ.get("SEAMLINE_TRACES") or state_home() / "seamline.sqlite"
