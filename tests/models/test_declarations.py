"""What is said of a declaration that is wrong: the place, what was expected, the value, the fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from seamline.agents.spec import AgentSpec
from seamline.errors import ConfigError
from seamline.models.bases import BaseSpec
from seamline.models.declarations import read_yaml
from seamline.models.endpoints import EndpointSpec
from seamline.models.recipes import Recipe

AGENT = """name: one
policies: {plan: one/plan}
tools:
  find:
    input: {text: $input.text}
output: find
budget:
  steps: 3
"""
ENDPOINT = "name: e\nbase_url: http://127.0.0.1:8000/v1\nmodel: m\n"


def refused(tmp_path: Path, kind: type, text: str) -> str:
    """What stands behind the file's name in the error."""
    file = tmp_path / "declared.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_yaml(kind, file, "a declaration")
    return str(caught.value).removeprefix(f"{file} is not a declaration")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("steps: 3", "steps: six", "budget.steps (line 8): expected a whole number, found 'six'"),
        ("steps: 3", "steps: 0", "budget.steps (line 8): expected at least 1, found 0"),
        ("steps: 3", "steps: yes please", "found 'yes please'"),
        ("steps: 3", "seconds: [1]", "budget.seconds (line 8): expected a number, found a list"),
        ("  steps: 3", "", "budget (line 7): expected keys with values, found nothing"),
        ("  steps: 3", "  stepps: 3", "budget.stepps (line 8): unknown key. Did you mean 'steps'?"),
        ("  steps: 3", "  z: 3", "budget.z (line 8): unknown key. There are: steps, tokens, sec"),
        ("budget:", "budgets:", "budgets (line 7): unknown key. Did you mean 'budget'?"),
        ("{plan:", "{klarify:", "policies.klarify (line 2): unknown key. Did you mean 'clarify'?"),
        (
            "    input:",
            "    imput:",
            "find.imput (line 5): unknown key. Did you mean 'input'?",
        ),
        ("name: one\n", "", ": name: it is missing; add it"),
        ("name: one", "name: One", "name (line 1): expected text that matches ^[a-z]"),
        ("name: one", "name: 1", "name (line 1): expected text; put it in quotes, found 1"),
        ("name: one", "name: true", "put it in quotes, found true"),
    ],
)
def test_a_wrong_value_is_named_with_its_line_and_what_was_expected(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    assert old in AGENT
    assert says in refused(tmp_path, AgentSpec, AGENT.replace(old, new))


def test_an_empty_file_tells_what_it_lacks(tmp_path: Path) -> None:
    assert refused(tmp_path, AgentSpec, "# later\n") == (
        " (the file is empty): name: it is missing; add it; policies: it is missing; add it; "
        "tools: it is missing; add it; output: it is missing; add it"
    )
    assert refused(tmp_path, AgentSpec, "[1]") == (
        ": the whole: expected keys with values, found a list"
    )


def test_a_choice_that_is_none_names_the_nearest(tmp_path: Path) -> None:
    assert refused(tmp_path, EndpointSpec, ENDPOINT + "structured_output: json_shema\n") == (
        ": structured_output (line 4): expected 'json_schema', 'json_object' or 'none', "
        "found 'json_shema'. Did you mean 'json_schema'?"
    )


def test_what_may_be_a_secret_is_not_shown(tmp_path: Path) -> None:
    told = refused(tmp_path, EndpointSpec, ENDPOINT + "api_key_env: sk-12-345\napi_key: sk-678\n")
    assert "api_key_env (line 4): expected text that matches" in told
    assert "api_key (line 5): unknown key. Did you mean 'api_key_env'?" in told
    assert "sk-" not in told
    told = refused(tmp_path, EndpointSpec, ENDPOINT + "prices: {input_per_million: 1}\n")
    assert "prices.output_per_million (line 4): it is missing; add it" in told
    told = refused(tmp_path, EndpointSpec, ENDPOINT.replace("127.0.0.1", "me:hidden@a.example"))
    assert "base_url (line 2): must carry no user, password or query" in told
    assert "hidden" not in told


def test_a_member_of_a_union_knows_its_keys(root: Path, tmp_path: Path) -> None:
    text = next((root / "models" / "bases").glob("*.yaml")).read_text("utf-8")
    assert "    member:" in text
    told = refused(tmp_path, BaseSpec, text.replace("    member:", "    membre:"))
    assert "membre" in told
    assert "Did you mean 'member'?" in told


def test_a_key_deep_in_a_recipe_names_the_nearest(root: Path, tmp_path: Path) -> None:
    recipe = root / "models" / "skills" / "clause_type" / "0.3.0" / "recipe.yaml"
    text = recipe.read_text("utf-8")
    assert "  rank:" in text
    told = refused(tmp_path, Recipe, text.replace("  rank:", "  rnak:"))
    assert "unknown key. Did you mean 'rank'?" in told
