"""Read one declaration or record of a project into its frozen model."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from seamline.errors import ConfigError

__all__ = ["Declared", "read_declaration", "read_json", "read_yaml"]


class Declared(BaseModel):
    """A declaration whose file carries its name."""

    name: str


M = TypeVar("M", bound=BaseModel)
D = TypeVar("D", bound=Declared)


def read_yaml(kind: type[M], file: Path, what: str, *, error: type[ConfigError] = ConfigError) -> M:
    """What `file` declares; `what` says in an error what the file should have been.

    Raises:
        ConfigError: The file is missing, is no YAML, or does not hold what `kind` asks for;
            as `error`, where that is given.
    """
    try:
        return kind.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as cause:
        raise error(f"{file} cannot be read: {cause}") from cause
    except ValidationError as cause:
        raise error(f"{file} is not {what}: {_problems(cause)}") from cause


def read_json(kind: type[M], file: Path, what: str, *, error: type[ConfigError] = ConfigError) -> M:
    """As `read_yaml`, of a file that a program wrote as JSON.

    Raises:
        ConfigError: As `read_yaml`.
    """
    try:
        return kind.model_validate_json(file.read_bytes())
    except OSError as cause:
        raise error(f"{file} cannot be read: {cause}") from cause
    except ValidationError as cause:
        raise error(f"{file} is not {what}: {_problems(cause)}") from cause


def read_declaration(kind: type[D], file: Path, what: str) -> D:
    """The declaration in `file`, which is named after it.

    Raises:
        ConfigError: As `read_yaml`, or the file is named otherwise inside.
    """
    found = read_yaml(kind, file, what)
    if found.name != file.stem:
        raise ConfigError(
            f"{file} says name: {found.name}; rename the file to {found.name}.yaml, "
            f"or set name: {file.stem}"
        )
    return found


def _problems(error: ValidationError) -> str:
    """What is wrong, each with its place; without the values, which may be secrets."""
    found = error.errors(include_url=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in found)
