"""The decisions that `decide` gets wrong, and how many it gets right.

    python benchmarks/decide.py [--skill decide@production] [--data FOLDER] [--json]

A thin call of the evaluation behind `seamline eval decide`, which has the numbers of the card,
other cells, intervals and the gate. Without `--data` (or SEAMLINE_DATA) the public rows are left
out, so that this needs nothing but the checkout.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path

from seamline.evaluations import evaluations
from seamline.loading import load_module
from seamline.models.engine import LocalModel
from seamline.models.evaluation.declared import EvalRow, Prediction
from seamline.models.evaluation.grid import Grid, sample
from seamline.models.evaluation.report import cell_report, slice_table
from seamline.models.skills import SkillStore
from seamline.project import Project

ROOT = Path(__file__).resolve().parents[1]


def told(row: EvalRow, said: Prediction) -> str:
    """One wrong decision."""
    assert row.asked is not None
    choices = "; ".join(choice.text[:60] for choice in row.asked.choices)
    expect = next(iter(row.gold))
    return (
        f"{row.id}: {row.asked.context[:200]!r}\n   -> {said.first} ({said.confidence:.2f}), "
        f"not {expect}: {choices}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--skill", default="decide@production")
    parser.add_argument("--skills", type=Path, default=ROOT / "models/skills")
    parser.add_argument("--data", type=Path, default=os.environ.get("SEAMLINE_DATA"))
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--limit", type=int, help="decisions, for a quick look")
    parser.add_argument("--json", action="store_true", help="the numbers alone")
    options = parser.parse_args()
    skill = SkillStore(options.skills).get(options.skill)
    evaluation = evaluations(skill)["main"]
    module = load_module(ROOT / "models/skills/decide/evaluation.py")
    rows = module.suite_rows() + (module.bfcl_rows(Path(options.data)) if options.data else [])
    chosen = sample(rows, options.limit)
    local = LocalModel(Project.open(ROOT).base, SkillStore(options.skills), dtype=options.dtype)
    grid = Grid(
        evaluation=evaluation, skill=skill.ref, contract=skill.spec.contract, rows=chosen,
        local=local,
    )  # fmt: skip
    run = asyncio.run(grid.run("adapter", lambda *_: None))
    numbers = cell_report(evaluation, chosen, run)
    slices = {
        one["slice"]: {"cases": one["rows"], "right": one["accuracy"]["adapter"]}
        for one in slice_table(chosen, {"adapter": run})
    }
    found = {"skill": skill.ref, "slices": slices, **numbers["further"]}
    if not options.json:
        for row, said in zip(chosen, run.predictions, strict=True):
            if not said.right(row.gold):
                print(told(row, said))
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
