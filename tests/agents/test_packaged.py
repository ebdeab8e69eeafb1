"""The shipped agents: their files hold together, and their policies decide which tools run."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from seamline import AgentResult, Project
from seamline.agents.checking import check_project
from seamline.traces.store import SqliteTraceStore

NOTE = "Assessment: type 2 diabetes mellitus. Essential hypertension, above target. No chest pain."
SUPPLY = """Supply Agreement

This Supply Agreement is made between Millbrook Grain Ltd and Hearth Bakeries Ltd.

1. Supply. Millbrook shall deliver twenty tonnes of flour a month, and Hearth shall buy at least
that quantity in every month.

2. Price. The price is fixed for a year. Payment is due thirty days after each delivery.

3. Liability. The total liability of either party is limited to the price of one month's flour.

4. Governing Law. This Agreement is governed by the laws of England and Wales.
"""


@pytest.fixture
def copy(root: Path, tmp_path: Path, resident: object) -> Path:
    """The packaged project, whose agents and policies are free to be changed."""
    target = tmp_path / "packaged"
    for name in ("agents", "policies"):
        shutil.copytree(root / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("models", "tools", "traces"):
        (target / name).symlink_to(root / name)
    return target


def clauses(file: Path, *numbers: int) -> str:
    """A contract without its other clauses."""
    first, *rest = re.split(r"\n\n(?=\d+\. )", file.read_text(encoding="utf-8"))
    return "\n\n".join([first, *(rest[number - 1] for number in numbers)])


@pytest.fixture
def terms(root: Path) -> str:
    """Terms of service of three clauses, two of them unfair."""
    return clauses(root / "examples/contracts/terms_of_service.md", 1, 3, 6)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteTraceStore]:
    with SqliteTraceStore(tmp_path / "traces.sqlite") as opened:
        yield opened


def run(
    project: Path, store: SqliteTraceStore, agent: str = "icd10_coder", text: str = NOTE
) -> tuple[AgentResult, list[str]]:
    """The result of a run, and the tools that ran."""
    result = Project.open(project, store=store).agent(agent).run(text, answer="none of them")
    tools = [
        entry.key.path.split("/")[0].removeprefix("tool:")
        for entry in store.effects(result.run_id)
        if entry.kind in ("tool", "retrieval")
    ]
    return result, list(dict.fromkeys(tools))


def test_the_packaged_project_checks_clean() -> None:
    assert check_project(Project.packaged()) == []


def test_the_shipped_agents_are_these() -> None:
    assert Project.packaged().agents() == ["contract_review", "icd10_coder"]


@pytest.mark.model
@pytest.mark.slow
def test_the_released_plan_runs_every_tool(copy: Path, store: SqliteTraceStore) -> None:
    result, tools = run(copy, store)

    assert result.status == "done"
    assert tools == ["icd10_search", "icd10_select", "icd10_check"]
    assert result.output is not None
    assert result.output["codes"]


@pytest.mark.model
@pytest.mark.slow
def test_another_version_of_the_plan_runs_other_tools(copy: Path, store: SqliteTraceStore) -> None:
    agent = copy / "agents" / "icd10_coder" / "agent.yaml"
    text = agent.read_text().replace("icd10_coder/plan@production", "icd10_coder/plan@1.3.0")
    agent.write_text(text)

    result, tools = run(copy, store)

    assert result.status == "done"
    assert tools == ["icd10_search", "icd10_select"]
    assert result.needs_review
    assert "the output of icd10_select was not reviewed" in result.reasons


@pytest.mark.model
@pytest.mark.slow
def test_a_policy_without_a_tools_name_makes_it_unreachable(
    copy: Path, store: SqliteTraceStore
) -> None:
    choose = copy / "policies" / "icd10_coder" / "choose"
    text = (choose / "1.0.0.md").read_text()
    draft = text.replace("1.0.0", "2.0.0").replace(", icd10_check]", "]")
    assert "icd10_check" not in draft
    (choose / "2.0.0.md").write_text(draft)
    agent = copy / "agents" / "icd10_coder" / "agent.yaml"
    text = agent.read_text().replace("icd10_coder/choose@production", "icd10_coder/choose@2.0.0")
    agent.write_text(text)

    result, tools = run(copy, store)

    assert tools == ["icd10_search", "icd10_select"]
    assert result.needs_review
    # Whether `decide` says that none fits or names another tool, the run notices and stops.
    halted = ("no tool that the choose policy names", "with the same input twice in a row")
    assert any(why in reason for why in halted for reason in result.reasons)


@pytest.mark.model
@pytest.mark.slow
def test_terms_of_service_are_read_for_unfair_terms(
    copy: Path, store: SqliteTraceStore, terms: str
) -> None:
    result, tools = run(copy, store, "contract_review", terms)

    assert result.status == "done"
    assert tools == ["split_clauses", "unfair_terms", "clause_type"]
    assert result.output is not None
    found = {one["type"]: terms[one["start"] : one["end"]] for one in result.output["unfair_terms"]}
    assert found["Unilateral Change"].startswith("We may change these terms")
    assert found["Contract by Using"].startswith("By accessing or using")
    assert not any("Tides" in sentence for sentence in found.values())
    assert {one["type"] for one in result.output["risks"]} & set(found)
    assert "Unfair terms: " in result.message


@pytest.mark.model
@pytest.mark.slow
def test_another_contract_is_not(copy: Path, store: SqliteTraceStore) -> None:
    result, tools = run(copy, store, "contract_review", SUPPLY)

    assert result.status == "done"
    assert tools == ["split_clauses", "clause_type"]
    assert result.output is not None
    assert result.output["unfair_terms"] == result.output["statements"] == []


@pytest.mark.model
@pytest.mark.slow
def test_a_confidentiality_agreement_is_held_against_statements(
    root: Path, copy: Path, store: SqliteTraceStore
) -> None:
    text = clauses(root / "examples/contracts/nda.md", 2)
    result, tools = run(copy, store, "contract_review", text)

    assert result.status == "done"
    assert tools == ["split_clauses", "nda_check", "clause_type"]
    assert result.output is not None
    found = {one["name"]: one for one in result.output["statements"]}
    assert len(found) == 17
    engineering = found["reverse engineering"]
    assert engineering["answer"] == "entailed"
    assert "reverse engineer" in text[engineering["start"] : engineering["end"]]
    assert found["no solicitation"]["answer"] == "not mentioned"
    assert "Statements checked: 17." in result.message


@pytest.mark.model
@pytest.mark.slow
def test_the_version_of_the_plan_decides_whether_terms_are_read(
    copy: Path, store: SqliteTraceStore, terms: str
) -> None:
    agent = copy / "agents" / "contract_review" / "agent.yaml"
    text = agent.read_text().replace(
        "contract_review/plan@production", "contract_review/plan@1.0.0"
    )
    agent.write_text(text)

    result, tools = run(copy, store, "contract_review", terms)

    assert result.status == "done"
    assert tools == ["split_clauses", "clause_type"]
