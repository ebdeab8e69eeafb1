"""`seamline doctor`: whether this machine is ready, and what to do where it is not."""

from __future__ import annotations

import dataclasses
import os
import platform
import re
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import typer
from rich.text import Text

from seamline.cli import common
from seamline.errors import SeamlineError

if TYPE_CHECKING:
    from seamline.project import Project

__all__ = ["Finding", "app", "examine"]

app = typer.Typer(add_completion=False)

_PYTHON = (3, 11)
_SQLITE = (3, 35, 0)
_FREE_BYTES = 2_000_000_000
_REQUIREMENT = re.compile(r"^\s*([A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*\(?([^;)]*)\)?\s*(?:;(.*))?$")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")
_STYLES = {"ok": "green", "warning": "yellow", "error": "red"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing looked at; `fix` says what to do where it is not `ok`."""

    name: str
    state: Literal["ok", "warning", "error"]
    detail: str
    fix: str = ""


@app.command()
@common.handle_errors
def doctor(project: common.ProjectOption = None, json: common.JsonOption = False) -> None:
    """Say whether this machine is ready, and what to do where it is not.

    Exits with 2 where something stops Seamline from working.
    """
    found = list(examine(project))
    errors = sum(one.state == "error" for one in found)
    if json:
        checks = [dataclasses.asdict(one) for one in found]
        common.emit_json({"ok": errors == 0, "checks": checks})
    else:
        out = common.console()
        for one in found:
            fix = f"; {one.fix}" if one.fix else ""
            line = Text.assemble((f"{one.state:8}", _STYLES[one.state]), f"{one.name}: ")
            out.print(line.append(f"{one.detail}{fix}"), soft_wrap=True)
    raise typer.Exit(2 if errors else 0)


def examine(project: Path | None = None) -> Iterator[Finding]:
    """Each thing that Seamline needs of this machine."""
    yield _python()
    yield from _packages()
    yield from _project(project)
    yield _sqlite()
    yield _traces()
    yield _processor()
    yield from _folders()


def _python() -> Finding:
    version = platform.python_version()
    if sys.version_info < _PYTHON:
        fix = "install Python 3.11 or newer"
        return Finding(name="python", state="error", detail=version, fix=fix)
    return Finding(name="python", state="ok", detail=f"{version}, {platform.platform()}")


def _packages() -> Iterator[Finding]:
    """Each package that Seamline declares, against its floor; those of extras may be missing."""
    try:
        required = metadata.requires("seamline") or []
        yield Finding(name="seamline", state="ok", detail=metadata.version("seamline"))
    except metadata.PackageNotFoundError:
        from seamline import __version__

        detail = f"{__version__}, run from its source without being installed"
        yield Finding(name="seamline", state="warning", detail=detail, fix="pip install -e .")
        return
    missing: dict[str, list[str]] = {}
    for name, wanted in _wanted(required).items():
        extras = [one.extra for one in wanted if one.extra]
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            if len(extras) < len(wanted):
                yield Finding(
                    name=name, state="error", detail="not installed", fix=f"pip install {name}"
                )
            for extra in extras:
                missing.setdefault(extra, []).append(name)
            continue
        highest = max(wanted, key=lambda one: _numbers(one.floor))
        if _numbers(found) < _numbers(highest.floor):
            detail, fix = (
                f"{found}, needs {highest.bounds}",
                f"pip install '{name}>={highest.floor}'",
            )
            yield Finding(name=name, state="error", detail=detail, fix=fix)
        else:
            yield Finding(name=name, state="ok", detail=found)
    for extra_name, names in missing.items():
        yield Finding(
            name=f"extra {extra_name}",
            state="warning",
            detail=f"without {', '.join(sorted(names))}",
            fix=f"pip install 'seamline[{extra_name}]' if you need it",
        )


class _Wanted(NamedTuple):
    """What Seamline or one of its extras asks of a package."""

    bounds: str
    floor: str
    extra: str


def _wanted(required: list[str]) -> dict[str, list[_Wanted]]:
    """What is asked of each package; several extras may ask for the same one."""
    found: dict[str, list[_Wanted]] = {}
    for line in required:
        match = _REQUIREMENT.match(line)
        if match is None:
            continue
        name, bounds, marker = match.group(1), match.group(2), match.group(3) or ""
        floor = re.search(r">=\s*([0-9][0-9.]*)", bounds)
        extra = _EXTRA.search(marker)
        wanted = _Wanted(bounds, floor.group(1) if floor else "", extra.group(1) if extra else "")
        found.setdefault(name, []).append(wanted)
    return found


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _project(project: Path | None) -> Iterator[Finding]:
    try:
        opened = common.open_project(project)
        detail = f"{opened.root} ({', '.join(opened.agents()) or 'no agents'})"
        yield Finding(name="project", state="ok", detail=detail)
        yield from _bases(opened)
    except SeamlineError as error:
        yield Finding(name="project", state="error", detail=str(error))


def _bases(opened: Project) -> Iterator[Finding]:
    from seamline.models.bases import status

    for spec in opened.bases.values():
        found = status(spec)
        if found.pulled:
            detail = f"{found.size / 1e6:,.0f} MB, {found.digest[:19]}… at {found.path}"
            yield Finding(name=f"base {spec.name}", state="ok", detail=detail)
        else:
            fix = f"seamline models pull {spec.name}"
            yield Finding(name=f"base {spec.name}", state="warning", detail=found.why, fix=fix)


def _sqlite() -> Finding:
    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < _SQLITE:
        fix = "use a Python with SQLite 3.35 or newer"
        return Finding(name="sqlite", state="error", detail=version, fix=fix)
    return Finding(name="sqlite", state="ok", detail=version)


def _traces() -> Finding:
    try:
        with common.open_store() as store:
            newest = store.runs(limit=1)
            last = f"last run of {newest[0].agent}" if newest else "no run recorded yet"
            return Finding(name="traces", state="ok", detail=f"{store.name}, {last}")
    except SeamlineError as error:
        return Finding(name="traces", state="error", detail=str(error))


def _processor() -> Finding:
    """What the local engine computes with; without bfloat16 it uses float32."""
    flags = _cpu_flags()
    known = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")
    has = [flag for flag in known if flag in flags]
    native = any("bf16" in flag for flag in has)
    dtype = "bfloat16" if native else "float32"
    features = ", ".join(has) or "no known features"
    detail = f"{os.cpu_count()} cores, {platform.machine()}, {features}; computes in {dtype}"
    return Finding(name="processor", state="ok", detail=detail)


def _cpu_flags() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    match = re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, flags=re.MULTILINE)
    return set(match.group(1).split()) if match else set()


def _folders() -> Iterator[Finding]:
    from seamline.models.bases import default_cache
    from seamline.project import state_home

    places: dict[str, Callable[[], Path]] = {"home": state_home, "cache": default_cache}
    for name, place in places.items():
        folder = place()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
            free = shutil.disk_usage(folder).free
        except OSError as error:
            fix = "set SEAMLINE_HOME to a folder that you may write to"
            yield Finding(name=name, state="error", detail=f"{folder}: {error.strerror}", fix=fix)
            continue
        detail = f"{folder}, {free / 1e9:,.0f} GB free"
        low = free < _FREE_BYTES
        yield Finding(
            name=name,
            state="warning" if low else "ok",
            detail=detail,
            fix="a base and its conversion need 2 GB" if low else "",
        )
