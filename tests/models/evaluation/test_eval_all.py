"""`seamline eval --all`, `--on`, and what `--record` writes: on a scripted model."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from seamline.errors import ModelError
from seamline.models.evaluation.cards import refresh, with_numbers
from seamline.models.evaluation.records import Record
from seamline.models.protocol import DecideRequest, WriteRequest
from seamline.models.scripted import Answer, ScriptedModel
from seamline.models.skills import SkillStore
from seamline.project import Project

from .conftest import sorter
from .test_eval_command import Use, call, use

__all__ = ["use"]

SECOND = """
    from dataclasses import replace
    main = Evaluation(file="letters.jsonl", measure="first kind right", several=True,
                      threshold=0.5, bare=BARE, rows=rows, shots=shots)
    late = replace(main, file="late letters", rows=lambda data: rows(data)[40:],
                   cells=("adapter",))
    return {"all": main, "late": late}
"""


@pytest.fixture
def both(shelf: Path) -> Path:
    """The project, where `letters` is measured on all and on late letters, and has a card."""
    folder = shelf / "models/skills/letters/0.1.0"
    file = folder / "evaluation.py"
    code = file.read_text()
    file.write_text(code[: code.rindex("    return Evaluation(")] + SECOND)
    (folder / "README.md").write_text("# letters\n\n## Limits\nNone.\n")
    return shelf


def every(shelf: Path, data: Path, *more: object) -> dict[str, Any]:
    done = call("eval", "--all", "--data", data, "--project", shelf, "--json", *more)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def wrong(skill: str | None, number: int) -> bool:
    return number % (10 if skill else 2) == 0


def test_every_released_skill_has_its_tables(both: Path, letters: Path, use: Use) -> None:
    use(sorter(wrong))
    found = every(both, letters)
    # `fruit` has no version labelled production.
    assert [(one["skill"], one["on"]) for one in found["evaluations"]] == [
        ("letters@0.1.0", "main"), ("letters@0.1.0", "late"),
    ]  # fmt: skip
    main, late = found["evaluations"]
    assert main["cells"]["adapter"]["accuracy"] == pytest.approx(0.9)
    assert (main["rows"], late["rows"]) == (60, 20)
    assert (main["file"], late["file"]) == ("letters.jsonl", "late letters")
    assert main["command"] == "seamline eval letters@0.1.0 --data FOLDER"
    assert late["command"] == "seamline eval letters@0.1.0 --data FOLDER --on late"
    assert list(late["cells"]) == ["adapter"]
    assert found["reproduced"] is None


def test_recorded_numbers_are_reproduced_or_named(both: Path, letters: Path, use: Use) -> None:
    use(sorter(wrong))
    options = ("--data", letters, "--project", both)
    main = call("eval", "letters", *options, "--limit", 30, "--cells", "adapter", "--record")
    assert main.exit_code == 0
    every(both, letters, "--limit", 10, "--cells", "adapter")  # A trial changes no record.
    found = every(both, letters)
    assert found["reproduced"] is True
    again = found["evaluations"][0]
    assert again["command"].endswith("--limit 30 --cells adapter")
    assert (again["rows"], list(again["cells"])) == (30, ["adapter"])
    use(sorter(lambda skill, number: number % 5 == 0))
    done = call("eval", "--all", *options)
    assert done.exit_code == 8
    assert "adapter accuracy: recorded 0." in done.stdout
    assert "not compared with a record" in done.stdout


def test_a_recorded_endpoint_is_not_asked_again(both: Path, letters: Path, use: Use) -> None:
    use(sorter(wrong))
    every(both, letters, "--cells", "adapter", "--record")
    file = both / "models/skills/letters/0.1.0/evaluation.json"
    record = json.loads(file.read_text())
    record["cells"]["endpoint"] = record["cells"]["adapter"] | {"accuracy": 0.1}
    for one in record["slices"]:
        one["accuracy"]["endpoint"] = 0.1
    file.write_text(json.dumps(record))
    found = every(both, letters)
    assert found["reproduced"] is True
    assert list(found["evaluations"][0]["cells"]) == ["adapter"]


def test_a_run_that_was_cut_short_goes_on(both: Path, letters: Path, use: Use) -> None:
    asked: list[str] = []

    def answers(limit: int) -> Callable[[DecideRequest | WriteRequest, str | None], Answer]:
        def answer(request: DecideRequest | WriteRequest, skill: str | None) -> Answer:
            if len(asked) == limit:
                raise ModelError("out of power")
            asked.append(request.context)
            return {"Praise": 0.9, "Complaint": 0.1, "None": 0.0}

        return answer

    options = ("--data", letters, "--project", both, "--cells", "adapter", "--json")
    use(ScriptedModel(answers(65)))  # 60 letters and the first one for loading, then a few.
    assert call("eval", "--all", *options).exit_code == 6
    asked.clear()
    use(ScriptedModel(answers(1000)))
    done = call("eval", "--all", *options)
    assert done.exit_code == 0
    assert len(asked) == 21
    assert "1 of 2: letters.jsonl for letters@0.1.0, found earlier" in done.stderr
    assert [one["rows"] for one in json.loads(done.stdout)["evaluations"]] == [60, 20]
    asked.clear()
    assert call("eval", "--all", *options).exit_code == 0
    assert len(asked) == 82  # What was done to the end is not kept.


def test_records_write_the_card_and_skill_yaml(both: Path, letters: Path, use: Use) -> None:
    use(sorter(wrong))
    every(both, letters, "--record")
    skill = SkillStore(both / "models/skills").get("letters")
    card = (skill.path / "README.md").read_text()
    assert card.startswith("# letters\n\n## Limits\nNone.\n\n## Numbers\n")
    assert "60 rows, all rows of `letters.jsonl`." in card
    assert "|  | nearest | majority | base | base_few_shot | adapter |" in card
    assert re.search(r"\| accuracy \| 0\.\d+ \| 0\.333 \| 0\.500 \| 0\.500 \| 0\.900 \|", card)
    assert re.search(
        r"- adapter - base: \+0\.400 \(95 % interval \+\S+ to \+\S+, p < 0\.0001\)", card
    )
    assert "- adapter - majority: +0.567 (95 % interval +" in card
    assert "`base` answers from a score of 0." in card
    assert re.search(r"\| early \| 20 \| .* \| 0\.500 \| 0\.500 \| 0\.900 \|", card)
    assert "--on late" in card
    assert skill.spec.evaluation["late"]["cells"]["adapter"]["accuracy"] == 0.9
    assert skill.spec.evaluation["main"]["file"] == "letters.jsonl"
    records = [Record.read(skill), Record.read(skill, "late")]
    assert with_numbers(card, [one for one in records if one]) == card
    # A number changed by hand, or a record of other weights, does not stand.
    every(both, letters, "--record")
    assert (skill.path / "README.md").read_text().count("## Numbers") == 1
    declared = yaml.safe_load((skill.path / "skill.yaml").read_text())
    declared["calibration"] = {"temperature": 2.0}
    (skill.path / "skill.yaml").write_text(yaml.safe_dump(declared))
    assert Record.read(SkillStore(both / "models/skills").get("letters")) is None


def test_a_further_evaluation_is_asked_for_by_name(both: Path, letters: Path, use: Use) -> None:
    use(sorter(wrong))
    options = ("--data", letters, "--project", both)
    late = json.loads(call("eval", "letters", "--on", "late", *options, "--json").stdout)
    assert (late["rows"], late["on"]) == (20, "late")
    first = json.loads(call("eval", "letters", "--on", "all", *options, "--json").stdout)
    assert first["command"] == "seamline eval letters@0.1.0 --data FOLDER"
    refused = call("eval", "letters", "--on", "early", *options)
    assert refused.exit_code == 2
    assert "has no evaluation 'early'; --on takes one of: all, late" in refused.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--all", "letters"), "--all takes --data, --limit, --cells, --record and --json"),
        (("--all", "--gate"), "--all takes"),
        ((), "name a skill"),
    ],
)
def test_what_does_not_go_together_is_one_error(
    shelf: Path, letters: Path, arguments: tuple[str, ...], told: str
) -> None:
    done = call("eval", *arguments, "--data", letters, "--project", shelf)
    assert done.exit_code == 2
    assert told in done.output


def test_a_project_without_a_released_skill_is_told(shelf: Path, letters: Path) -> None:
    (shelf / "models/skills/skills.lock").unlink()
    done = call("eval", "--all", "--data", letters, "--project", shelf)
    assert done.exit_code == 2
    assert "no skill with a version labelled production" in done.output


def test_a_released_skill_that_cannot_be_measured_is_told_before_the_work(
    shelf: Path, letters: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ScriptedModel({})
    monkeypatch.setattr(Project, "local_model", model)
    assert call("models", "label", "fruit", "production", "0.1.0", "-p", shelf).exit_code == 0
    (shelf / "models/skills/letters/0.1.0/evaluation.py").unlink()
    done = call("eval", "--all", "--data", letters, "--project", shelf)
    assert done.exit_code == 2
    assert "letters@0.1.0 does not say how it is evaluated" in done.output
    assert not model.calls


def test_a_full_disk_leaves_the_card(both: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    skill = SkillStore(both / "models/skills").get("letters@0.1.0")
    card = skill.path / "README.md"
    before, real = card.read_text(), Path.replace

    def full(self: Path, target: Path) -> Path:
        if Path(target).name == card.name:
            raise OSError(28, "No space left on device")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        refresh(skill)
    assert card.read_text() == before
