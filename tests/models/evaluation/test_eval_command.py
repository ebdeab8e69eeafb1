"""`seamline eval` and `seamline models label`, on a scripted model and a real endpoint."""

from __future__ import annotations

import importlib.util
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from seamline.cli.main import app
from seamline.models.evaluation.records import Record
from seamline.models.scripted import ScriptedModel
from seamline.models.skills import SkillStore
from seamline.project import Project

from .conftest import sorter, write_skill

Use = Callable[[ScriptedModel], None]


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Use:
    """Puts a model in the place of the local one."""
    return lambda model: monkeypatch.setattr(Project, "local_model", model)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def gate(shelf: Path, data: Path, *more: object) -> Result:
    return call(
        "eval", "letters@0.2.0", "--data", data, "--project", shelf, "--cells", "adapter",
        "--gate", "--record", *more,
    )  # fmt: skip


def label(shelf: Path, version: str = "0.2.0") -> Result:
    return call("models", "label", "letters", "production", version, "--project", shelf)


def test_the_grid_as_json_and_as_a_folder(
    shelf: Path, letters: Path, use: Use, tmp_path: Path
) -> None:
    use(sorter(lambda skill, number: skill is None and number % 2 == 0))
    out = tmp_path / "out"
    done = call("eval", "letters", "--data", letters, "--project", shelf, "--json", "--out", out)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert list(report["cells"]) == ["nearest", "majority", "base", "base_few_shot", "adapter"]
    assert report["cells"]["adapter"]["accuracy"] == 1.0
    assert report["cells"]["base"]["accuracy"] == 0.5
    assert report["cells"]["majority"]["accuracy"] == pytest.approx(1 / 3)
    assert report["pairs"]["adapter - majority"]["mean"] == pytest.approx(2 / 3)
    assert {name: one["rows"] for name, one in report["base_threshold"].items()} == {
        "base": 2, "base_few_shot": 2,
    }  # fmt: skip
    assert report["pairs"]["adapter - base"]["mean"] == 0.5
    assert report["gate"] is None
    assert report["sampled"] is False
    assert json.loads((out / "report.json").read_text()) == report
    html = (out / "report.html").read_text()
    assert "&lt;late&gt;" in html
    assert str(letters) not in html + done.stdout
    assert sorted(file.name for file in out.iterdir()) == ["report.html", "report.json"]


def test_the_table_names_file_rows_and_difference(shelf: Path, letters: Path, use: Use) -> None:
    use(sorter(lambda skill, number: skill is None and number % 2 == 0))
    options = ("--data", letters, "--project", shelf, "--limit", 12)
    first, second = [call("eval", "letters", *options, "--json") for _ in range(2)]
    one, two = json.loads(first.stdout), json.loads(second.stdout)
    assert one["rows"] == 12
    assert one["rows_digest"] == two["rows_digest"]
    shown = call("eval", "letters", *options).stdout
    assert "12 rows, a sample of the rows of letters.jsonl" in shown
    assert "adapter - base:" in shown
    assert "adapter - nearest:" in shown
    assert re.search(r"^base answers from a score of 0\.\d+ on, chosen on 2 training", shown, re.M)


def test_a_better_version_passes_and_takes_the_label(shelf: Path, letters: Path, use: Use) -> None:
    refused = label(shelf)
    assert refused.exit_code == 2
    assert "no record of a passed gate" in refused.output
    assert "seamline eval letters@0.2.0 --data FOLDER --gate --record" in refused.output
    use(sorter(lambda skill, number: skill == "letters@0.1.0" and number % 3 == 0))
    assert gate(shelf, letters).exit_code == 0
    folder = shelf / "models/skills/letters/0.2.0"
    record = Record.model_validate_json((folder / "evaluation.json").read_text())
    assert record.gate is not None
    assert record.gate.difference[1] == pytest.approx(1 / 3)
    assert record.cells["adapter"]["accuracy"] == 1.0
    assert record.rows == 60
    assert record.command.endswith("--data FOLDER --cells adapter --gate")
    assert label(shelf).exit_code == 0
    assert SkillStore(shelf / "models/skills").get("letters").ref == "letters@0.2.0"
    assert label(shelf).exit_code == 0  # Already there: nothing to gate.


def test_a_regression_exits_with_8_and_gets_no_label(shelf: Path, letters: Path, use: Use) -> None:
    use(sorter(lambda skill, number: skill == "letters@0.2.0" and number % 6 == 0))
    done = gate(shelf, letters)
    assert done.exit_code == 8
    assert "gate not passed: against letters@0.1.0 -0.167" in done.stdout
    refused = label(shelf)
    assert refused.exit_code == 2
    assert "its gate was not passed: difference -0.167" in refused.output
    assert SkillStore(shelf / "models/skills").get("letters").ref == "letters@0.1.0"


def test_a_collapsed_slice_fails_a_version_that_is_better_overall(
    shelf: Path, letters: Path, use: Use
) -> None:
    def wrong(skill: str | None, number: int) -> bool:
        return number < 15 if skill == "letters@0.2.0" else number >= 20 and number % 2 == 0

    use(sorter(wrong))
    done = gate(shelf, letters, "--json")
    assert done.exit_code == 8
    found = json.loads(done.stdout)["gate"]
    assert found["difference"][1] > 0
    assert [one["slice"] for one in found["collapsed"]] == ["early"]
    assert found["collapsed"][0]["before"] == 1.0
    assert found["collapsed"][0]["after"] == 0.25


def test_a_small_loss_is_no_regression(shelf: Path, letters: Path, use: Use) -> None:
    use(sorter(lambda skill, number: skill == "letters@0.2.0" and number == 7))
    assert gate(shelf, letters).exit_code == 0


def declare(shelf: Path, name: str, version: str, line: str) -> None:
    """Adds a field to the evaluation of a version."""
    file = shelf / "models/skills" / name / version / "evaluation.py"
    file.write_text(file.read_text().replace("threshold=0.5,", f"threshold=0.5, {line},"))


def test_a_number_that_falls_fails_a_version_of_the_same_accuracy(
    shelf: Path, letters: Path, use: Use
) -> None:
    """Of the complaints, one in three, most are missed now, and as much praise is won."""

    def wrong(skill: str | None, number: int) -> bool:
        return number >= 45 if skill == "letters@0.2.0" else number < 15

    use(sorter(wrong))
    rows = [
        {"text": f"letter {i}", "gold": ["Praise"] if i < 40 else ["Complaint"], "slice": "all"}
        for i in range(60)
    ] * 4
    (letters / "letters.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert gate(shelf, letters).exit_code == 0
    declare(shelf, "letters", "0.2.0", 'gate_on=("macro_f1", "micro_f1")')
    done = gate(shelf, letters)
    assert done.exit_code == 8
    assert "gate not passed: against letters@0.1.0 +0.000" in done.stdout
    record = Record.read(SkillStore(shelf / "models/skills").get("letters@0.2.0"))
    assert record is not None
    assert record.gate is not None
    macro, micro = record.gate.numbers
    assert (macro.name, macro.fell, micro.fell) == ("macro_f1", True, False)
    low, difference, high = macro.difference
    assert difference == pytest.approx(macro.after - macro.before)
    assert low < difference < high < 0
    assert f"macro_f1: {macro.before:.3f} to {macro.after:.3f}, {difference:+.3f} (" in done.stdout
    assert "numbers that fell: macro_f1;" in label(shelf).output


def test_the_gate_is_about_the_cell_that_ships(shelf: Path, letters: Path, use: Use) -> None:
    options = ("--data", letters, "--project", shelf)
    assert call("models", "label", "fruit", "production", "0.1.0", "-p", shelf).exit_code == 0
    contract = yaml.safe_load((shelf / "models/skills/fruit/0.1.0/skill.yaml").read_text())
    code = (shelf / "models/skills/fruit/0.1.0/evaluation.py").read_text()
    write_skill(shelf, "fruit", "0.2.0", contract["contract"], code)
    declare(shelf, "fruit", "0.2.0", 'gate_cell="adapter_retrieval", gate_on=("held",)')
    use(ScriptedModel(lambda request, skill: 0))
    done = call("eval", "fruit@0.2.0", *options, "--cells", "adapter", "--gate", "--json")
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert list(report["cells"]) == ["adapter"]
    assert report["gate"]["cell"] == "adapter_retrieval"
    assert report["gate"]["numbers"][0]["difference"][1] == 0
    shown = call("eval", "fruit@0.2.0", *options, "--cells", "adapter", "--gate").stdout
    assert "gate passed: against fruit@0.1.0, cell adapter_retrieval +0.000" in shown


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('gate_on=("held",)', "names 'held', which is no number of it; use some of: exact_match"),
        ('gate_cell="adapter_retrieval"', "cell 'adapter_retrieval' has no retrieval scores here"),
        ('gate_cell="base"', "gate_cell 'base' does not ask the skill"),
    ],
)
def test_a_gate_on_what_there_is_not_is_one_error(
    shelf: Path, letters: Path, use: Use, line: str, told: str
) -> None:
    use(sorter(lambda skill, number: False))
    declare(shelf, "letters", "0.2.0", line)
    done = gate(shelf, letters)
    assert done.exit_code == 2
    assert told in done.output


def test_a_gate_of_before_there_were_further_numbers_counts(
    shelf: Path, letters: Path, use: Use
) -> None:
    use(sorter(lambda skill, number: False))
    assert gate(shelf, letters).exit_code == 0
    file = shelf / "models/skills/letters/0.2.0/evaluation.json"
    told = json.loads(file.read_text())
    del told["base_threshold"], told["gate"]["numbers"], told["gate"]["cell"]
    file.write_text(json.dumps(told))
    assert label(shelf).exit_code == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"sampled": True}, "its gate saw only 60 rows of letters.jsonl"),
        ({"gate": None}, "it was evaluated without --gate"),
        ({"behaviour_digest": "sha256:1"}, "another adapter, contract or calibration"),
        ({"skill": "letters@0.3.0"}, "is of letters@0.3.0"),
        ({"rows": "many"}, "is not a record of an evaluation: rows"),
    ],
)
def test_a_record_of_something_else_does_not_count(
    shelf: Path, letters: Path, use: Use, change: dict[str, Any], told: str
) -> None:
    use(sorter(lambda skill, number: False))
    assert gate(shelf, letters).exit_code == 0
    file = shelf / "models/skills/letters/0.2.0/evaluation.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    refused = label(shelf)
    assert refused.exit_code == 2
    assert told in refused.output


def test_a_gate_on_a_sample_is_recorded_as_one(shelf: Path, letters: Path, use: Use) -> None:
    use(sorter(lambda skill, number: False))
    assert gate(shelf, letters, "--limit", 20).exit_code == 0
    assert "its gate saw only 20 rows" in label(shelf).output


def test_a_gate_against_an_earlier_release_is_stale(shelf: Path, letters: Path, use: Use) -> None:
    use(sorter(lambda skill, number: False))
    assert gate(shelf, letters).exit_code == 0
    released = shelf / "models/skills/letters/0.1.0/skill.yaml"
    released.write_text(released.read_text() + "calibration: {temperature: 2.0}\n")
    assert "it was gated against letters@0.1.0" in label(shelf).output


def test_going_back_needs_no_gate(shelf: Path, letters: Path, use: Use) -> None:
    use(sorter(lambda skill, number: False))
    assert gate(shelf, letters).exit_code == 0
    assert label(shelf).exit_code == 0
    # The version that shall be left may be the one that is broken.
    (shelf / "models/skills/letters/0.2.0/skill.yaml").write_text("name: letters")
    assert label(shelf, "0.1.0").exit_code == 0
    assert SkillStore(shelf / "models/skills").get("letters").ref == "letters@0.1.0"


def test_going_forth_again_needs_no_gate_and_a_changed_version_does(
    shelf: Path, letters: Path, use: Use
) -> None:
    use(sorter(lambda skill, number: False))
    assert gate(shelf, letters).exit_code == 0
    record = shelf / "models/skills/letters/0.2.0/evaluation.json"
    for version in ("0.2.0", "0.1.0"):
        assert label(shelf, version).exit_code == 0
    record.unlink()
    assert label(shelf).exit_code == 0
    first = shelf / "models/skills/letters/0.1.0/skill.yaml"
    first.write_text(first.read_text() + "calibration: {temperature: 2.0}\n")
    assert "letters@0.1.0 cannot take the label production" in label(shelf, "0.1.0").output


def test_the_first_version_and_other_labels_need_no_gate(shelf: Path) -> None:
    options = ("--project", shelf, "--json")
    done = call("models", "label", "fruit", "production", "0.1.0", *options)
    assert json.loads(done.stdout)["before"] is None
    assert call("models", "label", "letters", "candidate", "0.2.0", *options).exit_code == 0
    assert call("models", "label", "letters", "candidate", "0.9.0", *options).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("letters", "--gate"), "letters@0.1.0 is the version labelled production itself"),
        (("fruit@0.1.0", "--gate"), "fruit has no version labelled production"),
        (("letters", "--cells", "nothing"), "there is no cell 'nothing'"),
        (("letters", "--cells", "base", "--record"), "add adapter to --cells"),
        (("letters", "--png"), "--png needs --out FOLDER"),
        (("letters", "--endpoint", "nowhere"), "no endpoint 'nowhere'"),
        (("letters", "--endpoint", ""), "no endpoint ''"),
        (("leters",), "did you mean letters"),
    ],
)
def test_bad_input_is_one_error(
    shelf: Path, letters: Path, use: Use, arguments: tuple[str, ...], told: str
) -> None:
    use(ScriptedModel({}))
    done = call("eval", *arguments, "--data", letters, "--project", shelf)
    assert done.exit_code == 2
    assert told in done.output
    assert "Traceback" not in done.output


def test_bad_data_is_one_error(shelf: Path, letters: Path, use: Use, tmp_path: Path) -> None:
    use(ScriptedModel({}))
    options = ("--project", shelf, "--data")
    assert "is no folder" in call("eval", "letters", *options, tmp_path / "none").output
    file = letters / "letters.jsonl"
    for text, told in (
        ('{"text": "a"}\n', "cannot be read: KeyError: 'gold'"),
        ("not json\n", "cannot be read: JSONDecodeError"),
        ("", "has no row to evaluate on"),
    ):
        file.write_text(text)
        done = call("eval", "letters", *options, letters)
        assert done.exit_code == 2
        assert told in done.output
    (shelf / "models/skills/letters/0.1.0/evaluation.py").unlink()
    assert "does not say how it is evaluated" in call("eval", "letters", *options, letters).output


class _Praising(BaseHTTPRequestHandler):
    """An endpoint to which every letter is praise, in 100 tokens read and 10 written."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        body = json.dumps({
            "model": "m",
            "choices": [{"message": {"content": '{"choice": "Praise"}'}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10},
        }).encode()  # fmt: skip
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing on stderr."""


@pytest.fixture
def endpoint(shelf: Path) -> Iterator[Path]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Praising)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    file = shelf / "models/endpoints/praising.yaml"
    file.parent.mkdir()
    file.write_text(f"name: praising\nbase_url: http://127.0.0.1:{server.server_port}/v1\n"
                    "model: m\n")  # fmt: skip
    yield file
    server.shutdown()
    thread.join()


def test_an_endpoint_is_a_cell_and_costs_what_it_declares(
    shelf: Path, letters: Path, use: Use, endpoint: Path
) -> None:
    use(ScriptedModel({}))
    options = ("--data", letters, "--project", shelf, "--endpoint", "praising", "--json",
               "--cells", "endpoint")  # fmt: skip
    [free] = json.loads(call("eval", "letters", *options).stdout)["cells"].values()
    assert free["accuracy"] == pytest.approx(2 / 3)
    assert free["tokens_per_item"] == 110
    assert "cost_per_thousand" not in free
    endpoint.write_text(
        endpoint.read_text() + "prices: {input_per_million: 2, output_per_million: 10}\n"
    )
    [paid] = json.loads(call("eval", "letters", *options).stdout)["cells"].values()
    assert paid["cost_per_thousand"] == pytest.approx(0.3)
    assert paid["currency"] == "USD"


def test_plots_are_png_and_without_matplotlib_one_error(
    shelf: Path, letters: Path, use: Use, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(sorter(lambda skill, number: number % 4 == 0))
    out = tmp_path / "out"
    options = ("--data", letters, "--project", shelf, "--out", out, "--cells", "adapter")
    if importlib.util.find_spec("matplotlib") is not None:
        assert call("eval", "letters", *options, "--png").exit_code == 0
        for name in ("risk_coverage.png", "reliability.png"):
            assert (out / name).read_bytes().startswith(b"\x89PNG")
        assert "data:image/png;base64," in (out / "report.html").read_text()
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "matplotlib" else found(name)
    )
    done = call("eval", "letters", *options, "--png")
    assert done.exit_code == 2
    assert "pip install 'seamline[eval]'" in done.output
    assert call("eval", "letters", *options).exit_code == 0
