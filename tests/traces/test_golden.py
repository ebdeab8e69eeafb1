"""The recorded runs of both agents, replayed: byte for byte, and without a model in sight."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from seamline.errors import InputError
from seamline.testing import ReplaysFixture, golden_runs
from seamline.traces.files import read_trace

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = golden_runs(ROOT)

FORBIDDING = """
import json, sys
from pathlib import Path

class Forbid:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "transformers", "peft"}:
            raise AssertionError(f"a replay imported {name}")

sys.meta_path.insert(0, Forbid())
import socket
socket.socket.connect = None

from seamline import Project
from seamline.agents.recorded import RecordedRun
from seamline.traces.files import read_trace

root = Path(sys.argv[1])
project = Project.open(root)
told = {}
for folder in sorted(file.parent for file in root.glob("traces/*/*/manifest.json")):
    replay = RecordedRun.of(read_trace(folder), project).replay()
    told[str(folder.relative_to(root))] = replay.identical
print(json.dumps(told))
"""


def test_there_are_golden_runs_of_both_agents_clean_and_failed() -> None:
    runs = [read_trace(folder) for folder in GOLDEN]
    assert len(runs) >= 12
    assert {run.meta.agent for run in runs} == {"icd10_coder", "contract_review"}
    statuses = {run.status for run in runs}
    assert {"done", "needs_answer", "refused", "budget_exceeded", "failed"} <= statuses
    assert any(entry.kind == "answer" for run in runs for entry in run.entries)


@pytest.mark.parametrize("folder", GOLDEN, ids=lambda folder: "/".join(folder.parts[-2:]))
def test_a_golden_run_replays(folder: Path, replays: ReplaysFixture) -> None:
    assert replays(folder).effects == len(read_trace(folder).entries)


def test_golden_runs_replay_where_torch_is_forbidden() -> None:
    told = subprocess.run(
        [sys.executable, "-c", FORBIDDING, str(ROOT)], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    replayed = json.loads(told.stdout)
    assert len(replayed) == len(GOLDEN)
    assert all(replayed.values())


def test_a_changed_graph_fails_its_golden_runs(pytester: pytest.Pytester) -> None:
    """What a user sees: their test fails with the first divergence, named."""
    pytester.makepyfile(
        f"""
        from pathlib import Path
        import pytest
        from seamline.agents.nodes import Nodes

        FOLDER = Path({str(ROOT / "traces/icd10_coder/two_diagnoses")!r})

        def test_as_it_is(replays):
            assert replays(FOLDER).identical

        def test_with_another_graph(replays, monkeypatch):
            facts = Nodes.state_facts
            changed = lambda self, run, state: {{**facts(self, run, state), "moon": "full"}}
            monkeypatch.setattr(Nodes, "state_facts", changed)
            replays(FOLDER)
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*two_diagnoses diverged: effect plan/1#1 (model), record *"])


def test_no_golden_runs_are_an_error_that_names_the_folder(
    pytester: pytest.Pytester,
) -> None:
    looked_in = str(pytester.path / "traces")
    with pytest.raises(InputError, match=re.escape(looked_in)):
        golden_runs(".")
    pytester.makepyfile(
        """
        import pytest
        from seamline.testing import golden_runs

        @pytest.mark.parametrize("folder", golden_runs("."), ids=str)
        def test_golden_run(folder, replays):
            replays(folder)
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(errors=1)
    assert result.ret != 0
    result.stdout.fnmatch_lines([f"*there is no exported run in {looked_in}*"])


def test_a_fork_is_among_them_and_names_its_parent() -> None:
    fork = read_trace(ROOT / "traces/icd10_coder/forked_selection")
    assert fork.meta.forked_at == "tool:icd10_select/1#1"
    assert fork.meta.parent
    assert len(fork.meta.history) == 1
