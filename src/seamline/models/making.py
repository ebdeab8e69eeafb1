"""How an adapter was made, as `training.json` beside it tells: rows, steps, calibration.

Training writes it into the work folder, packaging into the skill's own, so that a card can be
written again where neither the rows nor the work folder is left.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from seamline.errors import SkillError
from seamline.models.calibrating import CalibrationReport
from seamline.models.dataset.report import Report, SourceCount
from seamline.models.declarations import read_yaml
from seamline.models.digests import weights_digest
from seamline.writing import replace_file

__all__ = ["CALIBRATION", "WEIGHTS", "DataSummary", "Made", "adapter_in"]

WEIGHTS = "adapter_model.safetensors"
CALIBRATION = "calibration.json"
_FILE = "training.json"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataSummary(_Frozen):
    """The data stage's report without anything of a single row."""

    key: str
    split_by: str
    sources: tuple[SourceCount, ...]
    dropped: Mapping[str, int]
    train_rows: int
    held_out_rows: int
    compared: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, report: Report) -> DataSummary:
        """What a card tells of a report."""
        return cls(
            key=report.key,
            split_by=report.split_by,
            sources=report.sources,
            dropped={
                step.name: step.before - step.after
                for step in report.steps
                if step.after < step.before
            },
            train_rows=report.train.rows,
            held_out_rows=report.held_out.rows,
            compared=report.compared,
            warnings=report.warnings,
        )


class Made(_Frozen):
    """One adapter's making.

    Attributes:
        adapter: Its digest.
        training: What the training reported: rows, tokens, steps, seconds, loss.
    """

    adapter: str
    data: DataSummary | None = None
    training: Mapping[str, object] = Field(default_factory=dict)
    calibration: CalibrationReport | None = None

    @classmethod
    def read(cls, adapter: str, *folders: Path) -> Made:
        """What the folders know of the adapter with this digest; the earlier one is asked first.

        A calibration that stands beside is taken where it is of this adapter.

        Raises:
            SkillError: A file is damaged.
        """
        found = cls(adapter=adapter)
        for folder in reversed(folders):
            file = folder / _FILE
            if file.is_file():
                made = read_yaml(cls, file, "a report of training", error=SkillError)
                told = {key: value for key, value in made if value}
                found = found.model_copy(update=told) if made.adapter == adapter else found
            file = folder / CALIBRATION
            if file.is_file():
                report = read_yaml(
                    CalibrationReport, file, "a report of calibration", error=SkillError
                )
                if report.adapter == adapter:
                    found = found.model_copy(update={"calibration": report})
        return found

    def write(self, folder: Path) -> None:
        """Keep it in a folder; an earlier one is replaced whole."""
        replace_file(folder / _FILE, self.model_dump_json(indent=2) + "\n")


def adapter_in(*folders: Path) -> tuple[Path, str] | None:
    """The first folder that holds an adapter, and the adapter's digest.

    Raises:
        ModelError: What it holds is no whole safetensors file.
    """
    for folder in folders:
        if (folder / WEIGHTS).is_file():
            return folder, weights_digest(folder / WEIGHTS)
    return None
