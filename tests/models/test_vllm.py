"""The lint for vLLM: a folder that breaks each rule, and the shipped adapters that break none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from seamline.cli.main import app
from seamline.errors import SkillError
from seamline.models.bases import BaseSpec
from seamline.models.recipes import Recipe
from seamline.models.skills import Skill
from seamline.models.vllm import lint

ARGUMENTS = ["models", "lint", "clause_type@0.1.0", "--project"]


@pytest.fixture
def shelf(root: Path, tmp_path: Path) -> Path:
    """A project with one shipped skill, its tensors cut to their header."""
    project = tmp_path / "project"
    for name in ("agents", "policies", "tools", "traces"):
        (project / name).mkdir(parents=True)
    shutil.copytree(root / "models/bases", project / "models/bases")
    shipped = root / "models/skills/clause_type/0.1.0"
    folder = project / "models/skills/clause_type/0.1.0"
    folder.mkdir(parents=True)
    for name in ("skill.yaml", "adapter_config.json"):
        shutil.copy(shipped / name, folder / name)
    with (shipped / "adapter_model.safetensors").open("rb") as stream:
        size = stream.read(8)
        head = stream.read(int.from_bytes(size, "little"))
    (folder / "adapter_model.safetensors").write_bytes(size + head)
    return project


def folder_of(shelf: Path) -> Path:
    return shelf / "models/skills/clause_type/0.1.0"


def change(shelf: Path, **settings: Any) -> None:
    file = folder_of(shelf) / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


def rename(shelf: Path, old: str, new: str) -> None:
    file = folder_of(shelf) / "adapter_model.safetensors"
    head = file.read_bytes()[8:].replace(old.encode(), new.encode())
    file.write_bytes(len(head).to_bytes(8, "little") + head)


def errors(shelf: Path) -> list[tuple[str, str]]:
    done = CliRunner().invoke(app, [*ARGUMENTS, str(shelf), "--json"])
    told = json.loads(done.stdout)
    found = [one for one in told["findings"] if one["level"] == "error"]
    assert done.exit_code == (2 if found else 0)
    assert told["ok"] == (not found)
    assert all(one["fix"] for one in told["findings"])
    return [(one["rule"], one["message"]) for one in found]


@pytest.mark.parametrize("name", ["clause_type", "decide", "icd10_select"])
def test_the_shipped_adapters_are_for_vllm(root: Path, base_spec: BaseSpec, name: str) -> None:
    for folder in sorted((root / "models/skills" / name).glob("*/skill.yaml")):
        skill = Skill(folder.parent)
        if skill.spec.kind == "lora":
            found = lint(skill.path, skill.spec, base_spec)
            assert [one.level for one in found] == ["note"]
            assert base_spec.digest in found[0].message


@pytest.mark.parametrize(
    ("settings", "rule", "told"),
    [
        ({"peft_type": "LOHA"}, "lora", "peft_type is 'LOHA'"),
        ({"alora_invocation_tokens": [5, 6]}, "alora", "adapt the whole prompt, silently"),
        ({"use_dora": True}, "dora", "refuses DoRA"),
        ({"bias": "lora_only"}, "bias", "bias is 'lora_only'"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save", "names lm_head"),
        ({"r": 1024}, "rank", "the rank is 1024"),
        ({"r": None}, "rank", "the rank is None"),
        ({"alpha_pattern": {"q_proj": 4}}, "ignored", "does not read alpha_pattern"),
        ({"rank_pattern": {"q_proj": 4}}, "ignored", "does not read rank_pattern"),
        ({"layer_replication": [[0, 4], [2, 5]]}, "ignored", "layer_replication"),
        ({"base_model_name_or_path": "/home/me/base"}, "base", "names the base '/home/me/base'"),
    ],
)
def test_what_vllm_refuses_or_ignores_is_an_error(
    shelf: Path, settings: dict[str, Any], rule: str, told: str
) -> None:
    change(shelf, **settings)
    [(found, message)] = errors(shelf)
    assert found == rule
    assert told in message


def test_modules_that_vllm_leaves_as_they_are_are_named(shelf: Path) -> None:
    rename(shelf, "mlp.down_proj", "mlp.down_two")
    assert errors(shelf) == [("modules", "0.1.0 adapts down_two, which vLLM leaves as in the base")]


def test_tensors_that_are_no_lora_are_named(shelf: Path) -> None:
    rename(shelf, "layers.3.mlp.down_proj.lora_A.weight", "layers.3.mlp.down_proj.weight")
    [(rule, message)] = errors(shelf)
    assert rule == "tensors"
    assert "base_model.model.model.layers.3.mlp.down_proj.weight" in message


def test_a_base_of_other_weights_is_an_error(shelf: Path) -> None:
    file = folder_of(shelf) / "skill.yaml"
    digest = Skill(folder_of(shelf)).spec.base.digest
    file.write_text(file.read_text().replace(digest, "sha256:" + "1" * 64))
    [(rule, message)] = errors(shelf)
    assert rule == "base"
    assert "declares no base smollm2-135m-instruct with digest sha256:111" in message


def test_rslora_and_a_rank_above_the_default_are_served(shelf: Path) -> None:
    change(shelf, use_rslora=True, r=48)
    assert errors(shelf) == []
    done = CliRunner().invoke(app, [*ARGUMENTS, str(shelf)])
    assert "start vLLM with --max-lora-rank 64" in done.stdout
    assert "is for vLLM" in done.stdout


def test_every_error_is_told_at_once(shelf: Path) -> None:
    change(shelf, use_dora=True, bias="all", modules_to_save=["lm_head"])
    assert [rule for rule, _ in errors(shelf)] == ["dora", "bias", "modules_to_save"]


def test_a_folder_without_an_adapter_is_refused(shelf: Path) -> None:
    skill = Skill(folder_of(shelf))
    (skill.path / "adapter_model.safetensors").unlink()
    with pytest.raises(SkillError, match="holds no readable adapter"):
        lint(skill.path, skill.spec, None)


def test_the_fix_is_a_key_of_the_recipe(shelf: Path) -> None:
    change(shelf, peft_type="LOHA", alora_invocation_tokens=[5, 6], use_dora=True)
    done = CliRunner().invoke(app, [*ARGUMENTS, str(shelf), "--json"])
    fixes = {one["rule"]: one["fix"] for one in json.loads(done.stdout)["findings"]}
    assert "method" in Recipe.model_fields
    for rule in ("lora", "alora", "dora"):
        assert "method: lora" in fixes[rule]
