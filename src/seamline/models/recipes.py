"""What an adapter is made from: `models/skills/<skill>/<semver>/recipe.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from seamline.errors import SkillError
from seamline.models.contracts import SkillContract
from seamline.models.declarations import read_yaml
from seamline.models.skills import Calibration, Confidence

__all__ = ["Recipe", "Source", "Training"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Frozen):
    """One outside data set that the skill learns from."""

    title: str
    licence: str


class Training(_Frozen):
    """How the adapter is trained.

    `batch_tokens` are padded tokens a step; `scale` multiplies the number of rows that
    `data.py` builds; `listwise` weighs the loss that ranks the choices of one row.
    """

    rank: int = Field(default=16, ge=1, le=128)
    alpha: int = Field(default=32, ge=1)
    learning_rate: float = Field(default=6e-4, gt=0)
    epochs: float = Field(default=1.0, gt=0)
    batch_tokens: int = Field(default=2048, ge=256)
    max_tokens: int = Field(default=384, ge=64)
    warmup: float = Field(default=0.05, ge=0, le=1)
    listwise: float = Field(default=0.5, ge=0)
    scale: float = Field(default=1.0, gt=0)
    seed: int = 17


class Recipe(_Frozen):
    """Everything that decides what an adapter becomes.

    `continues` is the version whose weights this one starts from, e.g. `decide@0.1.0`.
    """

    skill: str
    version: str
    base: str
    description: str
    licence: str
    contract: SkillContract
    max_tokens: int = Field(default=1024, ge=64)
    training: Training = Training()
    calibration: Calibration = Calibration()
    confidence: Confidence = Confidence()
    evaluated_with: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    continues: str | None = None
    kind: Literal["lora"] = "lora"

    @classmethod
    def load(cls, folder: Path) -> Self:
        """The recipe in a skill's folder.

        Raises:
            SkillError: The file is missing, wrong, or another skill's.
        """
        file = folder / "recipe.yaml"
        recipe = read_yaml(cls, file, "a recipe", error=SkillError)
        if (folder.parent.name, folder.name) != (recipe.skill, recipe.version):
            raise SkillError(
                f"{file} makes {recipe.skill}@{recipe.version}; move it to "
                f"{recipe.skill}/{recipe.version}/, or correct its skill and version"
            )
        return recipe
