from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from seamline.errors import BaseNotPulledError, ModelError, SkillError
from seamline.models.bases import BaseSpec
from seamline.models.digests import weights_digest
from seamline.models.engine import LocalModel
from seamline.models.protocol import Choice, DecideRequest, WriteRequest
from seamline.models.skills import SkillStore

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def model(root: Path, base_spec: BaseSpec) -> Iterator[LocalModel]:
    found = LocalModel(base_spec, SkillStore(root / "models/skills"), dtype="float32")
    yield found
    found.close()


def rules(state: str, *conditions: str) -> DecideRequest:
    return DecideRequest(
        ask="rules",
        instructions="You plan the round, one step at a time.",
        context=f"State:\n{state}",
        choices=tuple(Choice(name=str(i), text=text) for i, text in enumerate(conditions)),
    )


CASES = [
    rules("- crate_scan: not run\n- lamps found: 3", "crate_scan has not been run"),
    rules("- crate_scan: done\n- lamps found: 3", "crate_scan has not been run", "There are lamps"),
    rules("- confidence: low", "The confidence is low", "The confidence is high"),
]


def test_questions_together_answer_as_each_alone(model: LocalModel) -> None:
    together = asyncio.run(model.decide(CASES, skill="decide"))
    for case, found in zip(CASES, together, strict=True):
        for index, choice in enumerate(case.choices):
            alone = case.model_copy(update={"choices": (choice,)})
            [one] = asyncio.run(model.decide([alone], skill="decide"))
            assert one.scores[0] == pytest.approx(found.scores[index], abs=2e-4)


def test_the_state_decides(model: LocalModel) -> None:
    fresh, done, level = asyncio.run(model.decide(CASES, skill="decide"))
    assert fresh.scores[0] > 0.5 > done.scores[0]
    assert level.scores[0] > 0.5 > level.scores[1]


def test_a_response_says_what_answered(model: LocalModel) -> None:
    [found] = asyncio.run(model.decide(CASES[:1], skill="decide"))
    lineage = found.lineage
    assert lineage["base_digest"] == model.identity()["base_digest"]
    assert lineage["adapter_digest"] == model.identity("decide")["adapter_digest"]
    assert set(lineage["libraries"]) == {"torch", "transformers", "peft", "tokenizers"}
    assert lineage["dtype"] == "float32"
    assert found.usage.input_tokens == len(found.token_ids) > 20
    assert found.usage.output_tokens == 0


def test_adapters_switch_and_switch_back(model: LocalModel) -> None:
    [before] = asyncio.run(model.decide(CASES[:1], skill="decide"))
    contract = model._skill("clause_type").spec.contract
    clause = contract.request({"text": "This Agreement is governed by the laws of Ohio."})
    [typed] = asyncio.run(model.decide([clause], skill="clause_type"))
    [after] = asyncio.run(model.decide(CASES[:1], skill="decide"))
    [bare] = asyncio.run(model.decide_bare(CASES[:1], model._skill("decide").spec.contract))
    best = max(range(len(typed.labels)), key=lambda i: typed.scores[i])
    assert typed.labels[best] == "Governing Law"
    assert typed.scores[best] > 0.9
    assert before.scores == after.scores != bare.scores


def test_writing_is_repeatable_and_counted(model: LocalModel) -> None:
    request = WriteRequest(context="Say hello.", max_tokens=6)
    first, second = (asyncio.run(model.write(request)) for _ in range(2))
    assert first.text == second.text
    assert 0 < first.usage.output_tokens <= 6


def test_the_bare_base_does_not_decide(model: LocalModel) -> None:
    with pytest.raises(ModelError, match="decides through a skill"):
        asyncio.run(model.decide(CASES))
    with pytest.raises(SkillError, match="did you mean decide"):
        asyncio.run(model.decide(CASES, skill="decides"))


def test_a_base_that_was_not_pulled_is_named_with_the_fix(
    root: Path, base_spec: BaseSpec, tmp_path: Path
) -> None:
    model = LocalModel(base_spec, SkillStore(root / "models/skills"), cache=tmp_path)
    with pytest.raises(BaseNotPulledError, match="seamline models pull smollm2-135m-instruct"):
        asyncio.run(model.decide(CASES, skill="decide"))


def test_an_adapter_that_matches_nothing_is_refused(
    root: Path, base_spec: BaseSpec, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "clause_type/0.1.0"
    shutil.copytree(root / "models/skills/clause_type/0.1.0", folder)
    file = folder / "adapter_model.safetensors"
    save_file({k: torch.zeros_like(v) for k, v in load_file(file).items()}, file)
    spec = yaml.safe_load((folder / "skill.yaml").read_text())
    spec["adapter"]["digest"] = weights_digest(file)
    (folder / "skill.yaml").write_text(yaml.safe_dump(spec))
    model = LocalModel(base_spec, SkillStore(tmp_path))
    with pytest.raises(SkillError, match="changes nothing"):
        model.load("clause_type@0.1.0")
