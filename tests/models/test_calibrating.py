"""The stage "calibrate": what is fitted, what is reported, what is refused."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy.special import expit, softmax
from typer.testing import CliRunner

from seamline.cli.main import app
from seamline.errors import ConfigError
from seamline.models.bases import BaseSpec
from seamline.models.calibrating import (
    CalibrationReport,
    HeldOut,
    _best,
    _Read,
    calibrate,
    read_logits,
)
from seamline.models.contracts import SkillContract
from seamline.models.dataset.report import Report
from seamline.models.engine import LocalModel
from seamline.models.evaluation.calibration import scaled
from seamline.models.making import DataSummary, Made
from seamline.models.protocol import Choice, DecideRequest
from seamline.models.skills import Calibration, Skill, SkillStore

LABELS = SkillContract(
    read="labels",
    context="{{ text }}",
    labels={"a": "one", "b": "two", "c": "three", "none": "no"},
    none_label="none",
)
BRANCHES = SkillContract(read="branches", frames={"options": "{text}?", "rules": "{text}?"})


class Adapter:
    """Gives the logits that were prepared for a row, and counts what it is asked."""

    def __init__(self, logits: Sequence[Any], stop: int | None = None) -> None:
        self.logits, self.asked, self.stop = logits, 0, stop

    async def logits_of(self, request: DecideRequest) -> Any:
        if self.stop is not None and self.asked >= self.stop:
            raise KeyboardInterrupt
        self.asked += 1
        return np.asarray(self.logits[int(request.context)], dtype=np.float32)


class Model:
    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter

    async def logits(self, requests: Sequence[DecideRequest], *, skill: str) -> list[Any]:
        return [await self.adapter.logits_of(request) for request in requests]


def label_rows(count: int, *, hot: float, several: bool = False) -> tuple[list[HeldOut], list[Any]]:
    """Rows whose labels are drawn from the softmax of logits that come `hot` times too large."""
    rng = np.random.default_rng(7)
    rows, logits = [], []
    for at in range(count):
        own = rng.normal(0, 2, size=4)
        gold = np.eye(4, dtype=int)[rng.choice(4, p=softmax(own))]
        if several and gold[3] == 0 and at % 3 == 0:
            gold[int(np.argsort(own[:3])[-1])] = 1
        request = DecideRequest(ask="labels", context=str(at))
        rows.append(HeldOut(request, tuple(int(x) for x in gold), f"document {at // 3}"))
        logits.append([(own * hot).tolist()])
    return rows, logits


def branch_rows(count: int, ask: Any) -> tuple[list[HeldOut], list[Any]]:
    """Rows of three choices; a choice is right as often as half its margin, less one, says."""
    rng = np.random.default_rng(8)
    rows, logits = [], []
    for at in range(count):
        margins = rng.normal(0, 4, size=3)
        gold = (rng.random(3) < expit(margins / 2 - 1)).astype(int)
        choices = tuple(Choice(name=str(i), text=str(i)) for i in range(3))
        request = DecideRequest(ask=ask, context=str(at), choices=choices)
        rows.append(HeldOut(request, tuple(int(x) for x in gold), f"document {at // 3}"))
        logits.append([[float(m), 0.0] for m in margins])
    return rows, logits


def run(
    rows: list[HeldOut], logits: list[Any], contract: SkillContract, work: Path, target: float = 0.9
) -> CalibrationReport:
    model = Model(Adapter(logits))
    read = read_logits(
        model, rows, contract, skill="s@1.0.0", adapter="sha256:1", work=work,
        tick=lambda *_: None,
    )  # fmt: skip
    return calibrate(
        read, contract, skill="s@1.0.0", adapter="sha256:1", data="k", target_precision=target
    )[0]


def test_too_sure_labels_are_cooled(tmp_path: Path) -> None:
    report = run(*label_rows(900, hot=3.0), LABELS, tmp_path)
    assert report.calibration.temperature == pytest.approx(3.0, rel=0.15)
    # Chance alone makes some hundredths of 15 bins with 60 rows each.
    assert report.error < 0.08 < 0.15 < report.error_before
    assert report.method == "temperature"
    assert set(report.losses) == {"as trained", "temperature"}
    assert report.losses["temperature"] < report.losses["as trained"]
    assert report.accuracy_at_80 > report.accuracy
    assert report.groups == 300


def test_scores_that_are_right_as_they_are_stay(tmp_path: Path) -> None:
    # A scale that is fitted to noise has to lose against none; over some draws it mostly does.
    found = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        rows, logits = [], []
        for at in range(120):
            own = rng.normal(0, 2, size=4)
            gold = np.eye(4, dtype=int)[rng.choice(4, p=softmax(own))]
            request = DecideRequest(ask="labels", context=str(at))
            rows.append(HeldOut(request, tuple(int(x) for x in gold), f"row {at}"))
            logits.append([own.tolist()])
        report = run(rows, logits, LABELS, tmp_path / str(seed))
        assert (report.method == "as trained") == (report.calibration.temperature == 1)
        found.append(report.method)
        assert report.calibration.abstain_below is not None
        if report.error > report.error_before:
            assert "did not lower the calibration error" in report.warnings[-1]
    assert found.count("as trained") >= 6


def test_the_precision_of_what_is_kept_is_the_target(tmp_path: Path) -> None:
    report = run(*label_rows(1500, hot=3.0), LABELS, tmp_path, target=0.8)
    assert report.precision is not None
    low, _, high = report.precision
    assert low <= 0.8 <= high
    assert 0.1 < report.coverage < 1
    assert report.calibration.abstain_below is not None
    assert report.calibration.abstain_below >= report.calibration.threshold


def test_rows_with_several_labels_are_measured_by_micro_f1(tmp_path: Path) -> None:
    report = run(*label_rows(1200, hot=1.0, several=True), LABELS, tmp_path)
    assert report.measure == "micro-F1"
    assert report.value >= report.value_before


@pytest.mark.parametrize(
    ("error", "several", "method"),
    [(0.02, True, "isotonic"), (0.09, True, "temperature"), (0.02, False, "temperature")],
)
def test_a_small_gain_counts_where_the_error_falls_and_labels_share_a_softmax(
    error: float, several: bool, method: str
) -> None:
    rng = np.random.default_rng(5)
    rows = [_Read("labels", np.zeros(2), np.zeros(2), f"group {at}") for at in range(100)]
    gain = rng.normal(0, 1, size=100)
    losses = {"as trained": np.full(100, 9.0), "temperature": np.full(100, 5.0),
              "isotonic": 5.0 - (gain - gain.mean() + 0.05)}  # fmt: skip
    errors = {"as trained": 0.2, "temperature": 0.07, "isotonic": error}
    assert _best(rows, losses, errors, several=several) == method  # type: ignore[arg-type]


def test_what_no_temperature_can_mend_takes_knots(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    rows, logits = [], []
    for at in range(1500):
        margin = float(rng.normal(0, 3))
        # Right in half the cases on one side, never on the other, whatever the margin.
        gold = int(margin > 0 and rng.random() < 0.5)
        request = DecideRequest(
            ask="options", context=str(at), choices=(Choice(name="0", text="x"),)
        )
        rows.append(HeldOut(request, (gold,), f"row {at}"))
        logits.append([[margin, 0.0]])
    report = run(rows, logits, BRANCHES, tmp_path)
    assert report.method == "isotonic"
    assert report.losses["isotonic"] < report.losses["temperature"]
    scale = report.calibration.temperature, report.calibration.bias
    mapped = report.calibration.mapped(scaled([-4.0, 1.0, 4.0], *scale).tolist())
    assert mapped == pytest.approx([0, 0.5, 0.5], abs=0.1)
    assert report.error < 0.05
    assert report.calibration.abstain_below == 1.0
    assert "no score reaches a precision of 0.9" in report.warnings[0]
    assert report.precision is None or report.coverage < 0.1


@pytest.mark.parametrize("ask", ["options", "rules"])
def test_branches_take_temperature_and_bias(tmp_path: Path, ask: str) -> None:
    report = run(*branch_rows(800, ask), BRANCHES, tmp_path)
    assert report.measure == "accuracy"
    assert report.calibration.temperature == pytest.approx(2.0, rel=0.25)
    assert report.calibration.bias < 0
    assert report.error < 0.05 < report.error_before
    assert report.value >= report.value_before


def test_scores_of_one_group_never_fit_themselves(tmp_path: Path) -> None:
    # Every group is right or wrong as a whole, so that only another group's rows could tell.
    rng = np.random.default_rng(2)
    rows, logits = [], []
    for at in range(400):
        group = at // 20
        gold = int(group % 2 == 0)
        request = DecideRequest(
            ask="options", context=str(at), choices=(Choice(name="0", text="x"),)
        )
        rows.append(HeldOut(request, (gold,), f"document {group}"))
        logits.append([[float(group) / 5 + rng.normal(0, 0.01), 0.0]])
    report = run(rows, logits, BRANCHES, tmp_path)
    assert report.precision is None or report.precision[1] < 0.8


def test_an_interrupted_reading_goes_on(tmp_path: Path) -> None:
    rows, logits = label_rows(300, hot=2.0)
    stopping, going = Adapter(logits, stop=150), Adapter(logits)
    options: dict[str, Any] = {
        "skill": "s@1.0.0", "adapter": "sha256:1", "work": tmp_path, "tick": lambda *_: None
    }  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        read_logits(Model(stopping), rows, LABELS, **options)
    kept = tmp_path / "calibration" / "logits.jsonl"
    assert len(kept.read_text().splitlines()) == 1 + 144
    kept.write_text(kept.read_text()[:-20])
    found = read_logits(Model(going), rows, LABELS, **options)
    assert going.asked == 300 - 143
    assert [one.margins.tolist() for one in found] == [
        pytest.approx(one[0], abs=1e-4) for one in logits
    ]
    again = Adapter(logits)
    read_logits(Model(again), rows, LABELS, **options)
    assert again.asked == 0
    read_logits(Model(again), rows, LABELS, **{**options, "adapter": "sha256:2"})
    assert again.asked == 300


def test_too_little_is_refused_by_name(tmp_path: Path) -> None:
    rows, logits = label_rows(40, hot=1.0)
    with pytest.raises(ConfigError, match=r"s@1\.0\.0 has 40 held-out rows in 14 groups.*50"):
        run(rows, logits, LABELS, tmp_path)
    rows, _ = label_rows(60, hot=1.0)
    right = [[[9.0 * gold for gold in row.gold]] for row in rows]
    with pytest.raises(ConfigError, match="is right on all 60 held-out rows"):
        run(rows, right, LABELS, tmp_path / "right")


def test_the_report_is_plain_json(tmp_path: Path) -> None:
    report = run(*label_rows(200, hot=2.0), LABELS, tmp_path)
    text = report.model_dump_json()
    assert CalibrationReport.model_validate_json(text) == report
    assert json.loads(text)["calibration"]["temperature"] > 1


CLAUSES = {
    "Governing Law": "This Agreement is governed by the laws of the State of {}.",
    "Insurance": "The Supplier shall maintain general liability insurance of {} dollars.",
    "Non-Compete": "For {} years, the Seller shall not compete with the Buyer.",
    "None": "The headings in Article {} are for convenience of reference only.",
}


@pytest.fixture
def shelf(root: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A project with a shipped adapter, and a data folder of clauses, half of them held out."""
    project, data = tmp_path / "project", tmp_path / "data"
    for name in ("agents", "policies", "tools", "traces"):
        (project / name).mkdir(parents=True)
    shutil.copytree(root / "models/bases", project / "models/bases")
    folder = project / "models/skills/clause_type/0.1.0"
    ignored = shutil.ignore_patterns("data.py", "__pycache__", "work")
    shutil.copytree(root / "models/skills/clause_type/0.1.0", folder, ignore=ignored)
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    source = {"title": "clauses", "licence": "ours", "file": "clauses.jsonl"}
    changed = {"data": {"hold_out": 0.5, "near_duplicates": 1.0}, "sources": [source]}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe | changed | {"calibration": {}}))
    data.mkdir()
    words = ("Ohio", "ten", "Maine", "4", "Utah", "two", "Iowa", "nine", "Texas", "7", "Oregon",
             "six", "Idaho", "3", "Nevada", "five", "Kansas", "12", "Alaska", "twenty", "Hawaii",
             "one", "Vermont", "15", "Georgia", "eight", "Montana", "21", "Florida", "forty",
             "Delaware", "30")  # fmt: skip
    rows = [
        {"context": {"text": text.format(word)}, "labels": [label], "group": f"{word} {label}"}
        for word in words
        for label, text in CLAUSES.items()
    ]
    (data / "clauses.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return project, data


@pytest.mark.model
@pytest.mark.slow
def test_the_engine_scores_as_was_calibrated(shelf: tuple[Path, Path], base_spec: BaseSpec) -> None:
    project, data = shelf
    command = ["train", "clause_type@0.1.0", "--project", str(project)]
    calibrate_only = [*command, "--data", str(data), "--only", "calibrate"]
    done = CliRunner().invoke(app, [*calibrate_only, "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["rows"] == 64
    assert told["calibration"]["threshold"] != 0.5
    assert all(Path(file).is_file() for file in told["plots"])
    assert "cross-fitted" in done.stderr
    assert "not recorded which rows" in done.stderr
    assert CliRunner().invoke(app, [*command, "--only", "package"]).exit_code == 0
    skill = Skill(project / "models/skills/clause_type/0.1.0")
    assert skill.spec.calibration == Calibration.model_validate(told["calibration"])
    assert skill.spec.marks.low == skill.spec.calibration.abstain_below
    model = LocalModel(base_spec, SkillStore(project / "models/skills"))
    request = skill.spec.contract.request({"text": CLAUSES["Insurance"].format("six")})
    [logits] = asyncio.run(model.logits([request], skill=skill.ref))
    [answer] = asyncio.run(model.decide([request], skill=skill.ref))
    fitted = skill.spec.calibration
    expected = fitted.mapped(scaled(logits, fitted.temperature)[0].tolist())
    assert answer.scores == pytest.approx(expected, abs=2e-6)
    model.close()
    summary = DataSummary.of(
        Report.model_validate_json(
            next((skill.path / "work/data").glob("*/report.json")).read_bytes()
        )
    )
    other = summary.model_copy(update={"key": "another"})
    Made(adapter=skill.spec.adapter.digest, data=other).write(skill.path)
    refused = CliRunner().invoke(app, calibrate_only)
    assert refused.exit_code == 2
    assert "was trained on the data another" in refused.stderr


def test_nothing_held_out_is_one_error(shelf: tuple[Path, Path]) -> None:
    project, data = shelf
    recipe = project / "models/skills/clause_type/0.1.0/recipe.yaml"
    recipe.write_text(recipe.read_text().replace("hold_out: 0.5", "hold_out: 0"))
    command = ["train", "clause_type@0.1.0", "--project", str(project), "--data", str(data)]
    done = CliRunner().invoke(app, [*command, "--only", "calibrate"])
    assert done.exit_code == 2
    assert "has 0 held-out rows, and its calibration needs 50" in done.stderr
