from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from seamline.traces import RunMeta, SqliteTraceStore

STARTED = 1_700_000_000.0


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteTraceStore]:
    with SqliteTraceStore(tmp_path / "traces.sqlite") as opened:
        yield opened


@pytest.fixture
def meta() -> Callable[..., RunMeta]:
    def make(run_id: str = "run-1", **fields: Any) -> RunMeta:
        given: dict[str, Any] = {"agent": "coder", "agent_version": "1.0.0", "started": STARTED}
        return RunMeta(run_id=run_id, **(given | fields))

    return make
