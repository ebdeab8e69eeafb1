"""A short soak: `scripts/soak_traces.py` with five kills instead of three hundred."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def soak(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(root / "scripts" / "soak_traces.py"), *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_writers_lose_nothing_acknowledged(root: Path, tmp_path: Path) -> None:
    done = soak(root, "--kills", "5", "--store", str(tmp_path / "traces.sqlite"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("5 writers killed")
    assert "0 runs lost something; integrity_check: ok" in done.stdout


def test_the_soak_sees_what_is_lost(root: Path, tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import soak_traces
from seamline.traces import Outcome, RunMeta, SqliteTraceStore
path = Path(sys.argv[2])
with SqliteTraceStore(path) as store:
    store.start_run(RunMeta(run_id="short", agent="a", started=1.0)).flush()
found, integrity, lost = soak_traces.examine(path, {"short": 2, "gone": 1, "never": 0})
print(found, integrity, len(lost), *lost, sep="|")
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(root / "scripts"), str(tmp_path / "traces.sqlite")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=True,
    )
    found, integrity, count, short, gone = done.stdout.strip().split("|")
    assert (found, integrity, count) == ("0", "ok", "2")
    assert "run short: 0 of 2 acknowledged effects" in short
    assert "run gone, 1 acknowledged: no run 'gone'" in gone
