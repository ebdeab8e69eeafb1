"""Worked cases of a policy: read from front matter or a JSONL file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from seamline.policies.messages import policy_error
from seamline.policies.model import Example
from seamline.wording import did_you_mean, listed, shown

__all__ = ["EXAMPLES_VARIABLE", "MAX_EXAMPLES", "read_examples"]

EXAMPLES_VARIABLE = "examples"  # the chosen examples, for a template that places them itself
MAX_EXAMPLES = 1000
_MAX_FILE_BYTES = 1024 * 1024
_KEYS = ("id", "input", "output", "note")


def read_examples(
    value: Any, *, folder: Path, where: str, line: Callable[..., int]
) -> list[tuple[str, Example]]:
    """The examples and, for messages, where each one stands.

    Raises:
        PolicyError: The value or the file does not hold examples.
    """
    if value is None:
        return []
    rows: list[tuple[str, Any]]
    if isinstance(value, dict):
        if set(value) != {"file"} or not isinstance(value["file"], str):
            raise policy_error(where, "'examples' is a list, or {file: NAME.jsonl}", line=line())
        rows = _read_file(value["file"], folder, f"{where}, line {line()}")
    elif isinstance(value, list):
        rows = [(f"{where}, line {line(i)}", row) for i, row in enumerate(value)]
    else:
        raise policy_error(where, "'examples' is a list, or {file: NAME.jsonl}", line=line())
    if len(rows) > MAX_EXAMPLES:
        raise policy_error(where, f"more than {MAX_EXAMPLES} examples", line=line())
    seen: set[str] = set()
    found: list[tuple[str, Example]] = []
    for number, (place, row) in enumerate(rows, 1):
        example = _example(row, number, place)
        if example.id in seen:
            raise policy_error(place, f"two examples have the id {shown(example.id)}")
        seen.add(example.id)
        found.append((place, example))
    return found


def _example(row: Any, number: int, place: str) -> Example:
    if not isinstance(row, Mapping):
        raise policy_error(place, "an example is a mapping of input and output")
    for key in row:
        if key not in _KEYS:
            raise policy_error(
                place,
                f"unknown key {shown(key)} in an example; there are: {listed(_KEYS)}."
                f"{did_you_mean(str(key), _KEYS)}",
            )
    values = {"id": f"example-{number}", "note": "", **row}
    if not isinstance(values.get("input"), dict):
        raise policy_error(place, "an example needs 'input', a mapping of variables")
    for key in ("id", "output", "note"):
        if not isinstance(values.get(key), str):
            raise policy_error(
                place, f"an example's {key!r} is {shown(values.get(key))}, expected text"
            )
    return Example(**values)


def _read_file(name: str, folder: Path, where: str) -> list[tuple[str, Any]]:
    path = folder / name
    if Path(name).name != name or "\\" in name or "\0" in name or not name.endswith(".jsonl"):
        raise policy_error(
            where, f"examples file {shown(name)} must be a .jsonl file beside the policy"
        )
    try:
        if path.is_symlink():
            raise policy_error(path, "an examples file cannot be a link; copy it here")
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise policy_error(
            where, f"examples file {shown(name)} cannot be read: {error.strerror}"
        ) from None
    if len(data) > _MAX_FILE_BYTES:
        raise policy_error(path, f"larger than {_MAX_FILE_BYTES // 1024} KiB")
    rows: list[tuple[str, Any]] = []
    for number, raw in enumerate(data.split(b"\n"), 1):
        if not raw.strip():
            continue
        place = f"{path}, line {number}"
        try:
            row = json.loads(raw.decode("utf-8"), parse_constant=_no_constant)
            # A lone surrogate is fine by JSON but cannot be hashed or sent.
            json.dumps(row, ensure_ascii=False).encode("utf-8")
        except UnicodeError:
            raise policy_error(place, "not UTF-8") from None
        except (ValueError, RecursionError) as error:
            raise policy_error(place, f"not JSON: {str(error)[:100]}") from None
        rows.append((place, row))
    return rows


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
