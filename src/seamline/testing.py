"""A pytest plugin: recorded runs as tests, which fail where a run no longer comes out the same.

It is there wherever Seamline is installed beside pytest.

    from pathlib import Path
    from seamline.testing import golden_runs

    PROJECT = Path(__file__).parents[1]  # the folder with seamline.yaml, from this file

    @pytest.mark.parametrize("folder", golden_runs(PROJECT), ids=str)
    def test_golden_run(folder, replays):
        replays(folder)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from seamline.errors import InputError

if TYPE_CHECKING:
    from seamline.agents.replaying import Replay
    from seamline.project import Project

__all__ = ["ReplaysFixture", "golden_runs", "replays"]

ReplaysFixture = Callable[..., "Replay"]
"""`replays(folder, project=None)`; see the fixture."""


def golden_runs(project: Path | str) -> list[Path]:
    """The exported runs of a project: the folders `traces/<agent>/<name>`, sorted.

    Args:
        project: Its folder. A relative one goes by the current folder, and not by the test's
            file: `Path(__file__).parents[1]` finds the same runs wherever pytest is started.

    Raises:
        InputError: There are none; tests over no runs would be skipped and look passed.
    """
    found = sorted(file.parent for file in Path(project).glob("traces/*/*/manifest.json"))
    if not found:
        raise InputError(
            f"there is no exported run in {Path(project).resolve() / 'traces'} (a folder "
            "AGENT/NAME with manifest.json); give the project's folder from the test's file, "
            "e.g. golden_runs(Path(__file__).parents[1]), or export a run with "
            "`seamline traces export last traces/AGENT/NAME`"
        )
    return found


@pytest.fixture
def replays() -> ReplaysFixture:
    """Replay a recorded run and fail the test where it diverges.

    The function takes the folder of an exported run, and a project where that is not the one
    around the folder. It gives the `Replay`.
    """

    def check(folder: Path | str, project: Project | None = None) -> Replay:
        from seamline.agents.recorded import RecordedRun
        from seamline.errors import DivergenceError
        from seamline.project import Project
        from seamline.traces.files import read_trace

        where = Path(folder).resolve()
        executed = project or Project.open(where.parents[2])
        try:
            found = RecordedRun.of(read_trace(where), executed).replay()
        except DivergenceError as error:
            pytest.fail(f"run {where.name} diverged: {error}", pytrace=False)
        if not found.identical:
            lines = [
                f"{one.field}: recorded {one.recorded}, now {one.asked}"
                for one in found.differences
            ]
            lines += [f"nobody asked for {key}" for key in found.unserved]
            lines += [found.ended_early] if found.ended_early else []
            pytest.fail(
                f"run {where.name} came out differently: " + "; ".join(lines), pytrace=False
            )
        return found

    return check
