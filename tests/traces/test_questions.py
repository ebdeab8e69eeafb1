"""From a run that answered wrongly to rows that a training reads, on the golden runs."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from seamline import Project
from seamline.agents.recorded import RecordedRun
from seamline.cli.main import app
from seamline.errors import ConfigError, InputError, SkillError
from seamline.models.contracts import SkillContract
from seamline.models.dataset.settings import Source
from seamline.models.dataset.sources import read_source
from seamline.models.training import examples_from
from seamline.traces.questions import add_rows, questions_of


@pytest.fixture(scope="module")
def project(root: Path) -> Project:
    return Project.open(root)


@pytest.fixture(scope="module")
def coded(project: Project, root: Path) -> RecordedRun:
    return project.trace(str(root / "traces" / "icd10_coder" / "two_diagnoses"))


@pytest.fixture(scope="module")
def reviewed(project: Project, root: Path) -> RecordedRun:
    return project.trace(str(root / "traces" / "contract_review" / "services_agreement"))


def read_back(file: Path) -> list[dict[str, Any]]:
    source = Source(title="Corrected runs", licence="our own", file=file.name)
    return [dict(record.row) for record in read_source(source, file.parent)]


def test_every_question_of_a_run_is_told_with_who_answered(coded: RecordedRun) -> None:
    questions = coded.questions()
    assert [one.number for one in questions] == list(range(1, len(questions) + 1))
    assert len({one.id for one in questions}) == len(questions)
    assert {one.skill.partition("@")[0] for one in questions} == {"decide", "icd10_select"}
    selected = coded.questions("icd10_select")
    assert coded.questions(selected[0].skill) == selected
    for one in selected:
        (name, score), *more = one.answered
        assert not more
        assert score == max(one.response.scores)
        assert name in one.names


@pytest.mark.parametrize("skill", ["icd10_select", "decide"])
def test_a_corrected_choice_trains_on_the_prompt_that_was_asked(
    project: Project, coded: RecordedRun, tmp_path: Path, skill: str
) -> None:
    asked = coded.questions(skill)
    add_rows(tmp_path / "rows.jsonl", coded.corrections({one.number: ["2"] for one in asked}))
    contract = project.skills.get(skill).spec.contract
    examples = list(examples_from(read_back(tmp_path / "rows.jsonl"), contract))
    assert len(examples) == len(asked)
    for one, example in zip(asked, examples, strict=True):
        # Which policy a question is from is not in the prompt.
        assert contract.framed(example.request) == contract.framed(one.request)
        assert (example.request.instructions, example.request.context) == (
            one.request.instructions,
            one.request.context,
        )
        assert [at for at, label in enumerate(example.gold) if label] == [1]


def test_a_corrected_label_trains_on_the_prompt_that_was_asked(
    project: Project, reviewed: RecordedRun, tmp_path: Path
) -> None:
    first, second, third = reviewed.questions("clause_type")[:3]
    right = {first.number: ["governing law", "Insurance"], second.number: [], third.number: ["2"]}
    add_rows(tmp_path / "rows.jsonl", reviewed.corrections(right))
    rows = read_back(tmp_path / "rows.jsonl")
    contract = project.skills.get("clause_type").spec.contract
    assert [row["labels"] for row in rows] == [
        ["Governing Law", "Insurance"],
        [contract.none_label],
        [list(contract.labels)[1]],
    ]
    assert {row["group"] for row in rows} == {reviewed.run_id}
    examples = examples_from(rows, contract)
    for one, example in zip((first, second, third), examples, strict=True):
        assert example.request == one.request


def test_rows_are_added_and_an_earlier_correction_is_replaced(
    reviewed: RecordedRun, tmp_path: Path
) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"context": {"text": "by hand"}, "labels": ["Insurance"]}\n', "utf-8")
    first, second = (one.number for one in reviewed.questions("clause_type")[:2])
    assert add_rows(file, reviewed.corrections({first: ["Insurance"], second: []})) == 3
    assert add_rows(file, reviewed.corrections({first: ["Governing Law"]})) == 3
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert rows[0]["context"] == {"text": "by hand"}
    assert rows[1]["labels"] == ["Governing Law"]


def test_rows_that_share_an_id_are_all_kept(reviewed: RecordedRun, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    row = '{"id": "doc1", "context": {"text": "%s"}, "labels": ["Insurance"]}\n'
    file.write_text(row % "one" + row % "two", "utf-8")
    file.chmod(0o640)
    link = tmp_path / "link.jsonl"
    link.symlink_to(file)
    first = reviewed.questions("clause_type")[0].number
    assert add_rows(link, reviewed.corrections({first: ["Insurance"]})) == 3
    assert [row["context"]["text"] for row in read_back(file)][:2] == ["one", "two"]
    assert (file.stat().st_mode & 0o777, link.is_symlink()) == (0o640, True)
    assert add_rows(tmp_path / "new.jsonl", reviewed.corrections({first: []})) == 1
    assert (tmp_path / "new.jsonl").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "link.jsonl", "new.jsonl", "rows.jsonl",
    ]  # fmt: skip


def test_what_cannot_be_right_is_refused(reviewed: RecordedRun, tmp_path: Path) -> None:
    first = reviewed.questions("clause_type")[0].number
    with pytest.raises(InputError, match="cannot be answered with 'Governing Lw'; use one of: 1 "):
        reviewed.corrections({first: ["Governing Lw"]})
    with pytest.raises(InputError, match="has no question 100000"):
        reviewed.corrections({100_000: []})
    with pytest.raises(InputError, match="has one right label"):
        reviewed.corrections({first: ["None", "Insurance"]})
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        add_rows(tmp_path / "folder.jsonl", reviewed.corrections({first: []}))
    with pytest.raises(InputError, match=r"end it in \.jsonl"):
        add_rows(tmp_path / "notes.csv", reviewed.corrections({first: []}))
    notes = tmp_path / "notes.jsonl"
    for content, told in (("no rows\n", "notes.jsonl:1 is no JSON"), ("[1]\n", "is a list")):
        notes.write_text(content, "utf-8")
        with pytest.raises(ConfigError, match=told):
            add_rows(notes, reviewed.corrections({first: []}))
        assert notes.read_text("utf-8") == content
    with pytest.raises(InputError, match="cannot be written: No such file"):
        add_rows(tmp_path / "none" / "rows.jsonl", reviewed.corrections({first: []}))


def test_an_adapter_that_has_changed_since_is_refused(
    project: Project, reviewed: RecordedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = reviewed.questions("clause_type")[0]
    bare = [dataclasses.replace(question, digest="")]
    with monkeypatch.context() as patch:
        patch.setattr(RecordedRun, "questions", lambda *_: bare)
        with pytest.raises(InputError, match="without the adapter"):
            reviewed.corrections({question.number: []})
    skill = project.skills.get(question.skill)
    other = skill.spec.adapter.model_copy(update={"digest": "sha256:other"})
    skill.spec = skill.spec.model_copy(update={"adapter": other})
    monkeypatch.setattr(type(project.skills), "get", lambda *_: skill)
    with pytest.raises(SkillError, match="restore that version"):
        reviewed.corrections({question.number: []})


def test_the_command_shows_questions_and_writes_rows(root: Path, tmp_path: Path) -> None:
    def call(*arguments: str) -> tuple[int, str, str]:
        run = str(root / "traces" / "icd10_coder" / "two_diagnoses")
        found = CliRunner().invoke(
            app, ["traces", "questions", run, "--project", str(root), *arguments]
        )
        return found.exit_code, found.stdout, " ".join(found.stderr.split())

    code, out, _ = call("--skill", "icd10_select", "--json")
    assert code == 0
    first = json.loads(out)[0]
    assert first["context"].startswith("Text: ")
    code, out, _ = call("--skill", "icd10_select")
    assert code == 0
    assert f"{first['number']}  icd10_select@" in out
    file = tmp_path / "rows.jsonl"
    code, out, _ = call(
        "--right", f"{first['number']}={first['choices'][1]['name']}", "--out", str(file)
    )
    assert code == 0
    assert "1 corrected" in out
    [row] = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert [b["title"] for b in row["branches"] if b["label"]] == [first["choices"][1]["name"]]

    for arguments, told in (
        (["--right", "1=2"], "--right and --out belong together"),
        (["--right", "7=", "--right", "7=2", "--out", str(file)], "names question 7 twice"),
        (["--right", "one", "--out", str(file)], "--right 'one' is not N=ANSWER"),
        (["--right", "0=2", "--out", str(file)], "has no question 0"),
    ):
        code, out, err = call(*arguments)
        assert (code, out) == (2, "")
        assert told in err
    code, out, err = call("--skill", "no_such_skill")
    assert (code, out) == (0, "")
    assert "asked no skill such a question" in err


def test_a_run_that_asked_nothing_has_no_questions(project: Project, root: Path) -> None:
    empty = project.trace(str(root / "traces" / "icd10_coder" / "empty"))
    assert questions_of(empty, "icd10_select") == []


@pytest.mark.parametrize(
    ("template", "text", "expected"),
    [
        ("{{ text }}", "any {{ text }}\nof it", {"text": "any {{ text }}\nof it"}),
        ("A: {{ a }}\nB: {{ b }}", "A: x (.*)\nB: y", {"a": "x (.*)", "b": "y"}),
        ("{{ a }}-{{ a }}", "x-x", {"a": "x"}),
        ("always the same", "always the same", {}),
        ("A: {{ a }}\nB: {{ b }}", "A: x\nB: y\nB: z", "can be read in two ways"),
        ("A: {{ a }}", "B: x", "was not made by"),
        ("{{ a | upper }}", "X", "does more than put"),
        ("{% if a %}{{ a }}{% endif %}", "x", "does more than put"),
        ("{{ a", "x", "is no Jinja2"),
    ],
)
def test_a_text_is_taken_apart_only_where_that_is_certain(
    template: str, text: str, expected: Any
) -> None:
    contract = SkillContract(read="branches", choice=template, frames={"options": "{text}"})
    if isinstance(expected, dict):
        assert contract.choice_variables_of(text) == expected
        return
    with pytest.raises(SkillError, match=expected):
        contract.choice_variables_of(text)
