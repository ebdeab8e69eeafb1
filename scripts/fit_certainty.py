"""How sure the tool `icd10_select` may be: prints `even` and `steepness` for its tool.yaml.

    python scripts/fit_certainty.py --data FOLDER [--documents 40]

Reads documents of CodiEsp (train), drawn by a seed. Of every mention the first candidate by the
tool's mean is right where its code is among the document's; a logistic curve of the mean is
fitted to that (Platt scaling). The adapter of 0.1.0 was trained on mentions of these documents, so
the error told here is too low; `seamline eval icd10_select --on codiesp` tells it on others.
"""

from __future__ import annotations

import argparse
import asyncio
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from seamline.cli.progress import CountProgress
from seamline.loading import load_module
from seamline.models.evaluation.grid import Grid
from seamline.models.evaluation.metrics import calibration_error
from seamline.project import Project

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Ask the skill, fit, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=40)
    options = parser.parse_args()
    project = Project.open(ROOT)
    skill = project.skills.get("icd10_select@production")
    declared = load_module(ROOT / "models/skills/icd10_select/evaluation.py")
    rows = declared.mentions(options.data / "icd10" / "codiesp_train.jsonl")
    groups = sorted({row.group for row in rows})
    chosen = set(random.Random(0).sample(groups, min(options.documents, len(groups))))
    rows = [row for row in rows if row.group in chosen and row.names]
    settings = declared.tool_settings()
    plain = settings.model_copy(update={"even": None})
    evaluation = replace(
        declared.evaluation(skill.spec.contract)["codiesp"],
        with_retrieval=lambda row, said: declared.as_the_tool(row, said, plain),
    )
    grid = Grid(
        evaluation=evaluation, skill=skill.ref, contract=skill.spec.contract, rows=rows,
        local=project.local_model,
    )  # fmt: skip
    with CountProgress() as tick:
        said = asyncio.run(grid.run("adapter_retrieval", tick)).predictions
    means = np.array([one.confidence for one in said])
    right = np.array([one.first in row.gold for row, one in zip(rows, said, strict=True)], float)

    def loss(point: np.ndarray) -> float:
        sure = np.clip(expit(point[1] * (means - point[0])), 1e-9, 1 - 1e-9)
        return float(-np.mean(right * np.log(sure) + (1 - right) * np.log(1 - sure)))

    even, steepness = minimize(loss, [settings.threshold, 8.0], method="Nelder-Mead").x
    sure = expit(steepness * (means - even))
    print(f"{len(rows)} mentions of {len(chosen)} documents, {right.mean():.3f} right")
    print(f"calibration error {calibration_error(means.tolist(), right.tolist()):.3f} of the mean")
    print(f"calibration error {calibration_error(sure.tolist(), right.tolist()):.3f} of the curve")
    print(f"even: {even:.3f}\nsteepness: {steepness:.2f}")


if __name__ == "__main__":
    main()
