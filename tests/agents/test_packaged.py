"""The shipped agents: their files hold together, and their policies decide which tools run."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from seamline import AgentResult, Project
from seamline.agents.checking import check_project
from seamline.traces.store import SqliteTraceStore

NOTE = (
    "Assessment: type 2 diabetes mellitus with diabetic polyneuropathy. Essential hypertension, "
    "above target. Acute bronchitis, resolving. No chest pain."
)


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    """The packaged project, free to be changed."""
    target = tmp_path / "packaged"
    for name in ("agents", "models", "policies", "tools", "traces"):
        shutil.copytree(root / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    return target


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteTraceStore]:
    with SqliteTraceStore(tmp_path / "traces.sqlite") as opened:
        yield opened


def run(project: Path, store: SqliteTraceStore) -> tuple[AgentResult, list[str]]:
    """The result of coding the note, and the tools that ran."""
    agent = Project.open(project, store=store).agent("icd10_coder")
    result = agent.run(NOTE, answer="none of them")
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
    text = agent.read_text().replace("icd10_coder/plan@production", "icd10_coder/plan@1.1.0")
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
