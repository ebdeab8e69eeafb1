"""What the README shows is run as it stands."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from seamline.cli.main import app

BLOCK = re.compile(r"<!-- test: (\w+) -->\n```python\n(.*?)```", re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)(?:#([\w-]+))?\)")


def block(root: Path, name: str, file: str = "README.md") -> str:
    blocks = dict(BLOCK.findall((root / file).read_text(encoding="utf-8")))
    return str(blocks[name])


@pytest.mark.model
@pytest.mark.slow
def test_embedding_takes_ten_lines_and_codes(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = block(root, "embed")
    assert len([line for line in source.splitlines() if line.strip()]) <= 10
    scope: dict[str, Any] = {}
    exec(compile(source, "README.md", "exec"), scope)
    found = {code["code"][:3] for code in scope["result"].output["codes"]}
    assert {"E11", "I10"} <= found
    assert "I10" in capsys.readouterr().out


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.usefixtures("resident")
def test_an_agent_is_a_node_of_another_graph(root: Path) -> None:
    scope: dict[str, Any] = {}
    exec(compile(block(root, "subgraph"), "README.md", "exec"), scope)
    text = "Assessment: essential hypertension. Type 2 diabetes mellitus."
    state = asyncio.run(scope["graph"].compile().ainvoke({"text": text}))
    assert state["result"]["agent"] == "icd10_coder"
    assert state["result"]["output"]["codes"]


@pytest.mark.model
@pytest.mark.slow
@pytest.mark.usefixtures("resident")
def test_a_trace_replays_forks_and_is_compared(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(compile(block(root, "traces", "docs/traces.md"), "docs/traces.md", "exec"), {})
    assert "tool:icd10_select/1/model" in capsys.readouterr().out


def test_the_nearest_texts(root: Path) -> None:
    exec(compile(block(root, "retriever", "docs/retrieval.md"), "docs/retrieval.md", "exec"), {})


def test_every_command_that_is_named_exists(root: Path) -> None:
    text = (root / "README.md").read_text(encoding="utf-8")
    commands = "init|run|check|policies|models|tools|train|eval|traces|doctor"
    named = set(re.findall(rf"seamline ({commands})", text))
    assert len(named) >= 7
    for command in sorted(named):
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0, command


def test_setting_up_takes_the_two_commands(root: Path) -> None:
    text = (root / "README.md").read_text(encoding="utf-8")
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    assert "$ make run\n$ make test\n" in text
    assert "\nrun:" in makefile
    assert "\ntest:" in makefile
    assert "make lint test" in (root / ".ci/run").read_text(encoding="utf-8")


def test_every_link_leads_somewhere(root: Path) -> None:
    pages = [root / name for name in ("README.md", "AGENTS.md", "llms.txt", "CHANGELOG.md")]
    pages += sorted((root / "docs").glob("*.md"))
    lost = []
    for page in pages:
        for target, heading in LINK.findall(page.read_text(encoding="utf-8")):
            file = (page.parent / target).resolve()
            if not file.exists() or (heading and heading not in _headings(file)):
                lost.append(f"{page.name}: {target}#{heading}")
    assert lost == []


def test_llms_txt_names_every_page_of_the_documentation(root: Path) -> None:
    named = {target for target, _ in LINK.findall((root / "llms.txt").read_text(encoding="utf-8"))}
    assert {f"docs/{file.name}" for file in (root / "docs").glob("*.md")} <= named


def _headings(page: Path) -> set[str]:
    """The headings of a page as links name them."""
    lines = page.read_text(encoding="utf-8").splitlines()
    titles = [line.lstrip("#").strip().lower() for line in lines if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}
