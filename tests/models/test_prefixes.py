"""aLoRA: prefixes read by the bare base, branches by the adapter."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from seamline.errors import ConfigError, SkillError
from seamline.models.bases import BaseSpec
from seamline.models.contracts import SkillContract
from seamline.models.encoding import Encoder, Row, collate, collate_branches
from seamline.models.engine import LocalModel
from seamline.models.packaging import package
from seamline.models.protocol import DecideRequest
from seamline.models.recipes import Recipe, Training
from seamline.models.skills import SkillStore

pytestmark = pytest.mark.model

CONTRACT = SkillContract(
    read="labels",
    system="You read documents.",
    context="{{ text }}",
    question="Is it about {{ topic }}?",
    labels={"Yes": "yes", "No": "no"},
)
TEXTS = (
    "Rents rise.",
    "Nobody may feed the pigeons on the roof, and the gardener waters the ferns twice a week.",
)
TOPICS = ("rents", "plants and birds")


def _request(text: str, topic: str) -> DecideRequest:
    return CONTRACT.request({"text": text, "topic": topic})


REQUESTS = [_request(text, topic) for text in TEXTS for topic in TOPICS]


@pytest.fixture(scope="module")
def skills(tmp_path_factory: pytest.TempPathFactory, base_spec: BaseSpec, base_path: Path) -> Path:
    """A store with one aLoRA, trained for some steps on four rows."""
    from seamline.models.training import train

    folder = tmp_path_factory.mktemp("skills") / "topic" / "0.1.0"
    folder.mkdir(parents=True)
    recipe = Recipe(
        skill="topic",
        version="0.1.0",
        base=base_spec.name,
        description="Says whether a text is about a topic.",
        licence="Apache-2.0",
        contract=CONTRACT,
        method="alora",
        training=Training(
            rank=8, alpha=16, learning_rate=3e-3, epochs=20, batch_tokens=256, evaluations=1
        ),
    )
    (folder / "recipe.yaml").write_text(
        json.dumps(recipe.model_dump(mode="json", exclude_defaults=True)), encoding="utf-8"
    )
    rows = [
        {
            "context": {"text": text, "topic": topic},
            "labels": ["Yes" if TEXTS.index(text) == TOPICS.index(topic) else "No"],
        }
        for text in TEXTS
        for topic in TOPICS
    ]
    work = folder.parent / "work"
    report = train(recipe, rows, base=base_path, out=work, tick=lambda *_: None)
    assert report["steps"] > 1
    package(folder, work, base_spec, work=work)
    return folder.parent.parent


@pytest.fixture(scope="module")
def model(skills: Path, base_spec: BaseSpec, root: Path) -> LocalModel:
    store = skills / "both"
    shutil.copytree(skills / "topic", store / "topic", dirs_exist_ok=True)
    shutil.copytree(root / "models/skills/decide", store / "decide", dirs_exist_ok=True)
    (store / "skills.lock").write_text('{"labels": {}}', encoding="utf-8")
    return LocalModel(base_spec, SkillStore(store), dtype="float32")


def test_scores_are_those_of_pefts_own_alora(
    model: LocalModel, skills: Path, base_path: Path
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found = asyncio.run(model.decide(REQUESTS, skill="topic@0.1.0"))
    base = AutoModelForCausalLM.from_pretrained(base_path, dtype=torch.float32)
    theirs = PeftModel.from_pretrained(base, str(skills / "topic" / "0.1.0"))
    assert "alora_invocation_tokens" in theirs.peft_config["default"].to_dict()
    encoder = Encoder(AutoTokenizer.from_pretrained(base_path))
    answers = [encoder.token(word) for word in CONTRACT.labels.values()]
    bare_too = []
    for request, response in zip(REQUESTS, found, strict=True):
        ids = torch.tensor([encoder.row(request, CONTRACT).ids])
        with torch.inference_mode():
            logits = theirs(input_ids=ids).logits[0, -1, answers]
            with theirs.disable_adapter():
                bare = theirs(input_ids=ids).logits[0, -1, answers]
        assert response.scores == pytest.approx(logits.softmax(dim=-1).tolist(), abs=1e-4)
        bare_too.append(response.scores == pytest.approx(bare.softmax(dim=-1).tolist(), abs=1e-4))
    assert not any(bare_too)


def test_it_learned_what_it_was_taught(model: LocalModel) -> None:
    found = asyncio.run(model.decide(REQUESTS, skill="topic@0.1.0"))
    said = [response.scores[0] > 0.5 for response in found]
    assert said == [text == topic for text in range(2) for topic in range(2)]


def test_lora_and_alora_skills_stand_side_by_side(model: LocalModel) -> None:
    from seamline.models.protocol import Choice

    asked = DecideRequest(
        ask="rules",
        instructions="You plan.",
        context="- lamps found: 3",
        choices=(Choice(name="0", text="There are lamps"),),
    )
    before = asyncio.run(model.decide(REQUESTS[:1], skill="topic@0.1.0"))
    asyncio.run(model.decide([asked], skill="decide@0.2.0"))
    after = asyncio.run(model.decide(REQUESTS[:1], skill="topic@0.1.0"))
    assert [one.scores for one in before] == [one.scores for one in after]


def test_kept_and_live_prefixes_are_what_one_pass_of_the_bare_base_gives(
    base_path: Path, tmp_path: Path
) -> None:
    import peft
    import torch

    from seamline.models.merged_lora import train_merged
    from seamline.models.methods import load_base
    from seamline.models.prefixes import LivePrefixes, PrefixStore

    causal, _ = load_base(base_path, "full")
    rows = [
        Row(prefix=prefix, branches=((7, 8, 9), (5,)))
        for prefix in ((1, 4, 9, 16), (1, 2), (1, 4, 9, 16))
    ]
    prefixes = [row.prefix for row in rows]
    store = PrefixStore(causal, prefixes, folder=tmp_path)
    again = PrefixStore(causal, prefixes, folder=tmp_path)
    whole = collate(rows, pad_id=0, dtype=torch.float32)
    behind = collate_branches(rows, pad_id=0, dtype=torch.float32)

    def states(batch: object, held: object) -> torch.Tensor:
        with torch.inference_mode():
            hidden: torch.Tensor = causal.model(
                input_ids=batch.input_ids,  # type: ignore[attr-defined]
                position_ids=batch.position_ids,  # type: ignore[attr-defined]
                attention_mask=batch.attention_mask,  # type: ignore[attr-defined]
                past_key_values=held,
                use_cache=held is not None,
            ).last_hidden_state
        reads = batch.reads  # type: ignore[attr-defined]
        return hidden[reads[:, 0], reads[:, 1]]

    expected = states(whole, None)
    for one in (store, again):
        assert torch.allclose(states(behind, one.rows([0, 1, 2], causal)), expected, atol=2e-3)

    config = peft.LoraConfig(target_modules="all-linear", init_lora_weights=False)
    adapted = peft.get_peft_model(causal, config)
    train_merged(adapted)

    kept = _values(store.rows([0, 1, 2], adapted))
    live = _values(LivePrefixes(prefixes).rows([0, 1, 2], adapted))
    assert torch.allclose(live, kept, atol=1e-4)
    assert not torch.allclose(states(whole, None), expected, atol=2e-3)
    assert all(p.requires_grad for n, p in adapted.named_parameters() if "lora_" in n)


def _values(cache: Any) -> Any:
    """Keys and values of a cache in one tensor."""
    import torch

    return torch.stack([torch.stack([layer.keys, layer.values]) for layer in cache.layers])


PREFIXES = [tuple(range(1, 3 + at)) for at in range(12)]


class Killed(Exception):
    """Stands for whatever ends a process."""


def test_a_filling_that_was_interrupted_goes_on(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from seamline.models import prefixes
    from seamline.models.methods import load_base

    monkeypatch.setattr(prefixes, "_AT_ONCE", 16)
    monkeypatch.setattr(prefixes, "_NOTED_EVERY", 2)
    causal, _ = load_base(small, "alora")
    whole = prefixes.PrefixStore(causal, PREFIXES, folder=tmp_path / "whole")

    def kill(done: int, total: int, what: str) -> None:
        if done == 10:
            raise Killed

    with pytest.raises(Killed):
        prefixes.PrefixStore(causal, PREFIXES, folder=tmp_path / "cut", tick=kill)
    note = json.loads((tmp_path / "cut" / "prefixes.json").read_text())
    assert 0 < note["done"] < 8
    read = list[tuple[int, ...]]()
    one_pass = prefixes.read_prefixes

    def reading(causal: Any, group: Any) -> Any:
        read.extend(group)
        return one_pass(causal, group)

    monkeypatch.setattr(prefixes, "read_prefixes", reading)
    again = prefixes.PrefixStore(causal, PREFIXES, folder=tmp_path / "cut")
    assert 0 < len(read) < len(PREFIXES)
    assert PREFIXES[0] not in read
    kept, found = (_values(one.rows(range(len(PREFIXES)), causal)) for one in (whole, again))
    assert torch.equal(kept, found)
    assert found[:, :, -1].count_nonzero() > 0
    read.clear()
    prefixes.PrefixStore(causal, PREFIXES, folder=tmp_path / "cut")
    assert read == []
    # A note without its file says nothing.
    (tmp_path / "cut" / "prefixes.bin").unlink()
    prefixes.PrefixStore(causal, PREFIXES, folder=tmp_path / "cut")
    assert sorted(read) == sorted(PREFIXES)


def test_a_disk_without_room_is_told_beforehand(
    base_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seamline.models.methods import load_base
    from seamline.models.prefixes import PrefixStore

    causal, _ = load_base(base_path, "alora")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: type(usage)(usage.total, usage.total - 9, 9)
    )
    with pytest.raises(ConfigError, match=r"prefix tokens take .* give --work a folder"):
        PrefixStore(causal, [(1, 2, 3)], folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_question_without_fixed_words_calls_no_adapter(base_path: Path) -> None:
    from transformers import AutoTokenizer

    encoder = Encoder(AutoTokenizer.from_pretrained(base_path))
    loose = CONTRACT.model_copy(update={"question": "{{ topic }}?"})
    assert encoder.invocation(CONTRACT)
    with pytest.raises(SkillError, match="begin `question`"):
        encoder.invocation(loose)


@pytest.mark.parametrize(("kind", "tokens"), [("lora", [1, 2]), ("alora", None)])
def test_a_kind_that_the_adapter_is_not_is_refused(
    skills: Path, tmp_path: Path, kind: str, tokens: list[int] | None
) -> None:
    copy = tmp_path / "topic" / "0.1.0"
    shutil.copytree(skills / "topic" / "0.1.0", copy)
    declared = copy / "skill.yaml"
    text = declared.read_text(encoding="utf-8")
    declared.write_text(text.replace("kind: alora", f"kind: {kind}"), encoding="utf-8")
    config = json.loads((copy / "adapter_config.json").read_text(encoding="utf-8"))
    config["alora_invocation_tokens"] = tokens
    (copy / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(SkillError, match="alora_invocation_tokens"):
        SkillStore(tmp_path).get("topic@0.1.0").check()
