"""Read one yaml declaration of `models/` into its frozen model."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from seamline.errors import ConfigError

__all__ = ["Declared", "read_declaration"]


class Declared(BaseModel):
    """A declaration whose file carries its name."""

    name: str


D = TypeVar("D", bound=Declared)


def read_declaration(kind: type[D], file: Path, what: str) -> D:
    """The declaration in `file`; `what` says in an error what the file should have been.

    Raises:
        ConfigError: The file is missing, does not parse, or is named otherwise inside.
    """
    try:
        found = kind.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{file} cannot be read: {error}") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}"
            for e in error.errors(include_input=False, include_url=False)
        )
        raise ConfigError(f"{file} is not {what}: {problems}") from error
    if found.name != file.stem:
        raise ConfigError(
            f"{file} says name: {found.name}; rename the file to {found.name}.yaml, "
            f"or set name: {file.stem}"
        )
    return found
