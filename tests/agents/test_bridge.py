"""Sync callers: what would wait for itself is told, and a forked child has a loop of its own."""

from __future__ import annotations

import os

import pytest

from seamline.agents.bridge import wait_for


async def _one() -> int:
    return 1


async def _nested() -> int:
    return wait_for(_one())


def test_waiting_inside_the_loop_is_an_error_and_no_deadlock() -> None:
    with pytest.raises(RuntimeError, match="from inside a run"):
        wait_for(_nested())
    assert wait_for(_one()) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_waits_on_its_own_loop() -> None:
    assert wait_for(_one()) == 1
    child = os.fork()
    if child == 0:
        os._exit(wait_for(_one()) - 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
