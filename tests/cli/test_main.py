"""The commands as a whole: help, exit codes, init, check, models, doctor."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import seamline as package
from seamline import Project
from seamline.cli.common import EXIT_CODES
from seamline.cli.doctor import examine
from seamline.cli.init import copy_agent
from seamline.cli.main import app

Seamline = Callable[..., "subprocess.CompletedProcess[str]"]


def call(*arguments: str, **options: Any) -> Result:
    return CliRunner().invoke(app, list(arguments), **options)


def test_help_names_every_command_and_exit_code() -> None:
    found = call("--help")

    assert found.exit_code == 0
    for name in ("init", "run", "check", "policies", "tools", "models", "traces", "doctor"):
        assert name in found.stdout
    words = " ".join(found.stdout.split())
    for code, meaning in EXIT_CODES.items():
        assert f"{code} {meaning.split()[0]}" in words


def test_help_loads_no_command() -> None:
    probe = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from seamline.cli.main import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "heavy = {'torch', 'transformers', 'langgraph', 'scipy', 'jinja2', 'jsonschema'}\n"
        "found = sorted(heavy & set(sys.modules))\n"
        "found += [m for m in sys.modules if m.startswith('seamline.cli.') and\n"
        "          m not in ('seamline.cli.main', 'seamline.cli.common')]\n"
        "print(found)\n"
    )
    path = {"PYTHONPATH": ":".join(part for part in sys.path if part)}
    done = subprocess.run([sys.executable, "-c", probe], env=path, capture_output=True, text=True)

    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize(
    "command",
    ["init", "run", "check", "policies", "tools", "models", "train", "traces", "doctor"],
)
def test_every_command_has_help(command: str) -> None:
    found = call(command, "--help")

    assert found.exit_code == 0, found.output
    assert "Usage" in found.stdout


def test_the_version() -> None:
    assert call("--version").stdout.strip() == f"seamline {package.__version__}"


def test_an_unknown_command_is_a_usage_error() -> None:
    found = call("rnu")

    assert found.exit_code == 2
    assert "rnu" in found.stderr


def test_check_finds_what_is_wrong(shelf: Path) -> None:
    found = call("check", "--project", str(shelf), "--json")
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["ok"] is True

    agent = shelf / "agents" / "sorter" / "agent.yaml"
    agent.write_text(agent.read_text().replace("$find_words.words", "$find_words.size"))
    found = call("check", "--project", str(shelf))
    assert found.exit_code == 2
    assert "gives no 'size'" in found.stdout
    assert found.stdout.endswith(": 1 error, 0 warnings\n")


def test_init_writes_a_project_that_checks_and_overwrites_nothing(tmp_path: Path) -> None:
    target = tmp_path / "mine"

    found = call("init", str(target), "--json")
    assert found.exit_code == 0, found.output
    wrote = json.loads(found.stdout)
    assert wrote["agent"] == "icd10_coder"
    project = Project.open(target)
    assert project.agents() == ["icd10_coder"]
    assert project.spec.name == "mine"
    packaged = Project.packaged().policies
    for name in project.policies.names():
        assert project.policies.labels(name) == packaged.labels(name)
        assert project.policies.locked(name) == packaged.locked(name)
    assert sorted(path.name for path in (target / "tools").iterdir()) == [
        "icd10_check", "icd10_search", "icd10_select",
    ]  # fmt: skip
    assert not list(target.rglob("__pycache__"))

    again = call("init", str(target))
    assert again.exit_code == 2
    assert "nothing is overwritten" in again.stderr


def test_init_keeps_what_was_released_of_the_versions_it_copies(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    packaged = Project.packaged()
    copy_agent(packaged, "icd10_coder", first)
    mine = Project.open(first)

    assert sorted(mine.skills.names()) == ["decide", "icd10_select"]
    for name in mine.skills.names():
        assert mine.skills.labels(name) == packaged.skills.labels(name)
        assert mine.skills.released(mine.skills.get(name))
        for version in mine.skills.versions(name):
            skill = packaged.skills.get(f"{name}@{version}")
            copied = mine.skills.get(f"{name}@{version}")
            assert mine.skills.released(copied) == packaged.skills.released(skill)

    # A wheel holds the recipe of an older version, and not what makes it run.
    (first / "models/skills/decide/0.1.0/skill.yaml").unlink()
    copy_agent(mine, "icd10_coder", second)
    lock = json.loads((second / "models/skills/skills.lock").read_text())
    assert set(lock["released"]) == {"decide", "icd10_select"}
    assert "0.1.0" not in lock["released"]["decide"]
    assert lock["labels"]["decide"]["production"] in lock["released"]["decide"]


def test_init_refuses_a_file_and_an_unknown_agent(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert call("init", str(tmp_path / "file")).exit_code == 2
    found = call("init", str(tmp_path / "x"), "--agent", "icd10_codr")
    assert found.exit_code == 2
    assert "did you mean 'icd10_coder'" in found.stderr
    assert not (tmp_path / "x").exists()


def test_models_list_names_bases_skills_and_endpoints(root: Path, shelf: Path) -> None:
    found = json.loads(call("models", "list", "--project", str(root), "--json").stdout)
    assert [base["name"] for base in found["bases"]] == ["smollm2-135m-instruct"]
    [embedder] = found["embedders"]
    assert (embedder["name"], embedder["pulled"]) == ("all-minilm-l6-v2", False)
    assert "all-minilm-l6-v2" in call("models", "list", "--project", str(root)).stdout

    found = json.loads(call("models", "list", "--project", str(shelf), "--json").stdout)
    assert [one["name"] for one in found["endpoints"]] == ["follower", "nowhere"]
    assert "follower" in call("models", "list", "--project", str(shelf)).stdout


def test_models_pull_names_what_there_is(root: Path) -> None:
    found = call("models", "pull", "nothing", "--project", str(root))
    assert found.exit_code == 2
    assert "no base or embedder 'nothing'" in found.stderr
    assert "smollm2-135m-instruct, all-minilm-l6-v2" in found.stderr


def test_models_check_says_that_the_base_is_not_here(root: Path) -> None:
    found = call("models", "check", "--project", str(root), "--json")

    assert found.exit_code == 6
    rows = json.loads(found.stdout)["checked"]
    assert rows[0]["kind"] == "base"
    assert not rows[0]["ok"]
    assert "seamline models pull" in rows[0]["problem"]


def test_pulling_an_unknown_base_names_the_known(root: Path) -> None:
    found = call("models", "pull", "gpt", "--project", str(root))

    assert found.exit_code == 2
    assert "the project declares: smollm2-135m-instruct" in found.stderr


def test_doctor_looks_at_everything(shelf: Path) -> None:
    found = call("doctor", "--project", str(shelf), "--json")

    report = json.loads(found.stdout)
    names = {one["name"] for one in report["checks"]}
    assert {"python", "seamline", "project", "sqlite", "processor", "home", "cache"} <= names
    assert all(one["detail"] for one in report["checks"])
    assert all(one["fix"] for one in report["checks"] if one["state"] == "warning")


def test_doctor_lists_a_package_once_and_names_every_extra_that_lacks_one(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = {"seamline": "0.1.0", "rich": "14.0.0", "torch": "2.11.0", "peft": "0.21.2"}

    def version(name: str) -> str:
        if name not in installed:
            raise metadata.PackageNotFoundError(name)
        return installed[name]

    required = [
        "rich>=13.9", "jinja2>=3.1.6", "torch>=2.10; extra == 'local'",
        "peft>=0.21.2; extra == 'local'", "trl>=1.16; extra == 'local'",
        "torch>=2.10; extra == 'train'", "peft>=0.22; extra == 'train'",
        "trl>=1.16; extra == 'train'", "datasets>=4.0; extra == 'train'",
    ]  # fmt: skip
    monkeypatch.setattr(metadata, "requires", lambda name: required)
    monkeypatch.setattr(metadata, "version", version)

    found = [(one.name, one.state, one.detail, one.fix) for one in examine(shelf)]

    told = found[1 : [name for name, *_ in found].index("project")]
    assert told == [
        ("seamline", "ok", "0.1.0", ""),
        ("rich", "ok", "14.0.0", ""),
        ("jinja2", "error", "not installed", "pip install jinja2"),
        ("torch", "ok", "2.11.0", ""),
        ("peft", "error", "0.21.2, needs >=0.22", "pip install 'peft>=0.22'"),
        ("extra local", "warning", "without trl", "pip install 'seamline[local]' if you need it"),
        ("extra train", "warning", "without datasets, trl",
         "pip install 'seamline[train]' if you need it"),
    ]  # fmt: skip


def test_doctor_says_where_the_home_cannot_be_written(
    shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("SEAMLINE_HOME", str(blocked))

    found = call("doctor", "--project", str(shelf))
    assert found.exit_code == 2
    assert "set SEAMLINE_HOME" in found.stdout


def test_no_color_holds(seamline: Seamline) -> None:
    forced = {"FORCE_COLOR": "1", "TERM": "xterm"}

    assert "\x1b[3" in seamline("doctor", env=forced | {"NO_COLOR": ""}).stdout
    assert "\x1b[3" not in seamline("doctor", env=forced | {"NO_COLOR": "1"}).stdout


def test_shell_completion_offers_the_commands() -> None:
    # Typer names the variable after the program, so it must be the installed script.
    script = Path(sysconfig.get_path("scripts")) / "seamline"
    asked = {"_SEAMLINE_COMPLETE": "complete_bash", "COMP_WORDS": "seamline p", "COMP_CWORD": "1"}
    path = os.pathsep.join(part for part in sys.path if part)
    done = subprocess.run(
        [str(script)],
        env={**os.environ, "PYTHONPATH": path, **asked},
        capture_output=True,
        text=True,
    )

    assert done.stdout.split() == ["policies"]


def test_the_readme_tells_every_exit_code(root: Path) -> None:
    told = (root / "README.md").read_text(encoding="utf-8").partition("Exit codes: ")[2]
    told = told.partition("\n")[0]
    assert [code for code in EXIT_CODES if f" {code} " not in f" {told}"] == []


@pytest.mark.parametrize(
    ("arguments", "kind", "says"),
    [
        (["run", "sorter", "x", "--nonsense", "--json"], "NoSuchOption", "--nonsense"),
        (["run", "--json"], "MissingParameter", "agent"),
        (["run", "sorter", "x", "--file", "y", "--json"], "BadParameter", "not both"),
        (["traces", "shout", "--json"], "UsageError", "shout"),
        (["shout", "--json"], "UsageError", "shout"),
        (["--json"], "NoSuchOption", "--json"),
    ],
)
def test_a_usage_error_is_json_where_json_is_asked_for(
    seamline: Seamline, arguments: list[str], kind: str, says: str
) -> None:
    done = seamline(*arguments)

    assert done.returncode == 2
    told = json.loads(done.stdout)
    assert told["error_type"] == kind
    assert says in told["error"]
    assert says in done.stderr


def test_a_usage_error_is_no_json_where_json_is_not_asked_for() -> None:
    for arguments in (["run"], ["run", "--nonsense", "--", "--json"]):
        found = call(*arguments)
        assert (found.exit_code, found.stdout) == (2, "")
