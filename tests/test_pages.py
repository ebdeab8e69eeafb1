"""What the pages on projects and on the SDK show is written out and run as it stands."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from seamline import Project, ScriptedModel
from seamline.agents.checking import check_project
from seamline.cli.main import app
from seamline.errors import BudgetExceededError
from seamline.models.endpoints import EndpointSpec
from seamline.models.protocol import Choice, DecideRequest
from seamline.models.single_shot import ask
from seamline.tools import Tool, ToolRegistry, run_tool

PAGES = Path(__file__).resolve().parents[1] / "docs"
MARKED = re.compile(r"<!-- (\w+): (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)


def marked(page: str, kind: str) -> dict[str, str]:
    """The blocks of a page that carry a mark of this kind, by name."""
    text = (PAGES / page).read_text(encoding="utf-8")
    return {name: body for found, name, body in MARKED.findall(text) if found == kind}


def execute(page: str, name: str) -> dict[str, Any]:
    """What a marked block of a page leaves behind."""
    scope: dict[str, Any] = {}
    exec(compile(marked(page, "test")[name], f"docs/{page}", "exec"), scope)
    return scope


def follower() -> ModuleType:
    file = PAGES.parent / "tests" / "agents" / "follower.py"
    spec = importlib.util.spec_from_file_location("seamline_tests_pages", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def seamline(*arguments: str) -> str:
    found = CliRunner().invoke(app, list(arguments))
    assert found.exit_code == 0, found.output
    return found.stdout


@pytest.fixture
def mailroom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project of docs/projects.md, its files as the page shows them and its labels set."""
    target = tmp_path / "mailroom"
    for name, body in marked("projects.md", "file").items():
        file = target / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(body, encoding="utf-8")
    monkeypatch.chdir(target)
    lines = marked("projects.md", "run")["labels"].splitlines()
    assert all(line.startswith("$ seamline ") for line in lines)
    said = [seamline(*shlex.split(line.removeprefix("$ seamline "))) for line in lines]
    assert said[-1].endswith("(triage): nothing wrong\n")
    monkeypatch.chdir(tmp_path)
    return target


def follow(request: DecideRequest) -> str | None:
    """The choice of a model that follows the mail room's policies."""
    facts = request.context
    if request.ask == "options":
        return "read_mail" if "read the mail" in facts else "route_mail"
    holds = {
        "read_mail has not been run": "- read_mail: not run" in facts,
        "A tool has failed": "- failed tools: none" not in facts,
        "route_mail has not been run": "- route_mail: not run" in facts,
        "Several desks fit": "- desks that fit: 2" in facts,
        "No desk fits": "- desks that fit: 0" in facts,
        "No request was routed": "- requests routed: 0" in facts,
    }
    return next((choice.text for choice in request.choices if holds[choice.text]), None)


def answer_chat(body: dict[str, Any]) -> str:
    """What a server whose model follows the policies answers, in the form of the page."""
    asked = body["messages"][-1]["content"]
    if "Options:" in asked:
        assert 'Answer only with JSON: {"choice": "NAME"}' in asked
        return json.dumps({"choice": "read_mail" if "Step: read" in asked else "route_mail"})
    assert "Rules, the first that holds wins:" in asked
    rules = re.findall(r"^\d+\. If (.+)$", asked, flags=re.MULTILINE)
    choices = tuple(Choice(name=rule, text=rule) for rule in rules)
    facts = asked.partition("\n\nRules")[0]
    right = follow(DecideRequest(ask="rules", context=facts, choices=choices))
    return "Let me see. " + json.dumps({"rule": 0 if right is None else rules.index(right) + 1})


@pytest.mark.usefixtures("mailroom")
def test_the_project_runs_under_a_scripted_model() -> None:
    scope = execute("projects.md", "triage")
    assert scope["result"].status == "done"
    assert scope["result"].reasons == []
    assert scope["model"].calls


def test_the_policies_are_told_the_facts_that_are_shown(mailroom: Path) -> None:
    model = ScriptedModel(lambda request, _: follow(request))  # type: ignore[arg-type]
    mail = (mailroom / "mail.txt").read_text()
    assert Project.open(mailroom).agent("triage", model=model).run(mail).status == "needs_answer"
    asked = [call.request for call in model.calls]
    states = [one.context.removeprefix("State:\n") for one in asked if _slot(one) == "plan"]
    assert states[1] == marked("projects.md", "shown")["facts"].strip()
    chosen = next(one for one in asked if _slot(one) == "choose")
    assert isinstance(chosen, DecideRequest)
    assert ask(chosen).user == marked("projects.md", "shown")["question"].strip()


def _slot(request: Any) -> str:
    return str(request.prompt.name).rpartition("/")[2]


@pytest.fixture
def served(mailroom: Path) -> Iterator[Path]:
    """The same, with a server at the address that its endpoint names."""
    file = mailroom / "models/endpoints/desk.yaml"
    with follower().endpoint_server(answer_chat) as url:
        file.write_text(file.read_text().replace(EndpointSpec.load(file).base_url, url))
        yield mailroom


def test_the_project_runs_on_its_endpoint(served: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(served)
    told = seamline("run", "triage", "--file", "mail.txt", "--answer", "billing", "--json")
    result = json.loads(told)
    assert result["message"] == "2 of 2 requests go to a desk."
    assert [route["desk"] for route in result["output"]["routes"]] == ["billing", "billing"]
    assert result["usage"]["input_tokens"] > 0


@pytest.mark.usefixtures("mailroom")
def test_a_function_is_a_tool_of_the_project() -> None:
    project = execute("projects.md", "function")["project"]
    tool = project.tools.get("count_words")
    assert tool.spec.timeout_s == 5
    assert tool.input_fields() == {"text": True, "least": False}
    assert [one.where for one in check_project(project)] == ["tools/count_words"]  # not bound


def tool_of_kind_skill(tmp_path: Path, name: str) -> Tool:
    """The tool whose code the page shows under this name."""
    folder = tmp_path / "tools" / "unfair"
    folder.mkdir(parents=True)
    folder.joinpath("tool.py").write_text(marked("projects.md", "script")[name])
    folder.joinpath("tool.yaml").write_text(
        "name: unfair\nkind: skill\nskill: unfair_term\ndescription: Types unfair terms.\n"
    )
    return ToolRegistry(folder.parent, skills=PAGES.parent / "models" / "skills").get("unfair")


def test_the_tool_of_kind_skill_asks_its_skill(tmp_path: Path) -> None:
    tool = tool_of_kind_skill(tmp_path, "skill")
    model = ScriptedModel({"unfair_term": [{"Arbitration": 0.99, "Jurisdiction": 0.01}, {}]})
    given = {"sentences": ["You agree to arbitration.", "Hello."]}
    output = asyncio.run(run_tool(tool, given, model=model))
    assert output.model_dump() == {"types": [["Arbitration"], []]}


class UsedUp:
    """Effects that have nothing left after one question to a skill."""

    async def perform(self, path: str, kind: str, request: Any, live: Any) -> Any:
        if kind == "model" and (asked := len(request["requests"])) < 32:
            raise BudgetExceededError(f"nothing is left for {asked} more questions")
        return await live()


def test_the_tool_that_gives_what_it_has_says_how_far_it_came(tmp_path: Path) -> None:
    tool = tool_of_kind_skill(tmp_path, "partial")
    answers: list[Any] = [{"Arbitration": 0.99}] * (40 + 32)
    model = ScriptedModel({"unfair_term": answers})
    given = {"sentences": ["You agree to arbitration."] * 40}
    whole = asyncio.run(run_tool(tool, given, model=model))
    partial = asyncio.run(run_tool(tool, given, model=model, effects=UsedUp()))
    assert whole.model_dump() == {"stopped": "", "types": [["Arbitration"]] * 40}
    assert partial.model_dump() == {
        "stopped": "stopped at 32 of 40 sentences; the rest was not looked at",
        "types": [["Arbitration"]] * 32,
    }


KEYS = {
    "agent.yaml": ("seamline.agents.spec", "AgentSpec"),
    "tool.yaml": ("seamline.tools.contract", "ToolSpec"),
    "Endpoints": ("seamline.models.endpoints", "EndpointSpec"),
}


@pytest.mark.parametrize("heading", KEYS)
def test_every_key_of_a_file_is_described(heading: str) -> None:
    module, name = KEYS[heading]
    text = (PAGES / "projects.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    table = section.partition("\n|---")[2].partition("\n\n")[0]
    firsts = [line.split("|")[1] for line in table.splitlines()[1:]]
    described = {key.partition(".")[0] for cell in firsts for key in re.findall(r"`(.+?)`", cell)}
    model = getattr(importlib.import_module(module), name)
    assert described == set(model.model_fields)


@pytest.mark.usefixtures("served")
def test_the_sdk_page_runs_from_its_first_block_to_its_last(
    capsys: pytest.CaptureFixture[str],
) -> None:
    scope: dict[str, Any] = {}
    blocks = marked("sdk.md", "test")
    assert list(blocks) == [
        "open",
        "run",
        "resume",
        "budget",
        "batch",
        "files",
        "stream",
        "trace",
        "scripted",
    ]
    for name, body in blocks.items():
        exec(compile(body, f"docs/sdk.md, {name}", "exec"), scope)
    said = capsys.readouterr().out
    assert "done 1 of 1 requests go to a desk." in said
    assert "Which desk takes this, billing or shipping?" in said
    assert "plan route the requests" in said
    assert "choose/2#1 (model) route_mail" in said


@pytest.mark.usefixtures("served")
def test_runs_of_other_processes_are_found(tmp_path: Path) -> None:
    script = tmp_path / "work.py"
    script.write_text(marked("sdk.md", "script")["processes"], encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


def test_the_tree_of_errors_is_the_one_of_the_code() -> None:
    import seamline.errors

    branch = re.compile(r"^[ │├└─]*\w+Error\b", re.MULTILINE)
    shown = branch.findall(marked("sdk.md", "shown")["errors"])
    assert shown == branch.findall(seamline.errors.__doc__ or "")
    assert {one.lstrip(" │├└─") for one in shown} == set(seamline.errors.__all__)


def test_every_field_of_a_result_and_every_kind_of_event_is_described() -> None:
    from seamline import AgentEvent, AgentResult
    from seamline.agents.result import RunUsage

    text = (PAGES / "sdk.md").read_text(encoding="utf-8")
    fields = text.partition("\n### AgentResult\n")[2].partition("\n### ")[0]
    rows = [line.split("|") for line in fields.splitlines() if line.startswith("| `")]
    named = {field for row in rows for field in re.findall(r"`(\w+)`", row[1])}
    assert named == set(AgentResult.model_fields)
    usage = next(row[2] for row in rows if "`usage`" in row[1])
    assert set(re.findall(r"`(\w+)`", usage)) == set(RunUsage.model_fields)
    events = text.partition("\n## Events\n")[2].partition("\n## ")[0]
    kinds = re.findall(r"^\| `(\w+)` \|", events, flags=re.MULTILINE)
    assert set(kinds) == set(AgentEvent.model_fields["kind"].annotation.__args__)  # type: ignore[union-attr]
