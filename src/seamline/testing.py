"""A pytest plugin: recorded runs as tests, which fail where a run no longer comes out the same.

It is there wherever Seamline is installed beside pytest.

    from seamline.testing import golden_runs

    @pytest.mark.parametrize("folder", golden_runs("."), ids=str)
    def test_golden_run(folder, replays):
        replays(folder)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from seamline.agents.replaying import Replay
    from seamline.project import Project

__all__ = ["ReplaysFixture", "golden_runs", "replays"]

ReplaysFixture = Callable[..., "Replay"]
"""`replays(folder, project=None)`; see the fixture."""


def golden_runs(project: Path | str) -> list[Path]:
    """The exported runs of a project: the folders `traces/<agent>/<name>`, sorted."""
    return sorted(file.parent for file in Path(project).glob("traces/*/*/manifest.json"))


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
