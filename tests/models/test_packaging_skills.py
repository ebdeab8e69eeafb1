"""Packaging: what it takes from where, and the card it writes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from seamline.cli.main import app
from seamline.errors import SkillError
from seamline.models.bases import BaseSpec
from seamline.models.calibrating import CalibrationReport
from seamline.models.dataset.report import SourceCount
from seamline.models.evaluation.records import COMPARED, Record, behaviour_digest
from seamline.models.making import DataSummary, Made
from seamline.models.packaging import package
from seamline.models.skills import Calibration, Skill

FITTED = Calibration(temperature=1.5, threshold=0.4, abstain_below=0.75)


@pytest.fixture
def shelf(root: Path, tmp_path: Path) -> Path:
    """A project with one shipped skill whose recipe sets nothing by hand."""
    project = tmp_path / "project"
    for name in ("agents", "policies", "tools", "traces"):
        (project / name).mkdir(parents=True)
    shutil.copytree(root / "models/bases", project / "models/bases")
    folder = project / "models/skills/clause_type/0.1.0"
    shutil.copytree(root / "models/skills/clause_type/0.1.0", folder)
    edit(folder, calibration={}, limits="No legal advice.\n")
    return project


def edit(folder: Path, **fields: Any) -> None:
    file = folder / "recipe.yaml"
    recipe = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(recipe | fields))


@pytest.fixture
def folder(shelf: Path) -> Path:
    return shelf / "models/skills/clause_type/0.1.0"


@pytest.fixture
def work(tmp_path: Path, folder: Path) -> Path:
    """What a training and its calibration left."""
    made = tmp_path / "work"
    made.mkdir()
    adapter = Skill(folder).spec.adapter.digest
    data = DataSummary(
        key="abc",
        split_by="groups",
        sources=(SourceCount(title="Contracts | old", licence="CC BY 4.0", rows=120),),
        dropped={"leakage": 3},
        train_rows=90,
        held_out_rows=27,
        compared=("contracts/dev.jsonl", "other.jsonl"),
        warnings=("labels without a training row: Insurance",),
    )
    training = {"rows": 90, "tokens": 8100, "steps": 12, "loss": 1.25}
    Made(adapter=adapter, data=data, training=training).write(made)
    (made / "calibration.json").write_text(report(adapter).model_dump_json())
    return made


def report(adapter: str) -> CalibrationReport:
    return CalibrationReport(
        skill="clause_type@0.1.0", adapter=adapter, data="abc", rows=427, groups=61,
        method="temperature", losses={"as trained": 0.09, "temperature": 0.08},
        error_before=0.123, error=0.031, accuracy=0.8, accuracy_at_80=0.87,
        measure="micro-F1", value_before=0.7, value=0.72, target_precision=0.9,
        precision=(0.85, 0.91, 0.95), coverage=0.64, calibration=FITTED,
    )  # fmt: skip


def record(skill: Skill, **fields: Any) -> Record:
    told: dict[str, Any] = {
        "skill": skill.ref, "adapter_digest": skill.spec.adapter.digest,
        "behaviour_digest": behaviour_digest(skill), "date": "2026-01-02T03:04:05+00:00",
        "command": "seamline eval clause_type@0.1.0 --data FOLDER --record",
        "file": "contracts/dev.jsonl", "measure": "first type in the gold set", "rows": 500,
        "groups": 500, "rows_digest": "sha256:2", "sampled": False,
        "cells": {
            name: dict.fromkeys(COMPARED, value) | {"further": {"category_first": value / 2}}
            for name, value in {"base": 0.02, "adapter": 0.81}.items()
        },
    }  # fmt: skip
    return Record.model_validate(told | fields)


def without_card(folder: Path) -> None:
    (folder / "README.md").unlink()


def test_a_card_tells_data_training_calibration_numbers_and_limits(
    folder: Path, work: Path, base_spec: BaseSpec
) -> None:
    without_card(folder)
    first = package(folder, folder, base_spec, work=work)
    assert first.skill.spec.calibration == FITTED
    assert [one for one in first.warnings if "not evaluated" in one] == list(first.warnings)
    record(first.skill).write(folder)
    done = package(folder, folder, base_spec, work=work)
    assert done.warnings == ()
    assert done.skill.spec.evaluation["main"]["cells"]["adapter"]["accuracy"] == 0.81
    card = (folder / "README.md").read_text()
    assert "| Contracts \\| old | CC BY 4.0 | 120 |" in card
    assert "90 rows to train on, 27 held out (groups). Dropped: leakage 3. No row of" in card
    assert "No row of `contracts/dev.jsonl`, `other.jsonl` was trained on.\n" in card
    assert "`data.py` draws its rows from:\n- CUAD v1, Contract" in card
    assert "rows 90, tokens 8100, steps 12, loss 1.25." in card
    assert "| calibration error | 0.123 | 0.031 |" in card
    assert "less than 0.750 are reported as not sure. Of the others, 0.910 are right" in card
    assert "`seamline eval clause_type@0.1.0 --data FOLDER --record` (2026-01-02): first" in card
    assert "500 rows, all rows of `contracts/dev.jsonl`." in card
    assert "|  | base | adapter |\n|---|---|---|\n| accuracy | 0.020 | 0.810 |\n" in card
    assert "| category first | 0.010 | 0.405 |\n" in card
    assert "## Limits\nNo legal advice.\n" in card
    assert "\n\n\n" not in card


def test_what_is_needed_for_the_card_is_kept_beside_the_adapter(
    folder: Path, work: Path, base_spec: BaseSpec
) -> None:
    without_card(folder)
    package(folder, folder, base_spec, work=work)
    card = (folder / "README.md").read_text()
    shutil.rmtree(work)
    again = package(folder, folder, base_spec, work=work)
    assert (folder / "README.md").read_text() == card
    assert again.skill.spec.calibration == FITTED


def test_notes_survive_and_all_else_is_written_anew(
    folder: Path, work: Path, base_spec: BaseSpec
) -> None:
    without_card(folder)
    package(folder, folder, base_spec, work=work)
    file = folder / "README.md"
    told = file.read_text().replace("<!-- notes -->\n", "<!-- notes -->\nTried {{ twice }}.\n")
    file.write_text(told.replace("No legal advice.", "All is well."))
    package(folder, folder, base_spec, work=work)
    card = file.read_text()
    assert "<!-- notes -->\nTried {{ twice }}.\n<!-- end of notes -->" in card
    assert "No legal advice." in card
    assert "All is well." not in card


def test_a_card_written_by_hand_is_left_alone(
    folder: Path, work: Path, base_spec: BaseSpec
) -> None:
    before = (folder / "README.md").read_text()
    done = package(folder, folder, base_spec, work=work)
    assert (folder / "README.md").read_text() == before
    assert "written by hand and stays as it is" in done.warnings[0]


def test_reports_of_another_adapter_are_not_taken(
    folder: Path, work: Path, base_spec: BaseSpec
) -> None:
    without_card(folder)
    kept = Skill(folder).spec
    Made(adapter="sha256:other", training={"rows": 7}).write(work)
    (work / "calibration.json").write_text(report("sha256:other").model_dump_json())
    done = package(folder, folder, base_spec, work=work)
    assert done.skill.spec.calibration == kept.calibration
    assert done.skill.spec.evaluation == kept.evaluation
    card = (folder / "README.md").read_text()
    assert "is not recorded" in card
    assert "rows 7" not in card


def test_numbers_of_another_calibration_are_not_shown(
    folder: Path, work: Path, base_spec: BaseSpec
) -> None:
    without_card(folder)
    record(Skill(folder)).write(folder)
    done = package(folder, folder, base_spec, work=work)
    assert any("not evaluated as it is now" in one for one in done.warnings)
    assert "Not evaluated as it is now." in (folder / "README.md").read_text()


def test_a_calibration_set_by_hand_wins_and_is_told(
    folder: Path, work: Path, base_spec: BaseSpec
) -> None:
    without_card(folder)
    edit(folder, calibration={"fixed": {"threshold": 0.3}})
    done = package(folder, folder, base_spec, work=work)
    assert done.skill.spec.calibration == Calibration(threshold=0.3)
    assert "Set by hand in `recipe.yaml`: threshold 0.3." in (folder / "README.md").read_text()


def test_a_damaged_report_is_named(folder: Path, work: Path, base_spec: BaseSpec) -> None:
    (work / "calibration.json").write_text("{}")
    with pytest.raises(SkillError, match=r"calibration\.json is not a report of calibration"):
        package(folder, folder, base_spec, work=work)


def test_packaging_alone_needs_no_data(shelf: Path, folder: Path, work: Path) -> None:
    without_card(folder)
    command = ["train", "clause_type@0.1.0", "--only", "package", "--work", str(work)]
    done = CliRunner().invoke(
        app, [*command, "--project", str(shelf), "--json"], env={"SEAMLINE_DATA": None}
    )
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["skill"] == "clause_type@0.1.0"
    assert len(told["warnings"]) == 1
    assert "warning: the card of clause_type@0.1.0 is incomplete" in done.stderr
    (folder / "adapter_model.safetensors").unlink()
    lacking = CliRunner().invoke(app, [*command, "--project", str(shelf)])
    assert lacking.exit_code == 2
    assert "has no adapter" in lacking.stderr


def test_a_full_disk_leaves_the_card_and_is_one_error(
    shelf: Path, folder: Path, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["train", "clause_type@0.1.0", "--only", "package", "--work", str(work)]
    command += ["--project", str(shelf)]
    without_card(folder)
    assert CliRunner().invoke(app, command).exit_code == 0
    card = (folder / "README.md").read_text()
    edit(folder, limits="None.\n")
    real = Path.replace

    def full(self: Path, target: Path) -> Path:
        if Path(target).name == "README.md":
            raise OSError(28, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", full)
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 2
    assert "no space left on the device; free some and run it again" in done.stderr
    assert (folder / "README.md").read_text() == card
