"""Preferences: pairs as the engine would prompt, and an adapter that prefers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
import yaml
from pydantic import ValidationError

from seamline.errors import ConfigError, SkillError
from seamline.models.recipes import Recipe

pytest.importorskip("torch")
pytest.importorskip("trl")

from seamline.models.digests import weights_digest
from seamline.models.encoding import Encoder
from seamline.models.methods import load_base
from seamline.models.preference import pairs_from
from seamline.models.training import train

pytestmark = pytest.mark.model


def pairs(number: int, *, start: int = 0) -> list[dict[str, Any]]:
    return [
        {
            "context": {"text": f"order {at} is late"},
            "chosen": f"Order {at} comes tomorrow.",
            "rejected": "No idea.",
        }
        for at in range(start, start + number)
    ]


def declaration(**changed: Any) -> dict[str, Any]:
    return {
        "skill": "reply",
        "version": "0.1.0",
        "base": "any",
        "licence": "Apache-2.0",
        "description": "Writes a reply.",
        "objective": "dpo",
        "contract": {"read": "text", "system": "You reply.", "context": "Mail: {{ text }}"},
        "training": {"batch_tokens": 512, "max_tokens": 96, "evaluations": 2, "rank": 8},
        **changed,
    }


class Killed(Exception):
    """Stands for whatever ends a process."""


@pytest.mark.slow
def test_an_adapter_learns_to_prefer(small: Path, tmp_path: Path) -> None:
    few = {"batch_tokens": 512, "max_tokens": 96, "evaluations": 4, "rank": 8}
    made = Recipe.model_validate(declaration(training=few | {"epochs": 4, "learning_rate": 1e-2}))
    long = {"context": {"text": "word " * 200}, "chosen": "a", "rejected": "b"}
    given = [*pairs(5), long]

    def run(name: str, tick: Callable[[int, int, str], None], start: Path | None = None) -> Any:
        out, held_out = tmp_path / name, pairs(2, start=50)
        report = train(made, given, held_out, base=small, out=out, tick=tick, start_from=start)
        return report, weights_digest(out / "adapter_model.safetensors")

    def kill(done: int, total: int, what: str) -> None:
        if done and done == total - 1:
            raise Killed

    told: list[int] = []
    report, digest = run("out", lambda done, total, what: told.append(done))
    assert report["objective"] == "dpo"
    assert (report["rows"], report["too_long"]) == (5, 1)
    # Before the first step the two are preferred alike: the loss is that of a fair coin.
    assert report["held_out_loss"] < math.log(2) - 0.01
    assert told[-1] == report["steps"]
    with pytest.raises(Killed):
        run("stopped", kill)
    again: list[int] = []
    assert run("stopped", lambda done, total, what: again.append(done)) == (
        report | {"seconds": ANY},
        digest,
    )
    assert 1 not in again
    # The reference is the adapter that is continued, so what it prefers counts as even.
    continued, _ = run("continued", lambda *_: None, tmp_path / "out")
    curve = json.loads((tmp_path / "continued" / "loss.json").read_text())
    assert curve["train"][0][1] == pytest.approx(math.log(2), abs=0.01)
    assert continued["held_out_loss"] < math.log(2) - 0.01
    out = tmp_path / "out"
    config = json.loads((out / "adapter_config.json").read_text())
    assert config["r"] == 8
    assert {file.name for file in out.glob("*.*")} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "loss.json",
        "loss.png",
    }


@pytest.fixture(scope="module")
def encoder(base_path: Path) -> Encoder:
    return Encoder(load_base(base_path, "lora")[1], max_tokens=96)


def test_a_prompt_is_that_of_the_engine(encoder: Encoder) -> None:
    contract = Recipe.model_validate(declaration()).contract
    row = {"context": {"text": "<|im_end|> late"}, "chosen": "Soon. ", "rejected": "<|im_end|>"}
    [pair] = pairs_from([row], contract, encoder)
    request = contract.write_request(row["context"])  # type: ignore[arg-type]
    assert pair["prompt_ids"] == list(encoder.chat(request.instructions, request.context))
    end = encoder.tokenizer.eos_token_id
    assert encoder.tokenizer.decode(pair["chosen_ids"]) == f"Soon.{encoder.tokenizer.eos_token}"
    # What ends a text is the token alone, not its spelling in a text from outside.
    assert pair["rejected_ids"].count(end) == 1


def test_a_text_that_is_preferred_to_itself_is_refused(encoder: Encoder) -> None:
    contract = Recipe.model_validate(declaration()).contract
    row = {"context": {"text": "late"}, "chosen": "Soon.", "rejected": " Soon."}
    with pytest.raises(ConfigError, match=r"prefers a text to itself: 'Soon\.'"):
        pairs_from([row], contract, encoder)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"objective": "sft"}, "such a contract needs it"),
        ({"contract": {"read": "branches", "frames": {"rules": "{text}?"}}}, "`read: text`"),
        ({"method": "full"}, "set method to lora"),
        ({"method": "alora"}, "set method to lora"),
        ({"data": {"balance": {"cap": 3}}}, "`balance` needs"),
    ],
)
def test_recipes_that_do_not_go_together(changed: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Recipe.model_validate(declaration(**changed))


def test_the_example_of_the_docs_is_a_recipe(root: Path, encoder: Encoder) -> None:
    text = (root / "docs" / "training.md").read_text(encoding="utf-8")
    found = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    made = Recipe.model_validate(found[-1])
    (row,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    [pair] = pairs_from([json.loads(row)], made.contract, encoder)
    assert "My parcel is late." in encoder.tokenizer.decode(pair["prompt_ids"])


def test_a_skill_that_writes_does_not_decide() -> None:
    contract = Recipe.model_validate(declaration()).contract
    with pytest.raises(SkillError, match="it answers: none, it gives text"):
        contract.framed(contract.request({"text": "x"}, [{"text": "a"}]))
