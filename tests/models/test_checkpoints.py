"""What an interrupted training leaves, and what may be gone on from."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from seamline.errors import ConfigError
from seamline.models.checkpoints import (
    CHECKPOINTS,
    PREFIXES,
    disk_errors,
    last_whole,
    remove_unfinished,
    same_inputs,
)

INPUTS = {"rows": ["a", None], "base": "sha256:1", "recipe": {"method": "lora"}}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"rows": ["a", 5]}, "another rows;"),
        ({"base": "sha256:2"}, "another base;"),
        ({"recipe": {"method": "dora"}, "base": "sha256:2"}, "another base and recipe;"),
    ],
)
def test_checkpoints_of_other_inputs_are_not_gone_on_from(
    changed: dict[str, object], told: str, tmp_path: Path
) -> None:
    assert not same_inputs(tmp_path, INPUTS)
    (tmp_path / "checkpoints").mkdir()
    assert same_inputs(tmp_path, INPUTS)
    with pytest.raises(ConfigError, match=f"made with {told} remove .*checkpoints, or give"):
        same_inputs(tmp_path, INPUTS | changed)
    assert same_inputs(tmp_path, INPUTS)
    (tmp_path / "trained_on.json").unlink()
    with pytest.raises(ConfigError, match="another rows and base and recipe"):
        same_inputs(tmp_path, INPUTS)
    (tmp_path / "checkpoints").rmdir()
    assert not same_inputs(tmp_path, INPUTS | changed)
    assert same_inputs(tmp_path, INPUTS | changed)


def write_state(folder: Path, **state: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "trainer_state.json").write_text(json.dumps(state))
    return folder


def test_an_interrupted_checkpoint_is_left_out(tmp_path: Path) -> None:
    assert last_whole(tmp_path) is None
    whole = write_state(tmp_path / "checkpoint-90", global_step=90)
    (tmp_path / "checkpoint-100").mkdir()
    cut = write_state(tmp_path / "checkpoint-110", global_step=110)
    (cut / "trainer_state.json").write_text('{"global_step": 1')
    assert last_whole(tmp_path) == whole
    assert [folder.name for folder in tmp_path.iterdir()] == ["checkpoint-90"]


def test_the_best_checkpoint_is_found_where_the_folder_was_moved(tmp_path: Path) -> None:
    best = write_state(tmp_path / "checkpoint-5", global_step=5)
    last = write_state(
        tmp_path / "checkpoint-9",
        global_step=9,
        best_global_step=5,
        best_model_checkpoint="elsewhere/checkpoint-5",
    )
    assert last_whole(tmp_path) == last
    state = json.loads((last / "trainer_state.json").read_text())
    assert state["best_model_checkpoint"] == str(best)
    (best / "trainer_state.json").unlink()
    best.rmdir()
    assert last_whole(tmp_path) is None


def test_only_a_full_disk_is_told_as_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no space left"), disk_errors(tmp_path):
        raise OSError(errno.ENOSPC, "full")
    with pytest.raises(PermissionError), disk_errors(tmp_path):
        raise PermissionError(errno.EACCES, "no")
    with pytest.raises(RuntimeError), disk_errors(tmp_path):
        raise RuntimeError("PytorchStreamWriter failed writing file")


def test_what_only_an_unfinished_training_needs_is_removed(tmp_path: Path) -> None:
    for name in (CHECKPOINTS, PREFIXES, "data"):
        (tmp_path / name / "deeper").mkdir(parents=True)
        (tmp_path / name / "deeper" / "file").write_text("x")
    remove_unfinished(tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["data"]
    remove_unfinished(tmp_path)
