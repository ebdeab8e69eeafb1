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

__all__ = ["CalibrationSettings", "Method", "Objective", "Recipe", "Source", "Training"]

Method = Literal["lora", "alora", "rslora", "dora", "qlora", "full"]
Objective = Literal["sft", "dpo"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Training(_Frozen):
    """How the adapter is trained.

    Attributes:
        alpha: The adapter's scale times its rank (of `rslora`, times the root of its rank);
            None takes the default of the method.
        learning_rate: None takes the default of the method and the base's size.
        batch_tokens: Padded tokens a step.
        max_tokens: Tokens of one row; a longer context loses its middle.
        listwise: Weight of the loss that ranks the choices of one row.
        beta: How strongly `dpo` holds the adapter to where it started.
        scale: Multiplies the number of rows that `data.py` builds.
        evaluations: How often the held-out rows are read and a checkpoint is written.
        patience: Readings without a lower loss after which the training stops.
        held_out_rows: At most so many held-out rows are read, drawn by `seed`; 0 for none, and
            then the last weights are kept.
    """

    rank: int = Field(default=16, ge=1, le=128)
    alpha: int | None = Field(default=None, ge=1)
    learning_rate: float | None = Field(default=None, gt=0)
    epochs: float = Field(default=1.0, gt=0)
    batch_tokens: int = Field(default=2048, ge=256)
    max_tokens: int = Field(default=384, ge=64)
    warmup: float = Field(default=0.05, ge=0, le=1)
    listwise: float = Field(default=0.5, ge=0)
    beta: float = Field(default=0.1, gt=0)
    scale: float = Field(default=1.0, gt=0)
    evaluations: int = Field(default=10, ge=1)
    patience: int = Field(default=3, ge=1)
    held_out_rows: int = Field(default=200, ge=0)
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

    `continues` is the version whose weights this one starts from, e.g. `decide@0.1.0`;
    `average` names versions whose mean this one is, and nothing is trained then.
    Without `data`, only rows that can never be right are dropped. `limits` is what the
    card tells of where the skill must not be trusted.

    Attributes:
        method: What is trained: an adapter of this kind, or `full`: every weight of the base.
        objective: `sft` learns the right answer, `dpo` the better of two texts.
    """

    skill: str
    version: str
    base: str
    description: str
    licence: str
    method: Method = "lora"
    objective: Objective = "sft"
    contract: SkillContract
    max_tokens: int = Field(default=1024, ge=64)
    training: Training = Training()
    calibration: CalibrationSettings = CalibrationSettings()
    confidence: Confidence = Confidence()
    evaluated_with: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    data: DataSettings | None = None
    continues: str | None = None
    average: tuple[str, ...] = ()
    limits: str = ""

    @property
    def kind(self) -> Literal["lora", "alora"]:
        """The skill's kind: how its adapter is run."""
        return "alora" if self.method == "alora" else "lora"

    @model_validator(mode="after")
    def _trainable(self) -> Self:
        writes = self.contract.read == "text"
        if (self.objective == "dpo") != writes:
            raise ValueError(
                "`objective: dpo` prefers one text to another, so it needs a contract with "
                "`read: text`, and such a contract needs it"
            )
        if self.objective == "dpo" and self.method in ("alora", "full"):
            raise ValueError(
                f"`objective: dpo` trains an adapter that acts from the first token, not "
                f"{self.method}; set method to lora, rslora, dora or qlora"
            )
        if self.method == "full" and self.continues is not None:
            raise ValueError("`method: full` starts from the base, so it has no `continues`")
        return self

    @model_validator(mode="after")
    def _averageable(self) -> Self:
        if not self.average:
            return self
        if len(set(self.average)) < 2 or len(set(self.average)) < len(self.average):
            raise ValueError(
                f"`average` names {', '.join(self.average)}; name two or more different versions"
            )
        if self.method not in ("lora", "alora"):
            raise ValueError(
                f"`average` makes no adapter of method {self.method}; set it to lora or alora, "
                "which the versions have to be too"
            )
        if self.continues is not None:
            raise ValueError("`average` trains nothing, so it goes without `continues`")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        readable = [source.title for source in self.sources if source.readable]
        if self.data is None and readable:
            raise ValueError(
                f"source {readable[0]!r} is read from a file, so the recipe needs a `data` "
                "section; `data: {}` takes the defaults"
            )
        if self.contract.read != "labels":
            columns = [source.title for source in self.sources if source.fields is not None]
            if columns:
                raise ValueError(
                    f"source {columns[0]!r} has `fields`, which give one label a row, but the "
                    f"contract reads {self.contract.read}; give whole rows in a JSONL without "
                    "`fields`"
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
