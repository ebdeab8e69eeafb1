"""The whole stage: what each step leaves, what is told, and what stays on disk."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seamline.errors import ConfigError
from seamline.loading import load_module
from seamline.models.contracts import SkillContract
from seamline.models.dataset.cleaning import PiiFilter, check_schema
from seamline.models.dataset.duplicates import resolve_contradictions
from seamline.models.dataset.report import Step
from seamline.models.dataset.rows import Record
from seamline.models.dataset.settings import DataSettings
from seamline.models.dataset.stage import Prepared, prepare
from seamline.models.evaluation.declared import EvalRow, Evaluation
from seamline.models.protocol import DecideRequest
from seamline.models.recipes import Recipe
from seamline.policies.pii import mask_pii

from .mails import declaration, distinct, find, no_tick, rows

Stage = Callable[..., Prepared]


def step(prepared: Prepared, name: str) -> Step:
    return next(one for one in prepared.report.steps if one.name == name)


def lines(prepared: Prepared, name: str) -> list[dict[str, Any]]:
    text = (prepared.folder / name).read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def own(at: int, **changed: Any) -> dict[str, Any]:
    return {"context": {"text": distinct(500 + at)}, "labels": ["other"], "id": f"x{at}"} | changed


def test_each_step_counts_what_it_drops(stage: Stage) -> None:
    bad = [
        own(1, context={"text": " \n"}),
        own(2, labels=[]),
        own(3, context={"text": "half \ud800 pair"}),
        own(4, context={"text": f"{distinct(504)}\u0000 "}),
        own(5, context={"text": f"{distinct(505)} write to me@example.org"}),
        own(6),
        own(7, context={"text": distinct(506).upper()}),
        own(8),
        own(9, context={"text": distinct(508)}, labels=["billing"]),
        own(10, context={"text": f"{distinct(506)} {distinct(510)[:4]}"}),
    ]
    prepared = stage(files={"mails.jsonl": rows(60) + bad})
    assert step(prepared, "schema").reasons == {
        "no text": 1,
        "no label, choice or text": 1,
        "half of a surrogate pair": 1,
    }
    assert step(prepared, "normalise").changed == 1
    assert step(prepared, "personal data").reasons == {"found email": 1}
    assert step(prepared, "exact duplicates").reasons == {"same text and answer": 1}
    assert step(prepared, "contradictions").reasons == {"same text, another answer": 2}
    assert step(prepared, "near-duplicates").reasons == {"similarity of 0.85 or more": 1}
    kept = lines(prepared, "train.jsonl") + lines(prepared, "held_out.jsonl")
    assert len(kept) == 63
    assert {row["id"] for row in kept} >= {"x4", "x5", "x6"}
    texts = {row["id"]: row["context"]["text"] for row in kept}
    assert texts["x4"] == distinct(504)
    assert texts["x5"] == f"{distinct(505)} write to [email]"
    steps = prepared.report.steps
    assert [a.after for a in steps[:-2]] == [b.before for b in steps[1:-1]]


def test_a_fifth_is_held_out_by_whole_groups(stage: Stage) -> None:
    prepared = stage(files={"mails.jsonl": rows(170)})
    train, held = lines(prepared, "train.jsonl"), lines(prepared, "held_out.jsonl")
    assert 0.15 <= len(held) / 170 <= 0.25
    assert not {row["group"] for row in train} & {row["group"] for row in held}
    assert list(prepared.train_rows()) == train
    assert prepared.report.train.labels["other"] == prepared.report.train.declined > 0


def test_rows_of_an_evaluation_file_are_not_trained_on(stage: Stage) -> None:
    tests = [
        {"id": "row-0", "text": "another text"},
        {"id": "t1", "text": f"ABOUT  {distinct(1)}"},
        {"id": "t2", "text": f"about {distinct(2)} !"},
        {"id": "t3", "text": f"{distinct(800)} call me@example.org"},
    ]
    leaked = own(20, context={"text": f"{distinct(800)} call you@example.org"})
    recipe = declaration(
        data={
            "evaluation": [
                {"file": "test.jsonl", "fields": {"context": {"text": "text"}, "id": "id"}}
            ]
        }
    )
    prepared = stage(recipe, files={"mails.jsonl": [*rows(60), leaked], "test.jsonl": tests})
    assert step(prepared, "leakage").reasons == {
        "same id in test.jsonl": 1,
        "same text in test.jsonl": 2,
        "near-duplicate in test.jsonl": 1,
    }
    kept = lines(prepared, "train.jsonl") + lines(prepared, "held_out.jsonl")
    assert not {row["id"] for row in kept} & {"row-0", "row-1", "row-2", "x20"}
    assert not [w for w in prepared.report.warnings if "leakage" in w]


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "holds no text"), ('{"title": "a"}', r"test.jsonl:1 has no column 'text'")],
)
def test_an_evaluation_file_that_compares_nothing_is_an_error(
    stage: Stage, content: str, message: str
) -> None:
    evaluation = {"file": "test.jsonl", "fields": {"context": {"text": "text"}}}
    with pytest.raises(ConfigError, match=message):
        stage(
            declaration(data={"evaluation": [evaluation]}),
            files={"mails.jsonl": rows(30), "test.jsonl": content},
        )


@pytest.mark.parametrize(
    ("changed", "found", "message"),
    [
        ({}, [own(1, labels=["bill"])], r"'bill' \(1 rows, first x1\); expected one of: billing"),
        ({}, [own(1, context={"body": "a"})], "row x1 lacks 'text', a variable"),
        ({}, [{"context": {"text": "a"}, "branches": []}], "has no 'labels'"),
        ({}, [own(1, context="a text")], "row x1 has a text as context; expected an object"),
        ({}, [], "hold no row"),
        ({}, [own(1, context={"text": ""})], r"step 'schema' left no row of 1 \(no text: 1\)"),
        ({}, [own(at) for at in range(8)], r"hold one class only \(other\)"),
        ({}, [own(at, group="g") for at in range(8)], "none can be held out"),
        (
            {},
            [own(at, labels=[("billing", "delivery")[at % 2]]) for at in range(30)],
            "can answer 'other', but no training row does",
        ),
        (
            {"data": {"contradictions": "error"}},
            [own(1), own(2, context={"text": distinct(501)}, labels=["billing"])],
            "2 rows have the text of another row and another answer: x1, x2",
        ),
        ({"sources": [{"title": "mails", "licence": "own"}]}, [], "no rows to train on"),
    ],
)
def test_rows_that_cannot_make_a_skill_are_one_error(
    stage: Stage, changed: dict[str, Any], found: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        stage(declaration(**changed), files={"mails.jsonl": found})


def test_unknown_labels_are_dropped_where_the_recipe_says_so(stage: Stage) -> None:
    prepared = stage(
        declaration(data={"unknown_labels": "drop", "hold_out": 0}),
        files={"mails.jsonl": [*rows(30), own(1, labels=["bill"])]},
    )
    assert step(prepared, "schema").reasons == {"unknown label": 1}
    assert prepared.report.split_by == "nothing held out"


def test_personal_data_can_drop_the_row_or_stay(stage: Stage) -> None:
    found = [*rows(30), own(1, context={"text": f"{distinct(1)} SSN 123-45-6789"})]
    for action, after in (("drop", 30), ("report", 31)):
        prepared = stage(declaration(data={"pii": action}), files={"mails.jsonl": found})
        assert step(prepared, "personal data").after == after
        assert step(prepared, "personal data").reasons["found ssn"] == 1


def test_the_same_inputs_are_prepared_once(stage: Stage) -> None:
    first = stage(files={"mails.jsonl": rows(40)})
    before = {f.name: f.stat().st_mtime_ns for f in first.folder.iterdir()}
    again = stage()
    assert (first.cached, again.cached) == (False, True)
    assert again.report == first.report
    assert {f.name: f.stat().st_mtime_ns for f in again.folder.iterdir()} == before
    other = stage(declaration(data={"hold_out": 0.3}))
    assert other.folder != first.folder
    assert stage(files={"mails.jsonl": rows(41)}).folder not in (first.folder, other.folder)


def test_a_damaged_folder_is_made_anew(stage: Stage) -> None:
    first = stage(files={"mails.jsonl": rows(40)})
    whole = (first.folder / "train.jsonl").read_bytes()
    (first.folder / "train.jsonl").write_bytes(whole[:-20])
    again = stage()
    assert not again.cached
    assert (again.folder / "train.jsonl").read_bytes() == whole


KILLED = """
import os, signal, sys
from pathlib import Path
from seamline.models.dataset import stage
from seamline.models.dataset.cleaning import PiiFilter
from seamline.models.recipes import Recipe
def killed(path, lines):
    path.write_bytes(b"half")
    os.kill(os.getpid(), signal.SIGKILL)
stage.replace_file = killed
stage.prepare(Recipe.model_validate_json(sys.argv[1]), data=Path(sys.argv[2]),
    into=Path(sys.argv[3]), pii=PiiFilter(lambda t: {}, str), build=None, evaluations={},
    show_texts=False, tick=lambda *_: None)
"""


def test_a_killed_run_leaves_nothing_that_is_taken_for_a_result(
    stage: Stage, tmp_path: Path
) -> None:
    into = tmp_path / "work"
    whole = stage(files={"mails.jsonl": rows(40)}).folder
    for file in whole.iterdir():
        file.unlink()
    whole.rmdir()
    arguments = [json.dumps(declaration()), str(tmp_path / "data"), str(into)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", KILLED, *arguments], env=environment, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert [p.name[:10] for p in into.iterdir() if p.is_dir()] == [".building-"]
    assert not stage().cached
    assert [p.name for p in into.iterdir() if p.is_dir()] == [whole.name]


def test_a_full_disk_is_one_error_and_leaves_nothing(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match=r"no space left .* nothing was left"):
        stage(files={"mails.jsonl": rows(40)})
    assert [p for p in (tmp_path / "work").iterdir() if p.is_dir()] == []


def test_the_page_names_rows_and_shows_texts_only_when_asked(stage: Stage) -> None:
    bad = own(1, id="<b>x</b>")
    bad["context"] = {"text": "<script>alert(1)</script> secret"}
    found = [*rows(40), bad, {**bad, "id": "twin"}]
    quiet = stage(files={"mails.jsonl": found})
    page = (quiet.folder / "report.html").read_text(encoding="utf-8")
    assert "secret" not in page + (quiet.folder / "report.json").read_text(encoding="utf-8")
    assert "twin" in page
    loud = stage(show_texts=True)
    page = (loud.folder / "report.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt; secret" in page
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert (loud.folder / "train.jsonl").read_bytes() == (quiet.folder / "train.jsonl").read_bytes()


def test_lengths_and_labels_add_up(stage: Stage) -> None:
    report = stage(files={"mails.jsonl": rows(50)}).report
    assert sum(report.lengths.counts) == report.train.rows + report.held_out.rows == 50
    assert report.lengths.edges[-1] > 11 >= report.lengths.edges[-3]
    assert sum(report.train.labels.values()) == report.train.rows
    assert sum(report.train.sources.values()) == report.train.rows


OWN = declaration(sources=[{"title": "mails", "licence": "own"}], data=None)
"""A recipe without a data section, whose rows are those of data.py."""


def test_without_a_data_section_only_what_can_never_be_right_is_dropped(stage: Stage) -> None:
    found = [
        *rows(30),
        own(1),
        own(2, context={"text": distinct(501)}),
        own(3, context={"text": f" {distinct(503)} write to me@example.org"}),
        own(4, split="valid"),
    ]
    bad = [
        own(5, context={"text": " "}),
        own(6, labels=[]),
        own(7),
        own(8, context={"text": distinct(507)}, labels=["billing"]),
    ]
    prepared = stage(OWN, build=lambda: [*found, *bad])
    kept = lines(prepared, "train.jsonl")
    assert sorted(kept, key=str) == sorted(found[:-1], key=str)
    assert lines(prepared, "held_out.jsonl") == [found[-1]]
    assert step(prepared, "schema").reasons == {"no text": 1, "no label, choice or text": 1}
    assert step(prepared, "contradictions").reasons == {"same text, another answer": 2}
    assert step(prepared, "exact duplicates").reasons == {"same text and answer (kept)": 1}
    assert step(prepared, "normalise").reasons == {"would be changed (kept)": 1}
    assert "found email" in step(prepared, "personal data").reasons
    assert {one.changed for one in prepared.report.steps} == {0}
    steps = prepared.report.steps
    assert [one.after for one in steps] == [36, 36, 36, 36, 34, 34, 34]
    assert len(kept) + 1 == steps[-1].after
    assert not prepared.report.applied


def test_a_group_in_both_parts_of_an_own_split_is_told(stage: Stage) -> None:
    apart = [row | {"split": "valid" if row["group"] == "g3" else "train"} for row in rows(60)]
    assert not [w for w in stage(OWN, build=lambda: apart).report.warnings if "both parts" in w]
    shared = [row | {"split": "valid" if at % 10 == 3 else "train"} for at, row in enumerate(apart)]
    (told,) = [w for w in stage(OWN, build=lambda: shared).report.warnings if "both parts" in w]
    assert re.match(r"6 groups stand in both parts, e\.g\. 'g\d+'", told)


def evaluation(file: str, read: Callable[[Path], list[EvalRow]]) -> Evaluation:
    return Evaluation(
        file=file,
        measure="right",
        several=False,
        bare=SkillContract.model_validate(BRANCHES),
        rows=read,
    )


def evaluated(at: int, text: str, **more: Any) -> EvalRow:
    return EvalRow(id=f"row-{at}", context={"text": text}, gold=frozenset(), text="", **more)


@pytest.mark.parametrize("data", [{}, None])
def test_no_row_of_an_evaluation_that_the_skill_declares_is_trained_on(
    stage: Stage, data: dict[str, Any] | None
) -> None:
    read: list[Path] = []

    def rows_of(folder: Path) -> list[EvalRow]:
        read.append(folder)
        asked = DecideRequest(ask="options", context=f"About {distinct(2)}", choices=())
        return [
            evaluated(0, f"ABOUT  {distinct(1)}"),
            # What a row brings whole is compared, and not its variables.
            evaluated(1, f"about {distinct(3)}", asked=asked),
            evaluated(2, f"about {distinct(4)} !"),
            evaluated(3, ""),
        ]

    main = evaluation("tests.jsonl", rows_of)
    declared = {"main": main, "prompted": replace(main, cells=("base",))}
    prepared = stage(OWN | {"data": data}, build=lambda: rows(60), evaluations=declared)
    assert step(prepared, "leakage").reasons == {
        "same text in tests.jsonl": 2,
        "near-duplicate in tests.jsonl": 1,
    }
    kept = lines(prepared, "train.jsonl") + lines(prepared, "held_out.jsonl")
    # Ids of an evaluation are places in its file: row-0 and row-3 stay.
    assert {f"row-{at}" for at in range(60)} - {row["id"] for row in kept} == {
        "row-1",
        "row-2",
        "row-4",
    }
    assert prepared.report.compared == ("tests.jsonl",)
    assert not [w for w in prepared.report.warnings if "leakage" in w]
    assert len(read) == 1


def test_an_evaluation_that_changes_makes_other_data(stage: Stage) -> None:
    def prepared(text: str) -> Prepared:
        main = evaluation("t.jsonl", lambda _: [evaluated(0, text)])
        return stage(files={"mails.jsonl": rows(40)}, evaluations={"main": main})

    first, same, other = map(prepared, ("one", "one", "another"))
    assert first.folder == same.folder != other.folder
    assert same.cached


def test_an_evaluation_that_cannot_be_read_is_told(stage: Stage) -> None:
    def missing(folder: Path) -> list[EvalRow]:
        return [evaluated(0, (folder / "a/tests.jsonl").read_text())]

    def broken(folder: Path) -> list[EvalRow]:
        raise KeyError("text")

    declared = {
        "main": evaluation("a/tests.jsonl", missing),
        "suite": evaluation("suite.yaml, a/tests.jsonl", lambda folder: missing(folder)),
        "broken": evaluation("broken.jsonl", broken),
        "empty": evaluation("empty.jsonl", lambda _: []),
    }
    report = stage(files={"mails.jsonl": rows(40)}, evaluations=declared).report
    begin = "leakage was not checked against "
    assert [w.removeprefix(begin) for w in report.warnings if w.startswith(begin)] == [
        "a/tests.jsonl: it is not in the folder given as --data",
        "suite.yaml, a/tests.jsonl: a/tests.jsonl is not in the folder given as --data",
        "broken.jsonl: KeyError: 'text'",
        "empty.jsonl: it holds no text",
    ]
    assert report.compared == ()
    (told,) = [w for w in stage().report.warnings if "leakage" in w]
    assert told.startswith("the skill has no evaluation.py and the recipe names no evaluation file")


def test_files_stand_beside_data_py(stage: Stage) -> None:
    known, corrected = rows(60)[:50], rows(60)[50:]
    prepared = stage(files={"mails.jsonl": corrected}, build=lambda: known)
    kept = [*lines(prepared, "train.jsonl"), *lines(prepared, "held_out.jsonl")]
    assert {row["id"] for row in kept} == {row["id"] for row in (*known, *corrected)}


def choices(**row: Any) -> dict[str, Any]:
    return {
        "context": {"text": distinct(1)},
        "branches": [{"title": "flu", "label": 1}, {"title": "cold", "label": 0}],
    } | row


BRANCHES = {
    "read": "branches",
    "context": "Text: {{ text }}",
    "choice": "{{ title }}",
    "frames": {"options": "{text}?"},
}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            choices(branches=[{"name": "flu", "label": 1}]),
            "lacks 'title', a variable of the .*choice",
        ),
        (choices(kind="rules"), "asks 'rules'; the contract has frames: options"),
        (choices(kind="options"), "has a kind, so it needs instructions"),
        (choices(branches=[{"title": "flu", "label": "yes"}]), "row 3 of data.py is no row"),
    ],
)
def test_a_row_of_data_py_that_makes_no_prompt_is_told(
    stage: Stage, row: dict[str, Any], message: str
) -> None:
    sources = [{"title": "mails", "licence": "own"}]
    recipe = declaration(contract=BRANCHES, sources=sources, data=None)
    good = [choices(), choices(context={"text": distinct(2)})]
    assert stage(recipe, build=lambda: good).report.train.labels == {"yes": 2, "no": 2}
    with pytest.raises(ConfigError, match=message):
        stage(recipe, build=lambda: [*good, row])


def test_outside_data_that_data_py_misses_is_one_error(stage: Stage, tmp_path: Path) -> None:
    def build() -> list[dict[str, Any]]:
        return [json.loads((tmp_path / "none.jsonl").read_text())]

    recipe = declaration(sources=[{"title": "mails", "licence": "own"}], data=None)
    with pytest.raises(ConfigError, match=r"data.py cannot read .*none.jsonl"):
        stage(recipe, build=build)


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize(
    "ref", ["clause_type/0.1.0", "decide/0.1.0", "decide/0.2.0", "icd10_select/0.1.0"]
)
def test_the_shipped_skills_train_on_the_rows_of_their_own_code(
    root: Path, data: Path, tmp_path: Path, ref: str
) -> None:
    """The order too: the shuffle of the seed over what is left of what `data.py` gives."""
    import random

    folder = root / "models" / "skills" / ref
    recipe = Recipe.load(folder)
    seed = recipe.training.seed
    built = list(load_module(folder / "data.py").build(data, seed=seed, scale=0.01))
    right = check_schema([Record("", "", row) for row in built], recipe.contract, DataSettings())
    left = resolve_contradictions(right.kept, "drop").kept
    expected = [one.row for one in left if one.row.get("split") != "valid"]
    random.Random(seed).shuffle(expected)
    prepared = prepare(
        recipe,
        data=data,
        into=tmp_path,
        pii=PiiFilter(find, mask_pii),
        build=lambda: built,
        evaluations={},
        show_texts=False,
        tick=no_tick,
    )
    assert list(map(json.dumps, prepared.train_rows())) == list(map(json.dumps, expected))


def pair(at: int, chosen: str, rejected: str) -> dict[str, Any]:
    return {"context": {"text": f"about {distinct(at)}"}, "chosen": chosen, "rejected": rejected}


def test_preferences_are_cleaned_and_parted(stage: Stage) -> None:
    found = [pair(at, f"good {distinct(at + 100)}", "bad") for at in range(30)]
    extra = [
        pair(0, "another good one", "bad"),
        pair(1, "bad", found[1]["chosen"]),
        pair(40, "same", " same"),
        pair(41, "", "worse"),
        pair(42, "write to ann@example.org", "no"),
    ]
    recipe = declaration(objective="dpo", contract={"read": "text", "context": "{{ text }}"})
    prepared = stage(recipe, files={"mails.jsonl": [*found, *extra]})
    steps = {step.name: step for step in prepared.report.steps}
    assert steps["schema"].reasons == {
        "prefers a text to itself": 1,
        "no label, choice or text": 1,
    }
    # Two better texts about one mail are no contradiction; a pair and its reverse are.
    assert steps["contradictions"].reasons == {"same text, another answer": 2}
    train, held_out = list(prepared.train_rows()), list(prepared.held_out_rows())
    assert len(train) + len(held_out) == 31
    texts = [{row["context"]["text"] for row in part} for part in (train, held_out)]
    assert not texts[0] & texts[1]
    assert any("[email]" in row["chosen"] for row in (*train, *held_out))
    with pytest.raises(ConfigError, match='the texts "chosen" and "rejected"'):
        stage(recipe, files={"mails.jsonl": [{"context": {"text": "a"}, "chosen": "b"}]})
