"""`seamline traces replay` from outside: what it prints, what it exits with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from seamline.agents.recorded import RecordedRun
from seamline.agents.verifying import Difference, Verification
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
        (("--mode", "fork", "--encoding", "cp1252"), "name it with --input"),
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
@pytest.mark.usefixtures("resident")
def test_a_golden_run_verifies_where_it_was_recorded_or_says_why_not() -> None:
    code, out, _ = invoke(RUN, "--mode", "verify", "--json")
    told = json.loads(out)
    if told["refused"]:
        assert code == (7 if told["difference"] else 2)
        assert all(" was " in why for why in told["refused"].values())
    else:
        assert code == 0, told["difference"]
        assert told["tokens"] > 0


@pytest.mark.model
@pytest.mark.usefixtures("resident")
def test_a_fork_without_the_adapter_runs_the_bare_base() -> None:
    code, out, _ = invoke(RUN, "--mode", "fork", "--adapter", "icd10_select@off", "--json")
    told = json.loads(out)
    assert code == 0
    assert told["at"] == "tool:icd10_select/1/model#1"
    assert told["counts"]["prefix"] > 0
    assert told["result"]["run_id"] != told["parent"]


def test_an_exported_folder_is_shown_as_a_run_of_the_store_is() -> None:
    shown = runner.invoke(app, ["traces", "show", RUN])
    assert shown.exit_code == 0, shown.stderr
    assert "icd10_coder/plan" in shown.stdout
    told = json.loads(runner.invoke(app, ["traces", "show", RUN, "--json"]).stdout)
    replayed = json.loads(invoke(RUN, "--json")[1])
    assert told["run"]["run_id"] == replayed["run_id"]
    assert told["totals"]["effects"] == replayed["effects"]


def test_a_folder_without_a_run_is_told_as_a_folder(tmp_path: Path) -> None:
    shown = runner.invoke(app, ["traces", "show", str(tmp_path)])
    assert shown.exit_code == 2
    assert str(tmp_path) in shown.stderr
    assert "manifest.json" in shown.stderr


@pytest.mark.parametrize("mode", [(), ("--mode", "fork", "--at", "plan/1")])
def test_a_replay_outside_the_run_s_project_names_the_option(
    mode: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "seamline.yaml").write_text("name: another\n")
    found = runner.invoke(app, ["traces", "replay", RUN, *mode, "--project", str(tmp_path)])
    assert found.exit_code == 2
    assert f"project {tmp_path} has no agent 'icd10_coder'" in found.stderr
    assert "--project" in found.stderr


@pytest.mark.parametrize(
    ("text", "change", "status"),
    [
        ("a longer text", ["--policy", "sorter/plan@1.1.0"], "done"),
        ("a longer text", ["--endpoint", "follower"], "done"),
        ("a longer text", ["--at", "plan/2"], "done"),
        ("In spring the gardens bloom.", ["--answer", "the season"], "done"),
        ("a longer text", ["--at", "plan/1", "--endpoint", "nowhere"], "failed"),
    ],
)
def test_a_project_that_runs_on_an_endpoint_alone_is_forked(
    shelf: Path, text: str, change: list[str], status: str
) -> None:
    project = ["--project", str(shelf)]
    runner.invoke(app, ["run", "sorter", text, *project])

    fork = ["traces", "replay", "last", "--mode", "fork", *change, "--json"]
    found = runner.invoke(app, [*fork, *project])

    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["result"]["status"] == status


def test_a_fork_reads_a_file_in_another_encoding(shelf: Path, tmp_path: Path) -> None:
    project = ["--project", str(shelf)]
    runner.invoke(app, ["run", "sorter", "a longer text", *project])
    note = tmp_path / "note.txt"
    note.write_bytes("Die Gärten blühen".encode("latin-1"))

    fork = ["traces", "replay", "last", "--mode", "fork", "--input", str(note), "--json", *project]
    refused, read = runner.invoke(app, fork), runner.invoke(app, [*fork, "--encoding", "latin-1"])

    assert refused.exit_code == 2
    assert "name its encoding, e.g. `--encoding cp1252`" in json.loads(refused.stdout)["error"]
    assert read.exit_code == 0, read.output
    assert json.loads(read.stdout)["result"]["output"]["words"][0]["word"] == "Gärten"


def test_a_base_is_asked_for_where_one_is_named(shelf: Path) -> None:
    project = ["--project", str(shelf)]
    runner.invoke(app, ["run", "sorter", "a longer text", *project])

    fork = ["traces", "replay", "last", "--mode", "fork", "--base", "moon"]
    found = runner.invoke(app, [*fork, *project])

    assert found.exit_code == 2
    assert "no base 'moon' in models/bases; declared are: none" in " ".join(found.stderr.split())


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_run_that_an_endpoint_answered_has_nothing_to_compare(
    shelf: Path, force: list[str]
) -> None:
    project = ["--project", str(shelf)]
    runner.invoke(app, ["run", "sorter", "a longer text", *project])
    verify = ["traces", "replay", "last", "--mode", "verify", *force, *project]

    shown, told = runner.invoke(app, verify), runner.invoke(app, [*verify, "--json"])

    assert (shown.exit_code, told.exit_code) == (2, 2)
    assert "nothing could be compared" in shown.stdout
    assert "NOT identical" not in shown.stdout
    assert "plan/1#1 was not compared: it was answered by follower" in " ".join(
        shown.stdout.split()
    )
    found = json.loads(told.stdout)
    assert (found["verdict"], found["identical"]) == ("nothing compared", False)
    assert "plan/1#1" in found["refused"]


def test_a_run_that_asked_no_model_has_nothing_to_compare(shelf: Path) -> None:
    project = ["--project", str(shelf)]
    runner.invoke(app, ["run", "sorter", " ", *project])

    found = runner.invoke(app, ["traces", "replay", "last", "--mode", "verify", *project])

    assert found.exit_code == 2
    assert "nothing could be compared: the run asked no model" in " ".join(found.stdout.split())


@pytest.mark.parametrize(
    ("effects", "refused", "differs", "verdict"),
    [
        (3, {}, False, "identical"),
        (3, {"plan/2#1": "another adapter"}, False, "incomplete"),
        (3, {"plan/2#1": "another adapter"}, True, "different"),
        (0, {"plan/2#1": "another adapter"}, False, "nothing compared"),
    ],
)
def test_each_verdict_has_its_exit_code(
    shelf: Path,
    monkeypatch: pytest.MonkeyPatch,
    effects: int,
    refused: dict[str, str],
    differs: bool,
    verdict: str,
) -> None:
    difference = Difference(
        effect="plan/1#1", request=0, part="input", position=0, recorded=(), computed=()
    )
    found = Verification(
        run_id="r",
        effects=effects,
        tokens=9,
        same_bits=True,
        difference=difference if differs else None,
        refused=refused,
    )
    monkeypatch.setattr(RecordedRun, "verify", lambda self, **_: found)
    runner.invoke(app, ["run", "sorter", "a longer text", "--project", str(shelf)])

    verify = ["traces", "replay", "last", "--mode", "verify", "--project", str(shelf), "--json"]
    told = runner.invoke(app, verify)

    assert json.loads(told.stdout)["verdict"] == verdict
    assert told.exit_code == {"identical": 0, "different": 7}.get(verdict, 2)
