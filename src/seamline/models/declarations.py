"""Read one declaration or record of a project into its frozen model."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from seamline.errors import ConfigError
from seamline.models.objections import objections
from seamline.strict_yaml import Document, YamlFault, read_yaml_text

__all__ = ["Declared", "read_declaration", "read_json", "read_yaml"]


class Declared(BaseModel):
    """A declaration whose file carries its name."""

    name: str


M = TypeVar("M", bound=BaseModel)
D = TypeVar("D", bound=Declared)


def read_yaml(kind: type[M], file: Path, what: str, *, error: type[ConfigError] = ConfigError) -> M:
    """What `file` declares; `what` says in an error what the file should have been.

    An empty file declares nothing, which is enough where every key may be left out.

    Raises:
        ConfigError: The file is missing, is no YAML (or not that of `strict_yaml`), or does not
            hold what `kind` asks for; as `error`, where that is given.
    """
    document = _document(file, error)
    data = {} if document.data is None else document.data
    try:
        return kind.model_validate(data)
    except ValidationError as cause:
        told = objections(cause, kind, document if document.data is not None else None)
        empty = " (the file is empty)" if document.data is None else ""
        raise error(f"{file} is not {what}{empty}: {told}") from cause


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
        raise error(f"{file} is not {what}: {objections(cause, kind)}") from cause


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


def _document(file: Path, error: type[ConfigError]) -> Document:
    try:
        data = file.read_bytes()
    except OSError as cause:
        raise error(f"{file} cannot be read: {cause.strerror}") from cause
    try:
        return read_yaml_text(data.decode("utf-8"))
    except UnicodeDecodeError as cause:
        line = data[: cause.start].count(b"\n") + 1
        raise error(f"{file}, line {line}: not UTF-8; save the file as UTF-8") from cause
    except YamlFault as cause:
        at = f", line {cause.line}" if cause.line is not None else ""
        raise error(f"{file}{at}: {cause}") from cause
