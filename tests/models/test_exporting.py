"""Exports load elsewhere; a merged one answers as its adapter, or is not written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from seamline.cli.main import app
from seamline.errors import InputError, ModelError, SkillError
from seamline.models import exporting
from seamline.models.bases import BaseSpec
from seamline.models.exporting import card_requests, export_adapter, export_merged
from seamline.models.skills import Skill, SkillStore


@pytest.fixture
def store(root: Path) -> SkillStore:
    return SkillStore(root / "models/skills")


def tick(done: int, total: int, what: str) -> None:
    assert 0 <= done < total
    assert what


def test_a_peft_folder_carries_card_licence_and_attribution(
    store: SkillStore, base_spec: BaseSpec, tmp_path: Path
) -> None:
    skill, to = store.get("clause_type@0.1.0"), tmp_path / "deep" / "out"
    export_adapter(skill, base_spec, to)
    assert {file.name for file in to.iterdir()} == {
        "LICENSE",
        "NOTICE",
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "skill.yaml",
    }
    assert "Apache License" in (to / "LICENSE").read_text()
    notice = (to / "NOTICE").read_text()
    assert "CUAD v1, Contract Understanding Atticus Dataset (train) (CC BY 4.0)" in notice
    assert base_spec.homepage in notice
    assert base_spec.digest in notice
    assert list(to.parent.iterdir()) == [to]
    with pytest.raises(InputError, match="is there already"):
        export_adapter(skill, base_spec, to)


def test_a_skills_own_licence_is_carried(
    store: SkillStore, base_spec: BaseSpec, tmp_path: Path
) -> None:
    folder = tmp_path / "clause_type" / "0.1.0"
    shutil.copytree(store.get("clause_type@0.1.0").path, folder)
    (folder / "LICENSE").write_text("All mine.\n")
    export_adapter(Skill(folder), base_spec, tmp_path / "out")
    assert (tmp_path / "out" / "LICENSE").read_text() == "All mine.\n"


def test_a_changed_adapter_is_not_exported(
    store: SkillStore, base_spec: BaseSpec, tmp_path: Path
) -> None:
    folder = tmp_path / "clause_type" / "0.1.0"
    shutil.copytree(store.get("clause_type@0.1.0").path, folder)
    with (folder / "adapter_model.safetensors").open("r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"\x7f")
    with pytest.raises(SkillError, match=r"skill\.yaml pins"):
        export_adapter(Skill(folder), base_spec, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["clause_type", "decide", "icd10_select"])
def test_prompts_of_the_card_go_through_the_contract(store: SkillStore, name: str) -> None:
    skill = store.get(name)
    requests = card_requests(skill, 8)
    assert len({request.context for request in requests}) > 4
    assert all(len(one.choices) == 3 for one in requests) == (name != "clause_type")


def test_an_alora_has_no_merged_form(
    store: SkillStore, base_spec: BaseSpec, tmp_path: Path
) -> None:
    folder = tmp_path / "clause_type" / "0.1.0"
    shutil.copytree(store.get("clause_type@0.1.0").path, folder)
    spec = yaml.safe_load((folder / "skill.yaml").read_text())
    (folder / "skill.yaml").write_text(yaml.safe_dump(spec | {"kind": "alora"}))
    with pytest.raises(SkillError, match=r"is an aLoRA.*export it without --merged"):
        export_merged(
            Skill(folder), base_spec, SkillStore(tmp_path), tmp_path / "out", requests=[], tick=tick
        )


@pytest.mark.model
@pytest.mark.slow
def test_a_merged_model_answers_as_its_adapter(root: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    to = tmp_path / "merged"
    command = ["models", "export", "clause_type@0.1.0", "--to", str(to), "--merged"]
    options = ["--prompts", "3", "--project", str(root), "--json"]
    done = CliRunner().invoke(app, [*command, *options])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["prompts"], told["logits"]) == (3, 3 * 38)
    assert 0 < told["difference"] <= exporting.PARITY_BOUND
    names = {file.name for file in to.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "NOTICE", "LICENSE"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]
    assert "chat_template" in "".join(names) + (to / "tokenizer_config.json").read_text()
    load: Any = AutoModelForCausalLM.from_pretrained
    assert not any("lora" in name for name in load(to).state_dict())
    assert AutoTokenizer.from_pretrained(to).chat_template


@pytest.mark.model
@pytest.mark.slow
def test_a_merged_model_that_differs_is_not_left(
    store: SkillStore, base_spec: BaseSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    skill = store.get("clause_type@0.1.0")
    merge: Any = exporting._merge

    def damaged(skill: Skill, base: Path, folder: Path) -> None:
        from safetensors.torch import load_file, save_file

        merge(skill, base, folder)
        file = folder / "model.safetensors"
        tensors = load_file(file)
        tensors["model.layers.3.mlp.down_proj.weight"] *= 1.01
        save_file(tensors, file, metadata={"format": "pt"})

    monkeypatch.setattr(exporting, "_merge", damaged)
    with pytest.raises(ModelError, match=r"differs from its adapter.*nothing was left"):
        export_merged(
            skill, base_spec, store, tmp_path / "out",
            requests=card_requests(skill, 2), tick=tick,
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []
