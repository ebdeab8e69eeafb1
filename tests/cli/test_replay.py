"""`seamline traces replay` from outside: what it prints, what it exits with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from seamline.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
RUN = str(ROOT / "traces/icd10_coder/two_diagnoses")
NO_RESULT = str(ROOT / "models/skills/skills.lock")
runner = CliRunner()


def invoke(*arguments: str) -> tuple[int, str, str]:
    found = runner.invoke(app, ["traces", "replay", *arguments, "--project", str(ROOT)])
    return found.exit_code, found.stdout, found.stderr


def test_a_folder_is_replayed() -> None:
    code, out, _ = invoke(RUN)
    assert code == 0
    assert "identical" in out


def test_json_is_all_there_is_on_stdout() -> None:
    code, out, _ = invoke(RUN, "--json")
    told = json.loads(out)
    assert code == 0
    assert told["identical"] is True
    assert told["result"]["status"] == "done"


def test_a_divergence_exits_with_its_own_code_and_names_the_effect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from seamline.agents.nodes import Nodes

    facts = Nodes.state_facts
    monkeypatch.setattr(
        Nodes, "state_facts", lambda self, run, state: {**facts(self, run, state), "moon": "full"}
    )
    code, _, err = invoke(RUN)
    assert code == 7
    assert "effect plan/1#1 (model), record" in err
    code, out, _ = invoke(RUN, "--json")
    told = json.loads(out)
    assert code == 7
    assert told["divergence"]["effect"] == "plan/1#1"
    assert told["divergence"]["fields"]


def test_a_change_needs_the_mode() -> None:
    code, _, err = invoke(RUN, "--policy", "icd10_coder/plan@1.0.0")
    assert code == 2
    assert "only a fork takes --policy; add --mode fork" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--mode", "fork"), "a fork needs a step or a change"),
        (("--mode", "fork", "--at", "plan/77"), "no step 'plan/77'"),
        (("--mode", "fork", "--policy", "icd10_coder/plan@7.7.7"), "7.7.7"),
        (("--mode", "fork", "--adapter", "decide@7.7.7"), "7.7.7"),
        (("--mode", "fork", "--base", "moon"), "moon"),
        (("--mode", "fork", "--endpoint", ""), "no endpoint ''"),
        (("--mode", "fork", "--at", "plan/1", "--tool-result", "nowhere.json"), "nowhere.json"),
        (
            ("--mode", "fork", "--at", "tool:icd10_search/1", "--tool-result", NO_RESULT),
            "is no output of icd10_search",
        ),
    ],
)
def test_a_wrong_change_is_one_line(arguments: tuple[str, ...], message: str) -> None:
    code, _, err = invoke(RUN, *arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in err


def test_no_such_run() -> None:
    code, _, err = invoke("0000")
    assert code == 2
    assert "0000" in err or "no run is recorded" in err


@pytest.mark.model
def test_a_golden_run_verifies_where_it_was_recorded_or_says_why_not() -> None:
    code, out, _ = invoke(RUN, "--mode", "verify", "--json")
    told = json.loads(out)
    if told["refused"]:
        assert code == 7
        assert all(" was " in why for why in told["refused"].values())
    else:
        assert code == 0, told["difference"]
        assert told["tokens"] > 0


@pytest.mark.model
def test_a_fork_without_the_adapter_runs_the_bare_base() -> None:
    code, out, _ = invoke(RUN, "--mode", "fork", "--adapter", "icd10_select@off", "--json")
    told = json.loads(out)
    assert code == 0
    assert told["at"] == "tool:icd10_select/1/model#1"
    assert told["counts"]["prefix"] > 0
    assert told["result"]["run_id"] != told["parent"]
