"""What an adapter is made from: `models/skills/<skill>/<semver>/recipe.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from seamline.errors import SkillError
from seamline.models.contracts import SkillContract
from seamline.models.dataset.settings import Balance, DataSettings, Source
from seamline.models.declarations import read_yaml
from seamline.models.skills import Calibration, Confidence

__all__ = ["CalibrationSettings", "Recipe", "Source", "Training"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


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


class CalibrationSettings(_Frozen):
    """How the adapter is calibrated on the held-out rows.

    Attributes:
        target_precision: The share of right ones among the answers that are not abstained from.
        rows: Held-out rows to calibrate on at most, drawn by the seed.
        fixed: A calibration set by hand; nothing is fitted then.
    """

    target_precision: float = Field(default=0.9, gt=0, lt=1)
    rows: int = Field(default=2000, ge=50)
    fixed: Calibration | None = None


class Recipe(_Frozen):
    """Everything that decides what an adapter becomes.

    `continues` is the version whose weights this one starts from, e.g. `decide@0.1.0`.
    Without `data`, the rows are trained on as they are, and only counted. `limits` is what the
    card tells of where the skill must not be trusted.
    """

    skill: str
    version: str
    base: str
    description: str
    licence: str
    contract: SkillContract
    max_tokens: int = Field(default=1024, ge=64)
    training: Training = Training()
    calibration: CalibrationSettings = CalibrationSettings()
    confidence: Confidence = Confidence()
    evaluated_with: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    data: DataSettings | None = None
    continues: str | None = None
    limits: str = ""
    kind: Literal["lora", "alora"] = "lora"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        readable = [source.title for source in self.sources if source.readable]
        if self.data is None and readable:
            raise ValueError(
                f"source {readable[0]!r} is read from a file, so the recipe needs a `data` "
                "section; `data: {}` takes the defaults"
            )
        if self.contract.read == "branches":
            columns = [source.title for source in self.sources if source.fields is not None]
            if columns:
                raise ValueError(
                    f"source {columns[0]!r} has `fields`, which give one label a row, but the "
                    "contract reads branches; give whole rows in a JSONL without `fields`"
                )
            if self.data is not None and self.data.balance != Balance():
                raise ValueError("`balance` needs a contract that reads labels")
        return self

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
