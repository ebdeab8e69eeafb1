"""What is built works away from the checkout: the wheel, the sdist, the declared pins."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

FOLDERS = ("agents", "models", "policies", "tools", "traces")
ADAPTER = r"skill\.yaml|adapter_config\.json|adapter_model\.safetensors"


def call(*command: str | Path, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist of this checkout, and the wheel built from that sdist."""
    out = tmp_path_factory.mktemp("dist")
    hatchling = (sys.executable, "-m", "hatchling", "build", "-d", out)
    call(*hatchling, "-t", "sdist", cwd=root)
    [sdist] = out.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(out / "source", filter="data")
    [source] = (out / "source").iterdir()
    call(*hatchling, "-t", "wheel", cwd=source)
    return out


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a venv that has the wheel, and this environment's dependencies."""
    folder = tmp_path_factory.mktemp("elsewhere")
    call(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    [wheel] = built.glob("*.whl")
    python = folder / "venv" / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet")
    call(*pip, "--no-deps", "--no-index", wheel, cwd=folder)
    [packages] = (folder / "venv" / "lib").glob("python3.*/site-packages")
    # A .pth inside a folder that a .pth names is not read, so an editable checkout stays out.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def content_of(folder: Path) -> set[str]:
    return {
        str(file.relative_to(folder))
        for name in FOLDERS
        for file in (folder / name).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts and not file.name.startswith(".")
    }


@pytest.mark.slow
def test_the_wheel_ships_the_content_and_one_name(root: Path, built: Path) -> None:
    [wheel] = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names} == {"seamline", "seamline-0.1.0.dist-info"}
    assert len(names) == len(set(names))
    assert "seamline/models/card.md.jinja" in names
    shipped = {n.removeprefix("seamline/_project/") for n in names if "/_project/" in n}
    tracked = call("git", "ls-files", "-co", "--exclude-standard", *FOLDERS, cwd=root).splitlines()
    wanted = {name for name in tracked if "/." not in name and (root / name).exists()}
    adapters = {name for name in wanted if re.fullmatch(f"models/skills/.*/({ADAPTER})", name)}
    lock = json.loads((root / "models/skills/skills.lock").read_text(encoding="utf-8"))
    labelled = tuple(
        f"models/skills/{skill}/{version}/"
        for skill, labels in lock["labels"].items()
        for version in labels.values()
    )
    assert wanted - shipped == {name for name in adapters if not name.startswith(labelled)}
    assert "seamline/py.typed" in names
    assert [n for n in names if n.endswith((".pyc", ".pkl", ".bin"))] == []


@pytest.mark.slow
def test_the_wheel_works_outside_the_checkout(root: Path, installed: Path) -> None:
    python = installed / "venv" / "bin" / "python"
    program = (
        "import seamline; p = seamline.Project.packaged(); "
        "print(seamline.__file__); print(p.root); print(p.agent('icd10_coder').name)"
    )
    module, project, agent = call(python, "-c", program, cwd=installed).splitlines()
    assert Path(module).is_relative_to(installed)
    assert Path(project).is_relative_to(installed)
    assert agent == "icd10_coder"
    assert content_of(Path(project)) <= content_of(root)


@pytest.mark.slow
def test_the_command_line_is_installed(installed: Path) -> None:
    command = installed / "venv" / "bin" / "seamline"
    assert "models" in call(command, "--help", cwd=installed)
    call(command, "check", cwd=installed)


@pytest.mark.slow
def test_the_sdist_is_complete(root: Path, built: Path) -> None:
    [sdist] = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in ("LICENSE", "Makefile", "constraints.txt", "hatch_build.py", "tests/conftest.py"):
        assert name in names
    assert content_of(root) <= names


def test_every_dependency_is_pinned_to_what_was_tested(root: Path) -> None:
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [pin for pin in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!]+", pin)] == []
    pinned = {canonical(pin.split("==")[0]) for pin in pins}
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    declared = [*project["dependencies"], *(line for extra in extras for line in extra)]
    names = {canonical(re.split(r"[\[<>=;~! ]", line)[0]) for line in declared}
    assert names - {"seamline"} - pinned == set()
    assert "torch==2.13.0" in pins


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_make_names_the_fix_for_an_old_python(root: Path, tmp_path: Path) -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo "Python 3.9.1" && exit 0\nexit 1\n')
    old.chmod(0o755)
    done = subprocess.run(
        ["make", "run", f"PYTHON={old}", f"VENV={tmp_path / 'venv'}"],
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stderr
    assert "Python 3.9.1" in done.stderr
    assert not (tmp_path / "venv").exists()
