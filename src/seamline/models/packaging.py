"""From a trained adapter to a skill that loads: `skill.yaml`, a portable PEFT folder, a card."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from seamline.models.bases import BaseSpec, FolderSource
from seamline.models.cards import is_packaged, render_card
from seamline.models.digests import tokenizer_digest, weights_digest
from seamline.models.evaluation.cards import numbers_of, records_of, summaries
from seamline.models.evaluation.records import Record
from seamline.models.making import WEIGHTS, Made
from seamline.models.recipes import Recipe
from seamline.models.skills import AdapterSpec, BaseRef, Calibration, Skill, SkillSpec, write_spec
from seamline.writing import replace_file

__all__ = ["Packaged", "declare_base", "package", "write_skill"]

_CARD = "README.md"


@dataclass(frozen=True)
class Packaged:
    """A packaged skill.

    Attributes:
        skill: What was made.
        warnings: What the card lacks, and why.
    """

    skill: Skill
    warnings: tuple[str, ...]


def package(
    folder: Path, adapter: Path, base: BaseSpec, *, work: Path, evaluated_next: bool = False
) -> Packaged:
    """The skill in `folder`, made of its recipe and the PEFT folder `adapter`.

    What an earlier `skill.yaml` holds of evaluation and calibration is kept only where it is of
    this very adapter and nothing newer is there. A card that was written by hand is left alone.

    Args:
        folder: The skill's version; its recipe is there.
        adapter: The PEFT folder, which may be `folder` itself.
        base: The base that the recipe names.
        work: Where training and calibration reported.
        evaluated_next: Whether its evaluation follows, so that it is not told to be lacking.

    Raises:
        SkillError: The recipe or a report is wrong, or the packaged skill does not check.
    """
    recipe = Recipe.load(folder)
    digest = weights_digest(adapter / WEIGHTS)
    made = Made.read(digest, work, folder)
    before = _earlier(folder, digest)
    calibration = recipe.calibration.fixed
    if calibration is None and made.calibration is not None:
        calibration = made.calibration.calibration
    if calibration is None:
        calibration = before.calibration if before else Calibration()
    skill = write_skill(
        folder, recipe, adapter, base, calibration, before.evaluation if before else {}
    )
    made.write(folder)
    records = records_of(skill)
    if records:
        skill = write_skill(folder, recipe, adapter, base, calibration, summaries(records))
    lacks = _card(skill, recipe, base, made, records, evaluated=bool(records) or evaluated_next)
    return Packaged(skill, tuple(lacks))


def write_skill(
    folder: Path,
    recipe: Recipe,
    adapter: Path,
    base: BaseSpec,
    calibration: Calibration,
    evaluation: Mapping[str, Any],
) -> Skill:
    """A PEFT folder and its `skill.yaml`, checked.

    Raises:
        SkillError: The skill does not check.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    # PEFT writes the path of the training machine here.
    config["base_model_name_or_path"] = base.name
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
        adapter=AdapterSpec(digest=weights_digest(adapter / WEIGHTS), rank=config["r"]),
        contract=recipe.contract,
        max_tokens=recipe.max_tokens,
        calibration=calibration,
        confidence=recipe.confidence,
        evaluated_with=recipe.evaluated_with,
        evaluation=evaluation,
    )
    # All is written before anything is replaced, so a full disk leaves the skill as it was.
    with tempfile.TemporaryDirectory(prefix=".packaging-", dir=folder) as name:
        packed = Path(name)
        if adapter.resolve() != folder.resolve():
            shutil.copyfile(adapter / WEIGHTS, packed / WEIGHTS)
        (packed / "adapter_config.json").write_text(
            json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8"
        )
        write_spec(packed, spec)
        for file in packed.iterdir():
            file.replace(folder / file.name)
    skill = Skill(folder)
    skill.check()
    return skill


def declare_base(recipe: Recipe, base: BaseSpec, weights: Path, into: Path) -> Path:
    """Declares the base that `method: full` made of `base`, as `into/<skill>-<version>.yaml`.

    Args:
        recipe: What it was made by.
        base: The base that was trained.
        weights: The folder with the new one.
        into: The project's `models/bases`.
    """
    file = weights / "model.safetensors"
    made = BaseSpec(
        name=f"{recipe.skill}-{recipe.version}",
        description=f"{base.name}, all weights trained for {recipe.skill}@{recipe.version}",
        licence=recipe.licence,
        homepage=base.homepage,
        model=base.model,
        sources=(FolderSource(kind="folder", path=weights.resolve()),),
        size=file.stat().st_size,
        digest=weights_digest(file),
        tokenizer_digest=tokenizer_digest(weights / "tokenizer.json"),
        chat_template_digest=base.chat_template_digest,
    )
    target = into / f"{made.name}.yaml"
    text = yaml.safe_dump(made.model_dump(mode="json", exclude_none=True), sort_keys=False)
    replace_file(target, text)
    return target


def _earlier(folder: Path, digest: str) -> SkillSpec | None:
    """What was packaged before, where it is of the same adapter."""
    if not (folder / "skill.yaml").exists():
        return None
    before = Skill(folder).spec
    return before if before.adapter.digest == digest else None


def _card(
    skill: Skill,
    recipe: Recipe,
    base: BaseSpec,
    made: Made,
    records: Sequence[Record],
    *,
    evaluated: bool,
) -> list[str]:
    """Write the card; gives what it lacks."""
    file = skill.path / _CARD
    before = file.read_text(encoding="utf-8") if file.is_file() else ""
    if before and not is_packaged(before):
        told = f"{file} was written by hand and stays as it is; move its text into `limits` of "
        return [told + "recipe.yaml, and remove it, to have packaging write the card"]
    text = render_card(
        skill.spec,
        recipe,
        base,
        made=made,
        numbers=numbers_of(records),
        size=(skill.path / WEIGHTS).stat().st_size,
        before=before,
    )
    replace_file(file, text)
    ref = skill.ref
    lacks = {
        f"training.json tells nothing of its rows; train {ref} again": made.data is None,
        "its scores are not calibrated": skill.spec.calibration == Calibration(),
        "recipe.yaml states no `limits`": not recipe.limits.strip(),
        f"it is not evaluated as it is now; run `seamline eval {ref} --data FOLDER --record`": (
            not evaluated
        ),
    }
    return [f"the card of {ref} is incomplete: {what}" for what, true in lacks.items() if true]
