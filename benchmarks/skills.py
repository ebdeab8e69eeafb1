"""Each shipped skill against retrieval and the bare base, on the rows of its card.

    python benchmarks/skills.py --data FOLDER [--limit N] [--json]

A thin call of the grid behind `seamline eval`, which has more cells and draws its `--limit` at
random. The numbers of `icd10_select` 0.1.0 are of the file's first rows, so that is what
`--limit` takes of them here.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from seamline.evaluations import evaluations
from seamline.models.evaluation.grid import Grid, choose_cells, sample
from seamline.models.evaluation.report import cell_report, pairs
from seamline.project import Project

ROOT = Path(__file__).resolve().parents[1]


async def measure(project: Project, name: str, data: Path, limit: int | None) -> dict[str, Any]:
    """The numbers of one skill, and the paired differences."""
    skill = project.skills.get(name)
    contract = skill.spec.contract
    evaluation = next(iter(evaluations(skill).values()))
    rows = evaluation.rows(data)
    rows = list(rows[:limit]) if name == "icd10_select" else sample(rows, limit)
    grid = Grid(
        evaluation=evaluation, skill=skill.ref, contract=contract, rows=rows,
        local=project.local_model,
    )  # fmt: skip
    wanted = ("retrieval", "base", "adapter") if rows[0].retrieved else ("base", "adapter")
    cells = choose_cells(wanted, rows, evaluation, contract, endpoint=False)
    runs = {cell: await grid.run(cell, lambda *_: None) for cell in cells}
    found = {cell: cell_report(evaluation, rows, run) for cell, run in runs.items()}
    return {
        "file": evaluation.file,
        "rows": len(rows),
        "measure": evaluation.measure,
        **{cell: numbers["accuracy"] for cell, numbers in found.items()},
        "further": {cell: numbers["further"] for cell, numbers in found.items()},
        "differences": pairs(rows, runs),
    }


async def both(data: Path, limit: int | None) -> dict[str, Any]:
    """Every skill that is measured here."""
    project = Project.open(ROOT)
    return {
        name: await measure(project, name, data, limit) for name in ("icd10_select", "clause_type")
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("SEAMLINE_DATA"))
    parser.add_argument("--limit", type=int, help="rows per skill, for a quick look")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.data is None:
        parser.error("needs --data, or SEAMLINE_DATA: the folder of outside data")
    results = asyncio.run(both(Path(options.data), options.limit))
    if options.json:
        print(json.dumps(results, indent=2))
        return
    table = Table("skill", "measure", "rows", "retrieval", "base", "adapter", "adapter - base")
    for name, row in results.items():
        retrieval = f"{row['retrieval']:.3f}" if "retrieval" in row else ""
        paired = row["differences"]["adapter - base"]
        table.add_row(
            name, row["measure"], str(row["rows"]), retrieval, f"{row['base']:.3f}",
            f"{row['adapter']:.3f}",
            f"{paired['mean']:+.3f} ({paired['low']:+.3f} to {paired['high']:+.3f})",
        )  # fmt: skip
    Console().print(table)


if __name__ == "__main__":
    main()
