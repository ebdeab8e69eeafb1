"""`seamline train` to its end, and `seamline eval --work`, on the small base."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from seamline.cli.main import app
from seamline.cli.unpackaged import unpackaged
from seamline.models.bases import BaseSpec, FolderSource, pull
from seamline.models.calibrating import CalibrationReport
from seamline.models.digests import tokenizer_digest, weights_digest
from seamline.models.evaluation.records import Record
from seamline.models.skills import Calibration, Skill
from seamline.project import Project

pytestmark = pytest.mark.model

TEXTS = {
    "billing": "the invoice of {} names a wrong sum",
    "delivery": "the parcel from {} is late",
    "other": "{} is a nice town",
}
TOWNS = ("Rome", "Oslo", "Bern", "Lima", "Cairo", "Delhi", "Paris", "Kyiv", "Quito", "Hanoi",
         "Turin", "Porto")  # fmt: skip
RECIPE = {
    "skill": "mail_topic",
    "version": "0.1.0",
    "base": "small",
    "licence": "Apache-2.0",
    "description": "Says what a mail is about.",
    "limits": "For tests.",
    "contract": {
        "read": "labels",
        "context": "Mail: {{ text }}",
        "labels": {"billing": "bill", "delivery": "post", "other": "none"},
    },
    "training": {"batch_tokens": 512, "max_tokens": 96, "evaluations": 2},
    "sources": [{"title": "mails", "licence": "ours", "file": "mails.jsonl"}],
    "data": {"near_duplicates": 1.0},
}
EVALUATION = """
import json
from pathlib import Path
from seamline.models.contracts import SkillContract
from seamline.models.evaluation.declared import Evaluation, EvalRow

BARE = SkillContract(read="branches", system="Answer Yes or No.", frames={"options": "A {text}?"})
BESIDE = Path(__file__).with_name("0.1.0") / "recipe.yaml"

def evaluation(contract):
    assert BESIDE.is_file()
    def rows(data):
        lines = (data / "test.jsonl").read_text().splitlines()
        return [
            EvalRow(id=str(i), context=row["context"], gold=frozenset(row["labels"]),
                    text=row["context"]["text"])
            for i, row in enumerate(map(json.loads, lines))
        ]
    return Evaluation(file="test.jsonl", measure="right topic", several=False, bare=BARE, rows=rows)
"""
FITTED = Calibration(temperature=2.0, threshold=0.9)

Call = Callable[..., Result]


def lines(towns: tuple[str, ...]) -> str:
    rows = [
        {"context": {"text": text.format(town)}, "labels": [label], "group": town}
        for town in towns
        for label, text in TEXTS.items()
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture
def shelf(
    small: Path, base_spec: BaseSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A project with a recipe on the small base, which is pulled; the data lie in `data`."""
    monkeypatch.setenv("SEAMLINE_HOME", str(tmp_path / "home"))
    project = tmp_path / "project"
    for name in ("agents", "policies", "tools", "traces", "models/bases"):
        (project / name).mkdir(parents=True)
    spec = BaseSpec(
        name="small",
        description="For tests.",
        licence="Apache-2.0",
        homepage="https://example.org",
        model=base_spec.model,
        sources=(FolderSource(kind="folder", path=small),),
        size=(small / "model.safetensors").stat().st_size,
        digest=weights_digest(small / "model.safetensors"),
        tokenizer_digest=tokenizer_digest(small / "tokenizer.json"),
        chat_template_digest=base_spec.chat_template_digest,
    )
    told = spec.model_dump(mode="json", exclude_none=True)
    (project / "models/bases/small.yaml").write_text(yaml.safe_dump(told))
    pull(spec)
    folder = project / "models/skills/mail_topic/0.1.0"
    folder.mkdir(parents=True)
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    data = tmp_path / "data"
    data.mkdir()
    (data / "mails.jsonl").write_text(lines(TOWNS[:10]))
    return project


@pytest.fixture
def call(shelf: Path, tmp_path: Path) -> Call:
    def run(*arguments: object) -> Result:
        given = [*map(str, arguments), "--project", str(shelf), "--data", str(tmp_path / "data")]
        return CliRunner().invoke(app, given)

    return run


def told(done: Result) -> dict[str, object]:
    assert done.exit_code == 0, done.output
    found: dict[str, object] = json.loads(done.stdout)
    return found


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def test_one_command_from_rows_to_a_recorded_number_and_again_from_scratch(
    shelf: Path, call: Call, tmp_path: Path
) -> None:
    folder, data = shelf / "models/skills/mail_topic/0.1.0", tmp_path / "data"
    # Nothing says how it is evaluated; then its file is missing; the skill is made all the same.
    done = call("train", "mail_topic")
    assert done.exit_code == 0, done.output
    assert "not evaluated: mail_topic@0.1.0 does not say how it is evaluated" in done.stdout
    assert (folder / "skill.yaml").is_file()
    (folder.parent / "evaluation.py").write_text(EVALUATION)
    done = call("train", "mail_topic")
    assert done.exit_code == 0, done.output
    assert "not evaluated: the rows of test.jsonl in" in done.stdout
    refused = call("train", "mail_topic", "--only", "evaluate")
    assert refused.exit_code == 2
    assert "the rows of test.jsonl in" in refused.stderr

    (data / "test.jsonl").write_text(lines(TOWNS[10:]))
    left_out = told(call("train", "mail_topic", "--no-evaluate", "--json"))
    assert left_out["evaluation"] is None
    assert Record.read(Skill(folder)) is None
    report = told(call("train", "mail_topic", "--json"))
    found = report["evaluation"]
    assert isinstance(found, dict)
    assert list(found["cells"]) == ["adapter"]
    assert found["rows"] == 6
    assert found["command"] == "seamline eval mail_topic@0.1.0 --data FOLDER --cells adapter"
    assert Path(found["report"]).is_file()
    record = Record.read(Skill(folder))
    assert record is not None
    assert record.cells["adapter"]["accuracy"] == found["cells"]["adapter"]["accuracy"]
    assert "6 rows, all rows of `test.jsonl`" in (folder / "README.md").read_text()
    # What is on record is not measured again.
    again = told(call("train", "mail_topic", "--only", "evaluate", "--json"))["evaluation"]
    assert isinstance(again, dict)
    assert again["cached"] is True
    assert again["cells"].keys() == {"adapter"}

    assert call_label(shelf).exit_code == 0
    before = files(folder)
    refused = call("train", "mail_topic")
    assert refused.exit_code == 2
    assert "0.1.0, has been production" in refused.stderr
    work = tmp_path / "work"
    done = call("train", "mail_topic@0.1.0", "--work", work)
    assert done.exit_code == 0, done.output
    accuracy = found["cells"]["adapter"]["accuracy"]
    assert f"recorded {accuracy:.3f}, difference +0.000 (95 % interval" in done.stdout
    assert files(folder) == before
    evaluates_what_is_in_a_folder(shelf, call, work)
    assert files(folder) == before


def call_label(shelf: Path) -> Result:
    command = ["models", "label", "mail_topic", "production", "0.1.0", "--project", str(shelf)]
    return CliRunner().invoke(app, command)


def evaluates_what_is_in_a_folder(shelf: Path, call: Call, work: Path) -> None:
    """`seamline eval --work`, of the adapter that was trained again."""
    folder = shelf / "models/skills/mail_topic/0.1.0"
    command = ("eval", "mail_topic@0.1.0", "--work", work)
    recorded = told(call(*command, "--json"))["recorded"]
    assert isinstance(recorded, dict)
    assert recorded["same_rows"] is True
    assert recorded["numbers"]["adapter accuracy"]["difference"] == 0
    # Its own calibration counts: nothing reaches this threshold.
    digest = weights_digest(work / "adapter_model.safetensors")
    own = CalibrationReport(
        skill="mail_topic@0.1.0", adapter=digest, data="abc", rows=427, groups=61,
        method="temperature", losses={"as trained": 0.09, "temperature": 0.08},
        error_before=0.123, error=0.031, accuracy=0.8, accuracy_at_80=0.87,
        measure="accuracy", value_before=0.7, value=0.72, target_precision=0.9,
        precision=None, coverage=0.0, calibration=FITTED,
    )  # fmt: skip
    (work / "calibration.json").write_text(own.model_dump_json())
    with unpackaged(Project.open(shelf), folder, work) as (_, skill):
        assert skill.spec.calibration == FITTED
        assert skill.spec.adapter.digest == digest
    done = call(*command)
    assert done.exit_code == 0, done.output
    assert "beside mail_topic@0.1.0" in done.stdout
    assert "the recorded accuracy lies within the 95 % interval" in done.stdout
    assert told(call(*command, "--limit", 3, "--json"))["recorded"]["same_rows"] is False  # type: ignore[index]
    for arguments, wrong in (
        (("--record",), "it takes neither --record nor --gate"),
        (("--on", "other"), "has no evaluation 'other'"),
    ):
        refused = call(*command, *arguments)
        assert refused.exit_code == 2
        assert wrong in refused.stderr
    assert "holds no adapter" in call(*command[:3], work / "data").stderr
    assert "is no folder" in call(*command[:3], work / "none").stderr
    # An adapter that another recipe made is not measured as this one's.
    recipe = folder / "recipe.yaml"
    text = recipe.read_text()
    recipe.write_text(text.replace("max_tokens: 96", "max_tokens: 128"))
    assert "trained with another recipe than mail_topic@0.1.0 has" in call(*command).stderr
    recipe.write_text(text)


def test_an_adapter_that_is_not_packaged_is_not_recorded_as_the_version(
    shelf: Path, call: Call, tmp_path: Path
) -> None:
    folder = shelf / "models/skills/mail_topic/0.1.0"
    (folder.parent / "evaluation.py").write_text(EVALUATION)
    (tmp_path / "data" / "test.jsonl").write_text(lines(TOWNS[10:]))
    trial = told(call("train", "mail_topic", "--rows", 9, "--json"))
    assert trial["evaluation"] is None
    refused = call("train", "mail_topic", "--only", "evaluate")
    assert refused.exit_code == 2
    assert "is not packaged; run `seamline train mail_topic@0.1.0 --only package`" in refused.stderr
    refused = call("train", "mail_topic", "--only", "evaluate", "--rows", 3)
    assert "--rows makes a trial" in refused.stderr
    shutil.move(folder / "work", tmp_path / "trial")
    report = told(call("eval", "mail_topic@0.1.0", "--work", tmp_path / "trial", "--json"))
    assert report["recorded"] is None
    assert report["rows"] == 6
    assert [file.name for file in folder.iterdir()] == ["recipe.yaml"]
