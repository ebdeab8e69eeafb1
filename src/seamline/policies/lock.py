"""`policies.lock`: the digest of every released version, and where each label points."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from seamline.policies.messages import policy_error
from seamline.policies.versions import is_version, version_key
from seamline.wording import shown
from seamline.writing import replace_file

__all__ = ["LOCK_NAME", "Lock", "read_lock", "write_lock"]

LOCK_NAME = "policies.lock"
_MAX_BYTES = 16 * 1024 * 1024
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_FIX = "restore it from version control"


class Lock(BaseModel):
    """What the lock file says: `policies[name][version]` and `labels[name][label]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    policies: Mapping[str, Mapping[str, str]] = Field(default_factory=dict)
    labels: Mapping[str, Mapping[str, str]] = Field(default_factory=dict)

    def text(self) -> str:
        """The file's text: names and labels sorted, versions in their own order."""
        policies = {
            name: {version: self.policies[name][version]
                   for version in sorted(self.policies[name], key=version_key)}
            for name in sorted(self.policies)
        }  # fmt: skip
        labels = {
            name: dict(sorted(self.labels[name].items()))
            for name in sorted(self.labels)
            if self.labels[name]
        }
        return json.dumps({"labels": labels, "policies": policies}, indent=2) + "\n"


def read_lock(path: Path) -> Lock:
    """The lock file, or an empty lock where there is none.

    Raises:
        PolicyError: The file is damaged.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return Lock()
    except OSError as error:
        raise policy_error(path, f"cannot be read: {error.strerror}") from None
    if len(data) > _MAX_BYTES:
        raise policy_error(path, f"larger than {_MAX_BYTES} bytes; {_FIX}")
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_no_twins)
    except json.JSONDecodeError as error:
        raise policy_error(path, f"not JSON ({error.msg}); {_FIX}", line=error.lineno) from None
    except (ValueError, RecursionError) as error:
        raise policy_error(path, f"damaged ({str(error)[:100]}); {_FIX}") from None
    problem = _problem(value)
    if problem is not None:
        raise policy_error(path, f"{problem}; {_FIX}")
    return Lock(policies=value.get("policies", {}), labels=value.get("labels", {}))


def write_lock(path: Path, lock: Lock) -> None:
    """Replace the lock file in one step.

    Raises:
        PolicyError: The folder cannot be written.
    """
    try:
        replace_file(path, lock.text())
    except OSError as error:
        raise policy_error(path, f"cannot be written: {error.strerror}") from None


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice")
    return result


def _problem(value: Any) -> str | None:
    if not isinstance(value, dict) or not set(value) <= {"policies", "labels"}:
        return "expected an object with 'policies' and 'labels'"
    for part in ("policies", "labels"):
        table = value.get(part, {})
        if not isinstance(table, dict) or not all(isinstance(v, dict) for v in table.values()):
            return f"{part!r} must map names to objects"
    for name, versions in value.get("policies", {}).items():
        for version, digest in versions.items():
            if not is_version(version) or not _DIGEST.fullmatch(str(digest)):
                return f"{shown(name)} holds {shown(version)}: {shown(digest)}"
    for name, labels in value.get("labels", {}).items():
        for label, version in labels.items():
            if not isinstance(version, str) or not is_version(version):
                return f"label {shown(label)} of {shown(name)} points to {shown(version)}"
    return None
