"""A project's files, read and held against each other before anything runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seamline import ConfigError, PolicyError, Project, ScriptedModel, ToolError, tool
from seamline.agents.checking import check_project
from seamline.project import find_root

Edit = Callable[..., Path]


@pytest.fixture
def edit(project_root: Path) -> Edit:
    """Replaces words of a file of the project."""

    def change(path: str, old: str, new: str) -> Path:
        file = project_root / path
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))
        return file

    return change


AGENT = "agents/sorter/agent.yaml"


@pytest.mark.parametrize(
    ("old", "new", "error", "says"),
    [
        ("name: sorter", "name: sorted", ConfigError, "its folder is 'sorter'"),
        ("version: 0.2.0", "version: two", ConfigError, "version (line 2): expected text"),
        ("  plan: sorter/plan@1.0.0\n", "", ConfigError, "`policies` lacks plan"),
        ("output: [check_words", "output: [check_word", ConfigError, "not among `tools`"),
        ("budget: {steps: 6", "budget: {stops: 6", ConfigError, "budget.stops"),
        ("sorter/plan@1.0.0", "sorter/plan@9.0.0", PolicyError, "9.0.0"),
        ("sorter/plan@1.0.0", "sorter/review@1.0.0", ConfigError, "needs a policy of kind 'plan'"),
        ("$find_words.words", "$find_words.size", ToolError, "gives no 'size'; it gives: words"),
        ("$find_words.words", "$seek_words.words", ToolError, "names no tool of the agent"),
        ("{words: $find_words.words, ", "{", ToolError, "needs the input words"),
        ("text: $input.text", "texts: $input.text", ToolError, "has no input texts"),
        ("values.least", "values.most", ToolError, "has: least"),
        ("unit: $$", "unit: $", ToolError, "is not a reference"),
        ("unit: $$", "unit: .nan", ConfigError, "line 19: '.nan' is not a number that can be kept"),
        ("seconds: 60", "seconds: .inf", ConfigError, "'.inf' is not a number that can be kept"),
        ("orchestrator: local", "orchestrator: nowhere", ConfigError, "no endpoint 'nowhere'"),
    ],
)
def test_a_wrong_agent_is_refused_with_what_was_expected(
    edit: Edit, project: Project, old: str, new: str, error: type[Exception], says: str
) -> None:
    edit(AGENT, old, new)

    model = None if "orchestrator" in old else ScriptedModel({})
    with pytest.raises(error) as raised:
        project.agent("sorter", model=model)
    assert says in str(raised.value)
    assert any(one.level == "error" and says in one.message for one in check_project(project))


def errors(project: Project) -> list[str]:
    """What the check says is wrong with the agent, without the skill that is not shipped here."""
    found = [one for one in check_project(project) if "decide" not in one.message]
    return [one.message for one in found if one.level == "error"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "text: $input.text",
            "text: $rate_words.ratings",
            "find_words needs $rate_words.ratings, rate_words needs $find_words.words, so none of",
        ),
        (
            "ratings: $rate_words.ratings",
            "ratings: [$check_words.words]",
            "check_words needs $check_words.words, so it can never run",
        ),
        (
            "least: $policy.plan.values.least",
            "least: many",
            "find_words cannot take its input: least: expected a whole number, found 'many'",
        ),
        ("text: $input.text", "text: [a]", "text: expected text; put it in quotes, found a list"),
    ],
)
def test_bindings_that_can_never_work_are_told(
    edit: Edit, project: Project, old: str, new: str, says: str
) -> None:
    assert errors(project) == []
    edit(AGENT, old, new)

    [message] = errors(project)
    assert says in message


def test_a_policys_value_of_the_wrong_type_is_told(project: Project) -> None:
    policy = project.root / "policies/sorter/plan/1.0.0.md"
    lock = project.root / "policies/policies.lock"
    text = policy.read_text()
    assert "least: 5" in text
    policy.write_text(text.replace("least: 5", "least: four"))
    lock.unlink()

    assert [one for one in errors(project) if "least: expected a whole number, found 'four'" in one]


def test_what_is_not_required_waits_for_nothing(edit: Edit, project: Project) -> None:
    edit(AGENT, "preferred: $answer", "preferred: $check_words.unit")
    edit("tools/check_words/tool.py", "    words: tuple", '    unit: str = ""\n    words: tuple')

    assert errors(project) == []


def test_an_unknown_agent_is_named_with_the_nearest(project: Project) -> None:
    with pytest.raises(ConfigError, match="no agent 'sortre'; did you mean 'sorter'"):
        project.agent("sortre")


def test_a_choose_policy_may_not_name_an_unbound_tool(edit: Edit, project: Project) -> None:
    edit(AGENT, "  check_words:\n    input: {ratings: $rate_words.ratings, unit: $$}\n", "")
    edit(AGENT, "output: [check_words, rate_words]", "output: rate_words")

    with pytest.raises(ConfigError, match="names the tools check_words, which"):
        project.agent("sorter", model=ScriptedModel({}))


def test_an_edited_released_policy_is_refused(edit: Edit, project: Project) -> None:
    edit("policies/sorter/plan/1.0.0.md", "You plan the work", "You plan all work")

    with pytest.raises(PolicyError, match="locked"):
        project.agent("sorter", model=ScriptedModel({}))
    assert any("locked" in one.message for one in check_project(project))


def test_model_and_endpoint_exclude_each_other(project: Project) -> None:
    with pytest.raises(ConfigError, match="not both"):
        project.agent("sorter", model=ScriptedModel({}), endpoint="x")


def test_the_project_checks_clean(project: Project) -> None:
    found = check_project(project)

    assert [one for one in found if one.level == "error"] == [
        one for one in found if "decide" in one.message
    ], "nothing but the skill `decide`, which the test project does not ship"


def test_the_check_tells_what_nothing_reaches(edit: Edit, project: Project) -> None:
    edit(AGENT, "sorter/choose@1.0.0", "sorter/choose@1.1.0")
    edit(AGENT, "sorter/plan@1.0.0", "sorter/plan@1.1.0")
    (project.root / "tools" / "unused").mkdir()
    (project.root / "tools" / "unused" / "tool.yaml").write_text(
        "name: unused\nversion: 0.1.0\nkind: function\ndescription: Does nothing for anybody.\n"
    )
    warnings = [one.message for one in check_project(project) if one.level == "warning"]

    assert any("does not name the output tool check_words" in one for one in warnings)
    assert any("no agent binds this tool" in one for one in warnings)


@pytest.mark.parametrize(
    ("file", "old", "new", "says"),
    [
        ("tool.yaml", "kind: function", "kind: funktion", "expected 'skill', 'function'"),
        ("tool.yaml", "kind: function", "kind: skill", "is of kind skill and names no skill"),
        ("tool.py", "class Output(ToolOutput)", "class Output", "a class Output that derives"),
        ("tool.py", "async def run(", "async def walk(", "needs a function `run(input, context)`"),
        ("tool.py", "(given: Input, context: ToolContext)", "(given: Input)", "write `run(input,"),
        ("tool.py", "async def run(", "async def run((", "does not import: SyntaxError"),
    ],
)
def test_a_broken_tool_is_told_once_and_with_its_own_file(
    edit: Edit, project: Project, file: str, old: str, new: str, says: str
) -> None:
    edit(f"tools/find_words/{file}", old, new)

    [found] = [one for one in check_project(project) if says in one.message]
    assert (found.level, found.where) == ("error", f"tools/find_words/{file}")


def test_a_tool_that_is_not_there_is_told_with_the_agent(edit: Edit, project: Project) -> None:
    edit(AGENT, "  find_words:", "  seek_words:")

    [found] = [one for one in check_project(project) if "there is no tool" in one.message]
    assert found.where == AGENT
    assert "there is no tool 'seek_words'; did you mean" in found.message


def test_a_broken_endpoint_is_told_once(edit: Edit, project: Project) -> None:
    edit(AGENT, "orchestrator: local", "orchestrator: far")
    file = project.root / "models" / "endpoints" / "far.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("name: far\nmodel: m\n")

    [found] = [one for one in check_project(project) if "base_url: it is missing" in one.message]
    assert found.where == "models/endpoints"


def test_every_reference_to_a_policy_that_leads_nowhere_is_told(
    edit: Edit, project: Project
) -> None:
    edit(AGENT, "sorter/plan@1.0.0", "sorter/plan@canary")
    edit(AGENT, "sorter/answer@1.0.0", "sorter/answer@@1")
    edit(AGENT, "sorter/choose@1.0.0", "sorter/review@1.0.0")

    found = [one for one in check_project(project) if one.where == AGENT]
    told = "\n".join(one.message for one in found if "decide" not in one.message)
    assert "Set it with `seamline policies label sorter/plan canary 1.1.0`" in told
    assert "'sorter/answer@@1' is no reference to a policy" in told
    assert "slot 'choose' needs a policy of kind 'choose'" in told


def test_no_tool_is_unbound_while_an_agent_cannot_be_read(edit: Edit, project: Project) -> None:
    broken = project.root / "agents" / "broken" / "agent.yaml"
    broken.parent.mkdir()
    broken.write_text("name: [")
    edit(AGENT, "  check_words:\n    input: {ratings: $rate_words.ratings, unit: $$}\n", "")
    edit(AGENT, "output: [check_words, rate_words]", "output: rate_words")
    assert not any("no agent binds" in one.message for one in check_project(project))

    broken.unlink()
    [told] = [one for one in check_project(project) if "no agent binds" in one.message]
    assert told.where == "tools/check_words"


def test_a_draft_is_told_and_is_no_error(project: Project) -> None:
    text = (project.root / "policies/sorter/plan/1.1.0.md").read_text()
    draft = project.root / "policies/sorter/plan/1.2.0.md"
    draft.write_text(text.replace("1.1.0", "1.2.0"))

    [found] = [one for one in check_project(project) if "1.2.0" in one.message]
    assert found.level == "warning"
    assert found.where == "policies/sorter/plan/1.2.0.md"


def test_a_file_beside_the_versions_that_nothing_reads_is_told(project: Project) -> None:
    folder = project.root / "policies/sorter/plan"
    for name in ("3.0.0.txt", "1.0.0.jsonl", ".hidden"):
        (folder / name).write_text("")
    (project.root / "policies/sorter/README.txt").write_text("")

    [found] = [one for one in check_project(project) if "nothing reads this" in one.message]
    assert found.level == "warning"
    assert found.where == "policies/sorter/plan/3.0.0.txt"


def test_open_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a folder"):
        Project.open(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="is no seamline project"):
        Project.open(tmp_path)
    for name in ("agents", "models", "policies", "tools", "traces"):
        (tmp_path / name).mkdir()
    assert Project.open(tmp_path).agents() == []


def test_a_wrong_project_file_is_refused(project: Project) -> None:
    (project.root / "seamline.yaml").write_text("naem: shelf\n")

    with pytest.raises(ConfigError, match=r"naem \(line 1\): unknown key. Did you mean 'name'"):
        _ = project.spec


def test_the_packaged_project_is_found_without_one_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project_root: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_root() == Project.packaged().root
    monkeypatch.chdir(project_root / "tools")
    assert find_root() == project_root
    assert find_root(project_root) == project_root


def test_a_function_becomes_a_tool(edit: Edit, project: Project, follow: Any) -> None:
    @project.add_tool
    @tool
    def shout(word: str) -> str:
        """Writes a word in capitals."""
        return word.upper()

    assert "shout" in project.tools.names()
    assert shout("a") == "A"


def test_a_graph_of_its_own(edit: Edit, project: Project, follow: Any) -> None:
    """`graph.py` arranges the same nodes in another way, here without any loop."""
    edit(AGENT, "budget:", "graph: graph.py\nbudget:")
    (project.root / "agents" / "sorter" / "graph.py").write_text(
        "from langgraph.graph import END, START, StateGraph\n"
        "from seamline.agents.nodes import Nodes\n"
        "from seamline.agents.state import RunInput, RunOutput, RunState\n"
        "\n"
        "def build(nodes: Nodes):\n"
        "    graph = StateGraph(RunState, input_schema=RunInput, output_schema=RunOutput)\n"
        "    async def pick(run, state):\n"
        "        return {'tool': 'find_words', 'message': 'only found'}\n"
        "    names = ['begin', 'pick', 'act', 'finish']\n"
        "    for name in names:\n"
        "        graph.add_node(name, nodes.node(name, pick if name == 'pick' else None))\n"
        "    for one, next_one in zip([START, *names], [*names, END]):\n"
        "        graph.add_edge(one, next_one)\n"
        "    return graph\n"
    )
    model = ScriptedModel(follow)
    result = project.agent("sorter", model=model).run("garden")

    assert result.status == "done"
    assert result.message == "only found"
    assert result.usage.steps == 1
    assert model.calls == []


def test_a_graph_without_build_is_refused(edit: Edit, project: Project) -> None:
    edit(AGENT, "budget:", "graph: graph.py\nbudget:")
    path = project.root / "agents" / "sorter" / "graph.py"
    path.write_text("x = 1\n")

    with pytest.raises(ConfigError, match=r"has no function `build\(nodes\)`"):
        project.agent("sorter", model=ScriptedModel({}))


def test_the_lock_of_the_test_project_is_whole(project: Project) -> None:
    lock = json.loads((project.root / "policies" / "policies.lock").read_text())

    assert sorted(lock["policies"]["sorter/plan"]) == ["1.0.0", "1.1.0"]
    assert project.policies.verify() == []
