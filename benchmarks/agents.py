"""The shipped agents on whole documents: what fails, how long it takes, how much memory.

    python benchmarks/agents.py --data FOLDER [--agent NAME] [--skip N] [--limit N]
        [--results FILE] [--json]

`--data` (or SEAMLINE_DATA) is a folder with `notes/aci_bench.jsonl` and
`contracts/cuad_contracts_dev.jsonl`; no skill was trained on either. Each agent runs in a process
of its own, one document at a time, so that its peak of memory is its own; loading the base
counts for the first document.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from seamline import AgentResult, Project
from seamline.traces import SqliteTraceStore

ROOT = Path(__file__).resolve().parents[1]
Output = dict[str, Any]


def bad_codes(output: Output, text: str) -> list[str]:
    """What no coding may hold: a code twice or of no release, evidence that is not there."""
    import simple_icd_10_cm as release

    names = [code["code"] for code in output["codes"]]
    found = [f"{name} stands twice" for name in sorted({n for n in names if names.count(n) > 1})]
    found += [f"{name} is no code" for name in names if not release.is_valid_item(name)]
    for row in [*output["codes"], *output["declined"]]:
        spans = [row.get("evidence") or row["span"], *row.get("more_evidence", [])]
        found += [
            f"{one['text']!r} is not at {one['start']}:{one['end']}"
            for one in spans
            if text[one["start"] : one["end"]] != one["text"]
        ]
    return found


def bad_clauses(output: Output, text: str) -> list[str]:
    """What no review may hold: a clause twice, or outside the text; a type both here and not."""
    keys = [(one["type"], one["start"], one["end"]) for one in output["clauses"]]
    found = [f"{key} stands twice" for key in sorted({k for k in keys if keys.count(k) > 1})]
    found += [f"{key} is outside" for key in keys if not 0 <= key[1] < key[2] <= len(text)]
    types = {key[0] for key in keys}
    return found + [f"{m['type']} is missing" for m in output["missing"] if m["type"] in types]


@dataclass(frozen=True, kw_only=True)
class Part:
    """One agent on one file; `items` names the list of its output that should not be empty."""

    agent: str
    file: str
    text: str
    rows: int | None
    items: str
    bad: Callable[[Output, str], list[str]]


PARTS = (
    Part(agent="icd10_coder", file="notes/aci_bench.jsonl", text="note", rows=None,
         items="codes", bad=bad_codes),
    Part(agent="contract_review", file="contracts/cuad_contracts_dev.jsonl", text="text", rows=30,
         items="clauses", bad=bad_clauses),
)  # fmt: skip


def measure(
    part: Part, data: Path, skip: int, limit: int | None, results: Path | None
) -> dict[str, Any]:
    """One part, measured in this process; each result is a line of `results`."""
    lines = (data / part.file).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines][: part.rows][skip:][:limit]
    found: list[AgentResult] = []
    seconds, bad = [], []
    with tempfile.TemporaryDirectory() as folder, SqliteTraceStore(Path(folder) / "t") as store:
        agent = Project.open(ROOT, store=store).agent(part.agent)
        for at, row in enumerate(rows, start=1):
            began = time.perf_counter()
            result = agent.run(row[part.text])
            seconds.append(time.perf_counter() - began)
            output = result.output or {}
            if output:
                bad += [f"{row['id']}: {what}" for what in part.bad(output, row[part.text])]
            found.append(result)
            if results is not None:
                with results.open("a", encoding="utf-8") as file:
                    line = {"id": row["id"], "seconds": seconds[-1], **result.model_dump()}
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
            count = len(output.get(part.items, ()))
            print(
                f"{part.agent} {at}/{len(rows)} {row['id'][:40]}: {result.status}, {count} "
                f"{part.items}, {seconds[-1]:.1f} s",
                file=sys.stderr,
                flush=True,
            )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "file": part.file,
        "rows": len(rows),
        # A run that asks a person has an output all the same.
        "failed": sum(result.status not in ("done", "needs_answer") for result in found),
        "asked": sum(result.status == "needs_answer" for result in found),
        f"with_{part.items}": sum(bool((r.output or {}).get(part.items)) for r in found),
        "bad": bad,
        "seconds_median": statistics.median(seconds),
        "seconds_max": max(seconds),
        "peak_mib": peak / (1 << 20 if sys.platform == "darwin" else 1 << 10),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("SEAMLINE_DATA"))
    names = [part.agent for part in PARTS]
    parser.add_argument("--agent", choices=names, help="only this agent")
    parser.add_argument("--skip", type=int, default=0, help="documents to pass over first")
    parser.add_argument("--limit", type=int, help="documents an agent, for a quick look")
    parser.add_argument("--results", type=Path, help="write each result here, as JSON lines")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.data is None:
        parser.error("needs --data, or SEAMLINE_DATA: the folder of outside data")
    report: dict[str, Any] = {"load": os.getloadavg()[0], "cores": os.cpu_count()}
    parts = [part for part in PARTS if options.agent in (None, part.agent)]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool:
        for part in parts:
            work = pool.submit(
                measure, part, Path(options.data), options.skip, options.limit, options.results
            )
            report[part.agent] = work.result()
    if options.json:
        print(json.dumps(report, indent=2))
        return
    table = Table(
        title=f"agents, load {report['load']:.1f} on {report['cores']} cores at the start"
    )
    for heading in ("agent", "documents", "with a result", "failed", "asked", "s median", "s max"):
        table.add_column(heading, justify="left" if heading == "agent" else "right")
    table.add_column("peak MiB", justify="right")
    for part in parts:
        row = report[part.agent]
        table.add_row(
            part.agent, str(row["rows"]), f"{row[f'with_{part.items}'] / row['rows']:.0%}",
            str(row["failed"]), str(row["asked"]), f"{row['seconds_median']:.1f}",
            f"{row['seconds_max']:.1f}", f"{row['peak_mib']:,.0f}",
        )  # fmt: skip
    Console().print(table)
    for part in parts:
        for line in report[part.agent]["bad"]:
            print(f"{part.agent}: {line}")


if __name__ == "__main__":
    main()
