"""What an evaluation was measured with: kept, told where it differs, and not recorded over."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from seamline.evaluations import evaluations
from seamline.models import embedders
from seamline.models.embedders import EmbedderSpec
from seamline.models.evaluation.records import Record
from seamline.models.skills import SkillStore

from .conftest import sorter
from .test_eval_command import Use, call, use

__all__ = ["use"]

RANKER = "tiny-ranker sha256:12ab"
ALONE = "words alone"


def measured_with(shelf: Path, told: str) -> None:
    """Let the evaluation of `letters` say that it is measured with `told`."""
    file = shelf / "models/skills/letters/0.1.0/evaluation.py"
    code = re.sub(r", measured_with='.*?'", "", file.read_text())
    file.write_text(code.replace("threshold=0.5", f"threshold=0.5, measured_with={told!r}"))


@pytest.fixture
def recorded(shelf: Path, letters: Path, use: Use) -> tuple[object, ...]:
    """The options of an evaluation whose record was measured with `RANKER`."""
    use(sorter(lambda skill, number: number % 10 == 0))
    options = ("--data", letters, "--project", shelf)
    measured_with(shelf, RANKER)
    done = call("eval", "letters", *options, "--cells", "adapter", "--record")
    assert done.exit_code == 0, done.output
    assert f"measured with {RANKER}\n" in done.stdout
    return options


def test_the_same_means_reproduce_a_record(shelf: Path, recorded: tuple[object, ...]) -> None:
    record = Record.read(SkillStore(shelf / "models/skills").get("letters"))
    assert record is not None
    assert record.measured_with == RANKER
    done = call("eval", "--all", *recorded, "--json")
    assert done.exit_code == 0, done.output
    [report] = json.loads(done.stdout)["evaluations"]
    assert (report["measured_with"], report["recorded_with"]) == (RANKER, None)


def test_other_means_reproduce_no_record_and_are_told(
    shelf: Path, recorded: tuple[object, ...]
) -> None:
    measured_with(shelf, ALONE)
    done = call("eval", "--all", *recorded)
    assert done.exit_code == 8
    assert f"measured with {ALONE}; its record with {RANKER}, so the two do not" in done.stdout
    assert "as recorded" not in done.stdout
    single = json.loads(call("eval", "letters", *recorded, "--json").stdout)
    assert (single["measured_with"], single["recorded_with"]) == (ALONE, RANKER)


@pytest.mark.parametrize("which", ["letters", "--all"])
def test_a_record_of_other_means_is_not_replaced(
    shelf: Path, recorded: tuple[object, ...], which: str
) -> None:
    file = shelf / "models/skills/letters/0.1.0/evaluation.json"
    before = file.read_bytes()
    measured_with(shelf, ALONE)
    done = call("eval", which, *recorded, "--record")
    assert done.exit_code == 2
    assert f"was measured with {RANKER}" in done.stderr
    assert f"numbers with {ALONE} in its place; run `seamline models pull tiny-" in done.stderr
    assert file.read_bytes() == before
    file.unlink()
    assert call("eval", which, *recorded, "--record").exit_code == 0
    measured_with(shelf, RANKER)
    done = call("eval", which, *recorded, "--record")
    assert done.exit_code == 2
    assert "models pull" not in done.stderr
    assert "remove that file first" in done.stderr


def test_a_record_that_does_not_say_is_compared_and_replaced(
    shelf: Path, recorded: tuple[object, ...]
) -> None:
    file = shelf / "models/skills/letters/0.1.0/evaluation.json"
    told = json.loads(file.read_text())
    del told["measured_with"]
    file.write_text(json.dumps(told))
    assert call("eval", "--all", *recorded).exit_code == 0
    assert call("eval", "letters", *recorded, "--record").exit_code == 0
    assert json.loads(file.read_text())["measured_with"] == RANKER


def test_icd10_select_says_whether_its_embedder_is_here(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = EmbedderSpec.load(root / "models/embedders/all-minilm-l6-v2.yaml")
    skill = SkillStore(root / "models/skills").get("icd10_select")
    # Every test has a cache of its own, where nothing has been pulled.
    assert {one.measured_with for one in evaluations(skill).values()} == {ALONE}
    names = ("main", "codiesp", "prompted")
    records = [Record.read(skill, on) for on in names]
    assert [one.measured_with for one in records if one] == [f"{spec.name} {spec.digest}"] * 3

    def whole(spec: EmbedderSpec, *, cache: Path | None = None) -> Path:
        return root

    monkeypatch.setattr(embedders, "path", whole)
    assert {one.measured_with for one in evaluations(skill).values()} == {
        one.measured_with for one in records if one
    }
