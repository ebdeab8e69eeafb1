"""The shipped skills' evaluations: made-up rows on the real base, and the outside data's form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from seamline.cli.main import app
from seamline.loading import load_module
from seamline.models.evaluation.declared import Evaluation
from seamline.models.skills import SkillStore

CLAUSES = {
    "Governing Law": "This Agreement is governed by the laws of the State of Ohio.",
    "Anti-Assignment": "Neither party may assign this Agreement without prior written consent.",
    "Insurance": "The Contractor shall maintain liability insurance of at least $1,000,000.",
    "Renewal Term": "This Agreement renews automatically for successive one-year terms.",
}
KINDS = ("spans_dev", "spans_train")


def declared(root: Path, name: str) -> Evaluation:
    skill = SkillStore(root / "models/skills").get(name)
    found: Evaluation = load_module(skill.path / "evaluation.py").evaluation(skill.spec.contract)
    return found


@pytest.fixture
def contracts(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "contracts"
    folder.mkdir(parents=True)
    for kind in KINDS:
        rows = [
            {"contract_id": kind, "category": name, "text": text, "start": 100 * at, "end": 100}
            for at, (name, text) in enumerate(CLAUSES.items())
        ]
        # A span of two types, and a field of the contract, which is no clause.
        rows.append({**rows[0], "category": "Insurance"})
        rows.append({**rows[0], "category": "Parties", "start": 999})
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"cuad_{kind}.jsonl").write_text(text)
    return tmp_path / "data"


def test_spans_of_several_types_are_one_row(root: Path, contracts: Path) -> None:
    evaluation = declared(root, "clause_type")
    rows = evaluation.rows(contracts)
    assert len(rows) == len(CLAUSES) == len({row.id for row in rows})
    assert rows[0].gold == {"Governing Law", "Insurance"} == set(rows[0].slices)
    assert evaluation.shots(contracts)[1].right == ("Anti-Assignment",)


@pytest.mark.model
def test_the_grid_on_the_real_base(root: Path, contracts: Path) -> None:
    arguments = ["eval", "clause_type", "--data", str(contracts), "--project", str(root), "--json"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    cells = report["cells"]
    assert list(cells) == ["base", "base_few_shot", "adapter"]
    assert cells["adapter"]["accuracy"] >= 0.75
    assert cells["base_few_shot"]["tokens_per_item"] > cells["base"]["tokens_per_item"]
    assert cells["adapter"]["tokens_per_item"] < cells["base"]["tokens_per_item"]
    assert report["adapter_digest"] == SkillStore(root / "models/skills").get(
        "clause_type"
    ).spec.adapter.digest  # fmt: skip


@pytest.mark.data
@pytest.mark.parametrize("name", ["clause_type", "icd10_select"])
def test_the_outside_rows_are_whole(root: Path, data: Path, name: str) -> None:
    evaluation = declared(root, name)
    rows = evaluation.rows(data)
    assert len({row.id for row in rows}) == len(rows) > 300
    assert all(row.gold and row.slices for row in rows)
    assert all(len(row.choices) == len(row.names) == len(row.retrieved) for row in rows)
    assert len(evaluation.shots(data)) > 5000
