"""From a trained adapter to a skill that loads: `skill.yaml` and a portable PEFT folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from seamline.models.bases import BaseSpec
from seamline.models.digests import weights_digest
from seamline.models.recipes import Recipe
from seamline.models.skills import AdapterSpec, BaseRef, Skill, SkillSpec

__all__ = ["package", "write_spec"]

_HEADER = "# Written by packaging from recipe.yaml, the adapter and its evaluation; edit those.\n"


def package(
    folder: Path,
    adapter: Path,
    base: BaseSpec,
    *,
    evaluation: Mapping[str, Any] | None = None,
) -> Skill:
    """The skill in `folder`, made of its recipe and the PEFT folder `adapter`.

    Without `evaluation`, the numbers that an earlier `skill.yaml` holds are kept only if they
    are of this very adapter.

    Raises:
        SkillError: The recipe is wrong, or the packaged skill does not check.
    """
    recipe = Recipe.load(folder)
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    # PEFT writes the path of the training machine here.
    config["base_model_name_or_path"] = base.name
    weights = folder / "adapter_model.safetensors"
    if adapter.resolve() != folder.resolve():
        shutil.copyfile(adapter / weights.name, weights)
    (folder / "adapter_config.json").write_text(
        json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8"
    )
    digest = weights_digest(weights)
    spec = SkillSpec(
        name=recipe.skill,
        version=recipe.version,
        kind=recipe.kind,
        description=recipe.description,
        licence=recipe.licence,
        base=BaseRef(
            name=base.name,
            digest=base.digest,
            tokenizer_digest=base.tokenizer_digest,
            chat_template_digest=base.chat_template_digest,
        ),
        adapter=AdapterSpec(digest=digest, rank=config["r"]),
        contract=recipe.contract,
        max_tokens=recipe.max_tokens,
        calibration=recipe.calibration,
        confidence=recipe.confidence,
        evaluated_with=recipe.evaluated_with,
        evaluation=evaluation if evaluation is not None else _earlier(folder, digest),
    )
    write_spec(folder, spec)
    skill = Skill(folder)
    skill.check()
    return skill


def write_spec(folder: Path, spec: SkillSpec) -> None:
    """Write `skill.yaml`; an earlier one is replaced whole."""
    text = yaml.safe_dump(
        spec.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=96
    )
    part = folder / "skill.yaml.part"
    part.write_text(_HEADER + text, encoding="utf-8")
    part.replace(folder / "skill.yaml")


def _earlier(folder: Path, digest: str) -> Mapping[str, Any]:
    if not (folder / "skill.yaml").exists():
        return {}
    before = Skill(folder).spec
    return before.evaluation if before.adapter.digest == digest else {}
