"""The shipped skills' evaluations: made-up rows on the real base, and the outside data's form."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file, save_file

from seamline.evaluations import evaluations
from seamline.loading import load_module
from seamline.models.digests import weights_digest
from seamline.models.evaluation.cards import summaries, with_numbers
from seamline.models.evaluation.declared import EvalRow, Evaluation, Prediction
from seamline.models.evaluation.grid import CellRun, Grid
from seamline.models.evaluation.records import Record
from seamline.models.evaluation.report import cell_report
from seamline.models.skills import SkillStore
from seamline.project import Project

from .test_eval_command import call

SHIPPED = ("clause_type", "decide", "icd10_select")

CLAUSES = {
    "Governing Law": "This Agreement is governed by the laws of the State of Ohio.",
    "Anti-Assignment": "Neither party may assign this Agreement without prior written consent.",
    "Insurance": "The Contractor shall maintain liability insurance of at least $1,000,000.",
    "Renewal Term": "This Agreement renews automatically for successive one-year terms.",
    "Audit Rights": "Licensor may audit the books and records of Licensee once a year.",
    "Non-Compete": "Distributor shall not compete with the Company in the Territory.",
}
KINDS = ("spans_dev", "spans_train")


def declared(root: Path, name: str) -> Evaluation:
    return next(iter(evaluations(SkillStore(root / "models/skills").get(name)).values()))


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
    assert evaluation.shots is not None
    assert evaluation.shots(contracts)[1].right == ("Anti-Assignment",)


@pytest.fixture
def kept_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's cache: the index of codes is named after the code and tables that make it."""
    monkeypatch.delenv("SEAMLINE_HOME")


@pytest.mark.parametrize("name", [*SHIPPED, "nda_entailment", "unfair_term"])
def test_a_card_tells_what_is_recorded(root: Path, name: str) -> None:
    skill = SkillStore(root / "models/skills").get(name)
    card = (skill.path / "README.md").read_text()
    known = {on: Record.read(skill, on) for on in ("main", *list(evaluations(skill))[1:])}
    records = [record for record in known.values() if record is not None]
    assert all(Record.path_in(skill.path, on).exists() == (known[on] is not None) for on in known)
    if not records:
        # Measured before records were kept: every number of skill.yaml stands on the card.
        told = set(re.findall(r"\d\.\d{3}", card))
        numbers = re.findall(r"\b\d\.\d+\b", yaml.safe_dump(dict(skill.spec.evaluation)))
        assert numbers
        assert {f"{float(number):.3f}" for number in numbers} <= told
        return
    assert with_numbers(card, records) == card
    assert skill.spec.evaluation == summaries(records)


@pytest.mark.model
@pytest.mark.usefixtures("resident")
def test_the_cells_on_the_real_base(root: Path, contracts: Path) -> None:
    evaluation, project = declared(root, "clause_type"), Project.open(root)
    rows, skill = evaluation.rows(contracts), project.skills.get("clause_type")
    assert evaluation.shots is not None
    shots = evaluation.shots(contracts)

    def measured(rows: list[EvalRow], *cells: str) -> dict[str, CellRun]:
        grid = Grid(
            evaluation=evaluation, skill=skill.ref, contract=skill.spec.contract, rows=rows,
            local=project.local_model, shots=shots,
        )  # fmt: skip
        return {cell: asyncio.run(grid.run(cell, lambda *_: None)) for cell in cells}

    adapter = cell_report(evaluation, rows, measured([*rows], "adapter")["adapter"])
    assert adapter["accuracy"] >= 0.75
    # The base is asked 37 questions a row, so it gets one row.
    tokens = {
        cell: run.input_tokens
        for cell, run in measured([rows[0]], "base", "base_few_shot", "adapter").items()
    }
    # And with examples one question, behind four spans.
    assert tokens["adapter"] < tokens["base_few_shot"]
    assert tokens["adapter"] < tokens["base"]


def changed(shelf: Path, version: str, factor: float) -> None:
    """A version whose adapter adds `factor` times what the shipped one adds."""
    folder = shelf / "models/skills/clause_type" / version
    shutil.copytree(shelf / "shipped", folder)
    weights = folder / "adapter_model.safetensors"
    tensors = load_file(weights)
    save_file({k: v * factor if "lora_B" in k else v for k, v in tensors.items()}, weights)
    file = folder / "skill.yaml"
    spec = yaml.safe_load(file.read_text()) | {"version": version}
    spec["adapter"]["digest"] = weights_digest(weights)
    file.write_text(yaml.safe_dump(spec, sort_keys=False))


@pytest.mark.model
def test_a_worse_adapter_gets_no_label_and_a_better_one_does(
    root: Path, contracts: Path, tmp_path: Path
) -> None:
    shelf = tmp_path / "project"
    for part in ("models/bases", "tools/clause_type"):
        shutil.copytree(root / part, shelf / part)
    for part in ("agents", "policies", "traces"):
        (shelf / part).mkdir()
    shipped = SkillStore(root / "models/skills").get("clause_type").path
    shutil.copytree(shipped, shelf / "shipped", ignore=shutil.ignore_patterns("evaluation*.json"))
    for version, factor in (("1.0.0", 0.001), ("2.0.0", 1.0), ("3.0.0", -1.0)):
        changed(shelf, version, factor)
    shutil.copy(shipped.parent / "evaluation.py", shelf / "models/skills/clause_type")
    options = ("--project", shelf)

    def gated(version: str) -> int:
        return call(
            "eval", f"clause_type@{version}", "--data", contracts, *options, "--cells", "adapter",
            "--gate", "--record",
        ).exit_code  # fmt: skip

    def label(version: str) -> int:
        return call("models", "label", "clause_type", "production", version, *options).exit_code

    assert label("1.0.0") == 0  # The first one: all but the bare base.
    assert gated("2.0.0") == 0
    assert label("2.0.0") == 0
    assert gated("3.0.0") == 8
    assert label("3.0.0") == 2
    assert SkillStore(shelf / "models/skills").get("clause_type").ref == "clause_type@2.0.0"
    record = Record.read(SkillStore(shelf / "models/skills").get("clause_type@2.0.0"))
    assert record is not None
    assert record.gate is not None
    assert record.gate.difference[0] > 0


def test_the_suite_of_decide_needs_no_outside_data(root: Path) -> None:
    skill = SkillStore(root / "models/skills").get("decide")
    evaluation = evaluations(skill)["main"]
    # Both versions are measured by the one file above them.
    assert evaluations(SkillStore(root / "models/skills").get("decide@0.1.0"))
    assert evaluation.read is not None
    module = load_module(root / "models/skills/decide/evaluation.py")
    rows = module.suite_rows()
    assert Counter(row.slices[0] for row in rows) == {"agents": 91, "general": 150, "pairs": 200}
    assert len({row.id for row in rows}) == len(rows)
    for row in rows:
        assert row.gold <= set(row.names)
        assert len(row.names) == len(row.asked.choices) + 1
    pairs = Counter(row.group for row in rows if row.group)
    assert len(pairs) == 100
    assert set(pairs.values()) == {2}
    right = [Prediction(next(iter(row.gold)), 1.0, row.gold) for row in rows]
    assert evaluation.further(rows, right) == {"pairs_both_right": 1.0}
    right[-1] = Prediction("", 0.0, frozenset())
    assert evaluation.further(rows, right) == {"pairs_both_right": 0.99}


def test_decide_is_read_as_the_agents_decide(root: Path) -> None:
    skill = SkillStore(root / "models/skills").get("decide")
    evaluation = evaluations(skill)["main"]
    module = load_module(root / "models/skills/decide/evaluation.py")
    rows = module.suite_rows()
    assert evaluation.read is not None
    rules = next(row for row in rows if row.asked.ask == "rules" and len(row.names) == 4)
    said = evaluation.read(rules, (0.25, 0.75, 1.0))
    assert (said.first, said.confidence) == (rules.names[1], 0.75 * 0.75)
    said = evaluation.read(rules, (0.25, 0.25, 0.25))
    assert (said.first, said.confidence) == (rules.names[-1], 0.75**3)
    options = next(row for row in rows if row.asked.ask == "options" and len(row.names) == 4)
    assert evaluation.read(options, (0.5, 0.75, 0.75)).first == options.names[1]
    assert evaluation.read(options, (0.25, 0.0, 0.0)) == Prediction(
        "none", 0.75, frozenset({"none"})
    )


def test_codes_of_documents_are_compared_as_sets(root: Path) -> None:
    skill = SkillStore(root / "models/skills").get("icd10_select")
    further = evaluations(skill)["codiesp"].further

    def row(group: str, number: int, *gold: str) -> EvalRow:
        return EvalRow(id=f"{group}{number}", context={}, gold=frozenset(gold), text="",
                       group=group)  # fmt: skip

    def said(*codes: str) -> Prediction:
        return Prediction("", 0.0, frozenset(codes))

    rows = [row("a", 1, "I10", "E11.9", "R69"), row("a", 2, "I10", "E11.9", "R69"),
            row("a", 3, "I10", "E11.9", "R69"), row("b", 0, "J45.0")]  # fmt: skip
    found = further(rows, [said("I10"), said("I10"), said("E11.5"), said()])
    # Four codes are wanted, two are given (I10 once), of which one is right by code.
    assert found["code_micro_f1"] == pytest.approx(2 * 1 / (4 + 2))
    assert found["category_micro_f1"] == pytest.approx(2 * 2 / (4 + 2))
    assert found["code_micro_f1_without_R69_R52"] == pytest.approx(2 * 1 / (3 + 2))
    assert found["category_micro_f1_without_R69_R52"] == pytest.approx(2 * 2 / (3 + 2))


@pytest.mark.usefixtures("kept_index")
@pytest.mark.parametrize(
    ("likely", "first", "given"),
    [
        ({"N17.9": 0.2, "N17": 0.9}, "N17.9", True),  # A category counts for its leaf.
        ({"N18.9": 0.9}, "N18.9", True),
        ({"N17.9": 0.05}, "N17.9", False),  # The skill thinks none of them possible.
    ],
)
def test_the_skill_with_the_search_answers_as_the_tool_does(
    root: Path, likely: dict[str, float], first: str, given: bool
) -> None:
    alike = {"N17.9": 0.9, "N17": 0.899, "N18.9": 0.8}
    row = EvalRow(
        id="one", context={}, gold=frozenset(), text="", names=tuple(alike),
        retrieved=tuple(alike.values()),
    )  # fmt: skip
    together = evaluations(SkillStore(root / "models/skills").get("icd10_select"))["eicu"]
    assert together.with_retrieval is not None
    said = together.with_retrieval(row, [likely.get(name, 0.0) for name in alike])
    assert (said.first, said.labels) == (first, frozenset({first} if given else ()))


@pytest.mark.data
@pytest.mark.usefixtures("kept_index")
@pytest.mark.parametrize("name", SHIPPED)
def test_the_outside_rows_are_whole(root: Path, data: Path, name: str) -> None:
    evaluation = declared(root, name)
    rows = evaluation.rows(data)
    assert len({row.id for row in rows}) == len(rows) > 300
    assert all(row.gold and row.slices for row in rows)
    if name == "decide":
        assert evaluation.shots is None
        assert len(rows) == 1182
        return
    assert all(len(row.choices) == len(row.names) == len(row.retrieved) for row in rows)
    assert evaluation.shots is not None
    assert len(evaluation.shots(data)) > 5000


@pytest.mark.data
@pytest.mark.usefixtures("kept_index")
def test_mentions_of_whole_documents(root: Path, data: Path, tmp_path: Path) -> None:
    """On six documents of the training part, and one in which nothing is found."""
    evaluation = evaluations(SkillStore(root / "models/skills").get("icd10_select"))["codiesp"]
    lines = (data / "icd10/codiesp_train.jsonl").read_text(encoding="utf-8").splitlines()[:6]
    lines.append(json.dumps({"id": "nothing", "text": "Nothing at all.", "codes": ["I10"]}))
    folder = tmp_path / "data" / "icd10"
    folder.mkdir(parents=True)
    for part in ("dev", "train"):
        (folder / f"codiesp_{part}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    rows = evaluation.rows(folder.parent)
    assert {row.group for row in rows} == {json.loads(line)["id"] for line in lines}
    assert [row.choices for row in rows if row.group == "nothing"] == [()]
    assert all(len(row.choices) == len(row.retrieved) <= 8 for row in rows)
    assert all(row.context["mention"] in row.context["text"] for row in rows)
    assert evaluation.retrieval_threshold is not None
    chosen = evaluation.retrieval_threshold(folder.parent)

    def f1(threshold: float) -> float:
        low = (threshold,)
        said = [
            Prediction("", 0.0, frozenset(row.names[:1] if row.retrieved[:1] >= low else ()))
            for row in rows
        ]
        return evaluation.further(rows, said)["category_micro_f1"]

    assert f1(chosen) >= max(f1(step / 20) for step in range(21))
