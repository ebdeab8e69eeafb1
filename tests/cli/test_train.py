"""`seamline train`, on the example of docs/training-data.md."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seamline.cli.train import _not_packaged, _warn_of_length
from seamline.cli.versions import folder_to_train
from seamline.errors import SkillError
from seamline.models.bases import BaseSpec, default_cache, pull, verify
from seamline.models.digests import weights_digest
from seamline.models.recipes import Recipe
from seamline.models.skills import Skill
from seamline.project import Project

Seamline = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def outside(root: Path, shelf: Path, tmp_path: Path) -> Path:
    """The data folder of the example, with its recipe in the project."""
    text = (root / "docs" / "training-data.md").read_text(encoding="utf-8")
    recipe, *_ = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    mails, tests = re.findall(r"```csv\n(.*?)```", text, re.DOTALL)
    folder = shelf / "models" / "skills" / "mail_topic" / "0.1.0"
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(recipe, encoding="utf-8")
    data = tmp_path / "data"
    data.mkdir()
    (data / "mails.csv").write_text(mails, encoding="utf-8")
    (data / "mails_test.csv").write_text(tests, encoding="utf-8")
    return data


def test_the_example_of_the_docs_gives_what_they_say(seamline: Seamline, outside: Path) -> None:
    command = ("train", "mail_topic@0.1.0", "--data", str(outside), "--only", "data", "--json")
    done = seamline(*command)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    steps = {step["name"]: step for step in report["steps"]}
    assert steps["schema"]["reasons"] == {"no text": 1}
    assert steps["personal data"]["changed"] == 1
    assert steps["exact duplicates"]["reasons"] == {"same text and answer": 1}
    assert steps["contradictions"]["reasons"] == {"same text, another answer": 2}
    assert steps["leakage"]["reasons"] == {"near-duplicate in mails_test.csv": 1}
    assert report["train"]["rows"] + report["held_out"]["rows"] == 11
    assert report["held_out"]["rows"] >= 2
    folder = Path(report["folder"])
    assert {file.name for file in folder.iterdir()} == {
        "train.jsonl",
        "held_out.jsonl",
        "report.json",
        "report.html",
    }
    assert "[email]" in "".join(f.read_text() for f in folder.glob("*.jsonl"))
    again = seamline(*command[:-1])
    assert again.returncode == 0
    assert again.stdout.strip() == str(folder)
    assert "as prepared before" in again.stderr
    assert "same text, another answer: 2" in again.stderr


EVALUATION = """
import json
from seamline.models.contracts import SkillContract
from seamline.models.evaluation.declared import Evaluation, EvalRow

BARE = SkillContract(read="branches", frames={"options": "Is it {text}?"})

def evaluation(contract):
    def rows(data):
        texts = json.loads((data / "tests.json").read_text())
        return [EvalRow(id=str(i), context={"text": one}, gold=frozenset(), text=one)
                for i, one in enumerate(texts)]
    return Evaluation(file="tests.json", measure="right", several=False, bare=BARE, rows=rows)
"""


def test_leakage_is_checked_against_what_the_skill_declares(
    seamline: Seamline, outside: Path, shelf: Path
) -> None:
    folder = shelf / "models" / "skills" / "mail_topic"
    (folder / "evaluation.py").write_text(EVALUATION)
    command = ("train", "mail_topic@0.1.0", "--data", str(outside), "--only", "data", "--json")
    done = seamline(*command)
    assert done.returncode == 0, done.stderr
    told = "leakage was not checked against tests.json: it is not in the folder given as --data"
    assert f"warning: {told}" in done.stderr
    before = json.loads(done.stdout)
    assert before["compared"] == ["mails_test.csv"]
    (outside / "tests.json").write_text('["Your SHOP plays very good music."]')
    report = json.loads(seamline(*command).stdout)
    (leakage,) = [step for step in report["steps"] if step["name"] == "leakage"]
    assert leakage["reasons"] == {
        "near-duplicate in mails_test.csv": 1,
        "same text in tests.json": 1,
    }
    assert report["compared"] == ["tests.json", "mails_test.csv"]
    assert report["key"] != before["key"]


def test_rows_that_were_too_long_are_told(
    outside: Path, shelf: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = Recipe.load(shelf / "models" / "skills" / "mail_topic" / "0.1.0")

    def told(**report: Any) -> str:
        _warn_of_length(recipe, report)
        return capsys.readouterr().err.strip()

    cut = told(rows=5000, cut_rows=34, cut_rows_asked_whole=30)
    assert cut.startswith("warning: 34 of 5,000 training rows are longer than training.max_tokens")
    assert "lost their middle; 30 of them are asked whole, by max_tokens (1024); raise" in cut
    assert "asked whole" not in told(rows=5000, cut_rows=34, cut_rows_asked_whole=0)
    assert told(rows=90, too_long=10).startswith("warning: 10 of 100 pairs are longer")
    assert told(rows=90, cut_rows=0, cut_rows_asked_whole=0) == ""
    assert told(average=["a@1.0.0", "b@1.0.0"]) == ""


def test_a_wrong_label_is_one_error_without_a_traceback(seamline: Seamline, outside: Path) -> None:
    with (outside / "mails.csv").open("a") as file:
        file.write("17,ann,Hello,bill\n")
    done = seamline("train", "mail_topic@0.1.0", "--data", str(outside), "--only", "data")
    assert done.returncode == 2
    assert "'bill' (1 rows, first 17)" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.model
@pytest.mark.slow
def test_a_recipe_becomes_a_skill(
    seamline: Seamline, outside: Path, shelf: Path, base_spec: BaseSpec, root: Path
) -> None:
    shutil.copytree(root / "models" / "bases", shelf / "models" / "bases", dirs_exist_ok=True)
    home = {"SEAMLINE_HOME": str(default_cache().parent)} if "SEAMLINE_HOME" in os.environ else {}
    command = ("train", "mail_topic@0.1.0", "--data", str(outside), "--json")
    done = seamline(*command, env=home)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["skill"] == "mail_topic@0.1.0"
    assert (report["method"], report["learning_rate"], report["alpha"]) == ("lora", 6e-4, 32)
    assert report["held_out_rows"] >= 2
    assert not report["cached"]
    folder = shelf / "models" / "skills" / "mail_topic" / "0.1.0"
    assert Skill(folder).spec.adapter.digest == report["adapter"]
    assert (folder / "work" / "loss.png").is_file()
    again = json.loads(seamline(*command, env=home).stdout)
    assert again == report | {"cached": True}
    recipe = folder / "recipe.yaml"
    recipe.write_text(recipe.read_text() + "method: full\n")
    done = seamline(*command[:-1], env=home)
    assert done.returncode == 0, done.stderr
    assert "mail_topic@0.1.0: full, sft, learning rate 6e-05" in done.stdout
    assert "seamline models pull mail_topic-0.1.0" in done.stdout
    made = BaseSpec.load(shelf / "models" / "bases" / "mail_topic-0.1.0.yaml")
    pulled = pull(made, cache=shelf / "cache")
    assert verify(made, cache=shelf / "cache").digest == made.digest != base_spec.digest
    assert weights_digest(pulled / "model.safetensors") == made.digest


@pytest.mark.model
def test_a_trial_leaves_the_version_as_it_is(
    seamline: Seamline, outside: Path, root: Path, shelf: Path, tmp_path: Path
) -> None:
    shutil.copytree(root / "models" / "bases", shelf / "models" / "bases", dirs_exist_ok=True)
    folder, work = shelf / "models" / "skills" / "mail_topic" / "0.1.0", tmp_path / "work"
    done = seamline(
        "train", "mail_topic@0.1.0", "--data", str(outside), "--work", str(work),
        "--rows", "6", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["steps"] >= 1
    assert report["left_in"] == str(work)
    assert (work / "adapter_model.safetensors").is_file()
    assert [file.name for file in folder.iterdir()] == ["recipe.yaml"]


def test_the_newest_version_is_trained_unless_it_has_been_production(tmp_path: Path) -> None:
    for name in ("agents", "models", "policies", "tools", "traces"):
        (tmp_path / name).mkdir()
    skills = tmp_path / "models" / "skills"
    for version in ("0.1.0", "0.9.0", "0.10.0"):
        (skills / "mail_topic" / version).mkdir(parents=True)
        (skills / "mail_topic" / version / "recipe.yaml").touch()
    (skills / "mail_topic" / "0.11.0").mkdir()
    (skills / "skills.lock").write_text(
        '{"labels": {}, "released": {"mail_topic": {"0.1.0": "sha256:0"}}}'
    )
    project = Project.open(tmp_path)
    assert folder_to_train(project, "mail_topic").name == "0.10.0"
    assert folder_to_train(project, "mail_topic@0.1.0").name == "0.1.0"
    (skills / "skills.lock").write_text('{"labels": {"mail_topic": {"production": "0.10.0"}}}')
    told = r"name a version: 0.1.0, 0.9.0, 0.10.0 \(has been production\)"
    with pytest.raises(SkillError, match=told):
        folder_to_train(project, "mail_topic")
    for reference in ("mail", "mail_topic@", "mail_topic@0.2.0"):
        with pytest.raises(SkillError, match=f"no folder for skill '{reference}'"):
            folder_to_train(project, reference)


def test_what_has_been_production_is_not_packaged_again(root: Path) -> None:
    project = Project.open(root)
    folder = project.skills.get("clause_type").path
    assert _not_packaged(project, folder, 5) == "a trial is not packaged"
    assert _not_packaged(project, folder, None) is not None
    assert _not_packaged(project, folder.parent / "9.0.0", None) is None


def test_the_package_stage_alone_leaves_a_released_version_as_it_is(
    seamline: Seamline, root: Path, tmp_path: Path
) -> None:
    ref = Project.open(root).skills.get("clause_type").ref
    done = seamline(
        "train", ref, "--only", "package", "--project", str(root), "--work", str(tmp_path)
    )
    assert done.returncode == 2
    assert (
        f"{ref} is not packaged: a version that has been production does not change" in done.stderr
    )
