"""What a step of training takes by each method: seconds, and the peak of memory.

    python benchmarks/methods.py [--json]

Rows made here, on the pulled base, 1,024 padded tokens a step: the median of six steps, each
method in a process of its own. `lora` is measured first and last, which tells how quiet the
machine was.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.table import Table

from seamline.models.bases import path
from seamline.models.recipes import Recipe
from seamline.project import Project

ROOT = Path(__file__).resolve().parents[1]
STEPS = 7
METHODS = ("lora", "alora", "rslora", "dora", "qlora", "full", "lora")


class _Enough(Exception):
    pass


def recipe(method: str) -> Recipe:
    return Recipe.model_validate(
        {
            "skill": "parity",
            "version": "0.1.0",
            "base": "any",
            "licence": "Apache-2.0",
            "description": "Says whether a number is even.",
            "method": method,
            "contract": {
                "read": "labels",
                "context": "{{ text }}",
                "question": "Is it even?",
                "labels": {"even": "yes", "odd": "no"},
            },
            "training": {"batch_tokens": 1024},
        }
    )


def measured(method: str) -> tuple[float, float]:
    """Seconds of a step, and GiB at the peak."""
    from seamline.models.training import train

    stamps: list[float] = []

    def tick(done: int, _total: int, what: str) -> None:
        if what.startswith("training"):
            stamps.append(time.perf_counter())
            if done == STEPS:
                raise _Enough

    rows = [
        {"context": {"text": f"There are {at} lamps on the shelf."}, "labels": [label]}
        for at in range(1000)
        for label in [("even", "odd")[at % 2]]
    ]
    base = path(Project.open(ROOT).base)
    try:
        with tempfile.TemporaryDirectory() as out:
            train(recipe(method), rows, base=base, out=Path(out), tick=tick)
    except _Enough:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return statistics.median(b - a for a, b in itertools.pairwise(stamps)), peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    found = []
    for method in METHODS:
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=spawn) as pool:
            seconds, peak = pool.submit(measured, method).result()
        found.append({"method": method, "seconds": round(seconds, 2), "GiB": round(peak, 1)})
    load = [round(one, 1) for one in os.getloadavg()]
    if as_json:
        print(json.dumps({"steps": found, "load": load}))
        return
    table = Table("method", "seconds a step", "times lora", "peak GiB")
    for row in found:
        ratio = f"{row['seconds'] / found[0]['seconds']:.2f}"
        table.add_row(row["method"], str(row["seconds"]), ratio, str(row["GiB"]))
    Console().print(table)
    print(f"{os.cpu_count()} cores, load {load}")


if __name__ == "__main__":
    main()
