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
    PROMPTED,
    EvalRow,
    Prediction,
    Shot,
    rows_digest,
)
from seamline.models.evaluation.examples import Examples
from seamline.models.evaluation.grid import CellRun, Grid, choose_cells, sample
from seamline.models.evaluation.report import cell_report, page, pairs, slice_table
from seamline.models.protocol import Choice, DecideRequest
from seamline.models.scripted import Answer, ScriptedModel
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


def soup(of: Grid, *texts: str) -> Grid:
    """The grid with these texts for rows, and training rows of which one is right for nothing."""
    rows = [EvalRow(id=text, context={"text": text}, gold=frozenset(), text=text) for text in texts]
    rain = Shot(text="rain today", context={"text": "rain today"}, right=())
    return replace(of, rows=rows, shots=[*of.shots, rain])


def test_few_shot_prompts_answer_the_nearest_rows_and_end_before_the_row_s_answer(
    shelf: Path, letters: Path
) -> None:
    model = ScriptedModel(lambda request, skill: {"Praise": 0.1, "Complaint": 0.9, "None": 0.0})
    of = soup(grid(shelf, "letters", model, letters), "cold soup", "cold rain", "nothing")
    found = run(of, "base_few_shot")
    asked = {call.request.context: call.request for call in model.calls if call.skill is None}
    soups, rain, plain = [
        next(text for text in asked if text.endswith(f"Letter: {row.text}")) for row in of.rows
    ]
    assert soups == (
        "Letter: the soup was lovely\nAnswer:\ngood\n\n"
        "Letter: the soup was cold\nAnswer:\nbad\n\n"
        "Letter: cold soup"
    )
    assert "Letter: rain today\nAnswer:\nnone\n\n" in rain
    assert plain == "Letter: nothing"
    request = asked[soups]
    assert isinstance(request, DecideRequest)
    assert (request.ask, request.question) == ("labels", "Answer:\n")
    assert {p.first for p in found.predictions} == {"Complaint"}


def test_few_shot_prompts_of_choices_show_a_right_one_and_a_wrong_one(
    shelf: Path, tmp_path: Path
) -> None:
    model = ScriptedModel(lambda request, skill: 0)
    plain = grid(shelf, "fruit", model, tmp_path)
    shots = [
        Shot(text=text, context={"text": text}, right=(right,))
        for text, right in (("red and round and small", "Cherry"), ("long and green", "Leek"))
    ]
    run(replace(plain, shots=shots), "base_few_shot")
    told = [call.request for call in model.calls if call.request.context == "Text: red and round"]
    asked = told[-1]
    assert isinstance(asked, DecideRequest)
    small = "Text: red and round and small\nIs it Cherry? Yes\nIs it Leek? No"
    assert 0 < asked.instructions.find("Text: long and green") < asked.instructions.find(small)
    assert [choice.text for choice in asked.choices] == ["Apple", "Cherry"]


def test_the_nearest_training_row_answers_without_a_model(shelf: Path, letters: Path) -> None:
    of = soup(grid(shelf, "letters", ScriptedModel({}), letters), "cold soup", "rain", "nothing")
    cold, rain, nothing = run(of, "nearest").predictions
    assert cold == Prediction("Complaint", 1.0, frozenset({"Complaint"}))
    assert rain == Prediction("None", 1.0, frozenset())
    assert nothing == Prediction("", 0.0, frozenset())
    both = [Shot(text="cold", context={"text": "cold"}, right=("Praise", "Complaint"))]
    own = replace(of, shots=both)
    assert run(own, "nearest").predictions[0].labels == {"Praise", "Complaint"}
    one = replace(own, evaluation=replace(of.evaluation, several=False))
    assert run(one, "nearest").predictions[0].labels == {"Praise"}
    with pytest.raises(ConfigError, match=r"has none for letters@.*; leave it out of --cells"):
        run(replace(of, shots=()), "nearest")


def test_the_nearest_training_row_answers_a_choice_by_its_text(shelf: Path, tmp_path: Path) -> None:
    of = grid(shelf, "fruit", ScriptedModel({}), tmp_path)
    shots = [
        Shot(text="red", context={"text": "red"}, right=("Cherry",)),
        Shot(text="yellow", context={"text": "yellow"}, right=("Cherry",)),
    ]
    cherry, banana, blue = run(replace(of, shots=shots), "nearest").predictions
    assert cherry == Prediction("cherry", 1.0, frozenset({"cherry"}))
    # Of "long and yellow" no choice is a cherry.
    assert banana == Prediction("", 1.0, frozenset())
    assert blue == Prediction("", 0.0, frozenset())


@pytest.mark.parametrize(
    ("right", "first", "labels", "share"),
    [
        ([("Praise",), ("Complaint",), ("Praise", "Complaint"), ("Complaint",)],
         "Complaint", {"Complaint"}, 3 / 4),
        ([("Praise",), (), ()], "None", set(), 2 / 3),
    ],
)  # fmt: skip
def test_the_majority_is_one_answer_for_all_rows(
    shelf: Path,
    letters: Path,
    right: list[tuple[str, ...]],
    first: str,
    labels: set[str],
    share: float,
) -> None:
    of = grid(shelf, "letters", ScriptedModel({}), letters)
    shots = [Shot(text="a", context={"text": "a"}, right=own) for own in right]
    [said] = set(run(replace(of, shots=shots), "majority").predictions)
    assert (said.first, set(said.labels)) == (first, labels)
    assert said.confidence == pytest.approx(share)


def training(none: int, some: int) -> list[Shot]:
    """Training rows of letters, each of a document and like no other one."""
    return [
        Shot(text=f"row{at} soup", context={"text": f"row {at}"}, group=f"document {at}",
             right=("Complaint",) if at < some else ())
        for at in range(none + some)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("none", "some", "drawn"), [(900, 100, (20, 20)), (900, 5, (35, 5)), (3, 4, (3, 4))]
)
def test_training_rows_are_drawn_from_both_kinds_and_stand_for_all(
    none: int, some: int, drawn: tuple[int, int]
) -> None:
    examples = Examples(training(none, some))
    found = examples.drawn(40)
    assert found == examples.drawn(40)
    kinds = Counter(bool(shot.right) for shot, _ in found)
    assert (kinds[False], kinds[True]) == drawn
    for kind, whole in ((False, none), (True, some)):
        stood_for = sum(weight for shot, weight in found if bool(shot.right) is kind)
        assert stood_for == pytest.approx(whole)


def test_a_training_row_is_no_example_of_itself_or_its_document() -> None:
    shots = training(0, 6)
    shots[1] = replace(shots[1], group=shots[0].group)
    shots[2] = replace(shots[2], text=shots[0].text)
    found = Examples(shots).near(shots[0].text, 4, of=shots[0])
    assert {shot.group for shot in found} == {f"document {at}" for at in (3, 4, 5)}
    assert Examples(shots).near(shots[0].text, 1) == [shots[0]]


def unsure(high: float) -> ScriptedModel:
    """A base to which all is a complaint: surely so (0.3) of row 0 to 9, a bit less of others."""

    def answer(request: object, skill: str | None) -> Answer:
        assert isinstance(request, DecideRequest)
        number = int(request.context.split()[-1])
        scores = {"Praise": 0.01, "Complaint": high if number < 10 else high / 3}
        return {**scores, "None": 0.0} if request.ask == "labels" else scores

    return ScriptedModel(answer)


@pytest.mark.parametrize("cell", ["base", "base_few_shot"])
def test_the_base_has_a_threshold_of_its_own_from_training_rows(
    shelf: Path, letters: Path, cell: str
) -> None:
    model = unsure(0.3)
    plain = grid(shelf, "letters", model, letters)
    strict = replace(plain.evaluation, threshold=0.9)
    rows = [
        EvalRow(id=str(at), context={"text": f"letter {at}"}, text="x",
                gold=frozenset({"Complaint"} if at < 10 else ()))
        for at in range(20)
    ]  # fmt: skip
    of = replace(plain, evaluation=strict, rows=rows, shots=training(20, 10))
    found = run(of, cell)
    assert found.threshold is not None
    assert 0.1 < found.threshold < 0.3
    assert found.fitted_on == 30
    assert all(p.right(row.gold) for row, p in zip(rows, found.predictions, strict=True))
    # Row 3 of the training rows is asked, and is not among its own examples.
    contexts = [call.request.context for call in model.calls]
    assert all(text.count("Letter: row 3\n") == 0 for text in contexts if text.endswith("row 3"))
    assert sum(text.endswith("row 3") for text in contexts) >= 1
    # The adapter keeps the threshold of its calibration.
    assert {p.labels for p in run(of, "adapter").predictions} == {frozenset()}


def test_a_rare_kind_counts_as_little_as_it_is(shelf: Path, letters: Path) -> None:
    """What is a good threshold for half and half would be wrong for most rows as they come."""

    def answer(request: object, skill: str | None) -> Answer:
        assert isinstance(request, DecideRequest)
        number = int(request.context.split()[-1])
        # Complaints (the first ten) score 0.5; of the others, a quarter 0.6.
        return {"Praise": 0.0, "Complaint": 0.5 if number < 10 else 0.6 if number % 4 == 0 else 0.1}

    of = replace(
        grid(shelf, "letters", ScriptedModel(answer), letters), shots=training(390, 10), rows=[]
    )
    found = run(of, "base").threshold
    assert found is not None
    assert found > 0.6


def test_without_training_rows_the_base_counts_from_one_half_on(
    shelf: Path, letters: Path, tmp_path: Path
) -> None:
    of = replace(grid(shelf, "letters", unsure(0.6), letters), shots=())
    found = run(of, "base")
    assert (found.threshold, found.fitted_on) == (0.5, 0)
    # Choices of training rows are not known.
    fruit = grid(shelf, "fruit", ScriptedModel(lambda request, skill: 0), tmp_path)
    assert run(fruit, "base").threshold == 0.5


def test_training_rows_that_were_asked_are_not_asked_again(
    shelf: Path, letters: Path, tmp_path: Path
) -> None:
    def of(model: ScriptedModel) -> Grid:
        plain = grid(shelf, "letters", model, letters)
        return replace(plain, shots=training(20, 20), keep=tmp_path / "kept")

    whole = unsure(0.3)
    told: list[str] = []
    first = asyncio.run(of(whole).run("base", lambda done, total, what: told.append(what)))
    assert "training rows of letters@0.1.0, base" in told
    asked = len(whole.calls)
    assert asked == 40 + 60 + 2  # And one each for loading.
    again = unsure(0.3)
    going_on = of(again)
    assert run(going_on, "base").threshold == first.threshold
    assert not again.calls
    going_on.forget()
    assert not list((tmp_path / "kept").iterdir())


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
    contract = of.contract
    without_a_model = ("nearest", "majority")
    assert choose_cells([], rows, own, contract, endpoint=False) == (
        *without_a_model, "base", "base_few_shot", "adapter",
    )  # fmt: skip
    chosen = choose_cells(["adapter", "base"], rows, own, contract, endpoint=True)
    assert chosen == ("base", "adapter")
    fewer = replace(own, cells=("adapter",))
    assert choose_cells([], rows, fewer, contract, endpoint=True) == ("adapter", "endpoint")
    prompted = replace(own, cells=PROMPTED)
    assert choose_cells([], rows, prompted, contract, endpoint=False)[:2] == without_a_model
    for cells, told in (
        (["adaptor"], "there is no cell 'adaptor'; use some of: retrieval, nearest"),
        (["endpoint"], "needs --endpoint NAME"),
        (["retrieval"], "has no retrieval scores here"),
    ):
        with pytest.raises(ConfigError, match=told):
            choose_cells(cells, rows, own, contract, endpoint=False)
    fruit = grid(shelf, "fruit", ScriptedModel({}), tmp_path)
    asked = (fruit.rows, fruit.evaluation, fruit.contract)
    assert choose_cells([], *asked, endpoint=False) == (
        "retrieval", "base", "adapter", "adapter_retrieval",
    )  # fmt: skip
    for cell in ("base_few_shot", "nearest"):
        with pytest.raises(ConfigError, match="has no training rows here"):
            choose_cells([cell], *asked, endpoint=False)
    taught = (fruit.rows, replace(fruit.evaluation, shots=own.shots), fruit.contract)
    assert "nearest" in choose_cells([], *taught, endpoint=False)
    with pytest.raises(ConfigError, match="'majority' needs a skill with a label set"):
        choose_cells(["majority"], *taught, endpoint=False)


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
        "measured_with": "",
        "date": "d", "command": "c", "adapter_digest": "a", "rows_digest": "r", "gate": None,
        "base_threshold": {"base": {"threshold": 0.25, "rows": 40}},
        "cells": cells, "pairs": pairs(of.rows, runs), "slices": slices,
    }  # fmt: skip
    html = page(report, {})
    assert "&lt;late&gt;" in html
    assert "<late>" not in html
    assert "src=" not in html
    assert "<td>0.667</td>" in html
    assert "base answers from a score of 0.250 on, chosen on 40 training rows" in html
    assert "<td>p &lt; 0.0001</td>" in html
