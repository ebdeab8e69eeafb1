"""A small project with one skill of each kind, its rows made up, and a scripted model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from seamline.models.protocol import DecideRequest, WriteRequest
from seamline.models.scripted import Answer, ScriptedModel

DIGEST = "sha256:" + "0" * 64

LABELS = {
    "read": "labels",
    "system": "You sort letters.",
    "context": "Letter: {{ text }}",
    "labels": {"Praise": "good", "Complaint": "bad", "None": "none"},
    "none_label": "None",
}
LABELS_EVALUATION = """
import json
from seamline.models.contracts import SkillContract
from seamline.models.evaluation.declared import Evaluation, EvalRow, Shot

BARE = SkillContract(read="branches", system="Answer Yes or No.", frames={"options": "A {text}?"})

def evaluation(contract):
    def rows(data):
        lines = (data / "letters.jsonl").read_text().splitlines()
        return [
            EvalRow(id=str(i), context={"text": row["text"]}, gold=frozenset(row["gold"]),
                    text=row["text"], slices=(row["slice"],))
            for i, row in enumerate(map(json.loads, lines))
        ]
    def shots(data):
        return [
            Shot(text="the soup was cold", context={"text": "the soup was cold"},
                 right=("Complaint",)),
            Shot(text="the soup was lovely", context={"text": "the soup was lovely"},
                 right=("Praise",)),
        ]
    return Evaluation(file="letters.jsonl", measure="first kind right", several=True,
                      threshold=0.5, bare=BARE, rows=rows, shots=shots)
"""
BRANCHES = {
    "read": "branches",
    "system": "You name fruit.",
    "context": "Text: {{ text }}",
    "choice": "{{ title }}",
    "frames": {"options": "{text}?"},
}
BRANCHES_EVALUATION = """
from seamline.models.contracts import SkillContract
from seamline.models.evaluation.declared import Evaluation, EvalRow

BARE = SkillContract(read="branches", system="Yes or No.", frames={"options": "Is it {text}?"})
FOUND = {"red and round": ("apple", "cherry"), "long and yellow": ("banana",), "blue": ()}
GOLD = {"red and round": "cherry", "long and yellow": "banana", "blue": "plum"}

def evaluation(contract):
    rows = [
        EvalRow(id=text, context={"text": text}, gold=frozenset({GOLD[text]}), text=text,
                choices=tuple({"title": name.title()} for name in names), names=names,
                retrieved=tuple(0.8 - 0.2 * i for i, _ in enumerate(names)), slices=("fruit",))
        for text, names in FOUND.items()
    ]
    return Evaluation(file="fruit.jsonl", measure="fruit first", several=False, threshold=0.5,
                      bare=BARE, rows=lambda data: rows,
                      further=lambda rows, said: {
                          "held": sum(bool(row.gold & set(row.names)) for row in rows) / len(rows)
                      })
"""


def write_skill(root: Path, name: str, version: str, contract: dict[str, Any], code: str) -> None:
    """A version's folder: declaration and evaluation, and no weights."""
    folder = root / "models" / "skills" / name / version
    folder.mkdir(parents=True)
    base = {"name": "tiny", "digest": DIGEST, "tokenizer_digest": DIGEST}
    spec = {
        "name": name,
        "version": version,
        "description": "For tests.",
        "licence": "Apache-2.0",
        "base": {**base, "chat_template_digest": DIGEST},
        # Another version has other weights.
        "adapter": {"digest": f"sha256:{version.replace('.', '') * 21}0", "rank": 1},
        "contract": contract,
    }
    (folder / "skill.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    (folder / "evaluation.py").write_text(code)


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """The project: `letters` in two versions, the first one released, and `fruit`."""
    root = tmp_path / "project"
    for name in ("agents", "policies", "tools", "traces"):
        (root / name).mkdir(parents=True)
    write_skill(root, "letters", "0.1.0", LABELS, LABELS_EVALUATION)
    write_skill(root, "letters", "0.2.0", LABELS, LABELS_EVALUATION)
    write_skill(root, "fruit", "0.1.0", BRANCHES, BRANCHES_EVALUATION)
    lock = {"labels": {"letters": {"production": "0.1.0"}}}
    (root / "models/skills/skills.lock").write_text(json.dumps(lock))
    (root / "models/bases").mkdir()
    return root


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    """A data folder of 60 letters: three in four praise, and one slice of 20 is of complaints."""
    data = tmp_path / "data"
    data.mkdir()
    rows = [
        {"text": f"letter {i}", "gold": ["Praise"] if i < 40 else ["Complaint"],
         "slice": "early" if i < 20 else "middle" if i < 40 else "<late>"}
        for i in range(60)
    ]  # fmt: skip
    (data / "letters.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return data


TRAINING = {"lovely": 1, "cold": 59}
"""The last words of the training rows, and the letter that each of them is like."""


def sorter(wrong: Callable[[str | None, int], bool]) -> ScriptedModel:
    """A model that sorts the letters rightly but where `wrong(skill, number)` says."""

    def answer(request: DecideRequest | WriteRequest, skill: str | None) -> Answer:
        assert isinstance(request, DecideRequest)
        word = request.context.split()[-1]
        number = TRAINING.get(word) or int(word)
        right = (number < 40) != wrong(skill, number)
        sure = 0.6 + number / 200
        scores = {"Praise": sure if right else 1 - sure, "Complaint": 1 - sure if right else sure}
        return {**scores, "None": 0.0} if request.ask == "labels" else scores

    return ScriptedModel(answer)
