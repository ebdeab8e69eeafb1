"""`import seamline` is light and quick; heavy libraries load on use only."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "peft", "langgraph", "langchain_core", "scipy")
PROBE = """
import json, sys, time
started = time.perf_counter()
import {module}
seconds = time.perf_counter() - started
print(json.dumps({{"seconds": seconds, "modules": [m for m in sys.modules if "." not in m]}}))
"""


def probe(module: str) -> tuple[float, set[str]]:
    """Seconds that an import takes in a fresh process, and the top-level modules loaded by it."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(module=module)],
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(done.stdout)
    return found["seconds"], set(found["modules"])


def test_import_is_light_and_quick() -> None:
    # The best of five: other work on the machine adds time, and never takes any away.
    runs = [probe("seamline") for _ in range(5)]
    assert runs[0][1] & set(HEAVY) == set()
    assert min(seconds for seconds, _ in runs) < 0.5


@pytest.mark.parametrize(
    "module",
    [
        "seamline.errors",
        "seamline.models.bases",
        "seamline.models.endpoints",
        "seamline.models.scripted",
        "seamline.cli.main",
    ],
)
def test_no_torch_before_it_is_needed(module: str) -> None:
    assert probe(module)[1] & {"torch", "transformers", "peft"} == set()
