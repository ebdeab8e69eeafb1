"""What recording, replaying, storing and watching runs cost, as ratios taken in one run.

    python benchmarks/traces.py [--part NAME …] [--json]

Every part is a module of benchmarks/trace_parts. Nothing here is a test: a target that is
missed is shown as missed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent))
import trace_parts
from trace_parts import Row

PARTS = sorted(module.name for module in pkgutil.iter_modules(trace_parts.__path__))


def measured(parts: list[str]) -> Iterator[tuple[str, Row]]:
    """The rows of the parts, as they are measured."""
    for part in parts:
        for row in importlib.import_module(f"trace_parts.{part}").rows():
            yield part, row


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", action="append", choices=PARTS, help="only this part")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    console = Console(stderr=options.json)
    table = Table(title=f"traces, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for column in ("part", "what", "measured", "asked", "against", "holds"):
        table.add_column(column)
    found = []
    for part, row in measured(options.part or PARTS):
        console.print(f"{part}: {row.what}: {row.value:.4g} {row.unit}", highlight=False)
        sign = "≤" if row.better == "lower" else "≥"
        asked = f"{sign} {row.target:g} {row.unit}"
        holds = "yes" if row.holds else "NO"
        table.add_row(part, row.what, f"{row.value:.4g} {row.unit}", asked, row.peer, holds)
        found.append({"part": part, **asdict(row), "holds": row.holds})
    if options.json:
        print(json.dumps({"load": os.getloadavg()[0], "rows": found}, indent=2))
    else:
        console.print(table)


if __name__ == "__main__":
    main()
