"""`seamline init`: a new project with a working agent, copied from the packaged one."""

from __future__ import annotations

import json as jsonlib
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import yaml

from seamline.cli import common
from seamline.errors import ConfigError

if TYPE_CHECKING:
    from seamline.project import Project

__all__ = ["app"]

app = typer.Typer(add_completion=False)

_SKIPPED = shutil.ignore_patterns("__pycache__", ".*", "*.pyc")


@app.command()
@common.handle_errors
def init(
    path: Annotated[Path, typer.Argument(help="The folder; it is made.")] = Path(),
    agent: Annotated[str, typer.Option(help="The packaged agent to start from.")] = "icd10_coder",
    json: common.JsonOption = False,
) -> None:
    """Write a new project: the five folders, with a working agent to start from.

    Nothing that exists is overwritten.
    """
    from seamline.project import FOLDERS, PROJECT_FILE, Project

    target = path.expanduser().resolve()
    taken = [name for name in (*FOLDERS, PROJECT_FILE) if (target / name).exists()]
    if taken:
        raise ConfigError(
            f"{target} already has {', '.join(taken)}; give another folder, nothing is overwritten"
        )
    if target.exists() and not target.is_dir():
        raise ConfigError(f"{target} is a file; give a folder")
    source = Project.packaged()
    copied = copy_agent(source, agent, target)
    if json:
        common.emit_json({"path": str(target), "agent": agent, "copied": copied})
        return
    out = common.console()
    out.print(f"wrote {target} with the agent {agent}", soft_wrap=True)
    where = "" if target == Path.cwd() else f" --project {path}"
    out.print(f"next: seamline check{where}", soft_wrap=True)
    out.print(f"      seamline run {agent}{where} --file NOTE.txt", soft_wrap=True)


def copy_agent(source: Project, agent: str, target: Path) -> list[str]:
    """What was copied of an agent and all that it needs, as paths in the new project.

    Raises:
        ConfigError: There is no such agent, or the folder cannot be written.
    """
    from seamline.agents.build import agent_spec
    from seamline.project import FOLDERS, PROJECT_FILE

    spec = agent_spec(source, agent)
    policies = sorted({reference.partition("/")[0] for reference in spec.policies.values()})
    skills = {source.tools.spec(name).skill for name in spec.tools} | {spec.model.decide}
    names = sorted({skill.partition("@")[0] for skill in skills if skill})
    parts = [
        f"agents/{agent}",
        *(f"policies/{name}" for name in policies),
        *(f"tools/{name}" for name in spec.tools),
        *(f"models/skills/{name}" for name in names),
        "models/bases",
        "models/embedders",
    ]
    try:
        for folder in FOLDERS:
            (target / folder).mkdir(parents=True)
        for folder in ("bases", "endpoints", "skills"):
            (target / "models" / folder).mkdir(exist_ok=True)
        copied = [part for part in parts if _copy(source.root / part, target / part)]
        _copy_lock(source.root, target, policies)
        _copy_skills_lock(source.root, target, names)
        about = {"name": target.name, "description": f"A project that started from {agent}."}
        text = yaml.safe_dump(about, sort_keys=False, allow_unicode=True)
        (target / PROJECT_FILE).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"cannot write {error.filename or target}: {error.strerror}; "
            "give a folder that you may write to"
        ) from error
    return copied


def _copy(source: Path, target: Path) -> bool:
    if not source.is_dir():
        return False
    shutil.copytree(source, target, ignore=_SKIPPED, dirs_exist_ok=True)
    return True


def _copy_lock(source: Path, target: Path, agents: Iterable[str]) -> None:
    """The lock's part on the policies that were copied, so that their labels hold."""
    from seamline.policies.lock import LOCK_NAME, Lock, read_lock, write_lock

    prefixes = tuple(f"{name}/" for name in agents)
    lock = read_lock(source / "policies" / LOCK_NAME)
    kept = Lock(
        policies={k: v for k, v in lock.policies.items() if k.startswith(prefixes)},
        labels={k: v for k, v in lock.labels.items() if k.startswith(prefixes)},
    )
    write_lock(target / "policies" / LOCK_NAME, kept)


def _copy_skills_lock(source: Path, target: Path, skills: Iterable[str]) -> None:
    """The lock's part on the versions that were copied: their labels, and what was released."""
    from seamline.models.skills import SkillStore

    path = source / "models" / "skills" / "skills.lock"
    if not path.is_file():
        return
    lock = jsonlib.loads(path.read_text(encoding="utf-8"))
    labels, released = lock.get("labels", {}), lock.get("released", {})
    copied = SkillStore(target / "models" / "skills")
    kept: dict[str, dict[str, dict[str, str]]] = {"labels": {}, "released": {}}
    for name in skills:
        if name in labels:
            kept["labels"][name] = labels[name]
        digests = released.get(name, {})
        there = {
            version: digests[version] for version in copied.versions(name) if version in digests
        }
        if there:
            kept["released"][name] = there
    text = jsonlib.dumps(kept, indent=2, sort_keys=True) + "\n"
    (target / "models" / "skills" / "skills.lock").write_text(text, encoding="utf-8")
