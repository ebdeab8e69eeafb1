"""What each cell asks and how its answers are read."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from seamline.errors import ConfigError
from seamline.evaluations import evaluations
from seamline.models.evaluation.declared import (
    EvalRow,
    Prediction,
    rows_digest,
)
from seamline.models.evaluation.grid import CellRun, Grid, choose_cells, sample
from seamline.models.evaluation.report import cell_report, page, pairs, slice_table
from seamline.models.protocol import Choice, DecideRequest
from seamline.models.scripted import ScriptedModel
from seamline.models.skills import SkillStore


def grid(shelf: Path, name: str, model: ScriptedModel, data: Path) -> Grid:
    skill = SkillStore(shelf / "models/skills").get(f"{name}@0.1.0")
    contract = skill.spec.contract
    evaluation = evaluations(skill)["main"]
    return Grid(
        evaluation=evaluation, skill=skill.ref, contract=contract, local=model,
        rows=evaluation.rows(data), shots=evaluation.shots(data) if evaluation.shots else (),
        endpoint=model,
    )  # fmt: skip


def run(of: Grid, cell: str) -> CellRun:
    return asyncio.run(of.run(cell, lambda done, total, what: None))


def test_retrieval_needs_no_model_and_a_row_without_candidates_is_wrong(
    shelf: Path, tmp_path: Path
) -> None:
    of = grid(shelf, "fruit", ScriptedModel({}), tmp_path)
    found = run(of, "retrieval")
    assert [p.first for p in found.predictions] == ["apple", "banana", ""]
    report = cell_report(of.evaluation, of.rows, found)
    assert report["accuracy"] == pytest.approx(1 / 3)
    assert report["further"] == {"held": pytest.approx(2 / 3)}
    assert report["tokens_per_item"] == 0
    assert "cost_per_thousand" not in report


def test_the_adapter_reads_choices_and_its_mean_with_retrieval(shelf: Path, tmp_path: Path) -> None:
    model = ScriptedModel(lambda request, skill: tuple(
        0.7 if choice.text == "Cherry" else 0.2 for choice in request.choices  # type: ignore[union-attr]
    ))  # fmt: skip
    of = grid(shelf, "fruit", model, tmp_path)
    alone = run(of, "adapter").predictions
    assert alone[0] == Prediction("cherry", 0.7, frozenset({"cherry"}))
    assert alone[1] == Prediction("banana", 0.2, frozenset())
    assert {call.skill for call in model.calls} == {"fruit@0.1.0"}
    assert {call.request.context for call in model.calls} == {
        "Text: red and round", "Text: long and yellow",
    }  # fmt: skip
    both = run(of, "adapter_retrieval").predictions
    assert both[0].first == "cherry"
    assert both[0].confidence == pytest.approx((0.7 + 0.6) / 2)
    assert both[1].confidence == pytest.approx((0.2 + 0.8) / 2)


def test_an_evaluation_says_what_skill_and_retrieval_mean_together(
    shelf: Path, tmp_path: Path
) -> None:
    def last(row: EvalRow, scores: Sequence[float]) -> Prediction:
        assert len(scores) == len(row.retrieved)
        return Prediction(row.names[-1], 1.0, frozenset())

    of = grid(shelf, "fruit", ScriptedModel(lambda request, skill: 0), tmp_path)
    own = replace(of, evaluation=replace(of.evaluation, with_retrieval=last))
    both = run(own, "adapter_retrieval").predictions
    assert [one.first for one in both if one.first] == [r.names[-1] for r in of.rows if r.names]
    assert run(own, "adapter").predictions != both


def test_the_adapter_is_asked_once_for_both_of_its_cells(shelf: Path, tmp_path: Path) -> None:
    model = ScriptedModel(lambda request, skill: 0)
    of = grid(shelf, "fruit", model, tmp_path)
    alone = run(of, "adapter")
    asked = len(model.calls)
    both = run(of, "adapter_retrieval")
    assert len(model.calls) == asked
    assert both.seconds == alone.seconds


class Stopped(Exception):
    """Stands for whatever ends a process."""


def test_a_grid_that_was_cut_short_goes_on(shelf: Path, tmp_path: Path) -> None:
    texts = [f"fruit {at}" for at in range(40)]

    def of(model: ScriptedModel, behaviour: str = "a") -> Grid:
        plain = grid(shelf, "fruit", model, tmp_path)
        first = replace(plain.rows[0], id="first")
        rows = [replace(first, id=text, context={"text": text}, text=text) for text in texts]
        return replace(plain, rows=rows, keep=tmp_path / "kept", behaviour=behaviour)

    def stop_at(most: int) -> ScriptedModel:
        def answer(request: object, skill: str | None) -> int:
            if len(model.calls) > most:
                raise Stopped
            assert isinstance(request, DecideRequest)
            return int(request.context[-1]) % len(request.choices)

        model = ScriptedModel(answer)
        return model

    whole = run(of(stop_at(1000), "another adapter"), "adapter")
    assert len({one.first for one in whole.predictions}) > 1
    with pytest.raises(Stopped):
        run(of(stop_at(20)), "adapter")
    [_, file] = sorted((tmp_path / "kept").iterdir(), key=lambda one: one.stat().st_size)[::-1]
    assert "fruit" not in file.read_text()
    with file.open("a") as out:
        out.write('{"seconds": 1, "answ')

    model = stop_at(1000)
    going_on = of(model)
    found = run(going_on, "adapter")
    assert len(model.calls) < 40
    assert found.predictions == whole.predictions
    assert found.input_tokens == whole.input_tokens
    going_on.forget()
    assert not file.exists()


def test_retrieval_has_a_threshold_of_its_own(shelf: Path, tmp_path: Path) -> None:
    of = grid(shelf, "fruit", ScriptedModel({}), tmp_path)
    strict = replace(of, retrieval_threshold=0.9)
    assert run(of, "retrieval").predictions[0].labels == {"apple"}
    assert {p.labels for p in run(strict, "retrieval").predictions} == {frozenset()}
    assert [p.first for p in run(strict, "retrieval").predictions] == ["apple", "banana", ""]


def test_a_row_that_brings_its_question_is_read_as_its_skill_says(
    shelf: Path, tmp_path: Path
) -> None:
    asked = DecideRequest(
        ask="rules", instructions="own", context="x", choices=(Choice(name="0", text="c"),)
    )
    row = EvalRow(id="1", context={}, gold=frozenset({"no"}), text="x", names=("yes", "no"),
                  asked=asked)  # fmt: skip
    model = ScriptedModel(lambda request, skill: (0.25,))
    of = grid(shelf, "fruit", model, tmp_path)
    bare = of.evaluation.bare.model_copy(update={"system": ""})
    own = replace(
        of.evaluation, bare=bare,
        read=lambda row, scores: Prediction(row.names[scores[0] < 0.5], 0.75, frozenset()),
    )  # fmt: skip
    of = replace(of, rows=[row], evaluation=own)
    for cell in ("adapter", "base"):
        assert run(of, cell).predictions == (Prediction("no", 0.75, frozenset()),)
        assert model.calls[-1].request == asked


def test_labels_are_asked_of_the_bare_base_by_their_real_names(shelf: Path, letters: Path) -> None:
    model = ScriptedModel(lambda request, skill: "Praise")
    found = run(grid(shelf, "letters", model, letters), "base")
    request = model.calls[-1].request
    assert isinstance(request, DecideRequest)
    assert request.ask == "options"
    assert [choice.name for choice in request.choices] == ["Praise", "Complaint"]
    assert model.calls[-1].skill is None
    assert {p.first for p in found.predictions} == {"Praise"}


def test_few_shot_prompts_hold_the_nearest_rows_and_the_question_last(
    shelf: Path, letters: Path
) -> None:
    model = ScriptedModel(lambda request, skill: "Praise")
    of = grid(shelf, "letters", model, letters)
    row = EvalRow(id="1", context={"text": "cold soup"}, gold=frozenset(), text="cold soup")
    far = EvalRow(id="2", context={"text": "nothing"}, gold=frozenset(), text="nothing")
    asyncio.run(
        Grid(
            evaluation=of.evaluation, skill=of.skill, contract=of.contract, local=model,
            rows=[row, far], shots=of.shots,
        ).run("base_few_shot", lambda *_: None)
    )  # fmt: skip
    plain, request = [call.request for call in model.calls[-2:]]
    assert isinstance(request, DecideRequest)
    assert isinstance(plain, DecideRequest)
    assert request.context == "Letter: cold soup"
    lovely, cold = request.instructions.find("lovely"), request.instructions.find("was cold")
    assert 0 < lovely < cold
    assert "Letter: the soup was cold\nA Complaint? Yes\nA Praise? No" in request.instructions
    assert plain.instructions == "Answer Yes or No."


def test_the_label_none_is_no_answer(shelf: Path, letters: Path) -> None:
    evaluation = grid(shelf, "letters", ScriptedModel({}), letters).evaluation
    names = ("Praise", "Complaint", "None")
    none = evaluation.predict(names, (0.1, 0.2, 0.7), none="None")
    assert none == Prediction("None", 0.7, frozenset())
    assert none.right(frozenset())
    assert not none.right(frozenset({"Praise"}))
    two = evaluation.predict(names, (0.6, 0.7, 0.1), none="None")
    assert two == Prediction("Complaint", 0.7, frozenset({"Praise", "Complaint"}))
    assert not two.right(frozenset())
    assert replace(evaluation, threshold=0.3).predict(
        names, (0.4, 0.1, 0.5), none="None"
    ) == Prediction("None", 0.5, frozenset({"Praise"}))
    low = replace(evaluation, threshold=0.3, as_told=True)
    assert low.predict(names, (0.4, 0.1, 0.5), none="None") == Prediction(
        "Praise", 0.4, frozenset({"Praise"})
    )
    assert low.predict(names, (0.2, 0.1, 0.1), none="None") == Prediction("None", 0.1, frozenset())
    assert evaluation.predict(names, (0.0, 0.0, 0.0)).first == ""


def test_cells_are_those_that_the_rows_allow(shelf: Path, letters: Path, tmp_path: Path) -> None:
    of = grid(shelf, "letters", ScriptedModel({}), letters)
    rows, own = of.rows, of.evaluation
    assert choose_cells([], rows, own, endpoint=False) == ("base", "base_few_shot", "adapter")
    assert choose_cells(["adapter", "base"], rows, own, endpoint=True) == ("base", "adapter")
    fewer = replace(own, cells=("adapter",))
    assert choose_cells([], rows, fewer, endpoint=True) == ("adapter", "endpoint")
    for cells, told in (
        (["adaptor"], "there is no cell 'adaptor'; use some of: retrieval, base"),
        (["endpoint"], "needs --endpoint NAME"),
        (["retrieval"], "has no retrieval scores here"),
    ):
        with pytest.raises(ConfigError, match=told):
            choose_cells(cells, rows, own, endpoint=False)
    fruit = grid(shelf, "fruit", ScriptedModel({}), tmp_path)
    assert "base_few_shot" not in choose_cells([], fruit.rows, fruit.evaluation, endpoint=False)
    with pytest.raises(ConfigError, match="has no training rows here"):
        choose_cells(["base_few_shot"], fruit.rows, fruit.evaluation, endpoint=False)


def test_a_sample_is_seeded_and_digests_tell_rows_apart(shelf: Path, letters: Path) -> None:
    rows = grid(shelf, "letters", ScriptedModel({}), letters).rows
    assert sample(rows, 10) == sample(rows, 10) != list(rows[:10])
    assert sample(rows, None) == list(rows)
    assert rows_digest(sample(rows, 10)) == rows_digest(sample(rows, 10)) != rows_digest(rows)
    other = [replace(rows[0], names=("a",)), *rows[1:]]
    assert rows_digest(other) != rows_digest(rows)


def test_rows_of_one_group_are_drawn_together(shelf: Path, letters: Path) -> None:
    rows = grid(shelf, "letters", ScriptedModel({}), letters).rows
    grouped = [replace(row, group=str(i // 3)) for i, row in enumerate(rows[:12])]
    drawn = sample([*grouped, *rows[12:20]], 6)
    assert len({row.unit for row in drawn}) == 6
    sizes = Counter(row.group for row in drawn if row.group)
    assert sizes
    assert set(sizes.values()) == {3}


def test_pairs_slices_and_the_page(shelf: Path, letters: Path) -> None:
    of = grid(shelf, "letters", ScriptedModel({}), letters)
    right = tuple(Prediction(next(iter(row.gold)), 0.9, row.gold) for row in of.rows)
    praise = (Prediction("Praise", 0.9, frozenset({"Praise"})),) * 60
    runs = {"base": CellRun(predictions=praise), "adapter": CellRun(predictions=right)}
    told = pairs(of.rows, runs)["adapter - base"]
    assert told["mean"] == pytest.approx(1 / 3)
    assert 0 < told["low"] < told["mean"] < told["high"]
    assert told["p"] == pytest.approx(2 / 2**20)
    slices = slice_table(of.rows, runs)
    assert [one["slice"] for one in slices] == ["<late>", "early", "middle"]
    assert slices[0]["accuracy"] == {"base": 0.0, "adapter": 1.0}
    cells = {name: cell_report(of.evaluation, of.rows, cell) for name, cell in runs.items()}
    assert cells["base"]["calibration_error"] == pytest.approx(0.9 - 2 / 3)
    report = {
        "skill": "letters@0.1.0", "measure": "m", "rows": 60, "file": "f", "sampled": True,
        "date": "d", "command": "c", "adapter_digest": "a", "rows_digest": "r", "gate": None,
        "cells": cells, "pairs": pairs(of.rows, runs), "slices": slices,
    }  # fmt: skip
    html = page(report, {})
    assert "&lt;late&gt;" in html
    assert "<late>" not in html
    assert "src=" not in html
    assert "<td>0.667</td>" in html
