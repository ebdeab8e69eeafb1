"""The training data of `decide`: it follows policies, so it may know no domain."""

from __future__ import annotations

import json
import random
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from seamline.loading import load_module


@pytest.fixture(scope="module")
def generator(root: Path) -> ModuleType:
    return load_module(root / "models/skills/decide/0.1.0/data.py")


def test_wording_of_a_domain_is_found_in_any_case_and_name(generator: ModuleType) -> None:
    assert generator.domain_words_in("The Patient signed; getHealthInfo") == ["patient", "health"]
    assert generator.domain_words_in("icd10_search and sub-clauses") == ["icd", "clause"]
    assert generator.domain_words_in("a placard, a lane and the code of a lock") == []


def test_the_rows_of_the_first_stage_know_no_domain_and_balance(generator: ModuleType) -> None:
    rows = list(generator.first_stage(3, 0.2))
    labels = [branch["label"] for row in rows for branch in row["branches"]]
    assert len(labels) > 2000
    assert 0.45 < sum(labels) / len(labels) < 0.55
    assert not [word for row in rows for word in generator.domain_words_in(generator.row_text(row))]


def test_a_condition_cannot_be_answered_without_the_state(root: Path) -> None:
    """The same wording is right in one state and wrong in another."""
    basics = load_module(root / "models/skills/decide/0.1.0/basics.py")
    seen: dict[str, list[int]] = {}
    for row in islice(basics.rows(random.Random(5), joined=0.0), 3000):
        for branch in row["branches"]:
            seen.setdefault(branch["text"].lower(), []).append(branch["label"])
    often = [labels for labels in seen.values() if len(labels) >= 12]
    assert len(often) > 100
    assert sum(len(set(labels)) == 2 for labels in often) / len(often) > 0.95


@pytest.fixture(scope="module")
def written(root: Path) -> ModuleType:
    return load_module(root / "models/skills/decide/0.3.0/data.py")


@pytest.fixture(scope="module")
def worlds(root: Path) -> list[dict[str, Any]]:
    """Those of every version."""
    files = sorted((root / "models/skills/decide").glob("*/worlds/*.yaml"))
    # The parser in C: the one that data.py uses takes ten seconds.
    return [
        world
        for file in files
        for world in yaml.load(file.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    ]


def test_written_worlds_are_whole_and_know_no_domain(
    written: ModuleType, worlds: list[dict[str, Any]]
) -> None:
    rows = [row for world in worlds for row in written.rows_of(world, random.Random(1))]
    assert len(worlds) > 2200
    labels = [b["label"] for row in rows if row["kind"] == "rules" for b in row["branches"]]
    assert 0.4 < sum(labels) / len(labels) < 0.55
    barred = [row for row in rows if written.domain_words_in(written.row_text(row))]
    # `build` drops these; the writers were told to avoid such words.
    assert len(barred) < 0.03 * len(rows)
    for world in worlds:
        states = len(world.get("states", ()))
        assert all(len(letters) == states for _, letters in world.get("ask", ()))
        names = {name for name, _ in world.get("options", ())}
        assert all(right in names | {"none"} for _, right in world.get("requests", ()))


def test_written_worlds_hold_no_state_or_policy_of_the_suite(
    worlds: list[dict[str, Any]], root: Path
) -> None:
    def plain(text: str) -> str:
        return " ".join(text.lower().split())

    suite: set[str] = set()
    for name in ("general", "pairs"):
        for case in yaml.safe_load((root / f"models/skills/decide/suite/{name}.yaml").read_text()):
            suite |= {plain(case["context"]), plain(case["instructions"])}
    seen: set[str] = set()
    for world in worlds:
        seen.add(plain(world["instructions"]))
        seen |= {plain(state) for state in world.get("states", ())}
        seen |= {plain(f"request: {text}") for text, _ in world.get("requests", ())}
    assert len(suite) > 200
    assert suite & seen == set()


def test_most_conditions_of_a_world_hold_in_one_state_and_not_in_another(
    worlds: list[dict[str, Any]],
) -> None:
    asked = [letters for world in worlds for _, letters in world.get("ask", ())]
    assert sum(len(set(letters)) == 2 for letters in asked) / len(asked) > 0.9


@pytest.mark.data
@pytest.mark.slow
def test_all_rows_know_no_domain_and_repeat_for_a_seed(data: Path, generator: ModuleType) -> None:
    rows = list(generator.build(data, seed=4, scale=0.05))
    again = list(generator.build(data, seed=4, scale=0.05))
    assert json.dumps(rows) == json.dumps(again)
    assert {row["stage"] for row in rows} == {1, 2}
    assert not [word for row in rows for word in generator.domain_words_in(generator.row_text(row))]
