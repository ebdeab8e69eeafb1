"""Trainings that stop and go on: from what, on what, and what a full disk does."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seamline.errors import ConfigError, SkillError

if TYPE_CHECKING:
    from seamline.models.bases import BaseSpec
    from seamline.models.recipes import Recipe

__all__ = [
    "CHECKPOINTS",
    "FULL",
    "PREFIXES",
    "decisive",
    "disk_errors",
    "last_whole",
    "remove_unfinished",
    "require_made_by",
    "same_inputs",
]

CHECKPOINTS = "checkpoints"
PREFIXES = "prefixes"
"""Folder of what the bare base has read for an aLoRA: gigabytes."""
FULL = "base"
"""Folder of the weights where all of them were trained."""

_INPUTS = "trained_on.json"
_STATE = "trainer_state.json"
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def same_inputs(work: Path, inputs: Mapping[str, Any]) -> bool:
    """Whether the last training in `work` was of the same; if not, notes what this one is of.

    Args:
        work: The folder of the training.
        inputs: What decides the weights, by names that an error can tell: JSON values.

    Raises:
        ConfigError: The checkpoints in `work` were made on other inputs.
    """
    before = _noted(work)
    other = [name for name in inputs if before.get(name) != inputs[name]]
    if not other:
        return True
    if (work / CHECKPOINTS).is_dir():
        raise ConfigError(
            f"the checkpoints in {work} were made with another {' and '.join(other)}; "
            f"remove {work / CHECKPOINTS}, or give another --work"
        )
    (work / _INPUTS).write_text(json.dumps(inputs, indent=2) + "\n", encoding="utf-8")
    return False


def decisive(recipe: Recipe) -> dict[str, Any]:
    """What of a recipe decides the weights, beside its rows, its base and what it continues."""
    return recipe.model_dump(mode="json", include={"method", "objective", "contract", "training"})


def require_made_by(work: Path, recipe: Recipe, base: BaseSpec) -> None:
    """That the adapter in `work` was made by this recipe on this base, as far as it is noted.

    Raises:
        SkillError: It is noted that it was not.
    """
    before = _noted(work)
    now = {"base": base.digest, "recipe": decisive(recipe)}
    other = [name for name in now if name in before and before[name] != now[name]]
    if other:
        ref = f"{recipe.skill}@{recipe.version}"
        raise SkillError(
            f"the adapter in {work} was trained with another {' and '.join(other)} than {ref} "
            f"has; name the folder where {ref} was trained, or train it again"
        )


def _noted(work: Path) -> dict[str, Any]:
    """What the last training in `work` was of; empty where that is not known."""
    try:
        found = json.loads((work / _INPUTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def last_whole(checkpoints: Path) -> Path | None:
    """The last checkpoint that was written to its end; broken ones are removed.

    The trainer writes its state last, so a checkpoint without one was interrupted. It also
    notes where the best one lies, which is corrected in case the folder was moved.
    """
    numbered = {int(found.name.rpartition("-")[2]): found for found in _folders(checkpoints)}
    for step in sorted(numbered, reverse=True):
        folder = numbered[step]
        try:
            state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            shutil.rmtree(folder)
            continue
        best = state.get("best_global_step")
        if best is not None:
            if best not in numbered:
                shutil.rmtree(folder)
                continue
            state["best_model_checkpoint"] = str(numbered[best])
            (folder / _STATE).write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
        return folder
    return None


def remove_unfinished(work: Path) -> None:
    """Removes what only a training that goes on needs."""
    for name in (CHECKPOINTS, PREFIXES):
        shutil.rmtree(work / name, ignore_errors=True)


@contextlib.contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turns what a full disk raises, in three libraries, into one error.

    Raises:
        ConfigError: The disk of `folder` is full.
    """
    try:
        yield
    except Exception as error:
        if not _is_full(error, folder):
            raise
        raise ConfigError(
            f"{folder} cannot be written: no space left on the device; free some and run it "
            "again, which goes on where it was, or give a --work on another one"
        ) from error


def _is_full(error: Exception, folder: Path) -> bool:
    if isinstance(error, OSError) and error.errno in _NO_SPACE:
        return True
    if os.strerror(errno.ENOSPC) in str(error):
        return True
    # torch says only that a write failed.
    written = "PytorchStreamWriter" in str(error) or "unexpected pos" in str(error)
    return written and shutil.disk_usage(folder).free < 1 << 22


def _folders(checkpoints: Path) -> list[Path]:
    return [f for f in checkpoints.glob("checkpoint-*") if f.name.rpartition("-")[2].isdigit()]
